"""§5.2: how an election begins, and the three ways in which it ends."""

from __future__ import annotations

import pytest
from drawing import FIVE, append_entries, candidate, leader, server

from raft_threads import election, replication
from raft_threads.log import COMMAND
from raft_threads.messages import AppendEntriesReply, RequestVote, RequestVoteReply
from raft_threads.state import Role


def asks(candidate_id: str, term: int) -> RequestVote:
    """Return the request of a candidate whose log is as good as any in this file."""
    return RequestVote(term, candidate_id, last_log_index=9, last_log_term=term - 1)


# Beginning an election (Fig. 2, Candidates)


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE])
def test_to_begin_an_election_a_server_increments_its_term_and_votes_for_itself(role: Role) -> None:
    """Fig. 2, Candidates 1 and 4: also when an election ended without a winner."""
    state = server(1, current_term=3, role=role, voted_for="n3")
    state.leader_id = "n3"
    state.votes = {"n1": True, "n2": True}
    election.begin_election(state)
    assert (state.current_term, state.role, state.voted_for) == (4, Role.CANDIDATE, "n1")
    assert state.votes == {"n1": True}
    assert state.leader_id is None


def test_a_candidate_asks_every_other_server_for_its_vote_until_it_has_an_answer() -> None:
    """Fig. 2, Candidates 1: RequestVote to all other servers; §5.1: requests without an answer are sent again."""
    state = candidate(1, 2, servers=FIVE, current_term=3)
    state.votes["n2"] = False
    assert [peer for peer in state.peers if election.awaits_vote_of(state, peer)] == ["n3", "n4", "n5"]
    assert election.vote_request(state) == RequestVote(3, "n1", last_log_index=2, last_log_term=2)


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.LEADER])
def test_only_a_candidate_asks_for_votes(role: Role) -> None:
    """§5.2."""
    assert not election.awaits_vote_of(server(1, role=role), "n2")


# The voter (Fig. 2, RequestVote receiver)


def test_a_server_votes_for_the_first_candidate_that_asks() -> None:
    """§5.2; Fig. 2, RequestVote receiver 2."""
    state = server(1, current_term=2)
    assert election.handle_request_vote(state, asks("n2", 2)) == RequestVoteReply(2, True)
    assert state.voted_for == "n2"


def test_a_server_votes_for_at_most_one_candidate_in_a_term() -> None:
    """§5.2: first come, first served."""
    state = server(1, current_term=2, voted_for="n2")
    assert election.handle_request_vote(state, asks("n3", 2)) == RequestVoteReply(2, False)
    assert state.voted_for == "n2"


def test_a_repeated_request_gets_the_same_vote_again() -> None:
    """Fig. 2, RequestVote receiver 2: or candidateId; §5.5: RPCs are idempotent."""
    state = server(1, current_term=2, voted_for="n2")
    assert election.handle_request_vote(state, asks("n2", 2)).vote_granted


def test_a_vote_is_free_again_in_a_newer_term() -> None:
    """§5.2: one vote in each term."""
    state = server(1, current_term=2, voted_for="n2")
    assert election.handle_request_vote(state, asks("n3", 3)) == RequestVoteReply(3, True)
    assert state.voted_for == "n3"


@pytest.mark.parametrize(
    "state", [candidate(1, current_term=2), leader(1, current_term=2)], ids=["candidate", "leader"]
)
def test_a_candidate_or_leader_denies_its_vote_to_a_rival_of_its_term(state: object) -> None:
    """§5.2: it has voted for itself."""
    assert not election.handle_request_vote(state, asks("n2", 2)).vote_granted  # type: ignore[arg-type]


def test_a_server_remembers_its_vote_across_a_step_down_in_the_same_term() -> None:
    """§5.2: no second vote in a term, whatever happens in it."""
    state = candidate(1, current_term=2)
    replication.handle_append_entries(state, append_entries(term=2, prev=(1, 1), leader_id="n2"))
    assert not election.handle_request_vote(state, asks("n3", 2)).vote_granted


# Winning, losing, neither


@pytest.mark.parametrize(
    "servers, granted, wins",
    [(1, 0, True), (2, 0, False), (2, 1, True), (3, 0, False), (3, 1, True), (4, 1, False), (4, 2, True)]
    + [(5, 1, False), (5, 2, True), (6, 2, False), (6, 3, True)],
)
def test_a_candidate_wins_with_the_votes_of_a_majority_of_the_full_cluster(
    servers: int, granted: int, wins: bool
) -> None:
    """§5.2; Fig. 2, Candidates 2: its own vote is one of them; clusters of one and of even size included."""
    names = tuple(f"n{number}" for number in range(1, servers + 1))
    state = candidate(1, servers=names, current_term=2)
    election.become_leader_if_elected(state)
    for peer in names[1:]:
        reply = RequestVoteReply(2, vote_granted=peer in names[1:granted + 1])
        election.handle_request_vote_reply(state, peer, RequestVote(2, "n1", 1, 1), reply)
    assert (state.role is Role.LEADER) == wins


