"""The threaded shell: who waits for what, when the lock is free, and that all ends when it should."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest
from doubles import Background, Bench, Waits, agree, silent, votes_only
from drawing import append_entries, entries_of

from raft_threads import events
from raft_threads.entry_format import MAX_COMMAND_BYTES
from raft_threads.messages import AppendEntries, Reply, Request, RequestVote, RequestVoteReply
from raft_threads.node import Node
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown, Proposal
from raft_threads.recorder import EventRecorder
from raft_threads.storage import SavedState
from raft_threads.timing import Timing
from raft_threads.transport import RequestRefused

QUICK = Timing(0.02, 0.04, 0.005)
# What waits for the next heartbeat, or for as long as one, waits longer than any test.
UNHURRIED = Timing(1000.0, 2000.0, 500.0)

# The lock is free whenever something blocks


def test_the_lock_is_free_while_a_socket_the_disk_or_the_state_machine_is_waited_for() -> None:
    """status() takes the lock, and answers."""
    with Bench() as bench:
        bench.lead()
        for gate in (bench.transport.gate, bench.machine.gate):
            gate.close()
        answer = Background(lambda: bench.node.propose(b"x", 5))
        bench.transport.gate.wait_until_held()
        assert bench.node.status().last_log_index == 2
        bench.transport.gate.open()
        bench.machine.gate.wait_until_held()
        assert bench.node.status().last_applied == 1
        bench.storage.gate.close()
        second = Background(lambda: bench.node.propose(b"y", 5))
        bench.storage.gate.wait_until_held()
        assert bench.node.status().last_log_index == 3
        for gate in (bench.storage.gate, bench.machine.gate):
            gate.open()
        assert (answer.result(), second.result()) == (b"1", b"2")


# Elections (§5.2)


def test_a_server_that_hears_of_no_leader_times_out_again_and_again() -> None:
    """§5.2; Fig. 2, Followers 2 and Candidates 4: each time in a new term."""
    bench = Bench(timing=QUICK)
    bench.transport.answer = silent
    with bench:
        mark = 0
        for term in (1, 2, 3):
            candidacy = bench.recorder.wait_for(events.BecameCandidate, since=mark)
            mark = bench.recorder.position_after(candidacy)
            assert candidacy.state.term == term


def test_heartbeats_keep_a_follower_from_timing_out() -> None:
    """§5.2: it hears from a leader until that falls silent."""
    with Bench(timing=Timing(0.2, 0.2, 0.05)) as bench:
        heard = began = time.monotonic()
        while time.monotonic() < began + 0.4:
            before = time.monotonic()
            bench.transport.deliver("n2", append_entries(term=5, leader_id="n2"))
            if bench.recorder.events(events.ElectionTimedOut):
                break  # this thread stood still for that long, as on a busy machine
            heard = before
        bench.see(events.ElectionTimedOut)
        assert time.monotonic() >= heard + 0.2


def timers_set_by(bench: Bench, peer: str, request: Request) -> int:
    """Return how often `request` restarted the election timer."""
    mark = bench.recorder.mark()
    bench.transport.deliver(peer, request)
    return len(bench.recorder.events(events.ElectionTimerSet, since=mark))


def test_only_the_current_leader_and_a_candidate_that_gets_the_vote_restart_the_election_timer() -> None:
    """Fig. 2, Followers 2."""
    with Bench(saved=SavedState(3, None, entries_of(1, 1))) as bench:
        assert timers_set_by(bench, "n2", append_entries(term=3, leader_id="n2")) == 1
        assert timers_set_by(bench, "n2", append_entries(term=3, prev=(9, 3), leader_id="n2")) == 1
        assert timers_set_by(bench, "n3", append_entries(term=2, leader_id="n3")) == 0
        assert timers_set_by(bench, "n3", RequestVote(4, "n3", 2, 1)) == 0, "disregarded: it hears from a leader (§6)"
        assert timers_set_by(bench, "n3", RequestVote(4, "n3", 1, 1, True)) == 0, "denied: its log is shorter"
        assert timers_set_by(bench, "n3", RequestVote(4, "n3", 2, 1, True)) == 1


def test_a_candidate_asks_until_it_is_answered() -> None:
    """§5.1, §5.5: a lost request is sent again."""
    bench = Bench()
    bench.transport.answer = silent
    with bench:
        bench.node.expire_election_timer()
        bench.transport.wait_for(lambda peer, request: peer == "n2" and request.term == 1, count=4)
        bench.transport.answer = agree
        bench.see(events.BecameLeader)


def test_a_leader_sends_heartbeats_to_every_server_while_it_is_idle() -> None:
    """§5.2; Fig. 2, Leaders 1."""
    with Bench() as bench:
        bench.lead()
        for peer in ("n2", "n3"):
            bench.transport.wait_for(lambda to, r: to == peer and r.term == 1 and not getattr(r, "entries", (1,)), 3)  # noqa: B023


def test_a_peer_that_never_answers_does_not_keep_the_others_waiting() -> None:
    """§5.3: a slow follower does not impact the rest."""
    with Bench() as bench:
        bench.transport.answer = lambda peer, request: silent(peer, request) if peer == "n3" else agree(peer, request)
        bench.lead()
        for number in range(1, 20):
            assert bench.node.propose(b"x", 5) == b"%d" % number
        bench.transport.wait_for(lambda peer, r: peer == "n3" and isinstance(r, AppendEntries) and len(r.entries) > 1)


def wait_of_a_heartbeat_interval(waits: Waits) -> None:
    """Return once a thread waits for as long as the time between two of UNHURRIED's heartbeats."""
    count = 1
    while not 400 < (waits.wait_for(count) or 0) <= UNHURRIED.heartbeat_interval:
        count += 1


