"""The two graphs of Fig. 16: which lines, which axis, and what part of the trials was over by when (§9.3)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from raft_threads.figure_16.lines import LOWER, UPPER, Line
from raft_threads.figure_16.results import Measured, Results


@dataclass(frozen=True)
class Graph:
    """One of the two: its `lines`, and the times without a leader that its axis shows, in milliseconds."""

    name: str
    lines: Sequence[Line]
    logarithmic: bool
    least: float
    most: float
    marks: Sequence[int]

    def drawn(self, results: Results) -> list[Measured]:
        """Return what there is to draw in this graph, in the order of its key."""
        by_line = {each.line.name: each for each in results.measured}
        return [by_line[line.name] for line in self.lines if line.name in by_line]

    def share(self, milliseconds: float) -> float:
        """Return where on the axis a time is: 0 at its beginning, 1 at its end."""
        if self.logarithmic:
            return math.log(milliseconds / self.least) / math.log(self.most / self.least)
        return (milliseconds - self.least) / (self.most - self.least)

    def time_at(self, share: float) -> float:
        """Return the time in milliseconds at a place on the axis: the inverse of `share`."""
        if self.logarithmic:
            return self.least * math.exp(share * math.log(self.most / self.least))
        return self.least + share * (self.most - self.least)


GRAPHS = (
    Graph("upper", UPPER, True, 70.0, 100_000.0, (100, 1_000, 10_000, 100_000)),
    Graph("lower", LOWER, False, 0.0, 600.0, (0, 100, 200, 300, 400, 500, 600)),
)


def percent_by(sorted_ms: Sequence[float], milliseconds: float) -> float:
    """Return what percentage of the trials had a leader again by then; `sorted_ms` are all their times."""
    return 100.0 * bisect_right(sorted_ms, milliseconds) / len(sorted_ms)
