"""A server starts an election only when its timer has run out, and none while it leads (§5.2).

Checked in virtual time only: there, an event is told of at the very moment at which it happens.
"""

from __future__ import annotations

from raft_threads import events
from raft_threads.events import Event
from raft_threads.server_invariants import InvariantViolation
from raft_threads.state import Role

ELECTION_TIMEOUT = "Election Timeout"
# Clocks tell seconds as floating-point numbers.
ROUNDING = 1e-6


class ElectionTimers:
    """When each server's election timer runs out, by all that was told."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}

    def observe(self, event: Event) -> None:
        """Raise InvariantViolation for an election that begins too early."""
        if isinstance(event, events.ElectionTimerSet):
            self._due[event.server] = event.when + event.timeout
        elif isinstance(event, events.ElectionTimedOut):
            early = self._due[event.server] - event.when
            if event.state.role is Role.LEADER:
                self._violated(event.server, f"{event.server} leads, and starts an election")
            if early > ROUNDING:
                self._violated(event.server, f"{event.server} starts an election {early:.6f} s before its timeout")

    def _violated(self, server: str, detail: str) -> None:
        raise InvariantViolation(ELECTION_TIMEOUT, detail, [server])
