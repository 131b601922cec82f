"""§5.2 with threads: who restarts the election timer, and what happens when it runs out."""

from __future__ import annotations

import pytest
from doubles import PATIENCE, RETRYING, THREE, Bench, Dice, MemoryStorage, append_entries, silent

from raft_threads.events import (
    BecameCandidate,
    BecameLeader,
    ElectionTimedOut,
    ElectionTimerSet,
    ReplyReceived,
    SteppedDown,
    VoteReceived,
)
from raft_threads.log import LogEntry
from raft_threads.messages import AppendEntries, AppendEntriesReply, RequestVote, RequestVoteReply
from raft_threads.timing import Timing

QUICK = Timing(0.02, 0.04, 0.01)


def times_set(bench: Bench) -> int:
    """Return how often the election timer has been restarted."""
    return len(bench.recorder.events(ElectionTimerSet))


def test_when_servers_start_up_they_begin_as_followers() -> None:
    """§5.2, first sentence of its second paragraph."""
    with Bench(storage=MemoryStorage(current_term=4, voted_for="n1", terms=[1, 4])) as bench:
        status = bench.node.status()
        assert (status.role, status.term, status.leader) == ("follower", 4, None)
        assert (status.commit_index, status.last_applied, status.last_log_index) == (0, 0, 2)


def test_a_follower_that_hears_nothing_begins_an_election() -> None:
    """§5.2: election timeout."""
    with Bench(timing=QUICK) as bench:
        bench.recorder.wait_for(ElectionTimedOut, timeout=PATIENCE)
        request = bench.transport.next_call(RequestVote, "n2").request
        assert request == RequestVote(1, "n1", 0, 0)


def test_a_candidate_that_gets_no_majority_times_out_and_begins_a_new_election() -> None:
    """§5.2: split votes; each candidate increments its term and starts another round."""
    with Bench(timing=QUICK) as bench:
        bench.transport.scripts = dict.fromkeys(bench.peers, silent)
        bench.recorder.wait_for(BecameCandidate, lambda event: event.state.term == 3, timeout=PATIENCE)
        assert bench.storage.term_and_vote[0] >= 2
        assert bench.recorder.events(BecameLeader) == []


def test_a_heartbeat_restarts_the_timer() -> None:
    """Fig. 2, "Followers": without receiving AppendEntries RPC from current leader."""
    with Bench() as bench:
        before = times_set(bench)
        bench.node.handle_append_entries("n2", append_entries(1))
        assert times_set(bench) == before + 1


def test_a_heartbeat_that_does_not_fit_our_log_restarts_the_timer_too() -> None:
    """It is from the current leader all the same."""
    with Bench() as bench:
        before = times_set(bench)
        assert bench.node.handle_append_entries("n2", append_entries(1, prev=(7, 1))).success is False  # type: ignore
        assert times_set(bench) == before + 1


def test_a_late_heartbeat_of_an_old_term_does_not() -> None:
    """It is not from the current leader."""
    with Bench(storage=MemoryStorage(current_term=3)) as bench:
        before = times_set(bench)
        assert bench.node.handle_append_entries("n2", append_entries(2)) == AppendEntriesReply(3, False)
        assert times_set(bench) == before


def test_a_granted_vote_restarts_the_timer() -> None:
    """Fig. 2, "Followers": or granting vote to candidate."""
    with Bench() as bench:
        before = times_set(bench)
        bench.node.handle_request_vote("n2", RequestVote(1, "n2", 0, 0))
        assert times_set(bench) == before + 1


def test_a_denied_vote_does_not() -> None:
    """Else a server that can never win could keep the others from ever timing out (§5.4.1)."""
    with Bench(storage=MemoryStorage(current_term=2, terms=[2])) as bench:
        before = times_set(bench)
        assert bench.node.handle_request_vote("n2", RequestVote(3, "n2", 5, 1)) == RequestVoteReply(3, False)
        assert times_set(bench) == before


