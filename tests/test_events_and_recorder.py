"""The one stream of events: what observers are told, in which order, and how tests wait for it (§5)."""

from __future__ import annotations

import threading
from typing import Optional

import pytest
from doubles import Background, Bench, agree, silent
from drawing import THREE, append_entries, entries_of

from raft_threads import events
from raft_threads.events import Audience, CommitAdvanced, ElectionTimerSet, Event, EventKinds, Glimpse, glimpse
from raft_threads.messages import Reply, Request, RequestVote, RequestVoteReply
from raft_threads.recorder import EventRecorder
from raft_threads.state import Role, State
from raft_threads.storage import SavedState


def event(server: str = "n1", timeout: float = 1.0) -> ElectionTimerSet:
    """Return an event to tell from others by its timeout."""
    return ElectionTimerSet(server, 0.0, glimpse(State(server, THREE)), timeout)


def commit(server: str = "n1") -> CommitAdvanced:
    """Return an event of another kind."""
    return CommitAdvanced(server, 0.0, glimpse(State(server, THREE)), 0)


class Listener:
    """An observer that keeps what it hears."""

    def __init__(self, kinds: Optional[EventKinds]) -> None:
        self.kinds = kinds
        self.heard: list[Event] = []

    def observe(self, event: Event) -> None:
        """Keep it."""
        self.heard.append(event)


# Observers


def test_an_observer_hears_only_what_it_wants() -> None:
    """None is everything; no kinds at all, nothing."""
    everything, timers, nothing = Listener(None), Listener(frozenset({ElectionTimerSet})), Listener(frozenset())
    audience = Audience([everything, timers, nothing])
    for each in (event(), commit()):
        audience.tell(each)
    assert [len(listener.heard) for listener in (everything, timers, nothing)] == [2, 1, 0]


def test_what_nobody_wants_is_known_before_an_event_is_made() -> None:
    """No cost when nobody listens."""
    assert Audience([Listener(frozenset({ElectionTimerSet}))]).wants(ElectionTimerSet)
    assert not Audience([Listener(frozenset({ElectionTimerSet}))]).wants(CommitAdvanced)
    assert not Audience([]).wants(CommitAdvanced)
    assert Audience([Listener(frozenset()), Listener(None)]).wants(CommitAdvanced)


def test_each_event_carries_the_state_after_the_step() -> None:
    """Fig. 2's State box, as far as it can be copied cheaply."""
    with Bench(saved=SavedState(2, "n3", entries_of(1, 2))) as bench:
        started = bench.see(events.Restarted)
        assert started.entries == entries_of(1, 2)
        assert started.state == Glimpse(2, Role.FOLLOWER, "n3", None, 0, 0, 2, 2)
        term = bench.lead()
        leads = bench.see(events.BecameLeader)
        assert leads.state == Glimpse(term, Role.LEADER, "n1", "n1", 0, 0, 3, term)


def test_a_vote_is_told_with_the_request_and_its_answer() -> None:
    """HandleRequestVoteRequest: granted and denied (§5.2)."""
    with Bench() as bench:
        for candidate in ("n2", "n3"):
            bench.transport.deliver(candidate, RequestVote(1, candidate, 0, 0))
        assert bench.see(events.VoteGranted).candidate == "n2"
        assert bench.see(events.VoteDenied).candidate == "n3"
        assert [each.peer for each in bench.recorder.events(events.MessageReceived)] == ["n2", "n3"]
        sent = bench.recorder.events(events.ReplySent)
        assert [(each.peer, each.reply) for each in sent] == [
            ("n2", RequestVoteReply(1, True)),
            ("n3", RequestVoteReply(1, False)),
        ]


def test_what_a_leader_changes_in_a_followers_log_is_told_step_by_step() -> None:
    """§5.3: who leads, what is deleted, what takes its place, what is committed and applied."""
    with Bench(saved=SavedState(3, None, entries_of(1, 2, 2, 2))) as bench:
        mark = bench.recorder.mark()
        bench.transport.deliver("n2", append_entries(3, 3, term=3, prev=(2, 2), leader_id="n2", leader_commit=3))
        bench.recorder.wait_until(lambda: bench.node.status().last_applied == 3, "three entries are applied")
        told = [each for each in bench.recorder.events(Event, since=mark) if not isinstance(each, ElectionTimerSet)]
        names = [type(each).__name__ for each in told]
        changes = ["LeaderRecognized", "EntriesDeleted", "EntriesAppended", "CommitAdvanced"]
        assert [name for name in names if name != "Applied"] == ["MessageReceived", *changes, "ReplySent"]
        deleted, appended = told[2:4]
        assert isinstance(deleted, events.EntriesDeleted) and isinstance(appended, events.EntriesAppended)
        assert (deleted.first_index, deleted.last_index) == (3, 4)
        assert appended.entries == entries_of(3, 3, first_index=3)
        assert [each.entry.index for each in told if isinstance(each, events.Applied)] == [1, 2, 3]


