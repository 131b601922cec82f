"""The rule book: every rule of Fig. 2, Fig. 13, §6, §7 and §8, by its id."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from raft_threads.companion.figure_2_servers import ALL_SERVERS, CANDIDATES, FOLLOWERS, LEADERS
from raft_threads.companion.figure_2_state_and_rpcs import APPEND_ENTRIES, REQUEST_VOTE, STATE
from raft_threads.companion.figure_13 import FIGURE_13, SECTION_7
from raft_threads.companion.rule import Rule
from raft_threads.companion.sections_6_and_8 import SECTION_6, SECTION_8

RULES: dict[str, Rule] = {
    rule.id: rule
    for rules in (
        STATE, REQUEST_VOTE, APPEND_ENTRIES, ALL_SERVERS, FOLLOWERS, CANDIDATES, LEADERS,
        FIGURE_13, SECTION_6, SECTION_7, SECTION_8,
    )
    for rule in rules
}


# How many rules are named to somebody who asks for one that there is not; the six for leaders are not too many.
MOST_NAMED = 8


class UnknownRule(Exception):
    """There is no such rule. The text is one line, with the ids that begin like it, or are most like it."""


def rule_named(text: str) -> Rule:
    """Return the rule with the id `text`, in capitals or not. Raises UnknownRule."""
    by_name = {name.lower(): rule for name, rule in RULES.items()}
    rule = by_name.get(text.lower())
    if rule is None:
        begin_so = [name for name in by_name if name.startswith(text.lower())]
        near = begin_so or difflib.get_close_matches(text.lower(), by_name, n=4, cutoff=0.5)
        ids = ", ".join(by_name[name].id for name in near)
        hint = f"did you mean {ids}?" if 0 < len(near) <= MOST_NAMED else "`run_demo.py rule` lists all of them"
        raise UnknownRule(f"there is no rule {text}; {hint}")
    return rule


def resolve(dotted: str) -> Any:
    """Return what a dotted name stands for. Raises AttributeError or ModuleNotFoundError if it is not there.

    Of a property it is the function that computes it.
    """
    package, module, *rest = dotted.split(".")
    value: Any = importlib.import_module(f"{package}.{module}")
    for name in rest:
        value = getattr(value, name)
    return value.fget if isinstance(value, property) else value
