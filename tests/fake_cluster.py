"""Servers on real sockets that share one log and one store, and lose, refuse or forget what the test says (§8)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Callable, Optional

from raw_sockets import Listening

from raft_threads import kv
from raft_threads.addresses import Address
from raft_threads.client import Client
from raft_threads.client_messages import Command, CommandResult, Outcome, Query, Refusal, Register, Registered
from raft_threads.kv import KeyValueStore
from raft_threads.log import COMMAND, REGISTER, SESSION_COMMAND, LogEntry
from raft_threads.runtime import Runtime
from raft_threads.sessions import MAX_SESSIONS, Sessions, session_command
from raft_threads.wire import ConnectionEnded, Message

LONG = 20.0


class FirstThrow:
    """A `random` by which clients begin with the first server."""

    def random(self) -> float:
        """Return the smallest throw."""
        return 0.0


def client_of(*addresses: Address, timeout: float = LONG, sessions: bool = True) -> Client:
    """Return a client of n1, n2 and so on, that begins with the first of `addresses`."""
    servers = {f"n{number}": address for number, address in enumerate(addresses, 1)}
    return Client(servers, timeout=timeout, sessions=sessions, runtime=Runtime(random=FirstThrow()))


def ok(**fields: object) -> CommandResult:
    """Return a result of the store."""
    return CommandResult(kv._encode({"ok": True, **fields}))


class SharedLog:
    """What a cluster agrees on, without the servers that do: every entry is committed and applied at once."""

    def __init__(self, max_sessions: int = MAX_SESSIONS) -> None:
        self.store = KeyValueStore()
        self.entries: list[LogEntry] = []
        self._sessions = Sessions(self.store, max_sessions)
        self._lock = threading.Lock()

    def carry_out(self, request: Message) -> Message:
        """Do what a leader does with a request of a client."""
        with self._lock:
            if isinstance(request, Query):
                return CommandResult(self.store.query(request.query))
            if isinstance(request, Register):
                return Registered(self._append(REGISTER, b"")[0])
            assert isinstance(request, Command)
            if request.client_id is None or request.sequence is None or request.first_unanswered is None:
                result = self._append(COMMAND, request.command)[1]
            else:
                numbers = request.client_id, request.sequence, request.first_unanswered
                result = self._append(SESSION_COMMAND, session_command(*numbers, request.command))[1]
            return Refusal(Outcome.SESSION_EXPIRED, "who are you?") if result is None else CommandResult(result)

    def _append(self, kind: str, body: bytes) -> tuple[int, Optional[bytes]]:
        entry = LogEntry(len(self.entries) + 1, 1, kind, body)
        self.entries.append(entry)
        return entry.index, self._sessions.apply(entry)


# What a server does with one request, given what a sound leader would do with it.
Behaviour = Callable[[Message, Callable[[Message], Message]], Message]


def lead(request: Message, carry_out: Callable[[Message], Message]) -> Message:
    """Be a sound leader."""
    return carry_out(request)


def lose_the_answer(request: Message, carry_out: Callable[[Message], Message]) -> Message:
    """Carry a request out, and crash before the client hears of it (§8)."""
    carry_out(request)
    raise ConnectionEnded()


def lose_the_request(request: Message, carry_out: Callable[[Message], Message]) -> Message:
    """Crash before anything is done. The client cannot tell it from a lost answer."""
    raise ConnectionEnded()


def do_not_know(request: Message, carry_out: Callable[[Message], Message]) -> Message:
    """Carry a request out, after its client's time was up."""
    carry_out(request)
    return Refusal(Outcome.UNKNOWN, "the command was not committed within 1 s")


def answer(message: Message) -> Behaviour:
    """Answer without doing anything."""
    return lambda request, carry_out: message


NOT_LEADER = Refusal(Outcome.NOT_LEADER, "this server is not the leader")
do_not_lead = answer(NOT_LEADER)
EXPIRED = Refusal(Outcome.SESSION_EXPIRED, "the client's session is not known any more")


class FakeServer(Listening):
    """A server that does with each request what the next of `script` says, and the last one for ever.

    What opens a session has a script of its own, `register`.
    """

    def __init__(
        self,
        log: SharedLog,
        *script: Behaviour,
        register: Sequence[Behaviour] = (lead,),
        address: Optional[Address] = None,
    ) -> None:
        self.asked: list[Message] = []
        self.script = list(script) or [lead]
        self._log = log
        self._register = list(register)
        super().__init__(self._handle, address)

    def _handle(self, sender: Optional[str], request: Message) -> Message:
        self.asked.append(request)
        script = self._register if isinstance(request, Register) else self.script
        behave = script.pop(0) if len(script) > 1 else script[0]
        return behave(request, self._log.carry_out)

    @property
    def commands(self) -> list[Command]:
        """The commands that were sent here."""
        return [request for request in self.asked if isinstance(request, Command)]
