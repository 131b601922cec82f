"""The event stream as log lines: what a server's operator reads (§5.2, §5.3)."""

from __future__ import annotations

import logging
from typing import Callable, Optional

from raft_threads import events
from raft_threads.events import Event, EventKinds
from raft_threads.short_text import configuration_text

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
    events.ConfigurationChanged: lambda e: f"uses {configuration_text(e.configuration)}, by entry {e.index}",
    events.CatchUpBegan: lambda e: f"sends the log to {', '.join(e.learners)}, without a vote yet",
    events.MembershipChangeGivenUp: lambda e: f"gives up a change of the cluster: {e.reason}",
    events.SnapshotTaken: lambda e: f"has a snapshot up to entry {e.metadata.last_included_index}, {e.size_bytes} B",
    events.SnapshotInstalled: lambda e: f"installed a snapshot up to entry {e.metadata.last_included_index}",
    events.TransferBegan: lambda e: f"hands over to {e.target}",
    events.TransferGivenUp: lambda e: f"goes on as leader, since {e.target} did not take over",
    events.LostContact: lambda e: "has not heard from a majority",
    events.Stopped: lambda e: "stops" if e.failure is None else f"stops for good: {e.failure}",
}


class LogLines:
    """An observer that writes to the `logging` module."""

    kinds: Optional[EventKinds] = frozenset(_TEXTS)

    def observe(self, event: Event) -> None:
        """Log `event` in one line; a failure as critical, everything else as information."""
        level = logging.CRITICAL if isinstance(event, events.Stopped) and event.failure else logging.INFO
        logger.log(level, "%s (term %d) %s", event.server, event.state.term, _TEXTS[type(event)](event))
