"""The same trial with five `serve` processes on this machine, and `kill -9` of the leader (§9.3).

What differs from the paper: a round trip over loopback takes some 0.1 ms instead of 15, votes are fsynced to a real
disk, five processes share the cores, and all logs are equally long, so that each of the four that are left may win.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional, TextIO

from raft_threads.bench.processes import BenchFailed, Cluster, fresh
from raft_threads.client_messages import Hello, ServerStatus, StatusRequest
from raft_threads.connection import CannotConnect, Connection, ConnectionLost
from raft_threads.figure_16.lines import Line
from raft_threads.figure_16.progress import Progress
from raft_threads.figure_16.results import Measured, Results, Sample

SERVERS = 5
# A leader that has led for so long, and whom all follow, is there to stay (seconds).
SETTLED = 0.5
PATIENCE = 20.0
# How long a server may take to say how it is (seconds), and how often all are asked while nothing is measured.
ANSWER_TIMEOUT = 0.5
LOOK_EVERY = 0.02


class NotMeasured(Exception):
    """It cannot be measured here. The text says in one line why."""


class Leadership(NamedTuple):
    """Who leads which term."""

    leader: str
    term: int


class Watch:
    """Asks servers how they are, over connections that are kept."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._connections: dict[str, Connection] = {}

    def statuses(self, servers: Sequence[str]) -> dict[str, ServerStatus]:
        """Ask `servers`, one after the other; return the answers of those that gave one."""
        answers = {server: self._ask(server) for server in servers}
        return {server: answer for server, answer in answers.items() if answer is not None}

    def newest_leader(self, servers: Sequence[str]) -> Optional[Leadership]:
        """Return the leader of the newest term among `servers`, if there is one."""
        leaders = [each for each in self.statuses(servers).values() if each.role == "leader"]
        newest = max(leaders, key=lambda each: each.term, default=None)
        return None if newest is None else Leadership(newest.id, newest.term)

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections.values():
            connection.close()

    def _ask(self, server: str) -> Optional[ServerStatus]:
        try:
            if server not in self._connections:
                connection = Connection(self._cluster.addresses[server], ANSWER_TIMEOUT)
                connection.introduce(Hello(self._cluster.name), ANSWER_TIMEOUT)
                self._connections[server] = connection
            answer = self._connections[server].exchange(StatusRequest(), ANSWER_TIMEOUT)
        except (CannotConnect, ConnectionLost):
            self._connections.pop(server, None)
            return None
        return answer if isinstance(answer, ServerStatus) else None


def measure_real(lines: Sequence[Line], trials: int, limit: float, progress_to: TextIO) -> Results:
    """Measure `trials` of each line, as far as this machine keeps its times. Raises NotMeasured if it keeps none."""
    progress = Progress(trials * len(lines), progress_to)
    measured = []
    for line in lines:
        try:
            measured.append(Measured(line, measure_line(line, trials, limit, progress)))
        except (BenchFailed, OSError) as error:
            progress_to.write(f"{line.name} ms: left out; {error}\n")
    progress.end()
    if not measured:
        raise NotMeasured("no leader stays for half a second; is this machine busy?")
    conditions = f"{SERVERS} real processes on this machine, kill -9, loopback, real fsync; all logs equally long"
    return Results(conditions, limit, measured)


def measure_line(line: Line, trials: int, limit: float, progress: Progress) -> list[Sample]:
    """Kill so many leaders of one cluster. Raises BenchFailed when leaders do not stay."""
    with fresh(Path(tempfile.gettempdir())) as name:
        timing = ["--election-timeout", line.name, "--heartbeat-interval", f"{line.shortest / 2:g}"]
        with Cluster(Path(name), SERVERS, arguments=timing) as cluster:
            watch = Watch(cluster)
            try:
                samples = []
                for _ in range(trials):
                    samples.append(kill_leader(cluster, watch, line, limit))
                    progress.advance(1, line.name)
                return samples
            finally:
                watch.close()


def kill_leader(cluster: Cluster, watch: Watch, line: Line, limit: float) -> Sample:
    """Kill a leader, and return how long the others had none; then start the killed server again."""
    old = wait_until_settled(cluster, watch)
    others = [server for server in cluster.addresses if server != old.leader]
    time.sleep(random.uniform(0.0, line.heartbeat_interval))
    began = time.monotonic()
    cluster.kill(old.leader)
    new = watch.newest_leader(others)
    while (new is None or new.term <= old.term) and time.monotonic() - began < limit:
        new = watch.newest_leader(others)
    took = time.monotonic() - began
    elected = new is not None and new.term > old.term
    newest = max((each.term for each in watch.statuses(others).values()), default=old.term)
    cluster.start(old.leader)
    return Sample(took if elected else None, (new.term if elected and new else newest) - old.term)


def wait_until_settled(cluster: Cluster, watch: Watch) -> Leadership:
    """Return who leads, once all have followed the same leader for a while. Raises BenchFailed."""
    servers = list(cluster.addresses)
    end = time.monotonic() + PATIENCE
    settled: Optional[Leadership] = None
    since = time.monotonic()
    while time.monotonic() < end:
        statuses = watch.statuses(servers)
        followed = {(each.leader, each.term) for each in statuses.values()}
        leader, term = followed.pop() if len(followed) == 1 and len(statuses) == len(servers) else (None, 0)
        now = None if leader is None else Leadership(leader, term)
        if now is None or now != settled:
            settled, since = now, time.monotonic()
        elif time.monotonic() - since >= SETTLED:
            return now
        time.sleep(LOOK_EVERY)
    raise BenchFailed(f"no leader stayed for {SETTLED:g} s within {PATIENCE:g} s")
