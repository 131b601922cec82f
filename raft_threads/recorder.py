"""Keep the events of one or more servers, and wait for one: how the demo and the tests watch a cluster (§5)."""

from __future__ import annotations

import threading
import time
from typing import Callable, Optional, TypeVar

from raft_threads import events
from raft_threads.events import Event, EventKinds

E = TypeVar("E", bound=Event)
# All that does not come with every heartbeat, so that a long run needs little memory.
WITHOUT_HEARTBEATS: EventKinds = frozenset(
    {
        events.Applied,
        events.BecameCandidate,
        events.BecameLeader,
        events.CatchUpBegan,
        events.CatchUpRoundEnded,
        events.CommitAdvanced,
        events.ConfigurationChanged,
        events.ElectionTimedOut,
        events.EntriesAppended,
        events.EntriesDeleted,
        events.LeaderRecognized,
        events.LostContact,
        events.MembershipChangeGivenUp,
        events.PreVoteBegan,
        events.PreVoteReceived,
        events.ReadServed,
        events.RequestVoteDisregarded,
        events.Restarted,
        events.SnapshotInstalled,
        events.SnapshotTaken,
        events.StateMachineReset,
        events.SteppedDown,
        events.Stopped,
        events.TransferBegan,
        events.TransferGivenUp,
        events.VoteDenied,
        events.VoteGranted,
        events.VoteReceived,
    }
)


class EventRecorder:
    """An observer with a memory. One recorder may listen to any number of nodes."""

    def __init__(self, kinds: Optional[EventKinds] = None) -> None:
        """Record events of `kinds`; None means all."""
        self.kinds = kinds
        self._lock = threading.Lock()
        # Predicate: "there is an event that a waiter has not looked at yet". Notified with every event.
        self._grew = threading.Condition(self._lock)
        self._events: list[Event] = []

    def observe(self, event: Event) -> None:
        """Keep `event`; called by nodes, under their lock."""
        with self._lock:
            self._events.append(event)
            self._grew.notify_all()

    def events(self, kind: type[E], server: Optional[str] = None, since: int = 0) -> list[E]:
        """Return the recorded events of `kind` (of one `server`) from position `since` on."""
        with self._lock:
            found = [event for event in self._events[since:] if isinstance(event, kind)]
        return [event for event in found if server is None or event.server == server]

    def mark(self) -> int:
        """Return the position after the newest event, for `since`."""
        with self._lock:
            return len(self._events)

    def position_after(self, event: Event) -> int:
        """Return the position after a recorded event, for `since`."""
        with self._lock:
            return next(index for index, each in enumerate(self._events, 1) if each is event)

    def wait_for(
        self,
        kind: type[E],
        matches: Callable[[E], bool] = lambda event: True,
        since: int = 0,
        timeout: float = 10.0,
    ) -> E:
        """Return the first event of `kind` from position `since` on that `matches`; wait for it if need be.

        Raises TimeoutError when there is none within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        position = since
        with self._lock:
            while True:
                while position < len(self._events):
                    event = self._events[position]
                    position += 1
                    if isinstance(event, kind) and matches(event):
                        return event
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError(f"no {kind.__name__} that fits within {timeout:g} s")
                self._grew.wait(remaining)

    def wait_until(self, holds: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
        """Return once `holds()`; it is asked now, and again after each event. It may call nodes.

        Raises TimeoutError, naming `what`, when it does not hold within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            seen = self.mark()
            if holds():
                return
            with self._lock:
                # Without the lock while asking: a node that tells us of an event holds its own.
                while len(self._events) == seen:
                    remaining = deadline - time.monotonic()
                    if remaining <= 0:
                        raise TimeoutError(f"not within {timeout:g} s: {what}")
                    self._grew.wait(remaining)
