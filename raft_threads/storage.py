"""Stable storage: what must survive a crash (Fig. 2, "Persistent state on all servers"; §5.1).

A directory that a learner can read with `less`:

    lock            held while a server uses the directory
    server          which server's directory this is
    term_and_vote   current_term and voted_for, replaced as a whole
    log             one checksummed line per entry, appended; after a snapshot, those that follow it
    snapshot        the state up to some entry (§7), replaced as a whole

`docs/storage-format.md` describes each. All methods may block on the disk; only one thread calls them at a time.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional, Protocol

from raft_threads.entry_format import BadLine, add_checksum, check_and_strip
from raft_threads.log import LogEntry, SnapshotMetadata

FORMAT = 1
NEW_TERM_AND_VOTE = add_checksum(b'{"current_term": 0, "voted_for": null}')


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
        """Return up to `max_bytes` of the file, from byte `offset` on: a chunk to send (Fig. 13)."""

    def records(self) -> Iterator[bytes]:
        """Return the state machine's records, as they were given to `write_snapshot`."""

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
        """Make the saved log hold `entries` and nothing else, atomically: those that follow the snapshot (§7)."""

    # Snapshots (§7). `write_snapshot` and what `open_snapshot` returns may be at work while other methods are.

    def write_snapshot(self, metadata: SnapshotMetadata, records: Iterable[bytes]) -> None:
        """Write a snapshot durably, beside the one that counts. It counts from `adopt_written` on."""

    def adopt_written(self) -> bool:
        """Let the snapshot that was written count from now on, atomically.

        False if the one that counts reaches as far or farther; then the written one is thrown away.
        """

    def store_chunk(self, offset: int, data: bytes) -> None:
        """Store a part of a snapshot that a leader sends; offset 0 begins a new one (Fig. 13, rules 2 and 3).

        Raises ValueError when there is a gap before `offset`.
        """

    def adopt_received(self) -> Optional[SnapshotMetadata]:
        """Check the snapshot that was received, make it durable, and let it count; return what it says of the log.

        None if the one that counts reaches as far or farther. Raises BadSnapshot when it is not whole: it is thrown
        away, and nothing has changed.
        """

    def open_snapshot(self) -> SnapshotReader:
        """Return the snapshot that counts. There must be one."""

    def close(self) -> None:
        """Let go of the disk. Saves nothing: what is not durable by now is lost, as in a crash."""


def sync_file(descriptor: int) -> None:
    """Wait until the file's data is on the disk itself. On macOS fsync alone stops at the drive's cache."""
    full_sync = getattr(fcntl, "F_FULLFSYNC", None)
    if full_sync is not None:
        fcntl.fcntl(descriptor, full_sync)
    else:
        os.fsync(descriptor)


