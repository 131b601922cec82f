"""A client of the replicated key-value store (§5.1, §8): finds the leader, retries, and says what is known.

A command without an answer is the hard case: it may be in the leader's log. Sending it again could execute it twice,
so the client does that only with reads, and tells the caller of everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Optional

from raft_threads import kv
from raft_threads.addresses import Address, parse_address
from raft_threads.client_messages import (
    Command,
    CommandResult,
    ErrorReply,
    Hello,
    Outcome,
    Refusal,
    ServerStatus,
    StatusRequest,
)
from raft_threads.connection import CannotConnect, Connection, ConnectionLost
from raft_threads.entry_format import MAX_COMMAND_BYTES
from raft_threads.runtime import Runtime

CONNECT_TIMEOUT = 1.0
# A server that does not answer a read in this time is left for another one: reads may be repeated.
READ_ATTEMPT_TIMEOUT = 1.0
# How much longer than the server we wait, so that its own "time is up" still reaches us.
GRACE = 0.25
FIRST_BACKOFF = 0.02
LONGEST_BACKOFF = 0.5


class ClientError(Exception):
    """A command has no result. The text says why in one line."""


class SurelyFailed(ClientError):
    """The command was not executed and never will be; it may be tried again."""


class MayHaveHappened(ClientError):
    """The command may have been executed, or may be later, or never. Read before trying again."""


@dataclass(frozen=True)
class ServerReport:
    """What `status` says of one server; the fields of a server that does not answer are None."""

    id: str
    address: str
    reachable: bool
    role: Optional[str] = None
    term: Optional[int] = None
    leader: Optional[str] = None
    commit_index: Optional[int] = None
    last_applied: Optional[int] = None
    last_log_index: Optional[int] = None


class Client:
    """Talks to the cluster. Used by one thread at a time; a context manager.

    All operations take `timeout` seconds at most, apart from fractions, and raise SurelyFailed or MayHaveHappened.
    Keys and values are text; ValueError for text that is not valid Unicode or more than 2 MiB long.
    """

    def __init__(
        self,
        cluster: Mapping[str, Address],
        *,
        cluster_name: str = "raft",
        timeout: float = 5.0,
        runtime: Runtime = Runtime(),
    ) -> None:
        """Make a client of the servers in `cluster`. Connects only when there is something to ask."""
        self._cluster = dict(cluster)
        self._hello = Hello(cluster_name)
        self._timeout = timeout
        self._time = runtime.time
        self._random = runtime.random
        self._connection: Optional[Connection] = None
        # Whom to ask next, when nobody has told us of a leader. Clients begin with different servers (§8).
        self._round = list(self._cluster.values())
        self._position = int(self._random.random() * len(self._round))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def put(self, key: str, value: str) -> None:
        """Set `key` to `value`."""
        self.execute(kv.put_command(key, value))

    def get(self, key: str) -> Optional[str]:
        """Return the value of `key`, None if there is none."""
        value: Optional[str] = self.execute(kv.get_command(key), is_read=True)["value"]
        return value

    def delete(self, key: str) -> bool:
        """Remove `key`; return whether it was there."""
        return bool(self.execute(kv.delete_command(key))["existed"])

    def append(self, key: str, value: str) -> None:
        """Append `value` to the value of `key`, which is empty if there is none."""
        self.execute(kv.append_command(key, value))

    def cas(self, key: str, expected: Optional[str], new: str) -> bool:
        """Set `key` to `new` if it holds `expected` (None: if there is no such key); return whether it did."""
        return bool(self.execute(kv.cas_command(key, expected, new))["swapped"])

    def execute(self, command: bytes, is_read: bool = False) -> dict[str, Any]:
        """Have `command` executed by the cluster's leader, and return its result.

        A command that surely was not executed is sent again until the time is up; one that may have been is sent
        again only if it `is_read`.
        """
        if len(command) > MAX_COMMAND_BYTES:
            raise ValueError(f"a command has at most {MAX_COMMAND_BYTES} bytes, this one {len(command)}")
        deadline = self._time.monotonic() + self._timeout
        target: Optional[Address] = None
        failures = 0
        while True:
            try:
                return self._attempt(command, is_read, target, deadline)
            except _AskAnother as reason:
                target = reason.hint
                failures += 1
                self._give_up_or_back_off(failures, deadline, reason)

    def status(self) -> list[ServerReport]:
        """Ask every server how it is, all at once."""
        with ThreadPoolExecutor(max_workers=len(self._cluster)) as pool:
            return list(pool.map(self._report, self._cluster.items()))

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _attempt(
        self, command: bytes, is_read: bool, target: Optional[Address], deadline: float
    ) -> dict[str, Any]:
        """Ask one server. Raises _AskAnother when it is safe to ask again."""
        connection = self._connect(target, deadline)
        patience = max(0.01, deadline - self._time.monotonic())
        if is_read:
            patience = min(patience, READ_ATTEMPT_TIMEOUT)
        try:
            answer = connection.exchange(Command(command, patience), patience + GRACE)
        except ConnectionLost as error:
            self.close()
            raise _doubt(f"the server did not answer any more: {error}", is_read) from error
        if isinstance(answer, CommandResult):
            return _checked_result(answer)
        self.close()
        if isinstance(answer, Refusal):
            raise self._consequence(answer, is_read)
        if isinstance(answer, ErrorReply):
            raise SurelyFailed(answer.message)
        raise _doubt("the server answered nonsense", is_read)

    def _connect(self, target: Optional[Address], deadline: float) -> Connection:
        """Return the connection to `target`, or to whoever answered last, or to the next server in turn."""
        if self._connection is not None and self._connection.is_open():
            return self._connection
        self.close()
        if target is None:
            target = self._round[self._position]
            self._position = (self._position + 1) % len(self._round)
        timeout = max(0.01, min(CONNECT_TIMEOUT, deadline - self._time.monotonic()))
        try:
            connection = Connection(target, timeout)
            connection.introduce(self._hello, timeout)
        except CannotConnect as error:
            raise _AskAnother(str(error)) from error
        self._connection = connection
        return connection

    def _consequence(self, refusal: Refusal, is_read: bool) -> Exception:
        """Return what to raise after a refusal: whether the command is lost, in doubt, or can be sent again (§8)."""
        if refusal.outcome is Outcome.UNKNOWN:
            return _doubt(refusal.message, is_read)
        return _AskAnother(refusal.message, self._address_of(refusal))

    def _address_of(self, refusal: Refusal) -> Optional[Address]:
        """Return where the leader is, as we know it or as the server says."""
        if refusal.leader_id in self._cluster:
            return self._cluster[refusal.leader_id]
        try:
            return parse_address(refusal.leader_address) if refusal.leader_address else None
        except ValueError:
            return None

    def _give_up_or_back_off(self, failures: int, deadline: float, reason: Exception) -> None:
        """Wait before the next round of questions, longer each time, and not in step with other clients."""
        rounds, place_in_round = divmod(failures, len(self._round))
        pause = 0.0
        if place_in_round == 0 and rounds > 0:
            pause = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(rounds, 10)) * (0.5 + self._random.random() / 2)
        if self._time.monotonic() + pause >= deadline:
            raise SurelyFailed(f"no leader took the command within {self._timeout:g} s; last answer: {reason}")
        self._time.sleep(pause)

    def _report(self, server: Any) -> ServerReport:
        name, address = server
        timeout = min(CONNECT_TIMEOUT, self._timeout)
        try:
            connection = Connection(address, timeout)
            try:
                connection.introduce(self._hello, timeout)
                status = connection.exchange(StatusRequest(), timeout)
            finally:
                connection.close()
        except (CannotConnect, ConnectionLost):
            return ServerReport(name, str(address), reachable=False)
        if not isinstance(status, ServerStatus):
            return ServerReport(name, str(address), reachable=False)
        values = {**vars(status), "id": name}
        return ServerReport(address=str(address), reachable=True, **values)


class _AskAnother(Exception):
    """The command was surely not executed, or is a read: ask again, the server at `hint` if it is known."""

    def __init__(self, reason: str, hint: Optional[Address] = None) -> None:
        super().__init__(reason)
        self.hint = hint


def _doubt(reason: str, is_read: bool) -> Exception:
    """Return what to raise when nobody knows whether a command was executed: a read may be sent again all the same."""
    return _AskAnother(reason) if is_read else MayHaveHappened(reason)


def _checked_result(answer: CommandResult) -> dict[str, Any]:
    """Return a result. Raises SurelyFailed if the state machine did not understand, MayHaveHappened if we do not."""
    try:
        result = kv.decode_result(answer.result)
    except ValueError as error:
        raise MayHaveHappened("the server's result makes no sense") from error
    if not result.get("ok"):
        raise SurelyFailed(str(result.get("error", "the store refused the command")))
    return result
