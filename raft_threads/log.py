"""The replicated log (§5.3, Fig. 6): entries with terms, numbered from 1. It may begin with a snapshot (§7, Fig. 12).

Index 0 and term 0 mean "before the first entry". The log also knows which configuration is in force (§6), and how much
of itself the disk holds, since a server answers only for what is durable (Fig. 2, "Persistent state").
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Optional

from raft_threads.configuration import Configuration, parse_configuration
from raft_threads.entry_format import BadLine, format_entry, parse_entry

NO_OP = "noop"
COMMAND = "command"
CONFIGURATION = "configuration"
REGISTER = "register"
SESSION_COMMAND = "session"
ENTRY_KINDS = frozenset({NO_OP, COMMAND, CONFIGURATION, REGISTER, SESSION_COMMAND})


@dataclass(frozen=True)
class LogEntry:
    """One box of Fig. 6: a command, the term in which a leader created it, and its index in the log.

    `kind` is COMMAND; NO_OP for the blank entry at the start of a leader's term (§8); CONFIGURATION for one that
    changes the cluster (§6, `configuration.py`); REGISTER for a client that opens a session, and SESSION_COMMAND for a
    command within one (§8, `sessions.py`). `line` is the entry as bytes, made once and used as it is for every message
    and for the disk.
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
        if kind == CONFIGURATION:
            parse_configuration(command)
        return cls(index, term, kind, command, line)


@dataclass(frozen=True)
class SnapshotMetadata:
    """What a snapshot says of the log that it replaces (§7, Fig. 12): its last entry, and the configuration there.

    With index 0 there is no snapshot: the configuration is the one that the server was started with.
    """

    last_included_index: int = 0
    last_included_term: int = 0
    configuration: Configuration = Configuration()


