"""What the threads of one node share: the lock, its conditions, and what must follow every step (§5).

A monitor in the classical sense, as in CPython's `queue.py`: one lock guards the state of Fig. 2, and each question
that a thread waits on has a condition of its own, with its predicate written where it is made. Every method is called
with the lock held.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Callable, Optional

from raft_threads import check_quorum, election, membership, replication, transfer
from raft_threads.disk import Disk
from raft_threads.events import ElectionTimerSet, Glimpse, Observer, Stopped, glimpse
from raft_threads.narrator import Narrator
from raft_threads.options import Options
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown, Proposals, WaitingRead, WakeUp
from raft_threads.runtime import Runtime
from raft_threads.snapshot_thread import Captured
from raft_threads.state import Role, State
from raft_threads.storage import Storage, StorageError
from raft_threads.timing import Timing, randomized_election_timeout
from raft_threads.transport import RequestRefused

logger = logging.getLogger(__name__)


class PeerLink:
    """When to send to one peer. Times are monotonic seconds; 0 means at once."""

    def __init__(self, wake: Any, now: float) -> None:
        self.wake = wake
        self.heartbeat_at = 0.0
        self.retry_at = 0.0
        # When it last answered us as leader, or when we became leader.
        self.answered_at = now
        self.reachable: Optional[bool] = None
        # Once it is removed from the cluster its thread ends. If it is added again, that is another link (§6).
        self.removed = False


class Monitor:
    """The lock, and all that it guards."""

    def __init__(
        self,
        state: State,
        storage: Storage,
        timing: Timing,
        options: Options,
        runtime: Runtime,
        observers: Sequence[Observer],
    ) -> None:
        self.state = state
        self.timing = timing
        self.options = options
        self.runtime = runtime
        self.narrator = Narrator(state, observers, runtime.time.monotonic)
        self.proposals = Proposals()
        self.election_deadline = 0.0
        # Whether to stand for election at once, without waiting for the election timeout (Diss. §3.10).
        self.stand_at_once = False
        # When we last heard from the leader that state.leader_id names (monotonic seconds, §6).
        self.heard_from_leader_at = 0.0
        # Reads that wait, oldest first (§8); operators who wait for a change of the cluster (§6) or a transfer.
        self.reads: deque[WaitingRead] = deque()
        self.waiting_for_change: Optional[WakeUp] = None
        self.waiting_for_transfer: Optional[WakeUp] = None
        # A snapshot on its way to the disk (§7), and who asked for one.
        self.captured: Optional[Captured] = None
        self.snapshot_bytes = 0
        self.waiting_for_snapshot: list[WakeUp] = []
        # How many requests peers have answered since the start.
        self.requests_answered = 0
        self.stopping = False
        self.failure: Optional[Exception] = None
        # Starts the thread for a peer; set by the node, once it runs.
        self.start_peer: Callable[[str], None] = lambda peer: None

        condition = runtime.threading.Condition
        self.lock = runtime.threading.Lock()
        # All conditions have one more predicate: "the node is stopping". Each has one thread that waits on it.
        # Predicate: "this server may stand, and the election timeout has elapsed, or it is to stand at once"; on a
        # leader that checks its quorum, "no majority has answered for an election timeout". Notified when the deadline
        # comes nearer (a leader stepped down, a shorter timeout was drawn, one was forced), when a leadership begins,
        # and when this server becomes part of the cluster; when the deadline moves away, the timer wakes and looks.
        self.election_due = condition(self.lock)
        # Predicate: "a request to this peer is due", or "it is no peer any more". Notified on new entries, candidacy,
        # leadership, reads, another configuration, and when a transfer begins. A thread each; see `link_peers`.
        self.links: dict[str, PeerLink] = {peer: self._new_link() for peer in state.peers}
        # Predicate: "this is the leader, and its disk does not hold all of its log". Notified on new entries.
        self.to_save = condition(self.lock)
        # Predicate: "commit_index > last_applied, or a snapshot was asked for, or the oldest read may be answered".
        # Notified when commit_index advances, a snapshot is asked for or written, or a peer answers while reads wait.
        self.to_apply = condition(self.lock)
        # Predicate: "`captured` is to be written". Notified when the applier has captured the state machine.
        self.to_snapshot = condition(self.lock)
        # Predicate: only "the node is stopping".
        self.stopping_began = condition(self.lock)
        self.disk = Disk(self.lock, state, storage, runtime)

    def now(self) -> float:
        """Return the time in monotonic seconds."""
        now: float = self.runtime.time.monotonic()
        return now

    def refuse_unless_leader(self) -> None:
        """Raise NotLeader unless this server takes commands."""
        if self.stopping:
            raise NotLeader(None)
        if not transfer.takes_commands(self.state):
            raise NotLeader(self.state.transfer_target or self.state.leader_id)

    def react(self, before: Glimpse, conflict: Optional[int] = None) -> None:
        """See to what a rule has changed since `before`: tell the observers, wake the threads it concerns.

        `conflict` is the index from which on the rule may have replaced entries, if an observer wants to know.
        """
        now = glimpse(self.state)
        if now == before:
            return
        self.narrator.tell_changes(before, conflict)
        if self.narrator.tell_of_configuration():
            self.link_peers()
        if now.commit_index > before.commit_index:
            self.to_apply.notify()
            self._end_wait_for_change()
        if (now.role, now.term) != (before.role, before.term):
            self._enter_role(before)
        has_something_to_send = before.role is not Role.LEADER or now.last_log_index > before.last_log_index
        if now.role is Role.LEADER and has_something_to_send:
            self.to_save.notify()
            self.wake_peer_threads()

    def _enter_role(self, before: Glimpse) -> None:
        """A new candidacy or leadership owes its peers nothing yet; a former leader needs an election timer again.

        Who was told to stand, and has not yet, need not any more: the term of that leader is over, or we have stood.
        """
        self.stand_at_once = False
        for link in self.links.values():
            link.heartbeat_at = link.retry_at = 0.0
            link.answered_at = self.now()
        if before.role is Role.LEADER:
            self._leave_leadership()
            self.restart_election_timer()
        self.election_due.notify()

    def _leave_leadership(self) -> None:
        """Tell all who wait for what only a leader can do. A read can be asked again; a change may be in other logs."""
        for read in self.reads:
            read.fail(NotLeader(self.state.leader_id))
        self.reads.clear()
        self.link_peers()  # without those that were catching up
        if self.waiting_for_change is not None:
            in_log = membership.change_is_under_way(self.state)
            lost = "leadership was lost before the change of the cluster was over"
            self.waiting_for_change.fail(OutcomeUnknown(lost) if in_log else CommandFailed(f"{lost}; it never began"))
            self.waiting_for_change = None
        if self.waiting_for_transfer is not None:
            self.waiting_for_transfer.succeed(b"")
            self.waiting_for_transfer = None

    # Peers (§6)

    def link_peers(self) -> None:
        """Have a link and a thread for each peer. The thread of one that is none any more ends by itself; then it calls
        this again, as the peer may have come back meanwhile.
        """
        peers = self.state.peers
        for peer in peers:
            if peer not in self.links and not self.stopping:
                self.links[peer] = self._new_link()
                self.start_peer(peer)
        for peer, link in self.links.items():
            link.removed = link.removed or peer not in peers
        self.wake_peer_threads()
        self.election_due.notify()

    def _new_link(self) -> PeerLink:
        return PeerLink(self.runtime.threading.Condition(self.lock), self.now())

    def wake_peer_threads(self) -> None:
        """Have the peer threads look whether there is something to send."""
        for link in self.links.values():
            link.wake.notify()

    def answered_at(self) -> dict[str, float]:
        """Return when each peer last answered us as leader (monotonic seconds)."""
        return {peer: link.answered_at for peer, link in self.links.items()}

    def hears_from_leader(self) -> bool:
        """Return whether a current leader was heard within the minimum election timeout (§6).

        A leader hears itself, as long as a majority answers it.
        """
        since = self.now() - self.timing.election_timeout_min
        if self.state.role is Role.LEADER:
            return check_quorum.hears_from_majority(self.state, self.answered_at(), since)
        return self.state.leader_id is not None and self.heard_from_leader_at > since

    def advance_membership(self, peer: Optional[str] = None) -> None:
        """Take the next step of a change of the cluster, now that `peer`, or our own disk, has come farther (§6)."""
        if peer is not None and self.state.role is Role.LEADER:
            try:
                seconds = membership.record_catch_up(self.state, peer, self.now(), self.timing.election_timeout_min)
            except membership.ChangeRefused as refusal:
                self.give_up_change(str(refusal))
            else:
                self.narrator.tell_of_catch_up(peer, seconds)
        before = glimpse(self.state)
        membership.begin_joint_consensus_if_caught_up(self.state)
        membership.advance_change(self.state)
        self.react(before)

    def give_up_change(self, reason: str) -> None:
        """Leave the cluster as it is, and tell who waits for the change (§6)."""
        membership.give_up_change(self.state)
        self.narrator.tell_of_change_given_up(reason)
        if self.waiting_for_change is not None:
            self.waiting_for_change.fail(CommandFailed(reason))
            self.waiting_for_change = None
        self.link_peers()

    def _end_wait_for_change(self) -> None:
        if self.waiting_for_change is not None and not membership.change_is_under_way(self.state):
            self.waiting_for_change.succeed(b"")
            self.waiting_for_change = None

    # The election timer (§5.2)

    def restart_election_timer(self) -> None:
        """Draw a new election timeout, and count from now (§5.2)."""
        self.set_election_timer(randomized_election_timeout(self.timing, self.runtime.random.random()))

    def set_election_timer(self, timeout: float) -> None:
        """Have the election timeout elapse in `timeout` seconds from now."""
        earlier_deadline, self.election_deadline = self.election_deadline, self.now() + timeout
        self.narrator.tell(ElectionTimerSet, timeout=timeout)
        if self.election_deadline < earlier_deadline:
            self.election_due.notify()

    def stand_for_election_at_once(self) -> None:
        """Behave as if the election timeout had elapsed, whatever the leader sends meanwhile (Diss. §3.10)."""
        self.stand_at_once = election.may_stand(self.state)
        self.election_due.notify()

    # The disk (Fig. 2)

    def save(self) -> None:
        """Make the persistent state durable (Fig. 2). Lets go of the lock meanwhile: look at term and role again.

        Raises RequestRefused when that fails; then the node stops for good, since after a failed fsync nobody knows
        what the disk holds, and trying again could report as saved what is lost.
        """
        with self.stopping_if_the_disk_fails():
            self.disk.save()
        before = glimpse(self.state)
        replication.record_own_disk(self.state)
        self.react(before)
        if self.state.role is Role.LEADER:
            self.advance_membership()

    @contextmanager
    def turn_at_disk(self) -> Iterator[None]:
        """Have the disk to oneself, for what is not `save` (§7): nobody else writes meanwhile. Lets go of the lock
        while it waits for its turn; `unlocked` lets go of it for the write itself. Raises RequestRefused as `save`.
        """
        with self.stopping_if_the_disk_fails(), self.disk.turn():
            yield

    @contextmanager
    def stopping_if_the_disk_fails(self) -> Iterator[None]:
        """Stop for good when the disk fails in here. Raises RequestRefused then, to end what this thread is doing."""
        try:
            yield
        except StorageError as error:
            self.begin_stopping(error)
            raise RequestRefused("this server's disk has failed") from error

    @contextmanager
    def unlocked(self) -> Iterator[None]:
        """Let go of the lock for what blocks. Look at term and role again afterwards."""
        self.lock.release()
        try:
            yield
        finally:
            self.lock.acquire()

    def begin_stopping(self, failure: Optional[Exception]) -> None:
        """Tell all threads to end, and all who wait for a command that they will not hear more of it."""
        if self.stopping:
            return
        self.stopping = True
        self.failure = failure
        self.narrator.tell(Stopped, failure=None if failure is None else str(failure))
        unknown = OutcomeUnknown("the server stopped before the command was committed")
        operators = [self.waiting_for_change, self.waiting_for_transfer, *self.waiting_for_snapshot]
        for waiting in [*self.proposals.take_all(), *self.reads, *filter(None, operators)]:
            waiting.fail(unknown)
        self.reads.clear()
        self.waiting_for_change = self.waiting_for_transfer = None
        self.waiting_for_snapshot.clear()
        for condition in (self.election_due, self.to_save, self.to_apply, self.to_snapshot, self.stopping_began):
            condition.notify_all()
        self.wake_peer_threads()
