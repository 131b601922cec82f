"""All exercises: one rule each, then a module each."""

from __future__ import annotations

from raft_threads.companion.exercises.exercise import Exercise
from raft_threads.companion.exercises.modules import MODULES
from raft_threads.companion.exercises.rules import RULES

EXERCISES: dict[str, Exercise] = {**RULES, **MODULES}
