"""Real servers of one process, with sockets and files: elections, partitions, crashes, changes (§5 to §8).

What can happen to them besides is played in virtual time, in the modules named `..._on_servers`.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from drawing import entries_of

from raft_threads import events, kv
from raft_threads.events import glimpse
from raft_threads.invariants import InvariantViolation
from raft_threads.local_cluster import LocalCluster
from raft_threads.log import LogEntry
from raft_threads.options import Options
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown
from raft_threads.state import State


@pytest.fixture(name="cluster")
def cluster_of_three() -> Iterator[LocalCluster]:
    """Three servers; whatever a test did, the properties of Fig. 3 held, and the logs match at its end."""
    with LocalCluster(first_port=0) as cluster:
        yield cluster
        cluster.check_figure_3()
        cluster.check_single_leader()
        cluster.check_logs_match()


# The checks


@pytest.fixture(name="two")
def two_that_are_not_started(monkeypatch: pytest.MonkeyPatch) -> LocalCluster:
    """What n1 and n2 have done is up to the test."""
    cluster = LocalCluster(["n1", "n2"], first_port=0)
    monkeypatch.setattr(cluster, "running", {"n1": None, "n2": None})
    return cluster


def apply(cluster: LocalCluster, name: str, *entries: LogEntry) -> None:
    """Have a server tell that it applied `entries`."""
    for entry in entries:
        cluster.recorder.observe(events.Applied(name, 0.0, glimpse(State(name, ("n1", "n2"))), entry, b""))


def test_other_entries_that_a_server_applied_are_found_and_that_one_is_behind_is_no_fault(two: LocalCluster) -> None:
    """Fig. 3, State Machine Safety: no other entry for the same index. A new leader's no-op comes at any time."""
    apply(two, "n1", *entries_of(1, 1, 2))
    apply(two, "n2", *entries_of(1, 1))
    assert two.check_same_commands_applied() == 2
    apply(two, "n2", *entries_of(3, first_index=3))
    with pytest.raises(AssertionError, match="n2 applied other entries than n1"):
        two.check_same_commands_applied()


def test_two_leaders_of_a_term_are_found(two: LocalCluster) -> None:
    """Fig. 3, Election Safety."""
    for name, term in (("n1", 1), ("n2", 2)):
        two.recorder.observe(events.BecameLeader(name, 0.0, glimpse(State(name, ("n1", "n2"), term))))
    two.check_single_leader()
    two.recorder.observe(events.BecameLeader("n1", 0.0, glimpse(State("n1", ("n1", "n2"), 2))))
    with pytest.raises(AssertionError, match="term 2 had the leaders n1, n2"):
        two.check_single_leader()


