"""`processes`: three servers as processes of their own, one of them killed with `kill -9` (§5.5)."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from raft_threads.addresses import Address, format_cluster
from raft_threads.client import Client, MayHaveHappened
from raft_threads.demo.show import Show
from raft_threads.demo.stage import DIM, Stage
from raft_threads.held_signals import signals_held
from raft_threads.local_cluster import FreePorts

PACKAGE_PARENT = Path(__file__).resolve().parent.parent.parent
FIRST_PORT = 3300
WRITES = 20
PATIENCE = 20.0


class ServerProcesses:
    """`serve` processes of one cluster. A context manager: leaving it kills them and removes their files."""

    def __init__(self, stage: Stage, names: list[str]) -> None:
        self.addresses: dict[str, Address] = {}
        self._stage = stage
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._directory = tempfile.TemporaryDirectory(prefix="raft_threads-")
        with FreePorts() as free:
            for offset, name in enumerate(names):
                port = free.take(FIRST_PORT + offset)
                if port != FIRST_PORT + offset:
                    stage.line(f"   Port {FIRST_PORT + offset} is in use; {name} takes {port} instead.", DIM)
                self.addresses[name] = Address("127.0.0.1", port)

    def __enter__(self) -> ServerProcesses:
        return self

    def __exit__(self, *exception: object) -> None:
        with signals_held():
            for name in list(self._processes):
                self.kill(name)
            self._directory.cleanup()

    def start(self, name: str) -> int:
        """Start a server process; return its process id."""
        command = [sys.executable, "-m", "raft_threads", "serve", "--id", name]
        command += ["--cluster", format_cluster(self.addresses), "--data-dir", f"{self._directory.name}/{name}"]
        command += ["--cluster-name", "demo", "--log-level", "error"]
        # A process group of its own: Ctrl-C is for us, and we end the servers.
        with signals_held():
            self._processes[name] = subprocess.Popen(command, cwd=PACKAGE_PARENT, start_new_session=True)
        self._stage.note(name, f"is process {self._processes[name].pid}, at {self.addresses[name]}")
        return self._processes[name].pid

    def kill(self, name: str) -> None:
        """`kill -9`: the process has no chance to do anything more."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()


def processes(show: Show) -> None:
    """Writes go on while the leader is killed, and are all there when it is back."""
    stage = show.stage
    stage.scene(f"{show.servers} servers start, each a process", "§5.1")
    with ServerProcesses(stage, show.names) as servers, Client(
        servers.addresses, cluster_name="demo", timeout=PATIENCE
    ) as client:
        for name in show.names:
            servers.start(name)
        acknowledged = write(client, 0, WRITES)
        leader = leader_of(client)
        stage.note(leader, f"leads; {len(acknowledged)} writes are acknowledged")
        stage.scene(f"kill -9 {leader}", "§5.2, §5.5")
        servers.kill(leader)
        stage.say("The client finds that the leader is gone, and asks the others until one of them has been elected.")
        acknowledged |= write(client, WRITES, 2 * WRITES)
        successor = leader_of(client)
        stage.note(successor, f"leads now; {len(acknowledged)} writes are acknowledged")
        stage.scene(f"{leader} starts again, from its files", "§5.5, Fig. 2")
        servers.start(leader)
        stage.scene(f"kill -9 {successor}; {leader} can take part again", "§5.3, §5.4.1")
        servers.kill(successor)
        missing = [key for key in sorted(acknowledged) if client.get(key) != f"value of {key}"]
        stage.note(leader_of(client), "leads")
        stage.check(f"all {len(acknowledged)} acknowledged writes are still there", not missing)


def write(client: Client, first: int, end: int) -> set[str]:
    """Write keys `first` to `end`; return those that were acknowledged. The others may be there or not."""
    acknowledged = set()
    for number in range(first, end):
        try:
            client.put(f"key-{number}", f"value of key-{number}")
            acknowledged.add(f"key-{number}")
        except MayHaveHappened:
            continue
    return acknowledged


def leader_of(client: Client) -> str:
    """Return the leader, which the client has just talked to."""
    reports = [report for report in client.status() if report.role == "leader"]
    return max(reports, key=lambda report: report.term or 0).id
