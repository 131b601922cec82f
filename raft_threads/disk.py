"""Group commit: one write and one fsync for all who wait for the disk (Fig. 2, "Persistent state"; Diss. §10.2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

from raft_threads.runtime import Runtime
from raft_threads.state import State
from raft_threads.storage import Storage, StorageError


class Disk:
    """Brings a node's persistent state to its storage. There is no thread here: whoever needs the disk writes.

    While one thread writes, the lock is free. Those who come meanwhile wait for that write to end; then one of them
    writes everything that has come together, and the others find it done.
    """

    def __init__(self, lock: Any, state: State, storage: Storage, runtime: Runtime) -> None:
        """Share `lock`, which guards `state`."""
        self._lock = lock
        self._state = state
        self._storage = storage
        # Predicate: "no write is under way". Notified when a write ends, well or badly.
        self.write_ended = runtime.threading.Condition(lock)
        self._writing = False
        self._writes_begun = 0
        self._writes_done = 0
        self._failure: Optional[StorageError] = None

    @property
    def writes(self) -> int:
        """How many writes have been done."""
        return self._writes_done

    def save(self) -> None:
        """Return once all of the persistent state, as it is now, is durable. Raises StorageError, then and for ever.

        Called with the lock held; lets go of it while the disk works, so the caller must look again at term and role.
        """
        if self._state.is_saved():
            return
        # A write that is under way may have begun before the caller's change: only the next one surely holds it.
        needed = self._writes_begun + 1
        while self._writing and self._writes_done < needed:
            self.write_ended.wait()
        if self._failure is not None:
            raise self._failure
        if self._writes_done < needed:
            self._write()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep the disk for what the caller does in here (§7): nobody else writes meanwhile.

        Called with the lock held; lets go of it while it waits for its turn. Raises StorageError as `save` does.
        """
        while self._writing:
            self.write_ended.wait()
        if self._failure is not None:
            raise self._failure
        with self._alone():
            yield

    def _write(self) -> None:
        with self._alone():
            self._writes_begun += 1
            self._write_unsaved()
            self._writes_done += 1

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Have the disk, which nobody else has now. A failure is the end of all writing."""
        self._writing = True
        try:
            yield
        except StorageError as error:
            self._failure = error
            raise
        finally:
            self._writing = False
            self.write_ended.notify_all()

    def _write_unsaved(self) -> None:
        """Write what the disk does not hold: term and vote first, so that no saved entry is ahead of the saved term."""
        state, log = self._state, self._state.log
        term_and_vote = None if state.term_and_vote_are_saved() else state.term_and_vote
        start_index = log.start.last_included_index
        begins_anew = start_index != log.saved_start_index
        entries = log.all_entries() if begins_anew else log.unsaved_entries()
        self._lock.release()
        try:
            if term_and_vote is not None:
                self._storage.save_term_and_vote(*term_and_vote)
            if begins_anew:
                self._storage.replace_log(entries)  # what the snapshot has replaced goes from the disk, too (§7)
            else:
                self._storage.save_entries(entries)
        finally:
            self._lock.acquire()
        if term_and_vote is not None:
            state.saved_term_and_vote = term_and_vote
        log.saved_start_index = start_index
        if entries:
            state.log.mark_saved(entries[-1].index, entries[-1].term)
