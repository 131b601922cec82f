"""Who harms whom: a follower that has stopped, elections, a client that does not read its answers (§5.2, §5.3).

Each figure is a ratio of two rates of the same run, taken in turns.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Callable

from raft_threads import kv
from raft_threads.bench.growth import CLIENTS, Finding
from raft_threads.bench.processes import Cluster, fresh
from raft_threads.bench.rounds import median
from raft_threads.bench.stores import PATIENCE, OurStore
from raft_threads.bench.works import SMALL, Settings, measure, spawn
from raft_threads.client import Client, ClientError
from raft_threads.client_messages import Query
from raft_threads.wire import encode

LARGE_BYTES = 1024 * 1024
UNREAD = 200
WRITERS = 8


def harm(settings: Settings, rounds: int) -> Iterator[Finding]:
    """Measure all of it, each as a median of so many rounds."""
    with fresh(settings.directory) as name, Cluster(Path(name), settings.servers) as cluster, spawn() as pool:
        if settings.servers > 2:
            ratio = _ratio(cluster, pool, settings, rounds, _one_follower_stopped)
            yield Finding("rate with one follower stopped by SIGSTOP / without", ratio, "")
        ratio = _ratio(cluster, pool, settings, rounds, _a_client_that_does_not_read)
        yield Finding(f"rate with a client that leaves {UNREAD} MiB of answers unread / without", ratio, "")
    if settings.servers > 2:
        yield from _elections(settings, rounds)


def _ratio(
    cluster: Cluster,
    pool: ProcessPoolExecutor,
    settings: Settings,
    rounds: int,
    harm_done: Callable[[Cluster], AbstractContextManager[None]],
) -> float:
    ratios = []
    for _ in range(rounds):
        without = measure(cluster, pool, "v" * SMALL, CLIENTS, settings.seconds).rate
        with harm_done(cluster):
            ratios.append(measure(cluster, pool, "v" * SMALL, CLIENTS, settings.seconds).rate / without)
    return median(ratios)


@contextmanager
def _one_follower_stopped(cluster: Cluster) -> Iterator[None]:
    leader = cluster.wait_for_leader()
    stopped = next(server for server in cluster.addresses if server != leader)
    cluster.pause(stopped)
    try:
        yield
    finally:
        cluster.go_on(stopped)


@contextmanager
def _a_client_that_does_not_read(cluster: Cluster) -> Iterator[None]:
    leader = cluster.wait_for_leader()
    with cluster.client() as client:
        client.put("large", "v" * LARGE_BYTES)
    connection = OurStore(cluster.addresses[leader], cluster.name, "").connect()
    connection.settimeout(PATIENCE)
    ask = threading.Thread(target=_ask_for_much, args=(connection,), name="bench/does-not-read")
    ask.start()
    try:
        yield
    finally:
        connection.shutdown(socket.SHUT_RDWR)
        ask.join()
        connection.close()


def _ask_for_much(connection: socket.socket) -> None:
    try:
        connection.sendall(encode(Query(kv.get_command("large"), PATIENCE)) * UNREAD)
    except OSError:
        pass  # the server reads no more requests before it has sent its answers, or this is over


def _elections(settings: Settings, rounds: int) -> Iterator[Finding]:
    """`kill -9` leaders under load: how long nobody's write is acknowledged, and how fast it goes on afterwards."""
    pauses, ratios = [], []
    with fresh(settings.directory) as name, Cluster(Path(name), settings.servers) as cluster, spawn() as pool:
        for _ in range(rounds):
            before = measure(cluster, pool, "v" * SMALL, CLIENTS, settings.seconds).rate
            leader = cluster.wait_for_leader()
            with writers(cluster) as acknowledged:
                _wait_for(acknowledged, 100)
                killed_at = time.monotonic()
                cluster.kill(leader)
                _wait_for(acknowledged, len(acknowledged) + 100)
                times = [killed_at, *(at for at in acknowledged if at > killed_at)]
            pauses.append(max(later - earlier for earlier, later in zip(times, times[1:])))
            cluster.start(leader)
            cluster.wait_until_reports(lambda reports: leader if reports[leader].leader else None)
            ratios.append(measure(cluster, pool, "v" * SMALL, CLIENTS, settings.seconds).rate / before)
    yield Finding("kill -9 of a leader: the longest time without an acknowledged write", median(pauses) * 1e3, "ms")
    yield Finding("rate after the election / before", median(ratios), "")


@contextmanager
def writers(cluster: Cluster) -> Iterator[list[float]]:
    """Have clients write all the time; yield when each write was acknowledged (monotonic seconds)."""
    acknowledged: list[float] = []
    over = threading.Event()

    def write(client: Client) -> None:
        with client:
            while not over.is_set():
                try:
                    client.put("x", "1")
                except ClientError:
                    continue  # another one will do
                acknowledged.append(time.monotonic())

    threads = [threading.Thread(target=write, args=(cluster.client(),), name="bench/writer") for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        yield acknowledged
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _wait_for(acknowledged: list[float], count: int) -> None:
    while len(acknowledged) < count:
        time.sleep(0.01)
