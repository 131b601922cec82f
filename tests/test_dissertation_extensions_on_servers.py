"""What the dissertation adds, on real servers in virtual time: with and without it (Diss. §3.10, §6.2, §9.6)."""

from __future__ import annotations

import pytest
from simulated import SimulatedRuns

from raft_threads.events import BecameLeader, ElectionTimedOut, LostContact, PreVoteBegan, SteppedDown, TransferGivenUp
from raft_threads.options import Options
from raft_threads.proposals import CommandFailed, NotLeader
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role
from raft_threads.timing import Timing

PAPER = Timing(0.150, 0.300, 0.050)


# Leadership transfer (Diss. §3.10)


def test_leadership_is_handed_over_to_the_server_that_was_named(cluster: SimulatedCluster) -> None:
    """Diss. §3.10: within a moment, although the others hear from a leader."""
    cluster.elect("n1")
    cluster.put("x", "1")
    began = cluster.now
    assert cluster.transfer("n3") == "n3"
    cluster.run_until(lambda: cluster.state("n3").role is Role.LEADER, "n3 leads")
    assert cluster.now - began < 0.05
    assert cluster.read("x", "n3") == "1"


def test_without_a_name_it_goes_to_the_follower_with_most_of_the_log(cluster: SimulatedCluster) -> None:
    """Diss. §3.10: the one that has to wait least."""
    cluster.elect("n1")
    cluster.isolate("n2")
    cluster.put("x", "1")
    assert cluster.transfer() == "n3"


def test_the_target_gets_the_rest_of_the_log_first(simulated: SimulatedRuns) -> None:
    """Diss. §3.10: else it could not be elected (§5.4.1)."""
    cluster = simulated(3, timing=Timing(5.0, 10.0, 0.05), max_entries_per_message=1)
    cluster.elect("n1")
    cluster.isolate("n3")
    for number in range(10):
        cluster.put("x", str(number))
    cluster.heal()
    cluster.transfer("n3")
    cluster.run_until(lambda: cluster.state("n3").role is Role.LEADER, "n3 leads")
    assert cluster.read("x", "n3") == "9"


def test_a_target_that_does_not_answer_leaves_the_leader_as_it_is(simulated: SimulatedRuns) -> None:
    """Diss. §3.10: after an election timeout it takes commands again."""
    cluster = simulated(3, timing=PAPER)
    leader = cluster.wait_for_leader()
    target = next(server for server in cluster.servers if server != leader)
    cluster.put("x", "1")
    cluster.crash(target)
    with pytest.raises(CommandFailed, match="did not take over in time; this server goes on as leader"):
        cluster.transfer(target)
    assert cluster.stream.events(TransferGivenUp, leader)
    cluster.put("x", "2", via=leader)


def test_no_commands_are_taken_during_a_transfer(simulated: SimulatedRuns) -> None:
    """Diss. §3.10: or the target could never catch up."""
    cluster = simulated(3, timing=Timing(5.0, 10.0, 0.05))
    cluster.elect("n1")
    cluster.put("x", "1")
    cluster.isolate("n3")
    cluster.scheduler.spawn("operator", lambda: cluster_transfer(cluster, "n3"))
    cluster.run_until(lambda: cluster.state("n1").transfer_target == "n3", "the transfer has begun")
    with pytest.raises(NotLeader) as refusal:
        cluster.put("x", "2", via="n1")
    assert refusal.value.leader_id == "n3"


def cluster_transfer(cluster: SimulatedCluster, target: str) -> None:
    """Hand over, whether it succeeds or not."""
    try:
        cluster.node("n1").transfer_leadership(target, 60)
    except CommandFailed:
        pass


@pytest.mark.parametrize(
    "target, complaint", [("n1", "is the leader already"), ("n9", "not one of the cluster's servers")]
)
def test_a_transfer_that_makes_no_sense_is_refused(cluster: SimulatedCluster, target: str, complaint: str) -> None:
    """Diss. §3.10."""
    cluster.elect("n1")
    with pytest.raises(CommandFailed, match=complaint):
        cluster.transfer(target)
    cluster.put("x", "1", via="n1")


