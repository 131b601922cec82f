"""Without the rules of §5.3 and §5.4: AppendEntries, leaders, and applying."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Optional
from unittest import mock

from raft_threads import election, kv, replication
from raft_threads.companion.breaking import Break, Schedule, Swap
from raft_threads.companion.breaks_of_elections import a_leader_is_heard
from raft_threads.companion.directing import PAPER, begin, check_read, is_append, leads, must, restart, stand, win
from raft_threads.companion.figure_3 import LINEARIZABILITY, LIVENESS
from raft_threads.log import Log, LogEntry
from raft_threads.messages import AppendEntries, AppendEntriesReply
from raft_threads.node import Node
from raft_threads.peer_thread import PeerThread
from raft_threads.proposals import OutcomeUnknown
from raft_threads.server_invariants import LEADER_COMPLETENESS, LOG_MATCHING, STATE_MACHINE_SAFETY
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role, State
from raft_threads.wire import Message

_due_at = PeerThread._due_at

# The follower


def take_entries_of_any_term(state: State, request: AppendEntries) -> AppendEntriesReply:
    """Rules 2 to 5 of the receiver alone."""
    replication.refuse_the_impossible(state, request)
    election.adopt_newer_term(state, request.term)
    replication.recognize_leader(state, request.leader_id)
    if not replication.matches_previous_entry(state.log, request.prev_log_index, request.prev_log_term):
        return replication.refusal_with_conflict(state, request.prev_log_index)
    replication.delete_conflicting_entries(state.log, request.entries)
    replication.append_new_entries(state.log, request.entries)
    replication.follow_leader_commit(state, request.leader_commit, replication.last_new_index(request))
    return AppendEntriesReply(state.current_term, True)


def carries(index: int, message: Message) -> bool:
    """Say whether a message is an AppendEntries with entry `index`."""
    return isinstance(message, AppendEntries) and any(entry.index == index for entry in message.entries)


def a_deposed_leader_is_heard_late(cluster: SimulatedCluster) -> str:
    """n1's entry 2 of term 1 reaches n3 only after n2 was elected, and has committed an entry 2 of term 2 with n3."""
    begin(cluster, "n1")
    cluster.network.hold("n1", "n3", lambda message: carries(2, message))
    cluster.cut_one_way([("n1", "n2"), ("n2", "n1")])
    cluster.propose(b"lost", via="n1")
    cluster.run_until(lambda: bool(cluster.network.held("n1", "n3")), "n1's entry 2 is on its way to n3")
    cluster.cut_one_way([("n3", "n1")])
    stand(cluster, "n2")
    cluster.run_until(lambda: cluster.state("n2").commit_index == 2, "n2 commits an entry 2 of its own")
    cluster.network.release("n1", "n3")
    cluster.run_for(0.01)
    cluster.connect_only("n1", "n3")
    cluster.run_until(lambda: not leads(cluster, "n1"), "n1 hears of term 2")
    stand(cluster, "n1")
    return "n3 refused what comes from an older term, kept the committed entry, and did not vote for n1."


def take_entries_behind_anything(log: Log, prev_log_index: int, prev_log_term: int) -> bool:
    """Skip the consistency check."""
    return True


def leave_a_leader_behind(cluster: SimulatedCluster) -> None:
    """n1 has an entry 2 of term 1 that nobody else has; n2 is elected without n1, and commits an entry 2 of term 2."""
    begin(cluster, "n1")
    cluster.isolate("n1")
    cluster.propose(b"lost", via="n1")
    stand(cluster, "n2")
    cluster.run_until(lambda: cluster.state("n2").last_applied == 2, "n2 commits an entry 2 of its own")


def a_third_leader_continues(cluster: SimulatedCluster) -> str:
    """n1 has an entry 2 that nobody else has; n3 leads when it is back, and begins with the entry after that."""
    leave_a_leader_behind(cluster)
    cluster.run_until(lambda: cluster.state("n3").log.last_index == 2, "n3 has n2's entry 2")
    stand(cluster, "n3")
    cluster.heal()
    cluster.run_until(lambda: cluster.terms_of("n1") == cluster.terms_of("n3"), "n1's log is like n3's")
    return "n1 refused entry 3 because its entry 2 is another one, and then got both."


