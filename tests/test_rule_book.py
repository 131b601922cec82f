"""The rule book: every rule of Fig. 2, Fig. 13, §6, §7 and §8 has a function and tests, and they are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from raft_threads.companion.rule import Rule
from raft_threads.companion.rules import RULES, UnknownRule, resolve, rule_named

ROOT = Path(__file__).resolve().parent.parent
# How many bullets and steps the paper's boxes have: (below which bullet there are more, how many of them).
BOXES = {
    "F2.State": 7,
    "F2.RequestVote": 2,
    "F2.AppendEntries": 5,
    "F2.AllServers": 2,
    "F2.Followers": 2,
    "F2.Candidates": 4,
    "F2.Leaders": 4,
    "F13": 8,
}
BELOW = {"F2.Candidates.1": 4, "F2.Leaders.3": 2}


def functions_in(file: Path) -> set[str]:
    """Return the names of the test functions in a file."""
    return {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_the_ids_are_the_papers_bullets() -> None:
    """Fig. 2, Fig. 13: a bullet is cited by its number, one below another one by both."""
    for box, count in {**BOXES, **BELOW}.items():
        assert {f"{box}.{number}" for number in range(1, count + 1)} <= RULES.keys()
        assert f"{box}.{count + 1}" not in RULES
    for section in ("S6", "S7", "S8"):
        numbers = [int(name.split(".")[1]) for name in RULES if name.startswith(section)]
        assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_rule_has_a_function_and_tests_that_are_there(rule: Rule) -> None:
    """So that the book cannot go stale."""
    assert resolve(rule.function).__module__ == ".".join(rule.function.split(".")[:2])
    assert rule.tests and len(set(rule.tests)) == len(rule.tests)
    for test in rule.tests:
        file, _, name = test.partition("::")
        assert name in functions_in(ROOT / file), test
    assert rule.says.endswith(".") and rule.why.endswith(".")


def test_a_rule_is_found_whatever_the_case() -> None:
    """An id is typed as it comes."""
    assert rule_named("f2.leaders.4") is RULES["F2.Leaders.4"]


@pytest.mark.parametrize("text, near", [("F2.Leader.4", "F2.Leaders.4"), ("S6.99", "S6.9"), ("hello", "lists all")])
def test_an_unknown_rule_is_told_in_one_line_with_those_that_are_like_it(text: str, near: str) -> None:
    """What to type instead."""
    with pytest.raises(UnknownRule, match=re.escape(near)) as unknown:
        rule_named(text)
    assert "\n" not in str(unknown.value)
