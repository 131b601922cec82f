"""The replicated log (§5.3, Fig. 6): entries with terms, numbered from 1.

Index 0 and term 0 mean "before the first entry". The log also knows how much of itself the disk holds, since a server
answers only for what is durable (Fig. 2, "Persistent state").
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Optional

from raft_threads.entry_format import BadLine, format_entry, parse_entry

NO_OP = "noop"
COMMAND = "command"
ENTRY_KINDS = frozenset({NO_OP, COMMAND})


@dataclass(frozen=True)
class LogEntry:
    """One box of Fig. 6: a command, the term in which a leader created it, and its index in the log.

    `kind` is COMMAND, or NO_OP for the blank entry at the start of a leader's term (§8). `line` is the entry as bytes,
    made once and used as it is for every message and for the disk.
    """

    index: int
    term: int
    kind: str = COMMAND
    command: bytes = b""
    line: bytes = field(default=b"", repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.line:
            object.__setattr__(self, "line", format_entry(self.index, self.term, self.kind, self.command))

    @classmethod
    def from_line(cls, line: bytes) -> LogEntry:
        """Return the entry in `line`, keeping the bytes. Raises BadLine when it is not a whole entry."""
        index, term, kind, command = parse_entry(line)
        if index < 1 or term < 1 or kind not in ENTRY_KINDS:
            raise BadLine(f"no entry can have index {index}, term {term} and kind {kind!r}")
        return cls(index, term, kind, command, line)


class Log:
    """`log[]` of Fig. 2. Plain data: whoever shares it between threads holds a lock."""

    def __init__(self, entries: Iterable[LogEntry] = ()) -> None:
        """Take `entries` as they were read from disk: they begin at index 1 and count as saved."""
        self._entries: list[LogEntry] = list(entries)
        self._terms: list[int] = [entry.term for entry in self._entries]
        self.saved_index = self.last_index

    def __repr__(self) -> str:
        return f"<Log of terms {self._terms[-20:]} up to index {self.last_index}, saved to {self.saved_index}>"

    @property
    def last_index(self) -> int:
        """The index of the last entry; 0 when the log is empty."""
        return len(self._entries)

    @property
    def last_term(self) -> int:
        """The term of the last entry; 0 when the log is empty."""
        return self._terms[-1] if self._terms else 0

    def term_at(self, index: int) -> Optional[int]:
        """Return the term of the entry at `index`, 0 for index 0, None where there is no entry."""
        if index == 0:
            return 0
        return self._terms[index - 1] if 1 <= index <= self.last_index else None

    def entry_at(self, index: int) -> LogEntry:
        """Return the entry at `index`. Raises IndexError where there is none."""
        if not 1 <= index <= self.last_index:
            raise IndexError(f"the log holds entries 1 to {self.last_index}, not {index}")
        return self._entries[index - 1]

    def entries_between(self, first_index: int, last_index: int) -> list[LogEntry]:
        """Return a copy of the entries from `first_index` to `last_index`, both included."""
        return self._entries[first_index - 1:last_index]

    def all_entries(self) -> list[LogEntry]:
        """Return a copy of the whole log."""
        return list(self._entries)

    def first_index_of_term(self, term: int) -> Optional[int]:
        """Return the index of the first entry of `term`, None when there is none. Terms never decrease in a log."""
        index = bisect.bisect_left(self._terms, term) + 1
        return index if self.term_at(index) == term else None

    def last_index_of_term(self, term: int) -> Optional[int]:
        """Return the index of the last entry of `term`, None when there is none."""
        index = bisect.bisect_right(self._terms, term)
        return index if index > 0 and self._terms[index - 1] == term else None

    def append_new(self, term: int, kind: str, command: bytes) -> LogEntry:
        """Create the entry that comes next, append it and return it: what a leader does with a command."""
        entry = LogEntry(self.last_index + 1, term, kind, command)
        self.append(entry)
        return entry

    def append(self, entry: LogEntry) -> None:
        """Append `entry`. Raises ValueError when its index is not the next one."""
        if entry.index != self.last_index + 1:
            raise ValueError(f"the next entry has index {self.last_index + 1}, not {entry.index}")
        self._entries.append(entry)
        self._terms.append(entry.term)

    def delete_from(self, index: int) -> None:
        """Delete the entry at `index` and all that follow it."""
        del self._entries[index - 1:]
        del self._terms[index - 1:]
        self.saved_index = min(self.saved_index, index - 1)

    def unsaved_entries(self) -> list[LogEntry]:
        """Return the entries that the disk does not hold yet."""
        return self._entries[self.saved_index:]

    def mark_saved(self, index: int, term: int) -> None:
        """Note that the disk now holds this log up to the entry with `index` and `term`.

        The log may have changed while the disk was busy. If it still has that entry, then it has all the entries
        before it too (Log Matching, Fig. 3); if not, it must be written again from where it was changed.
        """
        if self.term_at(index) == term:
            self.saved_index = max(self.saved_index, index)
