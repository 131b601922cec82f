"""A disk in virtual time, which loses in a crash what was not synced, and may tear what was being written (Fig. 2)."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

from raft_threads.entry_format import BadLine
from raft_threads.log import LogEntry, SnapshotMetadata
from raft_threads.log_format import entries_after, log_lines, read_log
from raft_threads.simulation.policies import MILLISECOND
from raft_threads.simulation.scheduler import Scheduler
from raft_threads.snapshot_format import check_snapshot, read_metadata, read_records, snapshot_lines
from raft_threads.storage import BadSnapshot, SavedState, StorageError

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
        self.snapshot = b""
        # Under way: lost in a crash, all of it or from some byte on; a rename happens or does not.
        self.unsynced: list[bytes] = []
        self.renaming: Optional[tuple[int, Optional[str]]] = None
        self.replacing: Optional[list[bytes]] = None
        self.adopting: Optional[bytes] = None
        self.writers = 0
        self.snapshot_writers = 0

    def open(self) -> DiskOfOneBoot:
        """Return the storage of a server that starts."""
        return DiskOfOneBoot(self)

    def entries(self) -> list[LogEntry]:
        """Return the log as far as its records are whole."""
        return self.read()[0]

    def read(self) -> tuple[list[LogEntry], Optional[BadLine]]:
        """Return the whole records that follow the snapshot, and what is wrong with the line after them, if anything.

        A crash may have left a log that the snapshot replaces, wholly or in part (§7).
        """
        found = read_log(self.lines, self.term_and_vote[0])
        return entries_after(self.start(), found), found.damage

    def start(self) -> Optional[SnapshotMetadata]:
        """Return what the snapshot says of the log, None if there is none."""
        return read_metadata(io.BytesIO(self.snapshot).readline()) if self.snapshot else None

    def log_lines(self, entries: Sequence[LogEntry]) -> list[bytes]:
        """Return the lines of a log of `entries`, which follow on the snapshot."""
        start = self.start() or SnapshotMetadata()
        return log_lines(start.last_included_index, start.last_included_term, entries)

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
        if self.adopting is not None and self.dice.random() < 0.5:
            self.snapshot = self.adopting
        if self.replacing is not None and self.dice.random() < 0.5:
            self.lines = self.replacing
        self.adopting = self.replacing = None
        self.writers = self.snapshot_writers = 0


class DiskOfOneBoot:
    """`Storage` on a simulated disk, for one server between start and crash."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self._scheduler = disk.scheduler
        self._failed: Optional[StorageError] = None
        # What a crash loses: our own snapshot that does not count yet, and a leader's as far as it has come.
        self._written = b""
        self._received = b""

    def load(self) -> SavedState:
        """Return what was saved; a torn last record and what the snapshot replaces are cut off."""
        disk = self._disk
        entries, error = disk.read()
        notes = [f"cut off a torn record ({error})"] if error is not None else []
        disk.lines = disk.log_lines(entries)
        return SavedState(*disk.term_and_vote, entries, notes, disk.start())

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
        position = self._line_of(entries[0].index)
        self._begin()
        if position < len(disk.lines):
            del disk.lines[position:]
            self._sync()
        disk.unsynced = [entry.line for entry in entries]
        self._sync()
        disk.lines += disk.unsynced
        disk.unsynced = []
        disk.writers -= 1

    def _line_of(self, index: int) -> int:
        """Return which line of the log entry `index` is to have, counted from 0. Raises ValueError for a gap."""
        begin = read_log(self._disk.lines[:1], self._disk.term_and_vote[0])
        first = 1 if begin.prev_log_index else 0
        position = first + index - begin.prev_log_index - 1
        if not first <= position <= len(self._disk.lines):
            raise ValueError(f"entry {index} would leave a gap, or is in the snapshot")
        return position

    def replace_log(self, entries: Sequence[LogEntry]) -> None:
        """Make the saved log hold `entries` and nothing else, atomically."""
        disk = self._disk
        lines = disk.log_lines(entries)
        self._begin()
        disk.replacing = lines
        self._sync()
        disk.lines, disk.replacing = lines, None
        disk.writers -= 1

    # Snapshots (§7)

    def write_snapshot(self, metadata: SnapshotMetadata, records: Iterable[bytes]) -> None:
        """Write a snapshot beside the one that counts; another thread may use the disk meanwhile."""
        disk, lines = self._disk, []
        self._written = b""
        self._refuse_if_broken()
        disk.snapshot_writers += 1
        if disk.snapshot_writers > 1:
            self._scheduler.fail(AssertionError(f"two threads of {disk.server} write snapshots at once"))
        for line in snapshot_lines(metadata, records):
            lines.append(line)
            self._scheduler.point(WRITE)
        self._take_time()
        disk.snapshot_writers -= 1
        self._refuse_if_broken()
        if disk.mood.failing:
            self._break("fsync failed")
        self._written = b"".join(lines)

    def adopt_written(self) -> bool:
        """Let the snapshot that was written count, unless the one that counts reaches as far."""
        written, self._written = self._written, b""
        if not written:
            raise ValueError("no snapshot was written")
        metadata = read_metadata(io.BytesIO(written).readline())
        self._refuse_later_term(metadata)
        return self._adopt(written, metadata)

    def store_chunk(self, offset: int, data: bytes) -> None:
        """Store a part of a snapshot that a leader sends."""
        self._begin()
        self._disk.writers -= 1
        if offset > len(self._received):
            raise ValueError(f"a chunk at byte {offset} would leave a gap after byte {len(self._received)}")
        self._received = self._received[:offset] + data

    def adopt_received(self) -> Optional[SnapshotMetadata]:
        """Check the snapshot that was received, and let it count, unless the one that counts reaches as far."""
        received, self._received = self._received, b""
        try:
            metadata = check_snapshot(io.BytesIO(received))
            self._refuse_later_term(metadata)
        except BadLine as error:
            raise BadSnapshot(str(error)) from error
        return metadata if self._adopt(received, metadata) else None

    def _refuse_later_term(self, metadata: SnapshotMetadata) -> None:
        term, saved_term = metadata.last_included_term, self._disk.term_and_vote[0]
        if term > saved_term:
            raise BadLine(f"its last entry is of term {term}, beyond the saved term {saved_term}")

    def _adopt(self, snapshot: bytes, metadata: SnapshotMetadata) -> bool:
        disk = self._disk
        self._begin()
        present = disk.start()
        reaches_farther = present is None or present.last_included_index < metadata.last_included_index
        if reaches_farther:
            disk.adopting = snapshot
            self._sync()
            disk.snapshot, disk.adopting = snapshot, None
        disk.writers -= 1
        return reaches_farther

    def open_snapshot(self) -> SnapshotInMemory:
        """Return the snapshot that counts."""
        if not self._disk.snapshot:
            raise ValueError("there is no snapshot")
        return SnapshotInMemory(self._disk.snapshot)

    def close(self) -> None:
        """Nothing to let go of."""

    def _begin(self) -> None:
        """Only one thread may write at a time; a broken disk stays broken."""
        self._scheduler.point(WRITE)
        self._refuse_if_broken()
        self._disk.writers += 1
        if self._disk.writers > 1:
            self._scheduler.fail(AssertionError(f"two threads of {self._disk.server} write to its disk at once"))

    def _refuse_if_broken(self) -> None:
        if self._failed is not None:
            raise self._failed
        if self._disk.mood.full:
            self._break("the disk is full")

    def _sync(self) -> None:
        """Take the time that a disk takes, and fail if it does."""
        self._take_time()
        if self._disk.mood.failing:
            self._disk.writers -= 1
            self._break("fsync failed")

    def _take_time(self) -> None:
        mood = self._disk.mood
        if mood.longest_sync_ns:
            duration = self._disk.dice.randint(mood.shortest_sync_ns, mood.longest_sync_ns)
            self._scheduler.park("its disk", duration)
        self._scheduler.point(SYNC)

    def _break(self, reason: str) -> None:
        self._failed = StorageError(f"cannot write to the disk of {self._disk.server}: {reason}")
        raise self._failed


class SnapshotInMemory:
    """A `SnapshotReader`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size_bytes = len(data)
        self.metadata = read_metadata(io.BytesIO(data).readline())

    def read(self, offset: int, max_bytes: int) -> bytes:
        """Return some bytes of the file."""
        return self._data[offset:offset + max_bytes]

    def records(self) -> Iterator[bytes]:
        """Return the state machine's records."""
        lines = io.BytesIO(self._data)
        lines.readline()
        return read_records(lines)

    def close(self) -> None:
        """Nothing to let go of."""


def draw_mood(dice: random.Random) -> DiskMood:
    """Draw how fast a disk is."""
    longest = dice.choice([0, 1, 5, 20]) * MILLISECOND
    return DiskMood(longest // 4, longest)
