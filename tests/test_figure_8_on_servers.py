"""Fig. 8 on five real servers in virtual time: why an older term's entry is not committed by counting (§5.4.2).

Set a breakpoint anywhere below: all servers, and their clock, stand still. `cluster.show()` draws the logs and tells
what each thread does. The entries are the no-ops with which leaders open their terms (§8), so that nobody needs a
client; the row of a server that is down is what its disk holds.
"""

from __future__ import annotations

import pytest
from simulated import SimulatedRuns

from raft_threads.events import EntriesDeleted
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role

SERVERS = ("S1", "S2", "S3", "S4", "S5")


@pytest.fixture(name="cluster")
def cluster_of_the_figure(simulated: SimulatedRuns) -> SimulatedCluster:
    """Return the figure's servers. An AppendEntries carries one entry, so that an older one can arrive alone."""
    return simulated(SERVERS, max_entries_per_message=1)


def logs(cluster: SimulatedCluster) -> list[list[int]]:
    """Return the rows of the figure, S1 first."""
    return [cluster.terms_of(server) for server in SERVERS]


def play_a(cluster: SimulatedCluster) -> None:
    """S1 is leader and partially replicates the log entry at index 2."""
    cluster.elect("S2")
    cluster.wait_until_applied_everywhere()
    assert logs(cluster) == [[1], [1], [1], [1], [1]]

    cluster.elect("S1")
    cluster.connect_only("S1", "S2")
    cluster.run_until_log("S2", [1, 2])

    assert cluster.state("S1").current_term == 2
    assert logs(cluster) == [[1, 2], [1, 2], [1], [1], [1]], cluster.picture()


def play_b(cluster: SimulatedCluster) -> None:
    """S1 crashes; S5 is elected for term 3 with votes from S3, S4 and itself, and accepts another entry at index 2."""
    cluster.crash("S1")
    cluster.connect_only("S3", "S4", "S5")
    cluster.elect("S5")
    cluster.isolate("S5")
    cluster.run_until_log("S5", [1, 3])

    assert cluster.state("S5").current_term == 3
    assert cluster.state("S3").voted_for == cluster.state("S4").voted_for == "S5"
    assert logs(cluster) == [[1, 2], [1, 2], [1], [1], [1, 3]], cluster.picture()


def play_c(cluster: SimulatedCluster) -> None:
    """S5 crashes; S1 restarts, is elected leader, and continues replication: entry 2 is on a majority now."""
    cluster.crash("S5")
    cluster.restart("S1")
    cluster.connect_only("S1", "S2", "S3")
    cluster.elect("S1")
    cluster.connect_only("S1", "S3")
    cluster.run_until(lambda: cluster.state("S1").match_index["S3"] == 2, "S1 learns that S3 has entry 2")
    cluster.isolate("S1")
    cluster.run_until_log("S1", [1, 2, 4])

    assert cluster.state("S1").current_term == 4
    assert logs(cluster) == [[1, 2, 4], [1, 2], [1, 2], [1], [1, 3]], cluster.picture()


def test_in_d_s5_overwrites_the_entry_of_term_2_which_was_on_a_majority(cluster: SimulatedCluster) -> None:
    """Fig. 8 (a)-(d): if S1 crashes, S5 can be elected with votes from S2, S3 and S4. Nothing committed is lost."""
    play_a(cluster)
    play_b(cluster)
    play_c(cluster)

    cluster.crash("S1")
    cluster.restart("S5")
    cluster.connect_only("S2", "S3", "S4", "S5")
    cluster.elect("S5")
    assert cluster.state("S5").current_term == 5
    assert [cluster.state(server).voted_for for server in ("S2", "S3", "S4")] == ["S5"] * 3

    cluster.restart("S1")
    for server in ("S1", "S2", "S3", "S4"):
        cluster.connect_only("S5", server)
        cluster.run_until_log(server, [1, 3])
    # S5 has opened its term with a no-op, which the figure leaves out.
    cluster.isolate("S5")
    assert logs(cluster) == [[1, 3], [1, 3], [1, 3], [1, 3], [1, 3, 5]], cluster.picture()

    cluster.heal()
    cluster.wait_until_applied_everywhere()
    assert logs(cluster) == [[1, 3, 5]] * 5, cluster.picture()


def test_in_e_the_entry_of_term_2_is_committed_by_one_of_term_4_and_s5_cannot_win(cluster: SimulatedCluster) -> None:
    """Fig. 8 (a)-(c), (e): S1 replicates an entry of its current term on a majority; all before it are committed."""
    play_a(cluster)
    play_b(cluster)
    play_c(cluster)

    cluster.connect_only("S1", "S2", "S3")
    cluster.run_until(lambda: cluster.state("S1").commit_index == 3, "S1 commits its entry of term 4")
    cluster.isolate("S1")
    assert logs(cluster) == [[1, 2, 4], [1, 2, 4], [1, 2, 4], [1], [1, 3]], cluster.picture()

    cluster.crash("S1")
    cluster.restart("S5")
    cluster.connect_only("S2", "S3", "S4", "S5")
    with pytest.raises(TimeoutError, match="S5 was not elected"):
        cluster.elect("S5")

    assert cluster.state("S5").votes == {"S2": False, "S3": False, "S4": True, "S5": True}
    cluster.heal()
    cluster.restart("S1")
    cluster.elect("S2")
    cluster.wait_until_applied_everywhere()
    assert [row[:3] for row in logs(cluster)] == [[1, 2, 4]] * 5, cluster.picture()


def test_a_leader_that_counts_an_older_terms_entry_on_a_majority_does_not_commit_it(cluster: SimulatedCluster) -> None:
    """§5.4.2: as (c), but S1 itself has heard of three servers with entry 2, and may not say more than that.

    In the figure S2 is the third, of which S1 cannot have heard since it restarted; so here it is S4.
    """
    play_a(cluster)
    play_b(cluster)
    play_c(cluster)

    cluster.connect_only("S1", "S4")
    cluster.run_until(lambda: cluster.state("S1").match_index["S4"] == 2, "S1 learns that S4 has entry 2")
    cluster.isolate("S1")
    cluster.run_for(1.0)
    assert logs(cluster) == [[1, 2, 4], [1, 2], [1, 2], [1, 2], [1, 3]], cluster.picture()
    assert cluster.state("S1").match_index == {"S1": 3, "S2": 0, "S3": 2, "S4": 2, "S5": 0}
    assert cluster.state("S1").role is Role.LEADER
    assert cluster.state("S1").commit_index == 0, "since it restarted it has not heard of any commit"

    cluster.restart("S5")
    cluster.connect_only("S2", "S3", "S4", "S5")
    cluster.elect("S5")
    cluster.wait_until_applied_everywhere(["S2", "S3", "S4", "S5"])
    assert len(cluster.stream.events(EntriesDeleted)) == 3, "entry 2 of S2, S3 and S4"
    assert logs(cluster)[1:] == [[1, 3, 5]] * 4, cluster.picture()
