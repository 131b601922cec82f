"""Clients in virtual time, and the history of what they asked and heard: what linearizability is judged by (§8)."""

from __future__ import annotations

import random
from typing import Any, Optional

from raft_threads import kv
from raft_threads.client_messages import Command, CommandResult, Outcome, Query, Refusal, Register, Registered
from raft_threads.histories import History
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.network import Exchange
from raft_threads.simulation.primitives import Clock
from raft_threads.simulation.scheduler import SECOND
from raft_threads.wire import Message, encode

KEYS = ("x", "y", "z")
# How long a client waits for one server, and how long it tries one operation (virtual seconds).
ATTEMPT = 0.5
PATIENCE = 2.0
LONGEST_BACKOFF = 0.1


class Workload:
    """Some clients, each a thread that asks one thing after the other. Some share a session with another one (§8)."""

    def __init__(self, cluster: SimulatedCluster, clients: int, pause: float, dice: random.Random) -> None:
        """Start `clients`, who wait `pause` virtual seconds in the mean between two operations."""
        self.history = History()
        self.stopping = False
        self.pause = pause
        self._cluster = cluster
        self._dice = dice
        self._clients: list[SimulatedClient] = []
        self._started = 0
        for _ in range(clients):
            self._start_client()

    def _start_client(self) -> None:
        self._started += 1
        session = ClientSession()
        if self._clients and self._dice.random() < 0.3:
            session = self._dice.choice(self._clients).session
        client = SimulatedClient(
            self, self._cluster, f"client-{self._started}", session, random.Random(self._dice.random())
        )
        self._clients.append(client)
        self._cluster.scheduler.spawn(client.name, client.run)

    def kill_a_client(self) -> None:
        """Let a client die in the middle of what it does; another one, which knows nothing, takes its place."""
        client = self._dice.choice(self._clients)
        client.is_dead = True
        self._clients.remove(client)
        self._start_client()


class ClientSession:
    """What the clients that share a session know of it: its id, and which commands have no answer yet (§8)."""

    def __init__(self) -> None:
        self.client_id: Optional[int] = None
        self._newest = 0
        self._unanswered: set[int] = set()

    def next_sequence(self) -> int:
        """Return the number of a new command."""
        self._newest += 1
        self._unanswered.add(self._newest)
        return self._newest

    def first_unanswered(self) -> int:
        """Return the first number that somebody still wants an answer to."""
        return min(self._unanswered)

    def is_over(self, sequence: int) -> None:
        """Note that nobody waits for the answer to this command any more."""
        self._unanswered.discard(sequence)

    def expired(self, client_id: int) -> None:
        """Note that the session with that id is not known any more: a new one is needed."""
        if self.client_id == client_id:
            self.client_id = None


