"""§5.3: when an entry is committed, how followers learn of it, and what is applied."""

from __future__ import annotations

import pytest
from drawing import FIVE, append_entries, leader, server

from raft_threads import election, replication
from raft_threads.messages import AppendEntriesReply
from raft_threads.state import Role, State


def replicate(state: State, *peers: str) -> None:
    """Have `peers` take over the leader's whole log."""
    for peer in peers:
        request = replication.append_entries_request(state, peer, max_entries=100, max_bytes=100_000)
        replication.handle_append_entries_reply(state, peer, request, AppendEntriesReply(state.current_term, True))


@pytest.mark.parametrize("followers, commit_index", [((), 0), (("n2",), 0), (("n2", "n3"), 1), (FIVE[1:], 1)])
def test_an_entry_is_committed_once_a_majority_stores_it(followers: tuple[str, ...], commit_index: int) -> None:
    """§5.3; Fig. 2, Leaders 6: the leader, whose disk has it, is one of the majority."""
    state = leader(servers=FIVE, current_term=1)
    replication.append_command(state, b"x")
    state.log.mark_saved(1, 1)
    replication.record_own_disk(state)
    replicate(state, *followers)
    assert state.commit_index == commit_index


def test_a_leader_counts_itself_only_up_to_what_its_own_disk_holds() -> None:
    """Fig. 2, persistent state; Diss. §10.2.1."""
    state = leader(current_term=1)
    replication.append_command(state, b"x")
    replicate(state, "n2")
    assert (state.match_index["n1"], state.commit_index) == (0, 0)
    state.log.mark_saved(1, 1)
    replication.append_command(state, b"y")
    replication.record_own_disk(state)
    assert (state.match_index["n1"], state.commit_index) == (1, 1)


def test_a_majority_of_others_commits_before_the_leaders_own_disk_is_done() -> None:
    """Diss. §10.2.1."""
    state = leader(current_term=1)
    replication.append_command(state, b"x")
    replicate(state, "n2", "n3")
    assert state.commit_index == 1


def test_in_an_even_cluster_half_of_the_servers_commit_nothing() -> None:
    """§5.3: a majority of four is three."""
    state = leader(servers=FIVE[:4], current_term=1)
    replication.append_command(state, b"x")
    state.log.mark_saved(1, 1)
    replication.record_own_disk(state)
    replicate(state, "n2")
    assert state.commit_index == 0
    replicate(state, "n3")
    assert state.commit_index == 1


def test_a_cluster_of_one_elects_itself_and_commits_when_its_disk_is_done() -> None:
    """§5.2, §5.3: a majority of one."""
    state = State(id="n1", servers=("n1",))
    election.begin_election(state)
    election.become_leader_if_elected(state)
    assert (state.role, state.commit_index) == (Role.LEADER, 0)
    state.log.mark_saved(1, 1)
    replication.record_own_disk(state)
    assert state.commit_index == 1


def test_a_server_that_does_not_lead_commits_nothing_when_its_disk_is_done() -> None:
    """Fig. 2, Leaders 6: it learns from its leader."""
    state = server(1, current_term=1)
    replication.record_own_disk(state)
    assert (state.commit_index, state.match_index) == (0, {})


def test_the_highest_index_on_a_majority_is_the_median_rounded_down() -> None:
    """Fig. 2, Leaders 6: a majority of match_index[i] >= N."""
    state = leader(1, 1, 1, 1, 1, servers=FIVE, current_term=1)
    state.match_index = {"n1": 5, "n2": 1, "n3": 4, "n4": 2, "n5": 3}
    assert replication.index_stored_on_majority(state) == 3


# Followers (Fig. 2, AppendEntries receiver 5)


def test_a_follower_commits_what_its_leader_has_committed() -> None:
    """Fig. 2, AppendEntries receiver 5."""
    state = server(1, 1, 1, current_term=1)
    replication.handle_append_entries(state, append_entries(term=1, prev=(3, 1), leader_commit=2))
    assert state.commit_index == 2


def test_a_follower_commits_no_further_than_the_last_new_entry() -> None:
    """Fig. 2, AppendEntries receiver 5: beyond it, its log may hold another leader's leftovers."""
    state = server(1, 2, 2, 2, current_term=3)
    reply = replication.handle_append_entries(state, append_entries(term=3, prev=(1, 1), leader_commit=4))
    assert reply.success
    assert state.commit_index == 1


def test_a_follower_that_refuses_the_entries_commits_nothing() -> None:
    """Fig. 2, AppendEntries receiver 2 comes before 5."""
    state = server(1, 1, current_term=2)
    replication.handle_append_entries(state, append_entries(term=2, prev=(2, 2), leader_commit=2))
    assert state.commit_index == 0


@pytest.mark.parametrize("prev, leader_commit", [((3, 1), 1), ((1, 1), 3), ((0, 0), 3), ((1, 1), 4)])
def test_a_late_heartbeat_never_takes_the_commit_index_back(prev: tuple[int, int], leader_commit: int) -> None:
    """Fig. 2, State: commitIndex increases monotonically; rule 5, read literally, would lower it in the last case."""
    state = server(1, 1, 1, current_term=1, commit_index=3)
    replication.handle_append_entries(state, append_entries(term=1, prev=prev, leader_commit=leader_commit))
    assert state.commit_index == 3


# Applying (Fig. 2, All Servers 1)


def test_committed_entries_are_applied_in_log_order_and_each_once() -> None:
    """Fig. 2, All Servers 1."""
    state = server(1, 1, 2, 2, commit_index=3)
    assert [entry.index for entry in replication.entries_to_apply(state, max_entries=2)] == [1, 2]
    replication.record_applied(state, 2)
    assert [entry.index for entry in replication.entries_to_apply(state, max_entries=2)] == [3]
    replication.record_applied(state, 3)
    assert replication.entries_to_apply(state, max_entries=2) == []


def test_an_entry_that_is_not_committed_is_not_applied() -> None:
    """§5.3: it may yet be overwritten."""
    assert replication.entries_to_apply(server(1, 1, commit_index=0), max_entries=9) == []
