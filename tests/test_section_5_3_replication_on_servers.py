"""§5.3 on real servers in virtual time: entries on their way to all logs, whatever network and disks do to them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from simulated import SimulatedRuns

from raft_threads import kv
from raft_threads.entry_format import MAX_COMMAND_BYTES
from raft_threads.events import (
    BecameCandidate,
    CommitAdvanced,
    EntriesAppended,
    EntriesDeleted,
    MessageReceived,
    MessageSent,
    ReplyReceived,
    ReplySent,
)
from raft_threads.messages import AppendEntries, AppendEntriesReply
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.disk import DiskMood
from raft_threads.simulation.network import Weather
from raft_threads.simulation.policies import MILLISECOND
from raft_threads.state import Role
from raft_threads.wire import Message

SLOW = 200 * MILLISECOND


def carries_entries(message: Message) -> bool:
    """Say whether a message is an AppendEntries that is not a heartbeat."""
    return isinstance(message, AppendEntries) and bool(message.entries)


def is_append_entries_reply(message: Message) -> bool:
    """Say whether a message answers an AppendEntries."""
    return isinstance(message, AppendEntriesReply)


def propose(cluster: SimulatedCluster, leader: str, count: int) -> None:
    """Have `leader` append so many commands, and wait for none of them."""
    for number in range(count):
        cluster.propose(kv.put_command("x", f"{leader}.{number}"), leader)


def commands(cluster: SimulatedCluster, server: str) -> list[bytes]:
    """Return the clients' commands in a server's log."""
    return [entry.command for entry in cluster.log_of(server) if entry.command]


def slow_down_the_disks_of(cluster: SimulatedCluster, servers: Iterable[str]) -> None:
    """From now on these disks take 200 ms for an fsync."""
    for server in servers:
        cluster.disks[server].mood = DiskMood(SLOW, SLOW)


# Commands


def test_a_command_is_answered_once_it_is_committed_and_applied_and_the_others_follow(
    cluster: SimulatedCluster,
) -> None:
    """§5.3: followers learn of the commit with the next message, a heartbeat if there is no other."""
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    cluster.put("x", "1", "n1")
    assert cluster.running["n1"].store.items == {"x": "1"}
    assert cluster.state("n1").commit_index == 2
    assert [cluster.state(server).commit_index for server in ("n2", "n3")] == [1, 1]
    cluster.wait_until_applied_everywhere()
    assert [cluster.running[server].store.items for server in cluster.servers] == [{"x": "1"}] * 3


def test_many_commands_are_applied_by_all_in_the_same_order_and_travel_together(cluster: SimulatedCluster) -> None:
    """§5.3: what comes while a message is under way goes with the next one."""
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    mark = cluster.stream.mark()
    propose(cluster, "n1", 50)
    cluster.wait_until_applied_everywhere()
    assert cluster.terms_of("n1") == cluster.terms_of("n2") == cluster.terms_of("n3") == [1] * 51
    assert commands(cluster, "n1") == commands(cluster, "n2") == commands(cluster, "n3")
    sent = [event.message for event in cluster.stream.events(MessageSent, "n1", mark) if event.peer == "n2"]
    carried = [len(message.entries) for message in sent if isinstance(message, AppendEntries)]
    assert sum(carried) == 50, "each entry once"


def test_a_follower_refuses_commands_and_names_the_leader(cluster: SimulatedCluster) -> None:
    """§5.1, §8."""
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    for follower in ("n2", "n3"):
        with pytest.raises(NotLeader) as refusal:
            cluster.put("x", "1", follower)
        assert refusal.value.leader_id == "n1"
    assert cluster.terms_of("n1") == [1]


def test_a_follower_that_was_down_gets_all_it_missed(cluster: SimulatedCluster) -> None:
    """§5.3: the leader retries for ever (§5.5)."""
    cluster.elect("n1")
    cluster.crash("n3")
    for number in range(10):
        cluster.put(f"x{number}", "1", "n1")
    cluster.restart("n3")
    cluster.wait_until_applied_everywhere()
    assert cluster.log_of("n3") == cluster.log_of("n1")
    assert len(cluster.running["n3"].store.items) == 10


def test_without_a_quorum_nothing_is_committed_and_with_it_the_entry_is(cluster: SimulatedCluster) -> None:
    """§5.3: the client is told that it cannot know; the entry stays in the leader's log."""
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    cluster.isolate("n1")
    with pytest.raises(OutcomeUnknown):
        cluster.execute(kv.put_command("x", "1"), "n1", timeout=5.0)
    assert (cluster.state("n1").commit_index, cluster.state("n1").log.last_index) == (1, 2)
    cluster.heal()
    cluster.wait_until_applied_everywhere()
    assert cluster.get("x", "n1") == "1"


