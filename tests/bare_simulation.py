"""A simulation without servers: the scheduler, and what stands in for `threading` and `time`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from raft_threads.simulation.policies import CALM, Policy, Tendencies
from raft_threads.simulation.primitives import Clock, SimulatedThreading
from raft_threads.simulation.reports import describe_threads
from raft_threads.simulation.scheduler import Group, Scheduler


class Simulation(NamedTuple):
    """What a test needs of one. Threads made by `mortal` belong to `group`, and can be killed."""

    scheduler: Scheduler
    threading: SimulatedThreading
    time: Clock
    group: Group
    mortal: SimulatedThreading


@contextmanager
def simulation(seed: int = 0, tendencies: Tendencies = CALM) -> Iterator[Simulation]:
    """Make the caller the simulation's main thread; end all others when the block is left."""
    scheduler = Scheduler(Policy(tendencies, random.Random(f"{seed} schedule")))
    scheduler.seed = seed
    scheduler.describe = partial(describe_threads, scheduler)
    clock, group = Clock(scheduler), Group("mortal")
    try:
        yield Simulation(
            scheduler,
            SimulatedThreading(scheduler, clock, "test"),
            clock,
            group,
            SimulatedThreading(scheduler, clock, "mortal", group),
        )
    finally:
        scheduler.close()
