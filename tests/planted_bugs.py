"""Mistakes that implementations of Raft really make, each planted by replacing a function or two (§5).

Most are rules that are left out: those are the rule book's. The others are here. The simulator is to find them by
itself, with no schedule but what a seed draws. `test_rules_left_out.py` shows every rule's by a schedule of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Callable

import pytest

from raft_threads import apply_thread, disk, election_thread, monitor, node, peer_thread, replication, sessions
from raft_threads.companion.breaks import broken
from raft_threads.proposals import NotLeader, Proposal, settle
from raft_threads.simulation.run import Plan, Result, run
from raft_threads.state import Role

Plant = Callable[[pytest.MonkeyPatch], None]


def reply_of_an_old_term_is_believed(patch: pytest.MonkeyPatch) -> None:
    """§5.3: a reply is handled without looking at term again."""
    patch.setattr(replication, "answers_our_leadership", lambda state, request, reply: state.role is Role.LEADER)


def snapshot_forgets_the_sessions(patch: pytest.MonkeyPatch) -> None:
    """§8, Diss. §6.3: the table of sessions is part of the state."""

    def capture(self: Any) -> Iterator[bytes]:
        return (record for record in original(self) if record.startswith(b"state "))

    original = sessions.Sessions.capture
    patch.setattr(sessions.Sessions, "capture", capture)


def followers_answer_before_fsync(patch: pytest.MonkeyPatch) -> None:
    """Fig. 2: persistent state is updated on stable storage before responding. Here a thread does it afterwards."""

    def save(self: Any) -> None:
        if self.state.role is Role.FOLLOWER and self.state.term_and_vote_are_saved():
            self.to_save.notify()
        else:
            original(self)

    def disk_main(self: Any) -> None:
        with self._lock:
            while True:
                while self._state.is_saved() and not self._monitor.stopping:
                    self._monitor.to_save.wait()
                if self._monitor.stopping:
                    return
                original(self._monitor)

    original = monitor.Monitor.save
    patch.setattr(monitor.Monitor, "save", save)
    patch.setattr(node.Node, "_disk_main", disk_main)


def two_locks_in_opposite_orders(patch: pytest.MonkeyPatch) -> None:
    """One thread takes the lock and then another one; a second thread the other way round."""

    def other_lock(of: Any) -> Any:
        if not hasattr(of, "other_lock"):
            of.other_lock = of._monitor.runtime.threading.Lock()
        return of.other_lock

    def append(self: Any, kind: str, bodies: Any) -> list[Proposal]:
        with other_lock(self):
            proposals = original(self, kind, bodies)
            for proposal in proposals:
                vars(proposal)["node"] = self
            return proposals

    def settle_with_both(proposal: Any, *details: Any) -> None:
        with other_lock(proposal.node), proposal.node._lock:
            settle(proposal, *details)

    original = node.Node._append
    patch.setattr(node.Node, "_append", append)
    patch.setattr(apply_thread, "settle", settle_with_both)


def state_is_read_without_the_lock(patch: pytest.MonkeyPatch) -> None:
    """Whether this is the leader is looked up first, and the lock taken then."""

    def propose(self: Any, kind: str, body: bytes, timeout: float) -> Any:
        if self._state.role is not Role.LEADER:
            raise NotLeader(self._state.leader_id)
        return original(self, kind, body, timeout)

    original = node.Node._propose
    patch.setattr(node.Node, "_propose", propose)


def if_for_while_around_the_wait_for_the_disk(patch: pytest.MonkeyPatch) -> None:
    """A thread that wakes up must look again whether somebody else was quicker."""

    def save(self: Any) -> None:
        if self._state.is_saved():
            return
        needed = self._writes_begun + 1
        if self._writing and self._writes_done < needed:
            self.write_ended.wait()
        if self._failure is not None:
            raise self._failure
        if self._writes_done < needed:
            self._write()

    patch.setattr(disk.Disk, "save", save)


def if_for_while_around_the_wait_for_something_to_send(patch: pytest.MonkeyPatch) -> None:
    """The same in a peer thread: what was due when it was woken may not be any more."""

    def wait_until_due(self: Any) -> bool:
        if not (self._monitor.stopping or self._link.removed or self._is_due()):
            self._link.wake.wait(self._seconds_until_due())
        return not (self._monitor.stopping or self._link.removed)

    patch.setattr(peer_thread.PeerThread, "_wait_until_due", wait_until_due)


def if_for_while_around_the_wait_for_the_election_timeout(patch: pytest.MonkeyPatch) -> None:
    """The deadline moves away with each heartbeat; whoever wakes up at the old one must look again."""

    def main(self: Any) -> None:
        monitor = self._monitor
        with monitor.lock:
            while True:
                if not (monitor.stopping or self._is_due()):
                    monitor.election_due.wait(self._seconds_until_due())
                if monitor.stopping:
                    return
                self._time_is_up()

    patch.setattr(election_thread.ElectionThread, "main", main)


def commit_does_not_wake_the_applier(patch: pytest.MonkeyPatch) -> None:
    """A lost notify: the thread that applies sleeps on."""

    def react(self: Any, before: Any, conflict: Any = None) -> None:
        notify = self.to_apply.notify
        self.to_apply.notify = lambda: None
        try:
            original(self, before, conflict)
        finally:
            self.to_apply.notify = notify

    original = monitor.Monitor.react
    patch.setattr(monitor.Monitor, "react", react)


def the_end_of_a_write_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    """Another lost notify: those who waited for the disk sleep on."""

    def write(self: Any) -> None:
        notify_all = self.write_ended.notify_all
        self.write_ended.notify_all = lambda: None
        try:
            original(self)
        finally:
            self.write_ended.notify_all = notify_all

    original = disk.Disk._write
    patch.setattr(disk.Disk, "_write", write)


def a_deposed_leader_does_not_wake_its_election_timer(patch: pytest.MonkeyPatch) -> None:
    """One more: as a leader it had no timer, and now it never starts an election again."""

    def enter_role(self: Any, before: Any) -> None:
        notify = self.election_due.notify
        self.election_due.notify = lambda: None
        try:
            original(self, before)
        finally:
            self.election_due.notify = notify

    original = monitor.Monitor._enter_role
    patch.setattr(monitor.Monitor, "_enter_role", enter_role)


# Rules of the paper that are left out, as the rule book has it, and mistakes that nobody would call a rule.
RULES_LEFT_OUT = (
    "F2.State.2",
    "F2.RequestVote.2.1",
    "F2.RequestVote.2.2",
    "F2.AppendEntries.2",
    "F2.AppendEntries.4",
    "F2.AppendEntries.5",
    "F2.Leaders.4",
    "S6.1",
    "S6.4",
    "S6.6",
    "S7.1",
    "S8.5",
    "S8.8",
)
MISTAKES: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        snapshot_forgets_the_sessions,
        reply_of_an_old_term_is_believed,
        followers_answer_before_fsync,
        two_locks_in_opposite_orders,
        state_is_read_without_the_lock,
        if_for_while_around_the_wait_for_the_disk,
        if_for_while_around_the_wait_for_something_to_send,
        if_for_while_around_the_wait_for_the_election_timeout,
        commit_does_not_wake_the_applier,
        the_end_of_a_write_wakes_nobody,
        a_deposed_leader_does_not_wake_its_election_timer,
    )
}
BUGS = (*RULES_LEFT_OUT, *MISTAKES)

MOST_SEEDS = 300
# Where to look, unless in the hostile profile from seed 0 on: in which profile, and from which seed on. Here most seeds
# find nothing, or only after long. Seeds rot; then more of them are tried.
WHERE = {
    "F2.AppendEntries.4": ("hostile", 5),
    "S6.1": ("hostile", 7),
    "S6.4": ("hostile", 7),
    "S6.6": ("hostile", 7),
    "S7.1": ("hostile", 8),
    "S8.5": ("mixed", 98),
    "S8.8": ("mixed", 48),
    "a_deposed_leader_does_not_wake_its_election_timer": ("hostile", 3),
    "followers_answer_before_fsync": ("hostile", 43),
    "reply_of_an_old_term_is_believed": ("hostile", 14),
    "snapshot_forgets_the_sessions": ("hostile", 7),
    "the_end_of_a_write_wakes_nobody": ("hostile", 4),
    "two_locks_in_opposite_orders": ("hostile", 16),
}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Have the servers of this process make that mistake in here."""
    with pytest.MonkeyPatch.context() as patch, broken(name) if name in RULES_LEFT_OUT else nullcontext():
        if name in MISTAKES:
            MISTAKES[name](patch)
        yield


def hunt(name: str) -> Result:
    """Plant the bug of that name, and run one seed after the other until one fails; return what became of that one."""
    profile, first_seed = WHERE.get(name, ("hostile", 0))
    with planted(name):
        for seed in range(first_seed, first_seed + MOST_SEEDS):
            result = run(Plan(seed, servers=3, seconds=3.0, profile=profile))
            if result.failure is not None:
                break
    return result
