"""Without the rules of §7 and Fig. 13: snapshots, taken and sent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

from raft_threads import compaction, kv
from raft_threads.client_messages import TakeSnapshot
from raft_threads.companion.breaking import Break, Schedule, Swap
from raft_threads.companion.breaks_of_logs import carries
from raft_threads.companion.breaks_of_membership import FIVE, THREE_OF_FIVE, part_and_stand
from raft_threads.companion.directing import PAPER, begin, is_chunk, leads, must, must_stay, restart, stand, win
from raft_threads.companion.figure_3 import LINEARIZABILITY, LIVENESS, Lost
from raft_threads.election import restarts_election_timer
from raft_threads.kv import KeyValueStore
from raft_threads.log import Log, SnapshotMetadata
from raft_threads.messages import InstallSnapshot, InstallSnapshotReply, Reply
from raft_threads.request_handlers import RequestHandlers
from raft_threads.server_invariants import (
    LEADER_COMPLETENESS,
    LOG_MATCHING,
    PERSISTENCE,
    STATE_MACHINE_SAFETY,
)
from raft_threads.sessions import Sessions
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.disk import DiskMood
from raft_threads.simulation.network import Exchange
from raft_threads.simulation.policies import MILLISECOND
from raft_threads.snapshot_thread import Captured, SnapshotThread
from raft_threads.snapshot_transfer import Chunk, SnapshotTransfer
from raft_threads.state import Role, State
from raft_threads.wire import encode

_restarts_election_timer = restarts_election_timer
_store_chunk = RequestHandlers._store_chunk
_write = SnapshotThread._write
_discard_up_to = Log.discard_up_to
_handle_install_snapshot = compaction.handle_install_snapshot

SMALL_CHUNKS = {"max_chunk_bytes": 100}


def ask_for_a_snapshot(cluster: SimulatedCluster, server: str) -> None:
    """Have a server begin to compact its log, and do not wait."""
    request = TakeSnapshot(60)
    Exchange(cluster.network, "operator", server, encode(request), request)


def leave_behind(cluster: SimulatedCluster, value: str = "a longer value, so that there are some chunks" * 5) -> None:
    """n1 and n2 commit entries that n3 does not get, and n1 compacts its log."""
    cluster.connect_only("n1", "n2")
    win(cluster, "n1")
    cluster.put("x", value, via="n1")
    cluster.take_snapshot("n1")


def has_all_of(cluster: SimulatedCluster, server: str, other: str) -> bool:
    """Return whether a server's state machine is like another one's."""
    return cluster.running[server].store.items == cluster.running[other].store.items


# What a follower does with chunks (Fig. 13)


def begin_nothing(state: State, request: InstallSnapshot) -> None:
    """Create no file for what is coming."""


def forget_where_the_chunk_ends(state: State, request: InstallSnapshot) -> None:
    """Note only whether it was the last one."""
    assert state.incoming is not None
    state.incoming.installing = request.done


def take_each_chunk_for_the_last(self: RequestHandlers, request: InstallSnapshot) -> InstallSnapshotReply:
    """Store the chunk, and install what there is."""
    return _store_chunk(self, replace(request, done=True))


def send_the_last_chunk_first(self: SnapshotTransfer) -> Chunk:
    """Begin with the end of the file."""
    if self._reader is None:
        self._reader = self._storage.open_snapshot()
    offset = max(0, self._reader.size_bytes - self._max_chunk_bytes)
    return Chunk(self._reader.metadata, offset, self._reader.read(offset, self._max_chunk_bytes), True)


def n3_needs_the_snapshot(cluster: SimulatedCluster) -> str:
    """n3 has missed entries that n1 has discarded since; all are connected again."""
    leave_behind(cluster)
    cluster.heal()
    must(cluster, lambda: has_all_of(cluster, "n3", "n1"), "n3 has what n1 has", 0.2)
    return "n3 got the snapshot in some chunks, and has what n1 has."


def wait_for_the_rest_of_the_old_one(state: State, request: InstallSnapshot) -> bool:
    """Begin a snapshot only if there is none that is half here."""
    return request.offset == 0 and state.incoming is None


def a_transfer_ends_midway(cluster: SimulatedCluster) -> str:
    """n1 crashes while n3 has got a part of its snapshot; n2 is elected, and begins to send its own."""
    leave_behind(cluster)
    cluster.run_until(lambda: cluster.state("n2").last_applied == 2, "n2 has applied all")
    cluster.take_snapshot("n2")
    cluster.network.hold("n1", "n3", lambda message: isinstance(message, InstallSnapshot) and message.offset > 0)
    cluster.heal()
    cluster.run_until(lambda: bool(cluster.network.held("n1", "n3")), "n3 has the first chunk")
    cluster.crash("n1")
    win(cluster, "n2")
    must(cluster, lambda: has_all_of(cluster, "n3", "n2"), "n3 has what n2 has", 0.3)
    return "n3 threw away what it had of n1's snapshot, and took n2's."


# What becomes of the log


def disagree_with_every_snapshot(state: State, metadata: SnapshotMetadata) -> bool:
    """Never keep what follows."""
    return False


def a_snapshot_comes_late(cluster: SimulatedCluster) -> str:
    """n3 stores entries 2 and 3, and its answer is lost. n1 has committed 2, and sends n3 a snapshot of that instead.

    n3 does not know yet that entry 2 is committed.
    """
    network = cluster.network
    begin(cluster, "n1")
    network.hold("n1", "n3")
    cluster.run_until(lambda: network.held("n1", "n3"), "a heartbeat for n3 is on its way, and will be lost")
    cluster.run_for(0.07)
    network.hold("n2", "n1")
    network.hold("n1", "n2", lambda message: carries(3, message))
    cluster.propose(kv.put_command("x", "a"), via="n1")
    cluster.propose(kv.put_command("x", "b"), via="n1")
    cluster.run_until(lambda: carries(3, network.held("n1", "n3")[-1]), "n1 gives up the heartbeat, sends n3 2 and 3")
    network.release("n2", "n1", 0)
    network.hold("n3", "n1")
    network.release("n1", "n3", len(network.held("n1", "n3")) - 1)
    cluster.run_until(
        lambda: cluster.state("n3").log.last_index == 3 and cluster.state("n1").last_applied == 2,
        "n3 stores 2 and 3, and n1 commits 2 with n2",
    )
    cluster.take_snapshot("n1")
    cluster.run_for(0.01)
    network.hold("n1", "n3", lambda message: not is_chunk(message))
    cluster.run_until(lambda: cluster.state("n3").log.start.last_included_index == 2, "n3 installs the snapshot")
    if cluster.state("n3").log.last_index < 3:
        raise Lost(PERSISTENCE, "n3 has told n1 that its disk holds entry 3, and does not have it any more")
    return "n3 kept entry 3, which it had acknowledged."


def keep_what_follows_whatever_it_is(state: State, metadata: SnapshotMetadata) -> bool:
    """Put the snapshot before the entries with higher indexes."""
    index = metadata.last_included_index
    kept = [entry for entry in state.log.all_entries() if entry.index > index]
    state.log.discard_all(metadata)
    for entry in kept:
        state.log.append(entry)
    state.commit_index = max(state.commit_index, index)
    return bool(kept)


def leftovers_lie_behind_a_snapshot(cluster: SimulatedCluster) -> str:
    """n1 and n2 have entries 2 and 3 of term 1; n3 n4 n5 commit an entry 2 of term 2; n1 gets a snapshot of that."""
    begin(cluster, "n1")
    cluster.connect_only("n1", "n2")
    cluster.propose(b"lost", via="n1")
    cluster.propose(b"lost", via="n1")
    cluster.run_until(lambda: cluster.state("n2").log.last_index == 3, "n2 has both, and that is no majority")
    cluster.connect_only("n3", "n4", "n5")
    win(cluster, "n3")
    cluster.run_until(lambda: cluster.state("n3").last_applied == 2, "n3 commits an entry 2 of its own")
    cluster.take_snapshot("n3")
    cluster.connect_only("n1", "n3", "n4", "n5")
    cluster.run_until(lambda: cluster.state("n1").log.start.last_included_index == 2, "n1 installs the snapshot")
    cluster.run_for(0.01)
    return "n1 threw its log away, as its entry 2 is another one than the snapshot's."


def leave_the_state_machine_alone(self: Sessions, records: Iterable[bytes]) -> None:
    """Take no notice of the snapshot."""


def a_server_leads_after_it_got_a_snapshot(cluster: SimulatedCluster) -> str:
    """n3 has missed an entry that sets x, and gets it by a snapshot; n3 is elected, and a client reads x there."""
    leave_behind(cluster, "1")
    cluster.heal()
    cluster.run_until(lambda: cluster.state("n3").last_applied == 2, "n3 is up to date")
    win(cluster, "n3")
    value = cluster.read("x", "n3")
    if value != "1":
        raise Lost(LINEARIZABILITY, f"x was set to 1, and then a client read {value}")
    return "n3 took x from the snapshot, and the client read 1."


def chunks_are_no_sign_of_life(reply: Reply, request_term: int) -> bool:
    """Restart the election timer for AppendEntries and votes only."""
    return not isinstance(reply, InstallSnapshotReply) and _restarts_election_timer(reply, request_term)


def a_transfer_takes_long(cluster: SimulatedCluster) -> str:
    """A follower that was down gets a snapshot in so many chunks that it takes longer than an election timeout."""
    leader = cluster.wait_for_leader()
    follower = next(server for server in cluster.servers if server != leader)
    cluster.crash(follower)
    cluster.put("x", "x" * 2500, via=leader)
    cluster.take_snapshot(leader)
    cluster.run_for(0.2)
    restart(cluster, follower)
    must_stay(
        cluster,
        lambda: leads(cluster, leader) or has_all_of(cluster, follower, leader),
        f"{follower} hears from {leader} all the time, and deposes it",
        0.6,
    )
    return f"{follower} waited for the end of the snapshot."


# Taking snapshots (§7)


def cover_what_is_committed(state: State) -> SnapshotMetadata:
    """Say that the snapshot goes up to the commit index."""
    return state.log.position_of(state.commit_index)


def capture_when_it_is_written(self: KeyValueStore) -> Iterator[bytes]:
    """Return records that are made of what the store holds when they are asked for, one by one."""
    for key in list(self.items):
        yield json.dumps([key, self.items.get(key, "")]).encode("ascii")


def a_snapshot_is_taken_amid_commands(cluster: SimulatedCluster) -> str:
    """A client counts to 1 while n1 is asked for a snapshot; n1 crashes and starts again; a client counts to 2."""
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
    cluster.crash("n1")
    cluster.heal()
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
    """n1 and n2 commit an entry; n2 takes a snapshot, and crashes before that is on disk; n1 crashes; n3 stands."""
    cluster.connect_only("n1", "n2")
    win(cluster, "n1")
    cluster.run_until(lambda: cluster.state("n2").last_applied == 1, "n2 has applied the entry")
    cluster.disks["n2"].mood = DiskMood(200 * MILLISECOND, 200 * MILLISECOND)
    ask_for_a_snapshot(cluster, "n2")
    cluster.run_for(0.3)
    cluster.crash("n2", bytes_written=0)
    cluster.crash("n1")
    cluster.disks["n2"].mood = DiskMood()
    restart(cluster, "n2")
    cluster.heal()
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


def follow_whoever_sends(state: State, request: InstallSnapshot) -> InstallSnapshotReply:
    """Answer as to a chunk of the present leader."""
    return _handle_install_snapshot(state, replace(request, term=max(request.term, state.current_term)))


FIGURE_13 = (
    Break(
        "F13.1",
        "A chunk is welcome whatever its leader's term.",
        (Swap("raft_threads.compaction.handle_install_snapshot", follow_whoever_sends),),
        untold="What a snapshot holds is committed, whoever sends it; and the answer has the newer term, at which the "
        "old leader steps down.",
    ),
    Break(
        "F13.2",
        "The first chunk begins nothing.",
        (Swap("raft_threads.compaction.begin_receiving", begin_nothing),),
        LIVENESS,
        Schedule(n3_needs_the_snapshot, settings=SMALL_CHUNKS),
    ),
    Break(
        "F13.3",
        "A follower does not note where in the file the next chunk belongs.",
        (Swap("raft_threads.compaction.record_chunk", forget_where_the_chunk_ends),),
        LIVENESS,
        Schedule(n3_needs_the_snapshot, settings=SMALL_CHUNKS),
    ),
    Break(
        "F13.4",
        "Every chunk is taken for the last one. (That it is none, the checksum at the end of a snapshot tells.)",
        (Swap("raft_threads.request_handlers.RequestHandlers._store_chunk", take_each_chunk_for_the_last),),
        LIVENESS,
        Schedule(n3_needs_the_snapshot, settings=SMALL_CHUNKS),
    ),
    Break(
        "F13.5",
        "A snapshot that is half here is kept until the rest of it comes.",
        (Swap("raft_threads.compaction.begins_a_new_snapshot", wait_for_the_rest_of_the_old_one),),
        LIVENESS,
        Schedule(a_transfer_ends_midway, settings=SMALL_CHUNKS),
    ),
    Break(
        "F13.6",
        "The log goes, although the snapshot agrees with it.",
        (Swap("raft_threads.compaction.has_its_last_entry", disagree_with_every_snapshot),),
        PERSISTENCE,
        Schedule(a_snapshot_comes_late),
    ),
    Break(
        "F13.7",
        "Entries with higher indexes than the snapshot's stay, although the log does not agree with it.",
        (Swap("raft_threads.compaction.install_snapshot", keep_what_follows_whatever_it_is),),
        LOG_MATCHING,
        Schedule(leftovers_lie_behind_a_snapshot, FIVE),
    ),
    Break(
        "F13.8",
        "The state machine stays as it was.",
        (Swap("raft_threads.sessions.Sessions.restore", leave_the_state_machine_alone),),
        LINEARIZABILITY,
        Schedule(a_server_leads_after_it_got_a_snapshot),
    ),
    Break(
        "F13.Leaders.1",
        "A leader begins with the last chunk.",
        (Swap("raft_threads.snapshot_transfer.SnapshotTransfer.next_chunk", send_the_last_chunk_first),),
        LIVENESS,
        Schedule(n3_needs_the_snapshot, settings=SMALL_CHUNKS),
    ),
    Break(
        "F13.Followers.1",
        "Chunks do not restart the election timer.",
        (Swap("raft_threads.election.restarts_election_timer", chunks_are_no_sign_of_life),),
        LIVENESS,
        Schedule(a_transfer_takes_long, settings={"timing": PAPER, "max_chunk_bytes": 10}),
    ),
)

SECTION_7 = (
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
        untold="Nothing is lost before the disk is full; and when to take one is free to choose.",
    ),
    Break(
        "S7.7",
        "What is written is the state as it is by then.",
        (Swap("raft_threads.kv.KeyValueStore.capture", capture_when_it_is_written),),
        STATE_MACHINE_SAFETY,
        Schedule(a_snapshot_is_taken_amid_commands, ("n1", "n2"), seeds=20),
    ),
)
