"""§5.2 on real servers in virtual time: one leader a term, lost and found again, and votes that are split.

In most tests nobody times out but who is told to; where a test says PAPER the timeouts are random, as in the paper.
"""

from __future__ import annotations

import pytest
from simulated import SimulatedRuns

from raft_threads import kv
from raft_threads.events import (
    BecameCandidate,
    BecameLeader,
    LeaderRecognized,
    ReplySent,
    SteppedDown,
    VoteDenied,
    VoteGranted,
)
from raft_threads.messages import AppendEntries, RequestVote, RequestVoteReply
from raft_threads.proposals import OutcomeUnknown
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role
from raft_threads.timing import Timing
from raft_threads.wire import Message

PAPER = Timing(0.150, 0.300, 0.050)


def is_vote_request(message: Message) -> bool:
    """Say whether a message asks for a vote."""
    return isinstance(message, RequestVote)


def roles(cluster: SimulatedCluster) -> dict[str, str]:
    """Return the role of each running server."""
    return {status.id: status.role for status in cluster.statuses()}


def terms(cluster: SimulatedCluster) -> set[int]:
    """Return the terms in which the running servers are."""
    return {status.term for status in cluster.statuses()}


def time_out_together(cluster: SimulatedCluster, *servers: str) -> None:
    """Have the election timeouts of `servers` elapse at the same moment, and let them become candidates."""
    for server in servers:
        cluster.run_until(lambda: cluster.stream.is_up(server), f"{server} is up")  # noqa: B023
    for server in servers:
        cluster.time_out(server)
    for server in servers:
        cluster.run_until(lambda: cluster.state(server).role is Role.CANDIDATE, f"{server} campaigns")  # noqa: B023


# One leader


@pytest.mark.parametrize("servers", [1, 2, 3, 4, 5, 7])
def test_a_cluster_of_any_size_elects_one_leader_and_the_others_follow_it(
    simulated: SimulatedRuns, servers: int
) -> None:
    """§5.2: alone, by two, and by even numbers too."""
    cluster = simulated(servers, timing=PAPER)
    leader = cluster.wait_for_leader()
    cluster.put("x", "1", leader)
    cluster.wait_until_applied_everywhere()
    assert sorted(roles(cluster).values()) == ["follower"] * (servers - 1) + ["leader"]
    assert {status.leader for status in cluster.statuses()} == {leader}
    assert len(terms(cluster)) == 1


@pytest.mark.parametrize("servers, needed", [(2, 2), (3, 2), (4, 3), (5, 3)])
def test_a_majority_of_the_full_cluster_is_needed(simulated: SimulatedRuns, servers: int, needed: int) -> None:
    """§5.2, §5.3: servers that are down count as well, so that a fourth one does not make one more crash harmless."""
    cluster = simulated(servers, timing=PAPER)
    leader = cluster.wait_for_leader()
    others = [server for server in cluster.servers if server != leader]
    for server in others[needed - 1:]:
        cluster.crash(server)
    cluster.put("x", "1", leader)
    cluster.crash(others[0])
    with pytest.raises(OutcomeUnknown):
        cluster.execute(kv.put_command("x", "2"), leader, timeout=2.0)
    cluster.crash(leader)
    cluster.restart(leader)
    cluster.run_for(2.0)
    assert len(cluster.stream.events(BecameLeader)) == 1
    cluster.restart(others[0])
    assert cluster.get("x") in ("1", "2")


def test_heartbeats_prevent_elections() -> None:
    """§5.2, §5.6: with the paper's times, 150 to 300 ms and a heartbeat every 50 ms, one election lasts a minute."""
    with SimulatedCluster(timing=PAPER, remember=False) as cluster:
        cluster.run_for(60.0)
        assert cluster.stream.counts["BecameLeader"] == 1
        assert cluster.stream.counts["BecameCandidate"] == 1
        assert cluster.stream.counts["ReplyReceived"] > 2 * 60 / 0.050 - 10


# Leaders lost and found


def test_when_the_leader_is_lost_the_others_elect_another(simulated: SimulatedRuns) -> None:
    """§5.2, §5.6: within a few election timeouts."""
    cluster = simulated(3, timing=PAPER)
    first = cluster.wait_for_leader()
    cluster.put("x", "1", first)
    term = cluster.state(first).current_term
    began = cluster.now
    cluster.crash(first)
    second = cluster.wait_for_leader()
    assert second != first
    assert cluster.state(second).current_term > term
    assert cluster.now - began < 3 * PAPER.election_timeout_max
    assert cluster.get("x", second) == "1"


