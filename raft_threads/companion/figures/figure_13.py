"""Fig. 13: InstallSnapshot, the arguments as they were sent, and what receivers make of it (§7)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from raft_threads import compaction, election
from raft_threads.companion.figures.boxes import draw_terms, rows_of
from raft_threads.companion.figures.scene import Figure, Scene, Scenes, Stop
from raft_threads.companion.figures.words import bring_up, give, items_text, know_of_commit
from raft_threads.events import MessageSent, ReplyReceived, SnapshotInstalled, SteppedDown
from raft_threads.messages import AppendEntries, InstallSnapshot, InstallSnapshotReply
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.wire import Message

SERVERS = ("S1", "S2", "S3")
CHUNK = 100  # bytes


@contextmanager
def three_servers() -> Iterator[SimulatedCluster]:
    """A cluster that sends snapshots in small chunks."""
    with SimulatedCluster(SERVERS, max_chunk_bytes=CHUNK) as cluster:
        yield cluster


def play() -> Scenes:
    """Play three leaders that send a snapshot to S3, which makes something else of it each time."""
    with three_servers() as cluster:
        yield from play_discard(cluster)
    with three_servers() as cluster:
        yield from play_retain(cluster)
    with three_servers() as cluster:
        yield from play_stale(cluster)


# Rules 2 to 5, 7 and 8


def play_discard(cluster: SimulatedCluster) -> Scenes:
    """S3 was cut off as leader of term 1; S1 has gone on in term 2, and has compacted its log."""
    cluster.elect("S3")
    cluster.wait_until_applied_everywhere()
    cluster.isolate("S3")
    give(cluster, "S3", "x=7", "x=8")
    bring_up(cluster, "S3")
    cluster.elect("S1")
    for key in ("x", "y", "z"):
        cluster.put(key, "9", via="S1")
    cluster.take_snapshot("S1")
    yield Scene(
        "S3 was cut off, and S1 has compacted its log meanwhile",
        draw_terms(rows_of(cluster)),
        "S3 needs entry 2, which S1 does not hold any more. And what S3 has from index 2 on was never committed.",
        [Stop(compaction.discard_what_it_replaces)],
        cluster,
    )
    cluster.heal()
    wait_for_last_reply(cluster)
    yield Scene(
        "S1 sends its snapshot in chunks, and S3 discards its entire log",
        [*draw_chunks(cluster, 0), "", *draw_terms(rows_of(cluster)), "", outcome(cluster)],
        "Each chunk begins where the one before it ended (rules 2 to 4), and is a sign of life of the leader, too. "
        "With the last one the snapshot counts (rule 5): S3's own entries are gone (rule 7), and its state machine is "
        "what the snapshot says (rule 8). bytes_stored is ours: with it a transfer goes on after a lost chunk.",
        [
            Stop(compaction.needs_snapshot, "state.next_index[peer] < state.log.first_index"),
            Stop(compaction.record_chunk),
            Stop(compaction.install_snapshot),
            Stop(compaction.record_reset),
        ],
        cluster,
    )


# Rule 6


def play_retain(cluster: SimulatedCluster) -> Scenes:
    """S3 stores entries 3 and 4 from a late AppendEntries; S1 does not know it, and has compacted entry 3."""
    network = cluster.network
    cluster.elect("S1")
    cluster.put("x", "0", via="S1")
    cluster.wait_until_applied_everywhere()
    commit_one_of_two_entries(cluster)
    cluster.take_snapshot("S1")
    network.hold("S3", "S1")
    network.release("S1", "S3", len(network.held("S1", "S3")) - 1)
    cluster.run_until_log("S3", [1, 1, 1, 1])
    yield Scene(
        "S3 has entries 3 and 4, its answer is late, and S1 has compacted entry 3",
        draw_terms(rows_of(cluster)),
        "S1 takes S3 to lack entry 3, and is about to send its snapshot, of which S3 has every entry.",
        [Stop(compaction.discard_what_it_replaces)],
        cluster,
    )
    mark = cluster.stream.mark()
    network.release("S1", "S3")
    cluster.run_until_event(MessageSent, lambda event: isinstance(event.message, InstallSnapshot))
    network.release("S3", "S1")
    wait_for_last_reply(cluster)
    yield Scene(
        "The snapshot describes a prefix of S3's log, and S3 keeps what follows",
        [*draw_chunks(cluster, mark), "", *draw_terms(rows_of(cluster)), "", outcome(cluster)],
        "S3's entry 3 has the snapshot's last included term, so all before it is in the snapshot, and entry 4 is still "
        "valid (rule 6). S3 has acknowledged it, and others may rely on that: to discard it would be wrong.",
        [Stop(compaction.has_its_last_entry, "state.log.last_index == 4")],
        cluster,
    )


def commit_one_of_two_entries(cluster: SimulatedCluster) -> None:
    """S1 appends entries 3 and 4, and commits 3 with S2; an AppendEntries with both is on its way to S3."""
    network = cluster.network
    network.hold("S1", "S3")
    network.hold("S2", "S1")
    cluster.run_until(lambda: network.held("S1", "S3") and network.held("S2", "S1"), "two heartbeats are under way")
    give(cluster, "S1", "x=1")
    cluster.run_for(0.3)  # so that S1 still waits for S2 when it gives up its heartbeat to S3
    network.release("S2", "S1", 0)
    cluster.run_until(lambda: network.held("S2", "S1"), "S2 has entry 3, and says so")
    give(cluster, "S1", "x=2")
    cluster.run_until(lambda: carries_two_entries(network.held("S1", "S3")[-1]), "S1 sends both entries to S3")
    network.release("S2", "S1", 0)
    know_of_commit(cluster, 3, "S1")


def carries_two_entries(message: Message) -> bool:
    """Say whether a message brings entries 3 and 4."""
    return isinstance(message, AppendEntries) and len(message.entries) == 2


# Rule 1


def play_stale(cluster: SimulatedCluster) -> Scenes:
    """A chunk of S1's is late; when it arrives, S3 has voted for S2 in a newer term."""
    cluster.elect("S1")
    cluster.isolate("S3")
    for key in ("x", "y"):
        cluster.put(key, "9", via="S1")
    cluster.wait_until_applied_everywhere(["S1", "S2"])
    cluster.take_snapshot("S1")
    cluster.network.hold("S1", "S3", lambda message: isinstance(message, InstallSnapshot))
    cluster.heal()
    cluster.run_until(lambda: cluster.network.held("S1", "S3"), "the first chunk is on its way")
    cluster.connect_only("S2", "S3")
    cluster.elect("S2")
    bring_up(cluster, "S2", "S3")
    cluster.connect_only("S1", "S3")
    cluster.network.release("S1", "S3")
    cluster.run_until_event(SteppedDown, lambda event: event.server == "S1")
    yield Scene(
        "A chunk of a leader that has been replaced is refused at once",
        [*draw_chunks(cluster, 0), "", *draw_terms(rows_of(cluster))],
        "The chunk is of term 1, and S3 is in term 2, in which S2 leads (rule 1). From the reply S1 learns of that, "
        "and has become a follower.",
        [
            Stop(election.is_stale, "term < state.current_term"),
            Stop(compaction.handle_install_snapshot_reply, "reply.term > state.current_term"),
        ],
        cluster,
    )