def delete_nothing(log: Log, entries: Sequence[LogEntry]) -> None:
    """Keep what we have."""


def a_left_behind_leader_returns(cluster: SimulatedCluster) -> str:
    """n1 has an entry 2 of term 1 that nobody else has; n2 has committed another one, and sends it to n1."""
    leave_a_leader_behind(cluster)
    cluster.heal()
    cluster.run_until(lambda: cluster.state("n1").last_applied == 2, "n1 applies entry 2")
    return "n1 replaced its entry 2 by the one that is committed, and applied that."


def overwrite_with_the_new_entries(log: Log, entries: Sequence[LogEntry]) -> None:
    """Make the log end where the message does."""
    if entries:
        log.delete_from(entries[0].index)
    for entry in entries:
        log.append(entry)


def a_short_message_comes_after_a_longer_one(cluster: SimulatedCluster) -> str:
    """n1's first try to send entry 1 reaches n2 after a later message with entries 1 and 2, which are committed."""
    network = cluster.network
    cluster.connect_only("n1", "n2")
    network.hold("n1", "n2", is_append)
    stand(cluster, "n1")
    cluster.propose(kv.put_command("x", "1"), via="n1")
    cluster.run_until(lambda: any(carries(2, message) for message in network.held("n1", "n2")), "n1 tries again")
    network.release("n1", "n2", len(network.held("n1", "n2")) - 1)
    cluster.run_until(lambda: cluster.state("n1").commit_index == 2, "n1 commits both")
    network.release("n1", "n2")
    cluster.connect_only("n2", "n3")
    cluster.run_for(0.01)
    stand(cluster, "n2")
    return "n2 had entry 1 already and left its log as it was; it was elected with both entries."


def commit_what_the_leader_has_committed(state: State, leader_commit: int, last_new: int) -> None:
    """Take the leader's commit index, wherever the message ends."""
    state.commit_index = max(state.commit_index, leader_commit)


def heartbeats_are_empty(cluster: SimulatedCluster) -> str:
    """n1 has an entry 2 that nobody else has, and hears that the leader's entry 2 is committed before it gets that.

    The leader's heartbeats are empty meanwhile, as Fig. 2 has them. Ours send entries along, if there are any.
    """
    leave_a_leader_behind(cluster)
    with mock.patch.object(replication, "entries_to_send", lambda log, first_index, max_entries, max_bytes: ()):
        cluster.heal()
        cluster.run_until(lambda: cluster.state("n1").leader_id == "n2", "n1 hears from n2")
        cluster.run_for(0.01)
    cluster.run_until(lambda: cluster.state("n1").last_applied == 2, "n1 applies entry 2")
    return "n1 committed no more than it had got from n2, and applied entry 2 when it had that."


# All servers


def apply_all_that_the_log_holds(state: State, max_entries: int) -> list[LogEntry]:
    """Return the entries that have not been applied, committed or not."""
    return state.log.entries_between(state.last_applied + 1, state.last_applied + max_entries)


def an_entry_does_not_leave_its_leader(cluster: SimulatedCluster) -> str:
    """n1 commits its first entry, and has a second one that nobody else gets; then n2 takes over."""
    for follower in ("n2", "n3"):
        cluster.network.hold("n1", follower, lambda message: carries(2, message))
    stand(cluster, "n1")
    cluster.propose(b"lost", via="n1")
    cluster.run_until(lambda: cluster.state("n1").last_applied >= 1, "n1 applies its first entry")
    cluster.isolate("n1")
    stand(cluster, "n2")
    cluster.run_until(lambda: cluster.state("n2").last_applied == 2, "n2 applies its own entry 2")
    return "n1 applied its first entry only, as the second one was not committed."


