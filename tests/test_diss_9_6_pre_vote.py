"""Diss. §9.6: Pre-Vote, so that a server that was cut off does not depose a leader when it comes back."""

from __future__ import annotations

import pytest
from drawing import FIVE, append_entries, candidate, leader, server
from exchanges import configuration_entry, joint

from raft_threads import election, pre_vote, replication
from raft_threads.configuration import Configuration
from raft_threads.log import Log
from raft_threads.messages import PreVote, PreVoteReply, RequestVote, RequestVoteReply
from raft_threads.state import Role, State


def asking(*terms: int, servers: tuple[str, ...] = ("n1", "n2", "n3"), current_term: int = 2) -> State:
    """Return a follower that asks whether it would be elected, and has no answers yet."""
    state = server(*terms, servers=servers, current_term=current_term)
    pre_vote.begin_pre_vote(state)
    return state


def answer(state: State, peer: str, granted: bool, term: int = 2) -> None:
    """Hand `state` the answer of `peer` to what it asks now."""
    pre_vote.handle_pre_vote_reply(state, peer, pre_vote.pre_vote_request(state), PreVoteReply(term, granted))


# Asking


def test_to_ask_changes_neither_term_nor_vote() -> None:
    """Diss. §9.6: a candidate only increments its term once a majority would be willing to grant it their votes."""
    state = server(1, 2, current_term=2, voted_for="n3")
    pre_vote.begin_pre_vote(state)
    assert (state.current_term, state.voted_for, state.role) == (2, "n3", Role.FOLLOWER)
    assert state.is_saved()
    assert state.pre_votes == {"n1": True}


def test_the_request_asks_for_the_term_that_would_come() -> None:
    """Diss. §9.6: and for what RequestVote would say of the log (§5.4.1)."""
    assert pre_vote.pre_vote_request(asking(1, 2)) == PreVote(3, "n1", last_log_index=2, last_log_term=2)


def test_every_other_server_is_asked_until_it_has_answered() -> None:
    """§5.5."""
    state = asking(1, servers=FIVE)
    answer(state, "n3", False)
    assert [peer for peer in state.peers if pre_vote.awaits_pre_vote_of(state, peer)] == ["n2", "n4", "n5"]
    assert not pre_vote.awaits_pre_vote_of(server(1), "n2"), "unless there is nothing to ask"


def test_a_candidate_without_a_majority_gives_up_its_election_and_asks() -> None:
    """Diss. §9.6: its next election would be of a newer term; late votes of this one elect nobody."""
    state = candidate(1, current_term=2)
    request = election.vote_request(state)
    pre_vote.begin_pre_vote(state)
    assert (state.role, state.current_term, state.voted_for, state.votes) == (Role.FOLLOWER, 2, "n1", {})
    assert state.pre_votes == {"n1": True}
    election.handle_request_vote_reply(state, "n2", request, RequestVoteReply(2, True))
    assert state.role is Role.FOLLOWER


# Answering


@pytest.mark.parametrize(
    "term, last_log_index, last_log_term, hears_from_leader, granted",
    [
        (3, 2, 2, False, True),
        (9, 9, 9, False, True),
        (3, 2, 2, True, False),
        (2, 2, 2, False, False),
        (1, 2, 2, False, False),
        (3, 1, 2, False, False),
        (3, 9, 1, False, False),
    ],
)
def test_a_server_would_vote_for_a_newer_term_with_an_up_to_date_log_when_it_hears_from_no_leader(
    term: int, last_log_index: int, last_log_term: int, hears_from_leader: bool, granted: bool
) -> None:
    """Diss. §9.6."""
    state = server(1, 2, current_term=2, voted_for="n3")
    request = PreVote(term, "n2", last_log_index, last_log_term)
    assert pre_vote.handle_pre_vote(state, request, hears_from_leader) == PreVoteReply(2, granted)


def test_to_answer_changes_nothing_and_binds_nobody() -> None:
    """Diss. §9.6: no term is adopted, no vote given; two candidates may both be told yes."""
    for state in (server(1, current_term=2), candidate(1, current_term=2), leader(1, current_term=2)):
        before = (state.term_and_vote, state.role, state.leader_id, dict(state.votes))
        for asker in ("n2", "n3"):
            assert pre_vote.handle_pre_vote(state, PreVote(7, asker, 9, 6), False) == PreVoteReply(2, True)
        assert (state.term_and_vote, state.role, state.leader_id, dict(state.votes)) == before
        assert not election.restarts_election_timer(PreVoteReply(7, True), request_term=7)


# What comes of it


@pytest.mark.parametrize("granted, begins", [((), False), (("n2",), False), (("n2", "n4"), True)])
def test_the_election_begins_when_a_majority_would_vote_for_us(granted: tuple[str, ...], begins: bool) -> None:
    """Diss. §9.6: we are one of them."""
    state = asking(1, servers=FIVE)
    for peer in FIVE[1:]:
        answer(state, peer, peer in granted)
    assert pre_vote.would_be_elected(state) == begins
    assert (state.current_term, state.role) == (2, Role.FOLLOWER)


