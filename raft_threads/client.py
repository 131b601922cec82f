"""A client of the replicated key-value store (§5.1, §8): finds the leader, retries, and says what is known.

A command without an answer is the hard case: it may be in the leader's log. Within a session it can be sent again all the
same, as the servers execute it once. Only when no server answers in time does the caller have to live with not knowing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, Optional, TypeVar

from raft_threads import kv
from raft_threads.addresses import Address, parse_address
from raft_threads.client_connections import LeaderConnections
from raft_threads.client_messages import (
    Change,
    ChangeMembers,
    Command,
    CommandResult,
    Done,
    ErrorReply,
    Hello,
    MembersReply,
    MembersRequest,
    Outcome,
    Query,
    Refusal,
    Register,
    Registered,
    TransferLeadership,
)
from raft_threads.client_session import ClientSession
from raft_threads.connection import CannotConnect, Connection, ConnectionLost
from raft_threads.entry_format import MAX_COMMAND_BYTES
from raft_threads.runtime import Runtime
from raft_threads.server_reports import ServerReport, ask_all_servers
from raft_threads.wire import Message

CONNECT_TIMEOUT = 1.0
# A server that does not answer in this time what may be asked again is left for another one.
ATTEMPT_TIMEOUT = 1.0
# How much longer than the server we wait, so that its own "time is up" still reaches us.
GRACE = 0.25
FIRST_BACKOFF = 0.02
LONGEST_BACKOFF = 0.5

M = TypeVar("M")
# Makes the request, given for how many seconds the server may work on it.
MakeRequest = Callable[[float], Message]


class ClientError(Exception):
    """A command has no result. The text says why in one line."""


class SurelyFailed(ClientError):
    """The command was not executed and never will be; it may be tried again."""


class MayHaveHappened(ClientError):
    """The command may have been executed, or may be later, or never. Read before trying again."""


class Client:
    """Talks to the cluster. Threads may share it: each may have a command under way. A context manager.

    All operations take `timeout` seconds at most, apart from fractions, and raise SurelyFailed or MayHaveHappened.
    Keys and values are text; ValueError for text that is not valid Unicode or more than 2 MiB long.
    """

    def __init__(
        self,
        cluster: Mapping[str, Address],
        *,
        cluster_name: str = "raft",
        timeout: float = 5.0,
        sessions: bool = True,
        runtime: Runtime = Runtime(),
    ) -> None:
        """Make a client of the servers in `cluster`. Connects only when there is something to ask.

        Without `sessions` a command that is in doubt is not sent again, and what is sent twice is executed twice (§8).
        """
        self._cluster = dict(cluster)
        self._hello = Hello(cluster_name)
        self._timeout = timeout
        self._time = runtime.time
        self._random = runtime.random
        self._connections = LeaderConnections(self._cluster.values(), self._hello, runtime)
        self._session = ClientSession(runtime) if sessions else None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def put(self, key: str, value: str) -> None:
        """Set `key` to `value`."""
        self.execute(kv.put_command(key, value))

    def get(self, key: str) -> Optional[str]:
        """Return the value of `key`, None if there is none. Writes nothing to the log, and is never stale (§8)."""
        value: Optional[str] = self.query(kv.get_command(key))["value"]
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

    def increment(self, key: str, by: int = 1) -> int:
        """Add `by` to the whole number that `key` holds, 0 if there is none; return the sum."""
        return int(self.execute(kv.increment_command(key, by))["value"])

    # Operators (§6; Diss. §3.10)

    def members(self) -> MembersReply:
        """Return which servers the cluster has, as the leader knows it."""
        return self._ask(MembersReply, lambda patience: MembersRequest(), repeatable=True)

    def change_members(self, change: Change, members: tuple[str, ...]) -> MembersReply:
        """Add or set servers, each `id=host:port`, or remove those with the ids `members`; return the new ones."""
        return self._ask(MembersReply, lambda patience: ChangeMembers(change, members, patience), final=True)

    def transfer(self, target: Optional[str] = None) -> str:
        """Have the leader hand over to `target`, or to whom it likes; return what it says."""
        return self._ask(Done, lambda patience: TransferLeadership(target, patience), final=True).message

    def status(self) -> list[ServerReport]:
        """Ask every server how it is, all at once."""
        return ask_all_servers(self._cluster, self._hello, min(CONNECT_TIMEOUT, self._timeout))

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    # Commands and reads

    def execute(self, command: bytes) -> dict[str, Any]:
        """Have `command` executed by the cluster, and return its result. In a session it is executed once (§8)."""
        check_size(command)
        if self._session is None:
            return _checked_result(self._ask(CommandResult, lambda patience: Command(command, patience)))
        return self._execute_once(self._session, command)

    def query(self, query: bytes) -> dict[str, Any]:
        """Have `query` answered by the leader, without writing to the log (§8). It is asked again when in doubt."""
        check_size(query)
        return _checked_result(self._ask(CommandResult, lambda patience: Query(query, patience), repeatable=True))

    def _execute_once(self, session: ClientSession, command: bytes) -> dict[str, Any]:
        """Send a command until it is answered, under one number. A session that has expired is replaced by a new one,
        if the command was surely not executed in the old one.
        """
        deadline = self._time.monotonic() + self._timeout
        try:
            with session.command(deadline) as sequence:
                while True:
                    client_id = session.client_id(lambda: self._register(deadline))
                    try:
                        return _checked_result(self._ask(
                            CommandResult,
                            lambda patience: Command(
                                command, patience, client_id, sequence, session.first_unanswered()
                            ),
                            repeatable=True,
                            deadline=deadline,
                        ))
                    except _SessionExpired as expired:
                        session.expired(client_id)
                        if expired.doubt is not None:
                            raise MayHaveHappened(
                                f"the session has expired, and an earlier attempt is in doubt: {expired.doubt}"
                            ) from expired
        except TimeoutError as error:
            raise SurelyFailed(str(error)) from error

    def _register(self, deadline: float) -> int:
        """Open a session (§8). It does no harm to open one too many."""
        try:
            return self._ask(Registered, lambda patience: Register(patience), True, deadline=deadline).client_id
        except MayHaveHappened as error:
            raise SurelyFailed(f"no session could be opened: {error}") from error

    # Asking the leader

    def _ask(
        self,
        kind: type[M],
        make: MakeRequest,
        repeatable: bool = False,
        final: bool = False,
        deadline: Optional[float] = None,
    ) -> M:
        """Return the leader's answer, which is of `kind`.

        A request that surely came to nothing is sent again until `deadline` (monotonic seconds); one that is in doubt
        only if it is `repeatable`. If refusals are `final`, a leader's no is the answer.
        """
        deadline = self._time.monotonic() + self._timeout if deadline is None else deadline
        doubt: Optional[str] = None
        hint: Optional[Address] = None
        failures = 0
        while True:
            try:
                return self._attempt(kind, make, hint, deadline, repeatable)
            except _NotDone as reason:
                if final and reason.by_leader:
                    raise SurelyFailed(str(reason)) from reason
                hint, problem = reason.hint, str(reason)
            except _InDoubt as reason:
                if not repeatable:
                    raise MayHaveHappened(str(reason)) from reason
                hint, doubt, problem = None, str(reason), str(reason)
            except _SessionExpired as expired:
                expired.doubt = doubt
                raise
            failures += 1
            self._give_up_or_back_off(failures, deadline, problem, doubt)

    def _attempt(
        self, kind: type[M], make: MakeRequest, hint: Optional[Address], deadline: float, repeatable: bool
    ) -> M:
        """Ask one server. Raises _NotDone, _InDoubt or _SessionExpired when there is no answer."""
        remaining = max(0.01, deadline - self._time.monotonic())
        try:
            address, connection = self._connections.take(hint, min(CONNECT_TIMEOUT, remaining))
        except CannotConnect as error:
            if hint is None:
                self._connections.forget_leader()
            raise _NotDone(str(error)) from error
        patience = max(0.01, deadline - self._time.monotonic())
        if repeatable:
            patience = min(patience, ATTEMPT_TIMEOUT)
        try:
            answer = connection.exchange(make(patience), patience + GRACE)
        except ConnectionLost as error:
            self._connections.did_not_lead(address, None)
            raise _InDoubt(f"the server did not answer any more: {error}") from error
        leads = isinstance(answer, kind) or (isinstance(answer, Refusal) and answer.outcome is not Outcome.NOT_LEADER)
        if leads:
            self._connections.answered(address, connection)
        else:
            self._connections.did_not_lead(address, connection)
        if isinstance(answer, kind):
            return answer
        raise self._consequence(answer)

    def _consequence(self, answer: Message) -> Exception:
        """Return what to raise after an answer that is none (§8)."""
        if isinstance(answer, ErrorReply):
            return SurelyFailed(answer.message)
        if not isinstance(answer, Refusal):
            return _InDoubt("the server answered nonsense")
        if answer.outcome is Outcome.UNKNOWN:
            return _InDoubt(answer.message)
        if answer.outcome is Outcome.SESSION_EXPIRED:
            return _SessionExpired(answer.message)
        return _NotDone(answer.message, self._address_of(answer), answer.outcome is Outcome.FAILED)

    def _address_of(self, refusal: Refusal) -> Optional[Address]:
        """Return where the leader is, as we know it or as the server says: it may have been added later (§6)."""
        if refusal.leader_id in self._cluster:
            return self._cluster[refusal.leader_id]
        try:
            return parse_address(refusal.leader_address) if refusal.leader_address else None
        except ValueError:
            return None

    def _give_up_or_back_off(self, failures: int, deadline: float, problem: str, doubt: Optional[str]) -> None:
        """Wait before the next round of questions, longer each time, and not in step with other clients."""
        rounds, place_in_round = divmod(failures, self._connections.round_length())
        pause = 0.0
        if place_in_round == 0 and rounds > 0:
            pause = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(rounds, 10)) * (0.5 + self._random.random() / 2)
        if self._time.monotonic() + pause < deadline:
            self._time.sleep(pause)
        elif doubt is not None:
            raise MayHaveHappened(f"no answer within {self._timeout:g} s, after an attempt in doubt: {doubt}")
        else:
            raise SurelyFailed(f"no leader took the command within {self._timeout:g} s; last answer: {problem}")


class _NotDone(Exception):
    """It was surely not done: ask again, at `hint` if that is known. `by_leader` if it was the leader who said no."""

    def __init__(self, reason: str, hint: Optional[Address] = None, by_leader: bool = False) -> None:
        super().__init__(reason)
        self.hint = hint
        self.by_leader = by_leader


class _InDoubt(Exception):
    """Nobody knows whether it was done."""


class _SessionExpired(Exception):
    """It was not done, as no server knows the session. `doubt` says why an earlier attempt may have been."""

    doubt: Optional[str] = None


def check_size(command: bytes) -> None:
    """Raise ValueError for what is too large to be sent."""
    if len(command) > MAX_COMMAND_BYTES:
        raise ValueError(f"a command has at most {MAX_COMMAND_BYTES} bytes, this one {len(command)}")


def _checked_result(answer: CommandResult) -> dict[str, Any]:
    """Return a result. Raises SurelyFailed if the state machine did not understand, MayHaveHappened if we do not."""
    try:
        result = kv.decode_result(answer.result)
    except ValueError as error:
        raise MayHaveHappened("the server's result makes no sense") from error
    if not result.get("ok"):
        raise SurelyFailed(str(result.get("error", "the store refused the command")))
    return result
