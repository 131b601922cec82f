"""The five properties of Fig. 3 as they are written there, looked for in all logs at once: for runs that may lose them.

`invariants.py` finds a mistake at the first step that leaves the rules. Here a run goes on, until what the paper
promises is really lost. Comparing whole logs after every event is slow, and plain.
"""

from __future__ import annotations

from typing import Optional

from raft_threads.events import (
    Applied,
    ElectionTimerSet,
    Event,
    EventKinds,
    LeaderRecognized,
    MessageReceived,
    ReplyReceived,
    VoteReceived,
)
from raft_threads.log import LogEntry
from raft_threads.server_invariants import (
    ELECTION_SAFETY,
    LEADER_APPEND_ONLY,
    LEADER_COMPLETENESS,
    LOG_MATCHING,
    STATE_MACHINE_SAFETY,
)
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role, State

# What else a broken rule may cost.
LIVENESS = "Liveness"
LINEARIZABILITY = "Linearizability"

# These are told before what the same step has changed: a run that ended here would not show that.
_TOLD_FIRST = (ElectionTimerSet, MessageReceived, ReplyReceived, VoteReceived, LeaderRecognized)


class Lost(Exception):
    """A property does not hold any more: its name, and what has happened, in one line."""

    def __init__(self, property: str, detail: str) -> None:
        super().__init__(f"{property}: {detail}")
        self.property = property
        self.detail = detail


class FigureThree:
    """An observer that raises Lost at the event with which a property is lost. `cluster` is set before the first one.
    """

    kinds: Optional[EventKinds] = None
    cluster: SimulatedCluster

    def __init__(self) -> None:
        self._leader_of: dict[int, str] = {}
        # By term, the log of the term's leader as far as it was ever seen.
        self._leaders_log: dict[int, dict[int, LogEntry]] = {}
        # By index, in which term an entry was first known to be committed, and which one.
        self._committed: dict[int, tuple[int, LogEntry]] = {}
        # By index, who applied an entry first, which one, and with what result.
        self._applied: dict[int, Applied] = {}

    def observe(self, event: Event) -> None:
        """Look at all servers, after each event that tells what a step of any of them has changed."""
        if isinstance(event, _TOLD_FIRST):
            return
        states = [boot.node.state for boot in self.cluster.running.values()]
        for state in states:
            if state.role is Role.LEADER:
                self._check_election_safety(state)
                self._check_leader_append_only(state)
                self._note_committed(state)
        for state in states:
            if state.role is Role.LEADER:
                self._check_leader_completeness(state)
        for position, state in enumerate(states):
            for other in states[:position]:
                check_log_matching(other, state)
        if isinstance(event, Applied):
            self._check_state_machine_safety(event)

    def _check_election_safety(self, leader: State) -> None:
        """At most one leader in a term."""
        elected = self._leader_of.setdefault(leader.current_term, leader.id)
        if elected != leader.id:
            raise Lost(ELECTION_SAFETY, f"{elected} and {leader.id} both lead term {leader.current_term}")

    def _check_leader_append_only(self, leader: State) -> None:
        """A leader's entries stay as they are; those that its snapshot replaces are not looked at."""
        log = entries_of(leader)
        seen = self._leaders_log.setdefault(leader.current_term, {})
        for index, entry in seen.items():
            if index >= leader.log.first_index and log.get(index) != entry:
                raise Lost(LEADER_APPEND_ONLY, f"{leader.id} leads, and its entry {index} is gone or another one")
        seen.update(log)

    def _note_committed(self, leader: State) -> None:
        for entry in leader.log.all_entries():
            if entry.index <= leader.commit_index:
                self._committed.setdefault(entry.index, (leader.current_term, entry))

    def _check_leader_completeness(self, leader: State) -> None:
        """What was committed in a term is in the logs of the leaders of all later terms."""
        log = entries_of(leader)
        for index, (term, entry) in self._committed.items():
            if term < leader.current_term and index >= leader.log.first_index and log.get(index) != entry:
                raise Lost(
                    LEADER_COMPLETENESS,
                    f"{leader.id} leads term {leader.current_term} without entry {index} of term {entry.term}, "
                    f"which was committed in term {term}",
                )

    def _check_state_machine_safety(self, event: Applied) -> None:
        """All servers apply the same entry at an index; and so it has the same result."""
        first = self._applied.setdefault(event.entry.index, event)
        if first.entry != event.entry:
            raise Lost(
                STATE_MACHINE_SAFETY,
                f"at index {event.entry.index} {first.server} has applied an entry of term {first.entry.term}, "
                f"and {event.server} applies one of term {event.entry.term}",
            )
        if first.result != event.result:
            before = f"on {first.server}" if first.server != event.server else "there before"
            raise Lost(
                STATE_MACHINE_SAFETY,
                f"the state machines differ: entry {event.entry.index} gives {text_of(event.result)} "
                f"on {event.server}, and gave {text_of(first.result)} {before}",
            )


def text_of(result: Optional[bytes]) -> str:
    """Return what a state machine answered, as text."""
    return "nothing" if result is None else result.decode("utf-8", "replace")


def entries_of(state: State) -> dict[int, LogEntry]:
    """Return the entries that a server's log holds, by index."""
    return {entry.index: entry for entry in state.log.all_entries()}


def check_log_matching(one: State, other: State) -> None:
    """Logs that have an entry of the same index and term in common are the same up to there.

    Of what a snapshot has replaced only the last entry's term is known.
    """
    differs_at = 0
    first = max(one.log.start.last_included_index, other.log.start.last_included_index, 1)
    for index in range(first, min(one.log.last_index, other.log.last_index) + 1):
        if one.log.term_at(index) != other.log.term_at(index):
            differs_at = differs_at or index
        elif differs_at:
            raise Lost(
                LOG_MATCHING,
                f"{one.id} and {other.id} both have entry {index} of term {one.log.term_at(index)}, "
                f"and different entries at index {differs_at}",
            )
        elif index > first and one.log.entry_at(index) != other.log.entry_at(index):
            raise Lost(
                LOG_MATCHING,
                f"{one.id} and {other.id} have different entries of term {one.log.term_at(index)} at index {index}",
            )