def test_logs_that_differ_before_an_entry_they_share_are_found(
    two: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fig. 3, Log Matching. What differs at their ends is no fault."""
    logs = {"n1": [*entries_of(1, 2, 3)], "n2": [*entries_of(1, 2, 4, 4)]}
    monkeypatch.setattr(two, "log_of", logs.__getitem__)
    two.check_logs_match()
    logs["n2"] = [*entries_of(2, 2)]
    with pytest.raises(AssertionError, match="the logs of n1 and n2 differ before entry 2"):
        two.check_logs_match()


# Servers


def test_one_server_is_elected_and_the_others_follow_it(cluster: LocalCluster) -> None:
    """§5.2."""
    leader = cluster.wait_for_leader()
    cluster.wait_until_applied_everywhere()
    assert {status.leader for status in cluster.statuses()} == {leader}
    assert sorted(status.role for status in cluster.statuses()) == ["follower", "follower", "leader"]


def test_commands_are_applied_by_every_server_in_the_same_order(cluster: LocalCluster) -> None:
    """§5.3."""
    leader = cluster.wait_for_leader()
    for number in range(50):
        cluster.put("x", str(number), leader)
    assert cluster.get("x", leader) == "49"
    cluster.wait_until_applied_everywhere()
    assert cluster.check_same_commands_applied() >= 51
    assert [cluster.running[server].store.items for server in cluster.servers] == [{"x": "49"}] * 3


def test_a_server_that_times_out_first_can_be_chosen(cluster: LocalCluster) -> None:
    """§5.2: it is the timeouts that decide."""
    for server in ("n3", "n1", "n2"):
        assert cluster.elect(server) == server


def test_when_the_leader_is_lost_another_is_elected_and_has_all_committed_entries(cluster: LocalCluster) -> None:
    """§5.4.1, §5.5."""
    first = cluster.wait_for_leader()
    cluster.put("x", "1", first)
    cluster.crash(first)
    second = cluster.wait_for_leader()
    assert second != first
    assert cluster.get("x", second) == "1"


def test_the_uncommitted_entries_of_a_leader_that_was_cut_off_are_replaced(cluster: LocalCluster) -> None:
    """§5.3: and the client that waited for them learns that they were surely not executed."""
    old = cluster.elect("n1")
    cluster.put("x", "1", old)
    cluster.partition({"n1"}, {"n2", "n3"})
    outcomes: list[Exception] = []

    def write() -> None:
        try:
            cluster.put("lost", "1", old)
        except (CommandFailed, OutcomeUnknown) as error:
            outcomes.append(error)

    mark = cluster.recorder.mark()
    client = threading.Thread(target=write)
    client.start()
    cluster.recorder.wait_for(events.EntriesAppended, lambda event: event.server == "n1", mark)
    new = cluster.wait_for_leader({"n2", "n3"})
    cluster.put("x", "2", new)
    cluster.heal()
    cluster.recorder.wait_for(events.EntriesDeleted, lambda event: event.server == "n1", mark)
    client.join()
    cluster.wait_until_applied_everywhere()
    assert [type(outcome) for outcome in outcomes] == [CommandFailed]
    assert cluster.running["n1"].store.items == {"x": "2"}


def test_a_lost_reply_costs_a_retry_and_no_entry(cluster: LocalCluster) -> None:
    """§5.5: the request arrives, the reply does not; it is sent again until it does."""
    leader = cluster.elect("n1")
    cluster.network.cut_one_way("n2", "n1")
    cluster.network.cut_one_way("n3", "n1")
    mark = cluster.recorder.mark()
    waiting = threading.Thread(target=lambda: cluster.put("x", "1", leader))
    waiting.start()
    for server in ("n2", "n3"):
        cluster.recorder.wait_for(events.EntriesAppended, lambda event: event.server == server, mark)  # noqa: B023
    assert cluster.node("n1").status().commit_index < cluster.node("n1").status().last_log_index
    cluster.heal()
    waiting.join()
    cluster.wait_until_applied_everywhere()
    assert [entry.command for entry in cluster.log_of("n2")].count(kv.put_command("x", "1")) == 1


@pytest.mark.parametrize("victims", [["n1"], ["n1", "n2", "n3"]], ids="+".join)
def test_whoever_crashes_goes_on_from_disk(cluster: LocalCluster, victims: list[str]) -> None:
    """§5.5, Fig. 2: the leader, all."""
    cluster.elect("n1")
    cluster.put("x", "1", "n1")
    terms = {status.id: status.term for status in cluster.statuses()}
    for server in victims:
        cluster.crash(server)
    for server in victims:
        cluster.restart(server)
        assert cluster.node(server).status().term >= terms[server]
    cluster.put("y", "2")
    cluster.wait_until_applied_everywhere()
    for server in cluster.servers:
        assert cluster.running[server].store.items == {"x": "1", "y": "2"}
    cluster.check_same_commands_applied()


def test_the_same_seed_draws_the_same_timeouts() -> None:
    """A random test prints its seed, and the seed replays it."""
    first, second = (LocalCluster(seed=7, first_port=0)._dice_of("n2").random() for _ in range(2))
    assert first == second


def test_the_port_of_a_server_that_is_down_is_kept_for_it(cluster: LocalCluster) -> None:
    """§6: its address stands in the others' logs. Nobody who looks for any free port gets it meanwhile."""
    cluster.crash("n3")
    kept = cluster.addresses["n3"]
    with socket.socket() as other, pytest.raises(OSError):
        other.bind(kept)
    cluster.restart("n3")
    assert cluster.addresses["n3"] == kept
    cluster.wait_until_applied_everywhere()


# After §5


def test_servers_are_added_and_removed_the_leader_among_them(cluster: LocalCluster) -> None:
    """§6: who joins waits, with no term of its own, until it is added; who was removed does not lead any more."""
    cluster.elect("n1")
    cluster.put("x", "1")
    cluster.join("n4")
    assert cluster.node("n4").status().term == 0 and cluster.members() == ("n1", "n2", "n3")
    assert cluster.add("n4").servers == ("n1", "n2", "n3", "n4")
    assert cluster.remove("n1", "n3").servers == ("n2", "n4")
    assert cluster.wait_for_leader() in ("n2", "n4")
    cluster.crash("n4")
    cluster.restart("n4")
    cluster.put("x", "2")
    cluster.wait_until_applied_everywhere(["n2", "n4"])
    assert {cluster.running[server].store.items["x"] for server in ("n2", "n4")} == {"2"}


def test_a_server_that_lost_its_files_is_added_as_a_new_one_and_gets_the_snapshot(cluster: LocalCluster) -> None:
    """§6, §7: it must have been removed first, as it has forgotten its votes."""
    cluster.elect("n1")
    cluster.put("x", "1")
    cluster.remove("n3")
    cluster.crash("n3")
    cluster.wipe("n3")
    snapshot = cluster.take_snapshot(cluster.wait_for_leader(["n1", "n2"]))
    assert "n3" not in snapshot.configuration
    assert not cluster.directory_of("n3").exists()
    cluster.restart("n3")
    mark = cluster.recorder.mark()
    cluster.add("n3")
    cluster.recorder.wait_for(events.SnapshotInstalled, lambda event: event.server == "n3", mark)
    cluster.wait_until_applied_everywhere()
    cluster.check_same_state()
    cluster.running["n3"].store.items["x"] = "2"
    with pytest.raises(AssertionError, match="n3 holds another state than n1"):
        cluster.check_same_state()


def test_a_member_that_loses_its_files_is_a_violation(cluster: LocalCluster) -> None:
    """Fig. 2: what is persistent must persist."""
    cluster.put("x", "1")
    cluster.crash("n3")
    with pytest.raises(InvariantViolation, match="n3 has lost its disk"):
        cluster.wipe("n3")
    assert cluster.directory_of("n3").exists()
    cluster.restart("n3")


def test_leadership_is_handed_over_and_reads_need_no_entry(cluster: LocalCluster) -> None:
    """Diss. §3.10; §8."""
    cluster.elect("n1")
    cluster.put("x", "1")
    assert cluster.transfer("n3") == "n3"
    assert cluster.wait_for_leader_of(cluster.servers) == "n3"
    cluster.wait_until_applied_everywhere()
    last_index = cluster.node("n3").status().last_log_index
    assert cluster.read("x") == cluster.read("x", "n3") == "1"
    assert cluster.node("n3").status().last_log_index == last_index
    with pytest.raises(NotLeader):
        cluster.read("x", "n1")


def test_options_are_for_all_servers_and_can_be_changed(cluster: LocalCluster) -> None:
    """Diss. §9.6: as operators do, server by server or all at once."""
    cluster.put("x", "1")
    cluster.restart_all(Options(pre_vote=True))
    cluster.put("x", "2")
    assert cluster.recorder.events(events.PreVoteReceived)
