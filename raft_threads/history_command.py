"""`raft-threads check-history FILE`: is this history of clients linearizable (§8)? `docs/histories.md` has the format.

Exit codes: 0 it is, 1 it is not, 2 wrong arguments or not a history, 3 undecided when the time was up.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from typing import Any

from raft_threads.histories import BadHistory, History, Operation
from raft_threads.linearizability import Verdict, check, describe, name_of

LINEARIZABLE, NOT_LINEARIZABLE, NOT_A_HISTORY, UNDECIDED = 0, 1, 2, 3


def add_check_history(commands: Any) -> None:
    """Add the parser of `check-history`."""
    purpose = "say whether a recorded history of clients is linearizable, and if not, which answers contradict"
    parser = commands.add_parser(
        "check-history",
        help=purpose,
        description=purpose.capitalize(),
        epilog="Exit codes: 0 linearizable; 1 not linearizable; 2 wrong arguments, or FILE is not a history; "
        "3 undecided, because the time was up.",
    )
    parser.add_argument("file", metavar="FILE", help="the history as JSON lines; - for standard input")
    parser.add_argument(
        "--timeout",
        type=parse_timeout,
        default=60.0,
        metavar="S",
        help="give up after S seconds (default: 60); to find what contradicts takes some seconds more",
    )
    parser.set_defaults(parser=parser, complete=lambda parser, arguments: None, run=run_check_history)


def parse_timeout(text: str) -> float:
    """Return a positive number of seconds."""
    try:
        seconds = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from error
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError("the timeout must be a positive number of seconds")
    return seconds


def run_check_history(arguments: argparse.Namespace) -> int:
    """Check the history that `arguments` name, print what was found, and return the exit code."""
    try:
        operations = read_history(arguments.file).operations()
    except (OSError, BadHistory) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else error
        print(f"raft-threads check-history: {arguments.file}: {what}", file=sys.stderr)
        return NOT_A_HISTORY
    begun = time.monotonic()
    verdict = check(operations, arguments.timeout)
    print(summary(verdict, operations, time.monotonic() - begun))
    for window in verdict.windows:
        print("\n".join(describe(window)))
    for key in verdict.undecided:
        print(f"{name_of(key)}: undecided after {arguments.timeout:g} s; try a longer --timeout")
    if verdict.is_linearizable:
        return LINEARIZABLE
    return NOT_LINEARIZABLE if verdict.windows else UNDECIDED


def read_history(name: str) -> History:
    """Return the history in the file `name`, or from standard input for `-`. Raises OSError and BadHistory."""
    try:
        if name == "-":
            return History.from_lines(sys.stdin)
        with open(name, encoding="utf-8") as file:
            return History.from_lines(file)
    except UnicodeDecodeError as error:
        raise BadHistory("not a history: it is not UTF-8 text") from error


def summary(verdict: Verdict, operations: list[Operation], seconds: float) -> str:
    """Return the line that says it all."""
    answer = "not linearizable" if verdict.windows else "undecided" if verdict.undecided else "linearizable"
    keys = len({operation.key for operation in operations})
    unanswered = sum(operation.returned is None for operation in operations)
    return (
        f"{answer}: {len(operations)} operation{'s' * (len(operations) != 1)} on {keys} key{'s' * (keys != 1)}, "
        f"{unanswered} of them without an answer; checked in {seconds:.3f} s"
    )
