"""Without the rules of §7: snapshots that servers take."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from raft_threads import compaction, kv
from raft_threads.client_messages import TakeSnapshot
from raft_threads.companion.breaking import Break, Schedule, Swap
from raft_threads.companion.breaks_of_membership import FIVE, THREE_OF_FIVE, part_and_stand
from raft_threads.companion.breaks_of_snapshots_sent import SMALL_CHUNKS, n3_needs_the_snapshot
from raft_threads.companion.directing import begin, restart, stand, win
from raft_threads.companion.figure_3 import LIVENESS, Lost
from raft_threads.kv import KeyValueStore
from raft_threads.log import Log, SnapshotMetadata
from raft_threads.options import Options
from raft_threads.proposals import OutcomeUnknown
from raft_threads.server_invariants import LEADER_COMPLETENESS, STATE_MACHINE_SAFETY
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.disk import DiskMood
from raft_threads.simulation.network import Exchange
from raft_threads.simulation.policies import MILLISECOND
from raft_threads.snapshot_thread import Captured, SnapshotThread
from raft_threads.state import Role, State
from raft_threads.wire import encode

_write = SnapshotThread._write
_discard_up_to = Log.discard_up_to


def ask_for_a_snapshot(cluster: SimulatedCluster, server: str) -> None:
    """Have a server begin to compact its log, and do not wait."""
    request = TakeSnapshot(60)
    Exchange(cluster.network, "operator", server, encode(request), request)


def cover_what_is_committed(state: State) -> SnapshotMetadata:
    """Say that the snapshot goes up to the commit index."""
    return state.log.position_of(state.commit_index)


def capture_when_it_is_written(self: KeyValueStore) -> Iterator[bytes]:
    """Return records that are made of what the store holds when they are asked for, one by one."""
    for key in list(self.items):
        yield json.dumps([key, self.items.get(key, "")]).encode("ascii")


def a_snapshot_is_taken_amid_commands(cluster: SimulatedCluster) -> str:
    """n1 takes a snapshot when a client's count to 1 is committed and about to be applied; it crashes, and is back.

    Then a client counts to 2.
    """
    begin(cluster, "n1")
    cluster.run_until(lambda: cluster.state("n1").last_applied == 1, "n1 has applied its first entry")
    cluster.propose(kv.increment_command("counter"), via="n1")
    cluster.run_for(0.001)
    ask_for_a_snapshot(cluster, "n1")
    cluster.run_until(lambda: cluster.state("n1").commit_index == 2, "the command is committed")
    cluster.run_for(0.01)
    cluster.crash("n1")
    restart(cluster, "n1")
    win(cluster, "n2")
    cluster.propose(kv.increment_command("counter"), via="n2")
    index = cluster.state("n2").log.last_index
    cluster.run_until(lambda: all(cluster.state(each).last_applied == index for each in ("n1", "n2")), "it is applied")
    return "The snapshot held what it says, n1 applied what comes after it, and both servers count to 2."


def give_it_the_present_term(state: State) -> SnapshotMetadata:
    """Keep the index of the last included entry, and not its term."""
    return replace(state.log.position_of(state.last_applied), last_included_term=state.current_term)


def discard_whatever_the_term(self: Log, start: SnapshotMetadata) -> None:
    """Have the log begin after `start`, without a look at the term of the entry there."""
    term = self.term_at(start.last_included_index)
    assert term is not None
    _discard_up_to(self, replace(start, last_included_term=term))
    self.start = start


def a_server_alone_takes_a_snapshot(cluster: SimulatedCluster) -> str:
    """n3, cut off, stands in vain, and compacts its log; n1 commits an entry with n2; n3 comes back, and stands."""
    begin(cluster, "n1")
    cluster.run_until(lambda: cluster.state("n3").last_applied == 1, "n3 has applied the first entry")
    cluster.isolate("n3")
    stand(cluster, "n3")
    stand(cluster, "n3")
    cluster.take_snapshot("n3")
    cluster.put("x", "1", via="n1")
    cluster.connect_only("n2", "n3")
    stand(cluster, "n3")
    stand(cluster, "n3")
    return "n3's log ends with an entry of term 1, as its snapshot says; n2 has a longer one, and did not vote for n3."


def keep_the_first_configuration(state: State) -> SnapshotMetadata:
    """Say that the cluster is the one that it was at the beginning of the log."""
    metadata = state.log.position_of(state.last_applied)
    return replace(metadata, configuration=state.log.start.configuration)


def two_old_servers_restart_from_snapshots(cluster: SimulatedCluster) -> str:
    """n1 n2 n3 have become n1 to n5, and all is in snapshots of n1 and n2. They start again, cut off; n1 stands."""
    begin(cluster, "n3")
    cluster.change_members(*FIVE)
    cluster.run_until(lambda: min(cluster.state(each).last_applied for each in ("n1", "n2")) == 3, "n1, n2 apply C_new")
    for server in ("n1", "n2"):
        cluster.take_snapshot(server)
    return part_and_stand(cluster)


def cut_the_log_before_the_snapshot_is_written(self: SnapshotThread, captured: Captured) -> None:
    """Discard first, and write then."""
    compaction.discard_what_it_replaces(self._monitor.state, captured.metadata)
    self._monitor.save()
    _write(self, captured)


def a_server_crashes_while_it_writes(cluster: SimulatedCluster) -> str:
    """n1 and n2 commit an entry; n2 takes a snapshot, and crashes before that is on disk. Without n1, n3 stands."""
    cluster.connect_only("n1", "n2")
    win(cluster, "n1")
    cluster.run_until(lambda: cluster.state("n2").last_applied == 1, "n2 has applied the entry")
    cluster.disks["n2"].mood = DiskMood(200 * MILLISECOND, 200 * MILLISECOND)
    ask_for_a_snapshot(cluster, "n2")
    cluster.run_for(0.3)
    cluster.crash("n2", bytes_written=0)
    cluster.disks["n2"].mood = DiskMood()
    restart(cluster, "n2")
    cluster.connect_only("n2", "n3")
    stand(cluster, "n3")
    stand(cluster, "n3")
    return "n2 still had the entry, and did not vote for n3."


def send_what_is_left(state: State, peer: str) -> bool:
    """Go on with the first entry that we still have."""
    if state.role is Role.LEADER:
        state.next_index[peer] = max(state.next_index[peer], state.log.first_index)
    return False


def never_compact(state: State, threshold: int) -> bool:
    """Let the log grow."""
    return False


def disks_are_small(cluster: SimulatedCluster) -> str:
    """A client sets x again and again, to 200 bytes each time; a disk has room for 2000 bytes, log and snapshot."""
    win(cluster, "n1")
    for times in range(20):
        try:
            cluster.put("x", "x" * 200, via="n1")
        except OutcomeUnknown as error:
            raise Lost(LIVENESS, f"after x was set {times} times, the disks are full: {error}") from error
        for disk in cluster.disks.values():
            disk.mood.full = len(disk.snapshot) + sum(map(len, disk.lines)) > 2000
    return "The logs were compacted in time, and x was set 20 times."


BREAKS = (
    Break(
        "S7.1",
        "A snapshot says that it holds all that is committed, applied or not.",
        (Swap("raft_threads.compaction.snapshot_metadata", cover_what_is_committed),),
        STATE_MACHINE_SAFETY,
        Schedule(a_snapshot_is_taken_amid_commands, ("n1", "n2"), seeds=20),
    ),
    Break(
        "S7.2",
        "A snapshot has the term in which it was taken.",
        (
            Swap("raft_threads.compaction.snapshot_metadata", give_it_the_present_term),
            Swap("raft_threads.log.Log.discard_up_to", discard_whatever_the_term),
        ),
        LEADER_COMPLETENESS,
        Schedule(a_server_alone_takes_a_snapshot),
    ),
    Break(
        "S7.3",
        "A snapshot has the configuration that the cluster began with.",
        (Swap("raft_threads.compaction.snapshot_metadata", keep_the_first_configuration),),
        LEADER_COMPLETENESS,
        Schedule(two_old_servers_restart_from_snapshots, FIVE, THREE_OF_FIVE),
    ),
    Break(
        "S7.4",
        "The log is cut when a snapshot begins to be written.",
        (Swap("raft_threads.snapshot_thread.SnapshotThread._write", cut_the_log_before_the_snapshot_is_written),),
        LEADER_COMPLETENESS,
        Schedule(a_server_crashes_while_it_writes),
    ),
    Break(
        "S7.5",
        "A leader goes on with the entries that it still has.",
        (Swap("raft_threads.compaction.needs_snapshot", send_what_is_left),),
        LIVENESS,
        Schedule(n3_needs_the_snapshot, settings=SMALL_CHUNKS),
    ),
    Break(
        "S7.6",
        "No snapshot is ever due.",
        (Swap("raft_threads.compaction.snapshot_is_due", never_compact),),
        LIVENESS,
        Schedule(disks_are_small, settings={"options": Options(snapshot_threshold=1000)}),
    ),
    Break(
        "S7.7",
        "What is written is the state as it is by then.",
        (Swap("raft_threads.kv.KeyValueStore.capture", capture_when_it_is_written),),
        STATE_MACHINE_SAFETY,
        Schedule(a_snapshot_is_taken_amid_commands, ("n1", "n2"), seeds=20),
    ),
)
