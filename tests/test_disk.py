"""Group commit (Fig. 2, "Persistent state"; Diss. §10.2): who waits for which write, and what a failure means."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from doubles import PATIENCE, Background, MemoryStorage
from drawing import entries_of

from raft_threads.disk import Disk
from raft_threads.runtime import Runtime
from raft_threads.state import State
from raft_threads.storage import StorageError


class DiskAndLog:
    """A disk, the log it saves, and a count of who waits for a write, so that a test can wait for that."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.storage = MemoryStorage()
        self.state = State("n1", ("n1", "n2", "n3"), current_term=1, saved_term_and_vote=(1, None))
        self.disk = Disk(self.lock, self.state, self.storage, Runtime())
        self._waiting = threading.Semaphore(0)
        wait = self.disk.write_ended.wait

        def counted_wait(timeout: Any = None) -> bool:
            self._waiting.release()
            return bool(wait(timeout))

        self.disk.write_ended.wait = counted_wait

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

    def wait_until_somebody_waits(self) -> None:
        """Return once one more thread waits for a write to end."""
        assert self._waiting.acquire(timeout=PATIENCE)


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
    on.wait_until_somebody_waits()
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
    for _ in range(8):
        on.append(1)
        savers.append(on.save())
        on.wait_until_somebody_waits()
    on.storage.gate.open()
    for saver in savers:
        saver.result()
    assert on.storage.writes == [[(1, 1)], [(index, 1) for index in range(2, 10)]]


def test_when_a_write_fails_all_who_wait_hear_of_it_and_nobody_writes_again() -> None:
    """A retried fsync can report as saved what is lost."""
    on = DiskAndLog()
    on.append(1)
    on.storage.gate.close()
    savers = [on.save()]
    on.storage.gate.wait_until_held()
    for _ in range(3):
        on.append(1)
        savers.append(on.save())
        on.wait_until_somebody_waits()
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
