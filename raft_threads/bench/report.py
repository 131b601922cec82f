"""What a benchmark found, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional, TextIO

from raft_threads.bench.floor import Floor, median_floor
from raft_threads.bench.growth import Finding
from raft_threads.bench.rounds import MICROSECONDS, MILLISECONDS, Round, median, median_round
from raft_threads.bench.works import ONE_CLIENT, RATIOS, Ratio

HEADINGS = ("", "/s", "from", "to", "p50", "p99", "max", "leader", "other", "load", "/write", "/message", "others")
EXPLANATION = """\
/s: operations a second, the median of all rounds; from, to: the slowest and the fastest round. The rest is of the round
in the middle. p50, p99, max: latency in ms. leader, other, load: µs of CPU for each operation in the leader, in the
busiest other server and in the load generator. /write, /message: entries for each write to the leader's disk, and for
each request that a peer answered. others: the part of all cores that others used, the host included."""


class Progress:
    """Says on standard error what is being measured."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def tell(self, line: str) -> None:
        """Write a line."""
        self._out.write(line + "\n")
        self._out.flush()

    def round(self, number: int, rounds: int, work: str, measured: Round) -> None:
        """Tell of one round of one work."""
        self.tell(f"round {number} of {rounds}: {work}: {measured.rate:,.0f}/s, p50 {_ms(measured.p50)} ms")


def _ms(seconds: float) -> str:
    return f"{seconds * MILLISECONDS:.3g}" if seconds < 0.01 else f"{seconds * MILLISECONDS:.1f}"


def floor_lines(floors: Sequence[Floor]) -> list[str]:
    """Return what the machine itself takes (medians)."""
    parts = {
        "an fsync of 100 bytes": [each.fsync.p50 for each in floors],
        "a round trip over loopback": [each.round_trip.p50 for each in floors],
        "a bare chain client, leader, follower, fsync, and back": [each.chain.p50 for each in floors],
    }
    return ["The floor, p50:", *(f"  {what}: {_ms(median(values))} ms" for what, values in parts.items())]


def work_table(rounds: Mapping[str, Sequence[Round]]) -> list[str]:
    """Return a table with a line for each work."""
    rows = [HEADINGS, *(_row(work, each) for work, each in rounds.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
        for row in rows
    ]
    return [*lines, "", *EXPLANATION.splitlines()]


def _row(work: str, rounds: Sequence[Round]) -> tuple[str, ...]:
    middle = median_round(rounds)
    cpu = middle.cpu_per_operation()
    leader, load = cpu.pop("leader", None), cpu.pop("load", None)
    rates = sorted(each.rate for each in rounds)
    return (
        work,
        *(f"{rate:,.0f}" for rate in (median(rates), rates[0], rates[-1])),
        *(_ms(seconds) for seconds in (middle.p50, middle.p99, middle.longest)),
        *(_or_dash(each, MICROSECONDS, ".0f") for each in (leader, max(cpu.values(), default=None), load)),
        *(_or_dash(each, 1, ".1f") for each in (middle.entries_per_write, middle.entries_per_message)),
        _or_dash(middle.others, 100, ".0f") + ("" if middle.others is None else " %"),
    )


def _or_dash(value: Optional[float], unit: float, form: str) -> str:
    return "-" if value is None else format(value * unit, form)


def ratio_lines(rounds: Mapping[str, Sequence[Round]], floors: Sequence[Floor]) -> list[str]:
    """Return our rates divided by others', and one client's latency divided by the floor's, as far as measured."""
    lines = []
    if floors and ONE_CLIENT in rounds:
        latency = median([each.p50 for each in rounds[ONE_CLIENT]])
        lines.append(f"  {ONE_CLIENT}: p50 / (fsync + round trip) = {latency / median_floor(list(floors)):.2f}")
        chain = median([each.chain.p50 for each in floors])
        lines.append(f"  {ONE_CLIENT}: p50 / bare chain = {latency / chain:.2f}")
    measured = [each for each in RATIOS if each.ours in rounds and each.theirs in rounds]
    lines += [f"  {each.ours} / {each.theirs} = {ratio_of(each, rounds):.2f}" for each in measured]
    return ["Ratios:", *lines] if lines else []


def ratio_of(ratio: Ratio, rounds: Mapping[str, Sequence[Round]]) -> float:
    """Return the median rate of ours divided by that of theirs."""
    ours, theirs = (median([each.rate for each in rounds[work]]) for work in ratio)
    return ours / theirs


def finding_lines(findings: Iterable[Finding]) -> list[str]:
    """Return a line for each finding."""
    return [f"  {each.what}: {each.value:,.4g} {each.unit}".rstrip() for each in findings]


def as_json(rounds: Mapping[str, Sequence[Round]], floors: Sequence[Floor], findings: Sequence[Finding]) -> Any:
    """Return everything that was measured, every round of it; times in seconds."""
    return {
        "works": {work: [_round_as_json(each) for each in measured] for work, measured in rounds.items()},
        "floor": [{name: _round_as_json(part) for name, part in each._asdict().items()} for each in floors],
        "findings": [each._asdict() for each in findings],
    }


def _round_as_json(measured: Round) -> dict[str, Any]:
    return {**vars(measured), "rate": measured.rate, "cpu": dict(measured.cpu)}
