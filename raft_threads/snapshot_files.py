"""Snapshots on disk (§7, Fig. 12): the one that counts, our own while it is written, and a leader's while it comes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Optional

from raft_threads.durable_files import BUFFER_BYTES, Directory, reason, write_fully
from raft_threads.entry_format import BadLine
from raft_threads.log import SnapshotMetadata
from raft_threads.snapshot_format import check_snapshot, read_metadata, read_records, snapshot_lines
from raft_threads.storage import RESTORE_OR_REJOIN, BadSnapshot, StorageError

NAME = "snapshot"
WRITTEN = "snapshot.written"
RECEIVED = "snapshot.received"


class SnapshotFiles:
    """The three files. Methods may raise OSError. `write` and `open` may run while another thread is in another one."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        # What the snapshots say of the log: the one that counts, and one that was written but does not count yet.
        self.current: Optional[SnapshotMetadata] = None
        self._written: Optional[SnapshotMetadata] = None
        self._received = -1
        self._received_bytes = 0

    def load(self, current_term: int) -> Optional[SnapshotMetadata]:
        """Return what the snapshot says of the log, after reading all of it; None if there is none.

        Raises StorageError, naming file and line, when it is damaged.
        """
        path = self._directory / NAME
        try:
            with open(path, "rb", BUFFER_BYTES) as lines:
                metadata = check_snapshot(lines)
            _refuse_later_term(metadata, current_term)
        except FileNotFoundError:
            return None
        except BadLine as error:
            raise StorageError(f"{path} is damaged ({error}); {RESTORE_OR_REJOIN}") from error
        self.current = metadata
        return metadata

    def remove_leftovers(self) -> None:
        """Remove what a crash left half done; it never counted."""
        self._directory.remove(WRITTEN)
        self._directory.remove(RECEIVED)

    def write(self, metadata: SnapshotMetadata, records: Iterable[bytes]) -> None:
        """Write a snapshot durably, beside the one that counts; `records` are taken one by one."""
        self._written = None
        self._directory.write(WRITTEN, snapshot_lines(metadata, records))
        self._written = metadata

    def adopt_written(self, current_term: int) -> bool:
        """Let the snapshot that was written count, if it reaches farther than the one that does. Returns whether."""
        metadata, self._written = self._written, None
        if metadata is None:
            raise ValueError("no snapshot was written")
        _refuse_later_term(metadata, current_term)
        return self._adopt(WRITTEN, metadata)

    def store_chunk(self, offset: int, data: bytes) -> None:
        """Make what is received of a leader's snapshot end with `data`, at byte `offset`. Raises ValueError: a gap."""
        if offset == 0:
            self.close()
            self._received = os.open(self._directory / RECEIVED, os.O_RDWR | os.O_CREAT, 0o644)
        if self._received < 0 or offset > self._received_bytes:
            raise ValueError(f"a chunk at byte {offset} would leave a gap after byte {self._received_bytes}")
        os.ftruncate(self._received, offset)
        write_fully(self._received, data, offset)
        self._received_bytes = offset + len(data)

    def adopt_received(self, current_term: int) -> Optional[SnapshotMetadata]:
        """Check what was received, make it durable, and let it count, if it reaches farther than the one that does.

        Returns what it says of the log if so. Raises BadSnapshot.
        """
        if self._received < 0:
            raise BadSnapshot("nothing of it was received")
        try:
            metadata = self._check_received(current_term)
            self._directory.sync_file(self._received)
        finally:
            self.close()
        return metadata if self._adopt(RECEIVED, metadata) else None

    def open(self) -> SnapshotFile:
        """Return the snapshot that counts. Raises ValueError when there is none."""
        if self.current is None:
            raise ValueError("there is no snapshot")
        return SnapshotFile(self._directory / NAME)

    def close(self) -> None:
        """Close what is being received; what has come is as good as lost."""
        if self._received >= 0:
            os.close(self._received)
        self._received, self._received_bytes = -1, 0

    def _check_received(self, current_term: int) -> SnapshotMetadata:
        try:
            with open(self._directory / RECEIVED, "rb", BUFFER_BYTES) as lines:
                metadata = check_snapshot(lines)
            _refuse_later_term(metadata, current_term)
        except BadLine as error:
            self._directory.remove(RECEIVED)
            raise BadSnapshot(str(error)) from error
        return metadata

    def _adopt(self, name: str, metadata: SnapshotMetadata) -> bool:
        if self.current is not None and self.current.last_included_index >= metadata.last_included_index:
            self._directory.remove(name)
            return False
        self._directory.rename(name, NAME)
        self.current = metadata
        return True


class SnapshotFile:
    """A `SnapshotReader`: the file stays open, and what it is, when another one takes its name."""

    def __init__(self, path: str) -> None:
        """Open the file at `path`. Raises OSError, or StorageError when its first line is damaged."""
        self._path = path
        self._file = open(path, "rb", BUFFER_BYTES)
        self.size_bytes = os.fstat(self._file.fileno()).st_size
        try:
            self.metadata = read_metadata(self._file.readline())
        except BadLine as error:
            self._file.close()
            raise self._damaged(error) from error

    def read(self, offset: int, max_bytes: int) -> bytes:
        """Return up to `max_bytes` of the file, from byte `offset` on."""
        try:
            return os.pread(self._file.fileno(), max_bytes, offset)
        except OSError as error:
            raise StorageError(f"cannot read {self._path}: {reason(error)}") from error

    def records(self) -> Iterator[bytes]:
        """Return the state machine's records, one by one and once only."""
        try:
            yield from read_records(self._file)
        except BadLine as error:
            raise self._damaged(error) from error
        except OSError as error:
            raise StorageError(f"cannot read {self._path}: {reason(error)}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _damaged(self, error: BadLine) -> StorageError:
        return StorageError(f"{self._path} is damaged ({error}); {RESTORE_OR_REJOIN}")


def _refuse_later_term(metadata: SnapshotMetadata, current_term: int) -> None:
    """Raise BadLine unless `metadata` can be of a snapshot that a server of `current_term` has (§5.1)."""
    if metadata.last_included_term > current_term:
        raise BadLine(f"its last entry is of term {metadata.last_included_term}, beyond the saved term {current_term}")
