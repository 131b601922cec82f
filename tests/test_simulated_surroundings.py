"""The simulated network, disks and clocks do what real ones do, and no more (§5.1, §5.5)."""

from __future__ import annotations

import io
import random
from collections import Counter

import pytest
from drawing import entries_of

from raft_threads import events
from raft_threads.client_messages import Command
from raft_threads.messages import AppendEntries, RequestVote
from raft_threads.proposals import OutcomeUnknown
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.disk import DiskMood, SimulatedDisk
from raft_threads.simulation.network import Network, Weather
from raft_threads.simulation.policies import CALM, HOSTILE, MILLISECOND, Policy, Tendencies, draw_tendencies
from raft_threads.simulation.primitives import Clock
from raft_threads.simulation.scheduler import SECOND, Scheduler
from raft_threads.storage import StorageError
from raft_threads.surroundings import Crashed, LinksCut, LinksHealed, MessageDelivered, MessageLost
from raft_threads.trace import TraceWriter, read_trace

VOTE = RequestVote(1, "n1", 0, 0)


def calm_scheduler() -> Scheduler:
    """Return a scheduler whose only thread is this one."""
    return Scheduler(Policy(CALM, random.Random(1)))


def wait(scheduler: Scheduler, seconds: float) -> None:
    """Let virtual time go by."""
    Clock(scheduler).sleep(seconds)


# The network


class Arrivals:
    """A network with two servers, and what arrives from n1 at n2 and when."""

    def __init__(self, weather: Weather, seed: int = 1) -> None:
        self.scheduler = calm_scheduler()
        self.network = Network(self.scheduler, ["n1", "n2"], random.Random(seed))
        self.network.weather = weather
        self.fates: Counter[str] = Counter()
        self.network.tell = lambda fate, sender, receiver, number, message: self.fates.update([fate.__name__])
        self.arrived: list[tuple[int, int]] = []

    def send(self, count: int, sender: str = "n1") -> None:
        """Send messages 0 to `count` - 1, all at once."""
        for number in range(count):
            self.network.carry(sender, "n2", VOTE, lambda number=number: self._arrive(number))  # type: ignore[misc]

    def _arrive(self, number: int) -> None:
        self.arrived.append((number, self.scheduler.now_ns))


def test_messages_take_as_long_as_the_weather_says_and_overtake_each_other() -> None:
    """Delay and reordering."""
    arrivals = Arrivals(Weather(2 * MILLISECOND, 9 * MILLISECOND))
    arrivals.send(100)
    wait(arrivals.scheduler, 1)
    times = [when for _, when in arrivals.arrived]
    assert sorted(number for number, _ in arrivals.arrived) == list(range(100))
    assert 2 * MILLISECOND <= min(times) < max(times) <= 9 * MILLISECOND
    assert [number for number, _ in arrivals.arrived] != list(range(100))


def test_messages_are_lost_and_doubled_as_often_as_the_weather_says() -> None:
    """§5.5: and each fate is told of."""
    arrivals = Arrivals(Weather(loss=0.2, duplication=0.1))
    arrivals.send(1000)
    wait(arrivals.scheduler, 1)
    lost, doubled = arrivals.fates["MessageLost"], arrivals.fates["MessageDuplicated"]
    assert 150 < lost < 250 and 50 < doubled < 120
    assert len(arrivals.arrived) == 1000 - lost + doubled == arrivals.fates["MessageDelivered"]


def test_a_command_without_a_session_is_never_doubled() -> None:
    """TCP brings it once, and a command that came twice would be executed twice; not so within a session (§8)."""
    arrivals = Arrivals(Weather(duplication=1.0))
    for message in (Command(b"x", 1), Command(b"x", 1, 7, 1, 1)):
        arrivals.network.carry("client-1", "n1", message, lambda: arrivals.arrived.append((len(arrivals.arrived), 0)))
    wait(arrivals.scheduler, 1)
    assert len(arrivals.arrived) == 1 + 2


def test_a_cut_link_loses_what_is_on_its_way_too_and_only_in_its_direction() -> None:
    """One-way partitions."""
    arrivals = Arrivals(Weather())
    arrivals.send(1)
    arrivals.network.cut_one_way("n1", "n2")
    arrivals.send(1)
    wait(arrivals.scheduler, 1)
    assert arrivals.arrived == [] and arrivals.fates["MessageLost"] == 2
    arrivals.network.carry("n2", "n1", VOTE, lambda: arrivals.arrived.append((9, 0)))
    wait(arrivals.scheduler, 1)
    assert arrivals.arrived == [(9, 0)]
    arrivals.network.heal()
    arrivals.send(1)
    wait(arrivals.scheduler, 1)
    assert len(arrivals.arrived) == 2


def test_messages_that_are_held_back_arrive_when_they_are_released_in_any_order() -> None:
    """Scripted schedules: nothing is lost, and others pass."""
    arrivals = Arrivals(Weather())
    arrivals.network.hold("n1", "n2", lambda message: isinstance(message, RequestVote))
    arrivals.send(3)
    heartbeat = AppendEntries(1, "n1", 0, 0, (), 0)
    arrivals.network.carry("n1", "n2", heartbeat, lambda: arrivals.arrived.append((9, 0)))
    wait(arrivals.scheduler, 1)
    assert arrivals.network.held("n1", "n2") == [VOTE] * 3
    assert [number for number, _ in arrivals.arrived] == [9]
    arrivals.network.release("n1", "n2", position=1)
    arrivals.network.release("n1", "n2")
    arrivals.send(1)
    wait(arrivals.scheduler, 1)
    assert [number for number, _ in arrivals.arrived] == [9, 1, 0, 2, 0]


# Disks