@pytest.mark.parametrize("servers", [3, 5])
def test_a_leader_that_was_cut_off_follows_the_new_one_when_it_rejoins(simulated: SimulatedRuns, servers: int) -> None:
    """§5.1, §5.2: for a while both lead, in different terms; then the newer term wins without another election."""
    cluster = simulated(servers)
    cluster.elect("n1")
    cluster.isolate("n1")
    cluster.elect("n2")
    assert roles(cluster)["n1"] == roles(cluster)["n2"] == "leader"
    mark = cluster.stream.mark()
    cluster.heal()
    stepped_down = cluster.run_until_event(SteppedDown, since=mark)
    assert (stepped_down.server, stepped_down.was) == ("n1", Role.LEADER)
    cluster.put("x", "1", "n2")
    cluster.wait_until_applied_everywhere()
    assert cluster.state("n1").leader_id == "n2"
    assert terms(cluster) == {2}


def test_without_a_quorum_nobody_is_elected_and_with_it_somebody_is(simulated: SimulatedRuns) -> None:
    """§5.2: two of three servers are down, and one comes back."""
    cluster = simulated(3, timing=PAPER)
    first = cluster.wait_for_leader()
    last = [server for server in cluster.servers if server != first][-1]
    for server in cluster.servers:
        if server != last:
            cluster.crash(server)
    cluster.run_for(3.0)
    assert roles(cluster)[last] != "leader"
    assert len(cluster.stream.events(BecameLeader)) == 1
    cluster.restart(first)
    cluster.put("x", "1", cluster.wait_for_leader())
    cluster.wait_until_applied_everywhere()


def test_when_all_links_are_cut_and_repaired_one_leader_is_elected(simulated: SimulatedRuns) -> None:
    """§5.2: after many elections that nobody could win."""
    cluster = simulated(3, timing=PAPER)
    old = cluster.wait_for_leader()
    cluster.connect_only()
    cluster.run_for(3.0)
    assert [server for server, role in roles(cluster).items() if role == "leader"] == [old]
    assert max(terms(cluster)) > 5
    cluster.heal()
    cluster.run_until(lambda: len(terms(cluster)) == 1, "all are in one term")
    cluster.put("x", "1", cluster.wait_for_leader())
    cluster.wait_until_applied_everywhere()
    assert sorted(roles(cluster).values()) == ["follower", "follower", "leader"]


def test_whoever_leads_is_cut_off_again_and_again(simulated: SimulatedRuns) -> None:
    """§5.2: each time another is elected, and what was committed before is there."""
    cluster = simulated(3, timing=PAPER)
    last_term = 0
    for turn in range(5):
        leader = cluster.wait_for_leader()
        assert cluster.state(leader).current_term > last_term
        last_term = cluster.state(leader).current_term
        cluster.put(f"x{turn}", "1", leader)
        cluster.isolate(leader)
        others = [server for server in cluster.servers if server != leader]
        cluster.put(f"y{turn}", "1", cluster.wait_for_leader(others))
        cluster.heal()
        cluster.run_until(lambda: cluster.state(leader).role is not Role.LEADER, "it steps down")  # noqa: B023
    cluster.put("x", "1")
    cluster.wait_until_applied_everywhere()
    stores = [cluster.running[server].store.items for server in cluster.servers]
    assert len(stores[0]) == 11 and stores[0] == stores[1] == stores[2]


def test_a_follower_that_returns_with_a_newer_term_costs_an_election_and_no_entry(cluster: SimulatedCluster) -> None:
    """§5.1, §5.2: the leader steps down for it, although its log is too short to win; then one with a good log does."""
    cluster.elect("n1")
    cluster.isolate("n3")
    cluster.put("x", "1", "n1")
    for term in (2, 3, 4):
        cluster.time_out("n3")
        cluster.run_until(lambda: cluster.state("n3").current_term == term, "another election")  # noqa: B023
    mark = cluster.stream.mark()
    cluster.heal()
    disrupted = cluster.run_until_event(SteppedDown, lambda event: event.server == "n1", mark)
    assert (disrupted.was, disrupted.state.term) == (Role.LEADER, 4)
    cluster.run_for(5.0)
    assert "leader" not in roles(cluster).values(), "n1 and n2 deny n3 their votes (§5.4.1)"
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    assert cluster.running["n3"].store.items == {"x": "1"}
    assert terms(cluster) == {5}


