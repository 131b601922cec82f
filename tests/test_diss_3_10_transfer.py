"""Diss. §3.10: a leader hands over to a server of its choice."""

from __future__ import annotations

from typing import Optional

import pytest
from drawing import THREE, candidate, leader, server
from exchanges import begin_cluster, joint, members, replicate, stand

from raft_threads import election, membership, replication, transfer
from raft_threads.configuration import Configuration
from raft_threads.messages import TimeoutNow, TimeoutNowReply
from raft_threads.state import Role, State

NOW = TimeoutNow(term=3, leader_id="n1")


def handing_over(target: Optional[str] = "n2") -> State:
    """Return the leader n1 of term 3 that hands over to n2, and has two entries more than it."""
    state = leader(1, 3, 3, current_term=3)
    state.match_index.update(n2=1)
    transfer.begin_transfer(state, target)
    return state


# What is refused


@pytest.mark.parametrize(
    "target, reason", [("n1", "is the leader already"), ("n9", "not one of the cluster's servers: n1, n2, n3")]
)
def test_leadership_is_not_handed_over_to_who_cannot_take_it(target: str, reason: str) -> None:
    """Diss. §3.10: and the leader goes on."""
    state = leader(1)
    with pytest.raises(transfer.TransferRefused, match=reason):
        transfer.begin_transfer(state, target)
    assert transfer.takes_commands(state)


@pytest.mark.parametrize("target", ["n2", "n3", None])
def test_leadership_is_not_handed_over_twice(target: Optional[str]) -> None:
    """Diss. §3.10: the first transfer ends before another begins."""
    state = handing_over()
    with pytest.raises(transfer.TransferRefused, match="being handed over to n2"):
        transfer.begin_transfer(state, target)
    assert state.transfer_target == "n2"


def test_a_server_alone_has_nobody_to_hand_over_to() -> None:
    """Diss. §3.10."""
    with pytest.raises(transfer.TransferRefused, match="no other server"):
        transfer.begin_transfer(leader(1, servers=("n1",)), None)


# To whom


def test_a_leader_that_may_choose_takes_who_has_most_of_its_log() -> None:
    """Diss. §3.10: it has the least to wait for."""
    state = leader(1, 1, 1)
    state.match_index.update(n1=3, n2=1, n3=2)
    assert transfer.begin_transfer(state, None) == "n3"
    assert state.transfer_target == "n3"


def test_any_server_of_either_configuration_may_take_over() -> None:
    """§6: in joint consensus; and once C_new is in the log only its servers may, the leader itself in it or not."""
    state = leader(1)
    membership.append_configuration(state, joint(THREE, ("n4",)))
    assert transfer.begin_transfer(state, "n3") == "n3"
    transfer.give_up_transfer(state)
    assert transfer.begin_transfer(state, "n4") == "n4"
    transfer.give_up_transfer(state)
    membership.append_configuration(state, Configuration.of(("n4",)))
    with pytest.raises(transfer.TransferRefused, match="not one of the cluster's servers: n4"):
        transfer.begin_transfer(state, "n3")
    assert transfer.begin_transfer(state, None) == "n4"


# The leader


def test_a_leader_that_hands_over_takes_no_commands() -> None:
    """Diss. §3.10, step 1: the prior leader stops accepting new client requests."""
    assert not transfer.takes_commands(handing_over())
    assert transfer.takes_commands(leader(1))
    assert not transfer.takes_commands(server(1))


def test_the_target_is_told_once_it_has_all_of_the_leaders_log() -> None:
    """Diss. §3.10, steps 2 and 3: what matters is the whole log, committed or not."""
    state = handing_over()
    assert not transfer.timeout_now_is_due(state, "n2")
    replication.record_match(state, "n2", 2)
    assert not transfer.timeout_now_is_due(state, "n2")
    replication.record_match(state, "n2", 3)
    assert transfer.timeout_now_is_due(state, "n2")
    assert transfer.timeout_now_request(state) == NOW


def test_nobody_else_is_told() -> None:
    """Diss. §3.10."""
    state = handing_over()
    replication.record_match(state, "n3", 3)
    assert not transfer.timeout_now_is_due(state, "n3")
    assert not transfer.timeout_now_is_due(server(1), "n2")