def test_a_vote_counts_once_however_often_its_reply_arrives() -> None:
    """§5.2: votes from a majority of servers, not a majority of messages."""
    state = candidate(1, servers=FIVE, current_term=2)
    for _ in range(3):
        election.handle_request_vote_reply(state, "n2", election.vote_request(state), RequestVoteReply(2, True))
    assert state.role is Role.CANDIDATE


def test_the_first_answer_of_a_voter_is_what_counts() -> None:
    """§5.2: within a term a voter does not change its mind; another answer is one that was overtaken."""
    state = candidate(1, servers=FIVE, current_term=2)
    for granted in (True, False):
        election.handle_request_vote_reply(state, "n2", election.vote_request(state), RequestVoteReply(2, granted))
    assert state.votes == {"n1": True, "n2": True}


@pytest.mark.parametrize(
    "request_term, reply_term", [(2, 2), (2, 3), (3, 2)], ids=["both old", "request old", "reply old"]
)
def test_a_vote_of_an_earlier_election_does_not_count(request_term: int, reply_term: int) -> None:
    """§5.2: votes for the same term."""
    state = candidate(1, current_term=3)
    reply = RequestVoteReply(reply_term, True)
    election.handle_request_vote_reply(state, "n2", RequestVote(request_term, "n1", 1, 1), reply)
    assert (state.role, state.votes) == (Role.CANDIDATE, {"n1": True})


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.LEADER])
def test_a_vote_that_comes_when_the_election_is_over_changes_nothing(role: Role) -> None:
    """§5.2: and a second majority does not make a leader anew."""
    state = leader(1, current_term=2) if role is Role.LEADER else server(1, current_term=2)
    before = (state.role, state.log.last_index, dict(state.next_index), dict(state.votes))
    election.handle_request_vote_reply(state, "n2", RequestVote(2, "n1", 1, 1), RequestVoteReply(2, True))
    assert (state.role, state.log.last_index, state.next_index, state.votes) == before


def test_a_candidate_that_hears_of_the_terms_leader_becomes_its_follower() -> None:
    """§5.2; Fig. 2, Candidates 3."""
    state = candidate(1, current_term=2)
    assert replication.handle_append_entries(state, append_entries(term=2, prev=(1, 1), leader_id="n3")).success
    assert (state.role, state.leader_id, state.current_term) == (Role.FOLLOWER, "n3", 2)


def test_a_candidate_rejects_a_leader_of_an_older_term_and_goes_on() -> None:
    """§5.2."""
    state = candidate(1, current_term=3)
    assert not replication.handle_append_entries(state, append_entries(term=2, prev=(1, 1), leader_id="n3")).success
    assert (state.role, state.leader_id) == (Role.CANDIDATE, None)


def test_votes_that_are_split_elect_nobody_and_the_next_election_is_of_a_new_term() -> None:
    """§5.2: the third outcome."""
    first = candidate(1, id="n1", servers=("n1", "n2", "n3", "n4"), current_term=2)
    second = candidate(1, id="n2", servers=("n1", "n2", "n3", "n4"), current_term=2)
    for state, voter, denier in ((first, "n3", "n4"), (second, "n4", "n3")):
        request = election.vote_request(state)
        election.handle_request_vote_reply(state, voter, request, RequestVoteReply(2, True))
        election.handle_request_vote_reply(state, denier, request, RequestVoteReply(2, False))
    assert (first.role, second.role) == (Role.CANDIDATE, Role.CANDIDATE)
    election.begin_election(first)
    assert election.vote_request(first).term == 3
    assert election.handle_request_vote(second, election.vote_request(first)).vote_granted


def test_a_new_leader_expects_followers_to_match_and_knows_of_nothing_that_does() -> None:
    """Fig. 2, State: next_index is last log index + 1, match_index is 0."""
    state = candidate(1, 1, 2, current_term=3)
    state.votes["n2"] = True
    election.become_leader_if_elected(state)
    assert state.next_index == {"n2": 4, "n3": 4}
    assert state.match_index == {"n1": 3, "n2": 0, "n3": 0}
    assert (state.leader_id, state.votes) == ("n1", {})


def test_a_new_leader_counts_itself_only_up_to_what_its_own_disk_holds() -> None:
    """Diss. §10.2.1."""
    state = candidate(1, 1, current_term=3)
    state.log.append_new(2, COMMAND, b"not saved yet")
    election.become_leader(state)
    assert state.match_index["n1"] == 2


# The election timer (Fig. 2, Followers 2)


@pytest.mark.parametrize("success", [True, False])
def test_append_entries_from_the_current_leader_restarts_the_election_timer(success: bool) -> None:
    """Fig. 2, Followers 2: even when the entries do not fit the log."""
    assert election.restarts_election_timer(AppendEntriesReply(3, success), request_term=3)


def test_append_entries_from_a_deposed_leader_does_not_restart_the_election_timer() -> None:
    """Fig. 2, Followers 2: current leader."""
    assert not election.restarts_election_timer(AppendEntriesReply(3, False), request_term=2)


def test_granting_a_vote_restarts_the_election_timer_and_denying_it_does_not() -> None:
    """Fig. 2, Followers 2."""
    assert election.restarts_election_timer(RequestVoteReply(3, True), request_term=3)
    assert not election.restarts_election_timer(RequestVoteReply(3, False), request_term=3)
