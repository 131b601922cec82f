"""The log file as lines (Fig. 2, "log[]"; §7): which entries they hold, and which of these a snapshot leaves.

    9d2f14a5 10 3 snapshot
    d46bd0b5 11 3 command {"op":"put","key":"x","value":"1"}

One entry a line. A log that was cut begins with a line of its own, the index and term of the entry that comes before:
that one and all before it are in the snapshot. So nobody takes a log for whole when its snapshot is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Optional

from raft_threads.entry_format import BadLine, check_and_strip, format_entry, parse_entry
from raft_threads.log import LogEntry, SnapshotMetadata

_IN_SNAPSHOT = "snapshot"


@dataclass
class FoundLog:
    """What the lines of a log hold: entries that follow on entry `prev_log_index`, 0 if they begin with the first.

    `damage` says what is wrong with `damaged_line`, which comes after the last of them; what follows it was not read.
    """

    prev_log_index: int = 0
    prev_log_term: int = 0
    entries: list[LogEntry] = field(default_factory=list)
    damage: Optional[BadLine] = None
    damaged_line: bytes = b""

    @property
    def whole_lines(self) -> int:
        """How many lines come before the damaged one, or are there at all."""
        return len(self.entries) + (self.prev_log_index > 0)

    def term_at(self, index: int) -> Optional[int]:
        """Return the term of the entry at `index`, None where there is none; also that at `prev_log_index`."""
        position = index - self.prev_log_index
        if position == 0:
            return self.prev_log_term
        return self.entries[position - 1].term if 0 < position <= len(self.entries) else None


def log_lines(prev_log_index: int, prev_log_term: int, entries: Sequence[LogEntry]) -> list[bytes]:
    """Return the lines of a log whose `entries` follow on the one at `prev_log_index`; 0 if they are all.

    Raises ValueError when they do not.
    """
    if entries and entries[0].index != prev_log_index + 1:
        raise ValueError(f"entry {entries[0].index} cannot follow on entry {prev_log_index}")
    begin = [format_entry(prev_log_index, prev_log_term, _IN_SNAPSHOT, b"")] if prev_log_index else []
    return begin + [entry.line for entry in entries]


def read_log(lines: Iterable[bytes], current_term: int) -> FoundLog:
    """Return what `lines` hold, up to the first that is damaged or cannot stand where it stands."""
    found = FoundLog()
    index, term = 0, 0
    for number, line in enumerate(lines, 1):
        try:
            if number == 1 and parse_entry(line)[2] == _IN_SNAPSHOT:
                index, term = found.prev_log_index, found.prev_log_term = _read_begin(line, current_term)
            else:
                found.entries.append(next_entry(line, index, term, current_term))
                index, term = found.entries[-1].index, found.entries[-1].term
        except BadLine as error:
            found.damage, found.damaged_line = error, line
            break
    return found


def _read_begin(line: bytes, current_term: int) -> tuple[int, int]:
    index, term, _, _ = parse_entry(line)
    if index < 1 or not 1 <= term <= current_term:
        raise BadLine(f"it follows on entry {index} of term {term}, and current term is {current_term}")
    return index, term


def next_entry(line: bytes, prev_log_index: int, prev_log_term: int, current_term: int) -> LogEntry:
    """Return the entry in `line`.

    Raises BadLine unless it can follow on the entry `prev_log_index`, of `prev_log_term`, in a log of `current_term`.
    """
    entry = LogEntry.from_line(line)
    if entry.index != prev_log_index + 1:
        raise BadLine(f"its index is {entry.index} where {prev_log_index + 1} is due")
    if not prev_log_term <= entry.term <= current_term:
        raise BadLine(f"its term is {entry.term}, after term {prev_log_term} and with current term {current_term}")
    return entry


def is_whole(line: bytes) -> bool:
    """Return whether `line` was written as it is: no interrupted write leaves a checksum that fits."""
    try:
        check_and_strip(line)
    except BadLine:
        return False
    return True


def entries_after(snapshot: Optional[SnapshotMetadata], found: FoundLog) -> list[LogEntry]:
    """Return those entries of `found`, a log as it was on disk, that follow on `snapshot`, if there is one (§7).

    A crash may have come after the snapshot was saved and before the log was cut. If the log has the snapshot's last
    entry, what follows it stays (Fig. 13, rule 6). If it ends before, the snapshot holds all of it. If it has another
    entry there, then none from that one on can have been committed, and all goes (rule 7). Raises BadLine when the log
    does not reach back to the snapshot: something was lost.
    """
    snapshot = snapshot or SnapshotMetadata()
    index, term = snapshot.last_included_index, snapshot.last_included_term
    if found.prev_log_index > index:
        reaches = f"reaches only to entry {index}" if index else "is missing"
        raise BadLine(f"the log follows on entry {found.prev_log_index}, but the snapshot {reaches}")
    if found.term_at(index) == term:
        return found.entries[index - found.prev_log_index:]
    if found.prev_log_index == index:
        raise BadLine(f"the log follows on entry {index} of term {found.prev_log_term}, the snapshot has term {term}")
    return []
