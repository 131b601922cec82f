"""Clients' sessions (§8; Diss. §6.3): a command that is sent again, after a lost answer, is not executed again.

A client opens a session, and numbers its commands. The servers remember the answers. All of it goes through the log,
so it is the same on every server: this is a layer between the log and the state machine, as deterministic as the
latter. The rules are functions over sessions that never change, so a snapshot may keep and read them.

The body of a SESSION_COMMAND entry: the client's id, the command's number, the first number that the client has no
answer to yet, the command.

    12 7 6 {"op":"increment","key":"x","by":1}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import NamedTuple, Optional

from raft_threads.entry_format import is_number
from raft_threads.log import COMMAND, REGISTER, SESSION_COMMAND, LogEntry
from raft_threads.state_machine import StateMachine

# Part of the rules: servers with other limits would come to other states from the same log.
MAX_SESSIONS = 10_000
MAX_REPLIES_PER_SESSION = 1000


class SessionCommand(NamedTuple):
    """What the log says of a command in a session. Its number, `sequence`, is unique within the session."""

    client_id: int
    sequence: int
    first_unanswered: int
    command: bytes


def session_command(client_id: int, sequence: int, first_unanswered: int, command: bytes) -> bytes:
    """Return the body of the entry for `command`.

    Numbers count from 1. Raises ValueError when the client claims to have an answer to this very command.
    """
    if not 1 <= first_unanswered <= sequence:
        raise ValueError(f"the first command without an answer is one from 1 to {sequence}, not {first_unanswered}")
    return b"%d %d %d %s" % (client_id, sequence, first_unanswered, command)


def parse_session_command(body: bytes) -> Optional[SessionCommand]:
    """Return what `session_command` put together, None if it makes no sense.

    Never raises: it is in the log already, and every server must come to the same result.
    """
    fields = body.split(b" ", 3)
    if len(fields) != 4 or not all(map(is_number, fields[:3])):
        return None
    client_id, sequence, first_unanswered = map(int, fields[:3])
    if not 1 <= first_unanswered <= sequence:
        return None
    return SessionCommand(client_id, sequence, first_unanswered, fields[3])


@dataclass(frozen=True)
class Session:
    """What is known of a client: the answers that it may still ask for again, by number (§8).

    It has told that it has those to all numbers before `first_unanswered`. Never changed, only replaced.
    """

    first_unanswered: int = 1
    replies: Mapping[int, bytes] = field(default_factory=dict)


# The sessions by client id, the least recently used one first.
SessionTable = dict[int, Session]


def open_session(table: SessionTable, client_id: int, max_sessions: int) -> None:
    """Open a session (Diss. §6.3, RegisterClient), at the cost of another one if there are too many."""
    table[client_id] = Session()
    expire_least_recently_used(table, max_sessions)


def expire_least_recently_used(table: SessionTable, max_sessions: int) -> None:
    """Forget the sessions that have not been used for the longest time, in log order, beyond `max_sessions`.

    Servers must agree on which to expire; so neither clocks nor anything else outside of the log counts (Diss. §6.3).
    """
    while len(table) > max_sessions:
        del table[next(iter(table))]


def use_session(table: SessionTable, client_id: int) -> Optional[Session]:
    """Return the session, as the most recently used one from now on; None if there is none, or none any more.

    A new one in its place would not know which commands were executed before (Diss. §6.3).
    """
    session = table.pop(client_id, None)
    if session is not None:
        table[client_id] = session
    return session


def forget_answered(session: Session, first_unanswered: int) -> Session:
    """Return the session without the replies that the client has and so will not ask for again (Diss. §6.3).

    Requests may come in another order than they were sent: what an older one says is known already.
    """
    if first_unanswered <= session.first_unanswered:
        return session
    kept = {sequence: reply for sequence, reply in session.replies.items() if sequence >= first_unanswered}
    return Session(first_unanswered, kept)


def remembered_reply(session: Session, sequence: int) -> Optional[bytes]:
    """Return the answer to a command that was executed before; None if it was not, or was forgotten (§8)."""
    return session.replies.get(sequence)


def can_be_executed(session: Session, sequence: int) -> bool:
    """Return whether a command without a remembered reply is surely new, and its reply can be remembered.

    Whatever is before `first_unanswered` was executed long ago. The upper limit bounds the memory of a session. In
    between commands may come in any order, for a client may have several under way (Diss. §6.3).
    """
    return session.first_unanswered <= sequence < session.first_unanswered + MAX_REPLIES_PER_SESSION


def remember_reply(session: Session, sequence: int, reply: bytes) -> Session:
    """Return the session with one more reply."""
    return replace(session, replies={**session.replies, sequence: reply})


class Sessions:
    """The sessions, and behind them the state machine: what a node's applier gives the committed entries to."""

    def __init__(self, machine: StateMachine, max_sessions: int = MAX_SESSIONS) -> None:
        """Execute commands on `machine`. `max_sessions`, at least 1, must be the same on all servers."""
        self._machine = machine
        self._max_sessions = max_sessions
        self._table: SessionTable = {}

    def apply(self, entry: LogEntry) -> Optional[bytes]:
        """Apply a committed entry, and return the answer, which is blank where there is nothing to say.

        None says that the command was not executed: its session has expired, or its number is one that the client
        has an answer to, or too far ahead of the first that it has no answer to. Never raises, whatever the entry says.
        """
        if entry.kind == COMMAND:
            return self._machine.apply(entry.command)
        if entry.kind == SESSION_COMMAND:
            return self._execute_once(entry.command)
        if entry.kind == REGISTER:
            open_session(self._table, entry.index, self._max_sessions)
        return b""

    def _execute_once(self, body: bytes) -> Optional[bytes]:
        """Execute the command of a session's entry unless that was done before; return the answer, or None (§8)."""
        request = parse_session_command(body)
        session = None if request is None else use_session(self._table, request.client_id)
        if request is None or session is None:
            return None
        session = forget_answered(session, request.first_unanswered)
        reply = remembered_reply(session, request.sequence)
        if reply is None and can_be_executed(session, request.sequence):
            reply = self._machine.apply(request.command)
            session = remember_reply(session, request.sequence, reply)
        self._table[request.client_id] = session
        return reply

    def query(self, query: bytes) -> bytes:
        """Answer `query`, which changes nothing and so needs no session (§8)."""
        return self._machine.query(query)

    # Snapshots (§7): sessions are part of the state (Diss. §6.3), or a command could be executed again after a restart.

    def capture(self) -> Iterator[bytes]:
        """Return sessions and state as records, as of now: `StateMachine.capture`.

            session 12 6                            client id, first unanswered
            reply 6 {"ok":true,"value":"41"}        of the session above
            state ["x","41"]                        a record of the state machine
        """
        sessions = list(self._table.items())
        state = self._machine.capture()
        return chain(_session_records(sessions), (b"state " + record for record in state))

    def restore(self, records: Iterable[bytes]) -> None:
        """Become what `records` tell, whatever the state was. Raises ValueError: they were not made by `capture`."""
        remaining = iter(records)
        table: SessionTable = {}
        first: list[bytes] = []
        for record in remaining:
            if record.startswith(b"state "):
                first = [record]
                break
            _restore_session_record(table, record)
        self._machine.restore(map(_state_record, chain(first, remaining)))
        self._table = table


def _session_records(sessions: Iterable[tuple[int, Session]]) -> Iterator[bytes]:
    for client_id, session in sessions:
        yield b"session %d %d" % (client_id, session.first_unanswered)
        for sequence in sorted(session.replies):
            yield b"reply %d %s" % (sequence, session.replies[sequence])


def _restore_session_record(table: SessionTable, record: bytes) -> None:
    fields = record.split(b" ", 2)
    if len(fields) == 3 and fields[0] == b"session" and is_number(fields[1]) and is_number(fields[2]):
        table[int(fields[1])] = Session(int(fields[2]))
    elif len(fields) == 3 and fields[0] == b"reply" and is_number(fields[1]) and table:
        client_id = next(reversed(table))
        table[client_id] = remember_reply(table[client_id], int(fields[1]), fields[2])
    else:
        raise ValueError(f"not a record of the sessions: {record[:100]!r}")


def _state_record(record: bytes) -> bytes:
    if not record.startswith(b"state "):
        raise ValueError(f"not a record of the state machine: {record[:100]!r}")
    return record[len(b"state "):]
