"""The command line of the demo: which scenario, how many servers, how fast (§5)."""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType
from typing import Callable, NamedTuple, Optional

from raft_threads.demo.forerunner import election
from raft_threads.demo.processes import processes
from raft_threads.demo.scenes import leader_crash, partition, replication, split_vote
from raft_threads.demo.shell import shell
from raft_threads.demo.show import Show
from raft_threads.demo.stage import RED, Stage
from raft_threads.demo.story import story
from raft_threads.held_signals import STOP_SIGNALS
from raft_threads.rpc_server import CannotListen
from raft_threads.storage import StorageError

MOST_SERVERS = 9
INTERRUPTED = 130


class Scenario(NamedTuple):
    """One thing to see: its name, what it shows, how many servers it wants."""

    play: Callable[[Show], None]
    shows: str
    fewest_servers: int
    servers: int


SCENARIOS = {
    "story": Scenario(story, "an election, replication, a leader cut off, a crash and a restart", 3, 3),
    "election": Scenario(election, "an election, as the project's forerunner printed it (§5.2)", 1, 3),
    "split-vote": Scenario(split_vote, "two candidates at once, and how random timeouts decide (§5.2)", 2, 4),
    "replication": Scenario(replication, "a follower that was cut off gets what it missed (§5.3)", 3, 3),
    "leader-crash": Scenario(leader_crash, "the leader crashes; another one has all that was committed (§5.4.1)", 3, 3),
    "partition": Scenario(partition, "two halves, of which only the larger can commit (§5.2, §5.3)", 3, 5),
    "processes": Scenario(processes, "servers as processes, killed with kill -9 (§5.5)", 3, 3),
    "shell": Scenario(shell, "a prompt on a live cluster: cut, crash, restart, look", 1, 3),
}


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM: everything is cleaned up on the way out."""


def main(argv: Optional[list[str]] = None) -> int:
    """Play the scenario in `argv`. Returns 0 if its checks held, 1 if not, 130 if it was interrupted."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.list:
        print("\n".join(f"{name:14}{scenario.shows}" for name, scenario in SCENARIOS.items()))
        return 0
    scenario = SCENARIOS[arguments.scenario]
    servers = scenario.servers if arguments.servers is None else arguments.servers
    if not scenario.fewest_servers <= servers <= MOST_SERVERS:
        parser.error(f"{arguments.scenario} needs {scenario.fewest_servers} to {MOST_SERVERS} servers, not {servers}")
    install_signal_handlers()
    try:
        with Stage(arguments.pace) as stage:
            return play(scenario, Show(stage, servers, arguments.seed))
    except Interrupted:
        print("\nInterrupted; everything has been stopped and removed.", file=sys.stderr)
        return INTERRUPTED


def play(scenario: Scenario, show: Show) -> int:
    """Play `scenario`; return the exit code."""
    try:
        scenario.play(show)
    except (AssertionError, CannotListen, StorageError, TimeoutError) as error:
        show.stage.line(f"   This went wrong: {error}", RED)
        return 1
    return 1 if show.stage.failures else 0


def install_signal_handlers() -> None:
    """Have Ctrl-C and SIGTERM end the scenario in order, once; a second one does not disturb the cleaning up."""

    def interrupt(signum: int, frame: Optional[FrameType]) -> None:
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted()

    for each in STOP_SIGNALS:
        signal.signal(each, interrupt)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the demo's arguments."""
    parser = argparse.ArgumentParser(
        prog="run_demo.py",
        description="See Raft happen on real servers, with sockets and files of their own.",
        epilog="Without a scenario it plays the story. Exit code 0 means that the scenario's own checks held.",
    )
    parser.add_argument("scenario", nargs="?", default="story", choices=SCENARIOS, metavar="SCENARIO", help="--list")
    parser.add_argument("--list", action="store_true", help="name the scenarios and what they show")
    parser.add_argument("--servers", type=int, metavar="N", help="how many servers, up to 9 (default: the scenario's)")
    parser.add_argument("--seed", default="1", help="decides the timeouts, and so who times out first (default: 1)")
    parser.add_argument(
        "--pace", choices=["human", "fast"], default="human", help="human: to be followed (default); fast: for tests"
    )
    return parser
