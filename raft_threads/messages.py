"""The RPC boxes of Fig. 2 and Fig. 13 as records: what servers say to each other (§5.1, §7).

Field names are the figures', in snake_case and in their order. How they look on a socket is `wire.py`'s business. The
dissertation's extensions follow at the end: a reader of the paper can stop before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Union

from raft_threads.log import LogEntry


@dataclass(frozen=True)
class RequestVote:
    """Invoked by candidates to gather votes (§5.2).

    `told_to_stand` is true when a leader wants to be succeeded by the candidate (Diss. §3.10): then voters who hear
    from a leader do not disregard it (§6).
    """

    term: int
    candidate_id: str
    last_log_index: int
    last_log_term: int
    told_to_stand: bool = False


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


@dataclass(frozen=True)
class InstallSnapshot:
    """Invoked by the leader to send chunks of a snapshot to a follower that is too far behind (§7, Fig. 13).

    The configuration is inside the snapshot. `offset` is in bytes.
    """

    term: int
    leader_id: str
    last_included_index: int
    last_included_term: int
    offset: int
    data: bytes
    done: bool


@dataclass(frozen=True)
class InstallSnapshotReply:
    """The results of InstallSnapshot.

    `bytes_stored` is not in the figure: it says which offset the follower wants next, so that a leader can go on after
    a chunk was lost or the follower restarted. None when the follower needs no more: it has installed the snapshot, or
    has all of it in its log already.
    """

    term: int
    bytes_stored: Optional[int] = None


# From the dissertation


@dataclass(frozen=True)
class PreVote:
    """Asks whether the receiver would vote for us, if we stood in `term`: one more than ours (Diss. §9.6)."""

    term: int
    candidate_id: str
    last_log_index: int
    last_log_term: int


@dataclass(frozen=True)
class PreVoteReply:
    """The results of PreVote: the receiver's own term, and whether it would."""

    term: int
    vote_granted: bool


@dataclass(frozen=True)
class TimeoutNow:
    """Tells the receiver to stand for election at once: the leader hands over to it (Diss. §3.10)."""

    term: int
    leader_id: str


@dataclass(frozen=True)
class TimeoutNowReply:
    """The results of TimeoutNow: the receiver's term before it stands."""

    term: int


Request = Union[RequestVote, AppendEntries, InstallSnapshot, PreVote, TimeoutNow]
Reply = Union[RequestVoteReply, AppendEntriesReply, InstallSnapshotReply, PreVoteReply, TimeoutNowReply]
REPLY_TO: dict[type[Any], type[Any]] = {
    RequestVote: RequestVoteReply,
    AppendEntries: AppendEntriesReply,
    InstallSnapshot: InstallSnapshotReply,
    PreVote: PreVoteReply,
    TimeoutNow: TimeoutNowReply,
}


def sender_of(request: Request) -> str:
    """Return in whose name a request is sent."""
    return request.candidate_id if isinstance(request, (RequestVote, PreVote)) else request.leader_id
