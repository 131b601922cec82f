"""§8: read-only operations without writing to the log, which must not return stale data."""

from __future__ import annotations

from drawing import FIVE, THREE, candidate, leader, server
from exchanges import begin_cluster, joint, replicate, save, send, stand

from raft_threads import election, membership, reads, replication
from raft_threads.configuration import Configuration
from raft_threads.log import NO_OP
from raft_threads.state import Role, State


def elected(*terms: int, commit_index: int = 0) -> State:
    """Return a leader just elected in the term after the last of `terms`, with its no-op."""
    state = candidate(*terms, current_term=terms[-1] + 1 if terms else 1)
    state.commit_index = state.last_applied = commit_index
    election.become_leader(state)
    assert state.log.entry_at(state.log.last_index).kind == NO_OP
    return state


# The first precaution: the latest information on which entries are committed


def test_a_read_needs_all_that_is_committed_when_it_arrives() -> None:
    """§8; Diss. §6.4, step 2: the read index is the commit index."""
    state = leader(1, 1, 1, commit_index=2)
    assert reads.read_index(state) == 2
    state.commit_index = 3
    assert reads.read_index(state) == 3


def test_a_leader_without_an_entry_of_its_term_waits_for_one_before_it_answers() -> None:
    """§8: it has every committed entry, and cannot know which they are."""
    state = leader(1, 1, commit_index=1)
    state.current_term = 2
    assert reads.read_index(state) == 3
    replication.append_command(state, b"a client's")
    assert reads.read_index(state) == 3


def test_before_its_no_op_is_committed_a_leader_cannot_know_what_is_committed_and_waits_for_that() -> None:
    """§8: at the start of its term it may not know which entries are committed."""
    state = elected(1, 1, commit_index=0)
    assert reads.read_index(state) == 3
    state = elected(1, 1, commit_index=2)
    assert reads.read_index(state) == 3, "it might be all; nobody can tell"
    replication.append_command(state, b"later")
    assert reads.read_index(state) == 3
    state.commit_index = 3
    assert reads.read_index(state) == 3
    state.commit_index = 4
    assert reads.read_index(state) == 4


def test_a_read_waits_until_the_state_machine_has_advanced_so_far() -> None:
    """Diss. §6.4, step 4."""
    state = leader(1, 1, servers=("n1",), commit_index=2)
    state.last_applied = 1
    assert not reads.may_be_answered(state, index=2, read_round=0)
    state.last_applied = 2
    assert reads.may_be_answered(state, index=2, read_round=0)
    state.last_applied = 3
    assert reads.may_be_answered(state, index=2, read_round=0)


# The second precaution: a leader must check whether it has been deposed


def test_a_read_is_answered_after_a_majority_has_answered_heartbeats_sent_after_it_arrived() -> None:
    """§8: it exchanges heartbeat messages with a majority of the cluster before responding."""
    state = leader(1, servers=FIVE, commit_index=1)
    state.last_applied = 1
    earlier = reads.begin_read(state)
    for peer in FIVE[1:]:
        reads.record_heartbeat_answer(state, peer, earlier)
    this = reads.begin_read(state)
    assert reads.may_be_answered(state, 1, earlier)
    assert not reads.may_be_answered(state, 1, this)
    reads.record_heartbeat_answer(state, "n2", this)
    assert not reads.may_be_answered(state, 1, this)
    reads.record_heartbeat_answer(state, "n3", this)
    assert reads.may_be_answered(state, 1, this)


def test_a_majority_is_counted_by_servers_and_not_by_answers() -> None:
    """§8."""
    state = leader(1, servers=FIVE)
    this = reads.begin_read(state)
    for _ in range(3):
        reads.record_heartbeat_answer(state, "n2", this)
    assert not reads.leadership_is_confirmed(state, this)


def test_the_answer_to_a_later_round_confirms_earlier_reads_as_well() -> None:
    """Diss. §6.4: one round of heartbeats for any number of reads."""
    state = leader(1)
    rounds = [reads.begin_read(state) for _ in range(3)]
    reads.record_heartbeat_answer(state, "n2", rounds[1])
    assert [reads.leadership_is_confirmed(state, each) for each in rounds] == [True, True, False]


def test_the_answer_to_a_heartbeat_that_left_before_any_read_arrived_confirms_none() -> None:
    """§8: it may have been answered before a newer leader was elected."""
    state = leader(1)
    reads.record_heartbeat_answer(state, "n2", state.read_round)
    assert not reads.leadership_is_confirmed(state, reads.begin_read(state))