# Votes


def test_votes_that_are_split_elect_nobody_and_the_next_timeout_decides(simulated: SimulatedRuns) -> None:
    """§5.2: of four servers two are candidates, and each gets one more vote."""
    cluster = simulated(4)
    cluster.network.hold("n1", "n4", is_vote_request)
    cluster.network.hold("n2", "n3", is_vote_request)
    time_out_together(cluster, "n1", "n2")
    cluster.run_until(lambda: len(cluster.stream.events(VoteGranted)) == 2, "n3 and n4 vote")
    cluster.network.release("n1", "n4")
    cluster.network.release("n2", "n3")
    cluster.run_for(1.0)
    assert cluster.state("n1").votes == {"n1": True, "n2": False, "n3": True, "n4": False}
    assert cluster.state("n2").votes == {"n1": False, "n2": True, "n3": False, "n4": True}
    assert terms(cluster) == {1}
    cluster.time_out("n2")
    cluster.run_until_event(BecameLeader)
    cluster.wait_until_applied_everywhere()
    assert roles(cluster) == {"n1": "follower", "n2": "leader", "n3": "follower", "n4": "follower"}
    assert terms(cluster) == {2}


@pytest.mark.parametrize("servers", [3, 5])
def test_when_all_time_out_together_random_timeouts_spread_them_the_next_time(
    simulated: SimulatedRuns, servers: int
) -> None:
    """§5.2: everybody has voted for itself; then in most cases only one server times out."""
    cluster = simulated(servers, timing=PAPER)
    time_out_together(cluster, *cluster.servers)
    assert [event.state.term for event in cluster.stream.events(BecameCandidate)] == [1] * servers
    cluster.run_until_event(BecameLeader)
    cluster.wait_until_applied_everywhere()
    assert terms(cluster) == {2}


def test_a_candidate_yields_to_the_leader_of_its_term_and_its_vote_stays(simulated: SimulatedRuns) -> None:
    """§5.2; Fig. 2, Candidates 3: it becomes a follower in the same term, and has no other vote to give in it."""
    cluster = simulated(5)
    cluster.network.hold("n5", "n2", is_vote_request)
    for voter in ("n3", "n4"):
        cluster.network.hold("n2", voter, is_vote_request)
        cluster.network.hold("n5", voter, is_vote_request)
    time_out_together(cluster, "n1", "n2", "n5")
    recognized = cluster.run_until_event(LeaderRecognized, lambda event: event.server == "n2")
    assert (recognized.leader, recognized.state.term, recognized.state.role) == ("n1", 1, Role.FOLLOWER)
    cluster.network.release("n5", "n2")
    denied = cluster.run_until_event(VoteDenied, lambda event: (event.server, event.candidate) == ("n2", "n5"))
    assert (denied.state.term, denied.state.voted_for) == (1, "n2")


def test_a_vote_is_free_again_in_a_newer_term(cluster: SimulatedCluster) -> None:
    """§5.2: n2 has voted for itself in term 1, and votes for n3 in term 2."""
    cluster.network.hold("n2", "n3", is_vote_request)
    time_out_together(cluster, "n1", "n2")
    cluster.run_until_event(LeaderRecognized, lambda event: event.server == "n2")
    assert cluster.state("n2").voted_for == "n2"
    cluster.wait_until_applied_everywhere()
    cluster.time_out("n3")
    granted = cluster.run_until_event(VoteGranted, lambda event: event.server == "n2")
    assert (granted.candidate, granted.state.term) == ("n3", 2)


@pytest.mark.parametrize("crashes", [False, True], ids=["stays up", "crashes and restarts"])
def test_nobody_votes_for_two_candidates_of_a_term(cluster: SimulatedCluster, crashes: bool) -> None:
    """§5.2, Fig. 2: n3 has answered n1; voted_for is on its disk, and n2 comes too late, also after a restart."""
    cluster.network.hold("n2", "n3", is_vote_request)
    cluster.network.hold("n3", "n1", lambda message: isinstance(message, RequestVoteReply))
    time_out_together(cluster, "n1", "n2")
    cluster.run_until_event(ReplySent, lambda event: (event.server, event.peer) == ("n3", "n1"))
    if crashes:
        cluster.crash("n3")
        cluster.restart("n3")
        cluster.run_until(lambda: cluster.stream.is_up("n3"), "n3 is up")
    cluster.network.release("n2", "n3")
    denied = cluster.run_until_event(VoteDenied, lambda event: event.server == "n3")
    assert (denied.candidate, denied.state.term, denied.state.voted_for) == ("n2", 1, "n1")
    cluster.network.release("n3", "n1")
    cluster.wait_until_applied_everywhere()
    assert roles(cluster) == {"n1": "leader", "n2": "follower", "n3": "follower"}


