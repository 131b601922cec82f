"""A snapshot on its way to one follower, chunk by chunk (§7, Fig. 13): read from disk as it goes, never held whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from raft_threads.log import SnapshotMetadata
from raft_threads.storage import SnapshotReader, Storage

MAX_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Chunk:
    """Some bytes of a snapshot, from byte `offset` on; `done` if they are the last ones (Fig. 13)."""

    metadata: SnapshotMetadata
    offset: int
    data: bytes
    done: bool


class SnapshotTransfer:
    """Which snapshot a follower is being sent, and how far it has come. Used by that follower's thread alone.

    A transfer that has begun goes on with the same snapshot although a newer one replaces it: else a leader that takes
    snapshots quickly would never come to the end of one.
    """

    def __init__(self, storage: Storage, max_chunk_bytes: int) -> None:
        self._storage = storage
        self._max_chunk_bytes = max_chunk_bytes
        self._reader: Optional[SnapshotReader] = None
        self._offset = 0

    def next_chunk(self) -> Chunk:
        """Return the next chunk; begin with the snapshot that counts now if none is under way. Reads from the disk."""
        if self._reader is None:
            self._reader = self._storage.open_snapshot()
            self._offset = 0
        data = self._reader.read(self._offset, self._max_chunk_bytes)
        done = self._offset + len(data) >= self._reader.size_bytes
        return Chunk(self._reader.metadata, self._offset, data, done)

    def go_on_from(self, bytes_stored: Optional[int]) -> bool:
        """Go on from where the follower says; None: it needs no more. Return whether that is progress."""
        if bytes_stored is None or self._reader is None:
            self.end()
            return True
        sensible = bytes_stored < self._reader.size_bytes
        earlier, self._offset = self._offset, bytes_stored if sensible else 0
        return self._offset > earlier

    def end(self) -> None:
        """Let go of the snapshot: the follower has it, or needs none."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
