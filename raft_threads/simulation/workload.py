"""Clients in virtual time, and the history of what they asked and heard: what linearizability is judged by (§8)."""

from __future__ import annotations

import random
from typing import Any, Optional

from raft_threads import kv
from raft_threads.client_messages import Command, CommandResult, Outcome, Refusal
from raft_threads.histories import History
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.network import Exchange
from raft_threads.simulation.primitives import Clock
from raft_threads.simulation.scheduler import SECOND
from raft_threads.wire import encode

KEYS = ("x", "y", "z")
# How long a client waits for one server, and how long it tries one operation (virtual seconds).
ATTEMPT = 0.5
PATIENCE = 2.0
LONGEST_BACKOFF = 0.1


class Workload:
    """Some clients, each a thread that asks one thing after the other."""

    def __init__(self, cluster: SimulatedCluster, clients: int, pause: float, dice: random.Random) -> None:
        """Start `clients`, who wait `pause` virtual seconds in the mean between two operations."""
        self.history = History()
        self.stopping = False
        self.pause = pause
        self._cluster = cluster
        for number in range(1, clients + 1):
            client = SimulatedClient(self, cluster, f"client-{number}", random.Random(dice.random()))
            cluster.scheduler.spawn(client.name, client.run)


class SimulatedClient:
    """One client: asks whoever it believes to lead, and notes each question and answer."""

    def __init__(self, workload: Workload, cluster: SimulatedCluster, name: str, dice: random.Random) -> None:
        self.name = name
        self._workload = workload
        self._history = workload.history
        self._cluster = cluster
        self._scheduler = cluster.scheduler
        self._clock = Clock(cluster.scheduler)
        self._dice = dice
        self._leader: Optional[str] = None
        self._operations = 0

    def run(self) -> None:
        """Ask until told to stop."""
        while not self._workload.stopping:
            self._clock.sleep(self._dice.expovariate(1 / self._workload.pause))
            self._ask_something()

    def _ask_something(self) -> None:
        self._operations += 1
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
        self._note(f, key, value, self._execute(commands[f]()))

    def _workload_value(self) -> str:
        """Return a value that a key may hold: one that this client wrote lately."""
        return f"{self.name[7:]}.{max(1, self._operations - self._dice.randint(1, 3))} "

    def _note(self, f: str, key: str, value: Any, result: Optional[dict[str, Any]]) -> None:
        """Record the answer. Without one, the operation may still happen."""
        if result is None:
            self._history.info(self.name, f, key, value, self._now())
        elif f == "cas" and not result["swapped"]:
            self._history.fail(self.name, f, key, value, self._now())
        else:
            answer = {"get": result.get("value"), "delete": result.get("existed")}.get(f, value)
            self._history.ok(self.name, f, key, answer, self._now())

    def _execute(self, command: bytes) -> Optional[dict[str, Any]]:
        """Return the store's answer; None if the command may have been executed, or be executed yet.

        A server that surely did not execute it is left for another one.
        """
        deadline = self._now() + PATIENCE
        while self._now() < deadline:
            server = self._leader or self._dice.choice(self._cluster.servers)
            request = Command(command, ATTEMPT)
            exchange = Exchange(self._cluster.network, self.name, server, encode(request), request)
            answer = exchange.wait(self._clock.real_ns(ATTEMPT * 1.5))
            self._leader = None
            if isinstance(answer, CommandResult):
                self._leader = server
                return kv.decode_result(answer.result)
            if not isinstance(answer, Refusal) or answer.outcome is Outcome.UNKNOWN:
                return None
            self._leader = answer.leader_id
            self._clock.sleep(self._dice.random() * LONGEST_BACKOFF)
        return None

    def _now(self) -> float:
        return self._scheduler.now_ns / SECOND
