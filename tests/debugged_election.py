"""A short run in virtual time, for tests of debuggers: n1 is elected and takes a command.

As a program it prints the run's fingerprint. `python debugged_election.py WAY` opens a prompt in that way in n1's
election timer; `main` opens it in main.
"""

from __future__ import annotations

import pdb
import sys
from typing import Callable

from raft_threads import election
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


def run(way: str = "none", way_in_main: str = "none") -> int:
    """Return the fingerprint of the run. Prompts open when n1 begins its election, and in main when it is elected."""
    original = election.begin_election

    def begin_election(state: State) -> None:
        WAYS[way]()
        original(state)

    election.begin_election = begin_election
    try:
        with SimulatedCluster(seed=7) as cluster:
            cluster.elect("n1")
            WAYS[way_in_main]()
            cluster.put("x", "1")
            cluster.run_for(1)
            return cluster.scheduler.fingerprint
    finally:
        election.begin_election = original


if __name__ == "__main__":
    ways = sys.argv[1:]
    print("fingerprint", run("none", "breakpoint") if ways == ["main"] else run(*ways))
