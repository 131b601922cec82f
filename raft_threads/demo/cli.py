"""The command line of the demo: which scenario, how many servers, how fast (§5)."""

from __future__ import annotations

import argparse
import io
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from raft_threads.client import ClientError
from raft_threads.companion.commands import COMPANION
from raft_threads.demo.exactly_once import exactly_once
from raft_threads.demo.extension_scenes import check_quorum, pre_vote, transfer
from raft_threads.demo.forerunner import election
from raft_threads.demo.later_scenes import membership, snapshot
from raft_threads.demo.processes import processes
from raft_threads.demo.scenes import leader_crash, partition, replication, split_vote
from raft_threads.demo.shell import shell
from raft_threads.demo.show import FIRST_PORT, Show
from raft_threads.demo.stage import RED, Stage
from raft_threads.demo.story import story
from raft_threads.demo.tracing import Recording
from raft_threads.held_signals import ALL_SIGNALS, ignore_signals, interrupt_once
from raft_threads.invariants import InvariantViolation
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown
from raft_threads.rpc_server import CannotListen
from raft_threads.standard_streams import run_and_flush
from raft_threads.storage import StorageError

MOST_SERVERS = 9
INTERRUPTED = 130
# What can go wrong with a scenario on a busy or broken machine; OSError includes TimeoutError. All else is a mistake in
# the program.
MISHAPS = (
    AssertionError,
    CannotListen,
    ClientError,
    CommandFailed,
    InvariantViolation,
    NotLeader,
    OSError,
    OutcomeUnknown,
    StorageError,
)


class Scenario(NamedTuple):
    """One thing to see: what plays it, what it shows, how many servers it wants, and what to read with it."""

    play: Callable[[Show], None]
    shows: str
    fewest_servers: int
    servers: int
    read: str


SCENARIOS = {
    "story": Scenario(
        story, "an election, replication, a leader cut off, a crash and a restart", 3, 3,
        "§5.1 to §5.5; docs/companion/ has a page for each.",
    ),
    "election": Scenario(
        election, "an election, as the project's forerunner printed it (§5.2)", 1, 3,
        "§5.2, and raft_threads/election.py beside it.",
    ),
    "split-vote": Scenario(
        split_vote, "two candidates at once, and how random timeouts decide (§5.2)", 2, 4,
        "§5.2, from the third outcome of an election on; raft_threads/election.py.",
    ),
    "replication": Scenario(
        replication, "a follower that was cut off gets what it missed (§5.3)", 3, 3,
        "§5.3 and Fig. 6; raft_threads/replication.py.",
    ),
    "leader-crash": Scenario(
        leader_crash, "the leader crashes; another one has all that was committed (§5.4.1)", 3, 3,
        "§5.4.1, `is_at_least_as_up_to_date` in raft_threads/election.py; §5.5.",
    ),
    "partition": Scenario(
        partition, "two parts, of which only the larger can commit (§5.2, §5.3)", 3, 5,
        "§5.3, `advance_commit_index` in raft_threads/replication.py; Fig. 3.",
    ),
    "membership": Scenario(
        membership, "servers are added and removed, the leader among them (§6)", 3, 3,
        "§6, Fig. 10 and 11; raft_threads/membership.py.",
    ),
    "snapshot": Scenario(
        snapshot, "logs are compacted, and a follower gets the leader's snapshot (§7)", 3, 3,
        "§7, Fig. 12 and 13; raft_threads/compaction.py.",
    ),
    "exactly-once": Scenario(
        exactly_once, "commands that are sent again are executed once, in a session (§8)", 3, 3,
        "§8; raft_threads/sessions.py.",
    ),
    "pre-vote": Scenario(
        pre_vote, "a server that was cut off deposes the leader, or does not (Diss. §9.6)", 3, 3,
        "Diss. §9.6; raft_threads/pre_vote.py.",
    ),
    "check-quorum": Scenario(
        check_quorum, "a leader that is cut off notices, or does not (Diss. §6.2)", 3, 3,
        "Diss. §6.2; raft_threads/check_quorum.py, and raft_threads/reads.py for what makes reads safe without it.",
    ),
    "transfer": Scenario(
        transfer, "leadership is handed over, and how long that takes (Diss. §3.10)", 3, 3,
        "Diss. §3.10; raft_threads/transfer.py.",
    ),
    "processes": Scenario(
        processes, "servers as processes, killed with kill -9 (§5.5)", 3, 3,
        "§5.5, and Fig. 2's persistent state; raft_threads/file_storage.py and docs/storage-format.md.",
    ),
    "shell": Scenario(
        shell, "a prompt on a live cluster: cut, crash, restart, look (§5)", 1, 3,
        "§5, trying out what it says.",
    ),
}


def main(argv: Optional[list[str]] = None) -> int:
    """Play the scenario in `argv`. Returns 0 if its checks held, 1 if not, 130 if it was interrupted."""
    make_do_with_any_encoding()
    return run_and_flush("run_demo.py", lambda: run(sys.argv[1:] if argv is None else argv), reader_has_gone=0)


