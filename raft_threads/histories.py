"""What the clients of a key-value store asked and heard, in real-time order: recorded, written, and read again (§8).

    {"process": 1, "type": "invoke", "f": "write", "key": "x", "value": 5}
    {"process": 1, "type": "ok", "f": "write", "key": "x", "value": 5}

`linearizability.check` says whether such a history can be explained; `docs/histories.md` has the whole format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Optional, Union

Process = Union[int, str]
Key = Union[int, str, None]

READ, WRITE, CAS, APPEND, DELETE = "read", "write", "cas", "append", "delete"
TYPES = ("invoke", "ok", "fail", "info")
# Every name that an operation may have in a history, and what it is called here.
NAMES = {"read": READ, "get": READ, "write": WRITE, "put": WRITE, "cas": CAS, "append": APPEND, "delete": DELETE}
_FIELDS = ("process", "type", "f", "key", "value", "time")


class BadHistory(ValueError):
    """A history makes no sense. The text says in one line where and why."""


@dataclass(frozen=True)
class Operation:
    """One operation of one client on one key. Positions are line numbers in the history, from 1.

    `f` is one of READ, WRITE, CAS, APPEND, DELETE. `argument` is the value to write, the text to append, or
    `(expected, new)` for a cas; None is an absent key. `result` is the value read, whether a cas swapped, or whether
    the key to delete existed (None if that was not told). `returned` is None for an operation without an answer, which
    may take effect at any time after `invoked`, or never. Times are in seconds, None if they were not recorded.
    """

    process: Process
    f: str
    key: Key
    argument: Any
    invoked: int
    invoked_at: Optional[float] = None
    returned: Optional[int] = None
    returned_at: Optional[float] = None
    result: Any = None


class History:
    """A history as it grows: one call for each thing that a client does or hears, in the order in which it happens.

    It has no lock: clients on several threads must take turns, and an invocation must be recorded before the request
    leaves, an answer after it came. Every method raises BadHistory, and records nothing, for what cannot be.
    """

    def __init__(self) -> None:
        self._position = 0
        self._events: list[dict[str, Any]] = []
        self._operations: dict[int, Operation] = {}
        self._pending: dict[Process, Operation] = {}

    def invoke(self, process: Process, f: str, key: Key, value: Any = None, time: Optional[float] = None) -> None:
        """Record that `process` begins an operation; it must have none that is pending."""
        self._record_next("invoke", process, f, key, value, time)

    def ok(self, process: Process, f: str, key: Key, value: Any = None, time: Optional[float] = None) -> None:
        """Record the answer of what `process` invoked; `value` is what it read, or whether it deleted something."""
        self._record_next("ok", process, f, key, value, time)

    def fail(self, process: Process, f: str, key: Key, value: Any = None, time: Optional[float] = None) -> None:
        """Record that a cas found another value than the expected one, or that another operation did surely nothing."""
        self._record_next("fail", process, f, key, value, time)

    def info(self, process: Process, f: str, key: Key, value: Any = None, time: Optional[float] = None) -> None:
        """Record that `process` gave up: what it invoked may take effect later, or never."""
        self._record_next("info", process, f, key, value, time)

    def operations(self) -> list[Operation]:
        """Return what is to be explained, as invoked: not reads without an answer, nor what surely did nothing."""
        return [
            operation
            for operation in self._operations.values()
            if operation.f != READ or operation.returned is not None
        ]

    def to_lines(self) -> list[str]:
        """Return the history as JSON, a line for each thing recorded, without line ends."""
        return [json.dumps(event) for event in self._events]

    @classmethod
    def from_lines(cls, lines: Iterable[str]) -> History:
        """Return the history that stands in `lines`; blank ones are skipped. Raises BadHistory."""
        history = cls()
        for position, line in enumerate(lines, 1):
            if line.strip():
                history._record(position, _decode(position, line))
        return history

    def _record_next(
        self, type: str, process: Process, f: str, key: Key, value: Any, time: Optional[float]
    ) -> None:
        event = {"process": process, "type": type, "f": f, "key": key, "value": value}
        self._record(self._position + 1, event if time is None else {**event, "time": time})

    def _record(self, position: int, event: dict[str, Any]) -> None:
        _check_fields(position, event)
        if event["type"] == "invoke":
            self._begin(position, event)
        else:
            self._end(position, event)
        self._position = position
        self._events.append({field: event[field] for field in _FIELDS if field in event})

    def _begin(self, position: int, event: dict[str, Any]) -> None:
        process, f, key = event["process"], NAMES[event["f"]], event.get("key")
        if process in self._pending:
            _refuse(position, f"process {process!r} invokes {f}, and {_name(self._pending[process])} is pending")
        argument = _argument(position, f, event)
        operation = Operation(process, f, key, argument, invoked=position, invoked_at=event.get("time"))
        self._pending[process] = self._operations[position] = operation

    def _end(self, position: int, event: dict[str, Any]) -> None:
        process, type, f, key = event["process"], event["type"], NAMES[event["f"]], event.get("key")
        pending = self._pending.get(process)
        if pending is None:
            _refuse(position, f"{type} for process {process!r}, which has nothing pending")
        if (f, key) != (pending.f, pending.key):
            _refuse(position, f"{type} for {f} of key {json.dumps(key)}, and {_name(pending)} is pending")
        result = _result(position, f, event)
        del self._pending[process]
        if type == "ok" or (type == "fail" and f == CAS):
            answered = replace(pending, returned=position, returned_at=event.get("time"), result=result)
            self._operations[pending.invoked] = answered
        elif type == "fail":
            del self._operations[pending.invoked]


def _refuse(position: int, problem: str) -> NoReturn:
    raise BadHistory(f"line {position}: {problem}")


def _name(operation: Operation) -> str:
    return f"{operation.f} of key {json.dumps(operation.key)} from line {operation.invoked}"


def _decode(position: int, line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadHistory(f"line {position}: not JSON: {error.msg} (column {error.pos + 1})") from error
    except (ValueError, RecursionError) as error:
        raise BadHistory(f"line {position}: not JSON that can be read: {error}") from error
    if not isinstance(event, dict):
        _refuse(position, "not a JSON object")
    return event


def _check_fields(position: int, event: dict[str, Any]) -> None:
    """Check each field by itself, but for the value, whose form depends on the others."""
    if event.get("type") not in TYPES:
        _refuse(position, f'"type" must be one of {", ".join(TYPES)}')
    if not isinstance(event.get("f"), str) or event["f"] not in NAMES:
        _refuse(position, f'"f" must be one of {", ".join(NAMES)}')
    if not isinstance(event.get("process"), (int, str)) or isinstance(event["process"], bool):
        _refuse(position, '"process" must be an integer or text')
    if not isinstance(event.get("key"), (int, str, type(None))) or isinstance(event.get("key"), bool):
        _refuse(position, '"key" must be text, an integer or null')
    time = event.get("time")
    if not (time is None or isinstance(time, (int, float))) or isinstance(time, bool) or not _is_scalar(time):
        _refuse(position, '"time" must be a number of seconds')


def _is_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (str, int))


def _argument(position: int, f: str, event: dict[str, Any]) -> Any:
    """Return what the operation is to do its work with."""
    value = event.get("value")
    if f in (READ, DELETE):
        return None
    if f == CAS:
        if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(map(_is_scalar, value)):
            _refuse(position, 'the "value" of a cas must be [expected, new]')
        return tuple(value)
    if f == APPEND and not isinstance(value, str):
        _refuse(position, 'the "value" of an append must be text')
    if "value" not in event or not _is_scalar(value):
        _refuse(position, f'the "value" of a {f} must be text, a number, true, false or null')
    return value


def _result(position: int, f: str, event: dict[str, Any]) -> Any:
    """Return what the answer says: the value read, whether a cas swapped, whether the deleted key existed."""
    value, is_ok = event.get("value"), event["type"] == "ok"
    if f == CAS:
        return is_ok
    if f == READ and is_ok and ("value" not in event or not _is_scalar(value)):
        _refuse(position, 'the "value" of a read that is ok must be text, a number, true, false or null (absent)')
    if f == DELETE and is_ok and not (value is None or isinstance(value, bool)):
        _refuse(position, 'the "value" of a delete that is ok must be true, false or null')
    return value if f in (READ, DELETE) else None
