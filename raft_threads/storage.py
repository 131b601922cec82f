"""Stable storage: what a node needs of a disk (Fig. 2, "Persistent state on all servers"; §5.1, §7).

`file_storage.py` keeps it in a directory, `simulation/disk.py` in memory and virtual time. All methods may block on the
disk; only one thread calls them at a time, except where they say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Optional, Protocol

from raft_threads.log import LogEntry, SnapshotMetadata

RESTORE_OR_REJOIN = (
    "restore the directory as it was when the server last stopped, or remove the server from the cluster, empty the "
    "directory, and add the server again"
)


class StorageError(Exception):
    """The directory cannot be used, or a write failed. The message is one line and says what to do."""


@dataclass(frozen=True)
class SavedState:
    """What a server finds on its disk when it starts. `notes` say what had to be repaired.

    `entries` follow on the snapshot of which `start` tells, or begin with index 1 if that is None.
    """

    current_term: int
    voted_for: Optional[str]
    entries: Sequence[LogEntry]
    notes: Sequence[str] = ()
    start: Optional[SnapshotMetadata] = None


class BadSnapshot(Exception):
    """What was received is not a whole snapshot. The text says in one line what is wrong with it."""


class SnapshotReader(Protocol):
    """A snapshot that is open for reading: it stays what it is when a newer one replaces it on disk."""

    metadata: SnapshotMetadata
    size_bytes: int

    def read(self, offset: int, max_bytes: int) -> bytes:
        """Return up to `max_bytes` of the file, from byte `offset` on: a chunk to send (Fig. 13).

        Raises StorageError when the disk cannot read it.
        """

    def records(self) -> Iterator[bytes]:
        """Return the state machine's records, as they were given to `write_snapshot`. Once only.

        Raises StorageError, maybe after some of them, when the file is damaged.
        """

    def close(self) -> None:
        """Let go of the file."""


class Storage(Protocol):
    """What a node needs of a disk. When a `save_` method returns, the data survives a crash.

    If one raises StorageError the node stops for good: after a failed fsync nobody knows what the disk holds.
    """

    def load(self) -> SavedState:
        """Return what was saved before; called once, first."""

    def save_term_and_vote(self, current_term: int, voted_for: Optional[str]) -> None:
        """Replace the saved term and vote, atomically."""

    def save_entries(self, entries: Sequence[LogEntry]) -> None:
        """Make the saved log end with `entries`, whatever it held from the first one's index on."""

    def replace_log(self, entries: Sequence[LogEntry]) -> None:
        """Make the saved log hold `entries` and nothing else, atomically: those that follow the snapshot (§7).

        Raises ValueError when the first one does not follow on the snapshot that counts.
        """

    # Snapshots (§7). `write_snapshot` and what `open_snapshot` returns may be at work while other methods are.

    def write_snapshot(self, metadata: SnapshotMetadata, records: Iterable[bytes]) -> None:
        """Write a snapshot durably, beside the one that counts. It counts from `adopt_written` on."""

    def adopt_written(self) -> bool:
        """Let the snapshot that was written count from now on, atomically.

        False if the one that counts reaches as far or farther; then the written one is thrown away. Raises ValueError
        when the saved term is older than its last entry's: term and vote come first, so that no saved entry is ahead.
        """

    def store_chunk(self, offset: int, data: bytes) -> None:
        """Store a part of a snapshot that a leader sends; offset 0 begins a new one (Fig. 13, rules 2 and 3).

        What was received ends with `data` then: a chunk may come again. Not durable: a crash loses it. Raises
        ValueError when there is a gap before `offset`.
        """

    def adopt_received(self) -> Optional[SnapshotMetadata]:
        """Check the snapshot that was received, make it durable, and let it count; return what it says of the log.

        None if the one that counts reaches as far or farther. Raises BadSnapshot when it is not whole, or the saved
        term is older than its last entry's. In all these cases it is thrown away, and nothing has changed.
        """

    def open_snapshot(self) -> SnapshotReader:
        """Return the snapshot that counts. Raises ValueError: there is none; StorageError: it cannot be read."""

    def close(self) -> None:
        """Let go of the disk. Saves nothing: what is not durable by now is lost, as in a crash."""


def snapshot_size(storage: Storage) -> int:
    """Return how many bytes the snapshot has that counts. There must be one."""
    reader = storage.open_snapshot()
    try:
        return reader.size_bytes
    finally:
        reader.close()
