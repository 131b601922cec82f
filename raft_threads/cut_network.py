"""Connections that can be cut and healed between real servers (§5.3, §5.5: lost messages, partitions)."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Callable

from raft_threads.messages import Reply, Request
from raft_threads.transport import HandleRequest, PeerDidNotAnswer, Transport


class CutNetwork:
    """Which links are cut, for all servers of one process. A link has two directions, cut separately."""

    def __init__(self) -> None:
        self._guard = threading.Lock()  # guards _cut
        self._cut: set[tuple[str, str]] = set()

    def cut_one_way(self, sender: str, receiver: str) -> None:
        """Lose what `sender` sends to `receiver`: its requests, and its replies to the other's."""
        with self._guard:
            self._cut.add((sender, receiver))

    def cut(self, one: str, other: str) -> None:
        """Lose everything between two servers."""
        self.cut_one_way(one, other)
        self.cut_one_way(other, one)

    def partition(self, *groups: Iterable[str]) -> None:
        """Cut all links between servers of different groups; links within a group stay as they are."""
        members = [set(group) for group in groups]
        for position, group in enumerate(members):
            for others in members[position + 1:]:
                for one in group:
                    for other in others:
                        self.cut(one, other)

    def heal(self) -> None:
        """Repair all links."""
        with self._guard:
            self._cut.clear()

    def is_cut(self, sender: str, receiver: str) -> bool:
        """Return whether messages from `sender` to `receiver` are lost."""
        with self._guard:
            return (sender, receiver) in self._cut

    def around(self, server: str) -> Callable[[Transport], Transport]:
        """Return what `KeyValueServer` takes as `wrap_transport`."""
        return lambda transport: CuttableTransport(self, server, transport)


class CuttableTransport:
    """A Transport whose messages are lost where the network is cut."""

    def __init__(self, network: CutNetwork, server: str, transport: Transport) -> None:
        self._network = network
        self._server = server
        self._transport = transport

    def start(self, handle_request: HandleRequest) -> None:
        """Start the transport beneath."""
        self._transport.start(handle_request)

    def call(self, peer: str, request: Request, timeout: float) -> Reply:
        """Send `request` if that direction is whole; lose the reply if the other is cut, even meanwhile."""
        if self._network.is_cut(self._server, peer):
            raise PeerDidNotAnswer("the connection is cut")
        reply = self._transport.call(peer, request, timeout)
        if self._network.is_cut(peer, self._server):
            raise PeerDidNotAnswer("the connection is cut, and the reply is lost")
        return reply

    def close(self) -> None:
        """Close the transport beneath."""
        self._transport.close()
