"""The events of all simulated servers: checked, counted, remembered, and answered to as they happen (Fig. 3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

from raft_threads import events
from raft_threads.events import Event, EventKinds, Observer
from raft_threads.invariants import Invariants
from raft_threads.messages import REPLY_TO
from raft_threads.server_invariants import check_state
from raft_threads.simulation.election_timers import ElectionTimers
from raft_threads.simulation.scheduler import SECOND, Task
from raft_threads.storage import StorageError
from raft_threads.surroundings import Crashed, MessageFate, MessageLost, Stalled, Surrounding
from raft_threads.trace import TraceWriter

if TYPE_CHECKING:
    from raft_threads.simulation.cluster import SimulatedCluster

_MESSAGES = (*REPLY_TO.keys(), *REPLY_TO.values())
# When these are told, no rule is half done.
_LAST_OF_A_STEP = frozenset(
    {events.ReplyReceived, events.ReplySent, events.BecameLeader, events.CommitAdvanced, events.Applied}
)
E = TypeVar("E", bound=Event)


class EventStream:
    """The observer that all servers share."""

    kinds: Optional[EventKinds] = None

    def __init__(
        self,
        cluster: SimulatedCluster,
        observers: Sequence[Observer],
        trace: Optional[TraceWriter],
        remember: bool,
        checks: bool,
    ) -> None:
        self._cluster = cluster
        self._scheduler = cluster.scheduler
        self._observers = list(observers)
        self._trace = trace
        self._remember = remember
        self._checks = checks
        self._invariants = Invariants(cluster.servers)
        self._election_timers = ElectionTimers()
        self._events: list[Event] = []
        self.counts: Counter[str] = Counter()
        # What is to be done after the next event that matches; once.
        self.reactions: list[tuple[Callable[[Event], bool], Callable[[Event], None]]] = []
        self.wake_main_at_next_event = False
        self._up: set[str] = set()

    def observe(self, event: Event) -> None:
        """Take note of `event`; called by a node under its lock."""
        kind = type(event)
        self.counts[kind.__name__] += 1
        if self._remember:
            self._events.append(event)
        if self._trace is not None:
            # Servers tell the time of their own clocks; a trace has one.
            self._trace.observe(replace(event, when=self._cluster.now))
        if isinstance(event, events.Stopped) and event.failure is not None:
            # Before the checks: a rule that failed may have left a state that breaks them.
            self._stopped(event.server)
        try:
            for observer in self._observers:
                observer.observe(event)
            if self._checks:
                self._check(event)
        except Exception as error:
            self._scheduler.fail(error)
        if kind is events.Restarted:
            self._up.add(event.server)
        self.wake_main()
        for matches, react in list(self.reactions):
            if matches(event):
                self.reactions.remove((matches, react))
                react(event)

    def _check(self, event: Event) -> None:
        """Raise InvariantViolation when a server leaves the rules."""
        self._invariants.observe(event)
        self._election_timers.observe(event)
        if type(event) in _LAST_OF_A_STEP:
            state = self._cluster.state(event.server)
            check_state(state)
            self._invariants.check_match_index(state)

    def wake_main(self) -> None:
        """Something has happened that main may be waiting for."""
        if self.wake_main_at_next_event:
            self._scheduler.unpark(self._scheduler.main)

    def events(self, kind: type[E], server: Optional[str] = None, since: int = 0) -> list[E]:
        """Return the remembered events of `kind` (of one `server`) from position `since` on."""
        found = [event for event in self._events[since:] if isinstance(event, kind)]
        return [event for event in found if server is None or event.server == server]

    def mark(self) -> int:
        """Return the position after the newest event, for `since`."""
        return len(self._events)

    def is_up(self, server: str) -> bool:
        """Return whether a running server has come as far as to tell so."""
        return server in self._up

    def crashed(self, server: str) -> None:
        """Take note that a server has crashed, which it cannot tell itself."""
        self._up.discard(server)
        self.tell(Crashed(self._cluster.now, server))

    def wiped(self, server: str) -> None:
        """Take note that a server which was removed has lost its disk."""
        self._invariants.forget(server)

    def tell(self, surrounding: Surrounding) -> None:
        """Take note of what happened around the servers."""
        self.counts[type(surrounding).__name__] += 1
        if self._trace is not None:
            self._trace.observe(surrounding)

    def tell_fate(self, fate: type[MessageFate], sender: str, receiver: str, number: int, message: Any) -> None:
        """Take note of what the network did with a message, if it is one between servers."""
        if isinstance(message, _MESSAGES):
            reason = ["the network lost it"] if fate is MessageLost else []
            self.tell(fate(self._cluster.now, sender, receiver, number, message, *reason))

    def tell_of_stall(self, task: Task, stall_ns: int) -> None:
        """Take note that a thread stands still."""
        if task.group is not None:
            self.tell(Stalled(self._cluster.now, task.group.name, task.name, stall_ns / SECOND))

    def _stopped(self, server: str) -> None:
        """A server that stops by itself is a failure of the run, unless its disk was made to fail."""
        failure = self._cluster.running[server].node.failure
        if not isinstance(failure, StorageError):
            self._scheduler.fail(failure or AssertionError(f"{server} stopped without a reason"))
