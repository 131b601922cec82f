"""Fig. 10: switching directly from one configuration to another is unsafe: servers switch at different times."""

from __future__ import annotations

import pytest
from exchanges import Cluster, begin_change, begin_cluster, replicate, save, stand

from raft_threads import membership, replication
from raft_threads.configuration import Configuration
from raft_threads.state import Role, State

OLD = ("S1", "S2", "S3")
NEW = ("S1", "S2", "S3", "S4", "S5")


def switch_directly(state: State) -> None:
    """What Fig. 10 warns of: append C_new at once, without a joint consensus."""
    assert state.catch_up is not None
    new_members, state.catch_up = state.catch_up.new_members, None
    membership.append_configuration(state, Configuration(new_members))


def play_the_figure() -> Cluster:
    """S3 leads three servers and adds two. What it appends for that reaches the new servers, but not S1 and S2."""
    cluster = begin_cluster(*OLD, waiting=("S4", "S5"))
    assert stand(cluster, "S3", "S1", "S2")
    replicate(cluster, "S3", "S1", "S2")
    begin_change(cluster, "S3", *NEW)
    replicate(cluster, "S3", "S4", "S5")
    return cluster


def leaders_of(cluster: Cluster, term: int) -> list[str]:
    """Return who leads `term`."""
    return [name for name, state in cluster.items() if state.role is Role.LEADER and state.current_term == term]


def hold_two_elections(cluster: Cluster) -> list[str]:
    """At the arrow in the figure S1 asks S2, and S5 asks S3 and S4; return who leads the new term."""
    stand(cluster, "S1", "S2")
    stand(cluster, "S5", "S3", "S4")
    return leaders_of(cluster, 2)


def test_a_direct_switch_elects_two_leaders_in_one_term(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fig. 10: one with a majority of the old configuration, another with a majority of the new."""
    monkeypatch.setattr(membership, "begin_joint_consensus_if_caught_up", switch_directly)
    assert hold_two_elections(play_the_figure()) == ["S1", "S5"]


def test_the_two_leaders_of_a_direct_switch_commit_different_entries_at_one_index(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fig. 10, Fig. 3: what Election Safety is there for."""
    monkeypatch.setattr(membership, "begin_joint_consensus_if_caught_up", switch_directly)
    cluster = play_the_figure()
    hold_two_elections(cluster)
    replicate(cluster, "S1", "S2")
    for name in ("S3", "S4"):
        replicate(cluster, "S5", name)
    one, other = cluster["S1"], cluster["S5"]
    both = min(one.commit_index, other.commit_index)
    assert both >= 2
    assert one.log.entry_at(both).line != other.log.entry_at(both).line


def test_in_joint_consensus_the_same_messages_elect_one_leader() -> None:
    """§6: agreement requires separate majorities of both; S3 and S4 know C_old,new, and S5 needs one of S1 and S2."""
    cluster = play_the_figure()
    assert hold_two_elections(cluster) == ["S1"]
    assert cluster["S5"].votes == {"S5": True, "S3": True, "S4": True}


def test_the_leader_of_a_direct_switch_decides_with_the_new_servers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fig. 10: C_new decides while C_old still can."""
    monkeypatch.setattr(membership, "begin_joint_consensus_if_caught_up", switch_directly)
    cluster = play_the_figure()
    assert cluster["S3"].commit_index == cluster["S3"].log.last_index


def test_in_joint_consensus_the_leader_decides_nothing_with_the_new_servers_alone() -> None:
    """§6: S3, S4 and S5 are a majority of C_new, and S3 alone is none of C_old."""
    cluster = play_the_figure()
    leading = cluster["S3"]
    assert replication.index_stored_on_majority(leading) == leading.commit_index == leading.log.last_index - 1
    replicate(cluster, "S3", "S1")
    save(leading)
    assert leading.commit_index == leading.log.last_index