# The leader


def stay_silent_when_idle(self: PeerThread) -> Optional[float]:
    """Send entries, and no heartbeats."""
    state, peer = self._state, self._peer
    if state.role is Role.LEADER and not replication.has_entries_for(state, peer):
        return None
    return _due_at(self)


def answer_at_once(self: Node, kind: str, body: bytes, timeout: float) -> tuple[int, bytes]:
    """Append the entry, and tell the client that it is done."""
    with self._lock:
        return self._append(kind, (body,))[0].index, b'{"ok":true}'


def a_client_asks_a_leader_that_is_cut_off(cluster: SimulatedCluster) -> str:
    """A client sets x at n1, which has just been cut off from n2 and n3; n2 is elected, and a client reads x there."""
    begin(cluster, "n1")
    cluster.isolate("n1")
    with suppress(OutcomeUnknown):
        cluster.execute(kv.put_command("x", "1"), via="n1", timeout=0.1)
        cluster.elect("n2")
        check_read(cluster.read("x", "n2"), "1", known="n1 told a client that x is 1 now")
    return "n1 could not commit the command, and told the client that nobody knows what becomes of it."


def send_no_entries(log: Log, first_index: int, max_entries: int, max_bytes: int) -> tuple[LogEntry, ...]:
    """Make a heartbeat of every message."""
    return ()


def forget_the_answer(state: State, peer: str, index: int) -> None:
    """Leave next_index and match_index as they are."""


def a_client_sets_x(cluster: SimulatedCluster) -> str:
    """All are up and connected, n1 leads, and a client sets x."""
    cluster.time_out("n1")
    cluster.run_until(lambda: leads(cluster, "n1"), "n1 leads")
    cluster.propose(kv.put_command("x", "1"), via="n1")
    must(cluster, lambda: cluster.state("n1").commit_index == 2, "the client's command is committed", 0.02)
    return "The command was committed."


def try_the_same_again(state: State, peer: str, request: AppendEntries, reply: AppendEntriesReply) -> None:
    """Leave next_index where it is."""


def a_follower_is_behind(cluster: SimulatedCluster) -> str:
    """n3 has missed an entry; n1, which has created it, crashes, and n2 is elected with the vote of n3."""
    cluster.connect_only("n1", "n2")
    stand(cluster, "n1")
    cluster.run_until(lambda: cluster.state("n1").commit_index == 1, "n1 and n2 have entry 1")
    cluster.crash("n1")
    cluster.heal()
    cluster.time_out("n2")
    must(cluster, lambda: cluster.state("n2").commit_index == 2, "n2 and n3, a majority, commit an entry", 0.02)
    return "n2 backed up to the beginning of n3's log, and sent it both entries."


def commit_by_counting(state: State) -> None:
    """Commit what a majority stores, whatever its term."""
    state.commit_index = max(state.commit_index, replication.index_stored_on_majority(state))


def figure_8_with_three_servers(cluster: SimulatedCluster) -> str:
    """Fig. 8, with three servers: n1 brings an entry of term 1 to a majority in term 3; but n3 has one of term 2.

    (a) n1 leads term 1, and crashes before its entry 1 has reached anybody. (b) n3 leads term 2, has another entry 1,
    and crashes. (c) n1 is back, leads term 3, and brings its old entry 1 to n2: now a majority has it. (d) n1 is cut
    off before an entry of term 3 has left it. n3 is back, and its log ends with the later term: n2 votes for it.
    """
    for leader in ("n1", "n3"):
        cluster.network.hold(leader, "n2", is_append)
        cluster.connect_only(leader, "n2")
        win(cluster, leader)
        cluster.run_for(0.01)
        cluster.crash(leader)
    restart(cluster, "n1")
    # The first try finds out that n2 has no entry 1 yet.
    cluster.network.hold("n1", "n2", lambda message: carries(2, message) and cluster.terms_of("n2") == [1])
    cluster.connect_only("n1", "n2")
    win(cluster, "n1")
    cluster.run_until(lambda: cluster.state("n1").match_index["n2"] == 1, "n2 has n1's entry 1")
    cluster.isolate("n1")
    restart(cluster, "n3")
    cluster.connect_only("n2", "n3")
    win(cluster, "n3")
    return "n1 did not take its old entry for committed, so nothing was lost when n3 replaced it on n2."


