"""A cluster of real `serve` processes on loopback, each with a directory of its own (§5)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Optional

from raft_threads.addresses import Address, format_cluster
from raft_threads.client import Client, ClientError
from raft_threads.free_ports import choose_addresses
from raft_threads.held_signals import signals_held
from raft_threads.server_reports import ServerReport

PACKAGE_PARENT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60.0
LOOK_EVERY = 0.05

Finder = Callable[[dict[str, ServerReport]], Optional[str]]


class BenchFailed(Exception):
    """The benchmark cannot go on. The text says why in one line."""


@contextmanager
def fresh(directory: Path) -> Iterator[str]:
    """Make a directory in `directory` for one cluster, which goes in the end, with all that is in it by then."""
    name = tempfile.mkdtemp(prefix="bench-", dir=directory)
    try:
        yield name
    finally:
        shutil.rmtree(name, ignore_errors=True)


@contextmanager
def killing_all_on_failure(processes: Mapping[str, subprocess.Popen[Any]]) -> Iterator[None]:
    """Have no process left behind by a cluster that is never made, as its start fails or is interrupted."""
    try:
        yield
    except BaseException:
        for process in processes.values():
            process.kill()
            process.wait()
        raise


class Cluster:
    """Servers as processes. A context manager that kills them; their files stay in `directory`, which is the caller's.

    `program` is what runs instead of `raft_threads`, for servers that differ in one choice; `arguments` go to `serve`.
    """

    def __init__(
        self,
        directory: Path,
        servers: int = 3,
        *,
        program: Sequence[str] = ("raft_threads",),
        arguments: Sequence[str] = (),
        elsewhere: Sequence[str] = (),
    ) -> None:
        """Start servers n1, n2, ...; those `elsewhere` have an address, and somebody else runs them."""
        self.name = directory.name
        self.directory = directory
        names = [f"n{number}" for number in range(1, servers + 1)]
        self.addresses: dict[str, Address] = choose_addresses(names, 0, lambda line: None)
        self._program = program
        self._arguments = arguments
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        with killing_all_on_failure(self._running):
            for name in names:
                if name not in elsewhere:
                    self.start(name)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exception: object) -> None:
        for name in list(self._running):
            self.kill(name)

    def start(self, name: str) -> None:
        """Start a server, or start it again."""
        arguments = ["--id", name, "--cluster", format_cluster(self.addresses), "--cluster-name", self.name]
        arguments += ["--data-dir", str(self.directory / name), "--log-level", "warning", *self._arguments]
        with open(self.directory / f"{name}.log", "ab") as log, signals_held():
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", *self._program, "serve", *arguments],
                cwd=PACKAGE_PARENT,
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """`kill -9`, or the end of one that was paused."""
        with signals_held():
            process = self._running.pop(name)
            process.kill()
            process.wait()

    def pause(self, name: str) -> None:
        """SIGSTOP: the server is there, and does nothing."""
        os.kill(self._running[name].pid, signal.SIGSTOP)

    def go_on(self, name: str) -> None:
        """SIGCONT."""
        os.kill(self._running[name].pid, signal.SIGCONT)

    def pids(self, leader: Optional[str] = None) -> dict[str, int]:
        """Return the processes by what they do: `leader`, and the others by their names."""
        return {"leader" if name == leader else name: process.pid for name, process in self._running.items()}

    def client(self) -> Client:
        """Return a client of this cluster."""
        return Client(self.addresses, cluster_name=self.name, timeout=PATIENCE)

    def reports(self) -> dict[str, ServerReport]:
        """Ask all servers how they are."""
        with Client(self.addresses, cluster_name=self.name, timeout=1.0) as client:
            return {report.id: report for report in client.status()}

    def wait_for_leader(self) -> str:
        """Return who leads, once a command was executed and all who run have heard of the leader."""
        with self.client() as client:
            try:
                client.get("x")
            except ClientError as error:
                raise BenchFailed(f"{error}{self._last_words()}") from error
        return self.wait_until_reports(
            lambda reports: next((each.id for each in reports.values() if each.role == "leader"), None)
        )

    def wait_until_reports(self, find: Finder, patience: float = PATIENCE) -> str:
        """Ask the servers how they are until `find` finds something in it; return that. Raises BenchFailed."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            found = find(self.reports())
            if found is not None:
                return found
            time.sleep(LOOK_EVERY)
        raise BenchFailed(f"the servers did not get ready within {patience:g} s{self._last_words()}")

    def _last_words(self) -> str:
        """Return the last line that each server has logged, as far as there is one."""
        logs = [path.read_text(errors="replace").splitlines()[-1:] for path in sorted(self.directory.glob("n*.log"))]
        return "".join(f"; a server said: {line}" for lines in logs for line in lines)
