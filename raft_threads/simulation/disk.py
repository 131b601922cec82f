"""A disk in virtual time, which loses in a crash what was not synced, and may tear what was being written (Fig. 2)."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

from raft_threads.entry_format import BadLine
from raft_threads.log import LogEntry, SnapshotMetadata
from raft_threads.simulation.policies import MILLISECOND
from raft_threads.simulation.scheduler import Scheduler
from raft_threads.snapshot_format import check_snapshot, read_metadata, read_records, snapshot_lines
from raft_threads.storage import BadSnapshot, SavedState, StorageError, entries_after, next_entry

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

    def open(self) -> DiskOfOneBoot:
        """Return the storage of a server that starts."""
        return DiskOfOneBoot(self)

    def entries(self) -> list[LogEntry]:
        """Return the log as far as its records are whole."""
        return self.read()[0]

    def read(self) -> tuple[list[LogEntry], Optional[BadLine]]:
        """Return the whole records that follow the snapshot, and what is wrong with the line after them, if there is one.

        A crash may have left a log that the snapshot replaces, wholly or in part (§7).
        """
        entries: list[LogEntry] = []
        problem: Optional[BadLine] = None
        for line in self.lines:
            try:
                first = LogEntry.from_line(line) if not entries else None
                before = entries[-1] if entries else first and first.index > 1 and LogEntry(first.index - 1, first.term)
                entries.append(next_entry(line, before or None, self.term_and_vote[0]))
            except BadLine as error:
                problem = error
                break
        return entries_after(self.start(), entries), problem

    def start(self) -> Optional[SnapshotMetadata]:
        """Return what the snapshot says of the log, None if there is none."""
        return check_snapshot(io.BytesIO(self.snapshot)) if self.snapshot else None

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
        self.writers = 0


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
        """Return what was saved; a torn last record is cut off, as `FileStorage` does."""
        disk = self._disk
        entries, error = disk.read()
        notes: list[str] = []
        if error is not None:
            notes.append(f"line {len(entries) + 1}: cut off a torn record ({error})")
        disk.lines = [entry.line for entry in entries]
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
        self._begin()
        first = LogEntry.from_line(disk.lines[0]).index if disk.lines else entries[0].index
        if entries[0].index < first + len(disk.lines):
            del disk.lines[entries[0].index - first:]
            self._sync()
        disk.unsynced = [entry.line for entry in entries]
        self._sync()
        disk.lines += disk.unsynced
        disk.unsynced = []
        disk.writers -= 1

    def replace_log(self, entries: Sequence[LogEntry]) -> None:
        """Make the saved log hold `entries` and nothing else, atomically."""
        disk = self._disk
        self._begin()
        disk.replacing = [entry.line for entry in entries]
        self._sync()
        disk.lines, disk.replacing = disk.replacing, None
        disk.writers -= 1

    def write_snapshot(self, metadata: SnapshotMetadata, records: Iterable[bytes]) -> None:
        """Write a snapshot beside the one that counts; others may write meanwhile."""
        lines = []
        for line in snapshot_lines(metadata, records):
            lines.append(line)
            self._scheduler.point(WRITE)
        self._take_time()
        self._written = b"".join(lines)

    def adopt_written(self) -> bool:
        """Let the snapshot that was written count, unless the one that counts reaches as far."""
        written, self._written = self._written, b""
        return self._adopt(written) is not None

    def store_chunk(self, offset: int, data: bytes) -> None:
        """Store a part of a snapshot that a leader sends."""
        self._begin()
        if offset > len(self._received):
            raise ValueError(f"a gap before byte {offset} of the snapshot")
        self._received = self._received[:offset] + data
        self._disk.writers -= 1

    def adopt_received(self) -> Optional[SnapshotMetadata]:
        """Check the snapshot that was received, and let it count, unless the one that counts reaches as far."""
        received, self._received = self._received, b""
        try:
            check_snapshot(io.BytesIO(received))
        except BadLine as error:
            raise BadSnapshot(str(error)) from error
        return self._adopt(received)

    def _adopt(self, snapshot: bytes) -> Optional[SnapshotMetadata]:
        disk = self._disk
        metadata, present = check_snapshot(io.BytesIO(snapshot)), disk.start()
        if present is not None and present.last_included_index >= metadata.last_included_index:
            return None
        self._begin()
        disk.adopting = snapshot
        self._sync()
        disk.snapshot, disk.adopting = snapshot, None
        disk.writers -= 1
        return metadata

    def open_snapshot(self) -> SnapshotInMemory:
        """Return the snapshot that counts."""
        self._scheduler.point(WRITE)
        return SnapshotInMemory(self._disk.snapshot)

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
        """Take the time that a disk takes, and fail if it does."""
        self._take_time()
        if self._disk.mood.failing:
            self._break("fsync failed")

    def _take_time(self) -> None:
        mood = self._disk.mood
        if mood.longest_sync_ns:
            duration = self._disk.dice.randint(mood.shortest_sync_ns, mood.longest_sync_ns)
            self._scheduler.park("its disk", duration)
        self._scheduler.point(SYNC)

    def _break(self, reason: str) -> None:
        self._disk.writers -= 1
        self._failed = StorageError(f"cannot write to the disk of {self._disk.server}: {reason}")
        raise self._failed


class SnapshotInMemory:
    """A `SnapshotReader`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size_bytes = len(data)
        self.metadata = read_metadata(data[:data.index(b"\n") + 1])

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
