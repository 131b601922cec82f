"""A whole cluster in one process: real servers, sockets and files, to cut, crash and restart (§5).

The demo and the tests share its vocabulary. All servers are threads of this process, so one debugger sees them all.
Nothing here sleeps: it waits for what the servers report.
"""

from __future__ import annotations

import random
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

from raft_threads import events, kv
from raft_threads.client_messages import ServerStatus
from raft_threads.configuration import Configuration, Member
from raft_threads.cut_network import CutNetwork
from raft_threads.events import Observer
from raft_threads.free_ports import choose_addresses, keep_port
from raft_threads.held_signals import signals_held
from raft_threads.invariant_watch import InvariantWatch
from raft_threads.log import LogEntry, SnapshotMetadata
from raft_threads.node import Node
from raft_threads.options import Options
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown
from raft_threads.recorder import WITHOUT_HEARTBEATS, EventRecorder
from raft_threads.rpc_server import CannotListen
from raft_threads.runtime import Runtime
from raft_threads.server import KeyValueServer
from raft_threads.surroundings import Crashed, Surrounding
from raft_threads.timing import Timing

T = TypeVar("T")
PATIENCE = 20.0
ATTEMPTS = 20


class LocalCluster:
    """Servers of one cluster. A context manager: entering starts them, leaving stops them and removes their files."""

    def __init__(
        self,
        servers: Sequence[str] = ("n1", "n2", "n3"),
        *,
        timing: Timing = Timing(),
        options: Options = Options(),
        seed: object = 0,
        observers: Sequence[Observer] = (),
        first_port: int = 3300,
        dice_of: Optional[Callable[[str], Any]] = None,
        say: Callable[[str], None] = lambda line: None,
        note: Callable[[Surrounding], None] = lambda record: None,
    ) -> None:
        """Prepare a cluster of `servers`, at `first_port` and the following if they are free.

        `seed` decides the election timeouts of every server, unless `dice_of` gives a server's `random` itself.
        `say` hears, in a line each time, that ports had to be replaced; `note` of crashes and of links cut and healed.
        """
        self.servers = list(servers)
        # Which servers the cluster begins with, and which were started without knowing of any cluster (§6).
        self._first_servers = tuple(servers)
        self._newcomers: set[str] = set()
        self._options = options
        self.recorder = EventRecorder(WITHOUT_HEARTBEATS)
        self.network = CutNetwork(note)
        self.running: dict[str, KeyValueServer] = {}
        self._timing = timing
        self._watch = InvariantWatch(self._first_servers)
        self._observers: list[Observer] = [self.recorder, self._watch, *observers]
        self._dice_of = dice_of or (lambda server: random.Random(f"{seed} {server}"))
        self._say = say
        self._note = note
        self.addresses = choose_addresses(self.servers, first_port, say)
        # Of servers that are down, until they are started again.
        self._kept_ports: dict[str, socket.socket] = {}
        self._directory: Optional[Path] = None

    def __enter__(self) -> LocalCluster:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # Starting and stopping

    def start(self) -> None:
        """Start all servers, as followers (§5.2)."""
        with signals_held():
            self._directory = Path(tempfile.mkdtemp(prefix="raft_threads-"))
            try:
                self._open_all()
            except CannotListen:
                self._close_all()
                self.addresses.update(choose_addresses(self.servers, 0, self._say))
                places = ", ".join(f"{server} at {address}" for server, address in self.addresses.items())
                self._say(f"A port was taken meanwhile; now {places}.")
                self._open_all()
            for server in self.running.values():
                server.start()

    def stop(self) -> None:
        """Stop all servers and remove their files."""
        with signals_held():
            self._close_all()
            if self._directory is not None:
                shutil.rmtree(self._directory, ignore_errors=True)

    def crash(self, server: str) -> float:
        """Stop one server; return when (monotonic seconds). It saves nothing: only its files are left (§5.5)."""
        with signals_held():
            began = time.monotonic()
            self.running.pop(server).stop()
            self._keep_port(server)
            self._note(Crashed(time.monotonic(), server))
            return began

    def restart(self, server: str) -> None:
        """Start a crashed server again, from its files (§5.5). Raises CannotListen if somebody took its port.

        It cannot have another one: the others know where it is from their logs (§6).
        """
        with signals_held():
            self._release_port(server)
            self._open(server)
            self.running[server].start()

    def restart_all(self, options: Options) -> None:
        """Crash all servers that run, and start them again with other `options`."""
        self._options = options
        running = list(self.running)
        for server in running:
            self.crash(server)
        for server in running:
            self.restart(server)

    def join(self, server: str) -> None:
        """Start a new server at a free port; it knows of no cluster, and waits to be added to this one (§6)."""
        self.addresses.update(choose_addresses([server], 0, self._say))
        self.servers.append(server)
        self._newcomers.add(server)
        self.restart(server)

    def wipe(self, server: str) -> None:
        """Remove the files of a server that is down. It must have been removed from the cluster, and is a new one from
        then on, which waits to be added (§6).
        """
        self._watch.forget(server)
        self._newcomers.add(server)
        shutil.rmtree(self.directory_of(server))

    def _open_all(self) -> None:
        for server in self.servers:
            self._open(server)

    def _open(self, server: str) -> None:
        joins = server in self._newcomers
        self.running[server] = KeyValueServer(
            server,
            {name: self.addresses[name] for name in ([server] if joins else self._first_servers)},
            self.directory_of(server),
            cluster=self.directory.name,  # different for each: clusters on one machine never mix
            timing=self._timing,
            options=self._options,
            join=joins,
            runtime=Runtime(random=self._dice_of(server)),
            observers=self._observers,
            wrap_transport=self.network.around(server),
        )

    def _close_all(self) -> None:
        while self.running:
            self.running.popitem()[1].stop()
        for server in self.servers:
            self._release_port(server)

    def _keep_port(self, server: str) -> None:
        keeper = keep_port(self.addresses[server])
        if keeper is not None:
            self._kept_ports[server] = keeper

    def _release_port(self, server: str) -> None:
        if server in self._kept_ports:
            self._kept_ports.pop(server).close()

    # What a test or a story does

    def node(self, server: str) -> Node:
        """Return the node of a running server."""
        return self.running[server].node

    @property
    def directory(self) -> Path:
        """Where all servers keep their files, each in a directory of its own."""
        assert self._directory is not None, "the cluster has not been started"
        return self._directory

    def directory_of(self, server: str) -> Path:
        """Return where a server keeps its files."""
        return self.directory / server

    def wait_for_leader(self, among: Optional[Iterable[str]] = None, timeout: float = PATIENCE) -> str:
        """Return the leader of the newest term among the servers `among` (default: all), once there is one."""
        candidates = set(self.servers if among is None else among)
        found: list[str] = []

        def there_is_one() -> bool:
            statuses = [status for status in self.statuses() if status.id in candidates]
            terms = {status.id: status.term for status in statuses}
            leaders = [status.id for status in statuses if status.role == "leader"]
            found[:] = [leader for leader in leaders if terms[leader] >= self._newest_term(leader, terms)]
            return bool(found)

        self.recorder.wait_until(there_is_one, "a leader is elected", timeout)
        return found[0]

    def _newest_term(self, leader: str, terms: Mapping[str, int]) -> int:
        """Return the newest of `terms` in which a server is that `leader` counts on; who was removed does not (§6)."""
        members = self.node(leader).members().servers
        return max((term for server, term in terms.items() if server in members), default=0)

    def wait_for_leader_of(self, servers: Iterable[str]) -> str:
        """Return who leads, once all `servers` take the same one of them for the leader (§5.2)."""
        names = set(servers)
        leaders: set[Optional[str]] = set()

        def all_agree() -> bool:
            leaders.clear()
            leaders.update(status.leader for status in self.statuses() if status.id in names)
            return len(leaders) == 1 and leaders <= names

        self.recorder.wait_until(all_agree, f"{', '.join(sorted(names))} have the same leader", PATIENCE)
        return str(leaders.pop())

    def elect(self, server: str) -> str:
        """Force `server` to time out until it leads; return its id. Its log must be good enough (§5.4.1)."""
        for _ in range(20):
            if self.node(server).status().role == "leader":
                return server
            mark = self.recorder.mark()
            self.node(server).expire_election_timer()
            try:
                self.recorder.wait_for(
                    events.BecameLeader, lambda event: event.server == server, mark, self._timing.election_timeout_max
                )
            except TimeoutError:
                continue
        raise TimeoutError(f"{server} was not elected; is its log as up-to-date as the others'?")

    def partition(self, *groups: Iterable[str]) -> None:
        """Cut the network into `groups`."""
        self.network.partition(*groups)

    def heal(self) -> None:
        """Repair the network."""
        self.network.heal()

    def execute(self, command: bytes, via: Optional[str] = None, timeout: float = PATIENCE) -> dict[str, Any]:
        """Have a command applied by the leader, or propose it to `via`; return its result. Raises as Node.propose."""
        server = self.wait_for_leader() if via is None else via
        return kv.decode_result(self.node(server).propose(command, timeout))

    def put(self, key: str, value: str, via: Optional[str] = None) -> None:
        """Set a key. Without `via`, at whoever leads, and again if that one is deposed: a put may be repeated."""
        command = kv.put_command(key, value)
        if via is not None:
            self.execute(command, via)
            return
        for _ in range(ATTEMPTS):
            try:
                self.execute(command, timeout=PATIENCE / ATTEMPTS)
                return
            except (NotLeader, CommandFailed, OutcomeUnknown):
                continue
        raise TimeoutError(f"no leader has set {key} within {PATIENCE:g} s")

    def get(self, key: str, via: Optional[str] = None) -> Optional[str]:
        """Read a key, through the log."""
        value: Optional[str] = self.execute(kv.get_command(key), via)["value"]
        return value

    def wait_until_applied_everywhere(self, servers: Optional[Iterable[str]] = None) -> None:
        """Wait until `servers` (default: all that run) have applied everything that the leader's log holds."""
        names = list(self.running if servers is None else servers)
        leader = self.wait_for_leader(names)
        last_index = self.node(leader).status().last_log_index
        self.recorder.wait_until(
            lambda: all(self.node(name).status().last_applied >= last_index for name in names),
            f"{', '.join(names)} apply entry {last_index}",
            PATIENCE,
        )

    def read(self, key: str, via: Optional[str] = None) -> Optional[str]:
        """Read a key without writing to the log (§8). Raises as Node.read."""
        query = kv.get_command(key)
        if via is None:
            answer = self._ask_leader(lambda leader: leader.read(query, PATIENCE))
        else:
            answer = self.node(via).read(query, PATIENCE)
        value: Optional[str] = kv.decode_result(answer)["value"]
        return value

    # What an operator does

    def members(self) -> tuple[str, ...]:
        """Return the ids of the servers in the configuration that the leader uses (§6)."""
        return self.node(self.wait_for_leader()).members().servers

    def change_members(self, *servers: str) -> Configuration:
        """Have the leader change the cluster to `servers`, and wait until that is done (§6). Raises as Node does."""
        members = tuple(Member(server, str(self.addresses[server])) for server in servers)
        return self._ask_leader(lambda leader: leader.change_members(members, PATIENCE))

    def add(self, *servers: str) -> Configuration:
        """Add running `servers` to the cluster (§6). Raises as Node.change_members."""
        return self.change_members(*self.members(), *servers)

    def remove(self, *servers: str) -> Configuration:
        """Remove `servers` from the cluster; they go on running (§6). Raises as Node.change_members."""
        return self.change_members(*(each for each in self.members() if each not in servers))

    def take_snapshot(self, server: str) -> SnapshotMetadata:
        """Have a server compact its log, and wait until the snapshot is durable (§7)."""
        return self.node(server).take_snapshot(PATIENCE)

    def transfer(self, target: Optional[str] = None) -> str:
        """Have the leader hand over to `target`, and return to whom once it leads no more (Diss. §3.10)."""
        return self._ask_leader(lambda leader: leader.transfer_leadership(target, PATIENCE))

    def _ask_leader(self, ask: Callable[[Node], T]) -> T:
        """Return the leader's answer. Who leads no more has done nothing, so the next one is asked then."""
        for _ in range(ATTEMPTS - 1):
            try:
                return ask(self.node(self.wait_for_leader()))
            except NotLeader:
                continue
        return ask(self.node(self.wait_for_leader()))

    # What a test or a story looks at

    def statuses(self) -> list[ServerStatus]:
        """Return how the running servers are, in order."""
        running = dict(self.running)
        return [running[server].node.status() for server in self.servers if server in running]

    def log_of(self, server: str) -> list[LogEntry]:
        """Return a running server's log."""
        return self.node(server).log_entries()

    def applied_by(self, server: str) -> list[LogEntry]:
        """Return the entries that a server has applied since it last started, in that order."""
        applied: list[LogEntry] = []
        for event in self.recorder.events(events.Event, server):
            if isinstance(event, events.Restarted):
                applied = []
            elif isinstance(event, events.Applied):
                applied.append(event.entry)
        return applied

    def leaders_by_term(self) -> dict[int, set[str]]:
        """Return who became leader in each term."""
        leaders: dict[int, set[str]] = {}
        for event in self.recorder.events(events.BecameLeader):
            leaders.setdefault(event.state.term, set()).add(event.server)
        return leaders

    def check_figure_3(self) -> None:
        """Raise InvariantViolation if a property of Fig. 3, or what it rests on, was broken since the start."""
        self._watch.check()

    def check_single_leader(self) -> None:
        """Raise AssertionError unless each term has had one leader at most (Election Safety, Fig. 3)."""
        for term, leaders in self.leaders_by_term().items():
            assert len(leaders) == 1, f"term {term} had the leaders {', '.join(sorted(leaders))}"

    def check_logs_match(self) -> None:
        """Raise AssertionError unless the logs agree wherever they share an index and term (Log Matching, Fig. 3)."""
        logs = {server: {entry.index: entry for entry in self.log_of(server)} for server in self.running}
        for one, ours in logs.items():
            for other, theirs in logs.items():
                both = sorted(ours.keys() & theirs.keys())  # what a snapshot has replaced is in neither (§7)
                last = max((index for index in both if ours[index].term == theirs[index].term), default=0)
                same = all(ours[index] == theirs[index] for index in both if index <= last)
                assert same, f"the logs of {one} and {other} differ before entry {last}"

    def check_same_commands_applied(self) -> int:
        """Raise AssertionError if running servers applied different entries, or in different orders (Fig. 3).

        Return how many entries all have applied: one may be behind at any moment, as a new leader's no-op is applied.
        """
        applied = {server: {entry.index: entry for entry in self.applied_by(server)} for server in self.running}
        shared = set.intersection(*(set(entries) for entries in applied.values()))  # others came with a snapshot (§7)
        first = next(iter(applied.values()))
        for server, entries in applied.items():
            same = all(entries[index] == first[index] for index in shared)
            assert same, f"{server} applied other entries than {next(iter(applied))}"
        return len(shared)

    def check_same_state(self) -> None:
        """Raise AssertionError unless all running servers, which have applied the same, hold the same keys (§2)."""
        states = {server: self.running[server].store.items for server in self.running}
        first = next(iter(states))
        for server, state in states.items():
            assert state == states[first], f"{server} holds another state than {first}"
