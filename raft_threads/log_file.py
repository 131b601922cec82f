"""The log on disk (Fig. 2, "log[]"; §5.3, §7): entries are appended, and cut off at its end or its beginning."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from typing import Optional

from raft_threads.durable_files import Directory, write_fully
from raft_threads.entry_format import BadLine
from raft_threads.log import LogEntry, SnapshotMetadata
from raft_threads.log_format import FoundLog, entries_after, is_whole, log_lines, read_log
from raft_threads.storage import RESTORE_OR_REJOIN, StorageError

NAME = "log"


class LogFile:
    """The file `log`. Knows where in it each entry begins. Methods may raise OSError."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._descriptor = -1
        # The entry before the first in the file, and the byte at which each one begins; all end at `_end`.
        self._prev_log_index = 0
        self._offsets = array("Q")
        self._end = 0

    def load(self, current_term: int, snapshot: Optional[SnapshotMetadata]) -> tuple[list[LogEntry], list[str]]:
        """Return the entries that follow on `snapshot`, and what had to be repaired; from then on the file holds these.

        Raises StorageError, naming file and line, when something that was durable is damaged or lost.
        """
        self._open()
        with open(self._path, "rb") as lines:
            found = read_log(lines, current_term)
            rest = lines.read()
        try:
            entries = entries_after(snapshot, found)
        except BadLine as error:
            raise StorageError(f"{self._path} line 1: {error}; something was lost; {RESTORE_OR_REJOIN}") from error
        self._note(log_lines(found.prev_log_index, found.prev_log_term, []), found.prev_log_index, found.entries)
        notes = self._cut_torn_tail(found, rest) if found.damage is not None else []
        # What a killed server wrote may be in the page cache only; from here on it counts as saved. So it is with the
        # names: the snapshot's must be durable before the entries go that it replaces.
        self._directory.sync_file(self._descriptor)
        self._directory.sync()
        if snapshot is not None and found.prev_log_index < snapshot.last_included_index:
            notes.append(self._cut_beginning(snapshot, found, entries))
        return entries, notes

    def append(self, entries: Sequence[LogEntry]) -> None:
        """Make the file end with `entries`, durably, whatever it held from the first one's index on."""
        self._truncate(entries[0].index)
        write_fully(self._descriptor, b"".join([entry.line for entry in entries]), self._end)
        self._directory.sync_file(self._descriptor)
        for entry in entries:
            self._note_line(entry.line)

    def replace(self, prev_log_index: int, prev_log_term: int, entries: Sequence[LogEntry]) -> None:
        """Make the file hold `entries`, which follow on `prev_log_index`, and nothing else; atomically and durably."""
        self._directory.replace(NAME, log_lines(prev_log_index, prev_log_term, entries))
        self.close()
        self._open()
        self._note(log_lines(prev_log_index, prev_log_term, []), prev_log_index, entries)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    @property
    def _path(self) -> str:
        return self._directory / NAME

    def _open(self) -> None:
        try:
            self._descriptor = os.open(self._path, os.O_RDWR)
        except FileNotFoundError as error:
            raise StorageError(
                f"{self._path} is missing; other servers may rely on what it held; {RESTORE_OR_REJOIN}"
            ) from error

    def _truncate(self, index: int) -> None:
        """Remove the entries from `index` on. Durable by itself: a crash must not show old lines behind new ones."""
        position = index - self._prev_log_index - 1
        if position > len(self._offsets):
            raise ValueError(f"entry {index} would leave a gap after entry {self._prev_log_index + len(self._offsets)}")
        if position < 0:
            raise ValueError(f"entry {index} is in the snapshot, which reaches to {self._prev_log_index}")
        if position < len(self._offsets):
            self._end = self._offsets[position]
            del self._offsets[position:]
            os.ftruncate(self._descriptor, self._end)
            self._directory.sync_file(self._descriptor)

    def _note(self, begin: Sequence[bytes], prev_log_index: int, entries: Sequence[LogEntry]) -> None:
        """Note what the file holds: the line `begin`, if it has one, then `entries`."""
        self._prev_log_index = prev_log_index
        self._offsets = array("Q")
        self._end = sum(map(len, begin))
        for entry in entries:
            self._note_line(entry.line)

    def _note_line(self, line: bytes) -> None:
        self._offsets.append(self._end)
        self._end += len(line)

    def _cut_torn_tail(self, found: FoundLog, rest: bytes) -> list[str]:
        """Cut off a record whose writing was interrupted: nobody has been told of it. Refuse any other damage."""
        line, where = found.damaged_line, f"{self._path} line {found.whole_lines + 1}"
        if any(is_whole(each) for each in [line, *rest.splitlines(keepends=True)]):
            raise StorageError(
                f"{where} is damaged ({found.damage}), and it or a later line was surely saved; {RESTORE_OR_REJOIN}"
            )
        os.ftruncate(self._descriptor, self._end)
        return [f"{where}: cut off a torn record of {len(line) + len(rest)} bytes ({found.damage})"]

    def _cut_beginning(self, snapshot: SnapshotMetadata, found: FoundLog, entries: Sequence[LogEntry]) -> str:
        """Remove what the snapshot replaces: a crash came after that was saved and before the log was cut (§7)."""
        self.replace(snapshot.last_included_index, snapshot.last_included_term, entries)
        removed, index = len(found.entries) - len(entries), snapshot.last_included_index
        return f"{self._path}: removed {removed} entries, which the snapshot up to entry {index} replaces"
