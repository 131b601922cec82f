"""Snapshots and directories for the tests of §7: what stands in them follows from the last included index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Callable, Optional

import pytest
from drawing import entries_of

from raft_threads.configuration import Configuration
from raft_threads.durable_files import sync_file
from raft_threads.file_storage import FileStorage
from raft_threads.log import LogEntry, SnapshotMetadata
from raft_threads.log_format import log_lines
from raft_threads.snapshot_format import snapshot_lines
from raft_threads.storage import SavedState, Storage, StorageError

CURRENT_TERM = 9


def metadata_of(index: int, term: int) -> SnapshotMetadata:
    """Return what a snapshot of all up to entry `index`, of `term`, says of the log."""
    return SnapshotMetadata(index, term, Configuration.of(["n1", "n2", "n3"]))


def records_of(index: int) -> Iterator[bytes]:
    """Return the records of the state after entry `index`, with all that needs to be escaped."""
    return (b"key %d\nvalue %% \r\xff %d" % (number, index) for number in range(index))


def snapshot_of(index: int, term: int) -> bytes:
    """Return the file of that snapshot."""
    return b"".join(snapshot_lines(metadata_of(index, term), records_of(index)))


def opened(directory: Path, sync: Callable[[int], None] = sync_file) -> tuple[FileStorage, SavedState]:
    """Open the directory as server n1 of cluster raft, and load it."""
    storage = FileStorage(directory, "raft", "n1", sync)
    try:
        return storage, storage.load()
    except StorageError:
        storage.close()
        raise


def lay_out(
    directory: Path, entries: Sequence[LogEntry], snapshot: bytes = b"", prev: tuple[int, int] = (0, 0)
) -> None:
    """Make a directory hold these files: a log whose `entries` follow on `prev`, and a snapshot if one is given."""
    if not directory.exists() or not (directory / "server").exists():
        storage, _ = opened(directory)
        storage.save_term_and_vote(CURRENT_TERM, "n2")
        storage.close()
    (directory / "log").write_bytes(b"".join([*log_lines(*prev, ()), *(entry.line for entry in entries)]))
    if snapshot:
        (directory / "snapshot").write_bytes(snapshot)


def take_snapshot(storage: Storage, index: int, term: int, kept: Sequence[LogEntry]) -> None:
    """Do with a server's own snapshot what the server does: write it, let it count, keep only the entries after it."""
    storage.write_snapshot(metadata_of(index, term), records_of(index))
    assert storage.adopt_written()
    storage.replace_log(kept)


def send_snapshot(storage: Storage, data: bytes, chunk_bytes: int = 50) -> Optional[SnapshotMetadata]:
    """Bring a leader's snapshot in chunks; return what `adopt_received` does."""
    for offset in range(0, len(data), chunk_bytes):
        storage.store_chunk(offset, data[offset:offset + chunk_bytes])
    return storage.adopt_received()


def records_in(storage: Storage) -> list[bytes]:
    """Return the records of the snapshot that counts."""
    reader = storage.open_snapshot()
    try:
        return list(reader.records())
    finally:
        reader.close()


def files_in(directory: Path) -> dict[str, bytes]:
    """Return what the directory holds."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def refusal(directory: Path) -> str:
    """Return with what words the directory is refused: one line, and nothing has been changed."""
    before = files_in(directory)
    with pytest.raises(StorageError) as error:
        opened(directory)
    assert "\n" not in str(error.value)
    assert files_in(directory) == before
    return str(error.value)


def indexes(entries: Sequence[LogEntry]) -> list[int]:
    """Return the entries' indexes."""
    return [entry.index for entry in entries]


def log_from(first_index: int, *terms: int) -> tuple[LogEntry, ...]:
    """Return entries of these terms from `first_index` on."""
    return entries_of(*terms, first_index=first_index)
