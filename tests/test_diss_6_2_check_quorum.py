"""Diss. §6.2: a leader steps down when no majority answers it; and whose heartbeats keep it from voting (§6)."""

from __future__ import annotations

from drawing import FIVE, THREE, candidate, leader, server
from exchanges import joint

from raft_threads import check_quorum, election, membership, replication
from raft_threads.configuration import Configuration
from raft_threads.messages import AppendEntriesReply
from raft_threads.state import Role


def test_a_leader_has_last_heard_from_a_majority_when_the_last_of_that_majority_answered() -> None:
    """Diss. §6.2: the leader is one of them, and heard now."""
    state = leader(1, servers=FIVE)
    answered_at = {"n2": 5.0, "n3": 7.0, "n4": 9.0, "n5": 1.0}
    assert check_quorum.last_contact_with_majority(state, answered_at, now=10.0) == 7.0


def test_a_server_that_has_never_answered_counts_as_silent() -> None:
    """Diss. §6.2."""
    state = leader(1, servers=FIVE)
    assert check_quorum.last_contact_with_majority(state, {"n2": 5.0}, now=10.0) == float("-inf")
    assert check_quorum.last_contact_with_majority(state, {"n2": 5.0, "n5": 6.0}, now=10.0) == 5.0


def test_a_leader_alone_needs_nobody() -> None:
    """Diss. §6.2: a majority of one."""
    state = leader(1, servers=("n1",))
    assert check_quorum.last_contact_with_majority(state, {}, now=10.0) == 10.0
    assert check_quorum.hears_from_majority(state, {}, since=9.0)


def test_an_answer_counts_from_the_moment_that_is_asked_about() -> None:
    """§6: within the minimum election timeout."""
    state = leader(1)
    assert check_quorum.hears_from_majority(state, {"n2": 9.0, "n3": 1.0}, since=9.0)
    assert not check_quorum.hears_from_majority(state, {"n2": 8.9, "n3": 1.0}, since=9.0)


def test_half_of_an_even_cluster_is_no_majority() -> None:
    """Diss. §6.2."""
    state = leader(1, servers=FIVE[:4])
    assert not check_quorum.hears_from_majority(state, {"n2": 9.0}, since=5.0)
    assert check_quorum.hears_from_majority(state, {"n2": 9.0, "n4": 9.0}, since=5.0)


def test_in_joint_consensus_a_leader_needs_answers_of_both_majorities() -> None:
    """§6: without one of them it commits nothing."""
    state = leader(1)
    membership.append_configuration(state, joint(THREE, ("n1", "n4", "n5")))
    answered_at = {"n2": 9.0, "n3": 9.0, "n4": 3.0, "n5": 2.0}
    assert check_quorum.last_contact_with_majority(state, answered_at, now=10.0) == 3.0
    assert not check_quorum.hears_from_majority(state, answered_at, since=5.0)
    assert check_quorum.hears_from_majority(state, {**answered_at, "n5": 9.0}, since=5.0)


def test_a_leader_that_is_being_removed_does_not_count_itself() -> None:
    """§6."""
    state = leader(1)
    membership.append_configuration(state, Configuration.of(("n2", "n3")))
    assert check_quorum.last_contact_with_majority(state, {"n2": 9.0, "n3": 4.0}, now=10.0) == 4.0
    assert not check_quorum.hears_from_majority(state, {"n2": 9.0, "n3": 4.0}, since=5.0)


def test_a_leader_steps_down_within_its_term_and_names_no_leader() -> None:
    """Diss. §6.2: so that clients look for another; its vote of this term stays its own (§5.2)."""
    state = leader(1, current_term=3)
    check_quorum.step_down_without_majority(state)
    assert (state.role, state.leader_id) == (Role.FOLLOWER, None)
    assert (state.current_term, state.voted_for) == (3, "n1")
    assert state.is_saved()


def test_a_leader_that_has_stepped_down_counts_no_late_answers_and_can_be_elected_again() -> None:
    """Diss. §6.2: what it has appended stays in its log, and may yet be committed."""
    state = leader(1, 1, current_term=1)
    request = replication.append_entries_request(state, "n2", 9, 9_999)
    check_quorum.step_down_without_majority(state)
    replication.handle_append_entries_reply(state, "n2", request, AppendEntriesReply(1, True))
    assert (state.match_index, state.commit_index, state.log.last_index) == ({}, 0, 2)
    assert election.may_stand(state)


def test_nobody_else_steps_down() -> None:
    """Diss. §6.2: a follower keeps the leader that it knows of."""
    follower = server(1)
    follower.leader_id = "n2"
    check_quorum.step_down_without_majority(follower)
    assert follower.leader_id == "n2"
    state = candidate(1, current_term=2)
    check_quorum.step_down_without_majority(state)
    assert (state.role, state.votes) == (Role.CANDIDATE, {"n1": True})
