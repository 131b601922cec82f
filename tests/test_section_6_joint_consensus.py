"""§6: which changes of the cluster a leader begins, and what it remembers of the servers that come and go."""

from __future__ import annotations

import pytest
from drawing import leader
from exchanges import (
    begin_change,
    begin_cluster,
    configuration_entry,
    configurations_in,
    joint,
    members,
    replicate,
    save,
    snapshot_up_to,
    stand,
)

from raft_threads import election, membership, replication
from raft_threads.configuration import Configuration, Member, Members
from raft_threads.entry_format import BadLine
from raft_threads.log import CONFIGURATION, NO_OP, Log
from raft_threads.messages import AppendEntriesReply
from raft_threads.state import Role, State

OLD = ("n1", "n2", "n3")


# What is refused


@pytest.mark.parametrize(
    "new_members, reason",
    [
        ((), "at least one server"),
        (members("n1", "n2", "n2"), "named twice"),
        ((Member("n1", "a:1"), Member("n1", "b:2")), "named twice"),
        (members(*OLD), "has these servers already"),
        (members("n3", "n1", "n2"), "has these servers already"),
        (members("n1", ""), "id"),
        (members("n1", "n" * 256), "id"),
        ((Member("n1"), Member("n2", "a\n1")), "address"),
        (tuple(Member(f"n{number}") for number in range(1001)), "servers"),
    ],
)
def test_a_change_that_makes_no_cluster_or_no_change_is_refused(new_members: Members, reason: str) -> None:
    """§6: and nothing has changed then. Above all, nothing is in the log that no other server would read."""
    state = leader(1)
    with pytest.raises(membership.ChangeRefused, match=reason):
        membership.begin_change(state, new_members, now=0.0)
    assert state.catch_up is None
    assert state.log.last_index == 1
    assert set(state.match_index) == set(OLD)


def test_a_change_of_an_address_alone_is_a_change() -> None:
    """§6: the server is found elsewhere; it has the log already and need not catch up."""
    state = leader(1, commit_index=1)
    membership.begin_change(state, (Member("n1"), Member("n2", "a:1"), Member("n3")), now=0.0)
    membership.begin_joint_consensus_if_caught_up(state)
    assert state.configuration.addresses["n2"] == "a:1"
    assert state.configuration.is_joint


def test_a_change_is_refused_while_servers_are_catching_up() -> None:
    """§6: one change at a time."""
    state = leader(1)
    membership.begin_change(state, members(*OLD, "n4"), now=0.0)
    with pytest.raises(membership.ChangeRefused, match="under way"):
        membership.begin_change(state, members(*OLD, "n5"), now=0.0)
    assert state.catch_up is not None and state.catch_up.new_members == members(*OLD, "n4")


def test_a_change_is_refused_during_joint_consensus_and_until_c_new_is_committed() -> None:
    """§6: the old configuration becomes irrelevant only when the new one has been committed."""
    cluster = begin_cluster("n1", "n2")
    stand(cluster, "n1", "n2")
    replicate(cluster, "n1", "n2")
    begin_change(cluster, "n1", "n1")
    state = cluster["n1"]
    assert membership.change_is_under_way(state)
    state.commit_index = 2
    assert membership.change_is_under_way(state), "C_old,new is committed, and C_new still to come"
    membership.advance_change(state)
    assert membership.change_is_under_way(state)
    save(state)
    assert not membership.change_is_under_way(state)


def test_the_configuration_that_a_cluster_begins_with_counts_as_committed() -> None:
    """§6: it is before the first entry."""
    assert not membership.change_is_under_way(leader())


def test_a_change_that_only_removes_servers_begins_joint_consensus_at_once() -> None:
    """§6: nobody has to catch up."""
    state = leader(1)
    membership.begin_change(state, members("n1", "n2"), now=0.0)
    membership.begin_joint_consensus_if_caught_up(state)
    assert state.configuration == joint(OLD, ("n1", "n2"))
    assert state.catch_up is None


# Configurations as entries


def test_a_configuration_is_an_entry_of_the_leaders_term() -> None:
    """§6: configurations are stored using special entries in the replicated log."""
    state = leader(1, 2, current_term=5)
    membership.append_configuration(state, Configuration.of(("n1", "n2")))
    entry = state.log.entry_at(3)
    assert (entry.index, entry.term, entry.kind) == (3, 5, CONFIGURATION)
    assert entry == configuration_entry(3, 5, Configuration.of(("n1", "n2")))


def test_an_entry_that_is_no_configuration_is_not_added_to_the_log() -> None:
    """§6: all of the log stays as it was."""
    log = Log()
    with pytest.raises(BadLine):
        log.append_new(1, CONFIGURATION, b"nonsense")
    assert (log.last_index, log.last_term, log.size_bytes, log.configuration_index) == (0, 0, 0, 0)


def test_joint_consensus_begins_from_the_configuration_in_force() -> None:
    """§6: it combines both the old and the new configuration."""
    state = leader(1, commit_index=1)
    state.log.append(configuration_entry(2, 1, Configuration.of(("n1", "n2"))))
    state.commit_index = 2
    membership.begin_change(state, members("n1"), now=0.0)
    membership.begin_joint_consensus_if_caught_up(state)
    assert state.configuration == joint(("n1", "n2"), ("n1",))


