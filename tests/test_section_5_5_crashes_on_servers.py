"""§5.5 on real servers in virtual time: whoever crashes, and whenever, goes on from what its disk holds (Fig. 2)."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from simulated import SimulatedRuns

from raft_threads import kv
from raft_threads.events import (
    Applied,
    BecameCandidate,
    BecameLeader,
    CommitAdvanced,
    ElectionTimedOut,
    ElectionTimerSet,
    EntriesAppended,
    EntriesDeleted,
    Event,
    LeaderRecognized,
    MessageReceived,
    MessageSent,
    ReplyReceived,
    ReplySent,
    Restarted,
    SteppedDown,
    Stopped,
    VoteDenied,
    VoteGranted,
    VoteReceived,
)
from raft_threads.proposals import NotLeader, OutcomeUnknown
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.disk import DiskMood
from raft_threads.simulation.policies import MILLISECOND
from raft_threads.state import Role
from raft_threads.storage import StorageError

# What happens to each server while n2 takes over from n1, and a client has a command executed.
OLD_LEADER: list[type[Event]] = [
    MessageReceived,
    VoteDenied,
    SteppedDown,
    ReplySent,
    LeaderRecognized,
    EntriesDeleted,
    EntriesAppended,
    CommitAdvanced,
    Applied,
]
NEW_LEADER: list[type[Event]] = [
    ElectionTimedOut,
    ElectionTimerSet,
    BecameCandidate,
    MessageSent,
    VoteReceived,
    ReplyReceived,
    BecameLeader,
    EntriesAppended,
    CommitAdvanced,
    Applied,
]
FOLLOWER: list[type[Event]] = [
    MessageReceived,
    VoteGranted,
    ElectionTimerSet,
    ReplySent,
    LeaderRecognized,
    EntriesAppended,
    CommitAdvanced,
    Applied,
]
CRASHES = [
    (server, kind)
    for server, kinds in (("n1", OLD_LEADER), ("n2", NEW_LEADER), ("n3", FOLLOWER))
    for kind in kinds
]


def name_of(value: Any) -> str:
    """Return how a parameter is shown in a test's name."""
    return str(getattr(value, "__name__", value))


def let_n1_lead_and_cut_it_off(cluster: SimulatedCluster) -> None:
    """Have x=1 committed under n1, and leave n1 with another entry that nobody has seen; then repair the links."""
    cluster.elect("n1")
    cluster.put("x", "1", "n1")
    cluster.wait_until_applied_everywhere()
    cluster.isolate("n1")
    cluster.propose(kv.put_command("x", "lost"), "n1")
    cluster.heal()


def let_n2_take_over(cluster: SimulatedCluster) -> bool:
    """Have n2 time out and execute y=1, if it is elected; return whether a client was told that it did."""
    cluster.time_out("n2")
    cluster.run_until(
        lambda: len(cluster.running) < 3 or cluster.state("n2").role is Role.LEADER, "n2 leads, or somebody crashes"
    )
    with suppress(NotLeader, OutcomeUnknown):
        cluster.execute(kv.put_command("y", "1"), "n2", timeout=1.0)
        return True
    return False


def elect_whoever_has_the_best_log(cluster: SimulatedCluster) -> None:
    """Elect a server that surely can be (§5.4.1), once all have heard of the newest term."""
    for server in cluster.servers:
        cluster.run_until(lambda: cluster.stream.is_up(server), f"{server} is up")  # noqa: B023
    cluster.run_for(1.0)
    logs = {server: cluster.state(server).log for server in cluster.servers}
    cluster.elect(max(logs, key=lambda server: (logs[server].last_term, logs[server].last_index)))


