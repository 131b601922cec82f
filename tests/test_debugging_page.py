"""README.md and docs/debugging.md can be followed literally: what they type into pdb is typed, the answers compared."""

from __future__ import annotations

import doctest
import json
import re
import sys
from pathlib import PurePosixPath

import pytest
from processes import ROOT
from terminals import Terminal

PAGE = (ROOT / "docs" / "debugging.md").read_text()
README = (ROOT / "README.md").read_text()
# A command that is typed into a shell, and the sessions with pdb that follow it.
STARTS = [
    start
    for page in (README, PAGE)
    for start in re.findall(
        r"^```\n(?:python3|\.venv/bin/python) (-m pdb .*|-m pytest .*)\n```$"
        r"((?:(?!^```\n(?:python3|\.venv)).*\n)*)", page, flags=re.MULTILINE
    )
]
LEAVE_OUT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
LAUNCH = json.loads((ROOT / ".vscode" / "launch.json").read_text())["configurations"]


def without_what_changes(answer: str) -> str:
    """Return an answer without line numbers, which every change of the code moves, and without pytest's own lines."""
    answer = re.sub(r"^>{3,} PDB .* >{3,}$", "", answer, flags=re.MULTILINE)
    return re.sub(r"(?<=\.py)(\(\d+\)|:\d+)", "", answer)


@pytest.mark.parametrize("command, text", STARTS, ids=[command.split()[-1] for command, _ in STARTS])
def test_what_the_pages_say_can_be_typed_and_is_answered_as_they_say(command: str, text: str) -> None:
    """From an election to Fig. 8, and to the rule that forbids to commit by counting (§5.4.2)."""
    sessions = "".join(re.findall(r"^```pdb\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    exchanges = re.findall(r"^\(Pdb\) (.*)\n((?:(?!\(Pdb\)).*\n)*)", sessions, re.MULTILINE)
    assert len(exchanges) > 5 and exchanges[-1][0] == "q"
    with Terminal([sys.executable, *command.split()]) as terminal:
        terminal.prompt()
        for typed, expected in exchanges:
            if typed == "q":
                terminal.type(typed)
                assert terminal.end() == (2 if "pytest" in command else 0), "it was left"
                break
            answer, expected = without_what_changes(terminal.ask(typed)), without_what_changes(expected)
            assert doctest.OutputChecker().check_output(expected, answer, LEAVE_OUT), f"{typed} says:\n{answer}"


def test_the_page_names_the_entries_of_launch_json() -> None:
    """Each entry for the simulator starts what exists, shows what is printed, and leaves out the machinery."""
    entries = [entry for entry in LAUNCH if entry["name"] == "Figure 8, step by step" or "Simulator" in entry["name"]]
    assert len(entries) == 3
    for entry in entries:
        assert f'"{entry["name"]}"' in PAGE
        folders = {PurePosixPath(rule["path"]).parent for rule in entry["rules"]}
        assert folders == {PurePosixPath("${workspaceFolder}/raft_threads/simulation")}
        if entry["module"] == "pytest":
            assert {"-s", "--timeout"} <= set(entry["args"])
        for argument in entry["args"]:
            assert not argument.endswith(".py") or (ROOT / argument).exists()
