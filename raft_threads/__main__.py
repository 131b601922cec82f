"""The command line: `python -m raft_threads ...`, or `raft-threads ...` once installed."""

from __future__ import annotations

import argparse
import sys
from typing import Optional

from raft_threads import __version__
from raft_threads.bench.arguments import add_bench
from raft_threads.client_arguments import add_client_commands
from raft_threads.diagram_command import add_diagram
from raft_threads.figure_16.command import add_figure_16
from raft_threads.history_command import add_check_history
from raft_threads.operator_arguments import add_operator_commands
from raft_threads.serve_arguments import add_serve
from raft_threads.simulation.command import add_simulate
from raft_threads.standard_streams import run_and_flush

INTERRUPTED = 130


def main(argv: Optional[list[str]] = None) -> int:
    """Run the command in `argv` (default: this process's) and return its exit code."""
    try:
        return run_and_flush("raft-threads", lambda: run(argv), reader_has_gone=INTERRUPTED)
    except KeyboardInterrupt:
        return INTERRUPTED


def run(argv: Optional[list[str]]) -> int:
    """Run the command in `argv`, or say what is wrong with it."""
    arguments = build_parser().parse_args(argv)
    # Each command has brought its own parser, what that cannot check by itself, and what runs.
    arguments.complete(arguments.parser, arguments)
    code: int = arguments.run(arguments)
    return code


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="raft-threads",
        description="A replicated key-value store on Raft: a server, clients for it, and a simulator of clusters.",
        epilog="Exit codes: 0 done; 1 the answer is no, or the server could not run; 2 wrong arguments; "
        "3 surely not executed; 4 may or may not have been executed.",
    )
    parser.add_argument("--version", action="version", version=f"raft-threads {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_serve(commands)
    add_client_commands(commands)
    add_operator_commands(commands)
    add_simulate(commands)
    add_diagram(commands)
    add_check_history(commands)
    add_bench(commands)
    add_figure_16(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
