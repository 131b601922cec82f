"""What one round of a benchmark measured, and the medians of several."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Optional, Protocol

MILLISECONDS = 1000.0
MICROSECONDS = 1e6


class Counts(Protocol):
    """What a server tells of the work it has done: its status."""

    @property
    def last_log_index(self) -> Optional[int]:
        """The index of its last entry."""

    @property
    def disk_writes(self) -> Optional[int]:
        """How often it has written to its disk."""

    @property
    def requests_answered(self) -> Optional[int]:
        """How many requests its peers have answered."""


@dataclass(frozen=True)
class Round:
    """One round: how many operations in how many seconds, their latencies in seconds, CPU seconds by process."""

    operations: int
    seconds: float
    p50: float
    p99: float
    longest: float
    cpu: Mapping[str, float] = field(default_factory=dict)
    # Which part of the machine's cores somebody else used, None if nobody tells.
    others: Optional[float] = None
    entries_per_write: Optional[float] = None
    entries_per_message: Optional[float] = None

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds

    def with_counts(self, before: Counts, after: Counts, peers: int) -> Round:
        """Return this round with what the leader, which has so many `peers`, tells of its work."""
        entries = _grown(before.last_log_index, after.last_log_index)
        writes = _grown(before.disk_writes, after.disk_writes)
        messages = _grown(before.requests_answered, after.requests_answered)
        return replace(
            self,
            entries_per_write=entries / max(1, writes),
            entries_per_message=entries * peers / max(1, messages),
        )

    def cpu_per_operation(self) -> dict[str, float]:
        """Seconds of CPU for each operation, by process."""
        return {name: seconds / max(1, self.operations) for name, seconds in self.cpu.items()}


def _grown(before: Optional[int], after: Optional[int]) -> int:
    return (after or 0) - (before or 0)


def round_of(
    latencies: array[float], seconds: float, cpu: Mapping[str, float], others: Optional[float] = None
) -> Round:
    """Return the round in which operations took `latencies` (seconds). Raises ValueError when there were none."""
    if not latencies:
        raise ValueError("no operation was completed; is there a leader?")
    ordered = sorted(latencies)
    count = len(ordered)
    return Round(count, seconds, ordered[count // 2], ordered[count * 99 // 100], ordered[-1], cpu, others)


def median_round(rounds: Sequence[Round]) -> Round:
    """Return the round in the middle, by its rate; of two in the middle, the slower one."""
    return sorted(rounds, key=lambda each: each.rate)[(len(rounds) - 1) // 2]


def median(values: Sequence[float]) -> float:
    """Return the value in the middle."""
    return statistics.median(values)
