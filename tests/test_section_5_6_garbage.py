"""§5.6, timing: the collector of garbage must not stop a server for longer than an election timeout."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from raft_threads.garbage import spare_survivors, spare_what_lives_long
from raft_threads.log import LogEntry


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave the collector of this process as it was."""
    yield
    gc.callbacks.remove(spare_survivors)
    gc.unfreeze()


def test_a_full_collection_never_looks_again_at_entries_that_survived_one() -> None:
    """Else each takes longer than the last, as the log grows."""
    spare_what_lives_long()
    spare_what_lives_long()
    assert gc.callbacks.count(spare_survivors) == 1
    log = [LogEntry(index, 1) for index in range(1, 1001)]
    gc.collect()
    looked_at = {id(each) for each in gc.get_objects()}
    assert not looked_at & {id(entry) for entry in log}


def test_younger_garbage_is_still_collected() -> None:
    """A cycle made since then is found by the next full collection."""
    spare_what_lives_long()
    gc.collect()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1
