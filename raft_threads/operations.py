"""What operators ask of a server (§6, §7; Diss. §3.10): another cluster, another leader, a snapshot.

Each function takes the lock, has a rule begin, and waits without the lock until it is woken by whoever sees the end.
`Node` offers them, and says what they return and raise.
"""

from __future__ import annotations

from typing import Optional

from raft_threads import compaction, membership, transfer
from raft_threads.configuration import Configuration, Members
from raft_threads.events import TransferBegan, TransferGivenUp, glimpse
from raft_threads.log import SnapshotMetadata
from raft_threads.membership import ChangeRefused
from raft_threads.monitor import Monitor
from raft_threads.proposals import CommandFailed, OutcomeUnknown, WakeUp
from raft_threads.transfer import TransferRefused
from raft_threads.transport import Transport

# A change of the cluster is given up when a new server makes no progress for so many election timeouts (§6).
PATIENCE_WITH_LEARNERS = 10


def change_members(monitor: Monitor, transport: Transport, new_members: Members, timeout: float) -> Configuration:
    """Change the cluster (§6). Called without the lock."""
    state = monitor.state
    with monitor.lock:
        monitor.refuse_unless_leader()
        before = glimpse(state)
        try:
            membership.begin_change(state, new_members, monitor.now())
        except ChangeRefused as refusal:
            raise CommandFailed(str(refusal)) from refusal
        waiting = monitor.waiting_for_change = WakeUp(monitor.runtime)
        transport.use_addresses(Configuration(new_members).addresses)
        monitor.narrator.tell_of_catch_up_begun()
        monitor.link_peers()
        monitor.react(before)
        monitor.advance_membership()
    _wait_for_change(monitor, waiting, monitor.now() + timeout)
    with monitor.lock:
        return state.configuration


def _wait_for_change(monitor: Monitor, waiting: WakeUp, deadline: float) -> None:
    """Wait until a change is over; give it up if new servers make no progress. Called without the lock."""
    patience = PATIENCE_WITH_LEARNERS * monitor.timing.election_timeout_max
    progress = _learners_progress(monitor)
    while waiting.wait(min(patience, deadline - monitor.now())) is None:
        earlier, progress = progress, _learners_progress(monitor)
        with monitor.lock:
            time_is_up = monitor.now() >= deadline
            catching_up = monitor.state.catch_up is not None and monitor.waiting_for_change is waiting
            if catching_up and (time_is_up or progress == earlier):
                monitor.give_up_change("the new servers did not catch up in time; the cluster stays as it was")
            elif time_is_up and monitor.waiting_for_change is waiting:
                monitor.waiting_for_change = None
                raise OutcomeUnknown("the change has begun, and is not over yet; see `members list`")


def _learners_progress(monitor: Monitor) -> list[object]:
    """Return how far each new server has come. Called without the lock."""
    with monitor.lock:
        catch_up, links = monitor.state.catch_up, monitor.links
        learners = [] if catch_up is None else [member.id for member in catch_up.learners]
        return [(monitor.state.match_index.get(each), links[each].answered_at) for each in learners if each in links]


def transfer_leadership(monitor: Monitor, target: Optional[str], timeout: float) -> str:
    """Hand leadership over (Diss. §3.10). Called without the lock."""
    state = monitor.state
    with monitor.lock:
        monitor.refuse_unless_leader()
        try:
            chosen = transfer.begin_transfer(state, target)
        except TransferRefused as refusal:
            raise CommandFailed(str(refusal)) from refusal
        waiting = monitor.waiting_for_transfer = WakeUp(monitor.runtime)
        monitor.narrator.tell(TransferBegan, target=chosen)
        monitor.wake_peer_threads()
    if waiting.wait(min(timeout, monitor.timing.election_timeout_max)) is None:
        with monitor.lock:
            if monitor.waiting_for_transfer is waiting:
                monitor.waiting_for_transfer = None
                transfer.give_up_transfer(state)
                monitor.narrator.tell(TransferGivenUp, target=chosen)
                raise CommandFailed(f"{chosen} did not take over in time; this server goes on as leader")
    return chosen


def take_snapshot(monitor: Monitor, timeout: float) -> SnapshotMetadata:
    """Compact the log now (§7). Called without the lock."""
    with monitor.lock:
        if monitor.stopping or not compaction.has_something_to_compact(monitor.state):
            return monitor.state.log.start
        waiting = WakeUp(monitor.runtime)
        monitor.waiting_for_snapshot.append(waiting)
        monitor.to_apply.notify()
    if waiting.wait(timeout) is None:
        raise OutcomeUnknown(f"the snapshot was not written within {timeout:g} s; it may be yet")
    with monitor.lock:
        return monitor.state.log.start