class Log:
    """`log[]` of Fig. 2. Plain data: whoever shares it between threads holds a lock."""

    def __init__(self, entries: Iterable[LogEntry] = (), start: SnapshotMetadata = SnapshotMetadata()) -> None:
        """Take `entries` as they were read from disk: they follow on `start`, and count as saved."""
        self.start = start
        self._entries: list[LogEntry] = []
        self._terms: list[int] = []
        # The configurations in the log, by index; that of `start` comes first.
        self._configurations: list[tuple[int, Configuration]] = [(start.last_included_index, start.configuration)]
        self.size_bytes = 0
        for entry in entries:
            self.append(entry)
        self.saved_index = self.last_index
        # Where the log on disk begins; after a snapshot it is cut there.
        self.saved_start_index = start.last_included_index

    def __repr__(self) -> str:
        return (
            f"<Log of terms {self._terms[-20:]} from {self.first_index} to {self.last_index}, "
            f"saved to {self.saved_index}>"
        )

    @property
    def first_index(self) -> int:
        """The index of the first entry that is held: 1, or the one after the snapshot (§7)."""
        return self.start.last_included_index + 1

    @property
    def last_index(self) -> int:
        """The index of the last entry, be it in the snapshot; 0 when there is none."""
        return self.start.last_included_index + len(self._entries)

    @property
    def last_term(self) -> int:
        """The term of the last entry, be it in the snapshot; 0 when there is none."""
        return self._terms[-1] if self._terms else self.start.last_included_term

    @property
    def configuration(self) -> Configuration:
        """The latest configuration in the log, committed or not: the one in force (§6)."""
        return self._configurations[-1][1]

    @property
    def configuration_index(self) -> int:
        """The index of the entry with the latest configuration, or of the snapshot that holds it; 0 at the start."""
        return self._configurations[-1][0]

    def configuration_at(self, index: int) -> Configuration:
        """Return the latest configuration up to `index`, which is not before the snapshot (§7)."""
        return [configuration for at, configuration in self._configurations if at <= index][-1]

    def begin_with(self, configuration: Configuration) -> None:
        """Be the log of a new cluster, which has `configuration` before its first entry."""
        self.start = SnapshotMetadata(configuration=configuration)
        self._configurations[0] = (0, configuration)

    def term_at(self, index: int) -> Optional[int]:
        """Return the term of the entry at `index`, 0 for index 0, None where there is none or it is not known.

        Of the entries in the snapshot only the last one's term is known (§7).
        """
        position = index - self.first_index
        if position == -1:
            return self.start.last_included_term
        return self._terms[position] if 0 <= position < len(self._terms) else None

    def entry_at(self, index: int) -> LogEntry:
        """Return the entry at `index`. Raises IndexError where there is none."""
        if not self.first_index <= index <= self.last_index:
            raise IndexError(f"the log holds entries {self.first_index} to {self.last_index}, not {index}")
        return self._entries[index - self.first_index]

    def entries_between(self, first_index: int, last_index: int) -> list[LogEntry]:
        """Return a copy of the entries from `first_index`, which the log still holds, to `last_index`, both included.
        """
        return self._entries[first_index - self.first_index:max(0, last_index - self.first_index + 1)]

    def all_entries(self) -> list[LogEntry]:
        """Return a copy of all entries that are held."""
        return list(self._entries)

    def first_index_of_term(self, term: int) -> Optional[int]:
        """Return the index of the first entry of `term`, None when there is none. Terms never decrease in a log."""
        position = bisect.bisect_left(self._terms, term)
        found = position < len(self._terms) and self._terms[position] == term
        return self.first_index + position if found else None

    def last_index_of_term(self, term: int) -> Optional[int]:
        """Return the index of the last entry of `term`, be it the last one in the snapshot; None when none is known."""
        position = bisect.bisect_right(self._terms, term) - 1
        return self.first_index + position if self.term_at(self.first_index + position) == term else None

    def append_new(self, term: int, kind: str, command: bytes) -> LogEntry:
        """Create the entry that comes next, append it and return it: what a leader does with a command."""
        entry = LogEntry(self.last_index + 1, term, kind, command)
        self.append(entry)
        return entry

    def append(self, entry: LogEntry) -> None:
        """Append `entry`. Raises ValueError when its index is not the next one, BadLine for a bad configuration."""
        if entry.index != self.last_index + 1:
            raise ValueError(f"the next entry has index {self.last_index + 1}, not {entry.index}")
        if entry.kind == CONFIGURATION:
            self._configurations.append((entry.index, parse_configuration(entry.command)))
        self._entries.append(entry)
        self._terms.append(entry.term)
        self.size_bytes += len(entry.line)

    def delete_from(self, index: int) -> None:
        """Delete the entry at `index` and all that follow it; an older configuration may be in force again (§6)."""
        position = index - self.first_index
        self.size_bytes -= sum(len(entry.line) for entry in self._entries[position:])
        del self._entries[position:]
        del self._terms[position:]
        self._configurations = [each for each in self._configurations if each[0] < index]
        self.saved_index = min(self.saved_index, index - 1)

    # Compaction (§7)

    def position_of(self, index: int) -> SnapshotMetadata:
        """Return what a snapshot of all up to `index` says of the log (Fig. 12). Raises IndexError: no such entry."""
        term = self.term_at(index)
        if term is None:
            raise IndexError(f"the log holds entries {self.first_index} to {self.last_index}, not {index}")
        return SnapshotMetadata(index, term, self.configuration_at(index))

    def discard_up_to(self, start: SnapshotMetadata) -> None:
        """Discard the entries that a durable snapshot replaces, and keep those that follow (§7).

        Raises ValueError when the log has another entry there: then all of it must go.
        """
        index = start.last_included_index
        if self.term_at(index) != start.last_included_term:
            raise ValueError(f"the log has no entry {index} of term {start.last_included_term}")
        position = index - self.start.last_included_index
        self.size_bytes -= sum(len(entry.line) for entry in self._entries[:position])
        del self._entries[:position]
        del self._terms[:position]
        later = [each for each in self._configurations if each[0] > index]
        self._configurations = [(index, start.configuration), *later]
        self.start = start
        self.saved_index = max(self.saved_index, index)

    def discard_all(self, start: SnapshotMetadata) -> None:
        """Discard the entire log, which a durable snapshot replaces (§7; Fig. 13, rule 7)."""
        self.start = start
        self._entries = []
        self._terms = []
        self._configurations = [(start.last_included_index, start.configuration)]
        self.size_bytes = 0
        self.saved_index = start.last_included_index

    # What the disk holds

    def unsaved_entries(self) -> list[LogEntry]:
        """Return the entries that the disk does not hold yet."""
        return self._entries[self.saved_index - self.start.last_included_index:]

    def is_saved(self) -> bool:
        """Return whether the disk holds this log, and nothing before it."""
        return self.saved_index == self.last_index and self.saved_start_index == self.start.last_included_index

    def mark_saved(self, index: int, term: int) -> None:
        """Note that the disk now holds this log up to the entry with `index` and `term`.

        The log may have changed while the disk was busy. If it still has that entry, then it has all the entries
        before it too (Log Matching, Fig. 3); if not, it must be written again from where it was changed.
        """
        if self.term_at(index) == term:
            self.saved_index = max(self.saved_index, index)
