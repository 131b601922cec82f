"""A disk in virtual time, which loses in a crash what was not synced, and may tear what was being written (Fig. 2)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from raft_threads.entry_format import BadLine
from raft_threads.log import LogEntry
from raft_threads.simulation.policies import MILLISECOND
from raft_threads.simulation.scheduler import Scheduler
from raft_threads.storage import SavedState, StorageError, next_entry

WRITE, SYNC = 30, 31


@dataclass
class DiskMood:
    """How a disk behaves; a test or chaos changes it at any time."""

    shortest_sync_ns: int = 0
    longest_sync_ns: int = 0
    full: bool = False
    failing: bool = False


class SimulatedDisk:
    """What one server has on disk: it outlives its crashes. `open` gives each boot its `Storage`."""

    def __init__(self, scheduler: Scheduler, server: str, dice: random.Random) -> None:
        self.scheduler = scheduler
        self.server = server
        self.dice = dice
        self.mood = DiskMood()
        # Durable.
        self.term_and_vote: tuple[int, Optional[str]] = (0, None)
        self.lines: list[bytes] = []
        # Under way: lost in a crash, all of it or from some byte on; a rename happens or does not.
        self.unsynced: list[bytes] = []
        self.renaming: Optional[tuple[int, Optional[str]]] = None
        self.writers = 0

    def open(self) -> DiskOfOneBoot:
        """Return the storage of a server that starts."""
        return DiskOfOneBoot(self)

    def entries(self) -> list[LogEntry]:
        """Return the log as far as its records are whole."""
        return self.read()[0]

    def read(self) -> tuple[list[LogEntry], Optional[BadLine]]:
        """Return the whole records, and what is wrong with the line after them, if there is one."""
        entries: list[LogEntry] = []
        for line in self.lines:
            try:
                entries.append(next_entry(line, entries[-1] if entries else None, self.term_and_vote[0]))
            except BadLine as error:
                return entries, error
        return entries, None

    def crash(self, bytes_written: Optional[int] = None) -> None:
        """Lose what was not synced. Of what was being written, any beginning may have reached the disk."""
        data = b"".join(self.unsynced)
        survives = self.dice.choice([0, len(data), self.dice.randint(0, len(data))])
        if bytes_written is not None:
            survives = bytes_written
        self.lines += data[:survives].splitlines(keepends=True)
        self.unsynced = []
        if self.renaming is not None and self.dice.random() < 0.5:
            self.term_and_vote = self.renaming
        self.renaming = None
        self.writers = 0


class DiskOfOneBoot:
    """`Storage` on a simulated disk, for one server between start and crash."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self._scheduler = disk.scheduler
        self._failed: Optional[StorageError] = None

    def load(self) -> SavedState:
        """Return what was saved; a torn last record is cut off, as `FileStorage` does."""
        disk = self._disk
        entries, error = disk.read()
        notes: list[str] = []
        if error is not None:
            notes.append(f"line {len(entries) + 1}: cut off a torn record ({error})")
            del disk.lines[len(entries):]
        return SavedState(*disk.term_and_vote, entries, notes)

    def save_term_and_vote(self, current_term: int, voted_for: Optional[str]) -> None:
        """Replace term and vote, atomically."""
        disk = self._disk
        self._begin()
        disk.renaming = (current_term, voted_for)
        self._sync()
        disk.term_and_vote, disk.renaming = (current_term, voted_for), None
        disk.writers -= 1

    def save_entries(self, entries: Sequence[LogEntry]) -> None:
        """Make the saved log end with `entries`."""
        if not entries:
            return
        disk = self._disk
        self._begin()
        if entries[0].index <= len(disk.lines):
            del disk.lines[entries[0].index - 1:]
            self._sync()
        disk.unsynced = [entry.line for entry in entries]
        self._sync()
        disk.lines += disk.unsynced
        disk.unsynced = []
        disk.writers -= 1

    def close(self) -> None:
        """Nothing to let go of."""

    def _begin(self) -> None:
        """Only one thread may write at a time; a broken disk stays broken."""
        self._scheduler.point(WRITE)
        if self._failed is not None:
            raise self._failed
        self._disk.writers += 1
        if self._disk.writers > 1:
            self._scheduler.fail(AssertionError(f"two threads of {self._disk.server} write to its disk at once"))
        if self._disk.mood.full:
            self._break("the disk is full")

    def _sync(self) -> None:
        """Take the time that a disk takes."""
        mood = self._disk.mood
        if mood.longest_sync_ns:
            duration = self._disk.dice.randint(mood.shortest_sync_ns, mood.longest_sync_ns)
            self._scheduler.park("its disk", duration)
        self._scheduler.point(SYNC)
        if self._disk.mood.failing:
            self._break("fsync failed")

    def _break(self, reason: str) -> None:
        self._disk.writers -= 1
        self._failed = StorageError(f"cannot write to the disk of {self._disk.server}: {reason}")
        raise self._failed


def draw_mood(dice: random.Random) -> DiskMood:
    """Draw how fast a disk is."""
    longest = dice.choice([0, 1, 5, 20]) * MILLISECOND
    return DiskMood(longest // 4, longest)
