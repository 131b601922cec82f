"""Which thread runs next, and when it is interrupted: the schedules that a seed can draw.

Code takes no virtual time, so threads seldom meet by themselves. What makes them meet: interruptions at any step,
threads that stall for as long as an election takes, a clock that moves on although somebody could run, and strict
priorities that change at random steps (PCT: Burckhardt et al., ASPLOS 2010). Shallow and deep mistakes want different
ones; so they are drawn anew for each seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MILLISECOND = 1_000_000
# At most so many points until somebody looks whether the threads still get anywhere.
LONGEST_UNINTERRUPTED = 10_000
# The longest time that may go by while somebody could run.
LONGEST_EARLY_NS = 100 * MILLISECOND
# Within how many steps PCT places its changes of priority.
PCT_STEPS = 50_000


@dataclass(frozen=True)
class Tendencies:
    """How a schedule behaves. Probabilities are per point, or per choice for `early_clock`."""

    preempt: float = 0.0
    stall: float = 0.0
    longest_stall_ns: int = 0
    early_clock: float = 0.0
    # Which share of the threads is slow, and how often such a thread stalls before it takes a lock.
    slow_threads: float = 0.0
    slowness: float = 0.0
    # How often priorities change; None: no priorities, any thread that is ready may run.
    priority_changes: Any = None

    def kind(self) -> str:
        """Return which of the policies this is, in a word or two."""
        if self.priority_changes is not None:
            return "PCT"
        kinds = [
            ("preempting", self.preempt),
            ("stalling", self.stall),
            ("early clock", self.early_clock),
            ("slow threads", self.slow_threads),
        ]
        present = [name for name, share in kinds if share]
        return "everything" if len(present) == len(kinds) else " and ".join(present) or "calm"

    def describe(self) -> str:
        """Return in a few words what kind of schedule this is."""
        parts = [
            f"preempt {self.preempt:.3g}" if self.preempt else "",
            f"stall {self.stall:.3g} up to {self.longest_stall_ns // MILLISECOND} ms" if self.stall else "",
            f"early clock {self.early_clock:.3g}" if self.early_clock else "",
            f"{self.slow_threads:.0%} slow threads" if self.slow_threads else "",
            f"PCT with {self.priority_changes} changes" if self.priority_changes is not None else "",
        ]
        return ", ".join(part for part in parts if part) or "calm"


CALM = Tendencies()
HOSTILE = Tendencies(
    preempt=0.1, stall=0.003, longest_stall_ns=400 * MILLISECOND, early_clock=0.1, slow_threads=0.3, slowness=0.2
)


def draw_tendencies(dice: random.Random) -> Tendencies:
    """Draw a kind of schedule."""
    kind = dice.choice(["calm", "preempt", "stall", "slow threads", "pct", "early clock", "everything"])
    if kind == "calm":
        return CALM
    if kind == "pct":
        return Tendencies(priority_changes=dice.randint(0, 5))
    preempt = dice.choice([0.02, 0.1, 0.3]) if kind in ("preempt", "everything") else 0.0
    stall = dice.choice([0.002, 0.01, 0.03]) if kind in ("stall", "everything") else 0.0
    early = dice.choice([0.02, 0.1]) if kind in ("early clock", "everything") else 0.0
    slow = dice.choice([0.1, 0.3]) if kind in ("slow threads", "everything") else 0.0
    return Tendencies(preempt, stall, dice.choice([20, 100, 400]) * MILLISECOND, early, slow, dice.choice([0.05, 0.2]))


class Policy:
    """Draws every choice of a schedule from one stream of random numbers."""

    def __init__(self, tendencies: Tendencies, dice: random.Random) -> None:
        self._dice = dice
        self.become(tendencies)

    def become(self, tendencies: Tendencies) -> None:
        """Behave like this from now on."""
        self.tendencies = tendencies
        self._interrupt = tendencies.preempt + tendencies.stall
        self._with_priorities = tendencies.priority_changes is not None
        changes = tendencies.priority_changes or 0
        self._changes = sorted((self._dice.randrange(PCT_STEPS) for _ in range(changes)), reverse=True)
        self._early_clock = tendencies.early_clock

    def points_to_next_interruption(self) -> int:
        """Return at how many points from here to ask for `interruption`."""
        distance = LONGEST_UNINTERRUPTED
        if self._changes:
            distance = 100
        if self._interrupt:
            distance = min(distance, int(math.log(1.0 - self._dice.random()) / math.log(1.0 - self._interrupt)) + 1)
        return distance

    def interruption(self, steps: int, task: Any) -> int:
        """Return what happens to `task` at this point: a stall of so many nanoseconds, 0 for letting others go first.

        -1 means that it goes on. `steps` is how many points there have been in all.
        """
        if self._changes and steps >= self._changes[-1]:
            self._changes.pop()
            task.priority = -self._dice.random()
        if not self._interrupt:
            return 0 if self._with_priorities else -1
        if self._dice.random() * self._interrupt < self.tendencies.stall:
            return self._dice.randint(1, self.tendencies.longest_stall_ns)
        return 0

    def draw_priority(self) -> float:
        """Return a new thread's priority: 0 for all without priorities."""
        return self._dice.random() if self._with_priorities else 0.0

    def draw_slowness(self) -> bool:
        """Return whether a new thread is a slow one."""
        return self.tendencies.slow_threads > 0 and self._dice.random() < self.tendencies.slow_threads

    def slow_thread_stall_ns(self) -> int:
        """Return for how many nanoseconds a slow thread stalls before it takes a lock; mostly 0."""
        if self._dice.random() >= self.tendencies.slowness:
            return 0
        return self._dice.randint(1, self.tendencies.longest_stall_ns)

    def choose(self, ready: Sequence[Any]) -> int:
        """Return the position in `ready` of the one that runs next."""
        if len(ready) == 1:
            return 0
        if self._with_priorities:
            return max(range(len(ready)), key=lambda position: (ready[position].priority, -position))
        return int(self._dice.random() * len(ready))

    def clock_moves_early(self, distance_ns: int) -> bool:
        """Return whether the clock moves on by `distance_ns`, to the next deadline, although somebody could run."""
        return distance_ns <= LONGEST_EARLY_NS and self._early_clock > 0 and self._dice.random() < self._early_clock
