"""`election`: what the Rust project printed from which this one began, in its words and at its pace (§5.2).

Its timeouts were whole seconds and its heartbeats seconds apart. Its voters still showed term 0 at the first heartbeat;
in the paper a voter adopts the candidate's term when it is asked for its vote (§5.1), and so do ours.
"""

from __future__ import annotations

import random
import time
from typing import Any, Callable, Optional

from raft_threads import events
from raft_threads.demo.show import Show
from raft_threads.demo.stage import Stage
from raft_threads.events import Event, EventKinds
from raft_threads.local_cluster import LocalCluster
from raft_threads.messages import AppendEntries
from raft_threads.recorder import EventRecorder
from raft_threads.timing import Timing

SHORTEST_TIMEOUT = 3
HEARTBEAT_INTERVAL = 2
HEARTBEATS_TO_SHOW = 3


class WholeSeconds:
    """A server's dice: the first timeout is `first` seconds, the later ones whole seconds as well."""

    def __init__(self, first: int, longest: int, dice: random.Random) -> None:
        self._next = first
        self._longest = longest
        self._dice = dice

    def random(self) -> float:
        """Return the fraction of the interval at which the timeout is a whole number of seconds."""
        timeout, self._next = self._next, self._dice.randint(SHORTEST_TIMEOUT, self._longest)
        return (timeout - SHORTEST_TIMEOUT) / (self._longest - SHORTEST_TIMEOUT)


class ForerunnerLines:
    """An observer that turns events into the forerunner's lines."""

    kinds: Optional[EventKinds] = frozenset(
        {
            events.ElectionTimerSet,
            events.ElectionTimedOut,
            events.BecameCandidate,
            events.BecameLeader,
            events.MessageReceived,
            events.LeaderRecognized,
        }
    )

    def __init__(self, stage: Stage, second: float) -> None:
        """Print to `stage`; a forerunner's second takes `second` seconds."""
        self._stage = stage
        self._second = second
        self._introduced: set[str] = set()

    def say(self, text: str) -> None:
        """Print one line as the forerunner's log did."""
        self._stage.line(f"{time.strftime('%H:%M:%S')} [INFO] {text}")

    def observe(self, event: Event) -> None:
        """Print `event`, if the forerunner had a line for it."""
        text = self._text(event)
        if text is not None:
            self.say(text)

    def _text(self, event: Event) -> Optional[str]:
        server, term = event.server, event.state.term
        if isinstance(event, events.ElectionTimerSet):
            return self._introduction(server, round(event.timeout / self._second))
        if isinstance(event, events.ElectionTimedOut):
            return f"Server {server} has timed out."
        if isinstance(event, events.BecameCandidate):
            return f"Server {server}, with term {term}, started the election process."
        if isinstance(event, events.BecameLeader):
            return f"Server {server} has won the election! The new term is: {term}"
        if isinstance(event, events.MessageReceived) and isinstance(event.message, AppendEntries):
            return (
                f"Server {server} with term {term}, received heartbeat from {event.peer} "
                f"with term {event.message.term}"
            )
        if isinstance(event, events.LeaderRecognized):
            return f"Server {server} becoming follower. The new leader is: {event.leader}"
        return None

    def _introduction(self, server: str, seconds: int) -> Optional[str]:
        """The forerunner spoke of a server's timeout once; ours draws a new one after each heartbeat."""
        if server in self._introduced:
            return None
        self._introduced.add(server)
        return f"The server {server}, has a timeout of {seconds} second{'s' if seconds > 1 else ''}."


def election(show: Show) -> None:
    """An election and a few heartbeats."""
    stage = show.stage
    names = [f"server_{number}" for number in range(1, show.servers + 1)]
    second = 1.0 if stage.pace == "human" else 0.1
    longest = SHORTEST_TIMEOUT + max(show.servers - 1, 1)
    lines = ForerunnerLines(stage, second)
    heartbeats = EventRecorder(frozenset({events.MessageReceived}))
    cluster = LocalCluster(
        names,
        timing=Timing(SHORTEST_TIMEOUT * second, longest * second, HEARTBEAT_INTERVAL * second),
        observers=show.observers(lines, heartbeats),
        first_port=show.first_port,
        dice_of=whole_seconds_for(names, longest, show.seed),
        say=lines.say,
        note=show.note,
    )
    for address in cluster.addresses.values():
        lines.say(f"Starting server at: {address}...")
    stage.pause(1.0)
    show.start(cluster)
    wait_for_heartbeats(heartbeats, cluster, HEARTBEATS_TO_SHOW)
    leader = cluster.wait_for_leader_of(names)
    stage.line()
    followers = [status for status in cluster.statuses() if status.leader == leader and status.role == "follower"]
    stage.check(f"{leader} leads and all others follow it", len(followers) == len(names) - 1)
    show.check("no term had two leaders (Election Safety, Fig. 3)", cluster.check_single_leader)


def whole_seconds_for(names: list[str], longest: int, seed: int) -> Callable[[str], Any]:
    """Return the dice of each server: their first timeouts differ, so that the votes are not split at once."""
    dice = random.Random(f"{seed} timeouts")
    first = dict(zip(names, dice.sample(range(SHORTEST_TIMEOUT, longest + 1), len(names))))
    return lambda server: WholeSeconds(first[server], longest, random.Random(f"{seed} {server}"))


def wait_for_heartbeats(heartbeats: EventRecorder, cluster: LocalCluster, count: int) -> None:
    """Wait until all followers have heard `count` times from the leader, whoever that is by then."""

    def heard(server: str, leader: str) -> int:
        received = heartbeats.events(events.MessageReceived, server)
        return sum(each.peer == leader and isinstance(each.message, AppendEntries) for each in received)

    def all_have_heard() -> bool:
        leader = cluster.wait_for_leader()
        return all(heard(server, leader) >= count for server in cluster.servers if server != leader)

    heartbeats.wait_until(all_have_heard, f"all followers have heard {count} heartbeats", timeout=60)