def test_entries_are_sent_at_once_and_not_with_the_next_heartbeat() -> None:
    """Fig. 2, Leaders 3."""
    with Bench(timing=UNHURRIED) as bench:
        bench.node.expire_election_timer()
        bench.see(events.BecameLeader)
        assert bench.node.propose(b"x", 5) == b"1"


def test_an_idle_leader_waits_between_two_heartbeats() -> None:
    """Fig. 2, Leaders 1: it does not send as fast as its followers answer."""
    bench = Bench(timing=UNHURRIED)
    waits = Waits(bench.node._monitor.links["n2"].wake)
    with bench:
        bench.node.expire_election_timer()
        wait_of_a_heartbeat_interval(waits)


def test_a_leader_waits_a_little_before_it_sends_entries_again_that_got_no_answer() -> None:
    """§5.5: it retries for ever, but not as fast as the network says no."""
    bench = Bench(timing=UNHURRIED)
    waits = Waits(bench.node._monitor.links["n3"].wake)
    bench.transport.answer = lambda peer, request: silent(peer, request) if peer == "n3" else agree(peer, request)
    with bench:
        bench.node.expire_election_timer()
        wait_of_a_heartbeat_interval(waits)


def test_a_candidate_waits_a_little_before_it_asks_again_who_did_not_answer() -> None:
    """§5.1, §5.5."""
    bench = Bench(timing=UNHURRIED)
    waits = Waits(bench.node._monitor.links["n3"].wake)
    bench.transport.answer = silent
    with bench:
        bench.node.expire_election_timer()
        wait_of_a_heartbeat_interval(waits)


def test_a_server_sends_nothing_as_a_follower() -> None:
    """§5.1: followers issue no requests; not even after having led."""
    with Bench() as bench:
        bench.lead()
        bench.transport.deliver("n2", append_entries(term=9, leader_id="n2"))
        bench.transport.gate.close()
        sent = len(bench.transport.sent())
        assert bench.node.status().role == "follower"
        bench.transport.deliver("n2", append_entries(term=9, leader_id="n2"))
        assert [request for _, request in bench.transport.sent()[sent:]] == []


def test_a_former_leader_can_time_out_again() -> None:
    """§5.2: its election timer did not run while it led."""
    bench = Bench(timing=QUICK)
    with bench:
        bench.see(events.BecameLeader)
        bench.transport.answer = lambda peer, request: RequestVoteReply(50, False) if isinstance(
            request, RequestVote
        ) else silent(peer, request)
        bench.transport.deliver("n2", append_entries(term=40, leader_id="n2"))
        bench.recorder.wait_for(events.BecameCandidate, lambda event: event.state.term > 40)


# Commands (§5.3, §8)


def test_a_command_is_answered_after_it_has_been_applied() -> None:
    """Fig. 2, Leaders 2."""
    with Bench() as bench:
        bench.lead()
        assert [bench.node.propose(command, 5) for command in (b"a", b"b")] == [b"1", b"2"]
        assert bench.machine.applied == [b"a", b"b"]


def test_a_follower_refuses_a_command_and_names_the_leader_it_knows() -> None:
    """§5.1."""
    with Bench() as bench:
        with pytest.raises(NotLeader) as nobody:
            bench.node.propose(b"x", 5)
        bench.transport.deliver("n2", append_entries(term=1, leader_id="n2"))
        with pytest.raises(NotLeader) as somebody:
            bench.node.propose(b"x", 5)
        assert (nobody.value.leader_id, somebody.value.leader_id) == (None, "n2")


