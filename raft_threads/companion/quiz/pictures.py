"""Pictures for questions: logs as Fig. 6 and Fig. 7 draw them, of servers that are only thought of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from os.path import commonprefix

from raft_threads.log import COMMAND, Log, LogEntry
from raft_threads.log_drawing import Row, draw_rows
from raft_threads.state import State


@lru_cache(maxsize=None)
def blank_entry(index: int, term: int) -> LogEntry:
    """Return an entry that is told by index and term alone, as the figures do."""
    return LogEntry(index, term, COMMAND, b"")


def entries_of(terms: Iterable[int], first_index: int = 1) -> list[LogEntry]:
    """Return entries of these terms, from `first_index` on."""
    return [blank_entry(index, term) for index, term in enumerate(terms, first_index)]


def log_of(terms: Iterable[int]) -> Log:
    """Return a log with these terms, which the disk holds."""
    return Log(entries_of(terms))


def draw_terms(logs: Mapping[str, Sequence[int]], committed: Sequence[int] = ()) -> list[str]:
    """Return a picture of the terms in `logs`, by server; where they begin as what is `committed`, they are so drawn.
    """
    return draw_rows([Row(server, entries_of(terms), agreeing(terms, committed)) for server, terms in logs.items()])


def agreeing(terms: Sequence[int], others: Sequence[int]) -> int:
    """Return up to which index two rows of terms are the same."""
    return len(commonprefix([list(terms), list(others)]))


def draw_states(states: Iterable[State], titles: Sequence[str] = ()) -> list[str]:
    """Return a picture of the servers' logs, each with its title (default: name, role, term), terms only."""
    rows = []
    for position, state in enumerate(states):
        title = titles[position] if titles else f"{state.id} {state.role.value}, term {state.current_term}"
        log = state.log
        entries = entries_of((entry.term for entry in log.all_entries()), log.first_index)
        rows.append(Row(title, entries, state.commit_index, log.start.last_included_index))
    return draw_rows(rows)


def row_of(terms: Iterable[int]) -> str:
    """Return a row of terms in words."""
    return " ".join(map(str, terms)) or "empty"


LEGEND = "[ ] known to be committed  ( ) not known to be"
