"""What a node needs of a network (§5.1): requests that are answered, or not.

`tcp_transport.py` does it over blocking sockets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable, Protocol

from raft_threads.messages import Reply, Request

HandleRequest = Callable[[str, Request], Reply]


class PeerDidNotAnswer(Exception):
    """A request got no answer; whether it arrived is unknown. The text says why in one line."""


class RequestRefused(Exception):
    """Raised by a handler that will not answer: the text goes to the sender, and the connection is closed."""


class Transport(Protocol):
    """What a node needs of a network. Requests may be lost; replies too; the node sends again (§5.5)."""

    def start(self, handle_request: HandleRequest) -> None:
        """Begin to deliver requests: `handle_request(peer, request)` returns the reply, in a thread of ours."""

    def use_addresses(self, addresses: Mapping[str, str]) -> None:
        """Reach servers at `addresses` (`host:port`) from now on; those not named, where they were. Never blocks (§6).
        """

    def call(self, peer: str, request: Request, timeout: float) -> Reply:
        """Send `request` to `peer`, wait `timeout` seconds at most, return its reply. Raises PeerDidNotAnswer.

        Called by one thread for each peer, never with the node's lock held.
        """

    def close(self) -> None:
        """End all that is under way: a `call` that waits raises, no request is delivered any more."""
