"""Connections that can be cut and healed between real servers (§5.3, §5.5: lost messages, partitions)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Callable

from raft_threads.messages import Reply, Request
from raft_threads.surroundings import Link, LinksCut, LinksHealed, Surrounding, links_between
from raft_threads.transport import HandleRequest, PeerDidNotAnswer, Transport


class CutNetwork:
    """Which links are cut, for all servers of one process. A link has two directions, cut separately."""

    def __init__(self, note: Callable[[Surrounding], None] = lambda record: None) -> None:
        """Begin with all links whole. `note` is told of what is cut and healed, before anything is sent after that."""
        self._note = note
        self._guard = threading.Lock()  # guards _cut
        self._cut: set[Link] = set()

    def cut_one_way(self, sender: str, receiver: str) -> None:
        """Lose what `sender` sends to `receiver`: its requests, and its replies to the other's."""
        self._cut_links([(sender, receiver)])

    def cut(self, one: str, other: str) -> None:
        """Lose everything between two servers."""
        self._cut_links(links_between([[one], [other]]))

    def partition(self, *groups: Iterable[str]) -> None:
        """Cut all links between servers of different groups; links within a group stay as they are."""
        self._cut_links(links_between(groups))

    def heal(self) -> None:
        """Repair all links."""
        with self._guard:
            if self._cut:
                self._note(LinksHealed(time.monotonic(), tuple(sorted(self._cut))))
            self._cut.clear()

    def _cut_links(self, links: Iterable[Link]) -> None:
        with self._guard:
            whole = tuple(link for link in links if link not in self._cut)
            if whole:
                self._note(LinksCut(time.monotonic(), whole))
            self._cut.update(whole)

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

    def use_addresses(self, addresses: Mapping[str, str]) -> None:
        """Reach servers at `addresses` from now on."""
        self._transport.use_addresses(addresses)

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
