"""§7 on real servers in virtual time: logs that are compacted, and followers that need the leader's snapshot."""

from __future__ import annotations

import pytest
from simulated import SimulatedRuns

from raft_threads import compaction, kv
from raft_threads.client_messages import TakeSnapshot
from raft_threads.events import (
    Applied,
    ElectionTimedOut,
    MessageReceived,
    MessageSent,
    ReplyReceived,
    SnapshotInstalled,
    SnapshotTaken,
    StateMachineReset,
)
from raft_threads.messages import AppendEntries, InstallSnapshot, InstallSnapshotReply
from raft_threads.options import Options
from raft_threads.server_invariants import InvariantViolation
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.disk import DiskMood
from raft_threads.simulation.network import Exchange
from raft_threads.simulation.policies import MILLISECOND
from raft_threads.timing import Timing
from raft_threads.wire import Message, encode

PAPER = Timing(0.150, 0.300, 0.050)
SMALL = 100  # bytes in a chunk


def is_chunk(message: Message) -> bool:
    """Say whether a message carries a part of a snapshot."""
    return isinstance(message, InstallSnapshot)


def items(cluster: SimulatedCluster, server: str) -> dict[str, str]:
    """Return the state machine of a server."""
    return cluster.running[server].store.items


def ask_for_a_snapshot(cluster: SimulatedCluster, server: str) -> None:
    """Have a server begin to compact its log, and do not wait."""
    request = TakeSnapshot(60)
    Exchange(cluster.network, "operator", server, encode(request), request)


def leave_behind(cluster: SimulatedCluster, server: str, puts: int = 20) -> None:
    """Let the others go on without `server`, and n1 forget the entries that `server` lacks."""
    cluster.isolate(server)
    for number in range(puts):
        cluster.put(f"key {number}", "value", via="n1")
    cluster.take_snapshot("n1")


# Our own snapshots


def test_log_and_memory_stay_bounded_under_steady_load(simulated: SimulatedRuns) -> None:
    """§7: the log does not grow without bound, neither in memory nor on disk."""
    cluster = simulated(3, options=Options(snapshot_threshold=2000))
    cluster.elect("n1")
    largest = 0
    for number in range(300):
        cluster.put("x", str(number))
        largest = max(largest, *(cluster.state(server).log.size_bytes for server in cluster.servers))
    assert 1900 < largest < 4000
    for server in cluster.servers:
        assert len(cluster.stream.events(SnapshotTaken, server)) > 5
        assert sum(map(len, cluster.disks[server].lines)) < 4000 and len(cluster.disks[server].snapshot) < 1000
        assert cluster.state(server).log.last_index > 300


def test_commands_are_served_while_a_snapshot_is_written(simulated: SimulatedRuns) -> None:
    """§7, the second performance issue: copy-on-write. What is applied meanwhile is not in the snapshot."""
    cluster = simulated(1)
    cluster.elect("n1")
    cluster.put("x", "before")
    cluster.disks["n1"].mood = DiskMood(200 * MILLISECOND, 200 * MILLISECOND)
    ask_for_a_snapshot(cluster, "n1")
    cluster.run_for(0.01)
    assert cluster.node("n1")._monitor.captured is not None
    cluster.disks["n1"].mood = DiskMood()
    for _ in range(20):
        cluster.put("x", "after")
    assert cluster.stream.events(SnapshotTaken) == []
    taken = cluster.run_until_event(SnapshotTaken)
    assert taken.metadata.last_included_index == 2
    cluster.crash("n1")
    mark = cluster.stream.mark()
    cluster.restart("n1")
    cluster.elect("n1")
    assert cluster.run_until_event(Applied, since=mark).entry.index == 3
    cluster.run_until(lambda: items(cluster, "n1") == {"x": "after"}, "all is applied")


def test_a_server_starts_from_its_snapshot_and_the_entries_after_it(cluster: SimulatedCluster) -> None:
    """§7, Fig. 12: as if it had replayed the whole log."""
    cluster.elect("n1")
    for number in range(5):
        cluster.execute(kv.append_command("x", str(number)))
    cluster.wait_until_applied_everywhere()
    cluster.take_snapshot("n2")
    cluster.put("y", "1")
    cluster.wait_until_applied_everywhere()
    before = dict(items(cluster, "n2"))
    cluster.crash("n2")
    mark = cluster.stream.mark()
    cluster.restart("n2")
    cluster.wait_until_applied_everywhere()
    assert items(cluster, "n2") == before == {"x": "01234", "y": "1"}
    assert cluster.stream.events(StateMachineReset, "n2", since=mark)
    assert [event.entry.index for event in cluster.stream.events(Applied, "n2", since=mark)][0] == 7


