"""Server processes that are added, removed, wiped and killed under load: nothing is lost, or executed twice (§6 to §8).

The long run: `.venv/bin/python -m pytest -m soak tests/test_processes_change_and_recover.py`.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import ServeProcess
from raw_sockets import PATIENCE, free_addresses

from raft_threads.client import Client, ClientError
from raft_threads.client_messages import Change
from raft_threads.server_reports import ServerReport

FOUNDERS = ("n1", "n2", "n3")
SERVERS = (*FOUNDERS, "n4", "n5")
THRESHOLD = ("--snapshot-threshold", "20K")


class Cluster:
    """Up to five `serve` processes, of which three begin the cluster."""

    def __init__(self, directory: Path) -> None:
        self.addresses = free_addresses(*SERVERS)
        self._directory = directory
        self.running: dict[str, ServeProcess] = {}
        for server in FOUNDERS:
            self.start(server)

    def start(self, server: str, joins: bool = False) -> None:
        """Start a server from what its files hold; one that `joins` waits to be added."""
        names = (server,) if joins else FOUNDERS
        cluster = {name: self.addresses[name] for name in names}
        more = (*THRESHOLD, *(("--join",) if joins else ()))
        self.running[server] = ServeProcess(server, cluster, self.directory_of(server), *more)
        self.running[server].wait_until_it_serves()

    def directory_of(self, server: str) -> Path:
        """Return where a server keeps its files."""
        return self._directory / server

    def kill(self, server: str) -> None:
        """Kill a server with SIGKILL."""
        self.running.pop(server).kill()

    def client(self, timeout: float = PATIENCE) -> Client:
        """Return a new client, which knows all servers."""
        return Client(self.addresses, timeout=timeout)

    def change(self, change: Change, *servers: str) -> None:
        """Have the cluster changed; again if the leader was lost meanwhile, or has yet to commit its first entry."""
        named = tuple(name if change is Change.REMOVE else f"{name}={self.addresses[name]}" for name in servers)
        wanted = change is not Change.REMOVE
        with self.client() as client:
            for _ in range(50):
                members = {member.partition("=")[0] for member in client.members().members}
                if all((name in members) == wanted for name in servers):
                    return
                try:
                    client.change_members(change, named)
                except ClientError:
                    continue  # the next look tells whether it came to pass
        raise AssertionError(f"{change} {servers} did not come to pass")

    def report(self, server: str) -> ServerReport:
        """Ask a server how it is."""
        with self.client() as client:
            return next(report for report in client.status() if report.id == server)

    def leader(self) -> str:
        """Return who leads; asks until somebody does."""
        while True:
            with self.client() as client:
                client.get("who leads?")
                leading = [report for report in client.status() if report.role == "leader"]
            if leading:
                return max(leading, key=lambda report: report.term or 0).id


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three servers, running, and two that may be added."""
    made = Cluster(tmp_path)
    try:
        yield made
    finally:
        for server in list(made.running):
            made.kill(server)


class Counting(threading.Thread):
    """A client that increments a counter, one time after the other, `times` in all or until it is stopped."""

    def __init__(self, cluster: Cluster, times: int) -> None:
        super().__init__(name="test/counting")
        self._client = cluster.client()
        self._times = times
        self._counted = threading.Condition()
        self.count = 0
        self.stopping = False
        self.problem = ""

    def run(self) -> None:
        """Count; each answer must be the next number."""
        with self._client as client:
            while self.count < self._times and not self.stopping and not self.problem:
                answer = client.increment("counter")
                with self._counted:
                    self.count += 1
                    if answer != self.count:
                        self.problem = f"the {self.count}th increment was answered with {answer}"
                    self._counted.notify_all()

    def wait_for_more(self, count: int) -> None:
        """Return once `count` more increments were acknowledged, or all were."""
        with self._counted:
            wanted = min(self.count + count, self._times)
            going_on = self._counted.wait_for(lambda: self.count >= wanted or bool(self.problem), PATIENCE)
        assert going_on and not self.problem, self.problem or "counting does not go on"

    def stop(self) -> None:
        """Stop counting."""
        self.stopping = True
        self.join(PATIENCE)
        assert not self.is_alive()


def count_through_kills(cluster: Cluster, times: int, between_kills: int) -> int:
    """Increment a counter so many times while leaders are killed; return how many were."""
    counting = Counting(cluster, times)
    counting.start()
    kills = 0
    while counting.count < times:
        counting.wait_for_more(between_kills)
        if counting.count >= times:
            break
        victim = cluster.leader()
        cluster.kill(victim)
        kills += 1
        counting.wait_for_more(1)
        cluster.start(victim)
    counting.join(PATIENCE)
    with cluster.client() as client:
        assert client.get("counter") == str(times), counting.problem
    return kills


def test_a_counter_ends_where_it_should_through_kill_9_of_leaders(cluster: Cluster) -> None:
    """§8: increments that are sent again after a crash are executed once."""
    counting = Counting(cluster, 10**9)
    counting.start()
    for _ in range(3):
        counting.wait_for_more(20)
        victim = cluster.leader()
        cluster.kill(victim)
        counting.wait_for_more(20)
        cluster.start(victim)
    counting.stop()
    with cluster.client() as client:
        assert client.get("counter") == str(counting.count) and not counting.problem


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_counter_ends_at_10000_through_kill_9_of_leaders(cluster: Cluster) -> None:
    """§8: the same for long."""
    kills = count_through_kills(cluster, times=10_000, between_kills=200)
    print(f"{kills} leaders were killed")
    assert kills >= 20


def test_a_cluster_grows_and_shrinks_under_load_though_a_server_is_killed(cluster: Cluster) -> None:
    """§6: from three servers to five and back to three, others than before; commands are served throughout."""
    counting = Counting(cluster, 10**9)
    counting.start()
    for server in ("n4", "n5"):
        cluster.start(server, joins=True)
    counting.wait_for_more(5)
    cluster.change(Change.ADD, "n4", "n5")
    counting.wait_for_more(5)
    cluster.kill("n2")
    cluster.change(Change.REMOVE, "n1")
    cluster.start("n2")
    counting.wait_for_more(5)
    cluster.change(Change.REMOVE, "n3")
    counting.wait_for_more(5)
    counting.stop()
    with cluster.client() as client:
        assert client.get("counter") == str(counting.count) and not counting.problem
        assert {member.partition("=")[0] for member in client.members().members} == {"n2", "n4", "n5"}


def test_a_server_that_lost_its_disk_is_removed_and_added_again_and_gets_a_snapshot(cluster: Cluster) -> None:
    """§6, §7: it comes back as a new one; files stay bounded although much was written."""
    with cluster.client() as client:
        for number in range(60):
            client.put(f"key {number % 7}", str(number) * 500)
    cluster.change(Change.REMOVE, "n3")
    cluster.kill("n3")
    shutil.rmtree(cluster.directory_of("n3"))
    cluster.start("n3", joins=True)
    cluster.change(Change.ADD, "n3")
    report = cluster.report("n3")
    assert report.snapshot_index and report.snapshot_bytes and report.last_log_index
    for server in FOUNDERS:
        files = {path.name: path.stat().st_size for path in cluster.directory_of(server).iterdir()}
        assert files["log"] < 80_000 and files["snapshot"] < 20_000, files
    others = [server for server in FOUNDERS if server != "n3"]
    cluster.kill(others[0])
    with cluster.client() as client:
        assert client.get("key 3") == str(59) * 500
