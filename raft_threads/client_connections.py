"""How a client finds the leader (§8), and keeps connections to it.

It tries servers at random at first, follows what they say of the leader, remembers who answered, and goes round all
servers when that one is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from raft_threads.addresses import Address
from raft_threads.client_messages import Hello
from raft_threads.connection import CannotConnect, Connection
from raft_threads.runtime import Runtime


class LeaderConnections:
    """Shared by all threads that use one client: each takes a connection for one request, and gives it back."""

    def __init__(self, servers: Iterable[Address], hello: Hello, runtime: Runtime) -> None:
        """Know of `servers`, at least one; introduce us with `hello`."""
        self._hello = hello
        self._lock = runtime.threading.Lock()  # guards all below
        # Whom to ask next, when nobody has told us of a leader. Clients begin with different servers (§8).
        self._round = list(servers)
        self._position = int(runtime.random.random() * len(self._round))
        self._leader: Optional[Address] = None
        self._idle: list[Connection] = []  # to the leader
        self._closed = False

    def round_length(self) -> int:
        """Return how many servers there are to ask."""
        with self._lock:
            return len(self._round)

    def learn(self, server: Address) -> None:
        """Ask `server` as well from now on: it was added to the cluster later, or has moved (§6)."""
        with self._lock:
            if server not in self._round:
                self._round.append(server)

    def take(self, hint: Optional[Address], timeout: float) -> tuple[Address, Connection]:
        """Return a connection to whoever leads, by all that we know, and its address.

        That is the one at `hint` if it is given, else who answered last, else the next server in turn. Connects within
        `timeout` seconds, and waits as long for a welcome. Raises CannotConnect.
        """
        with self._lock:
            address = hint or self._leader or self._next_in_turn()
            kept = self._kept_connection(address)
        if kept is not None:
            return address, kept
        try:
            connection = Connection(address, timeout)
            connection.introduce(self._hello, timeout)
        except CannotConnect:
            self.did_not_lead(address, None)
            raise
        return address, connection

    def _next_in_turn(self) -> Address:
        """Called with the lock held."""
        address = self._round[self._position]
        self._position = (self._position + 1) % len(self._round)
        return address

    def _kept_connection(self, address: Address) -> Optional[Connection]:
        """Return an idle connection to the leader that is still open. Called with the lock held."""
        while address == self._leader and self._idle:
            connection = self._idle.pop()
            if connection.is_open():
                return connection
            connection.close()
        return None

    def answered(self, address: Address, connection: Connection) -> None:
        """Note that the server at `address` has answered as leader; keep the connection."""
        with self._lock:
            if address != self._leader:
                self._hang_up()
                self._leader = address
            if self._closed:
                connection.close()
            else:
                self._idle.append(connection)

    def did_not_lead(self, address: Address, connection: Optional[Connection]) -> None:
        """Note that the server at `address` is not the leader, or cannot be reached."""
        if connection is not None:
            connection.close()
        with self._lock:
            if address == self._leader:
                self._hang_up()
                self._leader = None

    def close(self) -> None:
        """Close all connections; those in use when they are given back."""
        with self._lock:
            self._closed = True
            self._hang_up()

    def _hang_up(self) -> None:
        """Called with the lock held."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()
