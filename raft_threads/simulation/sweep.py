"""Many seeds, on several cores: progress while it runs, then what was explored and what was found."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Callable, Optional, TextIO

from raft_threads.process_pools import results_as_they_come
from raft_threads.simulation.run import Plan, Result, run
from raft_threads.simulation.run_quietly import OurCore

# Seconds between two lines of progress: on a terminal, where one line is written over, and elsewhere.
ON_A_TERMINAL, ELSEWHERE = 1.0, 10.0
# What is told of at the end, by the names of the events.
EXPLORED = {
    "elections": "BecameCandidate",
    "leaders": "BecameLeader",
    "commits": "CommitAdvanced",
    "crashes": "Crashed",
    "partitions": "LinksCut",
    "messages sent": "MessageSent",
    "lost": "MessageLost",
    "duplicated": "MessageDuplicated",
}


def take_a_core(taken: Any) -> None:
    """Begin a process of the pool: use the core after the one that was `taken` last."""
    with taken.get_lock():
        OurCore.number = taken.value
        taken.value += 1


def processes_with_a_core(jobs: int, begin: Callable[[Any], None] = take_a_core) -> ProcessPoolExecutor:
    """Return a pool of `jobs` processes, each on a core of its own. `begin`, which each begins with, takes that core.

    They are started from nothing: a copy of this process would lack its threads, and keep the locks that those hold.
    """
    context = get_context("spawn")
    return ProcessPoolExecutor(jobs, context, begin, (context.Value("i", 0),))


def results_of(plans: Sequence[Plan], jobs: int) -> Iterator[Result]:
    """Run `plans` in `jobs` processes; yield the results as they come."""
    if jobs == 1:
        yield from map(run, plans)
        return
    for _, result in results_as_they_come(processes_with_a_core(jobs), jobs, run, plans):
        yield result


class Progress:
    """How far a sweep has come: its rate and the time left."""

    def __init__(self, total: int, out: TextIO) -> None:
        self._total = total
        self._out = out
        self._began = self._told = time.monotonic()
        self._interval = ON_A_TERMINAL if out.isatty() else ELSEWHERE

    def tell(self, done: int, failed: int) -> None:
        """Write a line, if it is time for one."""
        now = time.monotonic()
        if now - self._told < self._interval and done < self._total:
            return
        self._told = now
        rate = done / max(now - self._began, 1e-9)
        left = (self._total - done) / max(rate, 1e-9)
        line = f"{done} of {self._total} seeds, {failed} failed, {rate:.1f} a second, {left:.0f} s left"
        self._out.write(f"\r{line:75}" if self._out.isatty() else line + "\n")
        self._out.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._out.isatty():
            self._out.write("\n")


class Summary:
    """What all runs of a sweep came to."""

    def __init__(self) -> None:
        self.seeds = 0
        self.operations = 0
        self.steps = 0
        self.virtual_seconds = 0.0
        self.counts: Counter[str] = Counter()
        self.schedules: Counter[str] = Counter()
        self.failures: list[Result] = []

    def add(self, result: Result) -> None:
        """Count one run."""
        self.seeds += 1
        self.operations += result.operations
        self.steps += result.steps
        self.virtual_seconds += result.virtual_seconds
        self.counts.update(result.counts)
        self.schedules[result.schedule] += 1
        if result.failure is not None:
            self.failures.append(result)

    def lines(self, real_seconds: float) -> list[str]:
        """Return what was explored."""
        explored = ", ".join(f"{self.counts[event]} {name}" for name, event in EXPLORED.items())
        schedules = ", ".join(f"{count} {kind}" for kind, count in self.schedules.most_common())
        speed = self.virtual_seconds / max(real_seconds, 1e-9)
        time_run = f"{self.virtual_seconds:.0f} virtual seconds in {real_seconds:.1f} s, {speed:.0f} a second"
        return [
            f"{self.seeds} seeds: {time_run}",
            f"explored: {explored}",
            f"schedules: {schedules}; {self.steps} steps",
            f"{self.operations} operations of clients checked for linearizability",
            f"{len(self.failures)} seeds failed",
        ]


def sweep(
    plans: Sequence[Plan], jobs: int, out: Optional[TextIO] = None, progress_to: Optional[TextIO] = None
) -> Summary:
    """Run all `plans`; tell of each failure as it is found, and at the end of everything.

    `out` is standard output unless given, `progress_to` standard error.
    """
    out, progress_to = out or sys.stdout, progress_to or sys.stderr
    began = time.monotonic()
    summary = Summary()
    progress = Progress(len(plans), progress_to)
    for result in results_of(plans, jobs):
        summary.add(result)
        if result.failure is not None:
            progress.end()
            out.write(f"seed {result.plan.seed} failed: {result.failure}\n{indented(result.report)}\n")
        progress.tell(summary.seeds, len(summary.failures))
    progress.end()
    out.write("\n".join(summary.lines(time.monotonic() - began)) + "\n")
    return summary


def indented(text: str) -> str:
    """Return `text` with each line set in."""
    return "\n".join("  " + line for line in text.splitlines())


def shard(seeds: Iterable[int], number: int, count: int) -> list[int]:
    """Return every `count`th seed, beginning with the `number`th: together, the shards 1 to `count` are all seeds."""
    return list(seeds)[number - 1::count]
