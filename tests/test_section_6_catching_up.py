"""§6, the first issue: new servers catch up before they vote. In rounds, as Diss. §4.2.1 says."""

from __future__ import annotations

import pytest
from drawing import entries_of, leader
from exchanges import Cluster, begin_cluster, members, replicate, save, stand

from raft_threads import check_quorum, election, membership, reads, replication, transfer
from raft_threads.configuration import Configuration
from raft_threads.state import CatchUp, State

OLD = ("n1", "n2", "n3")
ELECTION_TIMEOUT = 0.15


def that_adds(*new_servers: str, entries: int = 5, now: float = 100.0) -> State:
    """Return the leader n1 of three servers with `entries` in its log, which begins to add `new_servers` at `now`."""
    state = leader(*[1] * entries, commit_index=entries)
    membership.begin_change(state, members(*OLD, *new_servers), now)
    return state


def catch_up_of(state: State) -> CatchUp:
    """Return the change whose servers are catching up."""
    assert state.catch_up is not None
    return state.catch_up


def answers(state: State, learner: str, index: int, now: float) -> float:
    """Have `learner` store the log up to `index` at `now`; return how long a round took that has ended with that."""
    replication.record_match(state, learner, index)
    return membership.record_catch_up(state, learner, now, ELECTION_TIMEOUT)


# Non-voting members


def test_the_leader_replicates_to_new_servers_before_the_configuration_changes() -> None:
    """§6: the leader replicates log entries to them."""
    state = that_adds("n4", "n5")
    assert state.peers == ["n2", "n3", "n4", "n5"]
    assert (state.next_index["n4"], state.match_index["n4"]) == (6, 0)
    assert state.configuration == Configuration.of(OLD)
    assert state.log.last_index == 5


def test_new_servers_are_not_considered_for_majorities() -> None:
    """§6: not for commitment."""
    state = that_adds("n4", "n5")
    save(state)
    replication.append_command(state, b"x")
    for learner in ("n4", "n5"):
        replication.record_match(state, learner, 6)
    save(state)
    assert state.commit_index == 5
    replication.record_match(state, "n2", 6)
    replication.advance_commit_index(state)
    assert state.commit_index == 6


def test_new_servers_do_not_confirm_leadership_and_nobody_hands_over_to_them() -> None:
    """§6: they are no part of the cluster yet: not for reads (§8), nor for the extensions."""
    state = that_adds("n4", "n5")
    read_round = reads.begin_read(state)
    for learner in ("n4", "n5"):
        reads.record_heartbeat_answer(state, learner, read_round)
    assert not reads.leadership_is_confirmed(state, read_round)
    assert not check_quorum.hears_from_majority(state, {"n2": 1.0, "n4": 9.0, "n5": 9.0}, since=5.0)
    with pytest.raises(transfer.TransferRefused, match="not one of the cluster"):
        transfer.begin_transfer(state, "n4")
    replication.record_match(state, "n4", 5)
    assert transfer.most_up_to_date_follower(state) != "n4"


def test_a_new_server_takes_entries_and_does_not_stand_for_election() -> None:
    """§6: until it has a configuration with itself in it, which is C_old,new."""
    cluster: Cluster = begin_cluster(*OLD, waiting=("n4",))
    stand(cluster, "n1", "n2")
    membership.begin_change(cluster["n1"], members(*OLD, "n4"), now=0.0)
    replicate(cluster, "n1", "n4")
    assert cluster["n4"].log.last_index == 1
    assert not election.may_stand(cluster["n4"])
    membership.record_catch_up(cluster["n1"], "n4", 0.0, ELECTION_TIMEOUT)
    membership.begin_joint_consensus_if_caught_up(cluster["n1"])
    replicate(cluster, "n1", "n4")
    assert election.may_stand(cluster["n4"])


def test_a_server_of_the_cluster_does_not_have_to_catch_up_again() -> None:
    """§6: the new servers are those that were not in the configuration."""
    state = that_adds("n4")
    assert catch_up_of(state).learners == members("n4")
    assert membership.new_servers(Configuration.of(OLD), members("n2", "n5", "n3")) == members("n5")


# Rounds


def test_a_round_ends_when_the_new_server_has_what_the_log_held_at_its_beginning() -> None:
    """Diss. §4.2.1: the leader goes on replicating meanwhile; what came later is for the next round."""
    state = that_adds("n4")
    replication.append_command(state, b"later")
    assert answers(state, "n4", 4, now=101.0) == -1
    assert answers(state, "n4", 5, now=102.0) == 2.0
    assert (catch_up_of(state).round_of["n4"], catch_up_of(state).goal_of["n4"]) == (2, 6)
    assert catch_up_of(state).rounds_ended("n4") == 1


def test_a_new_server_has_caught_up_when_a_round_was_shorter_than_an_election_timeout() -> None:
    """Diss. §4.2.1: then what it lacks is little enough."""
    state = that_adds("n4")
    assert answers(state, "n4", 5, now=100.5) == 0.5
    membership.begin_joint_consensus_if_caught_up(state)
    assert not state.configuration.is_joint
    replication.append_command(state, b"x")
    assert answers(state, "n4", 6, now=100.6) == pytest.approx(0.1)
    assert catch_up_of(state).rounds_ended("n4") == 2
    membership.begin_joint_consensus_if_caught_up(state)
    assert state.configuration.is_joint


