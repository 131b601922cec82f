"""Runs the tests of an exercise in its scratch copy, stage by stage, and says which is green."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from raft_threads.companion.exercises.exercise import Exercise
from raft_threads.companion.exercises.scratch import PROJECT, ExerciseError, origin

# The first part of the README's command.
INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q pytest pytest-timeout"
PATIENCE = 300
MOST_FAILURES = 3
LONGEST_LINE = 110
# Exit codes of pytest.
GREEN, RED, INTERRUPTED, NO_TESTS = 0, 1, 2, 5


class Outcome(NamedTuple):
    """What became of a stage: whether all its tests pass, pytest's summary, and its first failures."""

    green: bool
    summary: str
    failures: list[str]


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
        if outcome.green:
            continue
        for failure in outcome.failures[:MOST_FAILURES]:
            out.write(f"      {failure}\n")
        if len(outcome.failures) > MOST_FAILURES:
            out.write(f"      and {len(outcome.failures) - MOST_FAILURES} more\n")
        for later, (says_later, _) in enumerate(stages[number:], number + 1):
            out.write(f"{later}. {says_later}: not run yet\n")
        out.write(f"\nTo see more:\n   cd {directory} && {python} -m pytest -x {tests[0]}\n")
        return False
    return True


def run(python: str, directory: Path, tests: Sequence[str]) -> Outcome:
    """Run `tests` in `directory`."""
    command = [python, "-m", "pytest", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider", *tests]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["COLUMNS"] = "160"
    try:
        done = subprocess.run(
            command, cwd=directory, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return Outcome(False, f"the tests still ran after {PATIENCE} s", [])
    if done.returncode not in (GREEN, RED, INTERRUPTED, NO_TESTS):
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        return Outcome(False, f"pytest could not run them: {' '.join(last)}", [])
    lines = done.stdout.splitlines()
    return Outcome(done.returncode == GREEN, summary_in(lines), failures_in(lines))


def failures_in(lines: Sequence[str]) -> list[str]:
    """Return which tests failed, each once however many parameters it has, and why if pytest says so."""
    failures: dict[str, str] = {}
    for line in lines:
        found = re.match(r"(?:FAILED|ERROR) (?:tests/)?([^ \[]+)(?:\[.*?\])?(?: - (.*))?$", line)
        if found is not None:
            failures.setdefault(found[1], found[2] or "")
    return [f"{test.rpartition('::')[2]}: {reason}"[:LONGEST_LINE].rstrip(": ") for test, reason in failures.items()]


def summary_in(lines: Sequence[str]) -> str:
    """Return pytest's last line without ornaments: `3 failed, 1 passed in 0.12s`."""
    counts = [line.strip("= ") for line in lines if re.search(r"\d+ (passed|failed|error)", line)]
    return counts[-1] if counts else "no tests ran"
