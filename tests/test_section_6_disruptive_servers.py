"""§6, the third issue: removed servers time out, and must not disrupt the cluster."""

from __future__ import annotations

import pytest
from drawing import THREE, candidate, leader, server
from exchanges import configuration_entry, joint, snapshot_up_to

from raft_threads import election
from raft_threads.configuration import Configuration
from raft_threads.log import Log
from raft_threads.messages import RequestVote, RequestVoteReply
from raft_threads.state import Role, State

WITHOUT_N1 = Configuration.of(("n2", "n3"))


def of_a_removed_server(term: int = 9, told_to_stand: bool = False) -> RequestVote:
    """Return the RequestVote of a server that was removed, and whose log is as good as any."""
    return RequestVote(term, "n9", last_log_index=9, last_log_term=8, told_to_stand=told_to_stand)


def test_a_server_that_hears_from_a_leader_disregards_requests_for_votes() -> None:
    """§6: servers disregard RequestVote RPCs when they believe a current leader exists."""
    assert election.disregards(of_a_removed_server(), hears_from_leader=True)
    assert not election.disregards(of_a_removed_server(), hears_from_leader=False)


def test_a_candidate_that_the_leader_has_told_to_stand_is_heard() -> None:
    """Diss. §3.10: a special flag in RequestVote permits it to disrupt the leader."""
    assert not election.disregards(of_a_removed_server(told_to_stand=True), hears_from_leader=True)


@pytest.mark.parametrize(
    "state", [server(1, current_term=2, voted_for="n2"), leader(1, current_term=2)], ids=["follower", "leader"]
)
def test_to_disregard_a_request_is_to_change_nothing(state: State) -> None:
    """§6: it does not update its term or grant its vote."""
    before = (state.term_and_vote, state.role, state.leader_id)
    assert election.disregarding_reply(state) == RequestVoteReply(term=2, vote_granted=False)
    assert (state.term_and_vote, state.role, state.leader_id) == before
    assert state.is_saved(), "so nothing has to be saved for the reply"


def test_a_request_that_was_disregarded_counts_neither_for_nor_against_the_candidate_which_asks_again() -> None:
    """§6: if the leader is gone, the same voter may grant its vote a little later."""
    state = candidate(1, current_term=9)
    request = election.vote_request(state)
    election.handle_request_vote_reply(state, "n2", request, RequestVoteReply(term=2, vote_granted=False))
    assert state.votes == {"n1": True}
    assert election.awaits_vote_of(state, "n2")
    election.handle_request_vote_reply(state, "n2", request, RequestVoteReply(term=9, vote_granted=True))
    assert state.role is Role.LEADER


def test_a_candidate_learns_of_a_newer_term_from_who_disregards_it() -> None:
    """§5.1: a reply carries the term of who replies."""
    state = candidate(1, current_term=2)
    election.handle_request_vote_reply(state, "n2", election.vote_request(state), RequestVoteReply(9, False))
    assert (state.current_term, state.role) == (9, Role.FOLLOWER)


def test_a_disregarded_request_does_not_restart_the_election_timer() -> None:
    """§6; Fig. 2, Followers 2: else removed servers could keep the others from electing a leader."""
    assert not election.restarts_election_timer(RequestVoteReply(2, False), request_term=2)


# Who stands


def test_servers_of_the_configuration_in_force_stand_unless_they_lead() -> None:
    """§5.2; Fig. 2, Followers 2 and Candidates 4."""
    assert election.may_stand(server(1))
    assert election.may_stand(candidate(1, current_term=2))
    assert not election.may_stand(leader(1))


def test_a_server_that_waits_to_be_added_does_not_stand() -> None:
    """§6: its configuration is blank, whatever its log holds."""
    assert not election.may_stand(State("n1", ()))
    assert not election.may_stand(State("n1", (), 3, log=Log([*server(1, 2).log.all_entries()])))


def test_a_server_of_either_configuration_stands_in_joint_consensus() -> None:
    """§6: any server from either configuration may serve as leader."""
    log = Log([configuration_entry(1, 1, joint(THREE, ("n4",)))], snapshot_up_to(0, 0, Configuration.of(THREE)))
    assert election.may_stand(State("n1", (), 1, log=log))
    assert election.may_stand(State("n4", (), 1, log=log))
    assert not election.may_stand(State("n5", (), 1, log=log))


def test_a_server_that_knows_that_it_was_removed_does_not_stand() -> None:
    """§6: servers not in the new configuration can be shut down; until then they should be quiet."""
    log = Log([configuration_entry(1, 1, joint(THREE, ("n2", "n3"))), configuration_entry(2, 1, WITHOUT_N1)])
    state = State("n1", (), 1, log=log, commit_index=2)
    assert not election.may_stand(state)
    state.commit_index = 1
    assert election.may_stand(state), "C_new may be rolled back, and may be on no other server"


def test_a_server_that_was_removed_before_its_snapshot_does_not_stand() -> None:
    """§6, §7: what a snapshot holds is committed."""
    state = State("n1", (), 4, log=Log([], snapshot_up_to(7, 4, WITHOUT_N1)), commit_index=7)
    assert not election.may_stand(state)
    state.log.append(configuration_entry(8, 4, joint(("n2", "n3"), ("n3", "n4"))))
    assert not election.may_stand(state), "it was not in the configuration before, either"


def test_a_new_server_that_gets_old_configurations_while_it_catches_up_does_not_stand() -> None:
    """§6: it was in none of them."""
    entries = [configuration_entry(1, 1, joint(THREE, ("n2", "n3"))), configuration_entry(2, 1, WITHOUT_N1)]
    for count in (1, 2):
        assert not election.may_stand(State("n4", (), 1, log=Log(entries[:count])))


# Being told to stand


def test_a_candidate_says_in_whose_interest_it_stands() -> None:
    """Diss. §3.10: the flag is in each request of that election, and in none of the next one."""
    state = server(1)
    election.begin_election(state, told_to_stand=True)
    assert election.vote_request(state).told_to_stand
    election.begin_election(state)
    assert not election.vote_request(state).told_to_stand
