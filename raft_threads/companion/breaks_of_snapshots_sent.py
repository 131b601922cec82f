"""Without the rules of Fig. 13: snapshots that a leader sends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import count

from raft_threads import compaction, election, kv, replication
from raft_threads.companion.breaking import Break, Schedule, Swap
from raft_threads.companion.breaks_of_logs import carries
from raft_threads.companion.breaks_of_membership import FIVE
from raft_threads.companion.directing import PAPER, begin, check_read, is_chunk, leads, must, must_stay, restart, win
from raft_threads.companion.figure_3 import LINEARIZABILITY, LIVENESS, Lost
from raft_threads.log import SnapshotMetadata
from raft_threads.messages import InstallSnapshot, InstallSnapshotReply, Reply
from raft_threads.request_handlers import RequestHandlers
from raft_threads.server_invariants import LOG_MATCHING, PERSISTENCE
from raft_threads.sessions import Sessions
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.snapshot_transfer import Chunk, SnapshotTransfer
from raft_threads.state import State

_restarts_election_timer = election.restarts_election_timer
_store_chunk = RequestHandlers._store_chunk

SMALL_CHUNKS = {"max_chunk_bytes": 100}


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


def take_chunks_of_any_term(state: State, request: InstallSnapshot) -> InstallSnapshotReply:
    """Rules 2 to 8 of the receiver alone."""
    compaction.refuse_the_impossible(state, request)
    election.adopt_newer_term(state, request.term)
    replication.recognize_leader(state, request.leader_id)
    if compaction.is_known_already(state, request):
        return InstallSnapshotReply(state.current_term)
    if compaction.begins_a_new_snapshot(state, request):
        compaction.begin_receiving(state, request)
    return InstallSnapshotReply(state.current_term, compaction.bytes_stored(state, request))


def a_deposed_leader_goes_on_sending(cluster: SimulatedCluster) -> str:
    """n1 is deposed by n2, and does not hear of it. Both send n3 a snapshot, and that takes a while."""
    leave_behind(cluster, "x" * 1200)
    cluster.run_until(lambda: cluster.state("n2").last_applied == 2, "n2 has applied all")
    cluster.take_snapshot("n2")
    cluster.connect_only("n2", "n3")
    win(cluster, "n2")
    cluster.heal()
    cluster.cut_one_way([("n1", "n2"), ("n2", "n1"), ("n3", "n1")])
    must(cluster, lambda: has_all_of(cluster, "n3", "n2"), "n3 has what n2 has", 0.5)
    return "n3 refused what came from n1, and took n2's snapshot."


def begin_nothing(state: State, request: InstallSnapshot) -> None:
    """Create no file for what is coming."""


def want_every_chunk(state: State, request: InstallSnapshot) -> bool:
    """Do not look at the offset."""
    return state.incoming is not None and compaction.is_of(state.incoming, request) and not state.incoming.installing


def store_at_the_end(self: RequestHandlers, request: InstallSnapshot) -> InstallSnapshotReply:
    """Store the chunk behind what has come, wherever it belongs."""
    return _store_chunk(self, replace(request, offset=compaction.bytes_stored(self._state, request)))


def every_other_answer_is_lost(cluster: SimulatedCluster) -> str:
    """n3 has missed entries that n1 has discarded since. Every other answer of n3 is lost; then a chunk comes again."""
    leave_behind(cluster)
    answers = count()
    cluster.network.hold("n3", "n1", lambda message: next(answers) % 2 == 0)
    cluster.heal()
    must(cluster, lambda: has_all_of(cluster, "n3", "n1"), "n3 has what n1 has", 1.0)
    return "n3 knew the chunks that it had already, and has what n1 has."


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
    check_read(cluster.read("x", "n3"), "1")
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
    for server in cluster.running:
        cluster.run_until(lambda: has_all_of(cluster, server, leader), "it is applied")  # noqa: B023
        cluster.take_snapshot(server)
    restart(cluster, follower)
    cluster.run_until(lambda: cluster.state(follower).incoming is not None, "the first chunk has come")
    leader = cluster.wait_for_leader()
    must_stay(
        cluster,
        lambda: leads(cluster, leader) or has_all_of(cluster, follower, leader),
        f"{follower} hears from {leader} all the time, and deposes it",
        0.6,
    )
    return f"{follower} waited for the end of the snapshot."


BREAKS = (
    Break(
        "F13.1",
        "A chunk is welcome whatever its leader's term, and a first one begins a new snapshot.",
        (Swap("raft_threads.compaction.handle_install_snapshot", take_chunks_of_any_term),),
        LIVENESS,
        Schedule(a_deposed_leader_goes_on_sending, settings={"max_chunk_bytes": 10}),
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
        "Chunks are stored in the order in which they come, wherever they belong.",
        (
            Swap("raft_threads.compaction.wants_chunk", want_every_chunk),
            Swap("raft_threads.request_handlers.RequestHandlers._store_chunk", store_at_the_end),
        ),
        LIVENESS,
        Schedule(every_other_answer_is_lost, settings=SMALL_CHUNKS),
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
