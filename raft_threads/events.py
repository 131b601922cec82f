"""What happened, as records: one stream for log lines, the demo, the tests, and later diagrams and checks.

The names stay close to the actions of Ongaro's TLA+ specification (Restart, Timeout, RequestVote, BecomeLeader,
ClientRequest, AdvanceCommitIndex, AppendEntries and the Handle... actions). Each record says who, when, and the state
after the step (Fig. 2), beside the fields that the rule looked at. A node tells its observers under its lock, in the
order in which things happened; an event that nobody wants is never made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional, Protocol

from raft_threads.log import LogEntry
from raft_threads.messages import Reply, Request
from raft_threads.state import Role, State


class Glimpse(NamedTuple):
    """The values of Fig. 2's State box that can be copied cheaply: what a server was like at one moment."""

    term: int
    role: Role
    voted_for: Optional[str]
    leader_id: Optional[str]
    commit_index: int
    last_applied: int
    last_log_index: int
    last_log_term: int


def glimpse(state: State) -> Glimpse:
    """Return what `state` is like now."""
    return Glimpse(
        state.current_term,
        state.role,
        state.voted_for,
        state.leader_id,
        state.commit_index,
        state.last_applied,
        state.log.last_index,
        state.log.last_term,
    )


@dataclass(frozen=True)
class Event:
    """Something that server `server` did at `when` (monotonic seconds), and its state after that."""

    server: str
    when: float
    state: Glimpse


@dataclass(frozen=True)
class Restarted(Event):
    """The server started, with what its disk held: term and vote in the state, and all of its log (Restart)."""

    entries: tuple[LogEntry, ...]


@dataclass(frozen=True)
class Stopped(Event):
    """The server stopped; `failure` says why when it had to (a failed fsync), None when it was asked to."""

    failure: Optional[str]


@dataclass(frozen=True)
class ElectionTimerSet(Event):
    """The election timer runs again from now; `timeout` seconds were drawn (§5.2)."""

    timeout: float


@dataclass(frozen=True)
class ElectionTimedOut(Event):
    """The election timeout elapsed without a sign of life from a leader (Timeout, §5.2)."""


@dataclass(frozen=True)
class BecameCandidate(Event):
    """A new election was begun (§5.2)."""


@dataclass(frozen=True)
class VoteGranted(Event):
    """This server gave its vote to `candidate` (§5.2)."""

    candidate: str


@dataclass(frozen=True)
class VoteDenied(Event):
    """This server denied `candidate` its vote (§5.2, §5.4.1)."""

    candidate: str


@dataclass(frozen=True)
class VoteReceived(Event):
    """The candidate counted the answer of `voter` (§5.2)."""

    voter: str
    granted: bool


@dataclass(frozen=True)
class BecameLeader(Event):
    """A majority voted for this server (BecomeLeader, §5.2)."""


@dataclass(frozen=True)
class SteppedDown(Event):
    """A candidate or leader returned to follower state; `was` is what it had been (§5.1, §5.2)."""

    was: Role


@dataclass(frozen=True)
class LeaderRecognized(Event):
    """This server learned who leads the term (§5.2)."""

    leader: str


@dataclass(frozen=True)
class EntriesAppended(Event):
    """The log grew by `entries`: a client's at the leader (ClientRequest), the leader's at a follower (§5.3)."""

    entries: tuple[LogEntry, ...]


@dataclass(frozen=True)
class EntriesDeleted(Event):
    """Entries `first_index` to `last_index` conflicted with the leader's and were deleted (§5.3)."""

    first_index: int
    last_index: int


@dataclass(frozen=True)
class CommitAdvanced(Event):
    """commit_index moved up (AdvanceCommitIndex, §5.3, §5.4.2); the state holds the new value."""

    previous: int


@dataclass(frozen=True)
class Applied(Event):
    """The state machine applied `entry` and gave `result`, which is empty for a no-op (§5.3)."""

    entry: LogEntry
    result: bytes


@dataclass(frozen=True)
class MessageSent(Event):
    """A request left for `peer` (RequestVote, AppendEntries)."""

    peer: str
    message: Request


@dataclass(frozen=True)
class MessageReceived(Event):
    """A request of `peer` was handled (HandleRequestVoteRequest, HandleAppendEntriesRequest)."""

    peer: str
    message: Request


@dataclass(frozen=True)
class ReplySent(Event):
    """The answer to the `message` of `peer` leaves, now that what it promises is on disk (Fig. 2)."""

    peer: str
    message: Request
    reply: Reply


@dataclass(frozen=True)
class ReplyReceived(Event):
    """The answer of `peer` to `message` arrived and was handled (the two Handle...Response actions)."""

    peer: str
    message: Request
    reply: Reply


@dataclass(frozen=True)
class MessageDropped(Event):
    """A request to `peer` got no answer, for `reason`; it will be sent again (§5.5)."""

    peer: str
    message: Request
    reason: str


@dataclass(frozen=True)
class PeerUnreachable(Event):
    """`peer` answered until now, or was not tried yet, and does not answer any more, for `reason` (§5.5)."""

    peer: str
    reason: str


@dataclass(frozen=True)
class PeerReachable(Event):
    """`peer` answers again after it did not."""

    peer: str


EventKinds = frozenset[type[Event]]


class Observer(Protocol):
    """Somebody who wants to know. `kinds` are the events it is told of; None means all."""

    kinds: Optional[EventKinds]

    def observe(self, event: Event) -> None:
        """Take note of `event`: quickly, without blocking, and without calling the node, whose lock is held."""


class Audience:
    """All observers of one node; asks them once what they want, so that unwanted events cost a set look-up."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)
        self._all = any(observer.kinds is None for observer in self._observers)
        self._wanted: frozenset[Any] = frozenset().union(*(observer.kinds or () for observer in self._observers))

    def wants(self, kind: type[Event]) -> bool:
        """Return whether anybody listens for `kind`."""
        return self._all or kind in self._wanted

    def tell(self, event: Event) -> None:
        """Hand `event` to those who want it."""
        for observer in self._observers:
            if observer.kinds is None or type(event) in observer.kinds:
                observer.observe(event)
