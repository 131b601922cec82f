"""Fig. 2: persistent state is updated on stable storage before responding to RPCs. Diss. §10.2.1: and in parallel."""

from __future__ import annotations

from typing import Optional

import pytest
from doubles import Background, Bench, Gate, agree, silent, votes_only
from drawing import append_entries, entries_of

from raft_threads import events
from raft_threads.messages import AppendEntries, AppendEntriesReply, Reply, Request, RequestVote, RequestVoteReply
from raft_threads.proposals import OutcomeUnknown
from raft_threads.storage import SavedState
from raft_threads.transport import RequestRefused


def is_vote_request(peer: str, request: Request) -> bool:
    """Whether a candidate sent it."""
    return isinstance(request, RequestVote)


def carries_entries(peer: str, request: Request) -> bool:
    """Whether a leader sent entries with it."""
    return isinstance(request, AppendEntries) and bool(request.entries)


def test_a_candidate_saves_its_term_and_vote_before_it_asks_for_votes() -> None:
    """Fig. 2: or it could vote again in that term after a crash."""
    with Bench() as bench:
        bench.storage.gate.close()
        bench.node.expire_election_timer()
        bench.storage.gate.wait_until_held()
        bench.see(events.BecameCandidate)
        assert bench.transport.sent() == []
        bench.storage.gate.open()
        bench.transport.wait_for(is_vote_request)
        assert bench.storage.writes[0] == (1, "n1")


def test_a_voter_saves_its_vote_before_it_answers() -> None:
    """Fig. 2."""
    with Bench() as bench:
        bench.storage.gate.close()
        answer = Background(lambda: bench.transport.deliver("n2", RequestVote(1, "n2", 0, 0)))
        bench.storage.gate.wait_until_held()
        assert bench.storage.writes == []
        bench.storage.gate.open()
        assert answer.result() == RequestVoteReply(1, True)
        assert bench.storage.writes == [(1, "n2")]


def test_a_follower_saves_entries_before_it_answers_and_the_term_before_the_entries() -> None:
    """Fig. 2: so that no saved entry is of a term beyond the saved one."""
    with Bench() as bench:
        bench.storage.gate.close()
        answer = Background(lambda: bench.transport.deliver("n2", append_entries(1, 1, term=1, leader_id="n2")))
        bench.storage.gate.wait_until_held()
        assert bench.storage.writes == []
        bench.storage.gate.open()
        assert answer.result() == AppendEntriesReply(1, True)
        assert bench.storage.writes == [(1, None), [(1, 1), (2, 1)]]


def test_a_heartbeat_that_changes_nothing_is_answered_without_the_disk() -> None:
    """Fig. 2: nothing to save."""
    with Bench(saved=SavedState(1, None, [])) as bench:
        bench.transport.deliver("n2", append_entries(term=1, leader_id="n2"))
        assert bench.storage.writes == []


def test_the_leader_sends_entries_while_its_own_disk_is_busy_and_counts_itself_only_then() -> None:
    """Diss. §10.2.1."""
    with Bench() as bench:
        bench.lead()
        bench.transport.answer = lambda peer, request: agree(peer, request) if peer == "n2" else silent(peer, request)
        bench.storage.gate.close()
        answer = Background(lambda: bench.node.propose(b"x", 5))
        bench.storage.gate.wait_until_held()
        bench.transport.wait_for(lambda peer, request: peer == "n2" and getattr(request, "prev_log_index", 0) == 2)
        assert bench.node.status().commit_index == 1, "n2 has it; one of three, as the leader's own disk does not"
        bench.storage.gate.open()
        assert answer.result() == b"1"


def test_a_majority_of_others_commits_before_the_leaders_own_disk() -> None:
    """Diss. §10.2.1."""
    with Bench() as bench:
        bench.lead()
        bench.storage.gate.close()
        assert bench.node.propose(b"x", 5) == b"1"
        assert (2, 1) not in [entry for write in bench.storage.writes if isinstance(write, list) for entry in write]


def test_one_write_saves_all_that_came_together_while_the_disk_was_busy() -> None:
    """Diss. §10.2: group commit."""
    with Bench() as bench:
        bench.lead()
        writes = len(bench.storage.writes)
        bench.storage.gate.close()
        answers = [Background(lambda: bench.node.propose(b"x", 5))]
        bench.storage.gate.wait_until_held()
        answers += [Background(lambda: bench.node.propose(b"x", 5)) for _ in range(9)]
        bench.recorder.wait_until(lambda: bench.node.status().last_log_index == 11, "ten commands are in the log")
        bench.storage.gate.open()
        for answer in answers:
            answer.result()
        bench.recorder.wait_until(lambda: len(bench.storage.writes) >= writes + 2, "the disk is done")
        assert bench.storage.writes[writes:] == [[(2, 1)], [(index, 1) for index in range(3, 12)]]


