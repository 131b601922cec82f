"""Fig. 8: why a leader does not commit an entry of an earlier term by counting (§5.4.2)."""

from __future__ import annotations

from raft_threads import election, replication
from raft_threads.companion.figures.boxes import draw_terms, rows_of
from raft_threads.companion.figures.scene import Figure, Scene, Scenes, Stop
from raft_threads.companion.figures.words import (
    FIVE,
    NO_OP_LEFT_OUT,
    bring_up,
    give,
    stand,
    votes_text,
    without_the_no_op,
)
from raft_threads.simulation.cluster import SimulatedCluster


def play() -> Scenes:
    """Play (a) to (c) and then (d); and once more (a) to (c) and then (e)."""
    with without_the_no_op():
        # An AppendEntries carries one entry, so that an older one can arrive alone.
        with SimulatedCluster(FIVE, max_entries_per_message=1) as cluster:
            yield from play_a_to_c(cluster)
            yield from play_d(cluster)
        with SimulatedCluster(FIVE, max_entries_per_message=1) as cluster:
            for _ in play_a_to_c(cluster):
                pass
            yield from play_e(cluster)


def play_a_to_c(cluster: SimulatedCluster) -> Scenes:
    """Play until the entry of term 2 is on a majority."""
    play_a(cluster)
    yield Scene(
        "(a) S1 leads term 2, and has replicated entry 2 to S2 alone",
        draw_terms(rows_of(cluster)),
        "Entry 1 is committed. Entry 2 is on two of five servers.",
        [Stop(replication.append_new_entries, "entries")],
        cluster,
    )
    play_b(cluster)
    yield Scene(
        "(b) S1 has crashed; S5 leads term 3, and takes another entry 2",
        draw_terms(rows_of(cluster)),
        "S3, S4 and S5 elected it: none of them had heard of S1's entry. S5 reaches nobody with its own.",
        [Stop(election.is_at_least_as_up_to_date, "log.last_index == 1")],
        cluster,
    )
    play_c(cluster)
    yield Scene(
        "(c) S5 has crashed; S1 leads term 4, and goes on replicating",
        draw_terms(rows_of(cluster)),
        "Entry 2 of term 2 is on S1, S2 and S3 now: a majority. But S1 may not take it for committed on that account, "
        "as its term is not 4. Next comes (d) or (e).",
        [Stop(replication.append_new_entries, "entries and log.last_index == 1")],
        cluster,
    )


def play_a(cluster: SimulatedCluster) -> None:
    """S1 is leader and partially replicates the log entry at index 2."""
    cluster.elect("S2")
    give(cluster, "S2", "x=1")
    bring_up(cluster, "S2", *FIVE)
    cluster.wait_until_applied_everywhere()
    cluster.elect("S1")
    cluster.connect_only("S1", "S2")
    give(cluster, "S1", "x=2")
    bring_up(cluster, "S1", "S2")


def play_b(cluster: SimulatedCluster) -> None:
    """S1 crashes; S5 is elected with votes from S3, S4 and itself, and accepts a different entry at index 2."""
    cluster.crash("S1")
    cluster.connect_only("S3", "S4", "S5")
    cluster.elect("S5")
    cluster.isolate("S5")
    give(cluster, "S5", "x=3")
    bring_up(cluster, "S5")


def play_c(cluster: SimulatedCluster) -> None:
    """S5 crashes; S1 restarts, is elected leader, and continues replication; then it takes an entry of term 4."""
    cluster.crash("S5")
    cluster.restart("S1")
    cluster.connect_only("S1", "S2", "S3")
    cluster.elect("S1")
    cluster.connect_only("S1", "S3")
    bring_up(cluster, "S1", "S3")
    cluster.isolate("S1")
    give(cluster, "S1", "x=4")
    bring_up(cluster, "S1")


def play_d(cluster: SimulatedCluster) -> Scenes:
    """S1 crashes; S5 is elected, and its entry replaces that of term 2."""
    cluster.crash("S1")
    cluster.restart("S5")
    cluster.connect_only("S2", "S3", "S4", "S5")
    cluster.elect("S5")
    voters = [server for server in ("S2", "S3", "S4") if cluster.state(server).voted_for == "S5"]
    cluster.restart("S1")
    cluster.heal()
    bring_up(cluster, "S5", "S1", "S2", "S3", "S4")
    yield Scene(
        "(d) S1 has crashed before entry 3 was anywhere else; S5 leads term 5",
        draw_terms(rows_of(cluster)),
        f"It was elected by {', '.join(voters)}: its last entry is of term 3, theirs were of term 2 at most. And entry "
        "2, which was on a majority in (c), is gone from all of them. Had S1 called it committed there, a state "
        "machine might have applied it.",
        [
            Stop(election.is_at_least_as_up_to_date, "log.last_term == 2"),
            Stop(replication.delete_conflicting_entries, "first_conflict(log, entries)"),
        ],
        cluster,
    )


def play_e(cluster: SimulatedCluster) -> Scenes:
    """S1 replicates an entry of its own term on a majority before it crashes."""
    cluster.connect_only("S1", "S2", "S3")
    bring_up(cluster, "S1", "S2", "S3")
    cluster.isolate("S1")
    yield Scene(
        "(e) instead of (d): S1 replicates entry 3, of its own term, on a majority",
        draw_terms(rows_of(cluster)),
        "That entry S1 may count, and with it all that comes before is committed: commit_index is 3.",
        [Stop(replication.advance_commit_index, "index_stored_on_majority(state) == 3")],
        cluster,
    )
    cluster.crash("S1")
    cluster.restart("S5")
    cluster.connect_only("S2", "S3", "S4", "S5")
    for _ in range(2):  # in term 4, S2 and S3 have voted already
        stand(cluster, "S5", "S2", "S3", "S4")
    yield Scene(
        "(e), and then S1 crashes: S5 cannot win an election",
        [*draw_terms(rows_of(cluster)), "", votes_text(cluster, "S5")],
        "S2 and S3 have an entry of term 4, and S5's last one is of term 3, so only S4 votes for it, and so it will be "
        "in any newer term. Entry 2 can never be replaced any more.",
        [Stop(election.grants_vote, "state.log.last_term == request.term - 1")],
        cluster,
    )


FIGURE = Figure(
    "Why a leader does not commit entries of earlier terms by counting",
    "§5.4.2",
    "(a) to (e): an entry on a majority that is not committed (§5.4.2)",
    play,
    "§5.4.2; `advance_commit_index` in raft_threads/replication.py. docs/debugging.md steps through it.",
    NO_OP_LEFT_OUT,
)
