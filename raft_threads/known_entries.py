"""Every entry that was ever in some server's log, and which of them are committed: what Fig. 3 compares."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from typing import NamedTuple, Optional

from raft_threads.configuration import Configuration, parse_configuration
from raft_threads.log import CONFIGURATION, LogEntry
from raft_threads.server_invariants import LOG_MATCHING, InvariantViolation


class KnownEntry(NamedTuple):
    """An entry, the term of the one before it, and the server in whose log it was first."""

    previous_term: int
    entry: LogEntry
    server: str


class KnownEntries:
    """All entries by index and term. Each has one that it follows, so that they form a tree whose branches are logs."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], KnownEntry] = {}

    def check_append(self, server: str, entry: LogEntry, previous_term: int, may_be_new: bool) -> None:
        """Log Matching, by induction (§5.3): wherever an entry is appended, it is the same and follows the same one.

        `may_be_new` says whether `server` may have created the entry, or brings it along when it is first started.
        """
        known = self._known.get((entry.index, entry.term))
        if known is None and may_be_new:
            self._known[entry.index, entry.term] = KnownEntry(previous_term, entry, server)
        elif known is None:
            raise InvariantViolation(
                LOG_MATCHING,
                f"{server} has an entry {entry.index} of term {entry.term}, which no leader has created",
                [server],
                [entry.index],
            )
        elif known.previous_term != previous_term or not same_entry(known.entry, entry):
            differs = "another command" if known.previous_term == previous_term else "another entry before it"
            raise InvariantViolation(
                LOG_MATCHING,
                f"entry {entry.index} of term {entry.term} has {differs} on {server} than on {known.server}",
                [server, known.server],
                [entry.index],
            )

    def term_in_log(self, index: int, last_index: int, last_term: int) -> int:
        """Return the term at `index` in every log that ends, or ended, with `last_index` and `last_term`.

        0 for index 0; -1, which no entry has, when the log ends before `index`. Costs a step an entry from the end.
        """
        if index > last_index:
            return -1
        term = last_term
        for at in range(last_index, index, -1):
            term = self._known[at, term].previous_term
        return term


class Committed:
    """The entries known to be committed, and by the leaders of which terms.

    A leader commits entries of its own term, which come after all that was committed before: so a later term's index
    is always the higher one.
    """

    def __init__(self) -> None:
        self._entries: list[LogEntry] = []
        self._terms: list[int] = []
        self._index_of_term: dict[int, int] = {}
        self._configurations: list[tuple[int, Configuration]] = []

    @property
    def last_index(self) -> int:
        """Up to which index entries are known to be committed."""
        return len(self._entries)

    def term_at(self, index: int) -> int:
        """Return the term of the committed entry at `index`, which must be known."""
        return self._entries[index - 1].term

    def index_in_terms_up_to(self, term: int) -> int:
        """Return up to which index entries were committed in `term` and before it."""
        position = bisect_right(self._terms, term)
        return self._index_of_term[self._terms[position - 1]] if position else 0

    def note(self, term: int, index: int, log: Sequence[LogEntry]) -> None:
        """Note that the leader of `term`, whose log is given, has committed all up to `index`."""
        if term not in self._index_of_term:
            insort(self._terms, term)
        self._index_of_term[term] = index
        newly_committed = log[len(self._entries):index]
        self._entries.extend(newly_committed)
        for entry in newly_committed:
            if entry.kind == CONFIGURATION:
                self._configurations.append((entry.index, parse_configuration(entry.command)))

    def entries_up_to(self, index: int) -> list[LogEntry]:
        """Return the committed entries up to `index`: what a snapshot of that index replaces (§7)."""
        return self._entries[:index]

    def configuration_at(self, index: int) -> Optional[Configuration]:
        """Return the latest configuration among them, None if there is none (§6)."""
        earlier = [configuration for at, configuration in self._configurations if at <= index]
        return earlier[-1] if earlier else None


def same_entry(one: LogEntry, other: LogEntry) -> bool:
    """Return whether two entries are alike: at once if they are one object, as they mostly are."""
    return one is other or one == other
