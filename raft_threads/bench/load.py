"""The load generator: many synchronous clients in one process, each with one request under way (§8).

One thread serves them all, with a selector, so that the generator takes as little as possible from the servers on the
same cores. It is a process of its own; its CPU time is counted too.
"""

from __future__ import annotations

import selectors
import socket
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from raft_threads.bench.machine import cpu_times, used_by_others
from raft_threads.bench.rounds import Round, round_of
from raft_threads.bench.stores import PATIENCE, LoadFailed, Store

MOST_BYTES = 65536


@dataclass(frozen=True)
class Load:
    """What to do to a store: how many clients, for how many seconds, after how many of warming up."""

    store: Store
    clients: int
    seconds: float
    warm_up: float
    # Whose CPU time is counted: process ids by name.
    processes: Mapping[str, int] = field(default_factory=dict)


class SynchronousClient:
    """A client that sends its next request once the last one is answered."""

    def __init__(self, store: Store) -> None:
        self.connection = store.connect()
        self._store = store
        self._client = store.introduce(self.connection)
        self._number = 0
        self._answer = b""
        self._sent_at = 0.0

    def send(self) -> None:
        """Send the next request."""
        self._number += 1
        request = self._store.request(self._client, self._number)
        self._sent_at = time.perf_counter()
        self.connection.sendall(request)

    def receive(self) -> float:
        """Take what has come; return how long the request took (seconds), 0 if its answer is not whole yet."""
        data = self.connection.recv(MOST_BYTES)
        if not data:
            raise LoadFailed("the server closed the connection")
        self._answer += data
        if not self._store.is_whole(self._answer):
            return 0.0
        self._answer = b""
        return time.perf_counter() - self._sent_at


def run_load(load: Load) -> Round:
    """Run `load`; return what it measured. Raises LoadFailed."""
    clients: list[SynchronousClient] = []
    try:
        with selectors.DefaultSelector() as selector:
            for _ in range(load.clients):
                clients.append(SynchronousClient(load.store))
                selector.register(clients[-1].connection, selectors.EVENT_READ, clients[-1])
            for client in clients:
                client.send()
            _serve(selector, load.warm_up)
            before, own_before, began = cpu_times(load.processes), time.process_time(), time.perf_counter()
            latencies = _serve(selector, load.seconds)
            seconds = time.perf_counter() - began
            after, own = cpu_times(load.processes), time.process_time() - own_before
    except (OSError, socket.timeout) as error:
        raise LoadFailed(f"the connection failed: {error}") from error
    finally:
        for client in clients:
            client.connection.close()
    cpu = {name: after.processes[name] - before.processes[name] for name in after.processes}
    return round_of(latencies, seconds, {**cpu, "load": own}, used_by_others(before, after, own, seconds))


def _serve(selector: selectors.BaseSelector, seconds: float) -> array[float]:
    """Keep the clients busy; return how long each request took that was answered in this time."""
    latencies = array("d")
    end = time.perf_counter() + seconds
    last_answer = time.perf_counter()
    while (now := time.perf_counter()) < end:
        ready = selector.select(min(end - now, 1.0))
        for key, _ in ready:
            took = key.data.receive()
            if took:
                latencies.append(took)
                key.data.send()
        if ready:
            last_answer = now
        elif now - last_answer > PATIENCE:
            raise LoadFailed(f"no answer for {PATIENCE:g} s")
    return latencies