def test_the_timeout_is_drawn_anew_each_time() -> None:
    """§5.2: each candidate restarts its randomized election timeout; a fixed interval."""
    with Bench(dice=Dice(0.0, 0.5, 1.0)) as bench:
        for _ in range(2):
            bench.node.handle_append_entries("n2", append_entries(1))
        timeouts = [event.timeout for event in bench.recorder.events(ElectionTimerSet)]
        assert timeouts == [pytest.approx(60), pytest.approx(90), pytest.approx(120)]


def test_a_shorter_timeout_drawn_later_counts_from_then_on() -> None:
    """The timer thread sleeps for the long timeout that was drawn first, and has to be woken."""
    with Bench(timing=Timing(0.05, 120.0, 0.01), dice=Dice(1.0, 0.0)) as bench:
        bench.node.handle_append_entries("n2", append_entries(1))
        bench.recorder.wait_for(ElectionTimedOut, timeout=PATIENCE)


def test_a_timer_that_was_restarted_does_not_run_out_at_its_old_time() -> None:
    """It wakes up, looks again, and sleeps on."""
    with Bench(timing=Timing(0.05, 120.0, 0.01), dice=Dice(0.001, 1.0)) as bench:
        bench.node.handle_append_entries("n2", append_entries(1))
        bench.node._monitor.election_due.acquire()
        try:
            # Wake the timer early, as the passing of its old time does.
            bench.node._monitor.election_due.notify()
        finally:
            bench.node._monitor.election_due.release()
        bench.node.handle_append_entries("n2", append_entries(1))
        assert bench.recorder.events(ElectionTimedOut) == []


def test_a_leader_has_no_election_timer_until_it_steps_down() -> None:
    """Fig. 4: from leader there is no way to candidate, only to follower."""
    with Bench() as bench:
        term = bench.elect()
        bench.node.expire_election_timer()
        bench.node.handle_append_entries("n2", append_entries(term - 1))
        assert bench.node.status().role == "leader" and bench.node.status().term == term
        before = times_set(bench)
        bench.node.handle_request_vote("n2", RequestVote(term + 1, "n2", 0, 0))
        assert bench.recorder.wait_for(SteppedDown).was.value == "leader"
        assert times_set(bench) == before + 1
        bench.start_election()
        bench.recorder.wait_for(BecameCandidate, lambda event: event.state.term == term + 2, timeout=PATIENCE)


@pytest.mark.parametrize("count, votes_needed", [(2, 1), (3, 1), (4, 2), (5, 2), (6, 3)])
def test_a_candidate_needs_the_votes_of_a_majority_of_the_full_cluster(count: int, votes_needed: int) -> None:
    """§5.2; its own vote counts. Clusters of even size work too."""
    with Bench([f"n{number}" for number in range(1, count + 1)]) as bench:
        bench.start_election()
        calls = [bench.transport.next_call(RequestVote, peer) for peer in bench.peers]
        for call in calls[: votes_needed - 1]:
            call.agree()
        for call in calls[votes_needed:]:
            call.answer(RequestVoteReply(1, False))
        bench.wait_until(lambda: len(bench.recorder.events(VoteReceived)) == len(calls) - 1, "the other votes")
        assert bench.node.status().role == "candidate"
        calls[votes_needed - 1].agree()
        bench.recorder.wait_for(BecameLeader, timeout=PATIENCE)


def test_a_cluster_of_one_elects_itself_and_commits() -> None:
    """A majority of one is one."""
    with Bench(["n1"], timing=QUICK) as bench:
        bench.recorder.wait_for(BecameLeader, timeout=PATIENCE)
        assert bench.node.propose(b"x", PATIENCE) == b"did x"
        assert bench.node.status().commit_index == 2
        assert bench.storage.entry_writes >= 1 and bench.storage.term_and_vote == (1, "n1")


def test_a_cluster_of_one_leads_only_once_its_own_vote_is_saved() -> None:
    """Its own vote is the majority; it counts when it cannot be forgotten."""
    with Bench(["n1"]) as bench:
        bench.storage.hold()
        bench.start_election()
        bench.storage.wait_until_a_write_waits()
        assert bench.node.status().role == "candidate"
        bench.storage.release()
        bench.recorder.wait_for(BecameLeader, timeout=PATIENCE)
        assert bench.journal.lines[0] == ("saved term and vote", 1, "n1")


