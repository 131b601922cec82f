"""The event stream as log lines: what a server's operator reads (§5.2, §5.3)."""

from __future__ import annotations

import logging
from typing import Callable, Optional

from raft_threads import events
from raft_threads.events import Event, EventKinds

logger = logging.getLogger("raft_threads")

# What is said of each event. Those that come with every command or heartbeat are left out.
_TEXTS: dict[type[Event], Callable[..., str]] = {
    events.Restarted: lambda e: f"started with {len(e.entries)} log entries from disk",
    events.ElectionTimedOut: lambda e: "has timed out: no sign of life from a leader",
    events.BecameCandidate: lambda e: "started an election",
    events.VoteGranted: lambda e: f"votes for {e.candidate}",
    events.VoteDenied: lambda e: f"denies its vote to {e.candidate}",
    events.BecameLeader: lambda e: f"has won the election! It leads term {e.state.term}",
    events.SteppedDown: lambda e: f"returns to follower; it was {e.was.value}",
    events.LeaderRecognized: lambda e: f"follows {e.leader}",
    events.EntriesDeleted: lambda e: f"deletes entries {e.first_index} to {e.last_index}, which conflict",
    events.PeerUnreachable: lambda e: f"cannot reach {e.peer}: {e.reason}",
    events.PeerReachable: lambda e: f"reaches {e.peer} again",
    events.Stopped: lambda e: "stops" if e.failure is None else f"stops for good: {e.failure}",
}


class LogLines:
    """An observer that writes to the `logging` module."""

    kinds: Optional[EventKinds] = frozenset(_TEXTS)

    def observe(self, event: Event) -> None:
        """Log `event` in one line; a failure as critical, everything else as information."""
        level = logging.CRITICAL if isinstance(event, events.Stopped) and event.failure else logging.INFO
        logger.log(level, "%s (term %d) %s", event.server, event.state.term, _TEXTS[type(event)](event))
