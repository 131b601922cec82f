"""The listening side: one blocking `socketserver` port for peers and clients (§5.1), a named thread a connection."""

from __future__ import annotations

import logging
import resource
import socket
import socketserver
import threading
from typing import Any, Callable, Optional

from raft_threads.addresses import Address
from raft_threads.client_messages import (
    ChangeMembers,
    Command,
    ErrorReply,
    Hello,
    MembersRequest,
    Query,
    Register,
    StatusRequest,
    TakeSnapshot,
    TransferLeadership,
    Welcome,
)
from raft_threads.messages import REPLY_TO
from raft_threads.transport import RequestRefused
from raft_threads.wire import BadMessage, ConnectionEnded, Message, describe, encode, read_message

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 1024
# A connection that has not introduced itself by then is closed; a peer or client that has may stay silent for ever.
HELLO_TIMEOUT = 10.0
# How often serve_forever looks whether it should end: shutdown takes up to this long.
POLL_INTERVAL = 0.1
# After an error reply, how much of what the other side still sends is swallowed, so that it gets to read the reply.
LINGER_BYTES = 1024 * 1024
LINGER_SECONDS = 0.5


_FROM_CLIENTS = (
    ChangeMembers, Command, MembersRequest, Query, Register, StatusRequest, TakeSnapshot, TransferLeadership
)


class CannotListen(Exception):
    """The port cannot be had. The text says in one line why, and what to do."""


class RpcServer(socketserver.TCPServer):
    """Accepts connections and answers the requests on each, in order.

    Callers use `start`, `close` and the constructor; the other methods are hooks that socketserver calls.
    socketserver's own ThreadingMixIn would leave threads unnamed, and its server_close() hangs while a peer is
    connected; this one closes the connections first.
    """

    allow_reuse_address = True
    # The default backlog of 5 makes 64 clients that come at once wait for seconds.
    request_queue_size = MAX_CONNECTIONS

    def __init__(
        self,
        server_id: str,
        cluster: str,
        address: Address,
        handle: Callable[[Optional[str], Message], Message],
    ) -> None:
        """Listen on `address`. `handle(sender, request)` returns the reply; `sender` is a peer's id, None for clients.

        Raises CannotListen when the port is in use or the address is not ours.
        """
        self.server_id = server_id
        self.cluster = cluster
        self.handle_message = handle
        self._connection_limit = connection_limit()
        self._guard = threading.Lock()  # guards _connections
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._acceptor = threading.Thread(
            target=self.serve_forever, args=(POLL_INTERVAL,), name=f"{server_id}/acceptor"
        )
        try:
            self.address_family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
            super().__init__(address, Conversation)
        except (OSError, UnicodeError, OverflowError) as error:
            raise CannotListen(f"cannot listen on {address}: {error}; is another server running there?") from error

    def start(self) -> None:
        """Begin to accept connections."""
        self._acceptor.start()

    def close(self) -> None:
        """Stop listening, close all connections, and wait for their threads."""
        if self._acceptor.is_alive():
            hang_up(self.socket)  # wakes the acceptor up at once on Linux; elsewhere it looks up by itself
            self.shutdown()
            self._acceptor.join()
        self.server_close()
        with self._guard:
            connections = dict(self._connections)  # no more will come
        for connection, thread in connections.items():
            hang_up(connection)
            thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a new connection a thread of its own (a hook of socketserver)."""
        thread = threading.Thread(
            target=self._serve_connection,
            args=(request, client_address),
            name=f"{self.server_id}/rpc-from-{Address(*client_address[:2])}",
        )
        with self._guard:
            refused = len(self._connections) >= self._connection_limit
            if not refused:
                self._connections[request] = thread
        if refused:
            self.shutdown_request(request)
            return
        try:
            thread.start()
        except RuntimeError as error:
            logger.error("%s: no thread for a connection: %s", self.server_id, error)
            self._end_connection(request)

    def _serve_connection(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError as error:
            logger.debug("%s: connection from %s ended: %s", self.server_id, client_address, error)
        finally:
            self._end_connection(request)

    def _end_connection(self, request: socket.socket) -> None:
        self.shutdown_request(request)
        with self._guard:
            self._connections.pop(request, None)


def connection_limit() -> int:
    """Return how many connections to keep: at most half of our file descriptors, so that the disk never lacks one."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if descriptors == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, descriptors // 2)


def hang_up(connection: socket.socket) -> None:
    """Wake up the thread that reads from or writes to `connection`; it will find it ended."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended already


class Conversation(socketserver.StreamRequestHandler):
    """One connection: a hello, then requests and replies in order, until one side closes it."""

    disable_nagle_algorithm = True
    server: RpcServer

    def handle(self) -> None:
        """Talk until the connection ends (a hook of socketserver)."""
        self._detect_half_open()
        try:
            sender = self._introduction()
            while True:
                request = read_message(self.rfile)
                self._send(self._answer(sender, request))
        except ConnectionEnded:
            pass
        except (BadMessage, RequestRefused) as error:
            self._send_error(str(error))

    def _introduction(self) -> Optional[str]:
        """Read the hello and answer it; return the peer's id, None for a client."""
        self.connection.settimeout(HELLO_TIMEOUT)
        hello = read_message(self.rfile)
        self.connection.settimeout(None)
        self._check_hello(hello)
        assert isinstance(hello, Hello)
        if hello.sender is not None:
            threading.current_thread().name = f"{self.server.server_id}/rpc-from-{hello.sender}"
        self._send(Welcome(self.server.cluster, self.server.server_id))
        return hello.sender

    def _check_hello(self, hello: Message) -> None:
        """Refuse whom we should not talk to: another cluster, or a peer that meant somebody else.

        Not servers that are not in our configuration: theirs may be the newer one (§6).
        """
        server = self.server
        if not isinstance(hello, Hello):
            raise BadMessage(f"a connection begins with hello, not with {describe(hello)}")
        if hello.cluster != server.cluster:
            raise RequestRefused(f"this is cluster {server.cluster!r}, not {hello.cluster!r}")
        if hello.receiver not in (None, server.server_id):
            raise RequestRefused(f"this is server {server.server_id}, not {hello.receiver}; check the addresses")
        if hello.sender == server.server_id:
            raise RequestRefused(f"server {hello.sender} is this one; two servers must not share an id")

    def _answer(self, sender: Optional[str], request: Message) -> Message:
        if not isinstance(request, _FROM_CLIENTS if sender is None else tuple(REPLY_TO)):
            raise RequestRefused(f"{describe(request)} is not for {'clients' if sender is None else 'peers'} to send")
        return self.server.handle_message(sender, request)

    def _send(self, message: Message) -> None:
        self.wfile.write(encode(message))

    def _send_error(self, text: str) -> None:
        """Say what was wrong. Closing with unread input would reset the connection before that is read."""
        logger.info("%s: refused a connection from %s: %s", self.server.server_id, self.client_address[0], text)
        self._send(ErrorReply(text))
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(LINGER_SECONDS)
        swallowed = 0
        while swallowed < LINGER_BYTES:
            data = self.connection.recv(65536)
            if not data:
                break
            swallowed += len(data)

    def _detect_half_open(self) -> None:
        """Let the kernel find out when the other machine has vanished without a word."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                self.connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