def run(argv: list[str]) -> int:
    """Do what `argv` asks for: a command of the companion, a list of all, or a scenario. Returns the exit code."""
    if argv and argv[0] in COMPANION:
        return COMPANION[argv[0]].main(argv[1:])
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.list:
        print("\n".join(f"{name:14}{scenario.shows}" for name, scenario in SCENARIOS.items()))
        print("\n".join(f"{name:14}{command.shows}" for name, command in COMPANION.items()))
        return 0
    if arguments.scenario in COMPANION:
        parser.error(f"{arguments.scenario} stands first, and what it takes after it: see {arguments.scenario} --help")
    scenario = SCENARIOS[arguments.scenario]
    servers = scenario.servers if arguments.servers is None else arguments.servers
    if not scenario.fewest_servers <= servers <= MOST_SERVERS:
        parser.error(f"{arguments.scenario} needs {scenario.fewest_servers} to {MOST_SERVERS} servers, not {servers}")
    recording = open_recording(parser, arguments)
    trace = None if recording is None else recording.trace
    show = Show(Stage(arguments.pace), servers, arguments.seed, ExitStack(), arguments.first_port, trace)
    exit_code = perform(scenario, show)
    if recording is not None:
        for line in recording.finish():
            print(line)
    if exit_code == INTERRUPTED:
        print("\nInterrupted; everything has been stopped and removed.", file=sys.stderr)
    return exit_code


def make_do_with_any_encoding() -> None:
    """Have `?` stand for what the terminal's encoding lacks: a terminal without § is no reason to fail."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(io.UnsupportedOperation):  # pdb has read its commands from there already
                stream.reconfigure(errors="replace")


def open_recording(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Optional[Recording]:
    """Return where the run is written down, None if nobody wants it. Exits with 2 if that is impossible."""
    if arguments.trace is None and arguments.diagram is None:
        return None
    if arguments.scenario == "processes":
        parser.error("processes cannot be traced: its servers are other processes")
    if arguments.trace is not None and arguments.diagram is not None:
        if arguments.trace.resolve() == arguments.diagram.resolve():
            parser.error("--trace and --diagram need different files")
    try:
        metadata = {"scenario": arguments.scenario, "seed": arguments.seed, "pace": arguments.pace}
        return Recording(arguments.trace, arguments.diagram, metadata)
    except OSError as error:
        parser.error(f"cannot write {error.filename}: {error.strerror}")


def perform(scenario: Scenario, show: Show) -> int:
    """Play `scenario` with the curtain up, and clean up even after Ctrl-C; return the exit code."""
    try:
        interrupt_once(ALL_SIGNALS, KeyboardInterrupt)
        show.cleanup.callback(show.stage.close)
        show.stage.open()
        exit_code = play(scenario, show)
        ignore_signals(ALL_SIGNALS)  # the cleaning up below is never interrupted: the handler does the same
    except KeyboardInterrupt:
        exit_code = INTERRUPTED
    finally:
        show.cleanup.close()
    return exit_code


def play(scenario: Scenario, show: Show) -> int:
    """Play `scenario`; return 0 if its checks held."""
    try:
        scenario.play(show)
    except MISHAPS as error:
        show.stage.line(f"   This went wrong: {error}", RED)
        return 1
    show.stage.line()
    show.stage.line(f"   Read: {scenario.read}")
    return 1 if show.stage.failures else 0


def parse_port(text: str) -> int:
    """Return a port that leaves room for all servers after it."""
    if not (text.isdigit() and 1024 <= int(text) <= 65535 - MOST_SERVERS):
        raise argparse.ArgumentTypeError(f"a port from 1024 to {65535 - MOST_SERVERS}, not {text!r}")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the demo's arguments."""
    parser = argparse.ArgumentParser(
        prog="run_demo.py",
        description="See Raft happen on real servers, with sockets and files of their own.",
        epilog="Without a scenario it plays the story. Exit code 0 means that the scenario's own checks held. "
        f"Beside the paper: {', '.join(COMPANION)}; each explains itself with --help.",
    )
    parser.add_argument(
        "scenario",
        nargs="?",
        default="story",
        choices=[*SCENARIOS, *COMPANION],
        metavar="SCENARIO",
        help="one of " + ", ".join(SCENARIOS),
    )
    parser.add_argument("--list", action="store_true", help="name the scenarios and what they show")
    parser.add_argument("--servers", type=int, metavar="N", help="how many servers, up to 9 (default: the scenario's)")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="decides the timeouts, and so who times out first (default: 1)"
    )
    parser.add_argument(
        "--pace", choices=["human", "fast"], default="human", help="human: to be followed (default); fast: for tests"
    )
    parser.add_argument(
        "--first-port",
        type=parse_port,
        default=FIRST_PORT,
        metavar="PORT",
        help=f"where the first server listens, the others after it (default: {FIRST_PORT})",
    )
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write down all events (docs/trace-format.md)")
    parser.add_argument("--diagram", type=Path, metavar="FILE", help="draw the run as a space-time diagram, an SVG")
    return parser
