"""A client of the replicated key-value store (§5.1, §8): what programs call.

Commands run in a session (§8), so one that got no answer is sent again and is executed once all the same. Only when no
server answers in time does the caller have to live with not knowing. `client_requests.py` finds the leader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from raft_threads import kv
from raft_threads.addresses import Address
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
    TakeSnapshot,
    TransferLeadership,
)
from raft_threads.client_requests import (
    CONNECT_TIMEOUT,
    GRACE,
    ClientError,
    Deadline,
    LeaderRequests,
    MayHaveHappened,
    Repeating,
    SessionLost,
    SurelyFailed,
)
from raft_threads.client_session import ClientSession
from raft_threads.connection import CannotConnect, ConnectionLost
from raft_threads.entry_format import MAX_COMMAND_BYTES
from raft_threads.runtime import Runtime
from raft_threads.server_reports import ServerReport, ask_all_servers, ask_server

__all__ = ["Client", "ClientError", "MayHaveHappened", "SurelyFailed"]


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
        self._runtime = runtime
        self._leader = LeaderRequests(self._cluster, self._hello, runtime)
        self._session = ClientSession(runtime) if sessions else None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; those that other threads are using, once they have their answers."""
        self._leader.close()

    # The store's commands (§2)

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

    # Commands and reads of whatever state machine there is

    def execute(self, command: bytes) -> dict[str, Any]:
        """Have `command` executed by the cluster, and return its result. In a session it is executed once (§8)."""
        check_size(command)
        deadline = self._deadline()
        if self._session is not None:
            return _checked_result(self._execute_once(self._session, command, deadline))
        return _checked_result(self._leader.ask(CommandResult, lambda patience: Command(command, patience), deadline))

    def query(self, query: bytes) -> dict[str, Any]:
        """Have `query` answered by the leader, without writing to the log (§8)."""
        check_size(query)
        return _checked_result(
            self._leader.ask(
                CommandResult, lambda patience: Query(query, patience), self._deadline(), Repeating.HARMLESS
            )
        )

    def _execute_once(self, session: ClientSession, command: bytes, deadline: Deadline) -> CommandResult:
        """Send a command until it is answered, under one number (§8).

        A session that has expired is replaced by a new one, if the command was surely not executed in the old one.
        """
        expiries = 0
        with session.command(deadline) as sequence:
            while True:
                client_id = session.client_id(lambda: self._register(deadline))

                def numbered(patience: float, client_id: int = client_id) -> Command:
                    return Command(command, patience, client_id, sequence, session.first_unanswered())

                try:
                    return self._leader.ask(CommandResult, numbered, deadline, Repeating.SAFE)
                except SessionLost as lost:
                    session.expired(client_id)
                    if lost.doubt is not None:
                        text = f"the session has expired, and an earlier attempt is in doubt: {lost.doubt}"
                        raise MayHaveHappened(text) from lost
                    expiries += 1
                    self._leader.back_off(expiries, deadline, str(lost))

    def _register(self, deadline: Deadline) -> int:
        """Open a session (§8; Diss. §6.3, RegisterClient). One too many does no harm."""
        answer = self._leader.ask(Registered, lambda patience: Register(patience), deadline, Repeating.HARMLESS)
        return answer.client_id

    # For operators (§6, §7; Diss. §3.10)

    def status(self) -> list[ServerReport]:
        """Ask every server how it is, all at once."""
        return ask_all_servers(self._cluster, self._hello, min(CONNECT_TIMEOUT, self._timeout))

    def members(self) -> MembersReply:
        """Return which servers the cluster has, as the leader knows it."""
        deadline = self._deadline()
        return self._leader.ask(MembersReply, lambda patience: MembersRequest(), deadline, Repeating.HARMLESS)

    def change_members(self, change: Change, members: Sequence[str]) -> MembersReply:
        """Add or set servers, each `id=host:port`, or remove those with the ids `members`; return the new ones (§6)."""
        return self._leader.ask(
            MembersReply,
            lambda patience: ChangeMembers(change, tuple(members), patience),
            self._deadline(),
            final=True,
        )

    def transfer(self, target: Optional[str] = None) -> str:
        """Have the leader hand over to `target`, or to whom it likes (Diss. §3.10); return what it says."""
        return self._leader.ask(
            Done, lambda patience: TransferLeadership(target, patience), self._deadline(), final=True
        ).message

    def take_snapshot(self, server: str) -> str:
        """Have `server`, one of those that this client was made with, compact its log (§7); return what it says."""
        if server not in self._cluster:
            raise ValueError(f"server {server} is not among {', '.join(self._cluster)}")
        request = TakeSnapshot(self._timeout)
        try:
            answer = ask_server(self._cluster[server], self._hello, request, self._timeout + GRACE)
        except CannotConnect as error:
            raise SurelyFailed(str(error)) from error
        except ConnectionLost as error:
            raise MayHaveHappened(f"{server} did not answer any more: {error}") from error
        if isinstance(answer, Done):
            return answer.message
        if isinstance(answer, ErrorReply) or (isinstance(answer, Refusal) and answer.outcome is not Outcome.UNKNOWN):
            raise SurelyFailed(answer.message)
        raise MayHaveHappened(answer.message if isinstance(answer, Refusal) else f"{server} answered nonsense")

    def _deadline(self) -> Deadline:
        """Begin to count."""
        return Deadline(self._timeout, self._runtime)


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
