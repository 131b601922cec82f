"""`raft-threads simulate`: one seed or many, in virtual time (Fig. 3, §8)."""

from __future__ import annotations

import argparse
import io
import sys
import time
from pathlib import Path
from typing import Any, Optional

from raft_threads.diagram_command import write_svg
from raft_threads.diagrams.run import Run
from raft_threads.held_signals import interrupted_once
from raft_threads.simulation.chaos import PROFILES
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.run import Plan, Result, run
from raft_threads.simulation.sweep import shard, sweep
from raft_threads.standard_streams import complaint_about
from raft_threads.timing import Timing
from raft_threads.trace import read_trace

DONE, FOUND, INTERRUPTED = 0, 1, 130
# What `--benchmark` lets each cluster live through, in virtual seconds.
BENCHMARK_SECONDS = 60.0
BENCHMARK_ROUNDS = 3


def add_simulate(commands: Any) -> None:
    """Add the parser of `simulate`."""
    purpose = "run servers in virtual time, with chaos, and check all that the paper promises"
    parser = commands.add_parser(
        "simulate",
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ".",
        epilog="Exit codes: 0 all seeds passed; 1 some failed; 2 wrong arguments; 130 interrupted.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seeds", type=parse_seeds, metavar="FROM:TO", help="run the seeds from FROM up to TO - 1")
    what.add_argument("--seed", type=int, metavar="N", help="run one seed, the same each time")
    what.add_argument("--benchmark", action="store_true", help="how many virtual seconds a second 3 and 5 servers run")
    parser.add_argument("--servers", type=int, default=3, metavar="N", help="how many servers (default: 3)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="virtual seconds of chaos for each seed (default: 10)"
    )
    parser.add_argument(
        "--profile",
        choices=PROFILES,
        default="mixed",
        help="mixed: each seed draws its own schedule and faults (default); hostile: always the worst",
    )
    parser.add_argument("--trace", type=Path, metavar="FILE", help="with --seed: write down the run (see `diagram`)")
    parser.add_argument("--diagram", type=Path, metavar="FILE", help="with --seed: draw the run, as SVG")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="how many processes (default: 1)")
    parser.add_argument(
        "--shard", type=parse_shard, default=(1, 1), metavar="I/N", help="run part I of N of the seeds, I from 1"
    )
    parser.set_defaults(parser=parser, complete=complete_simulate_arguments, run=simulate)


@interrupted_once()
def simulate(arguments: argparse.Namespace) -> int:
    """Run what `arguments` ask for; return the exit code."""
    if arguments.benchmark:
        return benchmark()
    if arguments.seed is not None:
        plan = Plan(arguments.seed, arguments.servers, arguments.seconds, arguments.profile)
        return simulate_one(plan, arguments.trace, arguments.diagram)
    seeds = shard(arguments.seeds, *arguments.shard)
    plans = [Plan(seed, arguments.servers, arguments.seconds, arguments.profile) for seed in seeds]
    return FOUND if sweep(plans, arguments.jobs).failures else DONE


def complete_simulate_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Check what argparse cannot. Exits with 2 if something does not fit."""
    if not 1 <= arguments.servers <= 99:
        parser.error("--servers must be 1 to 99")
    if not 0 < arguments.seconds <= 86_400:
        parser.error("--seconds must be positive, and a day at most")
    if arguments.seed is None and (arguments.trace or arguments.diagram):
        parser.error("--trace and --diagram go with --seed: one run is written down or drawn")
    if not 1 <= arguments.jobs <= 256:
        parser.error("--jobs must be 1 to 256")


def simulate_one(plan: Plan, trace_path: Optional[Path], diagram_path: Optional[Path]) -> int:
    """Run one seed and tell what happened; write it down and draw it, if that is wanted."""
    lines = io.StringIO()
    wanted = trace_path is not None or diagram_path is not None
    result = run(plan, trace=lines if wanted else None)
    tell(plan, result)
    try:
        if trace_path is not None:
            trace_path.write_bytes(lines.getvalue().encode("ascii"))
            print(f"trace: {trace_path}")
        if diagram_path is not None:
            drawn = Run(read_trace(lines.getvalue().splitlines(keepends=True)))
            print(f"diagram: {diagram_path}, {write_svg(drawn, diagram_path, f'seed {plan.seed}')}")
    except OSError as error:
        print(f"raft-threads simulate: {complaint_about(error)}", file=sys.stderr)
        return FOUND
    return DONE if result.failure is None else FOUND


def tell(plan: Plan, result: Result) -> None:
    """Print what happened in a run."""
    print(f"seed {plan.seed}, {plan.servers} servers; {result.weather}")
    print(", ".join(f"{count} {name}" for name, count in sorted(result.counts.items())))
    print(
        f"{result.virtual_seconds:.3f} virtual seconds in {result.real_seconds:.1f} s, {result.steps} steps, "
        f"{result.operations} operations; fingerprint {result.fingerprint & 2**64 - 1:016x}"
    )
    if result.failure is None:
        print("all checks held")
    else:
        print(f"failed: {result.failure}\n{result.report}")


def benchmark() -> int:
    """Print how fast healthy clusters run, with heartbeats every 50 ms and all checks on."""
    for servers in (3, 5):
        measured = speeds(servers)
        middle, listed = sorted(measured)[1], ", ".join(f"{speed:.0f}" for speed in measured)
        print(f"{servers} servers, heartbeats every 50 ms: {middle:.0f} virtual seconds a second ({listed})")
    return DONE


def speeds(servers: int) -> list[float]:
    """Return how many virtual seconds a second a healthy cluster lives through, in each of some rounds."""
    names = [f"n{number}" for number in range(1, servers + 1)]
    measured = []
    for _ in range(BENCHMARK_ROUNDS):
        with SimulatedCluster(names, timing=Timing(), remember=False) as cluster:
            cluster.wait_for_leader()
            began = time.perf_counter()
            cluster.run_for(BENCHMARK_SECONDS)
            measured.append(BENCHMARK_SECONDS / (time.perf_counter() - began))
    return measured


def parse_seeds(text: str) -> range:
    """Return the range in `FROM:TO`."""
    first, colon, end = text.partition(":")
    try:
        seeds = range(int(first), int(end))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of seeds; write it like 0:1000") from error
    if not colon or not seeds:
        raise argparse.ArgumentTypeError(f"{text!r} holds no seed; write it like 0:1000")
    return seeds


def parse_shard(text: str) -> tuple[int, int]:
    """Return the two numbers in `I/N`."""
    try:
        number, count = (int(part) for part in text.split("/"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shard; write it like 1/4") from error
    if not 1 <= number <= count:
        raise argparse.ArgumentTypeError(f"{text!r}: shards of {count} are numbered 1 to {count}")
    return number, count
