"""One blocking TCP connection to a server: what peers and clients share (§5.1)."""

from __future__ import annotations

import socket

from raft_threads.addresses import Address
from raft_threads.client_messages import ErrorReply, Hello, Welcome
from raft_threads.wire import BadMessage, ConnectionEnded, Message, encode, read_message


class CannotConnect(Exception):
    """There is no connection: nothing that a caller meant to send has been sent. The text says why in one line."""


class ConnectionLost(Exception):
    """The connection broke, or stayed silent too long: whether a request arrived is unknown."""


class Connection:
    """A connection on which requests are answered in order. Used by one thread; `close` may come from any."""

    def __init__(self, address: Address, timeout: float) -> None:
        """Connect within `timeout` seconds. Raises CannotConnect."""
        self._address = address
        try:
            self._socket = socket.create_connection(address, timeout)
            # A frame is sent in one call, and Nagle's algorithm would hold its tail back for 40 ms.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, UnicodeError) as error:
            raise CannotConnect(f"cannot connect to {address}: {error}") from error
        self._stream = self._socket.makefile("rb")

    def introduce(self, hello: Hello, timeout: float) -> Welcome:
        """Say who we are and whom we want, and return the answer. Raises CannotConnect."""
        try:
            answer = self.exchange(hello, timeout)
        except ConnectionLost as error:
            raise CannotConnect(f"{self._address} does not answer as a server should: {error}") from error
        if isinstance(answer, Welcome):
            return answer
        self.close()
        message = answer.message if isinstance(answer, ErrorReply) else "it answered nonsense"
        raise CannotConnect(f"{self._address} refused us: {message}")

    def exchange(self, message: Message, timeout: float) -> Message:
        """Send `message` and return the answer. Raises ConnectionLost, after which the connection is closed.

        `timeout` is how many seconds the other side may stay silent.
        """
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(encode(message))
            return read_message(self._stream)
        except (OSError, ValueError, BadMessage, ConnectionEnded) as error:
            self.close()
            raise ConnectionLost(str(error) or "the connection was closed") from error

    def is_open(self) -> bool:
        """Return whether the other side has kept it open, as far as we have heard, and has said nothing unasked."""
        try:
            self._socket.settimeout(0)
            if self._stream.peek(1):
                return False
            return not isinstance(self._socket.recv(1, socket.MSG_PEEK), bytes)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False

    def close(self) -> None:
        """Close the connection, and wake up the thread that waits on it."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was faster
        self._socket.close()
