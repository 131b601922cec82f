"""The command line: `python -m raft_threads ...`, or `raft-threads ...` once installed."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, Optional

from raft_threads import __version__
from raft_threads.addresses import Address, parse_cluster
from raft_threads.client_commands import run_client_command
from raft_threads.diagram_command import run_diagram_command
from raft_threads.serve import serve
from raft_threads.timing import Timing

EXAMPLE_CLUSTER = "n1=127.0.0.1:3300,n2=127.0.0.1:3301,n3=127.0.0.1:3302"
INTERRUPTED = 130


def main(argv: Optional[list[str]] = None) -> int:
    """Run the command in `argv` (default: this process's) and return its exit code."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "serve":
        complete_serve_arguments(parser, arguments)
        return serve(arguments)
    if arguments.command == "cas":
        complete_cas_arguments(parser, arguments)
    if arguments.command == "diagram":
        complete_diagram_arguments(parser, arguments)
    try:
        code = run_diagram_command(arguments) if arguments.command == "diagram" else run_client_command(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone; keep the interpreter from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="raft-threads",
        description="A replicated key-value store on Raft: a server, and clients for it.",
        epilog="Exit codes: 0 done; 1 the answer is no, or the server could not run; 2 wrong arguments; "
        "3 surely not executed; 4 may or may not have been executed.",
    )
    parser.add_argument("--version", action="version", version=f"raft-threads {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_serve(commands)
    key = {"key": "the key, any text"}
    add_client_command(commands, "put", "set KEY to VALUE", {**key, "value": "the value, any text"})
    add_client_command(commands, "get", "print the value of KEY; exit with 1 if there is none", key)
    add_client_command(commands, "delete", "remove KEY; exit with 1 if there is none", key)
    add_client_command(commands, "append", "append VALUE to the value of KEY", {**key, "value": "what to append"})
    cas = add_client_command(commands, "cas", "set KEY to NEW if it holds EXPECTED; exit with 1 if it does not", key)
    cas.usage = "%(prog)s --cluster SERVERS KEY EXPECTED NEW\n       %(prog)s --cluster SERVERS --absent KEY NEW"
    cas.add_argument("values", metavar="[EXPECTED] NEW", nargs="+", help="the value it should hold, and the new one")
    cas.add_argument("--absent", action="store_true", help="expect that there is no such key; give NEW alone")
    status = add_client_command(commands, "status", "show how every server is", {})
    status.add_argument("--json", action="store_true", help="print a list of JSON objects instead of a table")
    add_diagram(commands)
    return parser


def add_serve(commands: Any) -> None:
    """Add the parser of `serve`."""
    parser = commands.add_parser("serve", help="run one server of a cluster", description="Run one server.")
    parser.add_argument("--id", required=True, help="which of the cluster's servers this is")
    add_cluster_arguments(parser)
    parser.add_argument("--data-dir", required=True, metavar="DIR", help="where it keeps term, vote and log")
    parser.add_argument(
        "--election-timeout",
        type=parse_range,
        default=(0.150, 0.300),
        metavar="MIN-MAX",
        help="from which range to draw election timeouts, in milliseconds (default: 150-300)",
    )
    parser.add_argument(
        "--heartbeat-interval",
        type=parse_milliseconds,
        metavar="MS",
        help="milliseconds between a leader's heartbeats (default: a third of the shortest election timeout)",
    )
    parser.add_argument(
        "--log-level", choices=["debug", "info", "warning", "error"], default="info", help="default: info"
    )


def add_diagram(commands: Any) -> None:
    """Add the parser of `diagram`."""
    purpose = "draw the space-time diagram of a trace"
    parser = commands.add_parser("diagram", help=purpose, description=purpose.capitalize() + ", as SVG or as text.")
    parser.add_argument("trace", metavar="TRACE", type=Path, help="the trace, as run_demo.py --trace writes one")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="where to draw it (default: TRACE with the ending .svg)"
    )
    parser.add_argument("--text", action="store_true", help="write a table for the terminal instead of an SVG")
    parser.add_argument(
        "--from", dest="first", type=parse_moment, metavar="S", help="begin S seconds after the trace does"
    )
    parser.add_argument("--to", dest="last", type=parse_moment, metavar="S", help="end S seconds after it began")
    parser.add_argument(
        "--width", type=int, metavar="N", help="with --text: cut lines to N characters (default: the terminal's width)"
    )


def add_client_command(
    commands: Any, name: str, purpose: str, positionals: dict[str, str]
) -> argparse.ArgumentParser:
    """Add the parser of a client command with its positional arguments, and return it."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=purpose, description=purpose)
    add_cluster_arguments(parser)
    parser.add_argument(
        "--timeout", type=parse_seconds, default=5.0, metavar="S", help="give up after S seconds (default: 5)"
    )
    for positional, explanation in positionals.items():
        parser.add_argument(positional, metavar=positional.upper(), help=explanation)
    return parser


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which cluster is meant."""
    parser.add_argument(
        "--cluster",
        required=True,
        type=parse_servers,
        metavar="SERVERS",
        help=f"all servers as id=host:port, like {EXAMPLE_CLUSTER}; IPv6 as n1=[::1]:3300",
    )
    parser.add_argument(
        "--cluster-name", default="raft", metavar="NAME", help="only servers and clients of one name talk to each other"
    )


def complete_serve_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Check what argparse cannot, and put the times together. Exits with 2 if they do not fit."""
    if arguments.id not in arguments.cluster:
        parser.error(f"--id {arguments.id} is not among the servers in --cluster: {', '.join(arguments.cluster)}")
    shortest, longest = arguments.election_timeout
    interval = shortest / 3 if arguments.heartbeat_interval is None else arguments.heartbeat_interval
    try:
        arguments.timing = Timing(shortest, longest, interval)
    except ValueError as error:
        parser.error(str(error))


def complete_cas_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Sort out the values of `cas`. Exits with 2 if there are too many or too few."""
    if len(arguments.values) != (1 if arguments.absent else 2):
        parser.error("cas takes KEY EXPECTED NEW, or --absent KEY NEW")
    arguments.expected = None if arguments.absent else arguments.values[0]
    arguments.new = arguments.values[-1]


def complete_diagram_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Check what argparse cannot. Exits with 2 if the arguments contradict each other."""
    if arguments.first is not None and arguments.last is not None and arguments.first > arguments.last:
        parser.error("--from must not be later than --to")
    if arguments.width is not None and not (arguments.text and arguments.width >= 20):
        parser.error("--width goes with --text, and is 20 at least")
    if arguments.output is None and not arguments.text:
        arguments.output = arguments.trace.parent / f"{arguments.trace.stem}.svg"
    if arguments.output is not None and arguments.output.resolve() == arguments.trace.resolve():
        parser.error(f"{arguments.output} is the trace itself; name another file with -o")


def parse_servers(text: str) -> dict[str, Address]:
    """`parse_cluster` for argparse, which shows the text of this kind of error only."""
    try:
        return parse_cluster(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parse_milliseconds(text: str) -> float:
    """Return seconds for a number of milliseconds."""
    try:
        return float(text) / 1000
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds") from error


def parse_range(text: str) -> Any:
    """Return the two ends in seconds of a range in milliseconds, `150-300`."""
    shortest, dash, longest = text.partition("-")
    if not dash:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of milliseconds; write it like 150-300")
    return parse_milliseconds(shortest), parse_milliseconds(longest)


def parse_moment(text: str) -> float:
    """Return a number of seconds since the beginning of a run."""
    try:
        seconds = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from error
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError("a run begins at 0 seconds")
    return seconds


def parse_seconds(text: str) -> float:
    """Return a positive number of seconds, an hour at most."""
    try:
        seconds = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from error
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("the timeout must be positive, and an hour at most")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