class SimulatedClient:
    """One client: asks whoever it believes to lead, and notes each question and answer."""

    def __init__(
        self, workload: Workload, cluster: SimulatedCluster, name: str, session: ClientSession, dice: random.Random
    ) -> None:
        self.name = name
        self.session = session
        self.is_dead = False
        self._workload = workload
        self._history = workload.history
        self._cluster = cluster
        self._scheduler = cluster.scheduler
        self._clock = Clock(cluster.scheduler)
        self._dice = dice
        # Whom to ask, by the kind of request: reads stay with who answered the last one, although the leader of the
        # commands is another one by now. So who was deposed without noticing is still asked.
        self._favourites: dict[type[Any], str] = {}
        self._operations = 0
        self._deadline = 0.0

    def run(self) -> None:
        """Ask until told to stop, or dead."""
        while not self._workload.stopping and not self.is_dead:
            self._clock.sleep(self._dice.expovariate(1 / self._workload.pause))
            self._ask_something()

    def _ask_something(self) -> None:
        self._operations += 1
        self._deadline = self._now() + PATIENCE
        key, fresh = self._dice.choice(KEYS), f"{self.name[7:]}.{self._operations} "
        f = self._dice.choice(["get", "get", "put", "append", "cas", "delete"])
        expected = self._dice.choice([None, fresh, self._workload_value()]) if f == "cas" else None
        value: Any = {"get": None, "delete": None, "cas": [expected, fresh]}.get(f, fresh)
        commands = {
            "get": lambda: kv.get_command(key),
            "put": lambda: kv.put_command(key, fresh),
            "append": lambda: kv.append_command(key, fresh),
            "cas": lambda: kv.cas_command(key, expected, fresh),
            "delete": lambda: kv.delete_command(key),
        }
        self._history.invoke(self.name, f, key, value, self._now())
        ask = self._dice.choice([self._read, self._execute_once]) if f == "get" else self._execute
        self._note(f, key, value, ask(commands[f]()))

    def _workload_value(self) -> str:
        """Return a value that a key may hold: one that this client wrote lately."""
        return f"{self.name[7:]}.{max(1, self._operations - self._dice.randint(1, 3))} "

    def _note(self, f: str, key: str, value: Any, result: Optional[dict[str, Any]]) -> None:
        """Record the answer. Without one, or if the client is dead, the operation may still happen."""
        if result is None or self.is_dead:
            self._history.info(self.name, f, key, value, self._now())
        elif f == "cas" and not result["swapped"]:
            self._history.fail(self.name, f, key, value, self._now())
        else:
            answer = {"get": result.get("value"), "delete": result.get("existed")}.get(f, value)
            self._history.ok(self.name, f, key, answer, self._now())

    # Each returns the store's answer; None if the command may have been executed, or be executed yet

    def _execute(self, command: bytes) -> Optional[dict[str, Any]]:
        """Send a command within a session, or now and then one without."""
        return (self._execute_plainly if self._dice.random() < 0.2 else self._execute_once)(command)

    def _execute_plainly(self, command: bytes) -> Optional[dict[str, Any]]:
        """Send a command without a session. A server that surely did not execute it is left for another one."""
        while self._has_time():
            answer = self._ask(Command(command, ATTEMPT))
            if isinstance(answer, CommandResult):
                return kv.decode_result(answer.result)
            if not isinstance(answer, Refusal) or answer.outcome is Outcome.UNKNOWN:
                return None
        return None

    def _execute_once(self, command: bytes) -> Optional[dict[str, Any]]:
        """Send a command within a session until it is answered: it is executed once, or not at all (§8)."""
        client_id = self._registered()
        if client_id is None:
            return None
        session = self.session
        sequence = session.next_sequence()
        try:
            while self._has_time():
                answer = self._ask(Command(command, ATTEMPT, client_id, sequence, session.first_unanswered()))
                if isinstance(answer, CommandResult):
                    return kv.decode_result(answer.result)
                if isinstance(answer, Refusal) and answer.outcome is Outcome.SESSION_EXPIRED:
                    session.expired(client_id)
                    return None
        finally:
            session.is_over(sequence)
        return None

    def _registered(self) -> Optional[int]:
        """Return the id of our session, after opening one if need be; None if nobody opens one in time."""
        while self.session.client_id is None and self._has_time():
            answer = self._ask(Register(ATTEMPT))
            if isinstance(answer, Registered) and self.session.client_id is None:
                self.session.client_id = answer.client_id
        return self.session.client_id

    def _read(self, query: bytes) -> Optional[dict[str, Any]]:
        """Read without the log; whoever does not answer is left for another one."""
        while self._has_time():
            answer = self._ask(Query(query, ATTEMPT))
            if isinstance(answer, CommandResult):
                return kv.decode_result(answer.result)
        return None

    def _ask(self, request: Message) -> Any:
        """Ask whoever we believe to lead; return the answer, None if there is none."""
        kind = type(request)
        server = self._favourites.pop(kind, None) or self._dice.choice(self._cluster.servers)
        exchange = Exchange(self._cluster.network, self.name, server, encode(request), request)
        answer = exchange.wait(self._clock.real_ns(ATTEMPT * 1.5))
        favourite: Optional[str] = server
        if isinstance(answer, Refusal):
            favourite = answer.leader_id
            self._clock.sleep(self._dice.random() * LONGEST_BACKOFF)
        if answer is not None and favourite is not None:
            self._favourites[kind] = favourite
        return answer

    def _has_time(self) -> bool:
        return self._now() < self._deadline and not self.is_dead

    def _now(self) -> float:
        return self._scheduler.now_ns / SECOND
