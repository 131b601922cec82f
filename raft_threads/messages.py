"""The RPC boxes of Fig. 2 as records: what servers say to each other (§5.1).

Field names are the figure's, in snake_case and in its order. How they look on a socket is `wire.py`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union

from raft_threads.log import LogEntry


@dataclass(frozen=True)
class RequestVote:
    """Invoked by candidates to gather votes (§5.2)."""

    term: int
    candidate_id: str
    last_log_index: int
    last_log_term: int


@dataclass(frozen=True)
class RequestVoteReply:
    """The results of RequestVote."""

    term: int
    vote_granted: bool


@dataclass(frozen=True)
class AppendEntries:
    """Invoked by the leader to replicate log entries (§5.3); also its heartbeat (§5.2), then without entries."""

    term: int
    leader_id: str
    prev_log_index: int
    prev_log_term: int
    entries: tuple[LogEntry, ...]
    leader_commit: int


@dataclass(frozen=True)
class AppendEntriesReply:
    """The results of AppendEntries.

    The last two fields are the optimization at the end of §5.3. When the consistency check fails, `conflict_term` is
    the term of the follower's entry at prev_log_index and `conflict_index` the first index it stores for that term.
    When the follower has no entry there, `conflict_term` is None and `conflict_index` is the index after its last.
    """

    term: int
    success: bool
    conflict_term: Optional[int] = None
    conflict_index: Optional[int] = None


Request = Union[RequestVote, AppendEntries]
Reply = Union[RequestVoteReply, AppendEntriesReply]