def test_a_leader_that_is_cut_off_for_a_moment_goes_on_in_its_term(cluster: SimulatedCluster) -> None:
    """§5.3, §5.5: what was lost is sent again, and nobody has noticed."""
    cluster.elect("n1")
    cluster.isolate("n1")
    propose(cluster, "n1", 3)
    cluster.run_for(0.1)
    assert cluster.state("n1").commit_index < 4
    cluster.heal()
    cluster.wait_until_applied_everywhere()
    assert cluster.terms_of("n3") == [1, 1, 1, 1]
    assert len(cluster.stream.events(BecameCandidate)) == 1


# Leaders come and go


def test_leaders_change_and_all_that_they_committed_stays(cluster: SimulatedCluster) -> None:
    """§5.4.1: each term begins where the one before ended."""
    for leader in ("n1", "n2", "n3", "n1"):
        cluster.put(leader, "led", cluster.elect(leader))
    cluster.wait_until_applied_everywhere()
    assert cluster.terms_of("n2") == [1, 1, 2, 2, 3, 3, 4, 4]
    assert cluster.running["n2"].store.items == {"n1": "led", "n2": "led", "n3": "led"}


def test_entries_that_conflict_are_replaced_together_and_their_client_is_told(cluster: SimulatedCluster) -> None:
    """§5.3: four entries of a leader that was cut off; the command among them was surely never executed."""
    cluster.elect("n1")
    cluster.put("x", "1", "n1")
    cluster.wait_until_applied_everywhere()
    cluster.isolate("n1")
    outcomes: list[str] = []

    def client() -> None:
        try:
            cluster.put("x", "lost", "n1")
        except CommandFailed as failure:
            outcomes.append(str(failure))

    cluster.scheduler.spawn("client", client)
    cluster.run_until(lambda: cluster.state("n1").log.last_index == 3, "n1 appends the client's command")
    propose(cluster, "n1", 3)
    cluster.elect("n2")
    cluster.put("x", "2", "n2")
    cluster.put("y", "2", "n2")
    assert (cluster.terms_of("n1"), cluster.terms_of("n2")) == ([1, 1, 1, 1, 1, 1], [1, 1, 2, 2, 2])

    cluster.heal()
    cluster.wait_until_applied_everywhere()
    deleted = [(event.first_index, event.last_index) for event in cluster.stream.events(EntriesDeleted, "n1")]
    assert deleted == [(3, 6)]
    assert cluster.terms_of("n1") == [1, 1, 2, 2, 2]
    cluster.run_until(lambda: outcomes, "the client hears of it")
    assert outcomes == ["another leader's entry took the place of the command in the log"]
    assert cluster.running["n1"].store.items == {"x": "2", "y": "2"}


