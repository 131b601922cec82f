"""How a synchronous client talks with a store: ours and etcd. The same load generator drives both."""

from __future__ import annotations

import base64
import json
import re
import socket
from dataclasses import dataclass
from typing import Protocol

from raft_threads import kv
from raft_threads.addresses import Address
from raft_threads.client_messages import Command, Hello, Query, Register, Registered, Welcome
from raft_threads.wire import Message, encode, read_message

PATIENCE = 20.0


class LoadFailed(Exception):
    """The store did not do what it was asked for. The text says what it answered."""


class Store(Protocol):
    """A store under load. Picklable: the load generator is another process."""

    def connect(self) -> socket.socket:
        """Return a blocking connection to the leader that is ready for requests. Raises LoadFailed or OSError."""

    def request(self, client: int, number: int) -> bytes:
        """Return the request `number`, from 1, of a client; `client` is what `introduce` has returned."""

    def introduce(self, connection: socket.socket) -> int:
        """Do what is to be done once on a new connection; return a number for this client."""

    def is_whole(self, answer: bytes) -> bool:
        """Return whether all of an answer has come. Raises LoadFailed when it is a refusal."""


def open_connection(address: Address) -> socket.socket:
    """Return a connection without Nagle's algorithm."""
    connection = socket.create_connection(address, PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


@dataclass(frozen=True)
class OurStore:
    """Our leader, with a session for each client (§8) as `Client` has, or reads without the log."""

    leader: Address
    cluster: str
    value: str
    reads: bool = False

    def connect(self) -> socket.socket:
        """Connect and say hello."""
        connection = open_connection(self.leader)
        if not isinstance(_exchange(connection, Hello(self.cluster)), Welcome):
            raise LoadFailed("the server did not welcome us")
        return connection

    def introduce(self, connection: socket.socket) -> int:
        """Open a session (§8)."""
        answer = _exchange(connection, Register(PATIENCE))
        if not isinstance(answer, Registered):
            raise LoadFailed(f"no session: {answer}")
        return answer.client_id

    def request(self, client: int, number: int) -> bytes:
        """Return a put in the client's session, or a read."""
        key = f"key-{client}"
        if self.reads:
            return encode(Query(kv.get_command(key), PATIENCE))
        return encode(Command(kv.put_command(key, self.value), PATIENCE, client, number, number))

    def is_whole(self, answer: bytes) -> bool:
        """An answer is a line that says what it is, and a line with the result."""
        if not answer.startswith(b'{"type":"command_result"'[: len(answer)]):
            raise LoadFailed(answer[:200].decode("utf-8", "replace").strip())
        return answer.count(b"\n") == 2


def _exchange(connection: socket.socket, message: Message) -> Message:
    connection.sendall(encode(message))
    with connection.makefile("rb", buffering=0) as raw:
        return read_message(_Unbuffered(raw))  # type: ignore[arg-type]


class _Unbuffered:
    """Lines from a socket, and not a byte beyond them."""

    def __init__(self, raw: socket.SocketIO) -> None:
        self._raw = raw

    def readline(self, limit: int) -> bytes:
        """Return a line."""
        return self._raw.readline(limit)


@dataclass(frozen=True)
class EtcdStore:
    """etcd's leader, through its JSON gateway: the API that needs no generated code on the client's side."""

    leader: Address
    value: str

    def connect(self) -> socket.socket:
        """Connect."""
        return open_connection(self.leader)

    def introduce(self, connection: socket.socket) -> int:
        """There is nothing to say; the port tells clients apart."""
        return int(connection.getsockname()[1])

    def request(self, client: int, number: int) -> bytes:
        """Return a put."""
        key, value = (base64.b64encode(text.encode()).decode() for text in (f"key-{client}", self.value))
        body = json.dumps({"key": key, "value": value}).encode()
        return b"POST /v3/kv/put HTTP/1.1\r\nHost: etcd\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def is_whole(self, answer: bytes) -> bool:
        """An answer has a header that tells how long the rest is."""
        header, end, body = answer.partition(b"\r\n\r\n")
        if not end:
            return False
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", header)
        if not header.startswith(b"HTTP/1.1 200") or length is None:
            raise LoadFailed(header.partition(b"\r\n")[0].decode("latin-1"))
        return len(body) >= int(length[1])
