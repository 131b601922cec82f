"""Plays the companion's figures once for all tests, and keeps what the servers were like at each scene."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any, Callable, Optional

from raft_threads.companion.figures.command import FIGURES
from raft_threads.companion.figures.scene import Scene, Stop
from raft_threads.short_text import command_text
from raft_threads.simulation.cluster import SimulatedCluster


@dataclass(frozen=True)
class Server:
    """What one server was like: of one that was down, what its disk held."""

    role: str
    term: int
    voted_for: Optional[str]
    terms: list[int]
    commands: list[str]
    commit_index: int
    last_applied: int
    snapshot_index: int
    items: dict[str, str]


@dataclass(frozen=True)
class Moment:
    """One scene as it was shown, its servers, and which of its stops the play did not come by."""

    title: str
    picture: list[str]
    look: str
    servers: dict[str, Server]
    stops: Sequence[Stop]
    passed_by: list[Stop]
    joint: dict[str, bool]

    def text(self) -> str:
        """Return the picture as one text."""
        return "\n".join(self.picture)

    def terms(self) -> list[list[int]]:
        """Return the terms in the logs, in the servers' order."""
        return [server.terms for server in self.servers.values()]

    def commit_indexes(self) -> list[int]:
        """Return what each knows to be committed, in the servers' order."""
        return [server.commit_index for server in self.servers.values()]


def moment_of(scene: Scene, passed_by: list[Stop]) -> Moment:
    """Return what is to be kept of `scene`, before the play goes on."""
    servers = {server: look_at(scene.cluster, server) for server in scene.cluster.servers}
    running = scene.cluster.running
    joint = {server: scene.cluster.state(server).configuration.is_joint for server in running}
    return Moment(scene.title, list(scene.picture), scene.look, servers, scene.stops, passed_by, joint)


def look_at(cluster: SimulatedCluster, name: str) -> Server:
    """Return what the server `name` is like now."""
    log = cluster.log_of(name)
    terms, commands = [entry.term for entry in log], [command_text(entry) for entry in log]
    if name not in cluster.running:
        return Server("down", *cluster.disks[name].term_and_vote, terms, commands, 0, 0, 0, {})
    state, items = cluster.state(name), dict(cluster.running[name].store.items)
    return Server(
        state.role.value,
        state.current_term,
        state.voted_for,
        terms,
        commands,
        state.commit_index,
        state.last_applied,
        state.log.start.last_included_index,
        items,
    )


@lru_cache(maxsize=None)
def played(name: str) -> list[Moment]:
    """Return the scenes of the figure `name`, having watched which functions are called from one to the next."""
    moments = []
    with watching(all_stops(name)) as passed, closing(FIGURES[name].play()) as scenes:
        for scene in scenes:
            moments.append(moment_of(scene, [stop for stop in scene.stops if stop not in passed]))
            passed.clear()
    return moments


@lru_cache(maxsize=None)
def all_stops(name: str) -> list[Stop]:
    """Return all stops of a figure: from a first play, since nobody knows them before."""
    with closing(FIGURES[name].play()) as scenes:
        return [stop for scene in scenes for stop in scene.stops]


@contextmanager
def watching(stops: Sequence[Stop]) -> Iterator[set[Stop]]:
    """Have the set grow by those `stops` whose function is called while their condition holds."""
    passed: set[Stop] = set()
    by_code: dict[CodeType, list[Stop]] = {}
    for stop in stops:
        function: Any = stop.function
        by_code.setdefault(function.__code__, []).append(stop)

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            for stop in by_code.get(frame.f_code, ()):
                if not stop.condition or eval(stop.condition, frame.f_globals, dict(frame.f_locals)):
                    passed.add(stop)

    with profiled_by(profile):
        yield passed


@contextmanager
def profiled_by(profile: Callable[[FrameType, str, Any], None]) -> Iterator[None]:
    """Have `profile` told of all calls, in this thread and in those that are started meanwhile."""
    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