def test_a_leader_backs_up_by_one_round_trip_for_each_term_in_conflict(cluster: SimulatedCluster) -> None:
    """§5.3, last page: not by one for each entry. Of n3's log thirty entries conflict, of three terms."""
    cluster.elect("n3")
    cluster.wait_until_applied_everywhere()
    for _ in range(3):
        cluster.crash("n3")
        cluster.heal()
        cluster.restart("n3")
        cluster.elect("n3")
        cluster.isolate("n3")
        propose(cluster, "n3", 9)
        cluster.run_until_log("n3", cluster.terms_of("n3"))
    assert cluster.terms_of("n3") == [1] + [2] * 10 + [3] * 10 + [4] * 10
    cluster.elect("n1")
    propose(cluster, "n1", 29)
    cluster.run_until_log("n2", [1] + [5] * 30)

    cluster.elect("n2")
    mark = cluster.stream.mark()
    cluster.heal()
    cluster.run_until_log("n3", [1] + [5] * 30 + [6])
    replies = [event for event in cluster.stream.events(ReplyReceived, "n2", mark) if event.peer == "n3"]
    outcomes = [event.reply.success for event in replies if isinstance(event.reply, AppendEntriesReply)]
    assert outcomes.count(False) == 3
    assert outcomes.count(True) <= 1, "then all that is missing comes at once"


# Messages that come late, twice, or in another order


def test_an_append_entries_that_comes_after_a_longer_one_removes_nothing(cluster: SimulatedCluster) -> None:
    """§5.3: an entry in a log is deleted only if another one conflicts with it."""
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    cluster.network.hold("n1", "n2", carries_entries)
    propose(cluster, "n1", 3)
    cluster.run_until(lambda: len(cluster.network.held("n1", "n2")) == 2, "n1 sends again")
    first, second = cluster.network.held("n1", "n2")
    assert isinstance(first, AppendEntries) and isinstance(second, AppendEntries)
    assert (len(first.entries), len(second.entries)) == (1, 3)

    cluster.network.release("n1", "n2", 1)
    cluster.run_until_log("n2", [1, 1, 1, 1])
    cluster.network.release("n1", "n2", 0)
    cluster.run_until_event(ReplySent, lambda event: (event.server, event.message) == ("n2", first))
    assert cluster.terms_of("n2") == [1, 1, 1, 1]
    assert not cluster.stream.events(EntriesDeleted)


def test_every_message_may_come_twice(cluster: SimulatedCluster) -> None:
    """§5.5: RPCs are idempotent. Here each request and each reply does, elections included."""
    cluster.network.weather = Weather(shortest_delay_ns=MILLISECOND, longest_delay_ns=20 * MILLISECOND, duplication=1.0)
    for leader in ("n1", "n2"):
        cluster.elect(leader)
        propose(cluster, leader, 5)
        cluster.wait_until_applied_everywhere()
    assert [cluster.terms_of(server) for server in cluster.servers] == [[1] * 6 + [2] * 6] * 3
    assert not cluster.stream.events(EntriesDeleted)
    assert cluster.stream.counts["MessageDuplicated"] > 20


def test_an_append_entries_of_a_deposed_leader_changes_nothing(cluster: SimulatedCluster) -> None:
    """§5.1: it carries an old term. The entry in it is not committed, and n2 has another one there."""
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    cluster.cut_one_way([("n1", "n3")])
    cluster.network.hold("n1", "n2", carries_entries)
    propose(cluster, "n1", 1)
    cluster.run_until(lambda: cluster.network.held("n1", "n2"), "n1 sends its entry to n2")
    (late,) = cluster.network.held("n1", "n2")
    cluster.elect("n3")
    cluster.run_until_log("n2", [1, 2])
    cluster.network.release("n1", "n2")
    answer = cluster.run_until_event(ReplySent, lambda event: (event.server, event.message) == ("n2", late))
    assert answer.reply == AppendEntriesReply(term=2, success=False)
    assert cluster.terms_of("n2") == [1, 2]
    cluster.heal()
    cluster.wait_until_applied_everywhere()
    assert cluster.terms_of("n1") == [1, 2]


