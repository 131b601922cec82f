"""`raft-threads figure-16`: how long it takes to replace a crashed leader, beside what the paper measured (§9.3)."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import Any

from raft_threads.figure_16.graphs import GRAPHS
from raft_threads.figure_16.lines import LINES, Line
from raft_threads.figure_16.real import NotMeasured, measure_real
from raft_threads.figure_16.results import BadResults, Results, read_results, write_results
from raft_threads.figure_16.series import measure
from raft_threads.figure_16.simulated import Conditions, Span
from raft_threads.figure_16.svg_plot import INSTALL, matplotlib_is_there, write_plots
from raft_threads.figure_16.table import table
from raft_threads.figure_16.text_plot import text_plot
from raft_threads.held_signals import interrupted_once
from raft_threads.output_files import refuse_unwritable
from raft_threads.standard_streams import complaint_about

DONE, FAILED = 0, 1
TRIALS, REAL_TRIALS = 1000, 20
MOST_TRIALS = 100_000
# What only a simulated run has, and what only a run has.
_ONLY_SIMULATED = ("seed", "jobs", "request", "answer", "disk")
_ONLY_MEASURED = ("trials", "lines", "limit", *_ONLY_SIMULATED)


def add_figure_16(commands: Any) -> None:
    """Add the parser of `figure-16`."""
    purpose = "measure the time to replace a crashed leader, as in Fig. 16 of the paper"
    parser = commands.add_parser(
        "figure-16",
        help=purpose,
        description=purpose[0].upper() + purpose[1:] + ": in virtual time, or with real processes. "
        "See docs/figure-16.md.",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--real", action="store_true", help="five `serve` processes on this machine, and kill -9")
    how.add_argument("--from", dest="source", type=Path, metavar="FILE", help="measure nothing; show what --json kept")
    parser.add_argument(
        "--trials", type=int, metavar="N", help=f"crashes a line (default: {TRIALS}, with --real {REAL_TRIALS})"
    )
    names = ",".join(line.name for line in LINES)
    parser.add_argument(
        "--lines", type=parse_lines, metavar="MIN-MAX,...", help=f"ranges of election timeouts in ms (default: {names})"
    )
    parser.add_argument(
        "--limit", type=float, metavar="S", help="seconds after which a trial ends without a leader (default: 20)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="decides everything in virtual time (default: 0)")
    parser.add_argument("--jobs", type=int, metavar="N", help="how many processes (default: one a core)")
    parser.add_argument(
        "--request", type=parse_span, metavar="MS-MS", help="how long a request is under way (default: 2-4)"
    )
    parser.add_argument("--answer", type=parse_span, metavar="MS-MS", help="and its answer (default: 10-14)")
    parser.add_argument("--disk", type=parse_span, metavar="MS-MS", help="and a write to a disk (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every sample in FILE")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw both graphs as SVG (needs matplotlib)")
    parser.set_defaults(parser=parser, complete=complete_figure_16_arguments, run=figure_16)


def complete_figure_16_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Check what argparse cannot, and fill in what depends on other arguments. Exits with 2 if they do not fit."""
    if arguments.real or arguments.source is not None:
        excluded, by = (_ONLY_SIMULATED, "--real") if arguments.real else (_ONLY_MEASURED, "--from")
        for name in excluded:
            if getattr(arguments, name) is not None:
                parser.error(f"--{name} does not go with {by}")
    defaults = Conditions()
    arguments.trials = value_or(arguments.trials, REAL_TRIALS if arguments.real else TRIALS)
    arguments.lines = value_or(arguments.lines, list(LINES))
    arguments.seed = value_or(arguments.seed, 0)
    arguments.jobs = value_or(arguments.jobs, os.cpu_count() or 1)
    arguments.conditions = Conditions(
        value_or(arguments.request, defaults.request),
        value_or(arguments.answer, defaults.answer),
        value_or(arguments.disk, defaults.disk),
        value_or(arguments.limit, defaults.limit),
    )
    if not 1 <= arguments.trials <= MOST_TRIALS:
        parser.error(f"--trials must be 1 to {MOST_TRIALS}")
    if not 1 <= arguments.jobs <= 256:
        parser.error("--jobs must be 1 to 256")
    if not 1 <= arguments.conditions.limit <= 3600:
        parser.error("--limit must be 1 to 3600 seconds")
    shortest = min(line.shortest for line in arguments.lines)
    if arguments.conditions.request[1] * 1000 >= shortest:
        parser.error(f"--request must be shorter than the shortest election timeout, {shortest} ms (§5.6)")
    if arguments.json is not None:
        refuse_unwritable(parser, "--json", arguments.json)


def value_or(value: Any, default: Any) -> Any:
    """Return `value`, or `default` where none was given."""
    return default if value is None else value


@interrupted_once()
def figure_16(arguments: argparse.Namespace) -> int:
    """Measure, or read what was measured; print it, keep it, draw it. Returns the exit code."""
    try:
        if arguments.plot is not None and not matplotlib_is_there():
            raise NotMeasured(f"--plot {INSTALL}")
        results = results_for(arguments)
        show(results)
        if arguments.json is not None:
            write_results(results, arguments.json)
        if arguments.plot is not None:
            print("\n" + "\n".join(f"plot: {path}" for path in write_plots(results, arguments.plot)))
    except (BadResults, NotMeasured) as error:
        print(f"raft-threads figure-16: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"raft-threads figure-16: {complaint_about(error)}", file=sys.stderr)
        return FAILED
    return DONE


def results_for(arguments: argparse.Namespace) -> Results:
    """Return what there is to show. Raises BadResults, NotMeasured and OSError."""
    if arguments.source is not None:
        return read_results(arguments.source)
    if arguments.real:
        return measure_real(arguments.lines, arguments.trials, arguments.conditions.limit, sys.stderr)
    return measure(
        arguments.lines, arguments.trials, arguments.seed, arguments.conditions, arguments.jobs, sys.stderr
    )


def show(results: Results) -> None:
    """Print the table and both graphs."""
    print(table(results))
    for graph in GRAPHS:
        plot = text_plot(graph, results)
        if plot:
            print(f"\n{plot}")


def parse_lines(text: str) -> list[Line]:
    """Return the lines of the figure that are named in `text`, in the figure's order."""
    known = {line.name: line for line in LINES}
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is no line of the figure; choose among {', '.join(known)}")
    return [line for line in LINES if line.name in names]


def parse_span(text: str) -> Span:
    """Return the ends in seconds of a range in milliseconds, `2-4`; of a single number, that twice."""
    least, dash, most = text.partition("-")
    try:
        ends = float(least) / 1000, float(most if dash else least) / 1000
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no range of milliseconds; write it like 2-4") from error
    if not 0 <= ends[0] <= ends[1] <= 1 or math.isnan(sum(ends)):
        raise argparse.ArgumentTypeError(f"{text!r} must begin at 0 or later, the smaller first, and end at 1000")
    return ends
