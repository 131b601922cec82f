"""§5.2 with threads: when the election timer runs out, who is asked for votes, and which answers count."""

from __future__ import annotations

import pytest
from doubles import Background, Bench, Gate, Waits, agree, silent
from drawing import append_entries, entries_of

from raft_threads import events
from raft_threads.messages import AppendEntries, Reply, Request, RequestVote, RequestVoteReply
from raft_threads.runtime import Runtime
from raft_threads.storage import SavedState
from raft_threads.timing import Timing


class Dice:
    """A `random` that throws what the test wrote down; the last number for ever."""

    def __init__(self, *throws: float) -> None:
        self._throws = list(throws)

    def random(self) -> float:
        """Return the next throw."""
        return self._throws.pop(0) if len(self._throws) > 1 else self._throws[0]


def test_when_servers_start_up_they_begin_as_followers() -> None:
    """§5.2; also one that led when it crashed."""
    with Bench(saved=SavedState(4, "n1", entries_of(1, 4))) as bench:
        status = bench.node.status()
        assert (status.role, status.term, status.leader) == ("follower", 4, None)
        assert bench.transport.sent() == []


def test_a_timeout_is_drawn_anew_from_a_fixed_interval_each_time() -> None:
    """§5.2: election timeouts are chosen randomly from a fixed interval."""
    with Bench(timing=Timing(60, 120, 1), runtime=Runtime(random=Dice(0.0, 0.5, 1.0))) as bench:
        for _ in range(2):
            bench.transport.deliver("n2", append_entries(term=1, leader_id="n2"))
        timeouts = [event.timeout for event in bench.recorder.events(events.ElectionTimerSet)]
        assert timeouts == [pytest.approx(60), pytest.approx(90), pytest.approx(120)]


def test_a_shorter_timeout_that_is_drawn_later_counts_from_then_on() -> None:
    """§5.2: the timer's thread sleeps for the long one that was drawn before; it has to be woken."""
    with Bench(timing=Timing(0.05, 120, 0.01), runtime=Runtime(random=Dice(1.0, 0.0))) as bench:
        bench.transport.deliver("n2", append_entries(term=1, leader_id="n2"))
        bench.see(events.ElectionTimedOut)


@pytest.mark.parametrize("count, votes_needed", [(2, 1), (3, 1), (4, 2), (5, 2), (6, 3)])
def test_a_candidate_needs_the_votes_of_a_majority_of_the_full_cluster(count: int, votes_needed: int) -> None:
    """§5.2; its own vote is one of them. Clusters of even size work too."""
    servers = [f"n{number}" for number in range(1, count + 1)]
    supporters = set(servers[1:votes_needed])
    deciding = servers[votes_needed]
    gate = Gate()

    def answer(peer: str, request: Request) -> Reply:
        if isinstance(request, AppendEntries):
            return agree(peer, request)
        if peer == deciding:
            gate.pass_through()
            return RequestVoteReply(request.term, True)
        return RequestVoteReply(request.term, peer in supporters)

    bench = Bench(servers)
    bench.transport.answer = answer
    gate.close()
    with bench:
        bench.node.expire_election_timer()
        for peer in servers[1:]:
            if peer != deciding:
                assert bench.see(events.VoteReceived, voter=peer).granted == (peer in supporters)
        gate.wait_until_held()
        assert bench.node.status().role == "candidate"
        gate.open()
        bench.see(events.BecameLeader)


def test_a_cluster_of_one_leads_only_once_its_own_vote_is_saved() -> None:
    """Fig. 2: its own vote is the majority, and counts when it cannot be forgotten."""
    with Bench(["n1"]) as bench:
        bench.storage.gate.close()
        bench.node.expire_election_timer()
        bench.storage.gate.wait_until_held()
        assert bench.node.status().role == "candidate"
        bench.storage.gate.open()
        bench.see(events.BecameLeader)
        assert bench.storage.writes[0] == (1, "n1")


def test_a_new_election_asks_at_once_those_who_did_not_answer_in_the_last_one() -> None:
    """§5.2: the pause before the next try belongs to the request that was lost."""
    bench = Bench(timing=Timing(60, 120, 50))
    bench.transport.answer = silent
    with bench:
        bench.node.expire_election_timer()
        for peer in ("n2", "n3"):
            bench.see(events.MessageDropped, peer=peer)
        bench.node.expire_election_timer()
        for peer in ("n2", "n3"):
            bench.transport.wait_for(lambda to, request: (to, request.term) == (peer, 2))  # noqa: B023


def test_a_request_of_the_last_election_that_is_lost_late_does_not_hold_up_the_new_one() -> None:
    """§5.2: the same, if that request is given up only after the new election has begun."""
    gate = Gate()

    def answer(peer: str, request: Request) -> Reply:
        if peer == "n2" and request.term == 1:
            gate.pass_through()
        return silent(peer, request)

    bench = Bench(timing=Timing(600, 1200, 500))
    bench.transport.answer = answer
    gate.close()
    with bench:
        bench.node.expire_election_timer()
        gate.wait_until_held()
        bench.node.expire_election_timer()
        bench.recorder.wait_for(events.BecameCandidate, lambda event: event.state.term == 2)
        gate.open()
        bench.transport.wait_for(lambda to, request: (to, request.term) == ("n2", 2))


