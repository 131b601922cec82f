"""What happened around the servers, as records: crashes, cut links, what became of messages, faults (§5.3, §5.5).

A server's own events (`events.py`) tell what it did; these tell what was done to it, by a simulator, by the demo, or by
whoever plays with a cluster. They carry no server's state. In a trace both stand in one stream, in the order in which
they happened.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import permutations, product
from typing import Union

from raft_threads.events import Event
from raft_threads.messages import Reply, Request

# One direction of a connection: who sends, who receives.
Link = tuple[str, str]


@dataclass(frozen=True)
class Surrounding:
    """Something that happened around the servers at `when` (seconds, on the clock of the servers' events)."""

    when: float


@dataclass(frozen=True)
class Crashed(Surrounding):
    """`server` lost everything but what its disk holds. When it comes back it says so itself (`Restarted`)."""

    server: str


@dataclass(frozen=True)
class LinksCut(Surrounding):
    """From now on, nothing that is sent over these `links` arrives."""

    links: tuple[Link, ...]


@dataclass(frozen=True)
class LinksHealed(Surrounding):
    """These `links` were cut, and carry messages again."""

    links: tuple[Link, ...]


@dataclass(frozen=True)
class MessageFate(Surrounding):
    """What the network did with one message on its way from `sender` to `receiver`.

    The message is a request or a reply. `message_id` is the network's number for it, the same in all records of one
    message.
    """

    sender: str
    receiver: str
    message_id: int
    message: Union[Request, Reply]


@dataclass(frozen=True)
class MessageLost(MessageFate):
    """The message will never arrive, for `reason`."""

    reason: str


@dataclass(frozen=True)
class MessageDuplicated(MessageFate):
    """The message will arrive once more than it was sent."""


@dataclass(frozen=True)
class MessageDelivered(MessageFate):
    """The message reached the other server's machine; what the server makes of it, it tells itself."""


@dataclass(frozen=True)
class Stalled(Surrounding):
    """`thread` of `server` stands still for `duration` seconds from now: a busy machine, a long garbage collection."""

    server: str
    thread: str
    duration: float


@dataclass(frozen=True)
class ClockChanged(Surrounding):
    """The clock of `server` is `offset` seconds ahead of true time now, and runs `rate` times as fast from here on."""

    server: str
    offset: float
    rate: float


@dataclass(frozen=True)
class DiskFault(Surrounding):
    """The disk of `server` did what a disk should not; `fault` says what."""

    server: str
    fault: str


Record = Union[Event, Surrounding]


def links_between(groups: Iterable[Iterable[str]]) -> tuple[Link, ...]:
    """Return both directions of all links between servers of different `groups`, sorted."""
    links: set[Link] = set()
    for group, others in permutations([set(group) for group in groups], 2):
        links.update(product(group, others))
    return tuple(sorted(links))
