"""Group commit (Fig. 2, "Persistent state"; Diss. §10.2): who waits for which write, and what a failure means."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from doubles import PATIENCE, Background, MemoryStorage, Waits
from drawing import entries_of

from raft_threads.disk import Disk
from raft_threads.log import LogEntry
from raft_threads.runtime import Runtime
from raft_threads.state import State
from raft_threads.storage import StorageError


class DiskAndLog:
    """A disk, the log it saves, and who waits for a write."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.storage: MemoryStorage = MemoryStorage()
        self.state = State("n1", ("n1", "n2", "n3"), current_term=1, saved_term_and_vote=(1, None))
        self.disk = Disk(self.lock, self.state, self.storage, Runtime())
        self.waits = Waits(self.disk.write_ended)

    def append(self, *terms: int) -> None:
        """Append entries to the log."""
        with self.lock:
            for entry in entries_of(*terms, first_index=self.state.log.last_index + 1):
                self.state.log.append(entry)

    def save(self) -> Background:
        """Save in a thread."""

        def save() -> None:
            with self.lock:
                self.disk.save()

        return Background(save)

def test_the_lock_is_free_during_a_write_and_held_again_afterwards() -> None:
    """docs/threads.md: never with the lock."""
    on = DiskAndLog()
    on.append(1)
    on.storage.gate.close()
    saving = on.save()
    on.storage.gate.wait_until_held()
    assert on.lock.acquire(timeout=PATIENCE)
    on.lock.release()
    on.storage.gate.open()
    saving.result()
    with on.lock:
        on.state.log.append(entries_of(1, first_index=2)[0])
        on.disk.save()
        assert on.lock.locked(), "save() returns with the lock, as it was called"
        assert on.state.is_saved()


def test_who_has_nothing_new_still_waits_for_the_write_that_is_under_way() -> None:
    """§5.5: the same request may come twice; the second answer promises what the first one does."""
    on = DiskAndLog()
    on.append(1)
    on.storage.gate.close()
    first = on.save()
    on.storage.gate.wait_until_held()
    again = on.save()
    on.waits.wait_for(1)
    assert on.storage.writes == []
    on.storage.gate.open()
    first.result()
    again.result()
    assert on.storage.writes[0] == [(1, 1)]


def test_one_of_those_who_wait_writes_for_all() -> None:
    """Diss. §10.2: one fsync for many."""
    on = DiskAndLog()
    on.append(1)
    on.storage.gate.close()
    savers = [on.save()]
    on.storage.gate.wait_until_held()
    for count in range(1, 9):
        on.append(1)
        savers.append(on.save())
        on.waits.wait_for(count)
    on.storage.gate.open()
    for saver in savers:
        saver.result()
    assert on.storage.writes == [[(1, 1)], [(index, 1) for index in range(2, 10)]]


def test_who_waits_leaves_once_its_own_change_is_durable_although_the_next_write_has_begun() -> None:
    """Diss. §10.2: or, on a busy disk, it might wait for one write of others after the other."""
    on = DiskAndLog()
    on.append(1)
    disk = on.disk
    disk._writing, disk._writes_begun = True, 1
    waits: list[int] = []

    def wait() -> None:
        waits.append(disk._writes_done)
        assert len(waits) == 1, "write 2 is done, which began after the change; write 3 is not waited for"
        disk._writes_done, disk._writes_begun = 2, 3

    disk.write_ended.wait = wait
    with on.lock:
        disk.save()
    assert waits == [0]


class SlowSecondWrite(MemoryStorage):
    """A disk whose second write takes until the test knows what the others do meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.second_began = threading.Event()
        self.second_may_end = threading.Event()
        self.at_the_same_time = 0
        self._busy = threading.Lock()

    def save_entries(self, entries: Sequence[LogEntry]) -> None:
        """Write; note if somebody else is writing."""
        if not self._busy.acquire(blocking=False):
            self.at_the_same_time += 1
            return
        try:
            if self.writes:
                self.second_began.set()
                assert self.second_may_end.wait(PATIENCE)
            super().save_entries(entries)
        finally:
            self._busy.release()


def test_two_threads_never_write_at_the_same_time() -> None:
    """Those who wait are all woken when a write ends: one writes, the others must look again and wait again."""
    on = DiskAndLog()
    disk = on.storage = on.disk._storage = SlowSecondWrite()
    on.append(1)
    disk.gate.close()
    savers = [on.save()]
    disk.gate.wait_until_held()
    for count in range(1, 5):
        on.append(1)
        savers.append(on.save())
        on.waits.wait_for(count)
    disk.gate.open()
    assert disk.second_began.wait(PATIENCE)
    on.waits.wait_for(4 + 3)
    disk.second_may_end.set()
    for saver in savers:
        saver.result()
    assert disk.at_the_same_time == 0
    assert disk.writes == [[(1, 1)], [(index, 1) for index in range(2, 6)]]


def test_when_a_write_fails_all_who_wait_hear_of_it_and_nobody_writes_again() -> None:
    """A retried fsync can report as saved what is lost."""
    on = DiskAndLog()
    on.append(1)
    on.storage.gate.close()
    savers = [on.save()]
    on.storage.gate.wait_until_held()
    for count in range(1, 4):
        on.append(1)
        savers.append(on.save())
        on.waits.wait_for(count)
    on.storage.fails = True
    on.storage.gate.open()
    for saver in savers:
        with pytest.raises(StorageError, match="the disk is broken"):
            saver.result()
    on.storage.fails = False
    with pytest.raises(StorageError, match="the disk is broken"):
        on.save().result()
    assert on.storage.writes == []
    assert not on.state.is_saved()


def test_a_log_that_was_cut_during_a_write_is_written_again_from_there() -> None:
    """§5.3: the lock was free, and a new leader's entries took the place of those being written."""
    on = DiskAndLog()
    on.append(1, 1, 1)
    on.storage.gate.close()
    saving = on.save()
    on.storage.gate.wait_until_held()
    with on.lock:
        on.state.log.delete_from(2)
        on.state.current_term = 2
    on.append(2)
    on.storage.gate.open()
    saving.result()
    assert not on.state.is_saved()
    on.save().result()
    assert on.storage.writes == [[(1, 1), (2, 1), (3, 1)], (2, None), [(1, 1), (2, 2)]]
    assert on.state.is_saved()


def test_a_newer_term_seen_during_a_write_is_not_taken_for_saved() -> None:
    """§5.1: only what was handed to the disk is on it."""
    on = DiskAndLog()
    with on.lock:
        on.state.current_term, on.state.voted_for = 2, "n2"
    on.storage.gate.close()
    saving = on.save()
    on.storage.gate.wait_until_held()
    with on.lock:
        on.state.current_term, on.state.voted_for = 3, None
    on.storage.gate.open()
    saving.result()
    assert on.state.saved_term_and_vote == (2, "n2")
    assert not on.state.term_and_vote_are_saved()