class FileStorage:
    """Storage in a directory."""

    def __init__(self, directory: Path, cluster: str, server: str, sync: Callable[[int], None] = sync_file) -> None:
        """Use `directory`, made if need be, as server `server` of cluster `cluster`.

        `sync` waits until a file descriptor's data is durable. Raises StorageError when another process uses the
        directory, it belongs to another server, or it cannot be written.
        """
        self._directory = directory
        self._owner = {"format": FORMAT, "cluster": cluster, "id": server}
        self._sync = sync
        self._failed: Optional[StorageError] = None
        self._log = -1
        self._offsets = array("Q")
        self._end = 0
        self._lock = -1
        try:
            self._make_directory(directory)
            self._lock = lock_directory(directory)
            self._check_owner()
        except OSError as error:
            self.close()
            raise StorageError(f"cannot use data directory {directory}: {reason(error)}") from error
        except StorageError:
            self.close()
            raise

    def load(self) -> SavedState:
        """Return the saved state, with a torn last record cut off the log.

        Raises StorageError, naming file and line, when a record that must have been durable is damaged.
        """
        try:
            if not (self._directory / "server").exists():
                self._set_up()
            current_term, voted_for = self._load_term_and_vote()
            self._log = self._open_log()
            entries, notes = self._load_log(current_term)
            # What a killed server wrote may be in the page cache only; from here on it counts as saved.
            self._sync(self._log)
            self._sync_directory(self._directory)
        except OSError as error:
            raise StorageError(f"cannot read data directory {self._directory}: {reason(error)}") from error
        return SavedState(current_term, voted_for, entries, notes)

    def save_term_and_vote(self, current_term: int, voted_for: Optional[str]) -> None:
        """Replace `term_and_vote`: write a temporary file, fsync it, rename it, fsync the directory."""
        value = {"current_term": current_term, "voted_for": voted_for}
        self._durably(lambda: self._replace("term_and_vote", add_checksum(json.dumps(value).encode("utf-8"))))

    def save_entries(self, entries: Sequence[LogEntry]) -> None:
        """Cut the log file where `entries` begin, append their lines, fsync once."""
        if entries:
            self._durably(lambda: self._write_entries(entries))

    def close(self) -> None:
        """Close the files and release the directory."""
        for descriptor in (self._log, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._log = self._lock = -1

    # Writing

    def _durably(self, write: Callable[[], None]) -> None:
        if self._failed is not None:
            raise self._failed
        try:
            write()
        except OSError as error:
            self._failed = StorageError(f"cannot write to data directory {self._directory}: {reason(error)}")
            raise self._failed from error

    def _write_entries(self, entries: Sequence[LogEntry]) -> None:
        self._truncate_log(entries[0].index)
        write_fully(self._log, b"".join([entry.line for entry in entries]), self._end)
        self._sync(self._log)
        for entry in entries:
            self._note_line(entry.line)

    def _truncate_log(self, index: int) -> None:
        """Remove the entries from `index` on. Durable by itself: a crash must not show old lines behind new ones."""
        if index > len(self._offsets) + 1:
            raise ValueError(f"entry {index} would leave a gap after entry {len(self._offsets)}")
        if index <= len(self._offsets):
            self._end = self._offsets[index - 1]
            del self._offsets[index - 1:]
            os.ftruncate(self._log, self._end)
            self._sync(self._log)

    def _note_line(self, line: bytes) -> None:
        self._offsets.append(self._end)
        self._end += len(line)

    def _replace(self, name: str, content: bytes) -> None:
        temporary = self._path(name + ".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_fully(descriptor, content, 0)
            self._sync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, self._path(name))
        self._sync_directory(self._directory)

    def _sync_directory(self, directory: Path) -> None:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            self._sync(descriptor)
        finally:
            os.close(descriptor)

    # Starting

    def _make_directory(self, directory: Path) -> None:
        """Make `directory` if need be, and what is missing above it. Durably, or all that it holds could be lost."""
        if not directory.is_dir():
            self._make_directory(directory.parent)
            directory.mkdir(exist_ok=True)
            self._sync_directory(directory.parent)

    def _path(self, name: str) -> str:
        return str(self._directory / name)

    def _check_owner(self) -> None:
        path = self._directory / "server"
        if not path.exists():
            return
        try:
            found = json.loads(check_and_strip(path.read_bytes()))
        except ValueError as error:
            raise StorageError(f"{path} is damaged ({error}); restore the directory, or empty it and rejoin") from error
        if found != self._owner:
            raise StorageError(
                f"{self._directory} belongs to server {found.get('id')} of cluster {found.get('cluster')} (format "
                f"{found.get('format')}), not to {self._owner['id']} of {self._owner['cluster']}; "
                "choose another --data-dir"
            )

    def _set_up(self) -> None:
        """Make the files of a new server. `server` comes last: while it is missing, nothing has been promised."""
        for name, content in (("log", b""), ("term_and_vote", NEW_TERM_AND_VOTE)):
            path = self._directory / name
            if path.exists() and path.read_bytes() != content:
                owner = self._directory / "server"
                raise StorageError(f"{path} exists but {owner} does not; choose an empty --data-dir")
        (self._directory / "log").touch()
        self._durably(lambda: self._replace("term_and_vote", NEW_TERM_AND_VOTE))
        self._durably(lambda: self._replace("server", add_checksum(json.dumps(self._owner).encode("utf-8"))))

    def _load_term_and_vote(self) -> tuple[int, Optional[str]]:
        path = self._directory / "term_and_vote"
        try:
            value = json.loads(check_and_strip(path.read_bytes()))
            return value["current_term"], value["voted_for"]
        except FileNotFoundError as error:
            raise StorageError(f"{path} is missing; without it the server could vote twice; restore it") from error
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path} is damaged ({error}); without it the server could vote twice") from error

    def _open_log(self) -> int:
        path = self._path("log")
        try:
            return os.open(path, os.O_RDWR)
        except FileNotFoundError as error:
            raise StorageError(f"{path} is missing; other servers may rely on what it held; restore it") from error

    def _load_log(self, current_term: int) -> tuple[list[LogEntry], list[str]]:
        entries: list[LogEntry] = []
        with open(self._path("log"), "rb") as lines:
            for line in lines:
                try:
                    entries.append(next_entry(line, entries[-1] if entries else None, current_term))
                except BadLine as error:
                    return entries, self._cut_torn_tail(len(entries) + 1, line, error, lines.read())
                self._note_line(line)
        return entries, []

    def _cut_torn_tail(self, number: int, line: bytes, error: BadLine, rest: bytes) -> list[str]:
        """Cut off a record whose writing was interrupted: nobody has been told of it. Refuse any other damage."""
        path = self._directory / "log"
        if any(is_entry(whole) for whole in [line, *rest.splitlines(keepends=True)]):
            raise StorageError(
                f"{path} line {number} is damaged ({error}), and it or a later line was surely saved; repair it, or "
                "restore the directory as it was when the server last stopped"
            )
        os.ftruncate(self._log, self._end)
        return [f"{path} line {number}: cut off a torn record of {len(line) + len(rest)} bytes ({error})"]


