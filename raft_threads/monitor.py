"""What the threads of one node share: the lock, its conditions, and what must follow every step (§5).

A monitor in the classical sense, as in CPython's `queue.py`: one lock guards the state of Fig. 2, and each question
that a thread waits on has a condition of its own, with its predicate written where it is made. Every method is called
with the lock held.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Optional

from raft_threads import replication
from raft_threads.disk import Disk
from raft_threads.events import ElectionTimerSet, Glimpse, Observer, Stopped, glimpse
from raft_threads.narrator import Narrator
from raft_threads.proposals import OutcomeUnknown, Proposals
from raft_threads.runtime import Runtime
from raft_threads.state import Role, State
from raft_threads.storage import Storage, StorageError
from raft_threads.timing import Timing, randomized_election_timeout
from raft_threads.transport import RequestRefused

logger = logging.getLogger(__name__)


class PeerLink:
    """When to send to one peer. Times are monotonic seconds; 0 means at once."""

    def __init__(self, wake: Any) -> None:
        self.wake = wake
        self.heartbeat_at = 0.0
        self.retry_at = 0.0
        self.reachable: Optional[bool] = None


class Monitor:
    """The lock, and all that it guards."""

    def __init__(
        self, state: State, storage: Storage, timing: Timing, runtime: Runtime, observers: Sequence[Observer]
    ) -> None:
        self.state = state
        self.timing = timing
        self.runtime = runtime
        self.narrator = Narrator(state, observers, runtime.time.monotonic)
        self.proposals = Proposals()
        self.election_deadline = 0.0
        self.stopping = False
        self.failure: Optional[Exception] = None

        condition = runtime.threading.Condition
        self.lock = runtime.threading.Lock()
        # All conditions have one more predicate: "the node is stopping". Each has one thread that waits on it.
        # Predicate: "this is not the leader, and the election timeout has elapsed". Notified when the deadline comes
        # nearer (a leader stepped down, a shorter timeout was drawn, one was forced); when it moves away, the timer
        # wakes and looks again.
        self.election_due = condition(self.lock)
        # Predicate: "a request to this peer is due". Notified on new entries, candidacy and leadership.
        self.links: dict[str, PeerLink] = {peer: PeerLink(condition(self.lock)) for peer in state.peers}
        # Predicate: "this is the leader, and its disk does not hold all of its log". Notified on new entries.
        self.to_save = condition(self.lock)
        # Predicate: "commit_index > last_applied". Notified when commit_index advances.
        self.to_apply = condition(self.lock)
        # Predicate: only "the node is stopping".
        self.stopping_began = condition(self.lock)
        self.disk = Disk(self.lock, state, storage, runtime)

    def now(self) -> float:
        """Return the time in monotonic seconds."""
        now: float = self.runtime.time.monotonic()
        return now

    def react(self, before: Glimpse, conflict: Optional[int] = None) -> None:
        """See to what a rule has changed since `before`: tell the observers, wake the threads it concerns.

        `conflict` is the index from which on the rule may have replaced entries, if an observer wants to know.
        """
        now = glimpse(self.state)
        if now == before:
            return
        self.narrator.tell_changes(before, conflict)
        if (now.role, now.term) != (before.role, before.term):
            self._enter_role(before)
        if now.role is Role.LEADER and now.last_log_index > before.last_log_index:
            self.to_save.notify()
            self.wake_peer_threads()
        if now.commit_index > before.commit_index:
            self.to_apply.notify()

    def _enter_role(self, before: Glimpse) -> None:
        """A new candidacy or leadership owes its peers nothing yet; a former leader needs an election timer again."""
        for link in self.links.values():
            link.heartbeat_at = link.retry_at = 0.0
        if before.role is Role.LEADER:
            self.restart_election_timer()
            self.election_due.notify()

    def wake_peer_threads(self) -> None:
        """Have the peer threads look whether there is something to send."""
        for link in self.links.values():
            link.wake.notify()

    def restart_election_timer(self) -> None:
        """Draw a new election timeout, and count from now (§5.2)."""
        self.set_election_timer(randomized_election_timeout(self.timing, self.runtime.random.random()))

    def set_election_timer(self, timeout: float) -> None:
        """Have the election timeout elapse in `timeout` seconds from now."""
        earlier_deadline, self.election_deadline = self.election_deadline, self.now() + timeout
        self.narrator.tell(ElectionTimerSet, timeout=timeout)
        if self.election_deadline < earlier_deadline:
            self.election_due.notify()

    def save(self) -> None:
        """Make the persistent state durable (Fig. 2). Lets go of the lock meanwhile: look at term and role again.

        Raises RequestRefused when that fails; then the node stops for good, since after a failed fsync nobody knows
        what the disk holds, and trying again could report as saved what is lost.
        """
        try:
            self.disk.save()
        except StorageError as error:
            self.begin_stopping(error)
            raise RequestRefused("this server's disk has failed") from error
        before = glimpse(self.state)
        replication.record_own_disk(self.state)
        self.react(before)

    def begin_stopping(self, failure: Optional[Exception]) -> None:
        """Tell all threads to end, and all who wait for a command that they will not hear more of it."""
        if self.stopping:
            return
        self.stopping = True
        self.failure = failure
        self.narrator.tell(Stopped, failure=None if failure is None else str(failure))
        for proposal in self.proposals.take_all():
            proposal.fail(OutcomeUnknown("the server stopped before the command was committed"))
        for condition in (self.election_due, self.to_save, self.to_apply, self.stopping_began):
            condition.notify_all()
        self.wake_peer_threads()