def check_that_all_is_well(cluster: SimulatedCluster, y_was_acknowledged: bool) -> None:
    """Assert that the cluster goes on, that all servers agree, and that nothing acknowledged is lost."""
    elect_whoever_has_the_best_log(cluster)
    cluster.put("z", "1")
    cluster.wait_until_applied_everywhere()
    stores = [cluster.running[server].store.items for server in cluster.servers]
    assert stores[0] == stores[1] == stores[2]
    assert stores[0]["x"] in ("1", "lost"), "the entry of n1 may be committed later, if n2 was not elected"
    assert stores[0].get("y") == "1" or not y_was_acknowledged
    assert stores[0]["z"] == "1"


@pytest.mark.parametrize("server, kind", CRASHES, ids=name_of)
def test_a_server_that_crashes_right_after_an_event_goes_on_from_its_disk(
    cluster: SimulatedCluster, server: str, kind: type[Event]
) -> None:
    """§5.5: with the next step not taken, be it a write, a message, or a wake-up."""
    let_n1_lead_and_cut_it_off(cluster)
    cluster.crash_after(kind, lambda event: event.server == server)
    acknowledged = let_n2_take_over(cluster)
    cluster.run_until(lambda: server not in cluster.running, f"{server} crashes")
    cluster.run_for(1.0)
    cluster.restart(server)
    check_that_all_is_well(cluster, acknowledged)


@pytest.mark.parametrize("kind", sorted({kind for _, kind in CRASHES}, key=name_of), ids=name_of)
def test_all_servers_crash_together_and_go_on_from_their_disks(cluster: SimulatedCluster, kind: type[Event]) -> None:
    """§5.5, Fig. 2: at the first such event while n2 takes over; everything volatile is gone."""
    let_n1_lead_and_cut_it_off(cluster)
    mark = cluster.stream.mark()
    cluster.time_out("n2")
    cluster.run_until_event(kind, since=mark)
    for server in cluster.servers:
        cluster.crash(server)
    for server in cluster.servers:
        cluster.restart(server)
    check_that_all_is_well(cluster, y_was_acknowledged=False)


def test_a_server_that_crashes_at_each_start_goes_on_when_it_does_not(cluster: SimulatedCluster) -> None:
    """§5.5: its start is of no consequence until it answers."""
    cluster.elect("n1")
    cluster.put("x", "1", "n1")
    cluster.crash("n3")
    for _ in range(3):
        cluster.crash_after(Restarted, lambda event: event.server == "n3")
        cluster.restart("n3")
        cluster.run_until(lambda: "n3" not in cluster.running, "n3 crashes again")
    cluster.restart("n3")
    cluster.wait_until_applied_everywhere()
    assert cluster.running["n3"].store.items == {"x": "1"}


def test_what_was_acknowledged_outlives_the_leader_that_acknowledged_it(cluster: SimulatedCluster) -> None:
    """§5.3, §5.4: a majority holds it at that moment, and whoever is elected has it."""
    cluster.elect("n1")
    cluster.put("x", "1", "n1")
    cluster.crash("n1")
    has_it = [server for server in ("n2", "n3") if cluster.state(server).log.last_index == 2]
    cluster.elect(has_it[0])
    assert cluster.get("x", has_it[0]) == "1"


# What the disk holds


@pytest.mark.parametrize("server", ["n1", "n2", "n3"])
def test_term_and_vote_outlive_a_crash(cluster: SimulatedCluster, server: str) -> None:
    """Fig. 2: of the candidate, of a voter, of a leader that stepped down and denied its vote."""
    let_n1_lead_and_cut_it_off(cluster)
    mark = cluster.stream.mark()
    cluster.time_out("n2")
    told = MessageSent if server == "n2" else ReplySent
    cluster.run_until_event(told, lambda event: event.server == server, mark)
    cluster.crash(server)
    cluster.restart(server)
    assert cluster.state(server).current_term == 2
    assert cluster.state(server).voted_for == {"n1": None, "n2": "n2", "n3": "n2"}[server]
    assert cluster.state(server).role is Role.FOLLOWER


