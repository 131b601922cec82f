"""§5.1: terms are a logical clock; the newer one wins, and what is older is refused."""

from __future__ import annotations

import pytest
from drawing import append_entries, candidate, leader, server

from raft_threads import election, replication
from raft_threads.messages import AppendEntriesReply, RequestVote, RequestVoteReply
from raft_threads.state import Role, State


def in_role(role: Role, current_term: int = 3) -> State:
    """Return server n1 in `role` and `current_term`."""
    if role is Role.CANDIDATE:
        return candidate(1, current_term=current_term)
    if role is Role.LEADER:
        return leader(1, current_term=current_term)
    return server(1, current_term=current_term, voted_for="n3")


@pytest.mark.parametrize("role", list(Role))
def test_a_server_in_any_state_adopts_a_newer_term_and_becomes_a_follower(role: Role) -> None:
    """§5.1; Fig. 2, All Servers 2."""
    state = in_role(role)
    election.adopt_newer_term(state, 4)
    assert (state.current_term, state.role, state.voted_for, state.leader_id) == (4, Role.FOLLOWER, None, None)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("term", [2, 3])
def test_a_term_that_is_not_newer_changes_nothing(role: Role, term: int) -> None:
    """§5.1: only a larger term is adopted, and the vote of this term is kept."""
    state = in_role(role)
    vote = state.voted_for
    election.adopt_newer_term(state, term)
    assert (state.current_term, state.role, state.voted_for) == (3, role, vote)


@pytest.mark.parametrize("role", list(Role))
def test_a_newer_term_is_adopted_from_a_vote_request(role: Role) -> None:
    """Fig. 2, All Servers 2: from an RPC request."""
    state = in_role(role)
    reply = election.handle_request_vote(state, RequestVote(4, "n2", 0, 0))
    assert (state.current_term, state.role, reply.term) == (4, Role.FOLLOWER, 4)


@pytest.mark.parametrize("role", list(Role))
def test_a_newer_term_is_adopted_from_append_entries(role: Role) -> None:
    """Fig. 2, All Servers 2: from an RPC request."""
    state = in_role(role)
    reply = replication.handle_append_entries(state, append_entries(term=4, leader_id="n2"))
    assert (state.current_term, state.role, reply.term) == (4, Role.FOLLOWER, 4)


def test_a_candidate_that_learns_of_a_newer_term_from_a_reply_gives_up() -> None:
    """Fig. 2, All Servers 2: from an RPC response."""
    state = in_role(Role.CANDIDATE)
    election.handle_request_vote_reply(state, "n2", election.vote_request(state), RequestVoteReply(5, False))
    assert (state.current_term, state.role) == (5, Role.FOLLOWER)


def test_a_leader_that_learns_of_a_newer_term_from_a_reply_steps_down() -> None:
    """Fig. 2, All Servers 2: from an RPC response."""
    state = in_role(Role.LEADER)
    request = replication.append_entries_request(state, "n2", 10, 1000)
    replication.handle_append_entries_reply(state, "n2", request, AppendEntriesReply(5, False))
    assert (state.current_term, state.role) == (5, Role.FOLLOWER)


def test_a_request_with_a_stale_term_is_rejected_with_the_current_one() -> None:
    """§5.1; Fig. 2, receivers' rule 1 of both RPCs."""
    state = in_role(Role.FOLLOWER)
    assert election.handle_request_vote(state, RequestVote(2, "n3", 9, 2)) == RequestVoteReply(3, False)
    reply = replication.handle_append_entries(state, append_entries(2, term=2, prev=(1, 1)))
    assert reply == AppendEntriesReply(3, False)
    assert (state.log.last_index, state.leader_id, state.voted_for) == (1, None, "n3")


def test_a_request_of_the_current_term_is_not_stale() -> None:
    """§5.1: the same term is as good as ours."""
    state = in_role(Role.FOLLOWER)
    assert election.is_stale(state, 2)
    assert not election.is_stale(state, 3)
    assert not election.is_stale(state, 4)


def test_stepping_down_within_a_term_keeps_the_vote() -> None:
    """§5.2: a candidate that yields to the term's leader has still voted, for itself."""
    state = in_role(Role.CANDIDATE)
    election.become_follower(state)
    assert (state.role, state.voted_for, state.votes) == (Role.FOLLOWER, "n1", {})


def test_a_former_leader_forgets_what_it_knew_of_its_followers() -> None:
    """Fig. 2, State: next_index and match_index are volatile state on leaders."""
    state = in_role(Role.LEADER)
    election.become_follower(state)
    assert (state.next_index, state.match_index) == ({}, {})