def wait_for_last_reply(cluster: SimulatedCluster) -> None:
    """Wait until S1 knows that S3 has the whole snapshot, and S3's state machine has it, too."""

    def ends_a_transfer(event: ReplyReceived) -> bool:
        return isinstance(event.reply, InstallSnapshotReply) and event.reply.bytes_stored is None

    last = cluster.run_until_event(ReplyReceived, ends_a_transfer).message
    assert isinstance(last, InstallSnapshot)
    know_of_commit(cluster, last.last_included_index, "S3")


# Drawing


def draw_chunks(cluster: SimulatedCluster, mark: int) -> list[str]:
    """Return the box of the figure, with a column for each chunk that S1 has sent to S3 since `mark`, and the reply."""
    replies = {
        event.message: event.reply
        for event in cluster.stream.events(ReplyReceived, "S1", mark)
        if isinstance(event.message, InstallSnapshot) and isinstance(event.reply, InstallSnapshotReply)
    }
    sent = list(replies)
    rows: list[tuple[str, list[object]]] = [
        ("InstallSnapshot RPC", [f"chunk {number}" for number, _ in enumerate(sent, 1)]),
        ("  term", [chunk.term for chunk in sent]),
        ("  leaderId", [chunk.leader_id for chunk in sent]),
        ("  lastIncludedIndex", [chunk.last_included_index for chunk in sent]),
        ("  lastIncludedTerm", [chunk.last_included_term for chunk in sent]),
        ("  offset", [chunk.offset for chunk in sent]),
        ("  data[]", [f"{len(chunk.data)} bytes" for chunk in sent]),
        ("  done", [str(chunk.done).lower() for chunk in sent]),
        ("Results", []),
        ("  term", [reply.term for reply in replies.values()]),
        ("  bytes_stored", [stored_text(reply) for reply in replies.values()]),
    ]
    return [(f"{name:<21}" + "".join(f"{str(value):<12}" for value in values)).rstrip() for name, values in rows]


def stored_text(reply: InstallSnapshotReply) -> str:
    """Return which byte the follower wants next."""
    return "all" if reply.bytes_stored is None else str(reply.bytes_stored)


def outcome(cluster: SimulatedCluster) -> str:
    """Return what S3 has done with its log, and its state machine now."""
    (installed,) = cluster.stream.events(SnapshotInstalled, "S3")
    what = "kept the entries that follow the snapshot" if installed.retained else "discarded its entire log"
    return f"S3 has {what}; its state machine: {items_text(cluster, 'S3')}"


FIGURE = Figure(
    "InstallSnapshot: a snapshot sent in chunks, and what the receiver makes of it",
    "§7",
    "chunks as they were sent; a log discarded, a tail kept, a refusal (§7)",
    play,
    "§7 from Fig. 13 on; raft_threads/compaction.py, raft_threads/request_handlers.py, "
    "raft_threads/snapshot_transfer.py.",
)
