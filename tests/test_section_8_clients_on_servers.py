"""§8 on real servers in virtual time: commands that are executed once, and reads that are never stale."""

from __future__ import annotations

import pytest
from simulated import SimulatedRuns

from raft_threads import kv
from raft_threads.client_messages import Query, Register
from raft_threads.companion.simulated_client import client_of
from raft_threads.events import Applied, MessageSent, ReadServed
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown, SessionExpired
from raft_threads.simulation.cluster import PATIENCE, SimulatedCluster
from raft_threads.simulation.network import Exchange
from raft_threads.state import Role
from raft_threads.timing import Timing
from raft_threads.wire import encode

PAPER = Timing(0.150, 0.300, 0.050)
DRIFT = 500  # parts per thousand


def increment(cluster: SimulatedCluster, client_id: int, sequence: int, via: str, first_unanswered: int = 1) -> str:
    """Have a client's counter incremented within its session; return what it is told."""
    command = kv.increment_command("counter", 1)
    result = cluster.node(via).propose_in_session(client_id, sequence, first_unanswered, command, PATIENCE)
    return str(kv.decode_result(result)["value"])


def register(cluster: SimulatedCluster, via: str) -> int:
    """Open a session."""
    return cluster.node(via).register_client(PATIENCE)


# Finding the leader


def test_a_client_leaves_a_leader_that_does_not_answer_for_another_one(cluster: SimulatedCluster) -> None:
    """§8: its request times out, and it tries other servers."""
    cluster.elect("n1")
    with client_of(cluster, timeout=3.0) as client:
        client.put("x", "1")
        cluster.isolate("n1")
        cluster.elect("n2")
        client.put("x", "2")
        assert client.get("x") == "2"


# Sessions


def test_a_command_that_is_sent_again_after_a_leader_change_is_executed_once(cluster: SimulatedCluster) -> None:
    """§8: the leader crashes after committing and before responding; the client asks the next one."""
    cluster.elect("n1")
    client_id = register(cluster, "n1")
    assert increment(cluster, client_id, 1, "n1") == "1"
    cluster.wait_until_applied_everywhere()
    cluster.crash("n1")
    cluster.elect("n2")
    assert increment(cluster, client_id, 1, "n2") == "1", "the first answer"
    assert increment(cluster, client_id, 2, "n2") == "2"
    assert cluster.read("counter", "n2") == "2"


def test_sessions_outlive_a_restart_from_a_snapshot(simulated: SimulatedRuns) -> None:
    """§8, Diss. §6.3: the answers are part of the state."""
    cluster = simulated(1)
    cluster.elect("n1")
    client_id = register(cluster, "n1")
    increment(cluster, client_id, 1, "n1")
    cluster.take_snapshot("n1")
    cluster.crash("n1")
    cluster.restart("n1")
    cluster.elect("n1")
    assert increment(cluster, client_id, 1, "n1") == "1"
    assert cluster.read("counter", "n1") == "1"


def test_a_follower_that_installs_a_snapshot_knows_the_sessions(cluster: SimulatedCluster) -> None:
    """§7, §8: else it would execute again what the others do not."""
    cluster.elect("n1")
    cluster.crash("n3")
    client_id = register(cluster, "n1")
    increment(cluster, client_id, 1, "n1")
    cluster.take_snapshot("n1")
    cluster.run_for(1)
    cluster.restart("n3")
    cluster.wait_until_applied_everywhere()
    cluster.crash("n1")
    cluster.elect("n3")
    assert increment(cluster, client_id, 1, "n3") == "1"


def test_a_client_whose_session_has_expired_is_told_so_and_nothing_is_executed(simulated: SimulatedRuns) -> None:
    """§8, Diss. §6.3: the least recently used goes first; all servers agree, as the log decides."""
    cluster = simulated(3, max_sessions=2)
    cluster.elect("n1")
    first, second = register(cluster, "n1"), register(cluster, "n1")
    increment(cluster, first, 1, "n1")
    third = register(cluster, "n1")
    with pytest.raises(SessionExpired):
        increment(cluster, second, 1, "n1")
    assert increment(cluster, first, 2, "n1", 2) == "2"
    assert increment(cluster, third, 1, "n1") == "3"


def test_a_session_id_is_the_index_of_the_entry_that_opened_it(cluster: SimulatedCluster) -> None:
    """Diss. §6.3: so it is unique, and all servers know it."""
    cluster.elect("n1")
    assert register(cluster, "n1") == cluster.state("n1").log.last_index == 2


# Reads (Diss. §6.4)


def test_a_read_writes_nothing_to_the_log(cluster: SimulatedCluster) -> None:
    """§8: read-only operations can be handled without."""
    cluster.elect("n1")
    cluster.put("x", "1")
    last_index = cluster.state("n1").log.last_index
    assert cluster.read("x", "n1") == "1" and cluster.read("y", "n1") is None
    assert cluster.state("n1").log.last_index == last_index
    assert len(cluster.stream.events(ReadServed)) == 2


