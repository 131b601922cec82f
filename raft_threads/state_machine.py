"""What the log is for (§2): the replicated state machine that a node is given, as it needs it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol


class StateMachine(Protocol):
    """Deterministic: the same commands in the same order give the same results.

    One thread uses it, the node's applier. Only what `capture` returned is read by another one.
    """

    def apply(self, command: bytes) -> bytes:
        """Execute `command` and return its result. A command that makes no sense gets a result that says so."""

    def query(self, query: bytes) -> bytes:
        """Answer `query` and change nothing (§8). What makes no sense gets an answer that says so."""

    def capture(self) -> Iterator[bytes]:
        """Return the state as records, for a snapshot (§7). The same state gives the same records.

        Quick, since no command is applied meanwhile. The records are read later, by another thread and while commands
        are applied again; they must tell the state as it was at the call (copy-on-write).
        """

    def restore(self, records: Iterable[bytes]) -> None:
        """Become what `records` tell, whatever the state was (Fig. 13, rule 8). Raises ValueError: not its records."""