def test_a_reply_from_an_earlier_term_of_the_same_leader_commits_nothing(simulated: SimulatedRuns) -> None:
    """§5.3, §5.4.2: S2 had entries 2 and 3 of term 1 and lost them; its answer reaches S1 when that leads again.

    Were it believed, S1 would take its entry of term 3 to be on S1, S2 and S3, which are three of five.
    """
    cluster = simulated(["S1", "S2", "S3", "S4", "S5"])
    cluster.elect("S1")
    cluster.wait_until_applied_everywhere()
    # In term 1 S2 gets two entries in one message: they came together while the first was on its way.
    for server in ("S2", "S3", "S4", "S5"):
        cluster.network.hold("S1", server, carries_entries)
    cluster.network.hold("S2", "S1", is_append_entries_reply)
    propose(cluster, "S1", 2)
    cluster.run_until(lambda: len(cluster.network.held("S1", "S2")) == 2, "S1 sends both entries")
    cluster.network.release("S1", "S2", 1)
    cluster.run_until(lambda: cluster.network.held("S2", "S1"), "S2 answers")
    assert cluster.terms_of("S1") == cluster.terms_of("S2") == [1, 1, 1]

    # In term 2 both lose them; to the others they come too late.
    cluster.elect("S3")
    for server in ("S3", "S4", "S5"):
        cluster.network.release("S1", server)
    cluster.run_until_log("S1", [1, 2])
    cluster.run_until_log("S2", [1, 2])

    # In term 3 S1 leads again, and replicates to S3 only.
    cluster.elect("S1")
    cluster.connect_only("S1", "S3")
    cluster.run_until(lambda: cluster.state("S1").match_index["S3"] == 3, "S3 has the entry of term 3")
    assert [cluster.terms_of(server) for server in cluster.servers] == [[1, 2, 3], [1, 2], [1, 2, 3], [1, 2], [1, 2]]
    mark = cluster.stream.mark()
    assert cluster.network.held("S2", "S1") == [AppendEntriesReply(term=1, success=True)]
    cluster.network.release("S2", "S1")
    stale = cluster.run_until_event(ReplyReceived, lambda event: (event.server, event.peer) == ("S1", "S2"), mark)
    assert (stale.message.term, stale.state.role, stale.state.term) == (1, Role.LEADER, 3)
    assert cluster.state("S1").match_index == {"S1": 3, "S2": 0, "S3": 3, "S4": 0, "S5": 0}
    assert cluster.state("S1").commit_index < 3

    cluster.heal()
    cluster.network.release("S1", "S2")
    cluster.wait_until_applied_everywhere()
    assert [cluster.terms_of(server) for server in cluster.servers] == [[1, 2, 3]] * 5


# Slow disks


@pytest.mark.parametrize(
    "slow, takes",
    [("", 0), ("n1", 0), ("n3", 0), ("n1 n2", SLOW), ("n2 n3", SLOW), ("n1 n2 n3", SLOW)],
    ids=lambda value: str(value).replace(" ", "+"),
)
def test_a_commit_takes_as_long_as_the_disks_of_the_fastest_majority(
    cluster: SimulatedCluster, slow: str, takes: int
) -> None:
    """§5.3, Diss. §10.2.1: and no longer; the leader's own disk is one of them, and works beside the network."""
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    slow_down_the_disks_of(cluster, slow.split())
    began = cluster.now
    cluster.put("x", "1", "n1")
    took = cluster.now - began
    assert takes / 1e9 <= took < takes / 1e9 + 0.1


def test_a_follower_acknowledges_an_entry_only_when_its_disk_holds_it(cluster: SimulatedCluster) -> None:
    """Fig. 2: persistent state is updated on stable storage before responding to RPCs."""
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    slow_down_the_disks_of(cluster, ["n2"])
    mark = cluster.stream.mark()
    propose(cluster, "n1", 1)
    appended = cluster.run_until_event(EntriesAppended, lambda event: event.server == "n2", mark)
    cluster.run_until_log("n2", [1, 1])
    assert cluster.now - appended.when == pytest.approx(0.2)
    assert len(cluster.disks["n2"].entries()) == 2
    received = cluster.stream.events(MessageReceived, "n2")[-1]
    answered = cluster.run_until_event(
        ReplySent, lambda event: (event.server, event.message) == ("n2", received.message)
    )
    assert answered.when - received.when == pytest.approx(0.2)