def test_a_command_whose_place_another_leaders_entry_took_surely_failed_once_that_is_applied() -> None:
    """§5.3, Fig. 8: not before, as another log may still hold the command."""
    with Bench() as bench:
        bench.lead()
        bench.transport.answer = votes_only
        answer = Background(lambda: bench.node.propose(b"x", 5))
        bench.recorder.wait_until(lambda: bench.node.status().last_log_index == 2, "the command is in the log")
        bench.transport.deliver("n2", append_entries(2, term=2, prev=(1, 1), leader_id="n2", leader_commit=1))
        assert bench.see(events.EntriesDeleted).first_index == 2
        assert bench.node._monitor.proposals._waiting, "still waiting"
        bench.transport.deliver("n2", append_entries(term=2, prev=(2, 2), leader_id="n2", leader_commit=2))
        with pytest.raises(CommandFailed):
            answer.result()


def test_a_command_that_another_leader_commits_succeeds_after_all() -> None:
    """§5.4.2: the entry keeps its term, so the one who waits can tell it is his."""
    with Bench() as bench:
        bench.lead()
        bench.transport.answer = votes_only
        answer = Background(lambda: bench.node.propose(b"x", 5))
        bench.recorder.wait_until(lambda: bench.node.status().last_log_index == 2, "the command is in the log")
        bench.transport.deliver("n2", append_entries(2, term=2, prev=(2, 1), leader_id="n2", leader_commit=3))
        assert answer.result() == b"1"


def test_a_command_that_is_not_committed_in_time_may_have_happened() -> None:
    """§8."""
    with Bench() as bench:
        bench.lead()
        bench.transport.answer = votes_only
        with pytest.raises(OutcomeUnknown):
            bench.node.propose(b"x", 0.01)
        assert not bench.node._monitor.proposals._waiting, "nobody is waited for in vain"


def test_a_result_that_comes_just_when_the_time_is_up_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """§8: between the end of the wait and the look under the lock, the command may be applied."""
    with Bench() as bench:
        bench.lead()
        bench.transport.answer = votes_only
        proposals = bench.node._monitor.proposals

        def discard(proposal: Proposal) -> None:
            assert proposals.take(proposal.index) == [proposal]
            proposal.succeed(b"just now")

        monkeypatch.setattr(proposals, "discard", discard)
        assert bench.node.propose(b"x", 0.01) == b"just now"


def test_a_command_may_have_happened_when_the_server_stops() -> None:
    """§8. Whoever asks then is sent to nobody: least of all to this server, which led."""
    with Bench() as bench:
        bench.lead()
        bench.transport.answer = votes_only
        answer = Background(lambda: bench.node.propose(b"x", 60))
        bench.recorder.wait_until(lambda: bench.node.status().last_log_index == 2, "the command is in the log")
        bench.node.stop()
        with pytest.raises(OutcomeUnknown):
            answer.result()
        with pytest.raises(NotLeader) as refusal:
            bench.node.propose(b"y", 1)
        assert refusal.value.leader_id is None


def test_a_command_too_large_to_be_sent_is_refused_before_it_is_in_a_log() -> None:
    """Or the leader would try to send it for ever."""
    with Bench() as bench:
        bench.lead()
        with pytest.raises(ValueError, match="at most"):
            bench.node.propose(b"x" * (MAX_COMMAND_BYTES + 1), 1)
        assert bench.node.status().last_log_index == 1
        assert bench.node.propose(b"x" * MAX_COMMAND_BYTES, 5) == b"1"


# Nonsense


def test_a_message_in_another_servers_name_is_refused() -> None:
    """A peer that lies changes nothing."""
    with Bench() as bench:
        for request in (RequestVote(1, "n3", 0, 0), append_entries(term=1, leader_id="n3")):
            with pytest.raises(RequestRefused, match="in the name of n3"):
                bench.transport.deliver("n2", request)
        assert bench.node.status().term == 0


def test_what_contradicts_fig_3_is_refused_and_the_server_lives_on() -> None:
    """Fig. 3, Election Safety."""
    with Bench() as bench:
        term = bench.lead()
        with pytest.raises(RequestRefused, match="Election Safety"):
            bench.transport.deliver("n2", append_entries(term=term, leader_id="n2"))
        assert bench.node.propose(b"x", 5) == b"1"