# The length of the records that n3 is writing when it crashes, and how many of them are whole then.
@pytest.mark.parametrize("tenths, whole", [(0, 0), (2, 0), (5, 1), (9, 2), (10, 3)])
def test_a_write_that_a_crash_tears_leaves_the_records_before_the_tear(
    cluster: SimulatedCluster, tenths: int, whole: int
) -> None:
    """§5.5: three entries were being written and none of them acknowledged; what is half there is cut off."""
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    cluster.crash("n3")
    for key in ("x", "y", "z"):
        cluster.put(key, "1", "n1")
    cluster.disks["n3"].mood = DiskMood(200 * MILLISECOND, 200 * MILLISECOND)
    cluster.restart("n3")
    mark = cluster.stream.mark()
    cluster.run_until_event(EntriesAppended, lambda event: event.server == "n3", mark)
    cluster.run_for(0.1)
    writing = sum(map(len, cluster.disks["n3"].unsynced))
    cluster.crash("n3", bytes_written=writing * tenths // 10)
    assert cluster.terms_of("n3") == [1] + [1] * whole

    cluster.restart("n3")
    assert cluster.terms_of("n3") == [1] + [1] * whole
    cluster.wait_until_applied_everywhere()
    assert cluster.log_of("n3") == cluster.log_of("n1")
    assert cluster.running["n3"].store.items == {"x": "1", "y": "1", "z": "1"}


@pytest.mark.parametrize("fault", [DiskMood(failing=True), DiskMood(full=True)], ids=["fsync fails", "disk full"])
@pytest.mark.parametrize("server", ["n1", "n3"], ids=["leader", "follower"])
def test_a_server_whose_disk_fails_stops_for_good_and_the_others_go_on(
    cluster: SimulatedCluster, server: str, fault: DiskMood
) -> None:
    """Fig. 2: it cannot persist, so it must not answer; nor later, when the disk seems well, until it is restarted."""
    cluster.elect("n1")
    cluster.put("x", "1", "n1")
    cluster.wait_until_applied_everywhere()
    cluster.disks[server].mood = fault
    with suppress(OutcomeUnknown):
        cluster.execute(kv.put_command("y", "1"), "n1", timeout=1.0)
    cluster.run_until_event(Stopped)
    assert isinstance(cluster.node(server).failure, StorageError)

    cluster.disks[server].mood = DiskMood()
    longest = max({"n2", "n3"} - {server}, key=lambda other: (len(cluster.terms_of(other)), other))
    leader = cluster.elect(longest)
    cluster.put("z", "1", leader)
    cluster.run_for(2.0)
    assert 3 not in cluster.terms_of(server) and cluster.state(server).current_term == 1
    with pytest.raises((OutcomeUnknown, NotLeader)):
        cluster.execute(kv.get_command("x"), server, timeout=1.0)

    cluster.crash(server)
    cluster.restart(server)
    cluster.wait_until_applied_everywhere()
    assert cluster.running[server].store.items == cluster.running[leader].store.items


def test_a_candidate_whose_own_vote_cannot_be_saved_asks_nobody(cluster: SimulatedCluster) -> None:
    """Fig. 2: persist before sending. The cluster stays as it is, and so does what the disk holds."""
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    cluster.disks["n2"].mood = DiskMood(failing=True)
    mark = cluster.stream.mark()
    cluster.time_out("n2")
    stopped = cluster.run_until_event(Stopped)
    assert stopped.failure == "cannot write to the disk of n2: fsync failed"
    cluster.run_for(1.0)
    assert not cluster.stream.events(MessageSent, "n2", mark)
    assert cluster.disks["n2"].term_and_vote == (1, "n1")
    cluster.put("x", "1", "n1")


def test_a_cluster_of_one_goes_on_alone_after_each_crash(simulated: SimulatedRuns) -> None:
    """§5.5: all it has is its disk."""
    cluster = simulated(1)
    for term in (1, 2, 3):
        cluster.put(f"x{term}", "1", cluster.elect("n1"))
        assert cluster.state("n1").current_term == term
        cluster.crash("n1")
        cluster.restart("n1")
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    assert len(cluster.running["n1"].store.items) == 3
