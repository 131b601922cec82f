"""Fig. 6: logs of entries with terms, indexes and commands, and how far they are committed (§5.3)."""

from __future__ import annotations

from raft_threads import replication
from raft_threads.companion.figures.boxes import draw_commands, row_of
from raft_threads.companion.figures.scene import Figure, Scene, Scenes, Stop
from raft_threads.companion.figures.words import (
    FIVE,
    NO_OP_LEFT_OUT,
    bring_up,
    give,
    know_of_commit,
    without_the_no_op,
)
from raft_threads.simulation.cluster import SimulatedCluster


def play() -> Scenes:
    """Play three terms, in which some followers are cut off for a while; then let the leader reach one of them."""
    with without_the_no_op(), SimulatedCluster(FIVE) as cluster:
        play_terms_1_and_2(cluster)
        play_term_3(cluster)
        yield Scene(
            "The logs of the figure",
            draw(cluster),
            "Entry 7 is on S1, S3 and S5: three of five, so the leader has committed it, and with it all that comes "
            "before. Entry 8 is on two servers only, and is not committed yet. S2 and S4 are behind, and nobody waits "
            "for them.",
            [
                Stop(replication.append_command),
                Stop(replication.advance_commit_index, "index_stored_on_majority(state) == 7"),
            ],
            cluster,
        )
        cluster.connect_only("S1", "S3", "S5")
        know_of_commit(cluster, 8, "S1", "S3", "S5")
        yield Scene(
            "What comes next: the leader reaches S5 again",
            draw(cluster),
            "With S5 a third server has entry 8, and it is committed: from here on, no leader can be elected without "
            "it. Every server applies what is committed to its state machine, in log order.",
            [
                Stop(replication.record_match, "peer == 'S5' and index == 8"),
                Stop(replication.entries_to_apply, "state.commit_index == 8"),
            ],
            cluster,
        )


def play_terms_1_and_2(cluster: SimulatedCluster) -> None:
    """S1 leads term 1, and S4 is cut off after two entries. S3 leads term 2 with one entry."""
    cluster.elect("S1")
    give(cluster, "S1", "x=3", "y=1")
    bring_up(cluster, "S1", "S2", "S3", "S4", "S5")
    cluster.connect_only("S1", "S2", "S3", "S5")
    give(cluster, "S1", "y=9")
    bring_up(cluster, "S1", "S2", "S3", "S5")
    cluster.elect("S3")
    give(cluster, "S3", "x=2")
    bring_up(cluster, "S3", "S1", "S2", "S5")


def play_term_3(cluster: SimulatedCluster) -> None:
    """S1 leads again: its first entry reaches S2, S3 and S5, the next two only S3 and S5, and the last one only S3."""
    cluster.elect("S1")
    give(cluster, "S1", "x=0")
    bring_up(cluster, "S1", "S2", "S3", "S5")
    cluster.connect_only("S1", "S3", "S5")
    give(cluster, "S1", "y=7", "x=5")
    bring_up(cluster, "S1", "S3", "S5")
    know_of_commit(cluster, 7, "S1", "S3", "S5")
    cluster.connect_only("S1", "S3")
    give(cluster, "S1", "x=4")
    bring_up(cluster, "S1", "S3")


def draw(cluster: SimulatedCluster) -> list[str]:
    """Return the figure: the leader's log, the followers', and what the leader knows to be committed."""
    rows = [row_of(cluster, "S1", "S1, the leader")]
    rows += [row_of(cluster, follower, f"{follower}, a follower") for follower in FIVE[1:]]
    return draw_commands(rows, cluster.state("S1").commit_index)


FIGURE = Figure(
    "Logs: entries with terms, indexes and commands",
    "§5.3",
    "five logs, eight entries, of which seven are committed (§5.3)",
    play,
    "§5.3; raft_threads/log.py, and in raft_threads/replication.py what leaders do.",
    NO_OP_LEFT_OUT,
)
