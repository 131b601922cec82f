"""One trial in virtual time: a leader is elected, sends to all at once, crashes; when does another lead (§9.3)?

Each trial is a cluster of its own, so that its seed alone decides what happens in it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Optional

from raft_threads import kv
from raft_threads.events import BecameLeader, Event, EventKinds
from raft_threads.figure_16.lines import Line
from raft_threads.figure_16.results import Sample
from raft_threads.log import COMMAND, Log, SnapshotMetadata
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.disk import DiskMood
from raft_threads.simulation.network import Weather
from raft_threads.simulation.scheduler import SECOND
from raft_threads.state import Role

SERVERS = ("n1", "n2", "n3", "n4", "n5")
LEADER, FOLLOWERS = SERVERS[0], SERVERS[1:]
# The first leader is elected over a network that takes no time to speak of: all voters answer at the same moment, and
# so its first messages leave at the same moment, too.
AT_ONCE_NS = 1000
# Long enough for votes to be on their way, too short for them to have arrived (seconds).
ON_THEIR_WAY = AT_ONCE_NS / 2 / SECOND

Span = tuple[float, float]


@dataclass(frozen=True)
class Conditions:
    """What takes how long, in seconds from the least to the most; each time it is drawn anew, all between alike.

    A RequestVote is heard after `request`, its answer after another `answer`; together that is the paper's "broadcast
    time of roughly 15ms". A write to a disk takes `disk`. A trial ends without a leader after `limit` seconds.
    """

    request: Span = (0.002, 0.004)
    answer: Span = (0.010, 0.014)
    disk: Span = (0.0, 0.0)
    limit: float = 20.0

    def describe(self) -> str:
        """Return the conditions in words."""
        return (
            f"simulated: requests take {in_ms(self.request)}, answers {in_ms(self.answer)}, "
            f"disk writes {in_ms(self.disk)}"
        )


def in_ms(span: Span) -> str:
    """Return a span in milliseconds, as text."""
    least, most = (f"{seconds * 1000:g}" for seconds in span)
    return f"{least} ms" if least == most else f"{least}-{most} ms"


def in_ns(span: Span) -> tuple[int, int]:
    """Return a span in whole nanoseconds."""
    return round(span[0] * SECOND), round(span[1] * SECOND)


class Leaderships:
    """An observer that keeps who came to lead, and when."""

    kinds: Optional[EventKinds] = frozenset({BecameLeader})

    def __init__(self) -> None:
        self.won: list[Event] = []

    def observe(self, event: Event) -> None:
        """Keep `event`. A simulated cluster tells its observers of everything."""
        if isinstance(event, BecameLeader):
            self.won.append(event)


def run_trial(line: Line, number: int, seed: object, conditions: Conditions) -> Sample:
    """Crash a leader, and return how long the others had none. `line`, `number` and `seed` decide all chance."""
    name = f"{seed} figure 16 {line.name} {number}"
    leaderships = Leaderships()
    cluster = SimulatedCluster(
        SERVERS, seed=name, timing=line.timing(), observers=[leaderships], remember=False
    )
    give_logs_of_different_lengths(cluster)
    with cluster:
        send_to_all_at_once(cluster, conditions)
        cluster.run_for(random.Random(f"{name} crash").uniform(0.0, line.heartbeat_interval))
        return crash_leader(cluster, leaderships, conditions.limit)


def give_logs_of_different_lengths(cluster: SimulatedCluster) -> None:
    """Have the disks hold 5 to 1 entries: of the four that are left, only two can win a majority (§5.4.1, §9.3)."""
    for length, server in enumerate(reversed(SERVERS), start=1):
        log = Log([], SnapshotMetadata(configuration=cluster.bootstrap))
        for index in range(length):
            log.append_new(1, COMMAND, kv.put_command("entry", str(index)))
        storage = cluster.disks[server].open()
        storage.save_term_and_vote(1, None)
        storage.save_entries(log.all_entries())


def send_to_all_at_once(cluster: SimulatedCluster, conditions: Conditions) -> None:
    """Make the first server leader, and return when it has sent AppendEntries to all others, all at this moment.

    That restarts all election timers, and brings nobody's log up to date: the others find that it does not follow on
    what they have, and their answers, which would tell the leader, are held back.
    """
    network = cluster.network
    network.weather = Weather(AT_ONCE_NS, AT_ONCE_NS)
    cluster.run_until(lambda: all(cluster.stream.is_up(each) for each in SERVERS), "all servers are up")
    cluster.time_out(LEADER)
    cluster.run_until(lambda: all(cluster.state(each).voted_for == LEADER for each in SERVERS), "all have voted")
    cluster.run_for(ON_THEIR_WAY)
    network.weather = Weather(*in_ns(conditions.request))
    network.weather_of_answers = Weather(*in_ns(conditions.answer))
    for disk in cluster.disks.values():
        disk.mood = DiskMood(*in_ns(conditions.disk))
    cluster.run_until(lambda: cluster.state(LEADER).role is Role.LEADER, "the first server leads")
    cluster.run_for(ON_THEIR_WAY)
    assert has_sent_to_all(cluster), "all votes came at this moment, so all were sent something at this moment"
    for follower in FOLLOWERS:
        network.hold(follower, LEADER)


def has_sent_to_all(cluster: SimulatedCluster) -> bool:
    """Return whether the first server leads, and messages of it are on their way to all others."""
    to = {receiver for _, sender, receiver, _ in cluster.network.under_way() if sender == LEADER}
    return cluster.state(LEADER).role is Role.LEADER and to == set(FOLLOWERS)


def crash_leader(cluster: SimulatedCluster, leaderships: Leaderships, limit: float) -> Sample:
    """Crash the leader, wait `limit` seconds at most until there is another; return what came of it."""
    term, crashed_at = cluster.state(LEADER).current_term, cluster.now
    cluster.crash(LEADER)
    try:
        cluster.run_until(lambda: leaderships.won[1:], "another leader is elected", limit)
    except TimeoutError:
        newest = max(cluster.state(each).current_term for each in FOLLOWERS)
        return Sample(None, newest - term)
    won = leaderships.won[1]
    return Sample(won.when - crashed_at, won.state.term - term)
