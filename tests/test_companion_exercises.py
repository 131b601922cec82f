"""`run_demo.py exercise`: what is emptied, that its tests notice, and that the solution brings them back to green."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Optional

import pytest
from beforehand import Beforehand

from raft_threads.companion.exercises import checking, scratch
from raft_threads.companion.exercises.catalogue import EXERCISES
from raft_threads.companion.exercises.checking import Outcome, check, failures_in, trouble_in
from raft_threads.companion.exercises.command import program
from raft_threads.companion.exercises.emptying import emptied, functions_in, source_of
from raft_threads.companion.exercises.exercise import Exercise, Part, Target
from raft_threads.companion.exercises.modules import MODULES
from raft_threads.companion.exercises.rules import RULES
from raft_threads.companion.exercises.scratch import make_scratch
from raft_threads.demo import cli

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "exercises.md").read_text()
PARTS = [(name, part) for name, exercise in EXERCISES.items() for part in exercise.parts]


def function_of(target: Target) -> Any:
    """Return the function itself."""
    found: Any = importlib.import_module(target.path[:-3].replace("/", "."))
    for name in target.name.split("."):
        found = getattr(found, name)
    return found


def module_of(test: str) -> ModuleType:
    """Return the module of a test, as pytest has imported it if it has."""
    name = Path(test.partition("::")[0]).stem
    return importlib.import_module(name)


def cases_of(test: str) -> Iterator[Callable[[], None]]:
    """Return the test as a function without arguments, once for each set of parameters; or all tests of a file."""
    module, (_, _, name) = module_of(test), test.partition("::")
    names = [name] if name else [each for each in vars(module) if each.startswith("test_")]
    for each in names:
        function = getattr(module, each)
        marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
        for values in product(*(mark.args[1] for mark in marks)):
            arguments: dict[str, Any] = {}
            for mark, value in zip(marks, values):
                keys = [key.strip() for key in mark.args[0].split(",")]
                arguments.update(zip(keys, value if len(keys) > 1 else [value]))
            yield lambda function=function, arguments=arguments: function(**arguments)  # type: ignore[misc]


def passes(case: Callable[[], None]) -> bool:
    """Return whether a test does not fail."""
    try:
        case()
    except Exception:
        return False
    return True


def to_be_written(*_: Any, **__: Any) -> None:
    """Stand in the place of an emptied function."""
    raise NotImplementedError


# What is emptied


@pytest.mark.parametrize("name", EXERCISES)
def test_only_the_bodies_are_gone_and_all_else_stands_as_it_was(name: str) -> None:
    """Signature, docstring and comments; each missing body says what to write, and where to read."""
    exercise = EXERCISES[name]
    for path in {target.path for target in exercise.functions}:
        names = [target.name for target in exercise.functions if target.path == path]
        text = (ROOT / path).read_text()
        left = emptied(text, names)
        assert max(map(len, left.splitlines())) <= 120
        assert functions_in(left).keys() == functions_in(text).keys()
        for each, function in functions_in(left).items():
            before = functions_in(text)[each]
            if each not in names:
                assert source_of(left, each) == source_of(text, each)
                continue
            assert ast.dump(function.args) == ast.dump(before.args)
            assert ast.get_docstring(function) == ast.get_docstring(before) and len(function.body) == 2
            message = re.sub(r'"\s*"', "", source_of(left, each))
            assert re.search(rf'raise NotImplementedError\(\s*"{each}: [^§]*; see .*(§|Fig\.)', message), message
        kept = [line for line in left.splitlines() if line in text.splitlines()]
        assert [line for line in kept if line.startswith(("#", "def ", "class ", "import ", "from "))] == [
            line for line in text.splitlines() if line.startswith(("#", "def ", "class ", "import ", "from "))
        ]


def test_an_emptied_function_keeps_decorators_and_the_functions_around_it() -> None:
    """By a text with all of that."""
    text = '''class A:
    """It."""

    @property
    def one(self) -> int:
        """Return one. Or (Fig. 2, x) so."""
        return 1  # gone

    # Stays
    def two(self) -> int:
        """Return
        two (§5.3).
        """
        if self:
            return 2
        return 3


LAST = 1
'''
    assert emptied(text, ["A.two", "A.one"]) == '''class A:
    """It."""

    @property
    def one(self) -> int:
        """Return one. Or (Fig. 2, x) so."""
        raise NotImplementedError("A.one: return one; see Fig. 2")

    # Stays
    def two(self) -> int:
        """Return
        two (§5.3).
        """
        raise NotImplementedError("A.two: return two; see §5.3")


LAST = 1
'''
    assert source_of(text, "A.one").splitlines()[0] == "@property"


# The catalogue


def test_there_are_exercises_for_the_main_rules_and_for_five_modules() -> None:
    """Fig. 2; and no exercise is named like a command."""
    assert len(RULES) >= 12 and list(MODULES) == ["election", "replication", "membership", "compaction", "sessions"]
    assert not EXERCISES.keys() & {"check", "solution"}
    for module in ("election", "replication", "membership", "compaction"):
        names = [target.name for target in MODULES[module].functions]
        assert sorted(names) == sorted(functions_in((ROOT / "raft_threads" / f"{module}.py").read_text()))


@pytest.mark.parametrize("name, part", PARTS, ids=lambda value: value if isinstance(value, str) else value.says)
def test_the_tests_of_a_part_notice_that_it_is_missing_and_need_no_later_part(
    name: str, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is red without the part's functions, and green with them although what follows is still empty."""
    exercise = EXERCISES[name]
    later = [target for other in exercise.parts[exercise.parts.index(part) + 1:] for target in other.functions]
    cases = {test: list(cases_of(test)) for test in part.tests}
    with monkeypatch.context() as patch:
        for target in (*part.functions, *later):
            patch.setattr(function_of(target), "__code__", to_be_written.__code__)
        assert [test for test, each in cases.items() if all(map(passes, each))] == []
    for target in later:
        monkeypatch.setattr(function_of(target), "__code__", to_be_written.__code__)
    assert [test for test, each in cases.items() if not all(map(passes, each))] == []


@pytest.mark.parametrize("name", EXERCISES)
def test_the_tests_that_belong_are_there(name: str) -> None:
    """Those of the rules before those on servers, which are in virtual time; each stage brings more."""
    exercise = EXERCISES[name]
    for _, tests in exercise.stages():
        assert tests and len(set(tests)) == len(tests)
    for test in (*exercise.rule_tests, *exercise.server_tests):
        text = (ROOT / test).read_text()
        assert ("SimulatedCluster" in text) == (test in exercise.server_tests), test


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


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_what_the_project_has(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each function, with where it is."""
    assert cli.main(["exercise", "solution", name]) == 0
    shown = capsys.readouterr().out
    for target in EXERCISES[name].functions:
        assert inspect.cleandoc(inspect.getsource(function_of(target))).splitlines()[-1] in shown
        assert f"# {target.path}:{function_of(target).__code__.co_firstlineno}\n" in shown


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


def test_the_page_names_all_exercises_in_order_with_what_they_are() -> None:
    """docs/exercises.md: its tables are the catalogue."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    assert [row[0] for row in rows] == list(EXERCISES)
    for name, says, sections in rows:
        assert (says, sections) == (EXERCISES[name].says, EXERCISES[name].sections)


def test_the_page_shows_an_emptied_function_as_it_is_in_a_copy() -> None:
    """docs/exercises.md."""
    (shown,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    text = (ROOT / "raft_threads" / "election.py").read_text()
    name = "is_at_least_as_up_to_date"
    assert shown == source_of(emptied(text, [name]), name)


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