APPEND_ENTRIES = (
    Break(
        "F2.AppendEntries.1",
        "Entries are taken whatever the leader's term.",
        (Swap("raft_threads.replication.handle_append_entries", take_entries_of_any_term),),
        LEADER_COMPLETENESS,
        Schedule(a_deposed_leader_is_heard_late),
    ),
    Break(
        "F2.AppendEntries.2",
        "Entries are taken behind whatever is there.",
        (Swap("raft_threads.replication.matches_previous_entry", take_entries_behind_anything),),
        LOG_MATCHING,
        Schedule(a_third_leader_continues),
    ),
    Break(
        "F2.AppendEntries.3",
        "An entry that conflicts stays.",
        (Swap("raft_threads.replication.delete_conflicting_entries", delete_nothing),),
        STATE_MACHINE_SAFETY,
        Schedule(a_left_behind_leader_returns),
    ),
    Break(
        "F2.AppendEntries.4",
        "The entries of the message take the place of all that the log has from there on, although it may have more.",
        (Swap("raft_threads.replication.append_new_entries", overwrite_with_the_new_entries),),
        LEADER_COMPLETENESS,
        Schedule(a_short_message_comes_after_a_longer_one),
    ),
    Break(
        "F2.AppendEntries.5",
        "A follower commits what its leader has committed, wherever the message ends.",
        (Swap("raft_threads.replication.follow_leader_commit", commit_what_the_leader_has_committed),),
        STATE_MACHINE_SAFETY,
        Schedule(heartbeats_are_empty),
    ),
    Break(
        "F2.AllServers.1",
        "All that the log holds is applied.",
        (Swap("raft_threads.replication.entries_to_apply", apply_all_that_the_log_holds),),
        STATE_MACHINE_SAFETY,
        Schedule(an_entry_does_not_leave_its_leader),
    ),
)

LEADERS = (
    Break(
        "F2.Leaders.1",
        "A leader with nothing new to send sends nothing.",
        (Swap("raft_threads.peer_thread.PeerThread._due_at", stay_silent_when_idle),),
        LIVENESS,
        Schedule(a_leader_is_heard, settings={"timing": PAPER}),
    ),
    Break(
        "F2.Leaders.2",
        "A leader answers a client as soon as the command is in its own log.",
        (Swap("raft_threads.node.Node._propose", answer_at_once),),
        LINEARIZABILITY,
        Schedule(a_client_asks_a_leader_that_is_cut_off),
    ),
    Break(
        "F2.Leaders.3",
        "A leader sends heartbeats only.",
        (Swap("raft_threads.replication.entries_to_send", send_no_entries),),
        LIVENESS,
        Schedule(a_client_sets_x),
    ),
    Break(
        "F2.Leaders.3.1",
        "A leader does not note what followers have taken.",
        (Swap("raft_threads.replication.record_match", forget_the_answer),),
        LIVENESS,
        Schedule(a_client_sets_x),
    ),
    Break(
        "F2.Leaders.3.2",
        "A leader sends the same again to a follower that has refused it.",
        (Swap("raft_threads.replication.back_up_next_index", try_the_same_again),),
        LIVENESS,
        Schedule(a_follower_is_behind),
    ),
    Break(
        "F2.Leaders.4",
        "A leader commits whatever a majority stores, of older terms too.",
        (Swap("raft_threads.replication.advance_commit_index", commit_by_counting),),
        LEADER_COMPLETENESS,
        Schedule(figure_8_with_three_servers, settings={"max_entries_per_message": 1}),
    ),
)
