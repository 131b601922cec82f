"""The arguments of `raft-threads bench`. What measures is loaded only when it is asked for."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

from raft_threads.free_ports import HOST
from raft_threads.output_files import refuse_unwritable

FLOOR = "floor"
USUAL = (FLOOR, "clients", "reads", "in-process")
ONCE = ("choices", "growth", "harm", "simulator")
INSTALLED: Mapping[str, tuple[Callable[[], bool], str]] = {
    "pysyncobj": (lambda: importlib.util.find_spec("pysyncobj") is not None, "pip install pysyncobj"),
    "etcd": (lambda: shutil.which("etcd") is not None, "apt install etcd-server"),
}


def add_bench(commands: Any) -> None:
    """Add the parser of `bench`."""
    purpose = "measure how fast real servers are on this machine"
    parser = commands.add_parser(
        "bench",
        help=purpose,
        description=f"Measure how fast real servers are on this machine, at {HOST}; it should be idle.",
        epilog="docs/performance.md tells what it measures, and what it has found.",
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"what to measure: {', '.join(USUAL)} (default: these), {', '.join(ONCE)}, or all",
    )
    parser.add_argument("--servers", type=int, default=3, metavar="N", help="how many servers (default: 3)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="how often, for medians (default: 5)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, metavar="S", help="how long each measurement takes (default: 2)"
    )
    parser.add_argument(
        "--vs", action="append", choices=INSTALLED, default=[], help="also measure this, if installed; may be repeated"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write down every round")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="where servers keep their files (default: the temporary directory)"
    )
    parser.set_defaults(parser=parser, complete=complete_bench_arguments, run=run_bench)


def complete_bench_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Check what argparse cannot. Exits with 2 if something does not fit."""
    known = [*USUAL, *ONCE]
    for part in arguments.parts:
        if part not in (*known, "all"):
            parser.error(f"there is no part {part!r}; choose from {', '.join(known)}, all")
    arguments.parts = known if "all" in arguments.parts else arguments.parts or USUAL
    if not 1 <= arguments.servers <= 9:
        parser.error("--servers must be 1 to 9")
    if not 1 <= arguments.rounds <= 1000:
        parser.error("--rounds must be 1 to 1000")
    if not 0 < arguments.seconds <= 3600:
        parser.error("--seconds must be positive, and an hour at most")
    for peer in arguments.vs:
        is_installed, how = INSTALLED[peer]
        if not is_installed():
            parser.error(f"{peer} is not installed; try: {how}")
    if arguments.data_dir is not None and not arguments.data_dir.is_dir():
        parser.error(f"--data-dir {arguments.data_dir} is not a directory")
    if arguments.json is not None:
        refuse_unwritable(parser, "--json", arguments.json)


def run_bench(arguments: argparse.Namespace) -> int:
    """Measure what `arguments` ask for; return the exit code."""
    from raft_threads.bench.command import bench

    return bench(arguments)