def test_a_deposed_leader_answers_no_read(cluster: SimulatedCluster) -> None:
    """§8: its information may be stale; it exchanges heartbeats with a majority before it answers."""
    cluster.elect("n1")
    cluster.put("x", "old")
    cluster.isolate("n1")
    cluster.elect("n2")
    cluster.put("x", "new", via="n2")
    assert cluster.state("n1").role is Role.LEADER, "it knows nothing of that"
    with pytest.raises(CommandFailed, match="no majority confirmed"):
        cluster.read("x", "n1", timeout=2)
    assert cluster.read("x", "n2") == "new"


def test_a_read_that_waits_when_its_leader_is_deposed_is_sent_elsewhere(cluster: SimulatedCluster) -> None:
    """§8: the client may ask another server at once."""
    cluster.elect("n1")
    cluster.put("x", "1")
    cluster.isolate("n1")
    request = Query(kv.get_command("x"), PATIENCE)
    asked = Exchange(cluster.network, "main", "n1", encode(request), request)
    cluster.run_for(0.01)
    assert len(cluster.node("n1")._monitor.reads) == 1
    cluster.elect("n2")
    cluster.heal()
    answer = asked.wait(10**10)
    assert answer.outcome.value == "not_leader" and answer.leader_id in (None, "n2")


def test_a_new_leader_answers_with_all_that_was_committed_before_it(cluster: SimulatedCluster) -> None:
    """§8: it may not know what is; its no-op has to be committed first, and everything applied."""
    cluster.elect("n1")
    cluster.put("x", "1")
    for follower in ("n2", "n3"):
        assert cluster.state(follower).commit_index < cluster.state("n1").commit_index
    cluster.crash("n1")
    cluster.network.hold("n3", "n2")
    cluster.time_out("n2")
    cluster.run_until(lambda: cluster.network.held("n3", "n2"), "n3 votes")
    cluster.network.release("n3", "n2", 0)
    cluster.run_until(lambda: cluster.state("n2").role is Role.LEADER, "n2 leads")
    assert cluster.state("n2").commit_index < cluster.state("n2").log.last_index
    with pytest.raises(CommandFailed):
        cluster.read("x", "n2", timeout=0.2)
    cluster.network.release("n3", "n2")
    assert cluster.read("x", "n2") == "1"


def test_reads_that_wait_share_a_round_of_heartbeats(cluster: SimulatedCluster) -> None:
    """Diss. §6.4: any number of them costs two rounds at most, the one under way and the next."""
    cluster.elect("n1")
    cluster.put("x", "1")
    cluster.run_for(0.02)
    mark = cluster.stream.mark()
    request = Query(kv.get_command("x"), PATIENCE)
    asked = [Exchange(cluster.network, f"client {n}", "n1", encode(request), request) for n in range(20)]
    cluster.run_until(lambda: len(cluster.stream.events(ReadServed, since=mark)) == 20, "all are answered")
    assert len(cluster.stream.events(MessageSent, "n1", since=mark)) <= 2 * 2 + 2
    assert len(asked) == 20


def test_a_follower_reads_nothing_and_names_the_leader(cluster: SimulatedCluster) -> None:
    """§8: clients ask the leader."""
    cluster.elect("n1")
    cluster.put("x", "1")
    cluster.run_until(lambda: cluster.state("n2").leader_id == "n1", "n2 follows n1")
    with pytest.raises(NotLeader) as refusal:
        cluster.read("x", "n2")
    assert refusal.value.leader_id == "n1"


def test_a_cluster_of_one_reads_without_asking_anybody(simulated: SimulatedRuns) -> None:
    """§8: it is its own majority."""
    cluster = simulated(1)
    cluster.elect("n1")
    cluster.put("x", "1")
    assert cluster.read("x", "n1") == "1"


def test_reads_are_not_stale_however_clocks_drift(simulated: SimulatedRuns) -> None:
    """Diss. §6.4: they rely on no clock. Here one runs at half, one at one and a half times the speed."""
    cluster = simulated(3, timing=PAPER, drifts={"n1": -DRIFT, "n3": DRIFT})
    for number in range(30):
        server = f"n{number % 3 + 1}"
        cluster.put("x", str(number), via=cluster.wait_for_leader())
        cluster.isolate(server)
        cluster.run_for(0.2)
        for each in cluster.servers:
            try:
                assert cluster.read("x", each, timeout=0.05) == str(number)
            except (NotLeader, CommandFailed, OutcomeUnknown):
                pass
        cluster.heal()


def test_a_registration_that_is_sent_twice_does_no_harm(cluster: SimulatedCluster) -> None:
    """§8: there is one session too many."""
    cluster.elect("n1")
    for _ in range(2):
        request = Register(PATIENCE)
        Exchange(cluster.network, "main", "n1", encode(request), request)
    cluster.run_until_event(Applied, lambda event: event.entry.index == 3)
    assert increment(cluster, 2, 1, "n1") == "1"
    assert increment(cluster, 3, 1, "n1") == "2"
