"""§6 on real servers in virtual time: clusters that grow and shrink while commands are served, whoever crashes."""

from __future__ import annotations

import pytest
from simulated import SimulatedRuns

from raft_threads import kv
from raft_threads.configuration import Configuration
from raft_threads.events import (
    BecameLeader,
    CatchUpRoundEnded,
    ConfigurationChanged,
    ElectionTimedOut,
    MembershipChangeGivenUp,
    RequestVoteDisregarded,
    SteppedDown,
)
from raft_threads.log import CONFIGURATION
from raft_threads.proposals import CommandFailed
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role
from raft_threads.timing import Timing

PAPER = Timing(0.150, 0.300, 0.050)


def servers_of(configuration: Configuration) -> set[str]:
    """Return the ids in a configuration."""
    return set(configuration.servers)


def kinds_of(cluster: SimulatedCluster, server: str) -> list[str]:
    """Return the kinds of the entries in the log of `server`."""
    return [entry.kind for entry in cluster.log_of(server)]


def is_joint(cluster: SimulatedCluster, server: str) -> bool:
    """Return whether `server` uses C_old,new."""
    return cluster.state(server).configuration.is_joint


@pytest.mark.parametrize(
    "steps",
    [
        [["n1", "n2", "n3"], ["n1", "n2", "n3", "n4", "n5"], ["n1", "n2", "n3"], ["n1"]],
        [["n1", "n2"], ["n2", "n3", "n4", "n5"], ["n4"], ["n1", "n2", "n3", "n4", "n5"]],
        [["n2"], ["n3"], ["n1"]],
    ],
    ids=["1-3-5-3-1", "replaced", "moved"],
)
def test_any_set_of_servers_can_become_any_other_while_commands_are_served(
    simulated: SimulatedRuns, steps: list[list[str]]
) -> None:
    """§6: joint consensus allows arbitrary changes, and the cluster serves requests throughout."""
    cluster = simulated(5, bootstrap=["n1"], timing=PAPER)
    cluster.put("x", "0")
    for number, servers in enumerate(steps, 1):
        assert servers_of(cluster.change_members(*servers)) == set(servers)
        cluster.wait_for_leader(servers)
        cluster.put("x", str(number))
        cluster.run_until(
            lambda: all(cluster.running[server].store.items.get("x") == str(number) for server in servers),  # noqa: B023
            "the new servers have applied it",
        )
    assert cluster.read("x") == str(len(steps))


def test_the_configuration_passes_through_joint_consensus(simulated: SimulatedRuns) -> None:
    """§6, Fig. 11: C_old,new is committed before C_new is created; each is used as soon as it is in the log."""
    cluster = simulated(4, bootstrap=["n1", "n2", "n3"])
    cluster.elect("n1")
    cluster.change_members("n1", "n2", "n4")
    used = [event.configuration for event in cluster.stream.events(ConfigurationChanged, "n2")]
    assert [configuration.is_joint for configuration in used] == [True, False]
    assert servers_of(used[0]) == {"n1", "n2", "n3", "n4"} and servers_of(used[1]) == {"n1", "n2", "n4"}
    assert kinds_of(cluster, "n1").count(CONFIGURATION) == 2


def test_new_servers_catch_up_before_they_vote(simulated: SimulatedRuns) -> None:
    """§6, Diss. §4.2.1: the log reaches n4 first, and then the configuration that it is part of."""
    cluster = simulated(4, bootstrap=["n1", "n2", "n3"], max_entries_per_message=1)
    cluster.elect("n1")
    for number in range(20):
        cluster.put("x", str(number))
    cluster.begin_change("n1", "n2", "n3", "n4", via="n1")
    cluster.run_until(lambda: cluster.state("n1").catch_up is not None, "n4 is catching up")
    assert "n4" not in cluster.state("n1").configuration
    ended = cluster.run_until_event(CatchUpRoundEnded)
    assert ended.learner == "n4" and ended.server == "n1"
    cluster.run_until(lambda: not is_joint(cluster, "n4") and "n4" in cluster.state("n4").configuration, "n4 is in")
    assert kinds_of(cluster, "n4") == kinds_of(cluster, "n1")


