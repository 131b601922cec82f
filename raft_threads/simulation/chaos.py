"""What goes wrong in a simulated run: crashes, partitions, disks, clocks, weather; how much of it is the profile."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Callable

from raft_threads.client_messages import Change, ChangeMembers, TakeSnapshot, TransferLeadership
from raft_threads.options import Options
from raft_threads.sessions import MAX_SESSIONS
from raft_threads.simulation.cluster import SimulatedCluster, address_of
from raft_threads.simulation.disk import DiskMood, draw_mood
from raft_threads.simulation.network import CLEAR, HOSTILE_WEATHER, Exchange, Weather, draw_weather
from raft_threads.simulation.policies import CALM, HOSTILE, MILLISECOND, Tendencies, draw_tendencies
from raft_threads.simulation.primitives import Clock
from raft_threads.simulation.workload import Workload
from raft_threads.snapshot_transfer import MAX_CHUNK_BYTES
from raft_threads.state import Role
from raft_threads.surroundings import ClockChanged, DiskFault
from raft_threads.timing import Timing
from raft_threads.wire import Message, encode

# How long after the last fault a server may still stop because of it, in virtual seconds.
AFTERMATH = 0.5
# How long an operator waits, in virtual seconds.
OPERATORS_PATIENCE = 2.0


@dataclass(frozen=True)
class Profile:
    """How rough a run is. Intervals are mean virtual seconds; 0 means never."""

    tendencies: Tendencies
    weather: Weather
    timing: Timing
    disk: DiskMood
    between_crashes: float
    longest_downtime: float
    between_partitions: float
    longest_partition: float
    between_disk_faults: float
    # Parts per thousand by which a clock may be fast or slow.
    drift: int
    # Few at a time, so that followers are often told of commits beyond what they were sent.
    max_entries_per_message: int
    # So small that snapshots come in many chunks (§7).
    max_chunk_bytes: int
    clients: int
    # Mean virtual seconds between a client's operations.
    pause: float
    # Servers that wait to be added (§6), and mean virtual seconds between what operators do: changes of the cluster,
    # snapshots on command (§7), transfers of leadership (Diss. §3.10); and between deaths of clients (§8).
    spare_servers: int = 0
    between_changes: float = 0.0
    between_snapshots: float = 0.0
    between_transfers: float = 0.0
    between_deaths: float = 0.0
    options: Options = Options()
    max_sessions: int = MAX_SESSIONS

    def describe(self) -> str:
        """Return in one line how rough it is."""
        weather = self.weather
        return (
            f"schedule: {self.tendencies.describe()}; "
            f"delays {weather.shortest_delay_ns // MILLISECOND}-{weather.longest_delay_ns // MILLISECOND} ms, "
            f"loss {weather.loss:g}, duplication {weather.duplication:g}; "
            f"a crash every {self.between_crashes:g} s, a partition every {self.between_partitions:g} s; "
            f"syncs up to {self.disk.longest_sync_ns // MILLISECOND} ms; drift {self.drift / 10:g} %; "
            f"a change of the cluster every {self.between_changes:g} s, "
            f"the log compacted at {self.options.snapshot_threshold} bytes"
        )


# Never changed without need: mistakes that random profiles seldom meet are found here.
HOSTILE_PROFILE = Profile(
    tendencies=HOSTILE,
    weather=HOSTILE_WEATHER,
    timing=Timing(0.100, 0.130, 0.030),
    disk=DiskMood(0, 5 * MILLISECOND),
    between_crashes=0.5,
    longest_downtime=0.1,
    between_partitions=1.0,
    longest_partition=0.5,
    between_disk_faults=5.0,
    drift=20,
    max_entries_per_message=2,
    max_chunk_bytes=150,
    clients=8,
    pause=0.02,
    spare_servers=2,
    between_changes=1.0,
    between_snapshots=1.0,
    between_transfers=2.0,
    between_deaths=2.0,
    options=Options(snapshot_threshold=500),
)


def draw_profile(dice: random.Random) -> Profile:
    """Draw how rough a run is: from a quiet day to worse than any."""
    return Profile(
        tendencies=draw_tendencies(dice),
        weather=draw_weather(dice),
        timing=dice.choice([Timing(), Timing(0.100, 0.130, 0.030), Timing(0.200, 0.800, 0.050)]),
        disk=draw_mood(dice),
        between_crashes=dice.choice([0.0, 3.0, 1.0, 0.2]),
        longest_downtime=dice.choice([0.05, 0.5, 2.0]),
        between_partitions=dice.choice([0.0, 3.0, 1.0]),
        longest_partition=dice.choice([0.2, 1.0, 3.0]),
        between_disk_faults=dice.choice([0.0, 10.0, 2.0]),
        drift=dice.choice([0, 20, 200]),
        max_entries_per_message=dice.choice([1, 2, 4096]),
        max_chunk_bytes=dice.choice([100, 1000, MAX_CHUNK_BYTES]),
        clients=dice.choice([1, 3, 8]),
        pause=dice.choice([0.01, 0.1]),
        spare_servers=dice.choice([0, 1, 2]),
        between_changes=dice.choice([0.0, 3.0, 0.5]),
        between_snapshots=dice.choice([0.0, 3.0, 0.5]),
        between_transfers=dice.choice([0.0, 3.0, 1.0]),
        between_deaths=dice.choice([0.0, 1.0]),
        options=Options(dice.choice([None, 500, 5000]), dice.random() < 0.3, dice.random() < 0.3),
        max_sessions=dice.choice([3, MAX_SESSIONS]),
    )


PROFILES = ("mixed", "hostile")


def profile_named(name: str, dice: random.Random) -> Profile:
    """Return the profile `hostile`, or draw one for `mixed`."""
    return HOSTILE_PROFILE if name == "hostile" else draw_profile(dice)


class Chaos:
    """Makes things go wrong, each kind in a thread of its own, until it is told to stop; then it repairs everything."""

    def __init__(self, cluster: SimulatedCluster, profile: Profile, dice: random.Random) -> None:
        """Set the cluster's surroundings as `profile` says. `start` begins."""
        self._cluster = cluster
        self._profile = profile
        self._dice = dice
        self._clock = Clock(cluster.scheduler)
        self._stopping = False
        cluster.network.weather = profile.weather
        for server in cluster.servers:
            cluster.disks[server].mood = profile.disk
            drift = dice.randint(-profile.drift, profile.drift)
            cluster.clocks[server] = Clock(cluster.scheduler, dice.randint(0, 10**9), drift)

    def start(self, workload: Workload) -> None:
        """Begin; `workload` has the clients that may die."""
        profile = self._profile
        for server in self._cluster.servers:
            clock = self._cluster.clocks[server]
            self._cluster.stream.tell(ClockChanged(self._cluster.now, server, clock.monotonic(), clock.rate))
        for what, act, mean in (
            ("crashes", self._crash_one, profile.between_crashes),
            ("partitions", self._cut_links, profile.between_partitions),
            ("disks", self._break_a_disk, profile.between_disk_faults),
            ("members", self._change_members, profile.between_changes),
            ("snapshots", self._take_a_snapshot, profile.between_snapshots),
            ("transfers", self._transfer_leadership, profile.between_transfers),
            ("deaths", workload.kill_a_client, profile.between_deaths),
        ):
            if mean:
                self._cluster.scheduler.spawn(f"chaos/{what}", partial(self._repeat, act, mean))

    def stop(self) -> None:
        """Let nothing more go wrong: a calm schedule, clear weather, whole links, good disks, all servers up."""
        self._stopping = True
        cluster = self._cluster
        cluster.scheduler.policy.become(CALM)
        cluster.network.weather = CLEAR
        cluster.heal()
        for server in cluster.servers:
            cluster.disks[server].mood = DiskMood()
            self._restart(server)
        # A server whose disk failed just before may still be about to notice.
        cluster.run_for(AFTERMATH)
        for server in cluster.servers:
            self._restart(server)

    def _repeat(self, act: Callable[[], None], mean: float) -> None:
        while True:
            self._clock.sleep(self._dice.expovariate(1 / mean))
            if self._stopping:
                return
            act()

    def _crash_one(self) -> None:
        """Crash a server, wherever its threads are; start it again after a while."""
        up = [server for server in self._cluster.servers if server in self._cluster.running]
        if not up:
            return
        server = self._dice.choice(up)
        self._cluster.crash(server)
        self._clock.sleep(self._dice.random() * self._profile.longest_downtime)
        if not self._stopping:
            self._restart(server)

    def _restart(self, server: str) -> None:
        """Start a server that is down, or has stopped because of its disk."""
        if server in self._cluster.running:
            if self._cluster.running[server].node.failure is None:
                return
            self._cluster.crash(server)
        self._cluster.restart(server)

    def _cut_links(self) -> None:
        """Cut off a leader, or cut the cluster in two, or single links one way; repair them after a while."""
        servers, leaders = self._cluster.servers, self._leaders()
        if leaders and self._dice.random() < 0.3:
            self._cluster.isolate(self._dice.choice(leaders))
        elif self._dice.random() < 0.5:
            shuffled = self._dice.sample(servers, len(servers))
            size = self._dice.randint(1, max(1, len(servers) // 2))
            self._cluster.partition(shuffled[:size], shuffled[size:])
        else:
            self._cluster.cut_one_way(self._links(self._dice.randint(1, len(servers))))
        self._clock.sleep(self._dice.random() * self._profile.longest_partition)
        if not self._stopping:
            self._cluster.heal()

    # Operators, who ask over the network as clients do

    def _change_members(self) -> None:
        """Change the cluster to any set of servers, rather a large one than a small one (§6)."""
        size = max(self._dice.randint(1, len(self._cluster.servers)) for _ in range(2))
        members = tuple(f"{server}={address_of(server)}" for server in self._dice.sample(self._cluster.servers, size))
        self._ask_leader(ChangeMembers(Change.SET, members, OPERATORS_PATIENCE))

    def _take_a_snapshot(self) -> None:
        """Have any server compact its log now (§7)."""
        self._ask(self._dice.choice(self._cluster.servers), TakeSnapshot(OPERATORS_PATIENCE))

    def _transfer_leadership(self) -> None:
        """Hand leadership to anybody, or to whom the leader likes (Diss. §3.10)."""
        target = self._dice.choice([None, *self._cluster.servers])
        self._ask_leader(TransferLeadership(target, OPERATORS_PATIENCE))

    def _ask_leader(self, request: Message) -> None:
        """Ask whoever takes itself for the leader, if somebody does."""
        leaders = self._leaders()
        if leaders:
            self._ask(self._dice.choice(leaders), request)

    def _leaders(self) -> list[str]:
        """Return who takes itself for the leader."""
        return [server for server, boot in self._cluster.running.items() if boot.node.state.role is Role.LEADER]

    def _ask(self, server: str, request: Message) -> None:
        exchange = Exchange(self._cluster.network, "operator", server, encode(request), request)
        exchange.wait(self._clock.real_ns(OPERATORS_PATIENCE * 1.5))

    def _links(self, count: int) -> Sequence[tuple[str, str]]:
        pairs = [(one, other) for one in self._cluster.servers for other in self._cluster.servers if one != other]
        return self._dice.sample(pairs, min(count, len(pairs)))

    def _break_a_disk(self) -> None:
        """Have a server's disk be full, or fail its next fsync; it stops, and is started again with a good one."""
        server = self._dice.choice(self._cluster.servers)
        full = self._dice.random() < 0.5
        self._cluster.disks[server].mood = DiskMood(full=full, failing=not full)
        self._cluster.stream.tell(DiskFault(self._cluster.now, server, "full" if full else "fsync fails"))
        self._clock.sleep(self._dice.random() * self._profile.longest_downtime)
        self._cluster.disks[server].mood = self._profile.disk
        if not self._stopping:
            self._restart(server)
