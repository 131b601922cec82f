"""§5.4.1: a candidate wins only if its log is at least as up-to-date as those of a majority."""

from __future__ import annotations

import pytest
from drawing import log_of, server

from raft_threads import election
from raft_threads.messages import RequestVote


@pytest.mark.parametrize(
    "candidates_log, voters_log, is_up_to_date",
    [
        ((1, 1, 2), (1, 1, 1), True),
        ((2,), (1, 1, 1, 1), True),
        ((1, 1, 1, 1), (2,), False),
        ((1, 1), (1, 2), False),
        ((1, 1, 1), (1, 1), True),
        ((1, 1), (1, 1, 1), False),
        ((1, 2), (1, 2), True),
        ((), (), True),
        ((1,), (), True),
        ((), (1,), False),
    ],
)
def test_the_later_last_term_wins_and_then_the_longer_log(
    candidates_log: tuple[int, ...], voters_log: tuple[int, ...], is_up_to_date: bool
) -> None:
    """§5.4.1: what is more up-to-date."""
    candidates = log_of(*candidates_log)
    voters = log_of(*voters_log)
    assert election.is_at_least_as_up_to_date(voters, candidates.last_index, candidates.last_term) == is_up_to_date


def test_a_voter_denies_its_vote_to_a_candidate_with_an_older_log() -> None:
    """§5.4.1; Fig. 2, RequestVote receiver 2. The vote stays free, and the newer term is adopted all the same."""
    state = server(1, 2, current_term=2)
    reply = election.handle_request_vote(state, RequestVote(3, "n2", last_log_index=5, last_log_term=1))
    assert not reply.vote_granted
    assert (state.current_term, state.voted_for) == (3, None)


def test_a_voter_grants_its_vote_to_a_candidate_whose_log_is_just_as_good() -> None:
    """§5.4.1: at least as up-to-date."""
    state = server(1, 2, current_term=2)
    assert election.handle_request_vote(state, RequestVote(3, "n2", last_log_index=2, last_log_term=2)).vote_granted


def test_a_vote_request_carries_the_candidates_last_entry() -> None:
    """§5.4.1: RequestVote tells of the candidate's log."""
    state = server(1, 1, 4, current_term=4)
    election.begin_election(state)
    assert election.vote_request(state) == RequestVote(5, "n1", last_log_index=3, last_log_term=4)