def test_a_server_without_anything_to_compact_takes_no_snapshot(simulated: SimulatedRuns) -> None:
    """§7: asking does no harm; twice, either."""
    cluster = simulated(1)
    assert cluster.take_snapshot("n1").last_included_index == 0
    cluster.elect("n1")
    cluster.put("x", "1")
    assert cluster.take_snapshot("n1").last_included_index == 2
    assert cluster.take_snapshot("n1").last_included_index == 2
    assert len(cluster.stream.events(SnapshotTaken)) == 1


# InstallSnapshot (Fig. 13)


def test_a_follower_that_is_far_behind_gets_the_snapshot_in_chunks(simulated: SimulatedRuns) -> None:
    """§7, Fig. 13: in order, each where the last one ended; then the log goes on as always."""
    cluster = simulated(3, max_chunk_bytes=SMALL)
    cluster.elect("n1")
    leave_behind(cluster, "n3")
    mark = cluster.stream.mark()
    cluster.heal()
    cluster.put("y", "1")
    cluster.run_until(lambda: items(cluster, "n3") == items(cluster, "n1"), "n3 has it all")
    chunks = [event.message for event in cluster.stream.events(MessageReceived, "n3", since=mark)]
    offsets = [chunk.offset for chunk in chunks if isinstance(chunk, InstallSnapshot)]
    assert offsets == list(range(0, SMALL * len(offsets), SMALL)) and len(offsets) > 5
    assert [chunk.done for chunk in chunks if isinstance(chunk, InstallSnapshot)][-2:] == [False, True]
    assert cluster.state("n3").log.first_index == cluster.state("n1").log.first_index


def test_a_follower_hears_from_its_leader_throughout_a_transfer(simulated: SimulatedRuns) -> None:
    """Fig. 13: each chunk is a sign of life, so no election begins however long it takes."""
    cluster = simulated(3, max_chunk_bytes=10, timing=PAPER)
    leader = cluster.wait_for_leader()
    follower = next(server for server in cluster.servers if server != leader)
    cluster.crash(follower)
    for number in range(100):
        cluster.put(f"key {number}", "value")
    cluster.take_snapshot(leader)
    cluster.run_for(1)  # until nothing is on its way that was sent before
    cluster.restart(follower)
    mark = cluster.stream.mark()
    began = cluster.now
    cluster.run_until_event(SnapshotInstalled)
    assert cluster.now - began > 2 * PAPER.election_timeout_max, "longer than some election timeouts"
    assert cluster.stream.events(ElectionTimedOut, since=mark) == []


def test_a_transfer_goes_on_after_a_lost_chunk_where_it_was(simulated: SimulatedRuns) -> None:
    """§7, §5.5: an answer is lost too; what is stored is not sent again."""
    cluster = simulated(3, max_chunk_bytes=SMALL)
    cluster.elect("n1")
    leave_behind(cluster, "n3")
    cluster.heal()

    def has_come(chunks: int) -> bool:
        incoming = cluster.state("n3").incoming
        return incoming is not None and incoming.bytes_stored >= chunks * SMALL

    for lost in (("n1", "n3"), ("n3", "n1")):
        cluster.run_until(lambda: has_come(2), "some chunks have come")
        cluster.cut_one_way([lost])
        cluster.run_for(0.7)
        cluster.heal()
    mark = cluster.stream.mark()
    cluster.run_until_event(SnapshotInstalled)
    sent = [event.message for event in cluster.stream.events(MessageSent, "n1", since=mark)]
    assert min(message.offset for message in sent if isinstance(message, InstallSnapshot)) >= 2 * SMALL


def test_a_follower_that_crashes_midway_gets_the_snapshot_anew(simulated: SimulatedRuns) -> None:
    """Fig. 13: what is not installed is not durable; it says so, and the leader begins again."""
    cluster = simulated(3, max_chunk_bytes=SMALL)
    cluster.elect("n1")
    leave_behind(cluster, "n3")
    cluster.heal()
    cluster.run_until(lambda: cluster.state("n3").incoming is not None, "some of it has come")
    cluster.run_for(0.005)
    cluster.crash("n3")
    cluster.restart("n3")
    cluster.wait_until_applied_everywhere()
    assert items(cluster, "n3") == items(cluster, "n1")


def test_a_new_leader_sends_its_own_snapshot_from_the_start(simulated: SimulatedRuns) -> None:
    """Fig. 13: another leader's file need not have the same bytes."""
    cluster = simulated(3, max_chunk_bytes=SMALL)
    cluster.elect("n1")
    leave_behind(cluster, "n3")
    cluster.take_snapshot("n2")
    cluster.network.hold("n1", "n3", lambda message: isinstance(message, InstallSnapshot) and message.offset >= 300)
    cluster.heal()
    cluster.run_until(lambda: bool(cluster.network.held("n1", "n3")), "a part of it has come")
    cluster.elect("n2")
    cluster.run_until_event(SnapshotInstalled)
    cluster.network.release("n1", "n3")
    cluster.wait_until_applied_everywhere()
    assert items(cluster, "n3") == items(cluster, "n2")


