"""The thread that waits for the election timeout (§5.2), and on a leader for the silence of a majority (Diss. §6.2)."""

from __future__ import annotations

from typing import Optional

from raft_threads import check_quorum, election, pre_vote
from raft_threads.events import ElectionTimedOut, LostContact, PreVoteBegan, glimpse
from raft_threads.monitor import Monitor
from raft_threads.state import Role
from raft_threads.timing import election_timeout_elapsed


class ElectionThread:
    """Starts elections. `main` takes the lock; the other methods are called with the lock held."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._state = monitor.state

    def main(self) -> None:
        """Wait until the timeout elapses, and do what is due then."""
        monitor = self._monitor
        with monitor.lock:
            while True:
                while not (monitor.stopping or self._is_due()):
                    monitor.election_due.wait(self._seconds_until_due())
                if monitor.stopping:
                    return
                self._time_is_up()

    def _due_at(self) -> Optional[float]:
        """Return when something is due (monotonic seconds); None, never, for who leads or may not stand (§6)."""
        monitor, state = self._monitor, self._state
        if state.role is Role.LEADER:
            return self._leader_due_at() if monitor.options.check_quorum else None
        if not election.may_stand(state):
            return None
        if monitor.stand_at_once or pre_vote.would_be_elected(state):
            return 0.0
        return monitor.election_deadline

    def _leader_due_at(self) -> float:
        """Return when we will not have heard from a majority for an election timeout (Diss. §6.2)."""
        monitor = self._monitor
        heard_at = check_quorum.last_contact_with_majority(self._state, monitor.answered_at(), monitor.now())
        return heard_at + monitor.timing.election_timeout_max

    def _is_due(self) -> bool:
        due_at = self._due_at()
        return due_at is not None and election_timeout_elapsed(self._monitor.now(), due_at)

    def _seconds_until_due(self) -> Optional[float]:
        due_at = self._due_at()
        return None if due_at is None else max(0.0, due_at - self._monitor.now())

    def _time_is_up(self) -> None:
        monitor, state = self._monitor, self._state
        if state.role is Role.LEADER:
            self._step_down()
        elif monitor.options.pre_vote and not (monitor.stand_at_once or pre_vote.would_be_elected(state)):
            self._ask_first()
        else:
            self._start_election()

    def _start_election(self) -> None:
        """Become a candidate; ask for votes once term and vote are saved (Fig. 2).

        Lets go of the lock while they are saved.
        """
        monitor = self._monitor
        before = glimpse(self._state)
        if monitor.stand_at_once:
            monitor.set_election_timer(0.0)
        if not pre_vote.would_be_elected(self._state):
            monitor.narrator.tell(ElectionTimedOut)
        election.begin_election(self._state, told_to_stand=monitor.stand_at_once)
        monitor.restart_election_timer()
        monitor.react(before)
        monitor.save()
        before = glimpse(self._state)
        election.become_leader_if_elected(self._state)  # a cluster of one needs nobody else's vote
        monitor.react(before)
        monitor.wake_peer_threads()

    def _ask_first(self) -> None:
        """Ask whether we would be elected, and if not, again after another election timeout (Diss. §9.6)."""
        monitor = self._monitor
        before = glimpse(self._state)
        monitor.narrator.tell(ElectionTimedOut)
        pre_vote.begin_pre_vote(self._state)
        monitor.restart_election_timer()
        monitor.react(before)
        monitor.narrator.tell(PreVoteBegan)
        monitor.wake_peer_threads()

    def _step_down(self) -> None:
        """Stop leading, as no majority answers (Diss. §6.2)."""
        monitor = self._monitor
        before = glimpse(self._state)
        monitor.narrator.tell(LostContact)
        check_quorum.step_down_without_majority(self._state)
        monitor.react(before)
