"""Write a server's log as the paper draws it: the row of terms in the boxes of Fig. 6 and 7."""

from __future__ import annotations

from typing import Optional

from raft_threads.election import become_leader
from raft_threads.log import COMMAND, Log, LogEntry
from raft_threads.messages import AppendEntries
from raft_threads.state import Role, State

THREE = ("n1", "n2", "n3")
FIVE = ("n1", "n2", "n3", "n4", "n5")


def entries_of(*terms: int, first_index: int = 1) -> tuple[LogEntry, ...]:
    """Return entries with these terms, from `first_index` on. Index and term tell which command each has (Fig. 3)."""
    return tuple(
        LogEntry(index, term, COMMAND, b"command %d of term %d" % (index, term))
        for index, term in enumerate(terms, first_index)
    )


def log_of(*terms: int) -> Log:
    """Return a saved log with these terms, the first at index 1."""
    return Log(entries_of(*terms))


def terms_of(log: Log) -> list[int]:
    """Return the row of terms in `log`."""
    return [entry.term for entry in log.entries_between(1, log.last_index)]


def server(
    *terms: int,
    id: str = "n1",
    servers: tuple[str, ...] = THREE,
    current_term: Optional[int] = None,
    voted_for: Optional[str] = None,
    role: Role = Role.FOLLOWER,
    commit_index: int = 0,
) -> State:
    """Return a server whose log has these terms; its current term is the last one's unless given."""
    state = State(id=id, servers=servers, log=log_of(*terms), commit_index=commit_index, role=role)
    state.current_term = state.log.last_term if current_term is None else current_term
    state.voted_for = voted_for
    state.saved_term_and_vote = state.term_and_vote
    return state


def candidate(*terms: int, id: str = "n1", servers: tuple[str, ...] = THREE, current_term: int) -> State:
    """Return a candidate in `current_term` that has voted for itself and asked nobody yet."""
    state = server(
        *terms, id=id, servers=servers, current_term=current_term, voted_for=id, role=Role.CANDIDATE
    )
    state.votes = {id: True}
    return state


def leader(
    *terms: int,
    id: str = "n1",
    servers: tuple[str, ...] = THREE,
    current_term: Optional[int] = None,
    commit_index: int = 0,
) -> State:
    """Return a leader just elected, without the no-op, so that its log is what the figure shows."""
    state = server(*terms, id=id, servers=servers, current_term=current_term, voted_for=id, commit_index=commit_index)
    become_leader(state)
    state.log.delete_from(state.log.last_index)
    return state


def append_entries(
    *terms: int, term: int, prev: tuple[int, int] = (0, 0), leader_commit: int = 0, leader_id: str = "n1"
) -> AppendEntries:
    """Return an AppendEntries with entries of these terms after the entry `prev`, which is (index, term)."""
    return AppendEntries(
        term=term,
        leader_id=leader_id,
        prev_log_index=prev[0],
        prev_log_term=prev[1],
        entries=entries_of(*terms, first_index=prev[0] + 1),
        leader_commit=leader_commit,
    )