def test_a_newer_snapshot_that_is_taken_midway_does_not_stop_the_transfer(simulated: SimulatedRuns) -> None:
    """§7: the leader goes on with the one that it began with, and sends what is missing afterwards."""
    cluster = simulated(3, max_chunk_bytes=SMALL)
    cluster.elect("n1")
    leave_behind(cluster, "n3")
    cluster.heal()
    cluster.run_until(lambda: cluster.state("n3").incoming is not None, "some of it has come")
    cluster.put("y", "1")
    incoming = cluster.state("n3").incoming
    assert incoming is not None and cluster.take_snapshot("n1").last_included_index > incoming.last_included_index
    cluster.wait_until_applied_everywhere()
    assert items(cluster, "n3") == items(cluster, "n1")
    assert len(cluster.stream.events(SnapshotInstalled, "n3")) == 2


def test_a_snapshot_that_is_damaged_on_its_way_is_not_installed(simulated: SimulatedRuns) -> None:
    """§7: its checksums tell, and it is sent again."""
    cluster = simulated(3, max_chunk_bytes=SMALL)
    cluster.elect("n1")
    leave_behind(cluster, "n3")
    whole = cluster.disks["n1"].snapshot
    cluster.disks["n1"].snapshot = whole[:-20] + b"?" + whole[-19:]
    cluster.heal()

    def refused_the_last_chunk() -> bool:
        answers = cluster.stream.events(ReplyReceived, "n1")
        return any(
            isinstance(each.message, InstallSnapshot) and each.message.done and each.reply == InstallSnapshotReply(1, 0)
            for each in answers
        )

    cluster.run_until(refused_the_last_chunk, "n3 finds it damaged")
    assert cluster.stream.events(SnapshotInstalled) == []


def play_a_late_append_entries(cluster: SimulatedCluster) -> None:
    """n3 stores a and b from an AppendEntries that comes late; n1, which knows nothing of that, has compacted a.

    n1 commits a with n2 meanwhile, and not b; and n3 hears of that only from the snapshot.
    """
    network = cluster.network
    cluster.elect("n1")
    cluster.put("x", "0")
    cluster.wait_until_applied_everywhere()
    network.hold("n1", "n3")
    network.hold("n2", "n1")
    cluster.run_until(lambda: network.held("n1", "n3") and network.held("n2", "n1"), "two heartbeats are under way")
    cluster.propose(kv.put_command("x", "a"), via="n1")
    cluster.run_for(0.3)
    network.release("n2", "n1", 0)
    cluster.run_until(lambda: network.held("n2", "n1"), "n2 has a, and says so")
    cluster.propose(kv.put_command("x", "b"), via="n1")
    cluster.run_until(lambda: both(network.held("n1", "n3")[-1]), "n1 gives up the heartbeat, and sends n3 a and b")
    network.release("n2", "n1", 0)
    cluster.run_until(lambda: cluster.state("n1").last_applied == 3, "n1 applies a")
    cluster.take_snapshot("n1")
    network.hold("n3", "n1")
    network.release("n1", "n3", len(network.held("n1", "n3")) - 1)
    cluster.run_until(lambda: cluster.terms_of("n3") == [1, 1, 1, 1], "n3 stores a and b")
    assert cluster.state("n3").commit_index == 2 and cluster.state("n1").log.start.last_included_index == 3
    network.release("n1", "n3")
    cluster.run_until_event(MessageSent, lambda event: isinstance(event.message, InstallSnapshot))
    network.release("n3", "n1")
    cluster.run_until_event(SnapshotInstalled)


def both(message: Message) -> bool:
    """Say whether a message carries two entries."""
    return isinstance(message, AppendEntries) and len(message.entries) == 2


def test_entries_after_a_snapshot_that_agrees_are_kept(cluster: SimulatedCluster) -> None:
    """§7, Fig. 13, rule 6: n3 has acknowledged b, and others may rely on that."""
    play_a_late_append_entries(cluster)
    (installed,) = cluster.stream.events(SnapshotInstalled)
    assert installed.retained and cluster.terms_of("n3") == [1], "entry 4 after a snapshot of 3"


def test_whoever_discards_them_is_found(cluster: SimulatedCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fig. 13, rule 6, left out: the simulator tells what was lost."""
    monkeypatch.setattr(compaction, "has_its_last_entry", lambda state, metadata: False)
    with pytest.raises(InvariantViolation, match="n3 discards its entries after 3 although the snapshot agrees"):
        play_a_late_append_entries(cluster)
