"""Server processes that are added, removed, wiped and killed under load: nothing is lost, or executed twice (§6 to §8).

The long run: `.venv/bin/python -m pytest -m soak tests/test_processes_change_and_recover.py`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Callable

import pytest
from processes import ServeProcess, run
from raw_sockets import PATIENCE, free_addresses

from raft_threads.addresses import format_cluster
from raft_threads.client import Client, ClientError
from raft_threads.client_messages import Change
from raft_threads.server_reports import ServerReport

FOUNDERS = ("n1", "n2", "n3")
SERVERS = (*FOUNDERS, "n4", "n5")
THRESHOLD = ("--snapshot-threshold", "20K")
# A busy machine may take ten times as long as an idle one.
pytestmark = [pytest.mark.timeout(180), pytest.mark.alongside]


class Cluster:
    """Up to five `serve` processes, of which three begin the cluster. A context manager that kills them."""

    def __init__(self, directory: Path) -> None:
        self.addresses = free_addresses(*SERVERS)
        self._directory = directory
        self.running: dict[str, ServeProcess] = {}
        self.start(*FOUNDERS)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exception: object) -> None:
        for server in list(self.running):
            self.kill(server)

    def start(self, *servers: str, joins: bool = False) -> None:
        """Start servers from what their files hold; those that `joins` is true for wait to be added."""
        for server in servers:
            cluster = {name: self.addresses[name] for name in ((server,) if joins else FOUNDERS)}
            more = (*THRESHOLD, *(("--join",) if joins else ()))
            self.running[server] = ServeProcess(server, cluster, self.directory_of(server), *more)
        for server in servers:
            self.running[server].wait_until_it_serves()

    def directory_of(self, server: str) -> Path:
        """Return where a server keeps its files."""
        return self._directory / server

    def sizes(self, server: str) -> dict[str, int]:
        """Return how many bytes each of a server's files has; they come and go while we look."""
        found: dict[str, int] = {}
        for path in self.directory_of(server).iterdir():
            with contextlib.suppress(FileNotFoundError):
                found[path.name] = path.stat().st_size
        return found

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

    def wait_for_report(self, server: str, fits: Callable[[ServerReport], bool]) -> None:
        """Ask a server how it is until that `fits`."""
        end = time.monotonic() + PATIENCE
        while not fits(report := self.report(server)):
            assert time.monotonic() < end, report

    def leader(self) -> str:
        """Return who leads; asks until somebody does."""
        while True:
            with self.client() as client:
                client.get("who leads?")
                leading = [report for report in client.status() if report.role == "leader"]
            if leading:
                return max(leading, key=lambda report: report.term or 0).id


class Counting:
    """A client that increments a counter as often as it may so far, or until it is stopped; from several threads.

    With one thread only, what is killed upon an answer would hardly ever be in the middle of a command.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._client = cluster.client()
        # Predicates: `count` has grown, or there is a `problem`; `_begun < _may`, or it is `_stopping`.
        self._changed = threading.Condition()
        self._may = 0
        self._begun = 0
        self._stopping = False
        self._answers: set[int] = set()
        self._problem = ""
        self._threads = [threading.Thread(target=self._run, name=f"test/counting-{number}") for number in range(4)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Counting:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def count(self) -> int:
        """How many increments were acknowledged."""
        return len(self._answers)

    def _run(self) -> None:
        """Count; no two answers may be the same."""
        while self._goes_on():
            try:
                answer, problem = self._client.increment("counter"), ""
            except ClientError as error:
                answer, problem = 0, str(error)
            with self._changed:
                if not problem and answer in self._answers:
                    problem = f"two increments were answered with {answer}"
                if problem:
                    self._problem = self._problem or problem
                else:
                    self._answers.add(answer)
                self._changed.notify_all()

    def _goes_on(self) -> bool:
        """Wait until there is something to count; return False when it is over."""
        with self._changed:
            while not (self._begun < self._may or self._stopping or self._problem):
                self._changed.wait()
            self._begun += 1
            return not (self._stopping or self._problem)

    def allow(self, count: int) -> None:
        """Let it count `count` times more."""
        with self._changed:
            self._may += count
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        """Return once so many increments were acknowledged."""
        with self._changed:
            going_on = self._changed.wait_for(lambda: self.count >= count or bool(self._problem), 2 * PATIENCE)
        assert going_on and not self._problem, self._problem or "counting does not go on"

    def wait_for_more(self, count: int) -> None:
        """Return once `count` more increments were acknowledged."""
        self.wait_for(self.count + count)

    def stop(self) -> None:
        """Stop counting; each number up to how often it counted must have been an answer once. Once more is no harm."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(2 * PATIENCE)
        assert not any(thread.is_alive() for thread in self._threads), "counting does not end"
        self._client.close()
        assert not self._problem, self._problem
        assert self._answers == set(range(1, self.count + 1)), f"{max(self._answers)} after {self.count} increments"


