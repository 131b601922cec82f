"""What a server does with its disk, step by step, and what must be there if it crashes in between (§5.5, §7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Callable

from drawing import entries_of
from snapshots import CURRENT_TERM, metadata_of, records_in, records_of, send_snapshot, snapshot_of

from raft_threads.storage import SavedState, Storage

# The entries that are, or will be, committed. Those that a server has beyond may be others.
TERMS = (1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3)
TRUTH = entries_of(*TERMS)


@dataclass(frozen=True)
class Promised:
    """What the disk must hold whatever happens: entries up to one, a snapshot up to one. It may hold more."""

    term: int = 0
    last_index: int = 0
    snapshot_index: int = 0


def write(index: int) -> Callable[[Storage], None]:
    return lambda storage: storage.write_snapshot(metadata_of(index, TERMS[index - 1]), records_of(index))


def save(first: int, last: int) -> Callable[[Storage], None]:
    return lambda storage: storage.save_entries(TRUTH[first - 1:last])


def keep(first: int, last: int) -> Callable[[Storage], None]:
    return lambda storage: storage.replace_log(TRUTH[first - 1:last])


def receive(index: int) -> Callable[[Storage], object]:
    return lambda storage: send_snapshot(storage, snapshot_of(index, TERMS[index - 1]), chunk_bytes=200)


# What a server does with its disk, and what it promises afterwards.
LIFE: Sequence[tuple[Callable[[Storage], object], dict[str, int]]] = (
    (lambda storage: storage.save_term_and_vote(CURRENT_TERM, "n2"), {"term": CURRENT_TERM}),
    (save(1, 6), {"last_index": 6}),
    (write(4), {}),
    (lambda storage: storage.adopt_written(), {"snapshot_index": 4}),
    (keep(5, 6), {}),
    (save(7, 7), {"last_index": 7}),
    (write(6), {}),
    (lambda storage: storage.adopt_written(), {"snapshot_index": 6}),
    (save(8, 8), {"last_index": 8}),
    (keep(7, 8), {}),
    (receive(10), {"snapshot_index": 10, "last_index": 10}),
    (keep(11, 10), {}),
    (save(11, 12), {"last_index": 12}),
    (receive(11), {"snapshot_index": 11}),
    (keep(12, 12), {}),
    (write(12), {}),
    (lambda storage: storage.adopt_written(), {"snapshot_index": 12}),
    (keep(13, 12), {}),
)


def live(storage: Storage, note_promise: Callable[[Promised], None]) -> None:
    """Go through LIFE, telling what is promised after each step."""
    promised = Promised()
    note_promise(promised)
    storage.load()
    for step, promises in LIFE:
        step(storage)
        promised = replace(promised, **promises)
        note_promise(promised)


def check(storage: Storage, saved: SavedState, promised: Promised) -> None:
    """Look at what was loaded: all that was promised is there, and nothing that never was. Then go on writing."""
    start = saved.start.last_included_index if saved.start is not None else 0
    last = start + len(saved.entries)
    assert start >= promised.snapshot_index
    assert last >= promised.last_index
    assert saved.current_term >= promised.term
    assert tuple(saved.entries) == TRUTH[start:last]
    if saved.start is not None:
        assert saved.start == metadata_of(start, TERMS[start - 1])
        assert records_in(storage) == list(records_of(start))
    storage.save_term_and_vote(CURRENT_TERM, None)
    storage.save_entries(TRUTH[last:])