def test_a_new_server_that_does_not_answer_is_given_up_and_nothing_has_changed(simulated: SimulatedRuns) -> None:
    """§6, Diss. §4.2.1: the cluster stays as it is, commands are served meanwhile, and the operator is told."""
    cluster = simulated(4, bootstrap=["n1", "n2", "n3"], timing=PAPER)
    leader = cluster.wait_for_leader(["n1", "n2", "n3"])
    cluster.crash("n4")
    with pytest.raises(CommandFailed, match="did not catch up in time; the cluster stays as it was"):
        cluster.change_members("n1", "n2", "n3", "n4")
    assert cluster.stream.events(MembershipChangeGivenUp)
    assert all(CONFIGURATION not in kinds_of(cluster, server) for server in ("n1", "n2", "n3"))
    cluster.put("x", "1")
    assert cluster.state(leader).peers == [server for server in ("n1", "n2", "n3") if server != leader]
    cluster.restart("n4")
    assert servers_of(cluster.change_members("n1", "n2", "n3", "n4")) == {"n1", "n2", "n3", "n4"}


@pytest.mark.parametrize(
    "members, complaint",
    [
        (["n1", "n2", "n3"], "the cluster has these servers already"),
        ([], "at least one server"),
        (["n1", "n1"], "named twice"),
    ],
    ids=["no change", "nobody", "twice"],
)
def test_a_change_that_makes_no_sense_is_refused(
    cluster: SimulatedCluster, members: list[str], complaint: str
) -> None:
    """§6: nothing has changed then."""
    cluster.elect("n1")
    cluster.put("x", "1")
    with pytest.raises(CommandFailed, match=complaint):
        cluster.change_members(*members)
    assert CONFIGURATION not in kinds_of(cluster, "n1") and cluster.state("n1").catch_up is None


def test_a_second_change_is_refused_while_one_is_under_way(simulated: SimulatedRuns) -> None:
    """§6: the next one begins when C_new of the first is committed."""
    cluster = simulated(5, bootstrap=["n1", "n2", "n3"])
    cluster.elect("n1")
    cluster.put("x", "1")
    cluster.isolate("n1")
    cluster.begin_change("n1", "n2", via="n1")
    cluster.run_until(lambda: is_joint(cluster, "n1"), "n1 appends C_old,new")
    with pytest.raises(CommandFailed, match="another change of the cluster is under way"):
        cluster.node("n1").change_members(Configuration.of(["n1"]).members, 5)
    cluster.heal()
    cluster.run_until(lambda: servers_of(cluster.state("n1").configuration) == {"n1", "n2"}, "it is over")


def test_a_leader_outside_of_the_new_configuration_steps_down_once_that_is_committed(simulated: SimulatedRuns) -> None:
    """§6, the second issue: it manages the change without counting itself; then one of C_new is elected."""
    cluster = simulated(["n1", "n2", "n3"])
    cluster.elect("n1")
    assert servers_of(cluster.change_members("n2", "n3")) == {"n2", "n3"}
    cluster.run_until_event(SteppedDown, lambda event: event.server == "n1")
    state = cluster.state("n1")
    assert state.role is Role.FOLLOWER and state.commit_index == state.log.configuration_index
    cluster.time_out("n1")
    cluster.run_for(1)
    assert cluster.state("n1").role is Role.FOLLOWER, "who was removed does not stand"
    cluster.elect("n2")
    cluster.put("x", "1", via="n2")


def test_a_change_outlives_the_leader_that_began_it_once_its_entry_is_on_a_majority(simulated: SimulatedRuns) -> None:
    """§6: who has C_old,new can be elected, and completes the change."""
    cluster = simulated(5, bootstrap=["n1", "n2", "n3"])
    cluster.elect("n1")
    cluster.put("x", "1")
    cluster.crash_after(ConfigurationChanged, lambda event: event.server == "n1" and not event.configuration.is_joint)
    cluster.begin_change("n2", "n3", "n4", via="n1")
    cluster.run_until(lambda: "n1" not in cluster.running, "n1 crashes with C_new in its own log alone")
    assert is_joint(cluster, "n2") and is_joint(cluster, "n4")
    cluster.elect("n2")
    cluster.run_until(lambda: not is_joint(cluster, "n2"), "n2 goes on to C_new")
    assert servers_of(cluster.state("n2").configuration) == {"n2", "n3", "n4"}
    cluster.put("x", "2", via="n2")