def test_a_round_of_exactly_an_election_timeout_is_too_long() -> None:
    """Diss. §4.2.1: less than an election timeout."""
    state = that_adds("n4", now=0.0)
    assert answers(state, "n4", 5, now=ELECTION_TIMEOUT) == ELECTION_TIMEOUT
    assert catch_up_of(state).caught_up == set()


def test_a_round_that_has_ended_is_told_once() -> None:
    """Diss. §4.2.1: later answers of who has caught up begin nothing anew."""
    state = that_adds("n4", "n5")
    assert answers(state, "n4", 5, now=100.1) == pytest.approx(0.1)
    assert answers(state, "n4", 5, now=109.0) == -1
    assert catch_up_of(state).caught_up == {"n4"}
    assert catch_up_of(state).rounds_ended("n4") == 1


def test_joint_consensus_begins_when_all_new_servers_have_caught_up() -> None:
    """§6: once the new servers have caught up, the reconfiguration can proceed."""
    state = that_adds("n4", "n5")
    answers(state, "n4", 5, now=100.1)
    membership.begin_joint_consensus_if_caught_up(state)
    assert state.log.last_index == 5
    answers(state, "n5", 5, now=100.1)
    membership.begin_joint_consensus_if_caught_up(state)
    assert state.configuration == Configuration(members(*OLD), members(*OLD, "n4", "n5"))
    assert state.catch_up is None
    assert (state.match_index["n4"], state.match_index["n5"]) == (5, 5), "what they have, they have"


def test_a_server_that_is_too_slow_after_ten_rounds_ends_the_change() -> None:
    """Diss. §4.2.1: the algorithm waits a fixed number of rounds, such as ten; the cluster stays as it is."""
    state = that_adds("n4", "n5")
    answers(state, "n5", 5, now=100.1)
    for number in range(1, 10):
        assert answers(state, "n4", 5, now=100.0 + number) == 1.0
    with pytest.raises(membership.ChangeRefused, match="n4 does not keep up"):
        answers(state, "n4", 5, now=110.0)
    assert state.catch_up is None
    assert state.peers == ["n2", "n3"]
    assert (set(state.match_index), set(state.next_index)) == ({"n1", "n2", "n3"}, {"n2", "n3"})
    assert state.log.last_index == 5
    assert not membership.change_is_under_way(state)


def test_a_server_that_is_quick_in_the_tenth_round_is_quick_enough() -> None:
    """Diss. §4.2.1: it is the last round that counts."""
    state = that_adds("n4")
    for number in range(1, 10):
        answers(state, "n4", 5, now=100.0 + number)
    assert answers(state, "n4", 5, now=109.1) == pytest.approx(0.1)
    assert catch_up_of(state).caught_up == {"n4"}
    assert catch_up_of(state).rounds_ended("n4") == 10


def test_answers_of_servers_that_vote_end_no_round() -> None:
    """§6: also when nobody is catching up at all."""
    state = that_adds("n4")
    assert answers(state, "n2", 5, now=100.1) == -1
    membership.give_up_change(state)
    assert answers(state, "n2", 5, now=100.1) == -1


# The end of it


def test_a_change_can_be_given_up_while_servers_catch_up() -> None:
    """§6: an unreachable server should not hold up the cluster; nothing has changed, and another change may begin."""
    state = that_adds("n4")
    reads.record_heartbeat_answer(state, "n4", 3)
    membership.give_up_change(state)
    assert state.peers == ["n2", "n3"]
    assert "n4" not in state.match_index and "n4" not in state.acknowledged_round
    membership.begin_change(state, members(*OLD, "n5"), now=0.0)
    assert state.peers == ["n2", "n3", "n5"]


def test_a_leader_that_is_deposed_gives_up_the_change() -> None:
    """§6: nothing of it is in the log, so nobody else knows of it."""
    state = that_adds("n4")
    election.adopt_newer_term(state, 2)
    assert state.catch_up is None
    assert state.peers == ["n2", "n3"]
    membership.begin_joint_consensus_if_caught_up(state)
    assert state.log.last_index == 5


def test_a_new_server_with_entries_of_an_earlier_attempt_catches_up_like_any_follower() -> None:
    """§6, §5.3: its log may be of any kind; the consistency check finds out."""
    cluster: Cluster = begin_cluster(*OLD, waiting=("n4",))
    stand(cluster, "n1", "n2")
    replicate(cluster, "n1", "n2", "n3")
    cluster["n1"].current_term = 4
    cluster["n1"].log.append_new(4, "command", b"x")
    for entry in (cluster["n1"].log.entry_at(1), *entries_of(2, 3, 3, first_index=2)):
        cluster["n4"].log.append(entry)
    membership.begin_change(cluster["n1"], members(*OLD, "n4"), now=0.0)
    replicate(cluster, "n1", "n4")
    assert cluster["n4"].log.all_entries() == cluster["n1"].log.all_entries()
    assert membership.record_catch_up(cluster["n1"], "n4", 0.1, ELECTION_TIMEOUT) == pytest.approx(0.1)
