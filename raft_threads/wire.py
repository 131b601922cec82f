"""Messages as bytes: one JSON line, then as many raw lines as it announces (§5.1).

    {"type":"append_entries","term":2,"leader_id":"n1",...,"lines":1}
    eecbad40 12 2 command {"op":"put","key":"x","value":"1"}

A person can type it into `nc` and read it in a packet capture. Entries and commands travel as the bytes they are
stored as. Everything has a size limit, and what does not fit the format is refused, not guessed at.
`docs/wire-format.md` describes every message.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from enum import Enum
from io import BufferedIOBase
from typing import Any, Callable, Optional, Union

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
    ServerStatus,
    StatusRequest,
    TakeSnapshot,
    TransferLeadership,
    Welcome,
)
from raft_threads.configuration import MAX_SERVERS
from raft_threads.entry_format import MAX_COMMAND_BYTES, BadLine, escape, unescape
from raft_threads.log import LogEntry
from raft_threads.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)

MAX_HEADER_BYTES = 64 * 1024
# An entry's checksum, index, term and kind, and a session's three numbers, take less than 200 bytes.
MAX_LINE_BYTES = 3 * MAX_COMMAND_BYTES + 200
MAX_LINES = 10_000
MAX_FRAME_BYTES = 2 * MAX_LINE_BYTES

Message = Union[
    AppendEntries,
    AppendEntriesReply,
    ChangeMembers,
    Command,
    CommandResult,
    Done,
    ErrorReply,
    Hello,
    InstallSnapshot,
    InstallSnapshotReply,
    MembersReply,
    MembersRequest,
    PreVote,
    PreVoteReply,
    Query,
    Refusal,
    Register,
    Registered,
    RequestVote,
    RequestVoteReply,
    ServerStatus,
    StatusRequest,
    TakeSnapshot,
    TimeoutNow,
    TimeoutNowReply,
    TransferLeadership,
    Welcome,
]


class BadMessage(Exception):
    """The bytes are not a message of ours. The text says in one line what is wrong with them."""


class ConnectionEnded(Exception):
    """The other side closed the connection between two messages."""


# Field values. Each checker returns whether a decoded JSON value may stand in a field.


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable()


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= 3600


def _is_outcome(value: Any) -> bool:
    return value in [outcome.value for outcome in Outcome]


def _is_change(value: Any) -> bool:
    return value in [change.value for change in Change]


def _are_members(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_SERVERS and all(map(_is_member, value))


def _is_member(value: Any) -> bool:
    """An id, or `id=host:port`."""
    return isinstance(value, str) and 0 < len(value) <= 512 and value.isprintable()


def _or_null(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


# For every message: its type on the wire, and its fields in the JSON line. What is not named there travels as lines.
_LAYOUT: dict[type[Any], tuple[str, dict[str, Callable[[Any], bool]]]] = {
    Hello: ("hello", {"cluster": _is_name, "sender": _or_null(_is_name), "receiver": _or_null(_is_name)}),
    Welcome: ("welcome", {"cluster": _is_name, "id": _is_name}),
    RequestVote: (
        "request_vote",
        {
            "term": _is_number,
            "candidate_id": _is_name,
            "last_log_index": _is_number,
            "last_log_term": _is_number,
            "told_to_stand": _is_truth,
        },
    ),
    RequestVoteReply: ("request_vote_reply", {"term": _is_number, "vote_granted": _is_truth}),
    AppendEntries: (
        "append_entries",
        {
            "term": _is_number,
            "leader_id": _is_name,
            "prev_log_index": _is_number,
            "prev_log_term": _is_number,
            "leader_commit": _is_number,
        },
    ),
    AppendEntriesReply: (
        "append_entries_reply",
        {
            "term": _is_number,
            "success": _is_truth,
            "conflict_term": _or_null(_is_number),
            "conflict_index": _or_null(_is_number),
        },
    ),
    InstallSnapshot: (
        "install_snapshot",
        {
            "term": _is_number,
            "leader_id": _is_name,
            "last_included_index": _is_number,
            "last_included_term": _is_number,
            "offset": _is_number,
            "done": _is_truth,
        },
    ),
    InstallSnapshotReply: ("install_snapshot_reply", {"term": _is_number, "bytes_stored": _or_null(_is_number)}),
    PreVote: (
        "pre_vote",
        {"term": _is_number, "candidate_id": _is_name, "last_log_index": _is_number, "last_log_term": _is_number},
    ),
    PreVoteReply: ("pre_vote_reply", {"term": _is_number, "vote_granted": _is_truth}),
    TimeoutNow: ("timeout_now", {"term": _is_number, "leader_id": _is_name}),
    TimeoutNowReply: ("timeout_now_reply", {"term": _is_number}),
    Command: (
        "command",
        {
            "timeout": _is_seconds,
            "client_id": _or_null(_is_number),
            "sequence": _or_null(_is_number),
            "first_unanswered": _or_null(_is_number),
        },
    ),
    CommandResult: ("command_result", {}),
    Register: ("register", {"timeout": _is_seconds}),
    Registered: ("registered", {"client_id": _is_number}),
    Query: ("query", {"timeout": _is_seconds}),
    Refusal: (
        "refusal",
        {
            "outcome": _is_outcome,
            "message": _is_text,
            "leader_id": _or_null(_is_name),
            "leader_address": _or_null(_is_name),
        },
    ),
    StatusRequest: ("status", {}),
    ServerStatus: (
        "status_reply",
        {
            "id": _is_name,
            "role": _is_name,
            "term": _is_number,
            "leader": _or_null(_is_name),
            "commit_index": _is_number,
            "last_applied": _is_number,
            "last_log_index": _is_number,
            "snapshot_index": _is_number,
            "snapshot_bytes": _is_number,
            "log_bytes": _is_number,
            "disk_writes": _is_number,
            "requests_answered": _is_number,
        },
    ),
    MembersRequest: ("members", {}),
    MembersReply: ("members_reply", {"members": _are_members, "new_members": _or_null(_are_members)}),
    ChangeMembers: ("change_members", {"change": _is_change, "members": _are_members, "timeout": _is_seconds}),
    TransferLeadership: ("transfer_leadership", {"target": _or_null(_is_name), "timeout": _is_seconds}),
    TakeSnapshot: ("take_snapshot", {"timeout": _is_seconds}),
    Done: ("done", {"message": _is_text}),
    ErrorReply: ("error", {"message": _is_text}),
}
_BY_TYPE: dict[str, type[Any]] = {name: kind for kind, (name, _) in _LAYOUT.items()}
# A message may leave out the fields that have a default.
_OPTIONAL = {kind: {field.name for field in fields(kind) if field.default is not MISSING} for kind in _LAYOUT}

# Messages with one line: which field it is, and how many bytes that has at most.
_CONTENT: dict[type[Any], tuple[str, int]] = {
    Command: ("command", MAX_COMMAND_BYTES),
    CommandResult: ("result", MAX_LINE_BYTES),
    InstallSnapshot: ("data", MAX_COMMAND_BYTES),
    Query: ("query", MAX_COMMAND_BYTES),
}
# One encoder for all messages: json.dumps with separators would build a new one at each call.
_to_json = json.JSONEncoder(separators=(",", ":")).encode


def encode(message: Message) -> bytes:
    """Return the bytes of `message`, to be sent in one call."""
    kind = type(message)
    name, layout = _LAYOUT[kind]
    header: dict[str, Any] = {"type": name}
    for field in layout:
        value = getattr(message, field)
        header[field] = value.value if isinstance(value, Enum) else value
    lines = _lines_of(message)
    if lines:
        header["lines"] = len(lines)
    return b"".join([_to_json(header).encode("ascii"), b"\n", *lines])


def _lines_of(message: Message) -> list[bytes]:
    if isinstance(message, AppendEntries):
        return [entry.line for entry in message.entries]
    content = _CONTENT.get(type(message))
    return [] if content is None else [escape(getattr(message, content[0])) + b"\n"]


def read_message(stream: BufferedIOBase) -> Message:
    """Read one message from `stream`, blocking until it is whole.

    Raises ConnectionEnded at the end of the stream, BadMessage when the bytes make no sense or break off, and OSError
    when the connection fails or the time set on the socket is up.
    """
    header = _read_header(stream)
    kind = _BY_TYPE.get(header.pop("type", ""))
    if kind is None:
        raise BadMessage('unknown message: "type" must be one of ' + ", ".join(sorted(_BY_TYPE)))
    lines = _read_lines(stream, header.pop("lines", 0))
    message: Message = _build(kind, _checked_fields(kind, header), lines)
    return message


def _read_header(stream: BufferedIOBase) -> dict[str, Any]:
    line = _read_line(stream, MAX_HEADER_BYTES)
    if not line:
        raise ConnectionEnded()
    try:
        header = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadMessage("a message must begin with a line that is a JSON object") from error
    if not isinstance(header, dict) or not isinstance(header.get("type"), str):
        raise BadMessage('a message must begin with a JSON object that has a "type"')
    return header


def _read_line(stream: BufferedIOBase, limit: int) -> bytes:
    line = stream.readline(limit + 1)
    if len(line) > limit:
        raise BadMessage(f"a line is longer than {limit} bytes")
    if line and not line.endswith(b"\n"):
        raise BadMessage("the connection broke off in the middle of a message")
    return line


def _read_lines(stream: BufferedIOBase, count: Any) -> list[bytes]:
    if not _is_number(count) or count > MAX_LINES:
        raise BadMessage(f'"lines" must be a number up to {MAX_LINES}')
    lines: list[bytes] = []
    size = 0
    for _ in range(count):
        line = _read_line(stream, MAX_LINE_BYTES)
        size += len(line)
        if not line:
            raise BadMessage("the connection broke off in the middle of a message")
        if size > MAX_FRAME_BYTES:
            raise BadMessage(f"a message is longer than {MAX_FRAME_BYTES} bytes")
        lines.append(line)
    return lines


def _checked_fields(kind: type[Any], header: dict[str, Any]) -> dict[str, Any]:
    name, layout = _LAYOUT[kind]
    unknown = header.keys() - layout.keys()
    if unknown:
        raise BadMessage(f"{name} has no field {sorted(unknown)[0]!r}"[:200])
    for field, is_right in layout.items():
        if header.get(field) is None and field in _OPTIONAL[kind]:
            header.pop(field, None)
        elif not is_right(header.setdefault(field, None)):  # what is left out is as good as null
            raise BadMessage(f"{name}: field {field!r} is missing or has a wrong value")
    return header


def _build(kind: type[Any], values: dict[str, Any], lines: list[bytes]) -> Any:
    if kind is AppendEntries:
        return _build_append_entries(values, lines)
    if kind in _CONTENT:
        name, limit = _CONTENT[kind]
        return kind(**{name: _only_line(lines, limit)}, **values)
    if lines:
        raise BadMessage(f"{_LAYOUT[kind][0]} has no lines")
    return kind(**{name: _as_in_record(name, value) for name, value in values.items()})


def _as_in_record(name: str, value: Any) -> Any:
    """Return what JSON cannot say: the enumeration that a word is of, the tuple that a list is."""
    if isinstance(value, list):
        return tuple(value)
    named: dict[str, Any] = {"outcome": Outcome, "change": Change}
    return named[name](value) if name in named else value


def _only_line(lines: list[bytes], limit: int) -> bytes:
    if len(lines) != 1:
        raise BadMessage("this message has exactly one line")
    content = unescape(lines[0][:-1])
    if len(content) > limit:
        raise BadMessage(f"the content is longer than {limit} bytes")
    return content


def _build_append_entries(values: dict[str, Any], lines: list[bytes]) -> AppendEntries:
    """Make an AppendEntries, checking what no leader can ever send: gaps, falling terms, terms beyond its own."""
    try:
        entries = tuple(LogEntry.from_line(line) for line in lines)
    except BadLine as error:
        raise BadMessage(f"append_entries: an entry is damaged: {error}") from error
    index, term = values["prev_log_index"], values["prev_log_term"]
    for entry in entries:
        index += 1
        if entry.index != index or not term <= entry.term <= values["term"]:
            raise BadMessage(f"append_entries: entry {entry.index} of term {entry.term} cannot stand at {index}")
        term = entry.term
    return AppendEntries(entries=entries, **values)


def describe(message: Optional[Message]) -> str:
    """Return the wire name of `message`, for error texts."""
    return "nothing" if message is None else _LAYOUT[type(message)][0]
