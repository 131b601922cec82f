"""The checks of Fig. 3 for real servers, whose threads run at the same time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Optional

from raft_threads.events import Event, EventKinds
from raft_threads.invariants import Invariants, InvariantViolation


class InvariantWatch:
    """An observer that hands one event after the other to `Invariants`, and remembers the first violation.

    It does not raise in a server's thread: the server, which may be innocent, goes on; `check` says what was found.
    """

    kinds: Optional[EventKinds] = None

    def __init__(self, servers: Sequence[str]) -> None:
        """Watch `servers`, which are all of the cluster."""
        self._guard = threading.Lock()  # guards the two below
        self._invariants = Invariants(servers)
        self._violation: Optional[InvariantViolation] = None

    def observe(self, event: Event) -> None:
        """Check `event`, unless a violation was found before; called by nodes, under their lock."""
        with self._guard:
            if self._violation is None:
                try:
                    self._invariants.observe(event)
                except InvariantViolation as violation:
                    self._violation = violation

    def forget(self, server: str) -> None:
        """Note that a server which was removed has lost its disk; see `Invariants.forget`.

        Raises InvariantViolation, be it one that was found before: nothing that happened since is known then.
        """
        self.check()
        with self._guard:
            self._invariants.forget(server)

    def check(self) -> None:
        """Raise the InvariantViolation that was found first, if there was one."""
        with self._guard:
            if self._violation is not None:
                raise self._violation