def test_who_did_not_answer_is_asked_for_its_vote_again() -> None:
    """§5.1: servers retry RPCs if they do not receive a response in a timely manner."""
    with Bench(timing=RETRYING) as bench:
        bench.start_election()
        for _ in range(3):
            bench.transport.next_call(RequestVote, "n2").lose()
        bench.transport.next_call(RequestVote, "n2").agree()
        bench.recorder.wait_for(BecameLeader, timeout=PATIENCE)
        assert len(set(bench.transport.sent(RequestVote, "n2"))) == 1


def test_who_said_no_is_not_asked_again() -> None:
    """Its answer would be the same."""
    with Bench(timing=RETRYING) as bench:
        bench.start_election()
        bench.transport.next_call(RequestVote, "n2").answer(RequestVoteReply(1, False))
        bench.recorder.wait_for(VoteReceived)
        for _ in range(3):
            bench.transport.next_call(RequestVote, "n3").lose()
        assert len(bench.transport.sent(RequestVote, "n2")) == 1


def test_a_vote_of_an_earlier_election_that_comes_late_is_not_counted() -> None:
    """§5.2: a majority of votes in the same term."""
    with Bench(timing=RETRYING) as bench:
        bench.start_election()
        late = bench.transport.next_call(RequestVote, "n2")
        bench.start_election()
        bench.recorder.wait_for(BecameCandidate, lambda event: event.state.term == 2, timeout=PATIENCE)
        late.answer(RequestVoteReply(1, True))
        bench.recorder.wait_for(ReplyReceived)
        assert bench.node.status().role == "candidate"
        bench.transport.next_call(RequestVote, "n2").agree()
        assert bench.recorder.wait_for(BecameLeader, timeout=PATIENCE).state.term == 2


def test_a_candidate_yields_to_a_leader_of_its_term() -> None:
    """§5.2: if the leader's term is at least as large as the candidate's, it is legitimate."""
    with Bench() as bench:
        bench.start_election()
        call = bench.transport.next_call(RequestVote, "n2")
        bench.node.handle_append_entries("n3", append_entries(1, LogEntry(1, 1), leader="n3"))
        call.agree()
        bench.recorder.wait_for(ReplyReceived)
        status = bench.node.status()
        assert (status.role, status.leader, status.term) == ("follower", "n3", 1)


def test_a_reply_with_a_newer_term_ends_a_candidacy_and_is_saved_before_the_next_request() -> None:
    """§5.1; and a term that was seen must not be forgotten once we act on it."""
    with Bench() as bench:
        bench.start_election()
        bench.transport.next_call(RequestVote, "n2").answer(RequestVoteReply(8, False))
        bench.recorder.wait_for(SteppedDown, timeout=PATIENCE)
        bench.start_election()
        bench.recorder.wait_for(BecameCandidate, lambda event: event.state.term == 9, timeout=PATIENCE)
        bench.transport.next_call(RequestVote, "n3")  # of the first election, still without an answer
        assert bench.transport.next_call(RequestVote, "n2").request.term == 9
        assert bench.storage.term_and_vote == (9, "n1")


def test_a_new_leader_sends_heartbeats_to_all_other_servers_at_once() -> None:
    """§5.2: to establish its authority and prevent new elections. Ours carry the no-op (§8)."""
    with Bench(THREE) as bench:
        term = bench.elect()
        for peer in bench.peers:
            request = bench.transport.next_call(AppendEntries, peer).request
            assert (request.term, request.prev_log_index, request.leader_commit) == (term, 0, 0)
            assert [(entry.kind, entry.term) for entry in request.entries] == [("noop", term)]


def test_a_leader_without_commands_sends_heartbeats_again_and_again() -> None:
    """Fig. 2, "Leaders": repeat during idle periods to prevent election timeouts."""
    with Bench(timing=RETRYING) as bench:
        bench.elect_and_commit_no_op()
        for _ in range(3):
            call = bench.transport.next_call(AppendEntries, "n2")
            assert call.request.entries == ()
            call.agree()
