"""The five properties of Fig. 3, checked after each step of a history: which ones are lost.

`raft_threads/invariants.py` does the same for whole servers, from their events. Here all states lie open.
"""

from __future__ import annotations

from typing import Optional

from raft_threads.companion.quiz.history import History
from raft_threads.log import LogEntry
from raft_threads.server_invariants import (
    ELECTION_SAFETY,
    LEADER_APPEND_ONLY,
    LEADER_COMPLETENESS,
    LOG_MATCHING,
    STATE_MACHINE_SAFETY,
)
from raft_threads.state import State

PROPERTIES = (ELECTION_SAFETY, LEADER_APPEND_ONLY, LOG_MATCHING, LEADER_COMPLETENESS, STATE_MACHINE_SAFETY)


class Properties:
    """Looks at a history after each of its steps."""

    def __init__(self) -> None:
        # By term: who led it first, and the leader's log when we last looked.
        self._leaders: dict[int, tuple[str, list[LogEntry]]] = {}
        # By index: the entry that a leader has committed, and in which term.
        self._committed: dict[int, tuple[LogEntry, int]] = {}
        # By index: who applied which entry first.
        self._applied: dict[int, tuple[str, LogEntry]] = {}

    @property
    def committed_index(self) -> int:
        """The highest index that any leader has committed so far."""
        return max(self._committed, default=0)

    @property
    def committed_terms(self) -> tuple[int, ...]:
        """The terms of all that was committed so far."""
        return tuple(entry.term for _, (entry, _) in sorted(self._committed.items()))

    def lost(self, history: History) -> dict[str, str]:
        """Return the properties of Fig. 3 that do not hold any more, and in which way each; nothing if all hold."""
        for state in history.leaders():
            self._note_commitment(state)
        damages = {
            ELECTION_SAFETY: self._election_safety(history),
            LEADER_APPEND_ONLY: self._leader_append_only(history),
            LOG_MATCHING: self._log_matching(history),
            LEADER_COMPLETENESS: self._leader_completeness(history),
            STATE_MACHINE_SAFETY: self._state_machine_safety(history),
        }
        for state in history.leaders():
            self._leaders[state.current_term] = (state.id, state.log.all_entries())
        return {name: damage for name, damage in damages.items() if damage is not None}

    def _note_commitment(self, state: State) -> None:
        """Remember what a leader has committed; a new one knows already what was committed before its term."""
        for entry in state.log.entries_between(self.committed_index + 1, state.commit_index):
            self._committed[entry.index] = (entry, state.current_term)

    def _election_safety(self, history: History) -> Optional[str]:
        """At most one leader can be elected in a given term."""
        for state in history.leaders():
            first, _ = self._leaders.setdefault(state.current_term, (state.id, state.log.all_entries()))
            if first != state.id:
                return f"{first} and {state.id} were both elected leader of term {state.current_term}"
        return None

    def _leader_append_only(self, history: History) -> Optional[str]:
        """A leader never overwrites or deletes entries in its log."""
        for state in history.leaders():
            leader, before = self._leaders[state.current_term]
            if state.id == leader and state.log.all_entries()[:len(before)] != before:
                return f"{state.id}, leader of term {state.current_term}, does not hold any more what it held"
        return None

    def _log_matching(self, history: History) -> Optional[str]:
        """If two logs have an entry with the same index and term, they are the same up to there."""
        logs = [(state.id, state.log.all_entries()) for state in history.states.values()]
        for position, (one, first) in enumerate(logs):
            for other, second in logs[position + 1:]:
                for index in range(min(len(first), len(second)), 0, -1):
                    if first[index - 1].term == second[index - 1].term and first[:index] != second[:index]:
                        return (
                            f"{one} and {other} both have an entry {index} of term {first[index - 1].term}, "
                            "and differ up to there"
                        )
        return None

    def _leader_completeness(self, history: History) -> Optional[str]:
        """What is committed in a term is in the logs of the leaders of all higher-numbered terms."""
        for state in history.leaders():
            for entry, term in self._committed.values():
                held = state.log.entries_between(entry.index, entry.index)
                if term < state.current_term and held != [entry]:
                    return (
                        f"{state.id} leads term {state.current_term} without entry {entry.index} of term {entry.term}, "
                        f"which was committed in term {term}"
                    )
        return None

    def _state_machine_safety(self, history: History) -> Optional[str]:
        """No two servers ever apply different entries at an index."""
        for state in history.states.values():
            for entry in state.log.entries_between(1, state.last_applied):
                server, applied = self._applied.setdefault(entry.index, (state.id, entry))
                if applied != entry:
                    return (
                        f"{server} has applied entry {entry.index} of term {applied.term}, "
                        f"{state.id} another one there, of term {entry.term}"
                    )
        return None