def crashed_disk(seed: int) -> SimulatedDisk:
    """Return a disk whose server crashed while it wrote entry 2 and term 2."""
    disk = SimulatedDisk(calm_scheduler(), "n1", random.Random(seed))
    storage = disk.open()
    storage.save_term_and_vote(1, "n1")
    storage.save_entries(entries_of(1))
    disk.unsynced = [entries_of(1, first_index=2)[0].line]
    disk.renaming = (2, None)
    disk.crash()
    return disk


def test_a_crash_loses_what_was_not_synced_or_tears_it_and_never_what_was() -> None:
    """Fig. 2, persistent state: each outcome is met among some seeds, and the first entry always survives."""
    outcomes: Counter[str] = Counter()
    for seed in range(60):
        saved = crashed_disk(seed).open().load()
        assert saved.entries[0] == entries_of(1)[0]
        outcomes["torn" if saved.notes else f"{len(saved.entries)} entries"] += 1
        outcomes[f"term {saved.current_term}"] += 1
    assert set(outcomes) == {"torn", "1 entries", "2 entries", "term 1", "term 2"}


@pytest.mark.parametrize(
    "mood, words", [(DiskMood(full=True), "the disk is full"), (DiskMood(failing=True), "fsync failed")]
)
def test_a_full_or_broken_disk_fails_for_good(mood: DiskMood, words: str) -> None:
    """As FileStorage does: after a failed fsync nobody knows what the disk holds."""
    disk = SimulatedDisk(calm_scheduler(), "n1", random.Random(1))
    storage = disk.open()
    disk.mood = mood
    with pytest.raises(StorageError, match=words):
        storage.save_entries(entries_of(1))
    assert disk.writers == 0
    disk.mood = DiskMood()
    with pytest.raises(StorageError, match=words):
        storage.save_term_and_vote(1, None)
    disk.crash()
    disk.open().save_term_and_vote(1, None)


def test_a_slow_disk_takes_its_time() -> None:
    """In virtual time."""
    disk = SimulatedDisk(calm_scheduler(), "n1", random.Random(1))
    disk.mood = DiskMood(5 * MILLISECOND, 5 * MILLISECOND)
    disk.open().save_entries(entries_of(1))
    assert disk.scheduler.now_ns == 5 * MILLISECOND


def test_a_server_whose_fsync_fails_stops_for_good_and_the_others_go_on() -> None:
    """Fig. 2; until somebody starts it again with a good disk."""
    with SimulatedCluster() as cluster:
        cluster.elect("n1")
        cluster.disks["n3"].mood = DiskMood(failing=True)
        cluster.put("x", "1")
        stopped = cluster.run_until_event(events.Stopped)
        assert (stopped.server, stopped.failure) == ("n3", "cannot write to the disk of n3: fsync failed")
        cluster.put("x", "2")
        cluster.disks["n3"].mood = DiskMood()
        cluster.crash("n3")
        cluster.restart("n3")
        cluster.wait_until_applied_everywhere()
        assert cluster.running["n3"].store.items == {"x": "2"}


# Clocks and schedules


def test_a_clock_may_be_ahead_and_fast_and_measures_with_itself() -> None:
    """Timeouts are rounded up, so that whoever waits until a deadline finds it over."""
    scheduler = calm_scheduler()
    clock = Clock(scheduler, ahead_ns=7 * SECOND, drift=100)
    before = clock.monotonic()
    clock.sleep(1.1)
    assert clock.monotonic() >= before + 1.1
    assert scheduler.now_ns == pytest.approx(SECOND, abs=2)
    deadline = clock.monotonic() + 1e-10
    while clock.monotonic() < deadline:
        clock.sleep(deadline - clock.monotonic())


def test_each_kind_of_schedule_is_drawn_sometimes() -> None:
    """Shallow and deep mistakes want different ones."""
    kinds = {draw_tendencies(random.Random(seed)).kind() for seed in range(200)}
    assert kinds == {"calm", "preempting", "stalling", "slow threads", "PCT", "early clock", "everything"}
    assert HOSTILE.kind() == "everything"
    assert "stall" in HOSTILE.describe() and CALM.describe() == "calm"


def test_other_tendencies_make_other_schedules_of_the_same_seed() -> None:
    """And the same ones the same."""

    def fingerprint(tendencies: Tendencies) -> int:
        with SimulatedCluster(seed=5, tendencies=tendencies) as cluster:
            cluster.elect("n2")
            cluster.put("x", "1")
            return cluster.scheduler.fingerprint

    calm, hostile, pct = fingerprint(CALM), fingerprint(HOSTILE), fingerprint(Tendencies(priority_changes=3))
    assert len({calm, hostile, pct}) == 3
    assert fingerprint(HOSTILE) == hostile


# What is told of


def test_what_happens_around_the_servers_stands_in_the_trace() -> None:
    """Crashes, cut links, and what became of each message."""
    lines = io.StringIO()
    names = ["n1", "n2", "n3"]
    with SimulatedCluster(names, trace=TraceWriter(lines, names)) as cluster:
        cluster.elect("n1")
        cluster.partition(["n1"], ["n2", "n3"])
        with pytest.raises(OutcomeUnknown):
            cluster.execute(b"{}", "n1", timeout=0.2)
        cluster.heal()
        cluster.crash("n3")
    records = read_trace(lines.getvalue().splitlines(keepends=True)).records
    kinds = [type(record) for record in records]
    assert kinds.count(LinksCut) == kinds.count(LinksHealed) == kinds.count(Crashed) == 1
    assert kinds.count(MessageLost) >= 2 and kinds.count(MessageDelivered) >= 4
    assert [record.when for record in records] == sorted(record.when for record in records)
