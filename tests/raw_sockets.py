"""Somebody at the other end of a real socket who does as the test says: speaks, is silent, or talks nonsense (§5.1)."""

from __future__ import annotations

import itertools
import json
import os
import random
import socket
import threading
from typing import Any, Callable, Optional, TypeVar

from raft_threads.addresses import Address
from raft_threads.client_messages import ServerStatus
from raft_threads.messages import AppendEntriesReply, Reply, Request, RequestVote, RequestVoteReply
from raft_threads.rpc_server import RpcServer
from raft_threads.wire import Message

PATIENCE = 20.0
HELLO = {"type": "hello", "cluster": "raft"}
# Below the ports from which the system takes the near ends of connections: none of those may take a server's port.
_PORTS = itertools.count(random.Random(f"ports {os.getpid()}").randrange(10_000, 30_000))

L = TypeVar("L", bound="Listening")


def free_ports(count: int) -> list[int]:
    """Return ports on which nobody listens."""
    found: list[int] = []
    while len(found) < count:
        port = 10_000 + next(_PORTS) % 20_000
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found


# Ports that tests of this run have had: a server that is down at the moment may need its own again.
_GIVEN: set[int] = set()


def free_addresses(*servers: str) -> dict[str, Address]:
    """Return an address on loopback for each of `servers`, which no other test has."""
    while _GIVEN.intersection(ports := free_ports(len(servers))):
        pass
    _GIVEN.update(ports)
    return {server: Address("127.0.0.1", port) for server, port in zip(servers, ports)}


def line(message: dict[str, Any]) -> bytes:
    """Return a message without lines, written by hand and not by the code under test."""
    return json.dumps(message).encode() + b"\n"


def answer_by_type(sender: Optional[str], request: Message) -> Message:
    """Be a server's handler that agrees with everything."""
    if isinstance(request, RequestVote):
        return RequestVoteReply(request.term, True)
    if sender is not None:
        return AppendEntriesReply(request.term, True)  # type: ignore[union-attr]
    return ServerStatus("n1", "leader", 1, "n1", 0, 0, 0)


class Listening:
    """An RpcServer `n1` of `n1, n2, n3`, running. A context manager."""

    def __init__(
        self, handle: Callable[[Optional[str], Message], Message] = answer_by_type, address: Optional[Address] = None
    ) -> None:
        self.address = address or free_addresses("n1")["n1"]
        self.server = RpcServer("n1", "raft", self.address, handle)

    def __enter__(self: L) -> L:
        self.server.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.close()

    def connect(self) -> RawClient:
        """Connect, and say nothing yet."""
        return RawClient(self.address)

    def greet(self, sender: Optional[str] = None) -> RawClient:
        """Connect and introduce ourselves, as a client or as a peer."""
        client = self.connect()
        client.send(line(HELLO if sender is None else {**HELLO, "sender": sender, "receiver": "n1"}))
        assert client.read()["type"] == "welcome"
        return client

    def still_serves(self) -> bool:
        """Return whether a new client gets an answer."""
        with self.greet() as client:
            client.send(line({"type": "status"}))
            return bool(client.read()["type"] == "status_reply")


class RawClient:
    """The calling end of a connection. A context manager that closes it."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(address, PATIENCE)
        self._stream = self.socket.makefile("rb")

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send `data` as it is."""
        self.socket.sendall(data)

    def read_line(self) -> bytes:
        """Return the next line, empty if the server has closed the connection."""
        return self._stream.readline()

    def read(self) -> dict[str, Any]:
        """Return the next message's first line."""
        decoded: dict[str, Any] = json.loads(self.read_line())
        return decoded

    def is_ended(self) -> bool:
        """Wait for the server to close the connection; return whether it said nothing more before."""
        try:
            return self._stream.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self.socket.close()


class RawServer:
    """A listening end that answers each connection as `behave(connection)` does. A context manager."""

    def __init__(self, behave: Callable[[socket.socket], None], port: int = 0) -> None:
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", port or free_ports(1)[0]))
        self.address = Address(*self._listener.getsockname())
        self.accepted = 0
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, name="test/raw-server")

    def __enter__(self) -> RawServer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._connections.append(connection)
            try:
                self._behave(connection)
            except OSError:
                pass  # the caller was faster


def refuse_all(peer: str, request: Request) -> Reply:
    """Be a node that no test expects to be asked."""
    raise AssertionError(f"{peer} sent {request}")