def test_who_was_told_to_stand_does_not_once_there_is_a_newer_leader(cluster: SimulatedCluster) -> None:
    """Diss. §3.10: the leader that wanted it leads no more; and who has become leader so stands only once."""
    cluster.elect("n1")
    cluster.put("x", "1")
    cluster.transfer("n2")
    cluster.run_until(lambda: cluster.state("n2").role is Role.LEADER, "n2 leads")
    cluster.transfer("n3")
    cluster.run_until(lambda: cluster.state("n3").role is Role.LEADER, "n3 leads")
    term = cluster.state("n3").current_term
    cluster.run_for(5)
    assert cluster.state("n3").current_term == term and not cluster.node("n2")._monitor.stand_at_once


# Pre-Vote (Diss. §9.6)


def come_back_after_a_while(cluster: SimulatedCluster) -> tuple[str, int]:
    """Cut off a follower for long, and let it come back; return the leader there was, and its term."""
    leader = cluster.wait_for_leader()
    cluster.put("x", "1")
    cut_off = next(server for server in cluster.servers if server != leader)
    term = cluster.state(leader).current_term
    cluster.isolate(cut_off)
    cluster.run_for(5)
    assert len(cluster.stream.events(ElectionTimedOut, cut_off)) > 5
    cluster.heal()
    cluster.run_for(2)
    return leader, term


def test_without_pre_vote_a_server_that_comes_back_deposes_the_leader(simulated: SimulatedRuns) -> None:
    """Diss. §9.6: its term has grown meanwhile; the leader hears of it in an answer, and steps down (§5.1)."""
    cluster = simulated(3, timing=PAPER)
    leader, term = come_back_after_a_while(cluster)
    assert cluster.stream.events(SteppedDown, leader)
    assert cluster.state(cluster.wait_for_leader()).current_term > term + 3


def test_with_pre_vote_nothing_happens_when_it_comes_back(simulated: SimulatedRuns) -> None:
    """Diss. §9.6: its term has not grown, as nobody would have voted for it."""
    cluster = simulated(3, timing=PAPER, options=Options(pre_vote=True))
    leader, term = come_back_after_a_while(cluster)
    assert cluster.stream.events(PreVoteBegan)
    assert cluster.stream.events(SteppedDown) == [] and len(cluster.stream.events(BecameLeader)) == 1
    assert cluster.state(leader).current_term == term and cluster.state(leader).role is Role.LEADER


def test_with_pre_vote_a_crashed_leader_is_replaced_all_the_same(simulated: SimulatedRuns) -> None:
    """Diss. §9.6: a majority hears from no leader then."""
    cluster = simulated(5, timing=PAPER, options=Options(pre_vote=True))
    for _ in range(2):
        leader = cluster.wait_for_leader()
        cluster.put("x", leader)
        cluster.crash(leader)
        cluster.run_until(lambda: cluster.wait_for_leader() != leader, "another one leads")  # noqa: B023
    assert cluster.read("x") is not None


# Without a majority (Diss. §6.2)


def cut_off_the_leader(cluster: SimulatedCluster) -> str:
    """Isolate the leader for some election timeouts; return it."""
    leader = cluster.wait_for_leader()
    cluster.put("x", "1")
    cluster.isolate(leader)
    cluster.run_for(2)
    return leader


def test_a_leader_without_a_majority_goes_on_believing_that_it_leads(simulated: SimulatedRuns) -> None:
    """Diss. §6.2: its clients wait in vain."""
    cluster = simulated(3, timing=PAPER)
    assert cluster.state(cut_off_the_leader(cluster)).role is Role.LEADER


def test_with_check_quorum_it_steps_down_after_an_election_timeout(simulated: SimulatedRuns) -> None:
    """Diss. §6.2: its clients look for another one."""
    cluster = simulated(3, timing=PAPER, options=Options(check_quorum=True))
    leader = cut_off_the_leader(cluster)
    assert cluster.state(leader).role is not Role.LEADER
    lost = cluster.stream.events(LostContact, leader)
    assert len(lost) == 1
    with pytest.raises(NotLeader):
        cluster.put("x", "2", via=leader)


def test_with_check_quorum_a_leader_that_is_heard_goes_on(simulated: SimulatedRuns) -> None:
    """Diss. §6.2: also when a minority is down."""
    cluster = simulated(5, timing=PAPER, options=Options(check_quorum=True))
    leader = cluster.wait_for_leader()
    for server in [server for server in cluster.servers if server != leader][:2]:
        cluster.crash(server)
    cluster.run_for(5)
    assert cluster.state(leader).role is Role.LEADER and cluster.stream.events(LostContact) == []
