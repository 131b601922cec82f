"""What a figure is here: scenes, each drawn while the cluster that plays it stands still; and where to stop in it."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple

from raft_threads.companion.source import first_line_of_body
from raft_threads.simulation.cluster import SimulatedCluster

ROOT = Path(__file__).resolve().parents[3]


class Stop(NamedTuple):
    """A place in the code where what a scene shows comes by; with a `condition`, only when it is the right moment."""

    function: Callable[..., Any]
    condition: str = ""

    def command(self) -> str:
        """Return what to type at pdb's prompt to stop there: at the line of the `def`, pdb would not."""
        path = Path(inspect.getfile(self.function)).resolve()
        condition = f", {self.condition}" if self.condition else ""
        return f"b {path.relative_to(ROOT).as_posix()}:{first_line_of_body(self.function)}{condition}"


class Scene(NamedTuple):
    """One moment of a figure. `cluster` stands still while the scene is shown, and is what the `picture` is drawn from.

    `look` says what to look at, `stops` where in the code to stop for it.
    """

    title: str
    picture: Sequence[str]
    look: str
    stops: Sequence[Stop]
    cluster: SimulatedCluster


# What plays a figure: a generator, so that the cluster stands still until the next scene is asked for.
Scenes = Generator[Scene, None, None]


class Figure(NamedTuple):
    """A figure of the paper: what `play` plays, the `sections` that it belongs to, what to `read` with it.

    `apart` says what our servers do, or leave out, that the figure does not have; nothing if they are as always.
    """

    title: str
    sections: str
    shows: str
    play: Callable[[], Scenes]
    read: str
    apart: str = ""