def test_a_server_alone_would_be_elected() -> None:
    """Diss. §9.6: and one that does not ask would not."""
    assert pre_vote.would_be_elected(asking(servers=("n1",), current_term=0))
    assert not pre_vote.would_be_elected(server(servers=("n1",)))


def test_an_answer_counts_once_and_the_first_is_what_counts() -> None:
    """§5.5: within one round a peer is asked until it answers."""
    state = asking(1, servers=FIVE)
    for granted in (True, False, True):
        answer(state, "n2", granted)
    assert state.pre_votes == {"n1": True, "n2": True}


def test_an_answer_for_another_term_does_not_count() -> None:
    """Diss. §9.6: we asked before an election that is over."""
    state = asking(1)
    request = pre_vote.pre_vote_request(state)
    election.begin_election(state)
    pre_vote.begin_pre_vote(state)
    pre_vote.handle_pre_vote_reply(state, "n2", request, PreVoteReply(2, True))
    assert state.pre_votes == {"n1": True}


def test_an_answer_with_a_newer_term_ends_the_asking() -> None:
    """§5.1: we are behind, and ask again for a later term."""
    state = asking(1)
    answer(state, "n2", False, term=5)
    assert (state.current_term, state.pre_votes) == (5, None)
    pre_vote.begin_pre_vote(state)
    assert pre_vote.pre_vote_request(state).term == 6


def test_a_server_that_hears_from_a_leader_asks_no_more() -> None:
    """§5.2: it recognizes the leader, and needs none."""
    state = asking(1)
    replication.handle_append_entries(state, append_entries(term=2, prev=(1, 1), leader_id="n2"))
    assert state.pre_votes is None
    answer(state, "n3", True)
    assert (state.pre_votes, pre_vote.would_be_elected(state)) == (None, False)


@pytest.mark.parametrize("begin_another", [election.begin_election, pre_vote.begin_pre_vote])
def test_answers_are_not_kept_for_the_next_time(begin_another: object) -> None:
    """Diss. §9.6: a majority that is gone elects nobody."""
    state = asking(1)
    answer(state, "n2", True)
    assert pre_vote.would_be_elected(state)
    begin_another(state)  # type: ignore[operator]
    assert not pre_vote.would_be_elected(state)


def test_in_joint_consensus_majorities_of_both_must_want_us() -> None:
    """§6."""
    log = Log([configuration_entry(1, 1, joint(("n1", "n2", "n3"), ("n1", "n4", "n5")))])
    state = State("n1", (), 2, log=log)
    pre_vote.begin_pre_vote(state)
    for peer in ("n2", "n3"):
        answer(state, peer, True)
    assert not pre_vote.would_be_elected(state)
    answer(state, "n5", True)
    assert pre_vote.would_be_elected(state)


def test_a_server_outside_of_the_configuration_does_not_count_itself() -> None:
    """§6: nor do others outside of it count."""
    log = Log([configuration_entry(1, 1, Configuration.of(("n2", "n3")))])
    state = State("n1", (), 2, log=log)
    pre_vote.begin_pre_vote(state)
    for peer in ("n2", "n9"):
        answer(state, peer, True)
    assert not pre_vote.would_be_elected(state)


# What it is for


def test_a_server_that_was_cut_off_comes_back_in_the_term_it_left() -> None:
    """Diss. §9.6: however often its timeout elapsed; so the leader's next heartbeat makes it a follower."""
    cut_off, leading = server(1, current_term=2), leader(1, id="n2", current_term=2)
    for _ in range(5):
        pre_vote.begin_pre_vote(cut_off)
        assert not pre_vote.would_be_elected(cut_off)
    request = pre_vote.pre_vote_request(cut_off)
    reply = pre_vote.handle_pre_vote(leading, request, hears_from_leader=True)
    pre_vote.handle_pre_vote_reply(cut_off, "n2", request, reply)
    assert (leading.role, leading.current_term, reply.vote_granted) == (Role.LEADER, 2, False)
    heartbeat = replication.append_entries_request(leading, "n1", 9, 9_999)
    assert replication.handle_append_entries(cut_off, heartbeat).success
    assert (cut_off.leader_id, cut_off.current_term) == ("n2", 2)


def test_a_server_with_a_newer_term_than_the_others_is_not_shut_out_for_ever() -> None:
    """Diss. §9.6, §5.1: without Pre-Vote it had gone ahead. The leader learns of its term, and an election follows."""
    ahead, leading = server(1, current_term=7), leader(1, id="n2", current_term=2)
    heartbeat = replication.append_entries_request(leading, "n1", 9, 9_999)
    reply = replication.handle_append_entries(ahead, heartbeat)
    replication.handle_append_entries_reply(leading, "n1", heartbeat, reply)
    assert (leading.role, leading.current_term) == (Role.FOLLOWER, 7)
    pre_vote.begin_pre_vote(leading)
    request = pre_vote.pre_vote_request(leading)
    pre_vote.handle_pre_vote_reply(leading, "n1", request, pre_vote.handle_pre_vote(ahead, request, False))
    assert pre_vote.would_be_elected(leading)
    election.begin_election(leading)
    assert election.handle_request_vote(ahead, election.vote_request(leading)).vote_granted
    assert election.vote_request(leading) == RequestVote(8, "n2", 1, 1)
