"""`processes`: three servers as processes of their own, one of them killed with `kill -9` (§5.5)."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from raft_threads.addresses import Address, format_cluster
from raft_threads.client import Client, MayHaveHappened
from raft_threads.demo.show import Show
from raft_threads.demo.stage import Stage
from raft_threads.free_ports import choose_addresses
from raft_threads.held_signals import signals_held
from raft_threads.rpc_server import CannotListen
from raft_threads.timing import Timing

PACKAGE_PARENT = Path(__file__).resolve().parent.parent.parent
WRITES = 20
PATIENCE = 20.0


class ServerProcess:
    """A `serve` process, whose log appears on the stage."""

    def __init__(self, name: str, arguments: list[str], stage: Stage) -> None:
        self._name = name
        self._stage = stage
        # A session of its own: Ctrl-C is for us, and we end the servers.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "raft_threads", "serve", "--id", name, *arguments],
            cwd=PACKAGE_PARENT,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._serves = False
        self._started_or_failed = threading.Event()
        self._reader = threading.Thread(target=self._read_log, name=f"demo/log-of-{name}")
        self._reader.start()
        stage.note(name, f"is process {self._process.pid}")

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip()
                self._stage.line("   " + text.replace(self._name, self._stage.name(self._name), 1))
                if f"{self._name} serves at" in text:
                    self._serves = True
                    self._started_or_failed.set()
        self._started_or_failed.set()

    def serves(self) -> bool:
        """Wait until it listens, or has ended; return whether it listens."""
        self._started_or_failed.wait(PATIENCE)
        return self._serves

    def kill(self) -> None:
        """`kill -9`: the process has no chance to do anything more."""
        self._process.kill()
        self._process.wait()
        self._reader.join()


class ServerProcesses:
    """A cluster of processes."""

    def __init__(self, names: list[str], timing: Timing, stage: Stage, first_port: int) -> None:
        self._names = names
        self._first_port = first_port
        self._timing = timing
        self._stage = stage
        self._directory = Path(tempfile.mkdtemp(prefix="raft_threads-"))
        # Different for each cluster, as the directory is: two demos at once never talk to each other's servers.
        self.cluster_name = self._directory.name
        self._running: dict[str, ServerProcess] = {}
        self.addresses: dict[str, Address] = {}

    def start_all(self) -> None:
        """Start all servers. Raises CannotListen when that is impossible."""
        self.addresses = choose_addresses(self._names, self._first_port, self._stage.aside)
        if not self._all_start():
            self._stage.aside("Somebody was quicker at a port; once more, with others.")
            self.kill_all()
            self.addresses = choose_addresses(self._names, 0, self._stage.aside)
            if not self._all_start():
                raise CannotListen("the servers cannot be started; see above")

    def _all_start(self) -> bool:
        for name in self._names:
            self._spawn(name)
        return all([server.serves() for server in self._running.values()])

    def _spawn(self, name: str) -> None:
        timing = self._timing
        arguments = ["--cluster", format_cluster(self.addresses), "--cluster-name", self.cluster_name]
        arguments += ["--data-dir", str(self._directory / name), "--election-timeout"]
        arguments.append(f"{timing.election_timeout_min * 1000:g}-{timing.election_timeout_max * 1000:g}")
        with signals_held():
            self._running[name] = ServerProcess(name, arguments, self._stage)

    def restart(self, name: str) -> None:
        """Start a server again that was killed. Raises CannotListen when its port has gone to somebody else."""
        self._spawn(name)
        if not self._running[name].serves():
            raise CannotListen(f"{name} cannot be started again; see above")

    def kill(self, name: str) -> None:
        """Kill one server."""
        with signals_held():
            self._running.pop(name).kill()

    def kill_all(self) -> None:
        """Kill all that run."""
        for name in list(self._running):
            self.kill(name)

    def remove(self) -> None:
        """Kill all servers, and remove their files."""
        self.kill_all()
        shutil.rmtree(self._directory, ignore_errors=True)


def processes(show: Show) -> None:
    """Writes go on while the leader is killed, and are all there when it is back."""
    stage = show.stage
    stage.scene(f"{show.servers} servers start, each a process; a client writes", "§5.1, §5.2")
    with signals_held():
        servers = ServerProcesses(show.names, show.timing, stage, show.first_port)
        show.cleanup.callback(servers.remove)
    servers.start_all()
    with Client(servers.addresses, cluster_name=servers.cluster_name, timeout=PATIENCE) as client:
        acknowledged = write(client, 0, WRITES)
        leader = leader_of(client)
        stage.note(leader, f"leads; {len(acknowledged)} writes are acknowledged")

        stage.scene(f"kill -9 {leader}", "§5.2, §5.5")
        stage.say("The client finds that the leader is gone, and asks the others until one of them has been elected.")
        servers.kill(leader)
        acknowledged |= write(client, WRITES, 2 * WRITES)
        successor = leader_of(client)
        stage.note(successor, f"leads now; {len(acknowledged)} writes are acknowledged")

        stage.scene(f"{leader} starts again, from its files", "§5.5, Fig. 2")
        stage.say("Its term, its vote and its log are on disk. What it missed, the leader sends.")
        servers.restart(leader)

        stage.scene(f"kill -9 {successor}; {leader} is needed for a majority now", "§5.3, §5.4.1")
        servers.kill(successor)
        missing = [key for key in sorted(acknowledged) if client.get(key) != f"value of {key}"]
        stage.note(leader_of(client), "leads, and has answered a read of every key")
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