def test_the_target_is_told_until_it_answers_and_not_again() -> None:
    """§5.5: a request without an answer is sent again; that it stands twice would cost a term more."""
    state = handing_over()
    replication.record_match(state, "n2", 3)
    transfer.handle_timeout_now_reply(state, "n3", NOW, TimeoutNowReply(3))
    assert transfer.timeout_now_is_due(state, "n2"), "another server's answer"
    transfer.handle_timeout_now_reply(state, "n2", TimeoutNow(2, "n1"), TimeoutNowReply(2))
    assert transfer.timeout_now_is_due(state, "n2"), "an answer of an earlier term"
    transfer.handle_timeout_now_reply(state, "n2", NOW, TimeoutNowReply(3))
    assert not transfer.timeout_now_is_due(state, "n2")


def test_an_answer_with_a_newer_term_deposes_the_leader() -> None:
    """§5.1: the target may have been elected before its answer came."""
    state = handing_over()
    transfer.handle_timeout_now_reply(state, "n2", NOW, TimeoutNowReply(4))
    assert (state.role, state.current_term, state.transfer_target) == (Role.FOLLOWER, 4, None)


def test_a_leader_whose_target_does_not_take_over_goes_on() -> None:
    """Diss. §3.10: after about an election timeout it resumes accepting client requests; and may try again."""
    state = handing_over()
    replication.record_match(state, "n2", 3)
    transfer.handle_timeout_now_reply(state, "n2", NOW, TimeoutNowReply(3))
    transfer.give_up_transfer(state)
    assert transfer.takes_commands(state)
    assert not transfer.timeout_now_is_due(state, "n2")
    transfer.begin_transfer(state, "n2")
    assert transfer.timeout_now_is_due(state, "n2"), "it is told anew"


def test_a_transfer_ends_with_the_leadership() -> None:
    """Diss. §3.10."""
    state = handing_over()
    election.adopt_newer_term(state, 4)
    assert state.transfer_target is None


# The target


def test_the_target_stands_at_once_and_says_so() -> None:
    """Diss. §3.10, step 3: as if its election timer had fired; the others do not disregard its request (§6)."""
    state = server(1, 3, 3, id="n2", current_term=3)
    assert transfer.handle_timeout_now(state, NOW) == TimeoutNowReply(3)
    assert transfer.is_to_stand(state, NOW)
    election.begin_election(state, told_to_stand=True)
    assert not election.disregards(election.vote_request(state), hears_from_leader=True)


def test_a_deposed_leader_makes_nobody_stand() -> None:
    """§5.1: a request of an older term is refused."""
    state = server(1, id="n2", current_term=4)
    assert transfer.handle_timeout_now(state, NOW) == TimeoutNowReply(4)
    assert not transfer.is_to_stand(state, NOW)


def test_the_target_adopts_the_leaders_term_first() -> None:
    """§5.1."""
    state = candidate(1, id="n2", current_term=2)
    assert transfer.handle_timeout_now(state, NOW) == TimeoutNowReply(3)
    assert (state.role, state.current_term, state.voted_for) == (Role.FOLLOWER, 3, None)
    assert transfer.is_to_stand(state, NOW)


def test_who_leads_or_is_in_no_configuration_does_not_stand() -> None:
    """§6."""
    assert not transfer.is_to_stand(leader(1, id="n2", current_term=3), NOW)
    assert not transfer.is_to_stand(State("n2", (), 3), NOW)


# All of it


def test_leadership_goes_over_without_an_election_timeout() -> None:
    """Diss. §3.10: with three servers that hear from each other; nothing that was accepted is lost."""
    cluster = begin_cluster(*THREE)
    assert stand(cluster, "n1", "n2", "n3")
    replicate(cluster, "n1", "n2", "n3")
    replication.append_command(cluster["n1"], b"x")
    transfer.begin_transfer(cluster["n1"], "n3")
    assert not transfer.timeout_now_is_due(cluster["n1"], "n3")
    replicate(cluster, "n1", "n3")
    request = transfer.timeout_now_request(cluster["n1"])
    reply = transfer.handle_timeout_now(cluster["n3"], request)
    transfer.handle_timeout_now_reply(cluster["n1"], "n3", request, reply)
    assert transfer.is_to_stand(cluster["n3"], request)
    assert stand(cluster, "n3", "n1")
    assert (cluster["n1"].role, cluster["n3"].current_term) == (Role.FOLLOWER, 2)
    replicate(cluster, "n3", "n1")
    assert cluster["n3"].commit_index == 3
    assert cluster["n3"].configuration == Configuration(members(*THREE))


def test_a_server_that_is_removed_cannot_take_over() -> None:
    """§6: the leader takes commands again."""
    state = leader(1, current_term=1)
    transfer.begin_transfer(state, "n3")
    membership.append_configuration(state, Configuration.of(["n1", "n2"]))
    assert transfer.takes_commands(state) and not transfer.timeout_now_is_due(state, "n3")