def test_a_change_whose_entry_is_nowhere_else_is_rolled_back(simulated: SimulatedRuns) -> None:
    """§6: the configuration in force is the latest in the log, and with its entry it goes."""
    cluster = simulated(["n1", "n2", "n3"])
    cluster.elect("n1")
    cluster.put("x", "1")
    cluster.isolate("n1")
    cluster.begin_change("n1", "n2", via="n1")
    cluster.run_until(lambda: is_joint(cluster, "n1"), "n1 appends C_old,new")
    cluster.elect("n2")
    cluster.put("x", "2", via="n2")
    cluster.heal()
    cluster.run_until(lambda: not is_joint(cluster, "n1"), "n2's log replaces n1's")
    assert servers_of(cluster.state("n1").configuration) == {"n1", "n2", "n3"}


def test_a_change_outlives_the_crash_of_all_servers(simulated: SimulatedRuns) -> None:
    """§6: what they are started with counts only as long as the log has nothing newer."""
    cluster = simulated(4, bootstrap=["n1", "n2", "n3"])
    cluster.elect("n1")
    cluster.change_members("n1", "n2", "n4")
    cluster.wait_until_applied_everywhere(["n1", "n2", "n4"])
    for server in cluster.servers:
        cluster.crash(server)
    for server in cluster.servers:
        cluster.restart(server)
    cluster.elect("n4")
    cluster.put("x", "1", via="n4")
    for server in ("n1", "n2", "n4"):
        assert servers_of(cluster.state(server).configuration) == {"n1", "n2", "n4"}


def test_a_removed_server_does_not_disrupt_the_cluster(simulated: SimulatedRuns) -> None:
    """§6, the third issue: it times out again and again, in ever newer terms, and nobody listens."""
    cluster = simulated(["n1", "n2", "n3", "n4"], timing=PAPER)
    cluster.put("x", "1")
    leader = cluster.wait_for_leader()
    removed = next(server for server in cluster.servers if server != leader)
    cluster.isolate(removed)  # so that it does not learn of its removal
    cluster.change_members(*(server for server in cluster.servers if server != removed))
    term = cluster.state(leader).current_term
    cluster.heal()
    mark = cluster.stream.mark()
    cluster.run_for(5)
    assert len(cluster.stream.events(ElectionTimedOut, removed, since=mark)) > 5
    assert cluster.stream.events(RequestVoteDisregarded, since=mark)
    assert cluster.state(removed).current_term > term + 5
    assert cluster.stream.events(BecameLeader, since=mark) == [] and cluster.state(leader).current_term == term


def test_a_server_that_waits_to_be_added_stands_for_no_election(simulated: SimulatedRuns) -> None:
    """§6: it is in no configuration yet."""
    cluster = simulated(["n1", "n2"], bootstrap=["n1"], timing=PAPER)
    cluster.put("x", "1")
    cluster.run_for(3)
    assert cluster.stream.events(ElectionTimedOut, "n2") == []
    assert cluster.state("n2").current_term == 0


def test_a_server_that_was_removed_and_lost_its_disk_can_be_added_again(simulated: SimulatedRuns) -> None:
    """§6: it is a new one then. Its thread on the leader ended, and another one begins."""
    cluster = simulated(["n1", "n2", "n3"])
    cluster.elect("n1")
    for _ in range(2):
        cluster.change_members("n1", "n2")
        cluster.crash("n3")
        cluster.wipe("n3")
        cluster.restart("n3")
        cluster.run_until(lambda: cluster.stream.is_up("n3"), "n3 is up")
        cluster.change_members("n1", "n2", "n3")
        cluster.execute(kv.append_command("x", "1"))
    cluster.wait_until_applied_everywhere()
    assert cluster.running["n3"].store.items == {"x": "11"}