def count_through_kills(cluster: Cluster, counting: Counting, times: int, kills: int) -> None:
    """Increment a counter so many times, and kill a leader so many times, each in the middle of as many increments."""
    stage = times // kills
    for kill in range(kills):
        victim = cluster.leader()
        counting.allow(stage)
        counting.wait_for(kill * stage + stage // 2)
        cluster.kill(victim)
        cluster.start(victim)
        counting.wait_for((kill + 1) * stage)
    counting.stop()
    with cluster.client() as client:
        assert client.get("counter") == str(times)


def test_a_counter_ends_at_300_through_kill_9_of_three_leaders(tmp_path: Path) -> None:
    """§8: increments that are sent again after a crash are executed once."""
    with Cluster(tmp_path) as cluster, Counting(cluster) as counting:
        count_through_kills(cluster, counting, times=300, kills=3)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_counter_ends_at_10000_through_kill_9_of_fifty_leaders(tmp_path: Path) -> None:
    """§8: the same for long."""
    with Cluster(tmp_path) as cluster, Counting(cluster) as counting:
        count_through_kills(cluster, counting, times=10_000, kills=50)


def test_a_cluster_grows_and_shrinks_under_load_though_a_server_is_killed(tmp_path: Path) -> None:
    """§6: from three servers to five and back to three, others than before; commands are served throughout."""
    with Cluster(tmp_path) as cluster, Counting(cluster) as counting:
        counting.allow(10**9)
        cluster.start("n4", "n5", joins=True)
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
            assert client.get("counter") == str(counting.count)
            assert {member.partition("=")[0] for member in client.members().members} == {"n2", "n4", "n5"}


def test_a_server_that_lost_its_disk_is_removed_and_added_again_and_gets_a_snapshot(tmp_path: Path) -> None:
    """§6, §7: it comes back as a new one, by the command line, and has all that was written before."""
    with Cluster(tmp_path) as cluster:
        written = {f"key {number}": str(number) * 500 for number in range(60)}
        with cluster.client() as client:
            for key, value in written.items():
                client.put(key, value)
        others = {server: cluster.addresses[server] for server in FOUNDERS if server != "n3"}
        cluster.change(Change.REMOVE, "n3")
        cluster.kill("n3")
        shutil.rmtree(cluster.directory_of("n3"))
        for server in others:
            cluster.wait_for_report(server, lambda report: (report.snapshot_index or 0) > 0)
        cluster.start("n3", joins=True)
        added = run("members", "add", "--cluster", format_cluster(others), f"n3={cluster.addresses['n3']}")
        assert added.returncode == 0, added.stderr
        cluster.running["n3"].wait_for_line("installed a snapshot up to entry")
        status = run("status", "--json", "--cluster", format_cluster({"n3": cluster.addresses["n3"]}))
        assert json.loads(status.stdout)[0]["snapshot_index"] > 0
        # So that nobody else can answer.
        cluster.change(Change.REMOVE, *others)
        for server in others:
            cluster.kill(server)
        with cluster.client() as client:
            assert {key: client.get(key) for key in written} == written


def test_files_stay_small_under_load_through_kill_9_of_a_leader_and_of_all(tmp_path: Path) -> None:
    """§7: though twenty times as much is written as the log may hold. And they hold everything all the same (§5.5)."""
    with Cluster(tmp_path) as cluster, Counting(cluster) as counting:
        written: dict[str, str] = {}
        largest = 0
        counting.allow(10**9)
        with cluster.client() as client:
            for number in range(200):
                key = f"key {number % 7}"
                written[key] = f"{number} ".ljust(2000, "x")
                client.put(key, written[key])
                largest = max(largest, *(sum(cluster.sizes(server).values()) for server in cluster.running))
                if number == 80:
                    victim = cluster.leader()
                    cluster.kill(victim)
                if number == 120:
                    cluster.start(victim)
            for server in FOUNDERS:
                cluster.kill(server)
            cluster.start(*FOUNDERS)
            counting.wait_for_more(10)
            counting.stop()
            assert 7 * 2000 < largest < 200_000
            # A crash leaves nothing behind that stays: when all is compacted, there is about one snapshot.
            commit_index = cluster.report(cluster.leader()).commit_index or 0
            for server in FOUNDERS:
                cluster.wait_for_report(server, lambda report: (report.last_applied or 0) >= commit_index)
                client.take_snapshot(server)
                assert sum(cluster.sizes(server).values()) < 40_000, cluster.sizes(server)
            assert {key: client.get(key) for key in written} == written
            assert client.get("counter") == str(counting.count)
