"""A cluster in virtual time, and the words to write scenarios with: elect, hold, crash, run until (§5, Fig. 6 to 8).

The servers are the same `Node` as on sockets and files. A test that uses this reads like a figure of the paper, and a
breakpoint in it stops the whole cluster, clock included.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Callable, Optional, TypeVar

from raft_threads import kv
from raft_threads.client_messages import Change, ChangeMembers, Command, CommandResult, Outcome, Refusal, ServerStatus
from raft_threads.client_service import ClientService
from raft_threads.configuration import Configuration, Member
from raft_threads.events import Event, Observer
from raft_threads.kv import KeyValueStore
from raft_threads.log import LogEntry, SnapshotMetadata
from raft_threads.node import Node
from raft_threads.options import Options
from raft_threads.peer_thread import MAX_ENTRIES_PER_MESSAGE
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown
from raft_threads.runtime import Runtime
from raft_threads.sessions import MAX_SESSIONS
from raft_threads.simulation.debuggers import known_at_every_prompt, refuse_to_wait_at_a_prompt
from raft_threads.simulation.disk import SimulatedDisk
from raft_threads.simulation.guard import guard
from raft_threads.simulation.network import Exchange, Network, Port
from raft_threads.simulation.pdb_in_threads import pdb_knows_threads
from raft_threads.simulation.policies import CALM, Policy, Tendencies
from raft_threads.simulation.primitives import Clock, Condition, Lock, SimulatedThreading
from raft_threads.simulation.reports import describe_threads
from raft_threads.simulation.run_quietly import run_quietly
from raft_threads.simulation.scheduler import SECOND, Group, Scheduler
from raft_threads.simulation.show import everything, logs
from raft_threads.simulation.stream import EventStream
from raft_threads.snapshot_transfer import MAX_CHUNK_BYTES
from raft_threads.state import Role, State
from raft_threads.surroundings import LinksCut, LinksHealed, links_between
from raft_threads.timing import Timing
from raft_threads.trace import TraceWriter
from raft_threads.wire import encode

E = TypeVar("E", bound=Event)
# Whoever is not told to time out does not. Heartbeats come as usual.
PATIENT = Timing(1000.0, 2000.0, 0.05)
# In virtual seconds: as long as nothing is stuck, everything happens in a fraction of this.
PATIENCE = 60.0


def address_of(server: str) -> str:
    """Return where a server would be, if there were any places here (§6)."""
    return f"{server}:1"


class SimulatedServer:
    """One server between start and crash."""

    def __init__(self, cluster: SimulatedCluster, server: str, boot: int) -> None:
        self.group = Group(server)
        self.store = KeyValueStore()
        scheduler = cluster.scheduler
        threading = SimulatedThreading(scheduler, cluster.clocks[server], server, self.group)
        port = Port(cluster.network, server, self.group, lambda request: clients.handle(request))
        self.node = Node(
            server,
            Configuration() if server in cluster.newcomers else cluster.bootstrap,
            transport=port,
            storage=cluster.disks[server].open(),
            state_machine=self.store,
            timing=cluster.timing,
            options=cluster.options,
            max_sessions=cluster.max_sessions,
            runtime=Runtime(threading, cluster.clocks[server], cluster.dice(f"{server} boot {boot}")),
            observers=[cluster.stream],
            max_entries_per_message=cluster.max_entries_per_message,
            max_chunk_bytes=cluster.max_chunk_bytes,
        )
        clients = ClientService(self.node, {})
        name_what_threads_wait_for(self.node)
        guard(self.node.state, self.node._monitor.lock, self.group, scheduler)


def name_what_threads_wait_for(node: Node) -> None:
    """Give lock and conditions the names that the code gives them, for reports."""
    monitor = node._monitor
    for name, thing in [*vars(monitor).items(), *vars(monitor.disk).items()]:
        if isinstance(thing, (Lock, Condition)):
            thing.name = f"{node.state.id}'s {name.lstrip('_')}"
    for peer, link in monitor.links.items():
        link.wake.name = f"{node.state.id}'s wake-up for {peer}"


class SimulatedCluster:
    """Servers in virtual time. A context manager: the calling thread becomes the simulation's `main`."""

    def __init__(
        self,
        servers: Sequence[str] = ("n1", "n2", "n3"),
        *,
        seed: object = 0,
        timing: Timing = PATIENT,
        tendencies: Tendencies = CALM,
        observers: Sequence[Observer] = (),
        trace: Optional[TraceWriter] = None,
        remember: bool = True,
        max_entries_per_message: int = MAX_ENTRIES_PER_MESSAGE,
        max_chunk_bytes: int = MAX_CHUNK_BYTES,
        bootstrap: Optional[Sequence[str]] = None,
        options: Options = Options(),
        max_sessions: int = MAX_SESSIONS,
        drifts: Optional[Mapping[str, int]] = None,
        checks: bool = True,
    ) -> None:
        """Prepare `servers`; `seed` decides all that is left to chance. `remember` keeps the events for `events`.

        `bootstrap` are those that the cluster begins with (default: all); the others wait to be added (§6). `drifts`
        tell by how many parts per thousand a server's clock is fast or slow. Without `checks` a run goes on when a
        server leaves the rules, until an observer ends it.
        """
        self.max_entries_per_message = max_entries_per_message
        self.max_chunk_bytes = max_chunk_bytes
        self.options = options
        self.max_sessions = max_sessions
        self.servers = list(servers)
        self.bootstrap = Configuration(
            tuple(Member(server, address_of(server)) for server in (servers if bootstrap is None else bootstrap))
        )
        self.seed = seed
        self.timing = timing
        # Who is started without a configuration, to be added (§6).
        self.newcomers = set(self.servers) - set(self.bootstrap.servers)
        self.scheduler = Scheduler(Policy(tendencies, self.dice("schedule")))
        self.scheduler.seed = seed
        self.scheduler.describe = lambda problem: describe_threads(self.scheduler, problem)
        self.network = Network(self.scheduler, self.servers, self.dice("network"))
        self.disks = {each: SimulatedDisk(self.scheduler, each, self.dice(f"disk of {each}")) for each in servers}
        self.clocks = {each: Clock(self.scheduler, drift=(drifts or {}).get(each, 0)) for each in servers}
        self.running: dict[str, SimulatedServer] = {}
        self.stream = EventStream(self, observers, trace, remember, checks)
        self.network.tell = self.stream.tell_fate
        self.network.tell_of_hold = self.stream.wake_main
        self.scheduler.tell_of_stall = self.stream.tell_of_stall
        self._main_clock = Clock(self.scheduler)
        self._boots = 0
        self._preparations = ExitStack()

    def dice(self, purpose: str) -> random.Random:
        """Return random numbers for one purpose, which no other use of chance disturbs. Text seeds alike everywhere."""
        return random.Random(f"{self.seed} {purpose}")

    def __enter__(self) -> SimulatedCluster:
        self._preparations.enter_context(run_quietly())
        self._preparations.enter_context(pdb_knows_threads(self.scheduler))
        self._preparations.enter_context(known_at_every_prompt(self))
        for server in self.servers:
            self.restart(server)
        return self

    def __exit__(self, *details: Any) -> None:
        try:
            self.scheduler.close()
        finally:
            self._preparations.close()

    # Time

    @property
    def now(self) -> float:
        """The virtual time in seconds."""
        return self.scheduler.now_ns / SECOND

    def run_for(self, seconds: float) -> None:
        """Let the cluster run for so much virtual time.

        An answer to `propose` or `begin_change`, which nobody waits for, may wake main before that.
        """
        end_ns = self.scheduler.now_ns + self._main_clock.real_ns(seconds)
        while self.scheduler.now_ns < end_ns:
            self.scheduler.park(f"{seconds:g} s to go by", end_ns - self.scheduler.now_ns)

    def run_until(self, holds: Callable[[], Any], what: str, timeout: float = PATIENCE) -> None:
        """Let the cluster run until `holds()`; it is asked now, after each event, and when a message is held.

        Raises TimeoutError, naming `what`, when it does not within `timeout` virtual seconds.
        """
        deadline = self.now + timeout
        while not holds():
            if self.now >= deadline:
                raise TimeoutError(f"not within {timeout:g} s: {what}\n{self.picture()}")
            refuse_to_wait_at_a_prompt(what)
            self.stream.wake_main_at_next_event = True
            self.scheduler.park(f"this: {what}", self._main_clock.real_ns(deadline - self.now))
        self.stream.wake_main_at_next_event = False

    def run_until_event(self, kind: type[E], matches: Callable[[E], bool] = lambda event: True, since: int = 0) -> E:
        """Let the cluster run until there is an event of `kind` that `matches`, from position `since` on; return it."""
        found: list[E] = []

        def happened() -> bool:
            found[:] = [event for event in self.stream.events(kind, since=since) if matches(event)][:1]
            return bool(found)

        self.run_until(happened, f"a {kind.__name__} that fits")
        return found[0]

    def run_until_log(self, server: str, terms: Sequence[int]) -> None:
        """Let the cluster run until the log of `server` has these `terms`, as the figures write it, also on disk."""
        self.run_until(
            lambda: self.terms_of(server) == list(terms) and self.state(server).is_saved(),
            f"the log of {server} becomes {list(terms)}",
        )

    # Servers

    def crash(self, server: str, bytes_written: Optional[int] = None) -> None:
        """Crash a server: all its threads end where they are, and what its disk had not synced is lost (§5.5).

        Of the entries that its disk was writing the first `bytes_written` bytes are there; None leaves that to chance.
        """
        refuse_to_wait_at_a_prompt(f"the crash of {server}")
        boot = self.running.pop(server)
        self.network.ports.pop(server, None)
        self.disks[server].crash(bytes_written)
        self.stream.crashed(server)
        self.scheduler.kill(boot.group)

    def crash_after(self, kind: type[E], matches: Callable[[E], bool] = lambda event: True) -> None:
        """Crash a server right after its next event of `kind` that `matches`, before it takes another step."""

        def fits(event: Event) -> bool:
            return isinstance(event, kind) and matches(event)

        self.stream.reactions.append((fits, lambda event: self.crash(event.server)))

    def restart(self, server: str) -> None:
        """Start a server from what its disk holds (§5.5)."""
        self._boots += 1
        boot = SimulatedServer(self, server, self._boots)
        self.running[server] = boot
        # A thread of the server itself starts it, so that it may crash meanwhile.
        self.scheduler.spawn(f"{server}/starter", boot.node.start, boot.group)

    def join(self, server: str) -> None:
        """Start a new server that waits to be added to the cluster (§6)."""
        self.servers.append(server)
        self.newcomers.add(server)
        self.disks[server] = SimulatedDisk(self.scheduler, server, self.dice(f"disk of {server}"))
        self.clocks[server] = Clock(self.scheduler)
        self.restart(server)
        self.run_until(lambda: self.stream.is_up(server), f"{server} is up")

    def wipe(self, server: str) -> None:
        """Lose all that a server that is down has on disk. It must have been removed, and is a new one then (§6)."""
        self.stream.wiped(server)
        self.newcomers.add(server)
        self.disks[server] = SimulatedDisk(self.scheduler, server, self.dice(f"another disk of {server}"))

    def node(self, server: str) -> Node:
        """Return the node of a running server."""
        return self.running[server].node

    def time_out(self, server: str) -> None:
        """Have the election timeout of `server` elapse now (§5.2)."""
        self.node(server).expire_election_timer()

    def elect(self, server: str) -> str:
        """Have `server` time out until it leads; return its id. Its log must be good enough (§5.4.1)."""
        self.run_until(lambda: server in self.running and self.stream.is_up(server), f"{server} is up")
        for _ in range(20):
            if self.state(server).role is Role.LEADER:
                return server
            self.time_out(server)
            # It may not win, or a leader's message may come at that very moment and restart the timer.
            with suppress(TimeoutError):
                self.run_until(lambda: self.state(server).role is Role.LEADER, "elected", timeout=1.0)
        raise TimeoutError(f"{server} was not elected; is its log as up-to-date as the others'?\n{self.picture()}")

    # Network

    def partition(self, *groups: Iterable[str]) -> None:
        """Cut the network into `groups`."""
        self.cut_one_way(links_between(groups))

    def cut_one_way(self, links: Iterable[tuple[str, str]]) -> None:
        """Cut `links`, each a sender and a receiver, in that direction only."""
        cut = tuple(links)
        for sender, receiver in cut:
            self.network.cut_one_way(sender, receiver)
        self.stream.tell(LinksCut(self.now, cut))

    def isolate(self, server: str) -> None:
        """Cut all links of `server`."""
        self.partition([server], [other for other in self.servers if other != server])

    def connect_only(self, *group: str) -> None:
        """Let messages pass between the servers of `group`, and cut all other links."""
        self.heal()
        self.partition(group, *([server] for server in self.servers if server not in group))

    def heal(self) -> None:
        """Repair the network."""
        if self.network.cut_links():
            self.stream.tell(LinksHealed(self.now, tuple(self.network.cut_links())))
            self.network.heal()

    # Clients

    def execute(self, command: bytes, via: Optional[str] = None, timeout: float = PATIENCE) -> dict[str, Any]:
        """Have `command` applied by the leader, or propose it to `via`; return its result. Raises as Node.propose."""
        server = self.wait_for_leader() if via is None else via
        request = Command(command, timeout)
        exchange = Exchange(self.network, "main", server, encode(request), request)
        answer = exchange.wait(self._main_clock.real_ns(timeout + 1))
        if isinstance(answer, CommandResult):
            return kv.decode_result(answer.result)
        if isinstance(answer, Refusal) and answer.outcome is Outcome.NOT_LEADER:
            raise NotLeader(answer.leader_id)
        if isinstance(answer, Refusal) and answer.outcome is Outcome.FAILED:
            raise CommandFailed(answer.message)
        raise OutcomeUnknown(answer.message if isinstance(answer, Refusal) else f"{server} does not answer")

    def put(self, key: str, value: str, via: Optional[str] = None) -> None:
        """Set a key, and wait until that is done."""
        self.execute(kv.put_command(key, value), via)

    def get(self, key: str, via: Optional[str] = None) -> Optional[str]:
        """Read a key, through the log."""
        value: Optional[str] = self.execute(kv.get_command(key), via)["value"]
        return value

    def propose(self, command: bytes, via: str) -> None:
        """Give `via` a command and do not wait for what becomes of it; return when its log holds it."""
        last_index = self.state(via).log.last_index
        request = Command(command, PATIENCE)
        Exchange(self.network, "main", via, encode(request), request)
        self.run_until(lambda: self.state(via).log.last_index > last_index, f"{via} appends a command")

    def read(self, key: str, via: Optional[str] = None, timeout: float = PATIENCE) -> Optional[str]:
        """Read a key without writing to the log (§8). Raises as Node.read."""
        server = self.wait_for_leader() if via is None else via
        value: Optional[str] = kv.decode_result(self.node(server).read(kv.get_command(key), timeout))["value"]
        return value

    # Operators

    def change_members(self, *servers: str, timeout: float = PATIENCE) -> Configuration:
        """Have the leader change the cluster to `servers`, and wait until that is done (§6). Raises as Node does."""
        members = tuple(Member(server, address_of(server)) for server in servers)
        return self.node(self.wait_for_leader()).change_members(members, timeout)

    def begin_change(self, *servers: str, via: str) -> None:
        """Have `via` begin to change the cluster, and do not wait for what becomes of it (§6)."""
        members = tuple(f"{server}={address_of(server)}" for server in servers)
        request = ChangeMembers(Change.SET, members, PATIENCE)
        Exchange(self.network, "operator", via, encode(request), request)

    def take_snapshot(self, server: str) -> SnapshotMetadata:
        """Have a server compact its log, and wait until the snapshot is durable (§7)."""
        return self.node(server).take_snapshot(PATIENCE)

    def transfer(self, target: Optional[str] = None) -> str:
        """Have the leader hand over to `target`, and return to whom once it does not lead any more (Diss. §3.10)."""
        return self.node(self.wait_for_leader()).transfer_leadership(target, PATIENCE)

    # Waiting

    def wait_for_leader(self, among: Optional[Iterable[str]] = None) -> str:
        """Return the leader of the newest term among the servers `among` (default: all), once there is one."""
        names = [server for server in self.servers if among is None or server in set(among)]
        found: list[str] = []

        def there_is_one() -> bool:
            members = self.members()
            states = [self.state(server) for server in names if server in self.running and server in members]
            newest = max((state.current_term for state in states), default=0)
            found[:] = [each.id for each in states if each.role is Role.LEADER and each.current_term == newest]
            return bool(found)

        self.run_until(there_is_one, "a leader is elected")
        return found[0]

    def members(self) -> Sequence[str]:
        """Return the servers of the cluster as it is now, by the most up-to-date log of all that run (§6, §5.4.1).

        Who was removed may be in any term, and does not count.
        """
        logs = [self.state(server).log for server in self.running]
        return max(logs, key=lambda log: (log.last_term, log.last_index)).configuration.servers if logs else ()

    def wait_until_applied_everywhere(self, servers: Optional[Iterable[str]] = None) -> None:
        """Let the cluster run until `servers` (default: all that run) have applied all that the leader's log holds."""
        names = list(self.running if servers is None else servers)
        leader = self.wait_for_leader(names)
        last_index = self.state(leader).log.last_index
        self.run_until(
            lambda: all(self.state(name).last_applied >= last_index for name in names),
            f"{', '.join(names)} apply entry {last_index}",
        )

    # Looking: nobody else runs meanwhile, so no lock is needed, and nothing moves

    def state(self, server: str) -> State:
        """Return the state of a running server, as it is at this moment."""
        return self.node(server).state

    def statuses(self) -> list[ServerStatus]:
        """Return how the running servers are, in order."""
        return [self.node(server).present_status for server in self.servers if server in self.running]

    def log_of(self, server: str) -> list[LogEntry]:
        """Return the log of a server; of one that is down, what its disk holds."""
        return self.state(server).log.all_entries() if server in self.running else self.disks[server].entries()

    def terms_of(self, server: str) -> list[int]:
        """Return the terms in the log of a server, up or down, as Fig. 6 to 8 write them."""
        return [entry.term for entry in self.log_of(server)]

    def picture(self) -> str:
        """Return all logs, drawn as in Fig. 6 to 8; of a server that is down, what its disk holds."""
        return "\n".join(logs(self))

    def show(self) -> None:
        """Print all logs, all other state, what each thread does, and the messages under way: for a breakpoint."""
        print("\n".join(everything(self)))
