"""What grows: the log to a million entries, the cluster to nine servers, values to 1 MiB; catching up, restarts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from raft_threads import kv
from raft_threads.bench.in_process import PATIENCE, InProcessLoad, leader_here, measured
from raft_threads.bench.machine import memory_bytes
from raft_threads.bench.processes import Cluster, fresh
from raft_threads.bench.rounds import Round, median_round
from raft_threads.bench.works import SMALL, Settings, measure, spawn, warm_up
from raft_threads.node import Node
from raft_threads.server_reports import ServerReport

FEW, MANY, BEHIND = 1_000, 1_000_000, 100_000
BATCH = 1_000
OUTSTANDING = 2_000
SERVERS = (1, 3, 5, 7, 9)
VALUE_BYTES = (10, 1024, 16 * 1024, 128 * 1024, 1024 * 1024)
CLIENTS = 64
MOST_CLIENTS = 256
CLIENTS_WITH_LARGE_VALUES = 16
ROUNDS = 3
KEEP_LOG = ["--snapshot-threshold", "off"]


class Finding(NamedTuple):
    """One line of what was found."""

    what: str
    value: float
    unit: str


def growth(settings: Settings) -> Iterator[Finding]:
    """Measure everything that grows, one after the other."""
    yield from log_growth(settings)
    yield from catching_up(settings)
    yield from cluster_size(settings)
    yield from value_size(settings)


# The log


class GrowthRounds(NamedTuple):
    """The same load with few entries in the log and with many, and the memory of the leader's process, in bytes."""

    few: Round
    many: Round
    bytes_before: int
    bytes_after: int


def log_growth(settings: Settings) -> Iterator[Finding]:
    """Compare writes with few and many entries in the log; restart a server with all of them, and with a snapshot."""
    with fresh(settings.directory) as name, spawn() as pool:
        with Cluster(Path(name), settings.servers, elsewhere=["n1"], arguments=KEEP_LOG) as cluster:
            load = InProcessLoad(
                *("n1", cluster.addresses, cluster.name, Path(name) / "n1", OUTSTANDING, "v" * SMALL),
                *(settings.seconds, warm_up(settings.seconds), True, cluster.pids()),
            )
            rounds = pool.submit(grow, load).result()
            per_write = [sum(each.cpu_per_operation().values()) for each in (rounds.few, rounds.many)]
            yield Finding(f"CPU of all servers per write, {FEW:,} entries in the log", per_write[0] * 1e6, "µs")
            yield Finding(f"CPU of all servers per write, {MANY:,} entries in the log", per_write[1] * 1e6, "µs")
            yield Finding("cost of a write, many entries / few", per_write[1] / per_write[0], "")
            yield Finding(f"rate with {FEW:,} entries in the log", rounds.few.rate, "/s")
            yield Finding(f"rate with {MANY:,} entries in the log", rounds.many.rate, "/s")
            entries = MANY + FEW
            yield Finding("leader's memory per entry", (rounds.bytes_after - rounds.bytes_before) / entries, "bytes")
            if settings.servers > 1:
                yield Finding("a follower's memory with them", memory_bytes(cluster.pids()["n2"]) / 2**20, "MiB")
                yield from restarts(cluster)


def grow(load: InProcessLoad) -> GrowthRounds:
    """Be the leader, measure, write until the log is long, measure again. In a process of its own."""
    with leader_here(load) as node:
        fill(node, load.value, FEW)
        bytes_before = memory_bytes(os.getpid())
        few = median_round([measured(node, load) for _ in range(ROUNDS)])
        fill(node, load.value, MANY)
        bytes_after = memory_bytes(os.getpid())
        many = median_round([measured(node, load) for _ in range(ROUNDS)])
        return GrowthRounds(few, many, bytes_before, bytes_after)


def fill(node: Node, value: str, entries: int) -> None:
    """Write until the log has at least so many entries, in all of the cluster that answers."""
    number = 0
    while node.status().last_log_index < entries:
        number += 1
        node.propose_many([kv.put_command(f"key-{number % 1000}", value)] * BATCH, PATIENCE)


def restarts(cluster: Cluster) -> Iterator[Finding]:
    """Time how long a server takes to start with a long log, and with a snapshot instead."""
    yield Finding(f"restart with {MANY:,} entries", _time_restart(cluster, "n2"), "s")
    with cluster.client() as client:
        client.take_snapshot("n2")
    yield Finding("restart with a snapshot instead", _time_restart(cluster, "n2"), "s")


def _time_restart(cluster: Cluster, server: str) -> float:
    """Return how many seconds pass from the start of a process until it answers. Kills it first.

    Returns once it has applied all of its log again: until then a snapshot would cover a part only.
    """
    cluster.wait_for_leader()
    cluster.kill(server)
    began = time.monotonic()
    cluster.start(server)
    cluster.wait_until_reports(lambda reports: server if reports[server].reachable else None)
    took = time.monotonic() - began
    cluster.wait_for_leader()
    cluster.wait_until_reports(lambda reports: server if _has_applied_all(reports[server]) else None)
    return took


def _has_applied_all(report: ServerReport) -> bool:
    return report.last_applied is not None and report.last_applied == report.last_log_index


def catching_up(settings: Settings) -> Iterator[Finding]:
    """Time how long a follower takes to get what it has missed, while nobody writes."""
    with fresh(settings.directory) as name, Cluster(Path(name), 3, arguments=KEEP_LOG) as cluster, spawn() as pool:
        leader = cluster.wait_for_leader()
        late = next(server for server in cluster.addresses if server != leader)
        cluster.kill(late)
        missed = 0
        while missed < BEHIND:
            measure(cluster, pool, "v" * SMALL, MOST_CLIENTS, settings.seconds)
            missed = cluster.reports()[leader].last_log_index or 0
        began = time.monotonic()
        cluster.start(late)
        cluster.wait_until_reports(lambda reports: late if (reports[late].last_applied or 0) >= missed else None)
        took = time.monotonic() - began
        yield Finding(f"a follower starts, and catches up on {missed:,} entries", took, "s")
        yield Finding("that is, entries a second", missed / took, "/s")


# The cluster, and the values


def cluster_size(settings: Settings) -> Iterator[Finding]:
    """Compare clusters of different sizes under the same load."""
    for servers in SERVERS:
        with fresh(settings.directory) as name, Cluster(Path(name), servers) as cluster, spawn() as pool:
            one_round = measure(cluster, pool, "v" * SMALL, CLIENTS, settings.seconds)
            yield Finding(f"{servers} servers on these cores, {CLIENTS} clients", one_round.rate, "/s")
            leaders = one_round.cpu_per_operation()["leader"]
            yield Finding("  the leader's CPU for each write", leaders * 1e6, "µs")


def value_size(settings: Settings) -> Iterator[Finding]:
    """Compare values of different sizes."""
    with fresh(settings.directory) as name, Cluster(Path(name), settings.servers) as cluster, spawn() as pool:
        for size in VALUE_BYTES:
            one_round = measure(cluster, pool, "v" * size, CLIENTS_WITH_LARGE_VALUES, settings.seconds)
            yield Finding(f"values of {size:,} B, {CLIENTS_WITH_LARGE_VALUES} clients", one_round.rate, "/s")
            yield Finding("  that is", one_round.rate * size / 2**20, "MiB/s")
