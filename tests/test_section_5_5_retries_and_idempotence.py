"""§5.5: requests are sent again for ever, so every request and reply may come late, or twice, and do no harm."""

from __future__ import annotations

import copy

import pytest
from drawing import append_entries, candidate, leader, server, terms_of

from raft_threads import election, replication
from raft_threads.messages import AppendEntriesReply, RequestVote, RequestVoteReply
from raft_threads.state import Role, State


def test_append_entries_handled_twice_is_as_handled_once() -> None:
    """§5.5: entries already present are ignored."""
    state = server(1, 2, 2, current_term=3)
    request = append_entries(3, 3, term=3, prev=(1, 1), leader_commit=2)
    first = replication.handle_append_entries(state, request)
    once = copy.deepcopy(vars(state) | {"log": terms_of(state.log)})
    assert replication.handle_append_entries(state, request) == first
    assert vars(state) | {"log": terms_of(state.log)} == once


def test_a_vote_request_handled_twice_is_as_handled_once() -> None:
    """§5.5: as when the first reply was lost with a crash."""
    state = server(1, current_term=1)
    request = RequestVote(2, "n2", 1, 1)
    first = election.handle_request_vote(state, request)
    restarted = server(1, current_term=state.current_term, voted_for=state.voted_for)
    assert election.handle_request_vote(restarted, request) == first == RequestVoteReply(2, True)


def leader_again() -> State:
    """Return a server that led term 1 and leads term 3, with three entries that nobody else is known to have."""
    return leader(1, 1, 3, current_term=3)


@pytest.mark.parametrize(
    "request_term, reply_term",
    [(1, 1), (1, 3), (2, 2), (3, 1)],
    ids=["we led then", "reply now", "not our term", "reply of a follower that lags"],
)
@pytest.mark.parametrize("success", [True, False])
def test_a_reply_of_another_term_neither_matches_nor_commits_nor_backs_up(
    request_term: int, reply_term: int, success: bool
) -> None:
    """§5.1, §5.3: what a follower said of a log that we had in another term says nothing of this one."""
    state = leader_again()
    request = append_entries(1, 1, 1, term=request_term)
    replication.handle_append_entries_reply(state, "n2", request, AppendEntriesReply(reply_term, success, None, 1))
    assert (state.match_index["n2"], state.next_index["n2"], state.commit_index) == (0, 4, 0)
    assert state.role is Role.LEADER


def test_a_late_or_repeated_success_never_moves_match_index_backwards() -> None:
    """Fig. 2, State: match_index increases monotonically."""
    state = leader(1, 1, 1, current_term=1)
    late = append_entries(1, term=1)
    for request in (append_entries(1, 1, 1, term=1), late, late):
        replication.handle_append_entries_reply(state, "n2", request, AppendEntriesReply(1, True))
        assert (state.match_index["n2"], state.next_index["n2"]) == (3, 4)


@pytest.mark.parametrize(
    "state", [server(1, current_term=2), candidate(1, current_term=2)], ids=["follower", "candidate"]
)
@pytest.mark.parametrize("reply", [AppendEntriesReply(2, True), AppendEntriesReply(2, False, None, 1)])
def test_a_reply_to_a_leader_that_stepped_down_is_ignored(state: State, reply: AppendEntriesReply) -> None:
    """§5.1: it may arrive when we lead no more, and must not even raise."""
    before = (state.role, state.current_term, state.commit_index)
    replication.handle_append_entries_reply(state, "n2", append_entries(1, term=2), reply)
    assert (state.role, state.current_term, state.commit_index) == before


def test_a_reply_that_is_answered_after_a_restart_counts_for_the_log_it_was_about() -> None:
    """§5.5: the follower took the entries, crashed, and is asked again."""
    leading = leader(1, 1, current_term=1)
    leading.next_index["n2"] = 1
    request = replication.append_entries_request(leading, "n2", 10, 10_000)
    follower = server(id="n2", current_term=1)
    replication.handle_append_entries(follower, request)
    restarted = server(*terms_of(follower.log), id="n2", current_term=1)
    reply = replication.handle_append_entries(restarted, request)
    replication.handle_append_entries_reply(leading, "n2", request, reply)
    assert (leading.match_index["n2"], terms_of(restarted.log)) == (2, [1, 1])
