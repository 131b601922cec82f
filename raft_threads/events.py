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

from raft_threads.configuration import Configuration
from raft_threads.log import LogEntry, SnapshotMetadata
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
    last_included_index: int = 0


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
        state.log.start.last_included_index,
    )


@dataclass(frozen=True)
class Event:
    """Something that server `server` did at `when` (monotonic seconds), and its state after that."""

    server: str
    when: float
    state: Glimpse


@dataclass(frozen=True)
class Restarted(Event):
    """The server started, with what its disk held: term and vote in the state, and all of its log (Restart).

    `start` tells of the snapshot that the log follows on; without one, of the configuration that it was started with.
    """

    entries: tuple[LogEntry, ...]
    start: SnapshotMetadata


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
    """The state machine applied `entry` and gave `result`, which is empty for a no-op (§5.3).

    None is the result of a command whose session is not known any more: it was not executed (§8).
    """

    entry: LogEntry
    result: Optional[bytes]


# §6


@dataclass(frozen=True)
class ConfigurationChanged(Event):
    """Another configuration is in force: that of entry `index`, which was appended, or is the latest one left (§6)."""

    index: int
    configuration: Configuration


@dataclass(frozen=True)
class CatchUpBegan(Event):
    """The leader began to replicate to `learners`, which do not vote yet (§6)."""

    learners: tuple[str, ...]


@dataclass(frozen=True)
class CatchUpRoundEnded(Event):
    """`learner` has what the log held when the round began (Diss. §4.2.1); the round took `seconds`."""

    learner: str
    round: int
    seconds: float


@dataclass(frozen=True)
class MembershipChangeGivenUp(Event):
    """The new servers did not catch up; the cluster stays as it is (§6)."""

    reason: str


@dataclass(frozen=True)
class RequestVoteDisregarded(Event):
    """`candidate` asked for a vote while this server hears from a leader: neither term nor vote changed (§6)."""

    candidate: str
    term: int


# §7


@dataclass(frozen=True)
class SnapshotTaken(Event):
    """A snapshot of `metadata` is durable, and the log begins after it now (§7, Fig. 12)."""

    metadata: SnapshotMetadata
    size_bytes: int


@dataclass(frozen=True)
class SnapshotInstalled(Event):
    """A leader's snapshot of `metadata` replaced the log; `retained` if the entries after it were kept (Fig. 13)."""

    metadata: SnapshotMetadata
    retained: bool


@dataclass(frozen=True)
class StateMachineReset(Event):
    """The state machine is what the snapshot of `metadata` says (Fig. 13, rule 8); after a restart, too."""

    metadata: SnapshotMetadata


# §8


@dataclass(frozen=True)
class ReadServed(Event):
    """A read was answered without the log: leadership was confirmed, all up to `read_index` is applied (§8)."""

    read_index: int


# Diss. §3.10, §6.2, §9.6


@dataclass(frozen=True)
class PreVoteBegan(Event):
    """The server asks whether it would be elected, before it stands (Diss. §9.6)."""


@dataclass(frozen=True)
class PreVoteReceived(Event):
    """`voter` said whether it would vote for this server (Diss. §9.6)."""

    voter: str
    granted: bool


@dataclass(frozen=True)
class TransferBegan(Event):
    """The leader hands over to `target`, and takes no commands meanwhile (Diss. §3.10)."""

    target: str


@dataclass(frozen=True)
class TransferGivenUp(Event):
    """`target` did not take over in time: this server goes on as leader (Diss. §3.10)."""

    target: str


@dataclass(frozen=True)
class LostContact(Event):
    """The leader has not heard from a majority for an election timeout, and steps down (Diss. §6.2)."""


# Messages


@dataclass(frozen=True)
class MessageSent(Event):
    """A request left for `peer`."""

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
