"""docs/debugging.md can be followed literally: its commands are typed at a terminal, and show what it says."""

from __future__ import annotations

import re
import sys

from processes import ROOT
from terminals import Terminal

PAGE = (ROOT / "docs" / "debugging.md").read_text()
COMMANDS = re.findall(r"```\n\.venv/bin/python (-m pytest -s --trace .*?)\n```", PAGE)
SESSIONS = re.findall(r"```pdb\n(.*?)```", PAGE, re.DOTALL)


def typed(command: str, *sessions: str) -> list[str]:
    """Start a command of the page, type what the page says, and return the answers."""
    with Terminal([sys.executable, *command.split()]) as terminal:
        terminal.prompt()
        return [terminal.ask(line) for session in sessions for line in session.strip().splitlines()]


def test_the_walk_from_the_first_breakpoint_to_the_figure() -> None:
    """Through `begin_election`, to the pictures of Fig. 8 (a), (b) and (c)."""
    assert len(COMMANDS) == 2 and len(SESSIONS) == 3
    first, *_, last = answers = typed(COMMANDS[0], *SESSIONS[:2])
    assert not [answer for answer in answers if "***" in answer], answers
    assert "election.py:91" in first
    stopped, where, before, *_ = answers[1:]
    assert "S2/election-timer at 0.000000 s" in stopped and "state.current_term += 1" in stopped
    assert "_election_timer_main()" in where and "simulation/scheduler" not in where
    assert before == "('S2', 0, 'follower')\n"
    shown = answers[7]
    for text in ("S2 candidate, term 1", "current_term", "S2/election-timer  runs", "no message is on its way"):
        assert text in shown
    pictures = [answer for answer in answers if answer.startswith("index")]
    assert [re.findall(r"[\[(](\d) no-op", row) for row in pictures[0].splitlines()[1:3]] == [["1", "2"], ["1", "2"]]
    assert "S5 leader, term 3" in pictures[1] and "S1 down, term 2      (1 no-op) (2 no-op)" in pictures[1]
    assert "(4 no-op)" in pictures[2] and "S5 down, term 3      (1 no-op) (3 no-op)" in pictures[2]
    assert int(last) < 2, "commit_index"


def test_the_walk_to_the_rule_that_forbids_to_commit_by_counting() -> None:
    """§5.4.2: index 2 is on a majority, of term 2, and the leader's term is 4."""
    *_, matches, compared = answers = typed(COMMANDS[1], SESSIONS[2])
    assert not [answer for answer in answers if "***" in answer], answers
    assert matches == "('S1', {'S1': 3, 'S2': 0, 'S3': 2, 'S4': 2, 'S5': 0})\n"
    assert compared == "(2, 2, 4)\n"
