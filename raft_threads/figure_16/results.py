"""What trials came to: samples, their statistics, and the file that keeps them (§9.3)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from raft_threads.figure_16.lines import LINES, Line

FORMAT = "raft_threads figure 16, 1"


class BadResults(Exception):
    """A file does not hold results. The text says in one line what is wrong with it."""


@dataclass(frozen=True)
class Sample:
    """One trial: the seconds from the crash until another server led, None if none did while the trial lasted.

    `elections` is how many terms were begun for that; all but the last had no winner.
    """

    downtime: Optional[float]
    elections: int


@dataclass(frozen=True)
class Measured:
    """All trials of one line, in their order."""

    line: Line
    samples: Sequence[Sample]

    def sorted_ms(self) -> list[float]:
        """Return the times without a leader in milliseconds, the shortest first; infinite where nobody was elected."""
        return sorted(math.inf if each.downtime is None else each.downtime * 1000 for each in self.samples)

    def not_elected(self) -> int:
        """Return how many trials ended without a leader."""
        return sum(each.downtime is None for each in self.samples)

    def quantile_ms(self, fraction: float) -> float:
        """Return the time that `fraction` of the trials did not exceed (nearest rank), in milliseconds."""
        times = self.sorted_ms()
        return times[max(0, math.ceil(fraction * len(times)) - 1)]

    def mean_ms(self) -> float:
        """Return the mean time in milliseconds; infinite if there was a trial without a leader."""
        return sum(self.sorted_ms()) / len(self.samples)

    def mean_elections(self) -> float:
        """Return how many elections a trial took on average."""
        return sum(each.elections for each in self.samples) / len(self.samples)


@dataclass(frozen=True)
class Results:
    """A whole run: `conditions` says in words how it was measured, `limit` how many seconds a trial lasted at most."""

    conditions: str
    limit: float
    measured: Sequence[Measured]


def write_results(results: Results, path: Path) -> None:
    """Keep `results` in a JSON file, every sample in microseconds. Raises OSError."""
    document = {
        "format": FORMAT,
        "conditions": results.conditions,
        "limit_s": results.limit,
        "lines": {
            each.line.name: {
                "downtime_us": [as_microseconds(sample.downtime) for sample in each.samples],
                "elections": [sample.elections for sample in each.samples],
            }
            for each in results.measured
        },
    }
    path.write_text(json.dumps(document) + "\n", encoding="ascii")


def as_microseconds(seconds: Optional[float]) -> Optional[int]:
    """Return whole microseconds."""
    return None if seconds is None else round(seconds * 1_000_000)


def read_results(path: Path) -> Results:
    """Read what `write_results` wrote. Raises BadResults and OSError."""
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT:
            raise BadResults(f"{path} is of another format, {document['format']!r}")
        lines = {line.name: line for line in LINES}
        measured = [Measured(lines[name], samples_in(part)) for name, part in document["lines"].items()]
        if not all(each.samples for each in measured):
            raise BadResults(f"{path} has a line without trials")
        return Results(str(document["conditions"]), float(document["limit_s"]), measured)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadResults(f"{path} does not hold results of figure-16; write some with --json") from error


def samples_in(part: Any) -> list[Sample]:
    """Return the samples of one line. Raises ValueError, KeyError or TypeError where something else stands there."""
    times, elections = part["downtime_us"], part["elections"]
    if len(times) != len(elections):
        raise ValueError("as many elections as times belong there")
    return [
        Sample(None if time is None else int(time) / 1_000_000, int(count)) for time, count in zip(times, elections)
    ]
