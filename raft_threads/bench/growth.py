"""What grows: the log to a million entries, the cluster to nine servers, values to 1 MiB; catching up, restarts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from raft_threads import kv
from raft_threads.bench.in_process import PATIENCE, InProcessLoad, leader_here, measured
from raft_threads.bench.machine import memory_bytes
from raft_threads.bench.processes import Cluster, fresh
from raft_threads.bench.rounds import Round, median
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
# How long a log is written to before it counts as longer (seconds), and in how many clusters that is done.
GLANCE = 1.0
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


class Growth(NamedTuple):
    """The same load with few entries in the log and with many, and the leader's memory for an entry, in bytes."""

    few: Round
    many: Round
    bytes_for_each: float


def log_growth(settings: Settings) -> Iterator[Finding]:
    """Compare writes with few and many entries in the log; restart a server with all of them, and with a snapshot."""
    rounds = []
    for number in range(1, ROUNDS + 1):
        with fresh(settings.directory) as name, spawn() as pool:
            with Cluster(Path(name), settings.servers, elsewhere=["n1"], arguments=KEEP_LOG) as cluster:
                load = InProcessLoad(
                    *("n1", cluster.addresses, cluster.name, Path(name) / "n1", OUTSTANDING, "v" * SMALL),
                    *(GLANCE, warm_up(GLANCE), True, cluster.pids()),
                )
                rounds.append(pool.submit(grow, load).result())
                if number == ROUNDS:
                    yield from _compared(rounds)
                    yield from restarts(cluster)


def grow(load: InProcessLoad) -> Growth:
    """Be the leader, measure, write until the log is long, measure again. In a process of its own."""
    with leader_here(load) as node:
        fill(node, load.value, FEW)
        entries, held = node.status().last_log_index, memory_bytes(os.getpid())
        few = measured(node, load)
        fill(node, load.value, MANY)
        bytes_for_each = (memory_bytes(os.getpid()) - held) / (node.status().last_log_index - entries)
        return Growth(few, measured(node, load), bytes_for_each)


def _compared(rounds: Sequence[Growth]) -> Iterator[Finding]:
    """Compare short logs with long ones: medians, as the clusters took turns."""
    for entries, those in ((FEW, [each.few for each in rounds]), (MANY, [each.many for each in rounds])):
        cost = median([_cost(each) for each in those])
        yield Finding(f"CPU of all servers per write, from {entries:,} entries in the log", cost * 1e6, "µs")
        yield Finding("  the rate", median([each.rate for each in those]), "/s")
    ratios = [_cost(each.many) / _cost(each.few) for each in rounds]
    yield Finding("cost of a write, many entries / few", median(ratios), "")
    yield Finding("leader's memory per entry", median([each.bytes_for_each for each in rounds]), "bytes")


def _cost(measured_round: Round) -> float:
    """Return the seconds of CPU for each operation, in all servers."""
    return sum(measured_round.cpu_per_operation().values())


def fill(node: Node, value: str, entries: int) -> None:
    """Write until the log has at least so many entries, in all of the cluster that answers."""
    number = 0
    while node.status().last_log_index < entries:
        number += 1
        node.propose_many([kv.put_command(f"key-{number % 1000}", value)] * BATCH, PATIENCE)


def restarts(cluster: Cluster) -> Iterator[Finding]:
    """Look at a follower that has a long log, if there is one: its memory, and how long it takes to start, also with a
    snapshot instead.
    """
    if "n2" not in cluster.pids():
        return
    yield Finding("a follower's memory with them", memory_bytes(cluster.pids()["n2"]) / 2**20, "MiB")
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