def test_who_does_not_change_the_cluster_begins_nothing() -> None:
    """§6: only begin_change begins a change."""
    state = leader(1)
    membership.begin_joint_consensus_if_caught_up(state)
    membership.advance_change(state)
    assert state.log.last_index == 1
    assert state.role is Role.LEADER


# Who is replicated to


def test_a_leader_replicates_to_all_servers_of_both_configurations() -> None:
    """§6: and begins with those that are new where its log ends, as after an election (Fig. 2)."""
    state = leader(1, 1)
    state.match_index.update(n2=2, n3=1)
    membership.append_configuration(state, joint(OLD, ("n1", "n4", "n5")))
    assert state.peers == ["n2", "n3", "n4", "n5"]
    assert state.match_index == {"n1": 2, "n2": 2, "n3": 1, "n4": 0, "n5": 0}
    assert state.next_index == {"n2": 3, "n3": 3, "n4": 4, "n5": 4}


def test_a_leader_sends_entries_to_servers_of_both_configurations() -> None:
    """§6: those of C_old and of C_new get the same, each from its next_index on."""
    state = leader(1, 1)
    membership.append_configuration(state, joint(OLD, ("n1", "n4")))
    for peer in ("n2", "n3", "n4"):
        state.next_index[peer] = 2
        request = replication.append_entries_request(state, peer, 10, 10_000)
        assert [entry.index for entry in request.entries] == [2, 3]


def test_what_was_known_of_a_removed_server_is_forgotten() -> None:
    """§6: if it comes back its disk may be another one; then it has to show anew what it stores."""
    state = leader(1, 1)
    state.match_index.update(n3=2)
    state.acknowledged_round.update(n2=4, n3=4)
    membership.append_configuration(state, Configuration.of(("n1", "n2")))
    assert state.peers == ["n2"]
    assert set(state.match_index) == {"n1", "n2"}
    assert set(state.next_index) == {"n2"}
    assert state.acknowledged_round == {"n2": 4}


def test_a_leader_that_is_removed_still_knows_what_its_own_disk_holds() -> None:
    """§6: it goes on leading until C_new is committed."""
    state = leader(1, 1)
    membership.append_configuration(state, Configuration.of(("n2", "n3")))
    assert state.match_index == {"n1": 2, "n2": 0, "n3": 0}


def test_a_candidate_asks_the_servers_of_both_configurations_for_votes() -> None:
    """§6: agreement for elections requires majorities from both."""
    log = Log([configuration_entry(1, 1, joint(("n1", "n2", "n3"), ("n3", "n4", "n5")))])
    state = State("n1", (), 1, log=log)
    election.begin_election(state)
    assert [peer for peer in state.peers if election.awaits_vote_of(state, peer)] == ["n2", "n3", "n4", "n5"]
    state.votes.update(n2=True, n4=True)
    election.become_leader_if_elected(state)
    assert state.log.last_index == 1, "it leads as soon as it appends its no-op"
    state.votes.update(n5=True)
    election.become_leader_if_elected(state)
    assert state.role is Role.LEADER
    assert state.log.entry_at(2).kind == NO_OP
    assert state.next_index == {"n2": 2, "n3": 2, "n4": 2, "n5": 2}


def test_a_vote_of_a_server_outside_of_the_configuration_does_not_count() -> None:
    """§6: not even its own."""
    state = State("n9", (), 1, log=Log([], snapshot_up_to(3, 1, Configuration.of(OLD))))
    election.begin_election(state)
    state.votes.update(n8=True, n1=True)
    election.become_leader_if_elected(state)
    assert state.role is Role.CANDIDATE


def test_a_late_reply_never_commits_with_a_configuration_that_is_not_in_force_any_more() -> None:
    """§6: the latest configuration in the log counts for all entries, also for those before it."""
    state = leader(1, 1, current_term=1)
    save(state)
    replication.append_command(state, b"x")
    request = replication.append_entries_request(state, "n2", max_entries=9, max_bytes=10_000)
    membership.append_configuration(state, joint(OLD, ("n1", "n4", "n5")))
    save(state)
    replication.handle_append_entries_reply(state, "n2", request, AppendEntriesReply(1, True))
    assert (state.match_index["n2"], state.commit_index) == (3, 0)
    state.match_index["n4"] = 3
    replication.advance_commit_index(state)
    assert state.commit_index == 3


def test_several_changes_follow_one_another() -> None:
    """§6: from three servers to one and back; each change begins where the one before it ended."""
    cluster = begin_cluster(*OLD)
    assert stand(cluster, "n1", "n2")
    replicate(cluster, "n1", "n2", "n3")
    for new in (("n1",), OLD):
        begin_change(cluster, "n1", *new)
        for _ in range(2):
            replicate(cluster, "n1", *cluster["n1"].peers)
            membership.advance_change(cluster["n1"])
    replicate(cluster, "n1", "n2", "n3")
    rows = [Configuration.of(OLD), joint(OLD, ("n1",)), Configuration.of(("n1",)), joint(("n1",), OLD)]
    assert configurations_in(cluster["n3"].log) == [*rows, Configuration.of(OLD)]
    assert cluster["n3"].commit_index == cluster["n1"].log.last_index == 5