def test_a_repeated_message_is_told_as_received_and_changes_nothing() -> None:
    """§5.5: idempotent."""
    with Bench() as bench:
        request = append_entries(1, 1, term=1, leader_id="n2")
        bench.transport.deliver("n2", request)
        mark = bench.recorder.mark()
        bench.transport.deliver("n2", request)
        told = [type(each).__name__ for each in bench.recorder.events(Event, since=mark)]
        assert told == ["ElectionTimerSet", "MessageReceived", "ReplySent"]


def test_a_peer_is_reported_unreachable_once_and_reachable_once() -> None:
    """§5.5: retries go on without end; telling of them does not."""
    reachable = threading.Event()

    def answer(peer: str, request: Request) -> Reply:
        return agree(peer, request) if reachable.is_set() else silent(peer, request)

    bench = Bench()
    bench.transport.answer = answer
    with bench:
        bench.node.expire_election_timer()
        bench.recorder.wait_until(
            lambda: sum(each.peer == "n2" for each in bench.recorder.events(events.MessageDropped)) >= 3, "three tries"
        )
        reachable.set()
        told = bench.recorder.position_after(bench.see(events.PeerReachable, peer="n2"))
        for _ in range(3):
            heard = bench.recorder.wait_for(events.ReplyReceived, lambda each: each.peer == "n2", told)
            told = bench.recorder.position_after(heard)
        for kind in (events.PeerUnreachable, events.PeerReachable):
            assert len([each for each in bench.recorder.events(kind) if vars(each)["peer"] == "n2"]) == 1


def test_peers_that_a_stopping_server_hears_no_more_are_not_reported_unreachable() -> None:
    """It hung up itself."""
    with Bench() as bench:
        bench.transport.answer = silent
        bench.transport.gate.close()
        bench.node.expire_election_timer()
        bench.transport.gate.wait_until_held()
        bench.node.stop()
        assert bench.recorder.events(events.MessageDropped) != []
        assert bench.recorder.events(events.PeerUnreachable) == []


def test_a_stopped_server_says_so_once_and_last() -> None:
    """Asked to; so there is no failure to tell of."""
    with Bench() as bench:
        bench.lead()
        bench.node.stop()
        bench.node.stop()
        (stopped,) = bench.recorder.events(events.Stopped)
        assert stopped.failure is None


# The recorder


def test_a_recorder_finds_events_by_kind_server_and_place() -> None:
    """One recorder may listen to several nodes."""
    recorder = EventRecorder()
    for each in (event("n1", 1), event("n2", 2), commit("n1")):
        recorder.observe(each)
    mark = recorder.mark()
    recorder.observe(event("n1", 3))
    assert [each.timeout for each in recorder.events(ElectionTimerSet)] == [1, 2, 3]
    assert [each.timeout for each in recorder.events(ElectionTimerSet, "n1")] == [1, 3]
    assert [each.timeout for each in recorder.events(ElectionTimerSet, since=mark)] == [3]
    assert recorder.position_after(recorder.events(CommitAdvanced)[0]) == 3


def test_waiting_for_an_event_finds_one_that_came_before_and_one_that_comes_later() -> None:
    """No event is missed between looking and waiting."""
    recorder = EventRecorder()
    recorder.observe(event(timeout=1))
    assert recorder.wait_for(ElectionTimerSet).timeout == 1
    waiting = Background(lambda: recorder.wait_for(ElectionTimerSet, lambda each: each.timeout == 3, recorder.mark()))
    for timeout in (1.0, 2.0, 3.0, 4.0):
        recorder.observe(event(timeout=timeout))
    assert waiting.result().timeout == 3


def test_waiting_ends_with_what_was_waited_for() -> None:
    """A TimeoutError that helps."""
    recorder = EventRecorder()
    recorder.observe(commit())
    with pytest.raises(TimeoutError, match="no ElectionTimerSet"):
        recorder.wait_for(ElectionTimerSet, timeout=0.01)
    with pytest.raises(TimeoutError, match="until pigs fly"):
        recorder.wait_until(lambda: False, "until pigs fly", timeout=0.01)


def test_a_condition_is_asked_again_after_each_event() -> None:
    """And only then: nothing polls."""
    recorder = EventRecorder()
    asked: list[int] = []

    def holds() -> bool:
        asked.append(recorder.mark())
        if recorder.mark() < 3:
            recorder.observe(event())
        return recorder.mark() == 3 and len(asked) > 1

    recorder.wait_until(holds, "three events")
    assert len(asked) <= 4
