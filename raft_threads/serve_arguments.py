"""The arguments of `raft-threads serve`: which server of which cluster, where its files are, how it waits (§5.6), and
what it does beyond §5 (`options.py`).
"""

from __future__ import annotations

import argparse
import re
from typing import Any, Optional

from raft_threads.client_arguments import add_cluster_arguments
from raft_threads.options import Options
from raft_threads.serve import serve
from raft_threads.timing import Timing

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


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
        "--join",
        action="store_true",
        help="wait to be added to a cluster by `members add`; --cluster then needs to name this server only",
    )
    parser.add_argument(
        "--snapshot-threshold",
        type=parse_threshold,
        default=Options().snapshot_threshold,
        metavar="BYTES",
        help="compact the log when it is so large, like 512K or 64M (default); off: only when told to",
    )
    parser.add_argument(
        "--pre-vote", action="store_true", help="ask the others before an election whether they would vote for this one"
    )
    parser.add_argument(
        "--check-quorum", action="store_true", help="as leader, step down when no majority answers any more"
    )
    parser.add_argument(
        "--log-level", choices=["debug", "info", "warning", "error"], default="info", help="default: info"
    )
    parser.set_defaults(parser=parser, complete=complete_serve_arguments, run=serve)


def complete_serve_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Check what argparse cannot, and put the times together. Exits with 2 if they do not fit."""
    if arguments.id not in arguments.cluster:
        parser.error(f"--id {arguments.id} is not among the servers in --cluster: {', '.join(arguments.cluster)}")
    if not arguments.data_dir:
        parser.error("--data-dir is empty; name a directory")
    arguments.options = Options(arguments.snapshot_threshold, arguments.pre_vote, arguments.check_quorum)
    shortest, longest = arguments.election_timeout
    interval = shortest / 3 if arguments.heartbeat_interval is None else arguments.heartbeat_interval
    try:
        arguments.timing = Timing(shortest, longest, interval)
    except ValueError as error:
        parser.error(str(error))


def parse_threshold(text: str) -> Optional[int]:
    """Return a number of bytes, written with K, M or G for units of 1024; None for `off`."""
    if text == "off":
        return None
    match = re.fullmatch("([0-9]{1,12})([KMG]?)", text, re.IGNORECASE)
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes; write it like 512K or 64M, or off")
    return int(match[1]) * _UNITS[match[2].upper()]


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
