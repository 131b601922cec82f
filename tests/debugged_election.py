"""A short run in virtual time, for tests of debuggers: n1 is elected and takes a command.

As a program it prints the run's fingerprint. `python debugged_election.py WAY [PLACE]` opens a prompt in that way.
"""

from __future__ import annotations

import os
import pdb
import signal
import sys
from types import FrameType
from typing import Callable, Optional

from raft_threads import election
from raft_threads.events import BecameCandidate, Event, EventKinds
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import State


def post_mortem() -> None:
    """Look at an exception that was caught."""
    try:
        raise ValueError("something is wrong")
    except ValueError:
        pdb.post_mortem()


WAYS: dict[str, Callable[[], None]] = {
    "none": lambda: None,
    "breakpoint": breakpoint,
    "set_trace": pdb.set_trace,
    "bare": lambda: pdb.Pdb().set_trace(),
    "post_mortem": post_mortem,
}


class Stopper:
    """An observer that stops when a server has become a candidate."""

    kinds: Optional[EventKinds] = None

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def observe(self, event: Event) -> None:
        """Stop, if this is the event."""
        if isinstance(event, BecameCandidate):
            self._stop()


def run(way: str = "none", place: str = "rule") -> int:
    """Return the fingerprint of the run. A prompt opens in that way, at one of three places.

    `rule` is where n1's election timer begins the election, `observer` where it tells of that; `main` is the script.
    """
    original = election.begin_election
    stop = WAYS[way]

    def begin_election(state: State, told_to_stand: bool = False) -> None:
        if place == "rule":
            stop()
        original(state, told_to_stand)

    election.begin_election = begin_election
    observers = [Stopper(stop)] if place == "observer" else []
    try:
        with SimulatedCluster(seed=7, observers=observers) as cluster:
            cluster.elect("n1")
            if place == "main":
                stop()
            cluster.put("x", "1")
            cluster.run_for(1)
            return cluster.scheduler.fingerprint
    finally:
        election.begin_election = original


def say_that_ctrl_c_has_come(number: int, frame: Optional[FrameType]) -> None:
    """Handle SIGINT as Python does, but not silently: a process that gets no core may take long to come to it."""
    os.write(sys.stdout.fileno(), b"Ctrl-C\n")
    signal.default_int_handler(number, frame)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, say_that_ctrl_c_has_come)
    print("fingerprint", run(*sys.argv[1:]))
