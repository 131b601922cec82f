"""The exercises: what is emptied, that the tests that belong notice it, and need nothing else; docs/exercises.md."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, Callable

import pytest

from raft_threads.companion.exercises.catalogue import EXERCISES
from raft_threads.companion.exercises.emptying import emptied, functions_in, source_of
from raft_threads.companion.exercises.exercise import Part, Target
from raft_threads.companion.exercises.modules import MODULES
from raft_threads.companion.exercises.rules import RULES
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


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_what_the_project_has(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each function, with where it is."""
    assert cli.main(["exercise", "solution", name]) == 0
    shown = capsys.readouterr().out
    for target in EXERCISES[name].functions:
        assert inspect.cleandoc(inspect.getsource(function_of(target))).splitlines()[-1] in shown
        assert f"# {target.path}:{function_of(target).__code__.co_firstlineno}\n" in shown


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
