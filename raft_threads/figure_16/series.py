"""All trials of all lines in virtual time, on several cores (§9.3). The samples do not depend on how many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from raft_threads.figure_16.lines import Line
from raft_threads.figure_16.progress import Progress
from raft_threads.figure_16.results import Measured, Results, Sample
from raft_threads.figure_16.simulated import Conditions, run_trial
from raft_threads.process_pools import results_as_they_come
from raft_threads.simulation.sweep import processes_with_a_core

TRIALS_A_BATCH = 10


@dataclass(frozen=True)
class Batch:
    """Some trials of one line, for one process: those numbered `first` to `end` - 1."""

    line: Line
    first: int
    end: int
    seed: int
    conditions: Conditions


def run_batch(batch: Batch) -> list[Sample]:
    """Run the trials of `batch`."""
    numbers = range(batch.first, batch.end)
    return [run_trial(batch.line, number, batch.seed, batch.conditions) for number in numbers]


def batches_of(lines: Sequence[Line], trials: int, seed: int, conditions: Conditions) -> list[Batch]:
    """Cut the trials of all `lines` into batches; those of all lines take turns, so that the time left can be told."""
    batches = [
        Batch(line, first, min(first + TRIALS_A_BATCH, line.trials(trials)), seed, conditions)
        for line in lines
        for first in range(0, line.trials(trials), TRIALS_A_BATCH)
    ]
    return sorted(batches, key=lambda batch: batch.first / batch.line.trials(trials))


def samples_of(batches: Sequence[Batch], jobs: int) -> Iterator[tuple[Batch, list[Sample]]]:
    """Run all `batches` in `jobs` processes; yield each with its samples, as they are done."""
    if jobs == 1:
        yield from ((batch, run_batch(batch)) for batch in batches)
        return
    yield from results_as_they_come(processes_with_a_core(jobs), jobs, run_batch, batches)


def measure(
    lines: Sequence[Line], trials: int, seed: int, conditions: Conditions, jobs: int, progress_to: TextIO
) -> Results:
    """Run `trials` of each of the `lines`, or the share of them that a line gets; return all samples."""
    batches = batches_of(lines, trials, seed, conditions)
    progress = Progress(sum(line.trials(trials) for line in lines), progress_to)
    found: dict[tuple[str, int], list[Sample]] = {}
    for batch, samples in samples_of(batches, jobs):
        found[batch.line.name, batch.first] = samples
        progress.advance(len(samples), batch.line.name)
    progress.end()
    measured = [
        Measured(line, [sample for (name, _), part in sorted(found.items()) for sample in part if name == line.name])
        for line in lines
    ]
    return Results(f"{conditions.describe()}; seed {seed}", conditions.limit, measured)
