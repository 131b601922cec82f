"""Why a long log does not stop a server: what has lived long is not looked at again for garbage (§5.6, timing).

Python's collector looks, now and then, at every object there is, and stops all threads meanwhile. With half a million
log entries that took 180 ms: longer than an election timeout, so that a leader under load was deposed by its followers.
"""

from __future__ import annotations

import gc
from typing import Any

OLDEST_GENERATION = 2


def spare_what_lives_long() -> None:
    """From now on have each full collection look only at what is new since the last one. For a whole process.

    Log entries and keys are no part of reference cycles, and go as soon as nobody refers to them, as before. What is
    given up: a cycle that has survived a full collection and becomes garbage later stays in memory.
    """
    if spare_survivors not in gc.callbacks:
        gc.callbacks.append(spare_survivors)


def spare_survivors(phase: str, info: dict[str, Any]) -> None:
    """Called by the collector before and after each collection."""
    if phase == "stop" and info["generation"] == OLDEST_GENERATION:
        gc.freeze()
