"""etcd under the same load, if it is installed: Debian's package `etcd-server`.

Three processes with real fsync, as ours. The same load generator sends the same puts to both, to etcd through its JSON
gateway over HTTP. etcd is a compiled program, and does more: revisions, leases, a B-tree on disk.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Optional

from raft_threads.addresses import Address
from raft_threads.bench.processes import LOOK_EVERY, PATIENCE, BenchFailed, killing_all_on_failure
from raft_threads.free_ports import HOST, free_ports
from raft_threads.held_signals import signals_held


class EtcdCluster:
    """Its processes. A context manager that kills them; their files stay in `directory`, which is the caller's."""

    def __init__(self, directory: Path, servers: int) -> None:
        ports = free_ports(2 * servers)
        names = [f"etcd{number}" for number in range(1, servers + 1)]
        peers = {name: f"http://{HOST}:{port}" for name, port in zip(names, ports)}
        self._addresses = {name: Address(HOST, port) for name, port in zip(names, ports[servers:])}
        members = ",".join(f"{name}={url}" for name, url in peers.items())
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        with killing_all_on_failure(self._processes):
            for name in names:
                command = ["etcd", "--name", name, "--data-dir", str(directory / name), "--log-level", "error"]
                command += ["--initial-cluster", members, "--initial-cluster-state", "new"]
                command += ["--initial-cluster-token", directory.name]
                command += ["--listen-peer-urls", peers[name], "--initial-advertise-peer-urls", peers[name]]
                command += ["--listen-client-urls", self._url(name), "--advertise-client-urls", self._url(name)]
                with signals_held():
                    self._processes[name] = subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,
                    )

    def __enter__(self) -> EtcdCluster:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def pids(self, leader: str) -> dict[str, int]:
        """Return the processes by what they do."""
        return {"leader" if name == leader else name: process.pid for name, process in self._processes.items()}

    def wait_for_leader(self) -> tuple[str, Address]:
        """Return the leader's name and address. Raises BenchFailed."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for name, address in self._addresses.items():
                status = self._status(name)
                if status is not None and status.get("leader") == status["header"]["member_id"]:
                    return name, address
            time.sleep(LOOK_EVERY)
        raise BenchFailed("etcd has elected nobody")

    def _url(self, name: str) -> str:
        return f"http://{self._addresses[name]}"

    def _status(self, name: str) -> Optional[dict[str, Any]]:
        request = urllib.request.Request(f"{self._url(name)}/v3/maintenance/status", b"{}")
        try:
            with urllib.request.urlopen(request, timeout=1.0) as answer:
                status: dict[str, Any] = json.load(answer)
                return status
        except (OSError, ValueError, urllib.error.URLError):
            return None
