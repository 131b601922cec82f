"""The way of each message through a trace: which record of sending belongs to which of receiving (§5.1, §5.5)."""

from __future__ import annotations

from typing import Any

import pytest
from traces import ASK, DONE, HEARTBEAT, REFUSED, WRITE, YES, Script

from raft_threads import events, surroundings
from raft_threads.journeys import Journey, find_journeys


def ends(journeys: list[Journey]) -> list[tuple[Any, ...]]:
    """Return where each journey begins and ends."""
    return [(each.sent, each.received, each.lost) for each in journeys]


def test_a_request_and_its_reply_are_two_journeys() -> None:
    """MessageSent, MessageReceived, ReplySent, ReplyReceived."""
    script = Script()
    script.exchange("n1", "n2", WRITE, DONE)
    request, reply = find_journeys(script.records)
    assert ends([request, reply]) == [(0, 1, None), (2, 3, None)]
    assert (request.sender, request.receiver, request.reply) == ("n1", "n2", None)
    assert (reply.sender, reply.receiver, reply.reply) == ("n2", "n1", DONE)


def test_a_request_that_is_given_up_and_never_received_is_lost_for_that_reason() -> None:
    """§5.5."""
    script = Script()
    sent = script.send("n1", "n2", WRITE)
    dropped = script.give_up("n1", "n2", WRITE, "the connection is cut")
    (journey,) = find_journeys(script.records)
    assert ends([journey]) == [(sent, None, dropped)]
    assert journey.reason == "the connection is cut"


def test_a_reply_that_nobody_waits_for_is_lost_before_and_after_it_is_sent() -> None:
    """The request arrived; its sender gave up before the reply left, or while it was under way."""
    before, after = Script(), Script()
    for script, early in ((before, True), (after, False)):
        script.send("n1", "n2", WRITE)
        script.receive("n1", "n2", WRITE)
        if early:
            script.give_up("n1", "n2", WRITE)
        script.answer("n1", "n2", WRITE, DONE)
        if not early:
            script.give_up("n1", "n2", WRITE)
    for script, reply in ((before, (3, None, 3)), (after, (2, None, 3))):
        journeys = find_journeys(script.records)
        assert ends(journeys) == [(0, 1, None), reply]
        assert journeys[1].reason == "silence"


def test_of_two_equal_requests_the_awaited_one_is_taken_to_arrive_and_a_late_one_later() -> None:
    """A simulated network may bring a heartbeat after the next one."""
    script = Script()
    script.send("n1", "n2", HEARTBEAT)
    script.give_up("n1", "n2", HEARTBEAT)
    script.send("n1", "n2", HEARTBEAT)
    script.receive("n1", "n2", HEARTBEAT)
    script.receive("n1", "n2", HEARTBEAT)
    assert ends(find_journeys(script.records)) == [(0, 4, None), (2, 3, None)]


def test_the_reply_to_a_repeated_request_is_told_from_the_lost_one_before() -> None:
    """Equal heartbeats, equal replies: the first reply was lost, the second came."""
    script = Script()
    script.send("n1", "n2", HEARTBEAT)
    script.receive("n1", "n2", HEARTBEAT)
    script.give_up("n1", "n2", HEARTBEAT)
    script.send("n1", "n2", HEARTBEAT)
    script.answer("n1", "n2", HEARTBEAT, DONE)
    script.receive("n1", "n2", HEARTBEAT)
    script.answer("n1", "n2", HEARTBEAT, DONE)
    script.hear("n1", "n2", HEARTBEAT, DONE)
    replies = [each for each in find_journeys(script.records) if each.reply is not None]
    assert ends(replies) == [(4, None, 4), (6, 7, None)]


def test_a_message_that_comes_twice_came_from_one_place() -> None:
    """And its second reply interests nobody."""
    script = Script()
    script.exchange("n1", "n2", ASK, YES)
    script.receive("n1", "n2", ASK)
    script.answer("n1", "n2", ASK, YES)
    first, _, second, reply = find_journeys(script.records)
    assert ends([first, second]) == [(0, 1, None), (0, 4, None)]
    assert (first.again, second.again) == (False, True)
    assert ends([reply]) == [(5, None, 5)]


def test_a_message_that_the_network_loses_ends_where_it_says_so() -> None:
    """MessageLost, of a reply and of a request; a second word on the same one does no harm."""
    script = Script()
    script.send("n1", "n2", WRITE)
    script.receive("n1", "n2", WRITE)
    script.answer("n1", "n2", WRITE, DONE)
    reply = {"sender": "n2", "receiver": "n1", "message_id": 1, "message": DONE, "reason": "noise"}
    script.around(surroundings.MessageLost, **reply)
    script.send("n1", "n3", ASK)
    script.around(surroundings.MessageLost, sender="n1", receiver="n3", message_id=2, message=ASK, reason="noise")
    script.around(surroundings.MessageLost, **reply)
    journeys = find_journeys(script.records)
    assert ends(journeys) == [(0, 1, None), (2, None, 3), (4, None, 5)]
    assert [each.reason for each in journeys[1:]] == ["noise", "noise"]


@pytest.mark.parametrize("victim", ["n1", "n2"])
def test_what_is_under_way_from_or_to_a_server_that_crashes_is_lost(victim: str) -> None:
    """Request and reply, whoever crashes; and the trace may end before anybody gives up."""
    script = Script()
    script.send("n1", "n2", WRITE)
    script.send("n3", "n2" if victim == "n2" else "n1", ASK)
    crash = script.around(surroundings.Crashed, server=victim)
    journeys = find_journeys(script.records)
    assert [each.lost for each in journeys] == [crash, crash]
    assert {each.reason for each in journeys} == {f"{victim} went down"}


def test_a_reply_that_comes_after_its_asker_stopped_was_not_lost() -> None:
    """A thread of a real node that ends may still tell of the reply it was waiting for."""
    script = Script()
    script.send("n1", "n2", WRITE)
    script.receive("n1", "n2", WRITE)
    script.answer("n1", "n2", WRITE, DONE)
    script.event(events.Stopped, "n1", failure=None)
    script.hear("n1", "n2", WRITE, DONE)
    assert ends(find_journeys(script.records)) == [(0, 1, None), (2, 4, None)]


def test_what_is_under_way_when_the_trace_ends_is_neither_received_nor_lost() -> None:
    """A request, and a reply that is awaited."""
    script = Script()
    script.send("n1", "n3", ASK)
    script.send("n1", "n2", WRITE)
    script.receive("n1", "n2", WRITE)
    script.answer("n1", "n2", WRITE, REFUSED)
    assert ends(find_journeys(script.records)) == [(0, None, None), (1, 2, None), (3, None, None)]


def test_a_message_from_before_the_trace_has_no_beginning() -> None:
    """A trace may begin in the midst of a run."""
    script = Script()
    script.receive("n1", "n2", WRITE)
    script.hear("n1", "n3", WRITE, DONE)
    assert ends(find_journeys(script.records)) == [(None, 0, None), (None, 1, None)]