def lock_directory(directory: Path) -> int:
    """Take the directory's lock file; return its descriptor. Raises StorageError when another server has it."""
    descriptor = os.open(str(directory / "lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StorageError(f"data directory {directory} is in use by another server; stop it first") from error
    return descriptor


def next_entry(line: bytes, previous: Optional[LogEntry], current_term: int) -> LogEntry:
    """Return the entry in `line`. Raises BadLine unless it can follow `previous` in a log of `current_term`."""
    entry = LogEntry.from_line(line)
    index, term = (previous.index, previous.term) if previous else (0, 0)
    if entry.index != index + 1:
        raise BadLine(f"its index is {entry.index} where {index + 1} is due")
    if not term <= entry.term <= current_term:
        raise BadLine(f"its term is {entry.term}, after term {term} and with current term {current_term}")
    return entry


def entries_after(start: Optional[SnapshotMetadata], entries: Sequence[LogEntry]) -> list[LogEntry]:
    """Return those of `entries`, a log as it was found on disk, that follow the snapshot of which `start` tells (§7).

    A crash may have come after the snapshot was saved and before the log was cut. If the log has the snapshot's last
    entry, what follows it stays (Fig. 13, rule 6); if it has another one there, or ends before, the snapshot replaces
    all of it. Raises BadLine when entries between the two are missing.
    """
    if start is None:
        if entries and entries[0].index != 1:
            raise BadLine(f"it begins with entry {entries[0].index}, and there is no snapshot of those before")
        return list(entries)
    index, term = start.last_included_index, start.last_included_term
    if not entries or entries[-1].index < index:
        return []
    first = entries[0].index
    if first > index + 1:
        raise BadLine(f"it begins with entry {first}, and the snapshot ends with entry {index}")
    if first <= index and entries[index - first].term != term:
        return []
    return list(entries[max(0, index + 1 - first):])


def is_entry(line: bytes) -> bool:
    """Return whether `line` is a whole entry."""
    try:
        LogEntry.from_line(line)
    except BadLine:
        return False
    return True


def write_fully(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`; one system call may take only a part."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def reason(error: OSError) -> str:
    """Return in a few words what the operating system complained of."""
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    return error.strerror or str(error)
