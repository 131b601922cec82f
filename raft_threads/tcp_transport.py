"""RPCs between servers over blocking TCP (§5.1): one connection to each peer, kept open."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Callable, Optional

from raft_threads.addresses import Address, parse_address
from raft_threads.client_messages import ErrorReply, Hello
from raft_threads.connection import CannotConnect, Connection, ConnectionLost
from raft_threads.messages import REPLY_TO, Reply, Request
from raft_threads.rpc_server import RpcServer
from raft_threads.transport import HandleRequest, PeerDidNotAnswer
from raft_threads.wire import Message, describe

HandleClient = Callable[[Message], Message]
# Connecting cannot be interrupted, and a server should stop promptly.
CONNECT_TIMEOUT = 0.3


class TcpTransport:
    """Transport over TCP. The port also serves clients, whose requests go to `handle_client`."""

    def __init__(
        self, server: str, cluster: str, addresses: Mapping[str, Address], handle_client: HandleClient
    ) -> None:
        """Listen on the address of `server` among `addresses`. Raises CannotListen (see `rpc_server.py`)."""
        self._server = server
        self._cluster = cluster
        self._addresses = dict(addresses)  # guarded by _guard
        self._handle_client = handle_client
        self._handle_request: Optional[HandleRequest] = None
        self._guard = threading.Lock()  # guards the two below
        self._closed = False
        self._connections: dict[str, Connection] = {}
        self._rpc_server = RpcServer(server, cluster, addresses[server], self._handle)

    def start(self, handle_request: HandleRequest) -> None:
        """Begin to accept connections from peers and clients."""
        self._handle_request = handle_request
        self._rpc_server.start()

    def use_addresses(self, addresses: Mapping[str, str]) -> None:
        """Reach servers at `addresses` from now on. What is connected stays so, but not to another address (§6)."""
        moved = []
        with self._guard:
            for server, text in addresses.items():
                if text and self._addresses.get(server) != parse_address(text):
                    self._addresses[server] = parse_address(text)
                    moved += [server]
        for server in moved:
            self._forget(server)

    def call(self, peer: str, request: Request, timeout: float) -> Reply:
        """Send `request` over the connection to `peer`, which is made first if there is none."""
        with self._guard:
            kept = self._connections.get(peer)
        try:
            if kept is not None and kept.is_open():
                reply = kept.exchange(request, timeout)
            else:
                reply = self._connect(peer, timeout).exchange(request, timeout)
        except (CannotConnect, ConnectionLost) as error:
            self._forget(peer)
            raise PeerDidNotAnswer(str(error)) from error
        return self._checked(peer, request, reply)

    def close(self) -> None:
        """Close the port and all connections, and wait for the threads that served them."""
        with self._guard:
            self._closed = True
            connections = list(self._connections.values())
        for connection in connections:
            connection.close()
        self._rpc_server.close()

    def _connect(self, peer: str, timeout: float) -> Connection:
        self._forget(peer)
        with self._guard:
            address = self._addresses.get(peer)
        if address is None:
            raise CannotConnect(f"nobody has said where server {peer} is")
        connection = Connection(address, min(timeout, CONNECT_TIMEOUT))
        with self._guard:
            closed = self._closed
            if not closed:
                self._connections[peer] = connection
        if closed:
            connection.close()
            raise CannotConnect("this server is stopping")
        connection.introduce(Hello(self._cluster, sender=self._server, receiver=peer), timeout)
        return connection

    def _forget(self, peer: str) -> None:
        with self._guard:
            connection = self._connections.pop(peer, None)
        if connection is not None:
            connection.close()

    def _checked(self, peer: str, request: Request, reply: Message) -> Reply:
        """Return `reply` if it is of the kind that answers `request`."""
        if isinstance(reply, REPLY_TO[type(request)]):
            answer: Reply = reply
            return answer
        self._forget(peer)
        text = reply.message if isinstance(reply, ErrorReply) else f"it answered with {describe(reply)}"
        raise PeerDidNotAnswer(f"{peer} refused {describe(request)}: {text}")

    def _handle(self, sender: Optional[str], request: Message) -> Message:
        if sender is not None and isinstance(request, tuple(REPLY_TO)):
            assert self._handle_request is not None, "requests arrive only after start"
            return self._handle_request(sender, request)  # type: ignore[arg-type]
        return self._handle_client(request)
