"""Proposals from within the leader's own process: what Raft costs without a socket for each client (Diss. §10).

The leader runs in the process that makes the load; its peers are `serve` processes as always. PySyncObj is used like
this.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from raft_threads import kv
from raft_threads.addresses import Address
from raft_threads.bench.machine import cpu_times, used_by_others
from raft_threads.bench.processes import BenchFailed
from raft_threads.bench.rounds import Round, round_of
from raft_threads.garbage import spare_what_lives_long
from raft_threads.node import Node
from raft_threads.options import Options
from raft_threads.proposals import Proposal
from raft_threads.server import KeyValueServer

PATIENCE = 20.0
LOOK_EVERY = 0.02
# How many threads share what `propose_many` has under way.
THREADS = 4


@dataclass(frozen=True)
class InProcessLoad:
    """Server `server` is to run here, lead, and have `outstanding` commands under way for `seconds`."""

    server: str
    addresses: Mapping[str, Address]
    cluster: str
    directory: Path
    outstanding: int
    value: str
    seconds: float
    warm_up: float
    # `propose_many` instead of `submit`.
    many: bool
    # Whose CPU time is counted besides our own: process ids by name.
    processes: Mapping[str, int] = field(default_factory=dict)


def run_in_process(load: InProcessLoad) -> Round:
    """Run a server and the load in this process; return what it measured. Raises BenchFailed."""
    with leader_here(load) as node:
        _drive(node, load, load.warm_up)
        return measured(node, load)


@contextmanager
def leader_here(load: InProcessLoad) -> Iterator[Node]:
    """Run the server in this process, and have it win an election. Raises BenchFailed."""
    server = KeyValueServer(
        load.server, load.addresses, load.directory, cluster=load.cluster, options=Options(snapshot_threshold=None)
    )
    spare_what_lives_long()
    server.start()
    try:
        _lead(server.node)
        yield server.node
    finally:
        server.stop()


def measured(node: Node, load: InProcessLoad) -> Round:
    """Put the load on `node`, once; return what that was. Raises BenchFailed."""
    status = node.status()
    before, own_before, began = cpu_times(load.processes), time.process_time(), time.perf_counter()
    latencies = _drive(node, load, load.seconds)
    seconds = time.perf_counter() - began
    after, own = cpu_times(load.processes), time.process_time() - own_before
    cpu = {name: after.processes[name] - before.processes[name] for name in after.processes}
    one_round = round_of(latencies, seconds, {**cpu, "leader": own}, used_by_others(before, after, own, seconds))
    return one_round.with_counts(status, node.status(), peers=len(load.addresses) - 1)


def _drive(node: Node, load: InProcessLoad, seconds: float) -> array[float]:
    return propose_many(node, load, seconds) if load.many else submit(node, load, seconds)


def _lead(node: Node) -> None:
    """Have `node` win an election."""
    end = time.monotonic() + PATIENCE
    while node.status().role != "leader":
        if time.monotonic() > end:
            raise BenchFailed("the server in this process was not elected")
        if node.status().leader is not None:
            node.expire_election_timer()
        time.sleep(LOOK_EVERY)
    node.propose(kv.put_command("x", ""), PATIENCE)


def submit(node: Node, load: InProcessLoad, seconds: float) -> array[float]:
    """One thread keeps many commands under way: it waits for the oldest, and submits another one."""
    latencies = array("d")
    under_way: deque[tuple[float, Proposal]] = deque()
    command = kv.put_command("key", load.value)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or under_way:
        while len(under_way) < load.outstanding and (now := time.perf_counter()) < end:
            under_way.append((now, node.submit(command)))
        submitted_at, proposal = under_way.popleft()
        if proposal.wait(PATIENCE) is None:
            raise BenchFailed(f"a command was not committed within {PATIENCE:g} s")
        latencies.append(time.perf_counter() - submitted_at)
    return latencies


def propose_many(node: Node, load: InProcessLoad, seconds: float) -> array[float]:
    """Some threads, each of which proposes its share of the commands at once, again and again."""
    end = time.perf_counter() + seconds
    commands = [kv.put_command("key", load.value)] * (load.outstanding // THREADS)

    def propose() -> array[float]:
        latencies = array("d")
        while (began := time.perf_counter()) < end:
            node.propose_many(commands, PATIENCE)
            latencies.extend([time.perf_counter() - began] * len(commands))
        return latencies

    with ThreadPoolExecutor(THREADS) as pool:
        parts = [future.result() for future in [pool.submit(propose) for _ in range(THREADS)]]
    return array("d", [latency for part in parts for latency in part])