def test_two_followers_requests_that_wait_for_the_disk_are_both_answered_after_their_own_change_is_saved() -> None:
    """Fig. 2: a write that began before the change does not count for it."""
    with Bench() as bench:
        bench.storage.gate.close()
        first = Background(lambda: bench.transport.deliver("n2", append_entries(1, term=1, leader_id="n2")))
        bench.storage.gate.wait_until_held()
        heartbeat = append_entries(1, prev=(1, 1), term=1, leader_id="n2")
        second = Background(lambda: bench.transport.deliver("n2", heartbeat))
        bench.recorder.wait_until(lambda: bench.node.status().last_log_index == 2, "both are in the log")
        bench.storage.gate.open()
        assert first.result() == second.result() == AppendEntriesReply(1, True)
        assert bench.storage.writes == [(1, None), [(1, 1)], [(2, 1)]]


def test_an_answer_becomes_a_refusal_when_the_term_has_moved_on_while_the_disk_was_busy() -> None:
    """After any unlock, look at term and role again; a refusal is always safe (§5.1)."""
    with Bench() as bench:
        bench.storage.gate.close()
        vote = Background(lambda: bench.transport.deliver("n2", RequestVote(1, "n2", 0, 0)))
        bench.storage.gate.wait_until_held()
        newer = Background(lambda: bench.transport.deliver("n3", append_entries(term=2, leader_id="n3")))
        bench.recorder.wait_until(lambda: bench.node.status().term == 2, "the newer term is adopted")
        bench.storage.gate.open()
        assert vote.result() == RequestVoteReply(2, False)
        assert newer.result() == AppendEntriesReply(2, True)
        assert bench.storage.writes == [(1, "n2"), (2, None)]


def test_a_refusal_speaks_of_a_newer_term_only_when_that_is_on_disk() -> None:
    """Fig. 2: current_term is persistent; or the server could be back in the older term after it spoke of the newer."""
    with Bench() as bench:
        newer_term = Gate()
        newer_term.close()
        write = bench.storage.save_term_and_vote

        def save(current_term: int, voted_for: Optional[str]) -> None:
            if current_term == 2:
                newer_term.pass_through()
            write(current_term, voted_for)

        bench.storage.save_term_and_vote = save  # type: ignore[method-assign]
        bench.storage.gate.close()
        vote = Background(lambda: bench.transport.deliver("n2", RequestVote(1, "n2", 0, 0)))
        bench.storage.gate.wait_until_held()
        newer = Background(lambda: bench.transport.deliver("n3", append_entries(term=2, leader_id="n3")))
        bench.recorder.wait_until(lambda: bench.node.status().term == 2, "the newer term is adopted")
        bench.storage.gate.open()
        newer_term.wait_until_held()
        said = bench.recorder.events(events.ReplySent)
        newer_term.open()
        assert said == []
        assert (vote.result(), newer.result()) == (RequestVoteReply(2, False), AppendEntriesReply(2, True))


def test_entries_replaced_while_the_disk_was_busy_are_written_again() -> None:
    """§5.3: what the disk got first is not what the log holds."""
    with Bench() as bench:
        bench.storage.gate.close()
        old = Background(lambda: bench.transport.deliver("n2", append_entries(1, 1, term=1, leader_id="n2")))
        bench.storage.gate.wait_until_held()
        new = Background(lambda: bench.transport.deliver("n3", append_entries(1, 2, term=2, leader_id="n3")))
        bench.recorder.wait_until(lambda: bench.node.status().term == 2, "the new leader's entries are in the log")
        bench.storage.gate.open()
        assert (old.result(), new.result()) == (AppendEntriesReply(2, False), AppendEntriesReply(2, True))
        assert bench.storage.writes == [(1, None), [(1, 1), (2, 1)], (2, None), [(1, 1), (2, 2)]]


def test_a_failed_fsync_stops_the_server_for_good_and_says_so() -> None:
    """A retried fsync can lie: nobody is answered, then or later."""
    with Bench() as bench:
        bench.storage.fails = True
        with pytest.raises(RequestRefused):
            bench.transport.deliver("n2", RequestVote(1, "n2", 0, 0))
        bench.storage.fails = False
        assert "the disk is broken" in str(bench.node.wait_until_stopping())
        assert bench.see(events.Stopped).failure == "the disk is broken"
        with pytest.raises(RequestRefused):
            bench.transport.deliver("n2", RequestVote(1, "n2", 0, 0))
        assert bench.storage.writes == []


def test_a_failed_fsync_of_the_leader_tells_waiting_clients_that_nobody_knows() -> None:
    """§8: the command may be in other servers' logs."""
    with Bench() as bench:
        bench.transport.answer = votes_only
        bench.node.expire_election_timer()
        bench.see(events.BecameLeader)
        bench.recorder.wait_until(lambda: [(1, 1)] in bench.storage.writes, "the no-op is saved")
        bench.storage.fails = True
        with pytest.raises(OutcomeUnknown):
            bench.node.propose(b"x", 5)
        assert bench.node.wait_until_stopping() is not None


def test_a_server_goes_on_with_what_its_disk_holds() -> None:
    """Fig. 2, §5.5: term, vote and log."""
    with Bench(saved=SavedState(4, "n3", entries_of(1, 4))) as bench:
        status = bench.node.status()
        assert (status.term, status.role, status.last_log_index, status.commit_index) == (4, "follower", 2, 0)
        assert bench.transport.deliver("n2", RequestVote(4, "n2", 9, 9)) == RequestVoteReply(4, False)
        reply: Reply = bench.transport.deliver("n3", RequestVote(4, "n3", 9, 9))
        assert reply == RequestVoteReply(4, True)
