"""`run_demo.py exercise` as a learner uses it: scratch copies, what `check` says of them, and what cannot be."""

from __future__ import annotations

import importlib.util
import io
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Optional

import pytest
from beforehand import Beforehand

from raft_threads.companion.exercises import checking, scratch
from raft_threads.companion.exercises.catalogue import EXERCISES
from raft_threads.companion.exercises.checking import Outcome, check, failures_in, trouble_in
from raft_threads.companion.exercises.command import program
from raft_threads.companion.exercises.exercise import Exercise
from raft_threads.companion.exercises.scratch import make_scratch
from raft_threads.demo import cli

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "exercises.md").read_text()

# In a directory of one's own


def made(name: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Make a scratch copy as a learner does; return what was said."""
    assert cli.main(["exercise", name, str(directory)]) == 0
    return capsys.readouterr().out


def test_a_scratch_copy_is_made_in_a_new_directory_and_it_is_said_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With commands that can be typed where this one was: from elsewhere, by the whole path."""
    directory = tmp_path / "new" / "copy"
    said = made("up-to-date", directory, capsys)
    assert "raft_threads/election.py:" in said and not list(directory.rglob("__pycache__"))
    assert f"\n   python3 run_demo.py exercise check {directory}\n" in said
    monkeypatch.chdir(tmp_path)
    assert program() == f"python3 {ROOT}/run_demo.py exercise"


def checked_before_and_after() -> list[str]:
    """Return what `check` says of a scratch copy: of a new one, and when the project's own file is put back."""
    told = []
    with tempfile.TemporaryDirectory() as directory:
        copy, exercise = Path(directory) / "copy", EXERCISES["up-to-date"]
        make_scratch("up-to-date", exercise, copy)
        for _ in range(2):
            told.append(what_check_says(exercise, copy))
            shutil.copy(ROOT / "raft_threads" / "election.py", copy / "raft_threads")
    return told


def what_check_says(exercise: Exercise, directory: Path) -> str:
    """Run the tests of a scratch copy, for real; return what is said of each stage."""
    out = io.StringIO()
    check(exercise, directory, out)
    return out.getvalue()


def stages_in(text: str) -> list[str]:
    """Return what became of the stages."""
    return re.findall(r"^\d\. .*: (green|RED|not run yet)", text, re.MULTILINE)


@pytest.mark.beforehand(checked_before_and_after, waits=True)
def test_an_exercise_is_red_until_the_solution_is_put_back(beforehand: Beforehand) -> None:
    """For real, in a process of its own for each stage; what is missing is said."""
    before, after = beforehand(checked_before_and_after)
    assert stages_in(before) == ["RED", "not run yet", "not run yet"]
    assert "\n         NotImplementedError: is_at_least_as_up_to_date: return whether a candidate's log, " in before
    assert stages_in(after) == ["green", "green", "green"]


def sessions_with_one_part_written() -> list[str]:
    """Return which stages of an exercise in parts are green then."""
    with tempfile.TemporaryDirectory() as directory:
        return stages_when_written("sessions", 1, Path(directory) / "copy")


@pytest.mark.beforehand(sessions_with_one_part_written, waits=True)
def test_a_module_is_written_part_by_part(beforehand: Beforehand) -> None:
    """For real; here the first part of the sessions is written. All parts of all exercises: `-m soak`."""
    assert beforehand(sessions_with_one_part_written) == ["green", "RED"]


def stages_when_written(name: str, written: int, directory: Path) -> list[str]:
    """Return which stages are green when so many parts of an exercise are written, in a new copy."""
    exercise = EXERCISES[name]
    make_scratch(name, Exercise("", "", exercise.parts[written:], (), ()), directory)
    return [stage for stage in stages_in(what_check_says(exercise, directory)) if stage != "not run yet"]


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", EXERCISES)
def test_each_part_that_is_written_turns_one_more_stage_green(name: str, tmp_path: Path) -> None:
    """All of it for real: with the first parts written, their stages are green and the next one is red."""
    parts = len(EXERCISES[name].parts)
    for written in range(parts):
        assert stages_when_written(name, written, tmp_path / str(written)) == ["green"] * written + ["RED"]
    assert stages_when_written(name, parts, tmp_path / "all") == ["green"] * len(EXERCISES[name].stages())


def test_failures_are_told_once_for_each_test() -> None:
    """However many parameters it has; and files that cannot be imported."""
    assert failures_in(
        [
            "FAILED tests/test_a.py::test_x[1-a b] - NotImplementedError: x: write",
            "FAILED tests/test_a.py::test_x[2] - NotImplementedError: x: write",
            "ERROR tests/test_b.py - SyntaxError: no",
            "FAILED tests/test_a.py::test_y",
            "2 failed in 0.1s",
        ]
    ) == {
        "tests/test_a.py::test_x": "NotImplementedError: x: write",
        "tests/test_b.py": "SyntaxError: no",
        "tests/test_a.py::test_y": "",
    }


def test_the_command_that_shows_more_runs_a_test_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not just the first of the stage, which may be green; and each failure is told with its reason."""
    failures = {f"tests/test_a.py::test_{name}": "AssertionError: assert 1 == 2" for name in "wxyz"}
    monkeypatch.setattr(checking, "run", lambda *_: Outcome(False, "4 failed, 1 passed in 0.1s", failures))
    said = what_check_says(EXERCISES["commit"], ROOT)
    assert said.endswith(" -m pytest -x tests/test_a.py::test_w\n")
    assert "RED, 4 failed, 1 passed in 0.1s\n      test_w\n         AssertionError: assert 1 == 2\n" in said
    assert "\n      and 1 more\n2. " in said and "test_z" not in said


def test_a_stage_that_cannot_be_run_is_not_green(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no later one is run."""
    monkeypatch.setattr(checking, "run", lambda *_: Outcome(False, "pytest could not run them: it says nothing", {}))
    said = what_check_says(EXERCISES["commit"], ROOT)
    assert stages_in(said) == ["RED", "not run yet", "not run yet"]
    assert said.endswith(f" -m pytest -x {EXERCISES['commit'].stages()[0][1][0]}\n")


def test_where_code_cannot_be_read_is_told() -> None:
    """Nothing can be imported then, not even by pytest itself."""
    output = """ImportError while loading conftest '/copy/tests/conftest.py'.
tests/conftest.py:16: in <module>
    from beforehand import Beforehand
E     File "/copy/raft_threads/replication.py", line 224
E       if n > (state.commit_index:
E   SyntaxError: invalid syntax
"""
    assert trouble_in(output) == "SyntaxError: invalid syntax (replication.py, line 224)"
    assert trouble_in("raft_threads/log.py:7: in <module>\nE   NameError: x\n") == "NameError: x (log.py, line 7)"
    assert trouble_in("") == "it says nothing"


# What cannot be


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line with which something is refused."""
    assert cli.main(["exercise", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("run_demo.py exercise: ")
    return err


def test_nothing_is_written_into_a_directory_with_something_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor into what is copied; one line, and all stays as it was."""
    (tmp_path / "mine").write_text("mine")
    for directory in (tmp_path, tmp_path / "mine"):
        assert "not empty" in complaint(capsys, "commit", str(directory))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert "inside what is to be copied" in complaint(capsys, "commit", str(ROOT / "tests" / "copy"))
    assert not (ROOT / "tests" / "copy").exists()
    assert "mine" in complaint(capsys, "commit", str(tmp_path / "mine" / "copy"))


def test_an_exercise_or_a_copy_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to do."""
    assert "there is no exercise 'paxos'; --list names them" in complaint(capsys, "paxos", str(tmp_path / "a"))
    assert "there is no exercise 'paxos'" in complaint(capsys, "solution", "paxos")
    assert "name an exercise, too" in complaint(capsys, "solution")
    assert "like: exercise commit /tmp/commit" in complaint(capsys, "commit")
    assert "is no scratch copy" in complaint(capsys, "check", str(tmp_path))
    for content in ("", "[]", "{}", '{"exercise": "paxos"}'):
        (tmp_path / "exercise.json").write_text(content)
        assert "no scratch copy" in complaint(capsys, "check", str(tmp_path)) or "paxos" in content
    with pytest.raises(SystemExit) as ended:
        cli.main(["exercise"])
    assert ended.value.code == 2 and "--list names the exercises" in capsys.readouterr().err


def test_without_pytest_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The README's command; unless the project's .venv has it."""
    assert checking.INSTALL in (ROOT / "README.md").read_text()
    (tmp_path / "exercise.json").write_text('{"exercise": "commit", "project": "/nowhere"}')

    def missing(name: str) -> Optional[object]:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", missing)
    monkeypatch.setattr(checking, "PROJECT", tmp_path / "elsewhere")
    assert cli.main(["exercise", "check", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert err == f"run_demo.py exercise: pytest is missing; in {tmp_path / 'elsewhere'} do: {checking.INSTALL}\n"
    python = tmp_path / "elsewhere" / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], returncode=0))
    assert checking.python_with_pytest() == str(python)


def test_a_scratch_copy_makes_none_and_shows_no_solution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would show what is missing."""
    (tmp_path / "exercise.json").write_text('{"exercise": "commit", "project": "/the/project"}')
    monkeypatch.setattr(scratch, "PROJECT", tmp_path)
    for arguments in (["solution", "commit"], ["commit", str(tmp_path / "new")]):
        assert "the project it was made from, /the/project" in complaint(capsys, *arguments)


# The page


def test_each_command_on_the_page_does_what_it_is_there_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order in which they stand there; `check` is tried above, and not run again."""
    ran = []

    def checked_only(exercise: Exercise, directory: Path, out: Any) -> bool:
        ran.append(directory)
        return True

    monkeypatch.setattr("raft_threads.companion.exercises.command.check", checked_only)
    commands = re.findall(r"^python3 run_demo\.py (.*)$", PAGE, re.MULTILINE)
    assert [command.split()[:2] for command in commands if "check" in command] != []
    for command in commands:
        arguments = command.replace("/tmp", str(tmp_path)).split()
        assert cli.main(arguments) == 0, command
        assert capsys.readouterr().out
    assert ran and all(directory.is_dir() for directory in ran)
