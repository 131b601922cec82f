"""What is measured in each round: the same operations on our cluster, on PySyncObj and on etcd, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from pathlib import Path
from typing import Callable, NamedTuple

from raft_threads.bench.etcd_peer import EtcdCluster
from raft_threads.bench.in_process import InProcessLoad, run_in_process
from raft_threads.bench.load import Load, run_load
from raft_threads.bench.processes import Cluster, fresh
from raft_threads.bench.pysyncobj_peer import PySyncObjCluster
from raft_threads.bench.rounds import Round
from raft_threads.bench.stores import EtcdStore, OurStore
from raft_threads.process_pools import ending_at_once

SMALL, LARGE = 10, 1024
CLIENTS = (1, 16, 64, 256)
OUTSTANDING = (64, 2000)


class Measured(NamedTuple):
    """One round of one work; `work` says what it was."""

    work: str
    round: Round


class Settings(NamedTuple):
    """How everything is measured: with how many servers, for how long, and where."""

    servers: int
    seconds: float
    directory: Path


def warm_up(seconds: float) -> float:
    """Return for how many seconds a load goes on before `seconds` are measured."""
    return min(0.5, seconds / 4)


def spawn() -> AbstractContextManager[ProcessPoolExecutor]:
    """Have a process for the load; nothing of ours is in it yet."""
    return ending_at_once(ProcessPoolExecutor(1, get_context("spawn")), 1)


def work_name(operation: str, how_many: str, value_bytes: int) -> str:
    """Return how a work is called in tables."""
    return f"{operation} {value_bytes} B, {how_many}"


def socket_clients(settings: Settings) -> Iterator[Measured]:
    """Puts of synchronous clients over sockets, each in a session."""
    yield from over_sockets(settings, [(SMALL, count) for count in CLIENTS] + [(LARGE, 64), (LARGE, 256)], False)


def reads(settings: Settings) -> Iterator[Measured]:
    """Linearizable reads of synchronous clients over sockets (§8)."""
    yield from over_sockets(settings, [(SMALL, 1), (SMALL, 64)], True)


def over_sockets(settings: Settings, loads: list[tuple[int, int]], reading: bool) -> Iterator[Measured]:
    """Load one cluster of ours with values of so many bytes, from so many clients, one load after the other."""
    with fresh(settings.directory) as name, Cluster(Path(name), settings.servers) as cluster, spawn() as pool:
        for value_bytes, clients in loads:
            measured = measure(cluster, pool, "v" * value_bytes, clients, settings.seconds, reading)
            yield Measured(work_name("get" if reading else "put", f"{clients} clients", value_bytes), measured)


def measure(
    cluster: Cluster, pool: ProcessPoolExecutor, value: str, clients: int, seconds: float, reading: bool = False
) -> Round:
    """Load `cluster` once, and ask its leader what work that was."""
    leader = cluster.wait_for_leader()
    store = OurStore(cluster.addresses[leader], cluster.name, value, reading)
    before = cluster.reports()[leader]
    load = Load(store, clients, seconds, warm_up(seconds), cluster.pids(leader))
    measured = pool.submit(run_load, load).result()
    return measured.with_counts(before, cluster.reports()[leader], peers=max(1, len(cluster.addresses) - 1))


def in_process(settings: Settings) -> Iterator[Measured]:
    """Proposals within the leader's process."""
    for value_bytes in (SMALL, LARGE):
        for outstanding in OUTSTANDING:
            for many in (False, True):
                how_many = f"{outstanding} outstanding in process{', propose_many' if many else ''}"
                yield Measured(work_name("put", how_many, value_bytes), once(settings, value_bytes, outstanding, many))


def once(settings: Settings, value_bytes: int, outstanding: int, many: bool) -> Round:
    """Load a new cluster from within its leader."""
    with fresh(settings.directory) as name, spawn() as pool:
        with Cluster(Path(name), settings.servers, elsewhere=["n1"]) as cluster:
            load = InProcessLoad(
                "n1",
                cluster.addresses,
                cluster.name,
                Path(name) / "n1",
                outstanding,
                "v" * value_bytes,
                settings.seconds,
                warm_up(settings.seconds),
                many,
                cluster.pids(),
            )
            return pool.submit(run_in_process, load).result()


def pysyncobj(settings: Settings) -> Iterator[Measured]:
    """PySyncObj, in its leader's process, without fsync."""
    with PySyncObjCluster(settings.servers) as cluster:
        for outstanding in (1, *OUTSTANDING):
            measured = cluster.run(outstanding, settings.seconds, SMALL)
            yield Measured(pysyncobj_name(outstanding), measured)


def pysyncobj_name(outstanding: int) -> str:
    """Return how a load on PySyncObj is called."""
    return work_name("PySyncObj put", f"{outstanding} outstanding in process", SMALL)


def etcd(settings: Settings) -> Iterator[Measured]:
    """etcd, with the load generator that loads ours."""
    with fresh(settings.directory) as name, EtcdCluster(Path(name), settings.servers) as cluster, spawn() as pool:
        leader, address = cluster.wait_for_leader()
        for value_bytes, clients in ((SMALL, 1), (LARGE, 64), (LARGE, 256)):
            store = EtcdStore(address, "v" * value_bytes)
            load = Load(store, clients, settings.seconds, warm_up(settings.seconds), cluster.pids(leader))
            yield Measured(etcd_name(value_bytes, clients), pool.submit(run_load, load).result())


def etcd_name(value_bytes: int, clients: int) -> str:
    """Return how a load on etcd is called."""
    return work_name("etcd put", f"{clients} clients", value_bytes)


Work = Callable[[Settings], Iterator[Measured]]
WORKS: dict[str, Work] = {"clients": socket_clients, "reads": reads, "in-process": in_process}
PEERS: dict[str, Work] = {"pysyncobj": pysyncobj, "etcd": etcd}


class Ratio(NamedTuple):
    """Our rate divided by a peer's, in the same run."""

    ours: str
    theirs: str


RATIOS = [
    Ratio(work_name("put", "64 clients", SMALL), pysyncobj_name(64)),
    Ratio(work_name("put", "2000 outstanding in process", SMALL), pysyncobj_name(2000)),
    Ratio(work_name("put", "2000 outstanding in process, propose_many", SMALL), pysyncobj_name(2000)),
    Ratio(work_name("put", "1 clients", SMALL), etcd_name(SMALL, 1)),
    Ratio(work_name("put", "64 clients", LARGE), etcd_name(LARGE, 64)),
    Ratio(work_name("put", "256 clients", LARGE), etcd_name(LARGE, 256)),
]
ONE_CLIENT = work_name("put", "1 clients", SMALL)