@pytest.mark.parametrize("reply", [RequestVoteReply(1, True)])
def test_an_answer_of_the_wrong_kind_is_ignored(reply: Reply) -> None:
    """§5.1: it is no answer to an AppendEntries."""
    with Bench() as bench:
        bench.lead()
        bench.transport.answer = lambda peer, request: reply
        bench.transport.wait_for(lambda peer, request: isinstance(request, AppendEntries), count=6)
        assert bench.node.status().role == "leader"


# Threads


def test_every_thread_has_a_name_that_says_whose_it_is() -> None:
    """docs/threads.md: what a debugger shows."""
    before = set(threading.enumerate())
    with Bench():
        names = {thread.name for thread in set(threading.enumerate()) - before}
    assert names == {"n1/election-timer", "n1/disk", "n1/apply", "n1/snapshot", "n1/peer-n2", "n1/peer-n3"}
    page = (Path(__file__).parent.parent / "docs" / "threads.md").read_text()
    assert names <= set(re.findall(r"n1/[\w-]+", page))


def test_a_server_stops_within_a_second_and_leaves_no_thread() -> None:
    """However it is busy: here as a leader with requests under way."""
    before = set(threading.enumerate())
    bench = Bench()
    with bench:
        bench.lead()
        bench.transport.gate.close()
        bench.transport.gate.wait_until_held()
        began = time.monotonic()
        bench.node.stop()
        assert time.monotonic() - began < 1
        assert set(threading.enumerate()) == before
    assert bench.storage.closed


def test_a_stopped_server_answers_no_more_and_saves_nothing() -> None:
    """Stopping is a crash: a request may still be on its way, and nobody would be there to keep the promise."""
    with Bench() as bench:
        bench.node.stop()
        for request in (RequestVote(1, "n2", 0, 0), append_entries(1, term=1, leader_id="n2")):
            with pytest.raises(RequestRefused, match="stopping"):
                bench.transport.deliver("n2", request)
        assert bench.node.status().term == 0 and bench.storage.writes == []


def test_who_waits_for_the_end_of_a_server_is_woken_by_it() -> None:
    """As the main thread of `serve` does; and there is no failure to tell of."""
    with Bench() as bench:
        waits = Waits(bench.node._monitor.stopping_began)
        end = Background(bench.node.wait_until_stopping)
        waits.wait_for(1)
        bench.node.stop()
        assert end.result() is None


def test_a_server_that_is_not_one_of_the_cluster_is_not_made() -> None:
    """§5.2: nobody would ask it for its vote, and it would count itself."""
    bench = Bench()
    with pytest.raises(ValueError, match="n9 is not among the servers of the cluster: n1, n2"):
        Node("n9", ["n1", "n2"], transport=bench.transport, storage=bench.storage, state_machine=bench.machine)


def test_a_thread_that_fails_stops_the_whole_server() -> None:
    """A server with half its threads is worse than none."""
    with Bench() as bench:
        bench.lead()
        bench.machine.apply = None  # type: ignore[assignment, method-assign]
        with pytest.raises(OutcomeUnknown):
            bench.node.propose(b"x", 5)
        assert isinstance(bench.node.wait_until_stopping(), TypeError)


def test_a_cluster_of_one_elects_itself_and_commits() -> None:
    """§5.2: a majority of one."""
    with Bench(servers=("n1",), timing=QUICK) as bench:
        bench.see(events.BecameLeader)
        assert bench.node.propose(b"x", 5) == b"1"


# Events


def test_events_come_in_the_order_in_which_things_happened_with_the_state_after_each() -> None:
    """One stream: an election, from the time-out to the first commit."""
    with Bench() as bench:
        bench.lead()
        wanted = (events.ElectionTimedOut, events.BecameCandidate, events.BecameLeader, events.CommitAdvanced)
        seen = [event for event in bench.recorder.events(events.Event) if isinstance(event, wanted)]
        assert [type(event) for event in seen] == list(wanted)
        assert [event.state.role.value for event in seen] == ["follower", "candidate", "leader", "leader"]
        assert [event.state.term for event in seen] == [0, 1, 1, 1]
        assert [event.when for event in seen] == sorted(event.when for event in seen)


def test_an_event_that_nobody_wants_is_never_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cost when nobody listens."""
    made: list[type] = []
    monkeypatch.setattr(events.Event, "__init__", lambda self, *args: made.append(type(self)))
    with Bench(recorder=EventRecorder(frozenset())) as bench:
        bench.node.expire_election_timer()
        bench.transport.wait_for(lambda peer, request: isinstance(request, AppendEntries))
    assert made == []
