"""Fig. 7, reached by elections, crashes and cut links alone: seven real servers and eight terms (§5.3).

The paper tells how (f) came about; the other logs have such a history as well. Every leader opens its term with a
no-op (§8), which is the first entry of each term below.
"""

from __future__ import annotations

import pytest
from simulated import SimulatedRuns

from raft_threads import kv
from raft_threads.events import ReplyReceived
from raft_threads.messages import AppendEntriesReply
from raft_threads.simulation.cluster import SimulatedCluster

LEADER = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
FOLLOWERS = {
    "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
    "b": [1, 1, 1, 4],
    "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    "e": [1, 1, 1, 4, 4, 4, 4],
    "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}
# How often each refuses before its log is found to match: once if it is too short, once for each term in conflict.
REFUSALS = {"a": 1, "b": 1, "c": 0, "d": 0, "e": 2, "f": 2}


@pytest.fixture(name="cluster")
def cluster_of_the_figure(simulated: SimulatedRuns) -> SimulatedCluster:
    """Return the leader and the followers (a) to (f), with the logs of the figure and before the election of term 8."""
    cluster = simulated(["leader", *FOLLOWERS])
    play_terms_1_to_3(cluster)
    play_term_4(cluster)
    play_terms_5_to_7(cluster)
    assert {server: cluster.terms_of(server) for server in cluster.servers} == {"leader": LEADER, **FOLLOWERS}
    return cluster


def add_entries(cluster: SimulatedCluster, leader: str, count: int, *replicated_to: str) -> None:
    """Have `leader` take so many commands, and bring those servers that it reaches up to them."""
    for _ in range(count):
        cluster.propose(kv.put_command("x", leader), leader)
    for server in (leader, *replicated_to):
        cluster.run_until_log(server, cluster.terms_of(leader))


def play_terms_1_to_3(cluster: SimulatedCluster) -> None:
    """All agree in term 1. Then (f) leads terms 2 and 3, and reaches nobody; in between it crashes."""
    cluster.elect("leader")
    add_entries(cluster, "leader", 2, *FOLLOWERS)
    cluster.elect("f")
    cluster.isolate("f")
    add_entries(cluster, "f", 2)
    cluster.crash("f")
    cluster.heal()
    cluster.restart("f")
    cluster.elect("f")
    cluster.isolate("f")
    add_entries(cluster, "f", 4)
    cluster.crash("f")
    assert cluster.terms_of("f") == FOLLOWERS["f"], cluster.picture()


def play_term_4(cluster: SimulatedCluster) -> None:
    """(e) leads: its first entry reaches all but (f), its second not (b) either, the last two nobody."""
    cluster.connect_only("leader", "a", "b", "c", "d", "e")
    cluster.elect("e")
    add_entries(cluster, "e", 0, "leader", "a", "b", "c", "d")
    cluster.connect_only("leader", "a", "c", "d", "e")
    add_entries(cluster, "e", 1, "leader", "a", "c", "d")
    cluster.isolate("e")
    add_entries(cluster, "e", 2)
    cluster.crash("e")
    assert cluster.terms_of("b") == FOLLOWERS["b"], cluster.picture()
    assert cluster.terms_of("e") == FOLLOWERS["e"], cluster.picture()


def play_terms_5_to_7(cluster: SimulatedCluster) -> None:
    """The leader of term 8 leads term 5 as well; (c) leads term 6, (d) term 7, and neither brings all it has around."""
    cluster.connect_only("leader", "a", "b", "c", "d")
    cluster.elect("leader")
    cluster.connect_only("leader", "a", "c", "d")
    add_entries(cluster, "leader", 1, "a", "c", "d")

    cluster.elect("c")
    add_entries(cluster, "c", 1, "leader", "a", "d")
    cluster.connect_only("leader", "c", "d")
    add_entries(cluster, "c", 1, "leader", "d")
    cluster.isolate("c")
    add_entries(cluster, "c", 1)
    cluster.crash("c")

    cluster.connect_only("leader", "a", "b", "d")
    cluster.elect("d")
    cluster.isolate("d")
    add_entries(cluster, "d", 1)
    cluster.crash("d")


def test_the_leader_of_term_8_brings_all_logs_to_agree(cluster: SimulatedCluster) -> None:
    """§5.3, Fig. 7: it wins with the votes of (a), (b), (e) and (f); the logs of (c) and (d) are better (§5.4.1)."""
    for server in ("c", "d", "e", "f"):
        cluster.restart(server)
    cluster.heal()
    cluster.elect("leader")
    leader = cluster.state("leader")
    assert leader.current_term == 8
    assert set(leader.next_index.values()) == {11}, "the index just after the last one in its log"
    assert leader.log.last_index == 11, "its no-op"
    voted = {server for server in FOLLOWERS if cluster.state(server).voted_for == "leader"}
    assert voted == {"a", "b", "e", "f"}

    cluster.wait_until_applied_everywhere()
    assert [cluster.terms_of(server) for server in cluster.servers] == [[*LEADER, 8]] * 7, cluster.picture()


def test_it_finds_where_a_follower_agrees_with_one_refusal_for_each_term_in_conflict(cluster: SimulatedCluster) -> None:
    """§5.3, last page: one RPC for each conflicting term, rather than one for each entry; then all entries at once."""
    for server in ("c", "d", "e", "f"):
        cluster.restart(server)
    cluster.heal()
    mark = cluster.stream.mark()
    cluster.elect("leader")
    cluster.wait_until_applied_everywhere()
    replies = [
        (event.peer, event.reply)
        for event in cluster.stream.events(ReplyReceived, "leader", mark)
        if isinstance(event.reply, AppendEntriesReply)
    ]
    refusals = [peer for peer, reply in replies if not reply.success]
    assert {follower: refusals.count(follower) for follower in FOLLOWERS} == REFUSALS
