"""What no implementation can beat on this machine: an fsync, a round trip over loopback, and a bare chain of both.

The chain is replication without threads, without JSON and without rules: a client's bytes go to a leader, from there to
a follower; both append them to a file and fsync; then the answers go back.
"""

from __future__ import annotations

import os
import socket
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

from raft_threads.bench.rounds import Round, median, round_of
from raft_threads.durable_files import sync_file

RECORD = b"c4e39522 12 3 command " + b"x" * 77 + b"\n"
TIMES = 300
HOST = "127.0.0.1"


class Floor(NamedTuple):
    """Three rounds of one thing after the other."""

    fsync: Round
    round_trip: Round
    chain: Round


def measure_floor(directory: Path) -> Floor:
    """Measure in `directory`, which must be on the disk that the servers use."""
    with running(_echo) as port:
        round_trip = _timed(port)
    with running(_follow, str(directory / "floor-follower")) as follower:
        with running(_lead, str(directory / "floor-leader"), follower) as leader:
            chain = _timed(leader)
    return Floor(_fsyncs(directory / "floor-fsync"), round_trip, chain)


def median_floor(floors: list[Floor]) -> float:
    """Return the median time of an fsync and a round trip together (seconds): the least that a durable write takes."""
    return median([each.fsync.p50 + each.round_trip.p50 for each in floors])


def _fsyncs(path: Path) -> Round:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        return _repeat(lambda: _append(descriptor))
    finally:
        os.close(descriptor)


def _append(descriptor: int) -> None:
    os.write(descriptor, RECORD)
    sync_file(descriptor)


def _timed(port: int) -> Round:
    with socket.create_connection((HOST, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _repeat(lambda: _exchange(connection))


def _repeat(once: Callable[[], None]) -> Round:
    latencies = array("d")
    began = time.perf_counter()
    for _ in range(TIMES):
        start = time.perf_counter()
        once()
        latencies.append(time.perf_counter() - start)
    return round_of(latencies, time.perf_counter() - began, {})


def _exchange(connection: socket.socket) -> None:
    connection.sendall(RECORD)
    _receive(connection)


def _receive(connection: socket.socket) -> Optional[bytes]:
    """Return a whole record, None at the end."""
    data = connection.recv(len(RECORD))
    while data and len(data) < len(RECORD):
        data += connection.recv(len(RECORD) - len(data))
    return data or None


@contextmanager
def running(serve: Callable[..., None], *arguments: Any) -> Iterator[int]:
    """Run `serve(listening socket, *arguments)` in a process of its own; yield its port."""
    with socket.create_server((HOST, 0)) as listening:
        process = get_context("fork").Process(target=serve, args=(listening, *arguments))
        process.start()
        try:
            yield listening.getsockname()[1]
        finally:
            process.kill()
            process.join()


def _serve(listening: socket.socket, before_answer: Callable[[], None]) -> None:
    connection, _ = listening.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while _receive(connection) is not None:
        before_answer()
        connection.sendall(RECORD)


def _echo(listening: socket.socket) -> None:
    _serve(listening, lambda: None)


def _follow(listening: socket.socket, path: str) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    _serve(listening, lambda: _append(descriptor))


def _lead(listening: socket.socket, path: str, follower_port: int) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    follower = socket.create_connection((HOST, follower_port))
    follower.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def replicate() -> None:
        follower.sendall(RECORD)
        _append(descriptor)  # while the follower does the same
        _receive(follower)

    _serve(listening, replicate)
