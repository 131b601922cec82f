"""PySyncObj under the same load, if it is installed: `pip install pysyncobj`, or our extra `bench`.

It has no durable log by default, and no server for clients: whoever uses it is a member of the cluster. So it is driven
in the process of its leader, and nothing is fsynced. Each server is `python -m raft_threads.bench.pysyncobj_peer PORT
PEER_PORT ...`; it reads `leader?` or `load OUTSTANDING SECONDS BYTES` from standard input, and answers with a line.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import threading
import time
from array import array
from dataclasses import asdict
from typing import Any

from raft_threads.bench.processes import LOOK_EVERY, PACKAGE_PARENT, PATIENCE, BenchFailed, killing_all_on_failure
from raft_threads.bench.rounds import Round, round_of
from raft_threads.free_ports import free_ports
from raft_threads.held_signals import signals_held

WARM_UP = 1.0


class PySyncObjCluster:
    """Its processes. A context manager that kills them."""

    def __init__(self, servers: int) -> None:
        ports = [str(port) for port in free_ports(servers)]
        self._processes: dict[str, subprocess.Popen[str]] = {}
        with killing_all_on_failure(self._processes):
            for port in ports:
                others = [other for other in ports if other != port]
                with signals_held():
                    self._processes[port] = subprocess.Popen(
                        [sys.executable, "-m", "raft_threads.bench.pysyncobj_peer", port, *others],
                        cwd=PACKAGE_PARENT,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL,
                        text=True,
                        start_new_session=True,
                    )

    def __enter__(self) -> PySyncObjCluster:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.communicate()

    def run(self, outstanding: int, seconds: float, value_bytes: int) -> Round:
        """Have the leader keep `outstanding` commands under way. Raises BenchFailed."""
        leader = self._wait_for_leader()
        answer = self._ask(leader, f"load {outstanding} {seconds} {value_bytes}")
        return Round(**json.loads(answer))

    def _wait_for_leader(self) -> subprocess.Popen[str]:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for process in self._processes.values():
                if self._ask(process, "leader?") == "yes":
                    return process
            time.sleep(LOOK_EVERY)
        raise BenchFailed("PySyncObj has elected nobody")

    def _ask(self, process: subprocess.Popen[str], line: str) -> str:
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
        except OSError as error:
            raise BenchFailed(f"a PySyncObj server has ended: {error}") from error
        answer = process.stdout.readline().strip()
        if not answer:
            raise BenchFailed("a PySyncObj server has ended; does its installed version run on this Python?")
        return answer


def make_store(port: str, peers: list[str]) -> Any:
    """Return a replicated dictionary of PySyncObj's with one operation, `put`."""
    pysyncobj: Any = importlib.import_module("pysyncobj")

    class Store(pysyncobj.SyncObj):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(f"127.0.0.1:{port}", [f"127.0.0.1:{peer}" for peer in peers])
            self.items: dict[str, str] = {}

        @pysyncobj.replicated  # type: ignore
        def put(self, key: str, value: str) -> None:
            self.items[key] = value

    return Store()


class Window:
    """Keeps so many commands under way: each answer, in PySyncObj's own thread, makes room for the next."""

    def __init__(self, store: Any, value: str) -> None:
        self._store = store
        self._value = value
        self._guard = threading.Lock()
        self._under_way = 0
        self._ends = 0.0
        # Predicate: "no command is under way". Notified when the last one has been answered.
        self._empty = threading.Condition(self._guard)
        self._latencies = array("d")

    def run(self, outstanding: int, seconds: float) -> tuple[array[float], float]:
        """Return the latencies of what was answered, and how many seconds that took."""
        self._latencies = array("d")
        began = time.perf_counter()
        self._ends = began + seconds
        with self._guard:
            self._under_way = outstanding
        for _ in range(outstanding):
            self._put()
        with self._guard:
            while self._under_way:
                self._empty.wait()
        return self._latencies, time.perf_counter() - began

    def _put(self) -> None:
        sent_at = time.perf_counter()

        def answered(result: Any, error: Any) -> None:
            now = time.perf_counter()
            self._latencies.append(now - sent_at)
            if now < self._ends:
                self._put()
                return
            with self._guard:
                self._under_way -= 1
                if not self._under_way:
                    self._empty.notify()

        self._store.put("key", self._value, callback=answered)


def main(arguments: list[str]) -> None:
    """Be one server, until standard input ends."""
    store = make_store(arguments[0], arguments[1:])
    for line in sys.stdin:
        command, *details = line.split()
        if command == "leader?":
            answer = "yes" if store.isReady() and str(store._getLeader()).endswith(f":{arguments[0]}") else "no"
        else:
            outstanding, seconds, value_bytes = int(details[0]), float(details[1]), int(details[2])
            window = Window(store, "v" * value_bytes)
            window.run(outstanding, WARM_UP)
            cpu_before = time.process_time()
            latencies, took = window.run(outstanding, seconds)
            answer = json.dumps(asdict(round_of(latencies, took, {"leader": time.process_time() - cpu_before})))
        print(answer, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
