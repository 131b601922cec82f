"""`run_demo.py rule F2.Leaders.4`: a rule of the paper, its code, its tests, and the breakpoint to set."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator

from raft_threads.companion.breaks import BREAKS
from raft_threads.companion.rule import Rule
from raft_threads.companion.rules import RULES, UnknownRule, rule_named
from raft_threads.companion.sheet import MARGIN, WIDTH
from raft_threads.companion.source import place_of


def main(argv: list[str]) -> int:
    """a rule of the paper: its code, its tests, and the breakpoint to set"""
    parser = build_parser("rule", "Show a rule of the paper: its code, its tests, and the breakpoint to set.")
    arguments = parser.parse_args(argv)
    if arguments.list or arguments.rule is None:
        print("\n".join(list_of_rules()))
    else:
        print("\n".join(sheet(find_rule(parser, arguments.rule))))
    return 0


def build_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return the parser of a command about one rule."""
    parser = argparse.ArgumentParser(
        prog=f"run_demo.py {name}",
        description=description,
        epilog="Ids are those of docs/rules.md: F2.Leaders.4 is the fourth bullet for leaders in Fig. 2, F13.6 step 6 "
        "of Fig. 13, S6.4 the fourth rule that §6 gives. Capitals do not matter.",
    )
    parser.add_argument("rule", nargs="?", metavar="ID", help="which rule (default: list them all)")
    parser.add_argument("--list", action="store_true", help="name the rules, in the order of the paper")
    return parser


def find_rule(parser: argparse.ArgumentParser, text: str) -> Rule:
    """Return the rule with the id `text`. Exits with 2, and a line that says what there is, if there is none."""
    try:
        return rule_named(text)
    except UnknownRule as error:
        parser.error(str(error))


def list_of_rules() -> Iterator[str]:
    """Return a line for each rule."""
    width = max(map(len, RULES))
    return (f"{rule.id:{width}}  {rule.says}" for rule in RULES.values())


def wrapped(text: str, label: str = "") -> list[str]:
    """Return `text` as indented lines, the first of them after a `label`."""
    return textwrap.wrap(label + text, WIDTH, initial_indent=MARGIN, subsequent_indent=MARGIN)


def indented(text: str) -> list[str]:
    """Return the lines of `text`, indented."""
    return textwrap.indent(text, MARGIN).splitlines()


def statement(rule: Rule) -> list[str]:
    """Return what a rule says, and why."""
    return [f"{rule.id}   {rule.read}", "", *wrapped(rule.says), *wrapped(rule.why, "Why: ")]


def sheet(rule: Rule) -> list[str]:
    """Return all there is to know of a rule."""
    place, left_out = place_of(rule.function), BREAKS[rule.id]
    lost = f"{left_out.loses} is lost" if left_out.loses else "nothing that can be seen is lost"
    return [
        *statement(rule),
        "",
        f"{place.path}, line {place.line}",
        "",
        *indented(place.text),
        "",
        "To stop there, start one of the tests below under pdb, and type the other two lines at its prompt:",
        f"{MARGIN}.venv/bin/python -m pytest -s --trace {rule.tests[0]}",
        f"{MARGIN}b {place.path}:{place.breakpoint}",
        f"{MARGIN}c",
        "",
        "Tests that name it:",
        *(f"{MARGIN}{test}" for test in rule.tests),
        "",
        "Without it:",
        *wrapped(f"{left_out.does} Then {lost}."),
        f"{MARGIN}python3 run_demo.py break {rule.id}",
    ]
