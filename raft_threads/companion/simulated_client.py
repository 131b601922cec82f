"""The client that programs use (§8), with virtual time and a simulated network around it instead of sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from raft_threads import client_connections
from raft_threads.addresses import Address
from raft_threads.client import Client
from raft_threads.client_messages import Hello
from raft_threads.connection import CannotConnect, ConnectionLost
from raft_threads.runtime import Runtime
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.network import Exchange, Refused
from raft_threads.simulation.primitives import Clock
from raft_threads.wire import Message, encode


@contextmanager
def client_of(cluster: SimulatedCluster, timeout: float = 3.0) -> Iterator[Client]:
    """Yield a client of `cluster`, to be used by the simulation's `main`; each command may take `timeout` seconds."""

    class SimulatedConnection:
        """What the client takes for a `Connection`."""

        def __init__(self, address: Address, timeout: float) -> None:
            self._server = address.host
            if self._server not in cluster.running:
                raise CannotConnect(f"{self._server} is down")

        def introduce(self, hello: Hello, timeout: float) -> None:
            """Everybody is welcome here."""

        def exchange(self, message: Message, timeout: float) -> Any:
            """Send `message` and return the answer."""
            answer = Exchange(cluster.network, "main", self._server, encode(message), message).wait(int(timeout * 1e9))
            if answer is None or isinstance(answer, Refused):
                raise ConnectionLost(f"{self._server} does not answer")
            return answer

        def is_open(self) -> bool:
            """Return whether the server is up, as far as a client can see."""
            return self._server in cluster.running

        def close(self) -> None:
            """There is nothing to close."""

    addresses = {server: Address(server, 1) for server in cluster.servers}
    runtime = Runtime(threading, Clock(cluster.scheduler), cluster.dice("client"))
    with mock.patch.object(client_connections, "Connection", SimulatedConnection):
        with Client(addresses, timeout=timeout, runtime=runtime) as client:
            yield client
