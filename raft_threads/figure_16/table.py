"""The table: what was measured, line by line, above what the paper found (§9.3)."""

from __future__ import annotations

import math

from raft_threads.figure_16.lines import Paper
from raft_threads.figure_16.results import Measured, Results

HEADINGS = ("timeout", "trials", "least", "median", "mean", "p99", "worst", "elections", "no leader")
WIDTHS = (9, 7, 8, 8, 8, 8, 8, 11, 11)


def table(results: Results) -> str:
    """Return the table of `results`, times in milliseconds."""
    rows = [row(HEADINGS)]
    for measured in results.measured:
        rows += [row(our_cells(measured, results.limit)), row(paper_cells(measured.line.paper))]
    stated = [f"  {measured.line.paper.stated}" for measured in results.measured if measured.line.paper.stated]
    notes = [
        "",
        "Times without a leader in ms. `elections`: how many a trial took on average; all but the last had no winner.",
        f"`no leader`: trials in which nobody was elected within {results.limit:g} s.",
        "The paper's figures are read off its drawing.",
    ]
    return "\n".join([results.conditions, "", *rows, *notes, *(["Stated there in words:", *stated] if stated else [])])


def row(cells: tuple[str, ...]) -> str:
    """Return one line of the table, numbers below each other."""
    first, *others = cells
    return (f"{first:{WIDTHS[0]}}" + "".join(f"{cell:>{width}}" for cell, width in zip(others, WIDTHS[1:]))).rstrip()


def our_cells(measured: Measured, limit: float) -> tuple[str, ...]:
    """Return what was measured of one line; a time that is longer than a trial may last is `>` that."""
    times = [
        measured.quantile_ms(0.0),
        measured.quantile_ms(0.5),
        measured.mean_ms(),
        measured.quantile_ms(0.99),
        measured.quantile_ms(1.0),
    ]
    return (
        measured.line.name,
        str(len(measured.samples)),
        *(in_ms(time, limit) for time in times[:2]),
        in_ms(times[2], mean_at_least(measured, limit)),
        *(in_ms(time, limit) for time in times[3:]),
        f"{measured.mean_elections():.1f}",
        str(measured.not_elected() or "-"),
    )


def mean_at_least(measured: Measured, limit: float) -> float:
    """Return what the mean is at least, in seconds, if trials without a leader had ended right after `limit`."""
    times = [limit if each.downtime is None else each.downtime for each in measured.samples]
    return sum(times) / len(times)


def paper_cells(paper: Paper) -> tuple[str, ...]:
    """Return what the paper found for one line."""
    return ("  paper", "", *(in_ms(time) for time in (paper.least, paper.median, paper.mean, paper.p99, paper.worst)))


def in_ms(milliseconds: float, limit: float = math.inf) -> str:
    """Return a time with three digits at least; one that is not known is more than `limit` seconds."""
    if math.isinf(milliseconds):
        return f">{limit * 1000:.0f}"
    return f"{milliseconds:.1f}" if milliseconds < 100 else f"{milliseconds:.0f}"
