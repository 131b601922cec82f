"""`raft-threads check-history`: does an order of the operations explain what clients were told? (§8)

Exit codes: 0 linearizable, 1 not, 2 wrong arguments or a file that is no history, 3 undecided in the time given.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from raft_threads.histories import BadHistory, History, Operation
from raft_threads.linearizability import Verdict, check, describe

LINEARIZABLE, NOT_LINEARIZABLE, BAD_FILE, UNDECIDED = 0, 1, 2, 3


def add_check_history(commands: Any) -> None:
    """Add the parser of `check-history`."""
    purpose = "tell whether a recorded history of clients is linearizable"
    parser = commands.add_parser(
        "check-history",
        help=purpose,
        description=purpose.capitalize() + ", and where it is not. The format is docs/histories.md.",
        epilog="Exit codes: 0 linearizable; 1 not; 2 wrong arguments, or no history; 3 undecided in the time given.",
    )
    parser.add_argument("history", metavar="FILE", help="JSON lines; - for standard input")
    parser.add_argument(
        "--timeout", type=parse_timeout, metavar="S", help="give up after S seconds (default: as long as it takes)"
    )
    parser.set_defaults(parser=parser, complete=lambda parser, arguments: None, run=run_check_history)


def parse_timeout(text: str) -> float:
    """Return a positive number of seconds."""
    try:
        seconds = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from error
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError("the timeout must be positive")
    return seconds


def run_check_history(arguments: argparse.Namespace) -> int:
    """Check the history that `arguments` name, and say what was found; return the exit code."""
    try:
        operations = read_history(arguments.history).operations()
    except BadHistory as error:
        return refuse(f"{arguments.history}: {error}")
    except OSError as error:
        return refuse(f"{arguments.history}: {error.strerror}")
    except UnicodeDecodeError:
        return refuse(f"{arguments.history}: not UTF-8 text")
    began = time.monotonic()
    verdict = check(operations, arguments.timeout)
    print(summary(operations, verdict, time.monotonic() - began))
    for window in verdict.windows:
        print("\n".join(describe(window)))
    if verdict.windows:
        return NOT_LINEARIZABLE
    return UNDECIDED if verdict.undecided else LINEARIZABLE


def read_history(name: str) -> History:
    """Return the history in the file `name`, or on standard input. Raises BadHistory, OSError, UnicodeDecodeError."""
    if name == "-":
        return History.from_lines(sys.stdin)
    with Path(name).open(encoding="utf-8") as lines:
        return History.from_lines(lines)


def refuse(text: str) -> int:
    """Write one line to standard error, and return the exit code that goes with it."""
    print(f"raft-threads check-history: {text}", file=sys.stderr)
    return BAD_FILE


def summary(operations: list[Operation], verdict: Verdict, seconds: float) -> str:
    """Return the verdict, and on how much, in one line."""
    keys = len({operation.key for operation in operations})
    unanswered = sum(operation.returned is None for operation in operations)
    found = "linearizable" if verdict.is_linearizable else "not linearizable" if verdict.windows else "undecided"
    return f"{found}: {len(operations)} operations on {keys} keys, {unanswered} without an answer; {seconds:.2f} s"
