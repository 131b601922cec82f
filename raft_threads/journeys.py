"""The way of each message through a trace: sent where, received where, or lost (§5.1, §5.5).

The records of a trace tell what each server saw of a message: `MessageSent` at the one, `MessageReceived` and
`ReplySent` at the other, `ReplyReceived` or `MessageDropped` at the first. Here they are put together by content. A
server has one request to each other server under way at a time, but a network may bring an earlier one late, or one
twice; among equal messages it cannot be known which is which, and does not matter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Callable, Optional, Union

from raft_threads.events import (
    MessageDropped,
    MessageReceived,
    MessageSent,
    ReplyReceived,
    ReplySent,
    Restarted,
    Stopped,
)
from raft_threads.messages import Reply, Request
from raft_threads.surroundings import Crashed, MessageLost, Record


@dataclass(eq=False)
class Journey:
    """One message on its way: the request `message`, or the `reply` to it.

    `sent`, `received` and `lost` are positions of records in the trace, the first being 0. `sent` is None for a message
    that the trace does not know before it arrives. A message that is neither received nor lost was under way when the
    trace ended.
    """

    sender: str
    receiver: str
    message: Request
    reply: Optional[Reply]
    sent: Optional[int]
    received: Optional[int] = None
    lost: Optional[int] = None
    reason: str = ""
    # Whether the same message had arrived before.
    again: bool = False


def find_journeys(records: Iterable[Record]) -> list[Journey]:
    """Return the journeys of all messages in `records`, in the order in which they begin in the trace."""
    tracker = _Tracker()
    for position, record in enumerate(records):
        tracker.follow(position, record)
    return tracker.finish()


class _Tracker:
    """What is known of all messages at one point of a trace.

    A message is found by its key: sender, receiver, request, and the reply if it is one.
    """

    def __init__(self) -> None:
        self._journeys: list[Journey] = []
        self._under_way: dict[Any, deque[Journey]] = {}
        self._arrived: dict[Any, Journey] = {}
        # The newest of equal messages between two servers, by sender, receiver and what travels.
        self._newest: dict[tuple[str, str, Union[Request, Reply]], Journey] = {}
        # The request whose answer a server waits for, by (server, peer), and those it does not wait for any more.
        self._awaited: dict[tuple[str, str], Journey] = {}
        self._given_up: dict[Journey, tuple[int, str]] = {}
        # Requests that were received and not answered yet, by key; and the answers to those that were.
        self._unanswered: dict[Any, deque[Journey]] = {}
        self._answers: dict[Journey, Journey] = {}
        self._lost_replies: dict[Any, Journey] = {}
        self._went_down: dict[str, int] = {}
        self._steps: dict[type[Any], Callable[[int, Any], None]] = {
            MessageSent: self._request_sent,
            MessageReceived: self._request_received,
            ReplySent: self._reply_sent,
            ReplyReceived: self._reply_received,
            MessageDropped: self._not_answered,
            MessageLost: self._lost,
            Crashed: self._down,
            Stopped: self._down,
            Restarted: self._down,
        }

    def follow(self, position: int, record: Record) -> None:
        """Note what `record` says of messages."""
        step = self._steps.get(type(record))
        if step is not None:
            step(position, record)

    def finish(self) -> list[Journey]:
        """Return all journeys, once all records have been followed."""
        for journey in self._journeys:
            if journey.received is None and journey.lost is None:
                self._settle(journey)
        return self._journeys

    def _settle(self, journey: Journey) -> None:
        """Decide on a message that nobody received: it is lost if nobody waits for it, or its receiver went down."""
        if journey in self._given_up:
            journey.lost, journey.reason = self._given_up[journey]
            return
        if journey.reply is not None and not self._is_awaited(journey):
            journey.lost, journey.reason = journey.sent, f"{journey.receiver} does not wait for it any more"
            return
        went_down = self._went_down.get(journey.receiver, -1)
        if journey.sent is not None and went_down > journey.sent:
            journey.lost, journey.reason = went_down, f"{journey.receiver} went down"

    def _is_awaited(self, reply: Journey) -> bool:
        request = self._awaited.get((reply.receiver, reply.sender))
        return request is not None and request.message == reply.message

    def _begin(self, journey: Journey) -> Journey:
        self._journeys.append(journey)
        self._under_way.setdefault(_key(journey), deque()).append(journey)
        self._newest[journey.sender, journey.receiver, journey.reply or journey.message] = journey
        return journey

    def _arrive(self, position: int, arriving: Journey) -> Journey:
        """Find the journey that ends here. The awaited request comes first, then whatever has been longest under way.

        If there is none, a message that is known arrived again, or one that was sent before the trace began.
        """
        key = _key(arriving)
        candidates = self._under_way.get(key)
        if candidates:
            newest_is_awaited = candidates[-1] is self._awaited_of(arriving)
            journey = candidates.pop() if newest_is_awaited else candidates.popleft()
        elif key in self._lost_replies:
            journey = self._lost_replies.pop(key)  # which was too early to say
            journey.lost, journey.reason = None, ""
        else:
            known = self._arrived.get(key)
            arriving.sent, arriving.again = (known.sent, True) if known is not None else (None, False)
            journey = arriving
            self._journeys.append(journey)
        journey.received = position
        self._arrived[key] = journey
        return journey

    def _awaited_of(self, arriving: Journey) -> Optional[Journey]:
        """Return the message that is under way from and to the same servers, if somebody waits for its end."""
        if arriving.reply is None:
            return self._awaited.get((arriving.sender, arriving.receiver))
        request = self._awaited.get((arriving.receiver, arriving.sender))
        return None if request is None else self._answers.get(request)

    def _lose(self, position: int, journey: Journey, reason: str) -> None:
        """`journey` will not arrive."""
        self._under_way[_key(journey)].remove(journey)
        journey.lost, journey.reason = position, reason
        if journey.reply is not None:
            self._lost_replies[_key(journey)] = journey

    # What each record says

    def _request_sent(self, position: int, event: MessageSent) -> None:
        journey = self._begin(Journey(event.server, event.peer, event.message, None, position))
        self._awaited[event.server, event.peer] = journey

    def _request_received(self, position: int, event: MessageReceived) -> None:
        journey = self._arrive(position, Journey(event.peer, event.server, event.message, None, None))
        self._unanswered.setdefault(_key(journey), deque()).append(journey)

    def _reply_sent(self, position: int, event: ReplySent) -> None:
        reply = self._begin(Journey(event.server, event.peer, event.message, event.reply, position))
        waiting = self._unanswered.get((event.peer, event.server, event.message, None))
        request = waiting.popleft() if waiting else None
        if request is not None and request in self._given_up:
            self._lose(position, reply, self._given_up[request][1])
        elif request is not None:
            self._answers[request] = reply

    def _reply_received(self, position: int, event: ReplyReceived) -> None:
        self._arrive(position, Journey(event.peer, event.server, event.message, event.reply, None))
        self._awaited.pop((event.server, event.peer), None)

    def _not_answered(self, position: int, event: MessageDropped) -> None:
        self._give_up(position, event.server, event.peer, event.reason)

    def _lost(self, position: int, fate: MessageLost) -> None:
        journey = self._newest.get((fate.sender, fate.receiver, fate.message))
        if journey is not None and journey.received is None and journey.lost is None:
            self._lose(position, journey, fate.reason)

    def _down(self, position: int, record: Any) -> None:
        server: str = record.server
        self._went_down[server] = position
        for sender, receiver in list(self._awaited):
            if sender == server:
                self._give_up(position, sender, receiver, f"{server} went down")
        for key in [key for key in self._unanswered if key[1] == server]:
            del self._unanswered[key]

    def _give_up(self, position: int, server: str, peer: str, reason: str) -> None:
        """`server` does not wait for an answer of `peer` any more: the answer is lost, if one is on its way."""
        request = self._awaited.pop((server, peer), None)
        if request is None:
            return
        self._given_up[request] = (position, reason)
        reply = self._answers.get(request)
        if reply is not None and reply.received is None and reply.lost is None:
            self._lose(position, reply, reason)


def _key(journey: Journey) -> Any:
    return journey.sender, journey.receiver, journey.message, journey.reply