def test_a_late_answer_takes_nothing_back() -> None:
    """§5.5."""
    state = leader(1)
    first, second = reads.begin_read(state), reads.begin_read(state)
    reads.record_heartbeat_answer(state, "n2", second)
    reads.record_heartbeat_answer(state, "n2", first)
    assert reads.leadership_is_confirmed(state, second)


def test_a_leader_owes_a_heartbeat_to_who_has_not_answered_the_newest_round() -> None:
    """§8: reads need not wait for the next regular heartbeat."""
    state = leader(1)
    assert not reads.owes_heartbeat(state, "n2")
    this = reads.begin_read(state)
    assert reads.owes_heartbeat(state, "n2") and reads.owes_heartbeat(state, "n3")
    reads.record_heartbeat_answer(state, "n2", this)
    assert not reads.owes_heartbeat(state, "n2") and reads.owes_heartbeat(state, "n3")
    election.become_follower(state)
    assert not reads.owes_heartbeat(state, "n3")


def test_a_cluster_of_one_answers_at_once() -> None:
    """§8: a majority of one."""
    state = leader(1, servers=("n1",))
    assert reads.leadership_is_confirmed(state, reads.begin_read(state))


def test_who_does_not_lead_confirms_nothing() -> None:
    """§8: not even a cluster of one, nor a server that was leader when it was asked."""
    state = leader(1, servers=("n1",))
    this = reads.begin_read(state)
    election.become_follower(state)
    assert not reads.leadership_is_confirmed(state, this)
    assert not reads.may_be_answered(server(1), 0, 0)


def test_answers_to_an_earlier_leadership_do_not_confirm_a_later_one() -> None:
    """§8: its rounds count on, and who answered then may have deposed us since."""
    state = leader(1, current_term=1)
    reads.begin_read(state)
    for peer in ("n2", "n3"):
        reads.record_heartbeat_answer(state, peer, 1)
    election.adopt_newer_term(state, 2)
    election.begin_election(state)
    election.become_leader(state)
    assert state.acknowledged_round == {}
    assert not reads.leadership_is_confirmed(state, 1)
    assert reads.begin_read(state) == 2


# What a deposed leader would answer


def test_a_deposed_leader_that_does_not_know_it_answers_nothing() -> None:
    """§8: its information is stale, as a more recent leader has been elected."""
    cluster = begin_cluster(*THREE)
    assert stand(cluster, "n1", "n2", "n3")
    replicate(cluster, "n1", "n2", "n3")
    assert stand(cluster, "n2", "n3")
    replication.append_command(cluster["n2"], b"x = 2")
    replicate(cluster, "n2", "n3")
    old = cluster["n1"]
    assert old.role is Role.LEADER and cluster["n2"].commit_index == 3
    this = reads.begin_read(old)
    assert not reads.leadership_is_confirmed(old, this)
    reply = send(cluster, "n1", "n3")
    assert reply.term == 2
    assert not reads.leadership_is_confirmed(old, this)


# Configurations (§6)


def test_in_joint_consensus_majorities_of_both_confirm_leadership() -> None:
    """§6, §8: a leader of either could have been elected otherwise."""
    state = leader(1)
    membership.append_configuration(state, joint(THREE, ("n1", "n4", "n5")))
    this = reads.begin_read(state)
    for peer in ("n2", "n3"):
        reads.record_heartbeat_answer(state, peer, this)
    assert not reads.leadership_is_confirmed(state, this)
    reads.record_heartbeat_answer(state, "n4", this)
    assert reads.leadership_is_confirmed(state, this)


def test_a_leader_that_is_being_removed_does_not_count_itself() -> None:
    """§6, §8."""
    state = leader(1, servers=FIVE)
    membership.append_configuration(state, Configuration.of(("n2", "n3")))
    this = reads.begin_read(state)
    reads.record_heartbeat_answer(state, "n2", this)
    assert not reads.leadership_is_confirmed(state, this)
    reads.record_heartbeat_answer(state, "n3", this)
    assert reads.leadership_is_confirmed(state, this)


def test_a_read_that_waits_is_confirmed_by_the_configuration_in_force_when_it_is_answered() -> None:
    """§6, §8: answers of servers that were removed since do not count, and those of new servers are still to come."""
    state = leader(1)
    this = reads.begin_read(state)
    reads.record_heartbeat_answer(state, "n3", this)
    assert reads.leadership_is_confirmed(state, this)
    membership.append_configuration(state, Configuration.of(("n1", "n2", "n4")))
    assert not reads.leadership_is_confirmed(state, this)
    assert reads.owes_heartbeat(state, "n4")
    save(state)
    reads.record_heartbeat_answer(state, "n4", this)
    assert reads.leadership_is_confirmed(state, this)