def test_a_vote_that_arrives_after_the_next_election_began_does_not_count(cluster: SimulatedCluster) -> None:
    """§5.2: n3 voted for n1 in term 1; in term 2 that is worth nothing."""
    cluster.isolate("n2")
    cluster.network.hold("n3", "n1")
    time_out_together(cluster, "n1")
    cluster.run_until(lambda: cluster.network.held("n3", "n1"), "n3 votes")
    cluster.time_out("n1")
    cluster.run_until(lambda: cluster.state("n1").current_term == 2, "n1 begins another election")
    cluster.cut_one_way([("n1", "n3")])
    assert cluster.network.held("n3", "n1") == [RequestVoteReply(1, True)]
    cluster.network.release("n3", "n1")
    cluster.run_for(5.0)
    assert (cluster.state("n1").role, cluster.state("n1").votes) == (Role.CANDIDATE, {"n1": True})


# Links that are cut in one direction


def test_a_leader_that_nobody_hears_is_replaced_and_steps_down_when_it_hears_of_that(simulated: SimulatedRuns) -> None:
    """§5.1, §5.2: what it sends is lost; that it can still receive is how it learns of the new term."""
    cluster = simulated(3, timing=PAPER)
    old = cluster.wait_for_leader()
    cluster.wait_until_applied_everywhere()
    others = [server for server in cluster.servers if server != old]
    mark = cluster.stream.mark()
    cluster.cut_one_way([(old, other) for other in others])
    stepped_down = cluster.run_until_event(SteppedDown, lambda event: event.server == old, mark)
    assert stepped_down.was is Role.LEADER
    new = cluster.wait_for_leader(others)
    cluster.put("x", "1", new)
    assert cluster.state(new).current_term == cluster.state(old).current_term


def test_a_leader_that_hears_nobody_keeps_its_followers_and_commits_nothing(simulated: SimulatedRuns) -> None:
    """§5.2, §5.3: its heartbeats are heard, so nobody else is elected while replies are lost. Safe, and no more."""
    cluster = simulated(3, timing=PAPER)
    leader = cluster.wait_for_leader()
    cluster.wait_until_applied_everywhere()
    commit_index = cluster.state(leader).commit_index
    cluster.cut_one_way([(other, leader) for other in cluster.servers if other != leader])
    with pytest.raises(OutcomeUnknown):
        cluster.execute(kv.put_command("x", "1"), leader, timeout=2.0)
    assert cluster.state(leader).commit_index == commit_index
    cluster.heal()
    cluster.put("y", "2")
    cluster.wait_until_applied_everywhere()


def test_a_follower_that_is_not_heard_has_all_entries_all_the_same(cluster: SimulatedCluster) -> None:
    """§5.3, §5.5: the leader sends again what it has no answer to; entries do not double, commits come along."""
    cluster.elect("n1")
    cluster.cut_one_way([("n3", "n1")])
    cluster.put("x", "1", "n1")
    cluster.run_until(lambda: cluster.state("n3").log.last_index == 2, "n3 has the entry")
    assert cluster.state("n1").match_index["n3"] < 2
    cluster.heal()
    cluster.wait_until_applied_everywhere()
    assert cluster.terms_of("n3") == [1, 1]


def test_a_candidate_that_cannot_be_heard_does_not_disturb_the_leader(cluster: SimulatedCluster) -> None:
    """§5.2: n3 hears nothing and tells nobody of its elections; until it can be heard its terms are its own."""
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    cluster.cut_one_way([("n3", "n1"), ("n3", "n2")])
    cluster.network.hold("n1", "n3", lambda message: isinstance(message, AppendEntries))
    cluster.time_out("n3")
    cluster.run_for(2.0)
    assert cluster.state("n3").current_term == 2
    assert roles(cluster) == {"n1": "leader", "n2": "follower", "n3": "candidate"}
    cluster.put("x", "1", "n1")