def test_who_said_no_is_not_asked_again() -> None:
    """§5.2: its answer would be the same, within the term."""
    bench = Bench()
    bench.transport.answer = lambda peer, request: (
        RequestVoteReply(request.term, False) if peer == "n2" else silent(peer, request)
    )
    with bench:
        bench.node.expire_election_timer()
        bench.see(events.VoteReceived, voter="n2", granted=False)
        bench.transport.wait_for(lambda peer, request: peer == "n3", count=4)
        assert len([peer for peer, _ in bench.transport.sent() if peer == "n2"]) == 1


def test_a_vote_of_an_earlier_election_that_comes_late_is_not_counted() -> None:
    """§5.2: votes of a majority in the same term."""
    gate = Gate()

    def answer(peer: str, request: Request) -> Reply:
        if peer == "n2" and request.term == 1:
            gate.pass_through()
            return RequestVoteReply(1, True)
        return silent(peer, request)

    bench = Bench()
    bench.transport.answer = answer
    gate.close()
    with bench:
        bench.node.expire_election_timer()
        gate.wait_until_held()
        bench.node.expire_election_timer()
        bench.recorder.wait_for(events.BecameCandidate, lambda event: event.state.term == 2)
        gate.open()
        bench.see(events.ReplyReceived, peer="n2")
        status = bench.node.status()
        assert (status.role, status.term) == ("candidate", 2)


def test_a_candidate_yields_to_the_leader_of_its_term_and_late_votes_change_nothing() -> None:
    """§5.2: if the leader's term is at least as large as the candidate's, the leader is legitimate."""
    gate = Gate()

    def answer(peer: str, request: Request) -> Reply:
        gate.pass_through()
        return agree(peer, request)

    bench = Bench()
    bench.transport.answer = answer
    gate.close()
    with bench:
        bench.node.expire_election_timer()
        bench.transport.wait_for(lambda peer, request: peer == "n2")
        bench.transport.deliver("n3", append_entries(1, term=1, leader_id="n3"))
        assert bench.see(events.SteppedDown).was.value == "candidate"
        gate.open()
        bench.see(events.ReplyReceived, peer="n2")
        status = bench.node.status()
        assert (status.role, status.leader, status.term) == ("follower", "n3", 1)


def test_a_newer_term_in_a_reply_ends_a_candidacy_and_is_never_gone_back_from() -> None:
    """§5.1: the next election is in a term beyond it, and that term is saved before it is spoken of."""
    bench = Bench()
    bench.transport.answer = lambda peer, request: (
        RequestVoteReply(8, False) if request.term < 8 else silent(peer, request)
    )
    with bench:
        bench.node.expire_election_timer()
        bench.see(events.SteppedDown)
        bench.node.expire_election_timer()
        bench.transport.wait_for(lambda peer, request: request.term == 9)
        assert bench.storage.writes[-1] == (9, "n1")
        assert {request.term for _, request in bench.transport.sent()} == {1, 9}


def test_a_leader_has_no_election_timer_until_it_steps_down() -> None:
    """Fig. 4: there is no way from leader to candidate; a former leader waits a whole timeout."""
    with Bench(timing=Timing(60, 120, 1), runtime=Runtime(random=Dice(0.0))) as bench:
        waits = Waits(bench.node._monitor.election_due)
        term = bench.lead()
        seen = 1
        while waits.wait_for(seen) is not None:
            seen += 1  # it had not yet noticed that it leads
        bench.node.expire_election_timer()
        assert waits.count() == seen, "a leader's timer sleeps for ever, also when it is forced"
        assert bench.node.status().role == "leader" and bench.node.status().term == term
        bench.transport.deliver("n2", RequestVote(term + 1, "n2", 0, 0, told_to_stand=True))
        while waits.wait_for(seen) is None:
            seen += 1
        assert waits.wait_for(seen) == pytest.approx(60, abs=10)
        assert len(bench.recorder.events(events.ElectionTimedOut)) == 1, "only the one that made it leader"


def test_a_candidate_asks_nobody_before_its_vote_is_saved_also_if_a_thread_is_awake_just_then() -> None:
    """Fig. 2: here the thread comes back from an earlier election's request, and looks what is next."""
    gate = Gate()

    def answer(peer: str, request: Request) -> Reply:
        if peer == "n2" and request.term == 1:
            gate.pass_through()
            return RequestVoteReply(1, True)
        return silent(peer, request)

    bench = Bench()
    bench.transport.answer = answer
    gate.close()
    with bench:
        bench.node.expire_election_timer()
        gate.wait_until_held()
        waits = Waits(bench.node._monitor.links["n2"].wake)
        bench.storage.gate.close()
        bench.node.expire_election_timer()
        bench.storage.gate.wait_until_held()
        gate.open()
        assert waits.wait_for(1) is None, "there is nothing to send yet"
        assert [request.term for _, request in bench.transport.sent() if request.term > 1] == []
        bench.storage.gate.open()
        bench.transport.wait_for(lambda peer, request: peer == "n2" and request.term == 2)


def test_a_denied_vote_with_a_newer_term_is_saved_before_it_is_answered() -> None:
    """§5.1, Fig. 2: the term is persistent state, too."""
    with Bench(saved=SavedState(2, None, entries_of(1, 2))) as bench:
        bench.storage.gate.close()
        answer = Background(lambda: bench.transport.deliver("n2", RequestVote(3, "n2", 1, 1)))
        bench.storage.gate.wait_until_held()
        assert bench.storage.writes == []
        bench.storage.gate.open()
        assert answer.result() == RequestVoteReply(3, False)
        assert bench.storage.writes == [(3, None)]
