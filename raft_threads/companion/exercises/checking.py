"""Runs the tests of an exercise in its scratch copy, stage by stage, and says which is green."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from raft_threads.companion.exercises.exercise import Exercise
from raft_threads.companion.exercises.scratch import PROJECT, ExerciseError, origin

# The first part of the README's command.
INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q pytest pytest-timeout"
PATIENCE = 300
MOST_FAILURES = 3
LONGEST_LINE = 100
# Exit codes of pytest.
GREEN, RED, INTERRUPTED, NO_TESTS = 0, 1, 2, 5


class Outcome(NamedTuple):
    """What became of a stage: whether all its tests pass, pytest's summary, and which failed, each with the reason."""

    green: bool
    summary: str
    failures: dict[str, str]


def python_with_pytest() -> str:
    """Return a Python that has pytest: this one, or that of the project's .venv. Raises ExerciseError."""
    if importlib.util.find_spec("pytest") is not None:
        return sys.executable
    project = origin(PROJECT)
    other = project / ".venv" / "bin" / "python"
    if other.exists() and subprocess.run([other, "-c", "import pytest"], capture_output=True).returncode == 0:
        return str(other)
    raise ExerciseError(f"pytest is missing; in {project} do: {INSTALL}")


def check(exercise: Exercise, directory: Path, out: TextIO) -> bool:
    """Run stage after stage until one is not green; tell to `out`, and return whether all are. Raises ExerciseError."""
    python = python_with_pytest()
    stages = exercise.stages()
    for number, (says, tests) in enumerate(stages, 1):
        outcome = run(python, directory, tests)
        out.write(f"{number}. {says}: {'green' if outcome.green else 'RED'}, {outcome.summary}\n")
        out.flush()
        if not outcome.green:
            tell_failures(outcome.failures, out)
            for later, (says_later, _) in enumerate(stages[number:], number + 1):
                out.write(f"{later}. {says_later}: not run yet\n")
            there = "" if directory.resolve() == Path.cwd() else f"cd {directory} && "
            first = next(iter(outcome.failures), tests[0])
            out.write(f"\nTo see more:\n   {there}{python} -m pytest -x {first}\n")
            return False
    return True


def tell_failures(failures: Mapping[str, str], out: TextIO) -> None:
    """Tell the first failures, each with its reason in a line of its own."""
    for test, reason in list(failures.items())[:MOST_FAILURES]:
        out.write(f"      {test.rpartition('::')[2]}\n")
        if reason:
            out.write(f"         {textwrap.shorten(reason, LONGEST_LINE, placeholder=' ...')}\n")
    if len(failures) > MOST_FAILURES:
        out.write(f"      and {len(failures) - MOST_FAILURES} more\n")


def run(python: str, directory: Path, tests: Sequence[str]) -> Outcome:
    """Run `tests` in `directory`."""
    command = [python, "-m", "pytest", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider", *tests]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["COLUMNS"] = "400"  # else pytest would cut the reasons short
    try:
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return Outcome(False, f"the tests still ran after {PATIENCE} s", {})
    if done.returncode not in (GREEN, RED, INTERRUPTED, NO_TESTS):
        return Outcome(False, f"pytest could not run them: {trouble_in(done.stderr or done.stdout)}", {})
    lines = done.stdout.splitlines()
    return Outcome(done.returncode == GREEN, summary_in(lines), failures_in(lines))


def trouble_in(output: str) -> str:
    """Return the error that an output ends with, and the last place in a file that it names, if any."""
    last = (output.strip().splitlines() or ["it says nothing"])[-1].removeprefix("E ").strip()
    places = re.findall(r'([^/\s"]+\.py)(?:", line |:)(\d+)', output)
    return f"{last} ({places[-1][0]}, line {places[-1][1]})" if places else last


def failures_in(lines: Sequence[str]) -> dict[str, str]:
    """Return which tests failed, each once however many parameters it has, and why if pytest says so."""
    failures: dict[str, str] = {}
    for line in lines:
        found = re.match(r"(?:FAILED|ERROR) ([^ \[]+)(?:\[.*?\])?(?: - (.*))?$", line)
        if found is not None:
            failures.setdefault(found[1], found[2] or "")
    return failures


def summary_in(lines: Sequence[str]) -> str:
    """Return pytest's last line without ornaments: `3 failed, 1 passed in 0.12s`."""
    counts = [line.strip("= ") for line in lines if re.search(r"\d+ (passed|failed|error)", line)]
    return counts[-1] if counts else "no tests ran"
