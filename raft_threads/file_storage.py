"""Stable storage in a directory that a learner can read with `less` (Fig. 2, "Persistent state"; §5.1, §7).

    lock            held while a server uses the directory
    server          which server's directory this is
    term_and_vote   current_term and voted_for, replaced as a whole
    log             one checksummed line per entry, appended; after a snapshot, those that follow it
    snapshot        the state up to some entry (§7), replaced as a whole

`docs/storage-format.md` describes each.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

from raft_threads.durable_files import Directory, reason, sync_file
from raft_threads.entry_format import add_checksum, check_and_strip
from raft_threads.log import LogEntry, SnapshotMetadata
from raft_threads.log_file import LogFile
from raft_threads.snapshot_files import SnapshotFile, SnapshotFiles
from raft_threads.storage import SavedState, StorageError

FORMAT = 2
# Had neither snapshots nor entries of all kinds; read as it is, and raised when it is first used.
OLDER_FORMAT = 1
NEW_TERM_AND_VOTE = add_checksum(b'{"current_term": 0, "voted_for": null}')
_Result = TypeVar("_Result")


class FileStorage:
    """`Storage` in a directory."""

    def __init__(self, directory: Path, cluster: str, server: str, sync: Callable[[int], None] = sync_file) -> None:
        """Use `directory`, made if need be, as server `server` of cluster `cluster`.

        `sync` waits until a file descriptor's data is durable. Raises StorageError when another process uses the
        directory, it belongs to another server, or it cannot be written.
        """
        self._directory = Directory(directory, sync)
        self._owner = {"format": FORMAT, "cluster": cluster, "id": server}
        self._is_of_older_format = False
        self._failed: Optional[StorageError] = None
        self._current_term = 0
        self._log = LogFile(self._directory)
        self._snapshots = SnapshotFiles(self._directory)
        self._lock = -1
        try:
            self._directory.make()
            self._lock = lock_directory(directory)
            self._check_owner()
        except OSError as error:
            self.close()
            raise StorageError(f"cannot use data directory {directory}: {reason(error)}") from error
        except StorageError:
            self.close()
            raise

    def load(self) -> SavedState:
        """Return the saved state, after repairing what a crash left: a torn last record, a log that was not cut yet.

        Raises StorageError, naming file and line, when something that must have been durable is damaged or lost.
        """
        try:
            if not self._path("server").exists():
                self._set_up()
            elif self._is_of_older_format:
                self._write_owner()
            self._remove_leftovers()
            self._current_term, voted_for = self._load_term_and_vote()
            start = self._snapshots.load(self._current_term)
            entries, notes = self._log.load(self._current_term, start)
        except OSError as error:
            raise StorageError(f"cannot read data directory {self._directory.path}: {reason(error)}") from error
        return SavedState(self._current_term, voted_for, entries, notes, start)

    def save_term_and_vote(self, current_term: int, voted_for: Optional[str]) -> None:
        """Replace `term_and_vote`: write a temporary file, fsync it, rename it, fsync the directory."""
        value = {"current_term": current_term, "voted_for": voted_for}
        self._durably(lambda: self._replace("term_and_vote", value))
        self._current_term = current_term

    def save_entries(self, entries: Sequence[LogEntry]) -> None:
        """Cut the log file where `entries` begin, append their lines, fsync once."""
        if entries:
            self._durably(lambda: self._log.append(entries))

    def replace_log(self, entries: Sequence[LogEntry]) -> None:
        """Replace the log file by one that holds only `entries`, which follow on the snapshot that counts."""
        start = self._snapshots.current or SnapshotMetadata()
        self._durably(lambda: self._log.replace(start.last_included_index, start.last_included_term, entries))

    # Snapshots (§7)

    def write_snapshot(self, metadata: SnapshotMetadata, records: Iterable[bytes]) -> None:
        """Write and fsync `snapshot.written`. Other methods may run meanwhile, but for `adopt_written`."""
        self._durably(lambda: self._snapshots.write(metadata, records))

    def adopt_written(self) -> bool:
        """Rename `snapshot.written` to `snapshot`, fsync the directory."""
        return self._durably(lambda: self._snapshots.adopt_written(self._current_term))

    def store_chunk(self, offset: int, data: bytes) -> None:
        """Write a chunk to `snapshot.received`, without fsync."""
        self._durably(lambda: self._snapshots.store_chunk(offset, data))

    def adopt_received(self) -> Optional[SnapshotMetadata]:
        """Check and fsync `snapshot.received`, rename it to `snapshot`, fsync the directory."""
        return self._durably(lambda: self._snapshots.adopt_received(self._current_term))

    def open_snapshot(self) -> SnapshotFile:
        """Open `snapshot`. Other methods may run meanwhile."""
        try:
            return self._snapshots.open()
        except OSError as error:
            raise StorageError(f"cannot read the snapshot in {self._directory.path}: {reason(error)}") from error

    def close(self) -> None:
        """Close the files and release the directory."""
        self._log.close()
        self._snapshots.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1

    def _durably(self, write: Callable[[], _Result]) -> _Result:
        if self._failed is not None:
            raise self._failed
        try:
            return write()
        except OSError as error:
            self._failed = StorageError(f"cannot write to data directory {self._directory.path}: {reason(error)}")
            raise self._failed from error

    def _replace(self, name: str, value: Any) -> None:
        self._directory.replace(name, [add_checksum(json.dumps(value).encode("utf-8"))])

    # Starting

    def _path(self, name: str) -> Path:
        return self._directory.path / name

    def _check_owner(self) -> None:
        path = self._path("server")
        if not path.exists():
            return
        try:
            found = json.loads(check_and_strip(path.read_bytes()))
        except ValueError as error:
            raise StorageError(f"{path} is damaged ({error}); restore the directory, or empty it and rejoin") from error
        self._is_of_older_format = found.get("format") == OLDER_FORMAT
        if found != {**self._owner, "format": OLDER_FORMAT if self._is_of_older_format else FORMAT}:
            raise StorageError(
                f"{self._directory.path} belongs to server {found.get('id')} of cluster {found.get('cluster')} (format "
                f"{found.get('format')}), not to {self._owner['id']} of {self._owner['cluster']}; "
                "choose another --data-dir"
            )

    def _set_up(self) -> None:
        """Make the files of a new server. `server` comes last: while it is missing, nothing has been promised."""
        for name, content in (("log", b""), ("term_and_vote", NEW_TERM_AND_VOTE), ("snapshot", None)):
            path = self._path(name)
            if path.exists() and path.read_bytes() != content:
                raise StorageError(f"{path} exists but {self._path('server')} does not; choose an empty --data-dir")
        self._path("log").touch()
        self._durably(lambda: self._directory.replace("term_and_vote", [NEW_TERM_AND_VOTE]))
        self._write_owner()

    def _write_owner(self) -> None:
        self._durably(lambda: self._replace("server", self._owner))

    def _remove_leftovers(self) -> None:
        """Remove the files that a crash left before they took the place of others."""
        self._snapshots.remove_leftovers()
        for name in ("server", "term_and_vote", "log"):
            self._directory.remove(name + ".new")

    def _load_term_and_vote(self) -> tuple[int, Optional[str]]:
        path = self._path("term_and_vote")
        try:
            value = json.loads(check_and_strip(path.read_bytes()))
            return value["current_term"], value["voted_for"]
        except FileNotFoundError as error:
            raise StorageError(f"{path} is missing; without it the server could vote twice; restore it") from error
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path} is damaged ({error}); without it the server could vote twice") from error


def lock_directory(directory: Path) -> int:
    """Take the directory's lock file; return its descriptor. Raises StorageError when another server has it."""
    descriptor = os.open(str(directory / "lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StorageError(f"data directory {directory} is in use by another server; stop it first") from error
    return descriptor