def test_a_leader_commits_what_a_majority_of_others_holds_before_its_own_disk_does(cluster: SimulatedCluster) -> None:
    """Diss. §10.2.1: it counts itself only once its disk holds the entry, and does not need to count itself."""
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    slow_down_the_disks_of(cluster, ["n1"])
    mark = cluster.stream.mark()
    propose(cluster, "n1", 1)
    cluster.run_until_event(CommitAdvanced, lambda event: event.server == "n1", mark)
    assert cluster.state("n1").commit_index == 2
    assert cluster.state("n1").match_index == {"n1": 1, "n2": 2, "n3": 2}
    assert len(cluster.disks["n1"].entries()) == 1
    cluster.crash("n1")
    cluster.restart("n1")
    cluster.elect("n2")
    cluster.wait_until_applied_everywhere()
    assert cluster.terms_of("n1") == [1, 1, 2], "what was committed came back to it from the others"


# Many commands at once


def test_many_commands_proposed_at_once_are_executed_in_their_order(cluster: SimulatedCluster) -> None:
    """§5.3: one thread has them all under way, and each is answered for itself."""
    cluster.elect("n1")
    increments = [kv.increment_command("x") for _ in range(5)]
    results = cluster.node("n1").propose_many(increments, 1.0)
    assert [kv.decode_result(result)["value"] for result in results] == ["1", "2", "3", "4", "5"]
    assert cluster.node("n1").propose_many([], 1.0) == []


def test_a_command_that_was_submitted_is_answered_later(cluster: SimulatedCluster) -> None:
    """§5.3: the leader appends it at once; it is executed when it is committed."""
    cluster.elect("n1")
    proposal = cluster.node("n1").submit(kv.put_command("x", "1"))
    assert commands(cluster, "n1") == [kv.put_command("x", "1")]
    assert proposal.wait(1.0) == b'{"ok":true}'


def test_of_many_commands_none_is_taken_by_a_follower_or_beside_one_that_is_too_large(
    cluster: SimulatedCluster,
) -> None:
    """§5.1: only the leader takes commands."""
    cluster.elect("n1")
    with pytest.raises(NotLeader):
        cluster.node("n2").propose_many([b"1", b"2"], 1.0)
    with pytest.raises(ValueError):
        cluster.node("n1").propose_many([b"1", bytes(MAX_COMMAND_BYTES + 1)], 1.0)
    assert commands(cluster, "n1") == commands(cluster, "n2") == []


def test_of_many_commands_nobody_knows_when_time_is_up(cluster: SimulatedCluster) -> None:
    """§8: they are in a log, and may be committed yet."""
    cluster.elect("n1")
    cluster.isolate("n1")
    with pytest.raises(OutcomeUnknown):
        cluster.node("n1").propose_many([b"1", b"2"], 0.1)
    assert commands(cluster, "n1") == [b"1", b"2"]


def test_many_commands_that_another_leader_replaces_have_failed(cluster: SimulatedCluster) -> None:
    """Fig. 3, State Machine Safety: another entry was chosen at the first one's index; none will ever be executed."""
    cluster.elect("n1")
    cluster.wait_until_applied_everywhere()
    cluster.isolate("n1")
    first, second = (cluster.node("n1").submit(command) for command in (b"1", b"2"))
    cluster.elect("n2")
    cluster.propose(b"3", "n2")
    cluster.heal()
    for proposal in (first, second):
        with pytest.raises(CommandFailed):
            proposal.wait(5.0)
