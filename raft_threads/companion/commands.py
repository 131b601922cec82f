"""The companion's commands: each has arguments of its own, and is for those who have the paper open."""

from __future__ import annotations

from typing import Callable, NamedTuple

from raft_threads.companion import break_command, rule_command
from raft_threads.companion.exercises import command as exercise
from raft_threads.companion.figures.command import COMMANDS as FIGURE_COMMANDS
from raft_threads.companion.figures.command import FIGURES
from raft_threads.companion.quiz import command as quiz


class Command(NamedTuple):
    """What `run_demo.py NAME ...` does with the arguments behind its name, and what it shows, in a few words."""

    main: Callable[[list[str]], int]
    shows: str


def figure_16(argv: list[str]) -> int:
    """Measure what Fig. 16 shows: a command of the package, as it is no story of one cluster."""
    from raft_threads.__main__ import main as raft_threads

    return raft_threads(["figure-16", *argv])


COMPANION = {
    **{name: Command(FIGURE_COMMANDS[name], figure.shows) for name, figure in FIGURES.items()},
    "figure-16": Command(figure_16, "how long it takes to replace a crashed leader; some minutes (docs/figure-16.md)"),
    "rule": Command(rule_command.main, "a rule of the paper, its code, its tests, and the breakpoint to set"),
    "break": Command(break_command.main, "a cluster without a rule, up to the step at which something is lost"),
    "quiz": Command(quiz.main, quiz.SHOWS),
    "exercise": Command(exercise.main, exercise.SHOWS),
}
