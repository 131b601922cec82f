"""Leaving a rule out on purpose: what replaces it, what is lost then, and a schedule that shows it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple, Optional
from unittest import mock

from raft_threads.companion.directing import QUICK
from raft_threads.companion.figure_3 import FigureThree, Lost
from raft_threads.companion.rules import resolve
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.run_quietly import unlogged
from raft_threads.state import SafetyViolation
from raft_threads.trace import TraceWriter


class Swap(NamedTuple):
    """A function or method of the servers, by its dotted name, and what takes its place."""

    target: str
    replacement: Callable[..., Any]


@dataclass(frozen=True)
class Schedule:
    """Who does what when, so that a run without the rule goes wrong, and one with it does not.

    `play` directs a simulated cluster. It returns a sentence that says how it ended, and raises Lost; the properties of
    Fig. 3 are looked at by others. Its docstring says what happens. `settings` are SimulatedCluster's. In what order
    threads run that are ready at the same time is up to a seed; `seeds` says how many may have to be tried.
    """

    play: Callable[[SimulatedCluster], str]
    servers: tuple[str, ...] = ("n1", "n2", "n3")
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 1


@dataclass(frozen=True)
class Break:
    """How a rule is left out: `does` says what servers do instead, `loses` which property goes with it.

    Without a schedule nothing is lost that could be seen; `untold` says why.
    """

    rule: str
    does: str
    swaps: tuple[Swap, ...]
    loses: str = ""
    schedule: Optional[Schedule] = None
    untold: str = ""


@dataclass
class Outcome:
    """What became of a run with a seed: what was lost, or how it ended well; all logs then; the lines of its trace."""

    seed: int
    lost: Optional[Lost]
    ending: str
    picture: str
    trace: list[str]


@contextmanager
def swapped(swaps: tuple[Swap, ...]) -> Iterator[None]:
    """Have the replacements in place in here."""
    with ExitStack() as stack:
        for target, replacement in swaps:
            path, _, name = target.rpartition(".")
            owner = resolve(path)
            is_property = isinstance(vars(owner)[name], property)
            stack.enter_context(
                mock.patch.object(owner, name, property(replacement) if is_property else replacement)
            )
        yield


def run(schedule: Schedule, swaps: tuple[Swap, ...] = (), seed: int = 0) -> Outcome:
    """Play `schedule` on servers with `swaps` in place; without any, everything that is known is checked too."""
    judge, lines = FigureThree(), io.StringIO()
    lost: Optional[Lost] = None
    ending = ""
    with swapped(swaps), unlogged() if swaps else nullcontext():
        cluster = SimulatedCluster(
            schedule.servers,
            observers=[judge],
            trace=TraceWriter(lines, schedule.servers),
            seed=seed,
            checks=not swaps,
            **{"timing": QUICK, **schedule.settings},
        )
        judge.cluster = cluster
        with cluster:
            try:
                ending = schedule.play(cluster)
            except Lost as loss:
                lost = loss
            except SafetyViolation as violation:  # a server found it first, and refused to go on
                lost = Lost(*str(violation).split(": ", 1))
            picture = cluster.picture()
    return Outcome(seed, lost, ending, picture, lines.getvalue().splitlines(keepends=True))


def first_loss(schedule: Schedule, swaps: tuple[Swap, ...]) -> Outcome:
    """Return the run with the first seed that loses something, or the last run if none does."""
    for seed in range(schedule.seeds):
        outcome = run(schedule, swaps, seed)
        if outcome.lost is not None:
            break
    return outcome
