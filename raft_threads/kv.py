"""The example state machine (§2): a key-value store whose commands and results are small JSON objects.

    {"op":"put","key":"x","value":"1"}  ->  {"ok":true}

Keys and values are text. Both sides are here: what a client writes into the log, and what a server makes of it. The
store is used by one thread, the node's applier, and by whoever reads `items` while no commands come.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Callable, Optional

from raft_threads.entry_format import MAX_COMMAND_BYTES

# The largest number that a counter can hold, and its negative the smallest: what 64 bits hold.
MAX_COUNTER = 2**63 - 1

_to_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def put_command(key: str, value: str) -> bytes:
    """Return the command that sets `key` to `value`."""
    return _encode({"op": "put", "key": key, "value": value})


def get_command(key: str) -> bytes:
    """Return the command that reads `key`. It goes through the log like the others, so it is never stale (§8)."""
    return _encode({"op": "get", "key": key})


def delete_command(key: str) -> bytes:
    """Return the command that removes `key`."""
    return _encode({"op": "delete", "key": key})


def append_command(key: str, value: str) -> bytes:
    """Return the command that appends `value` to what `key` holds, nothing if it is absent."""
    return _encode({"op": "append", "key": key, "value": value})


def cas_command(key: str, expected: Optional[str], value: str) -> bytes:
    """Return the command that sets `key` to `value` if it holds `expected`; None expects that it is absent."""
    return _encode({"op": "cas", "key": key, "expected": expected, "value": value})


def increment_command(key: str, by: int = 1) -> bytes:
    """Return the command that adds `by` to the number in `key`, 0 if it is absent, and returns the sum as text.

    Executed twice, it counts twice: only a session makes it safe to send it again (§8).
    """
    return _encode({"op": "increment", "key": key, "by": by})


def _encode(command: dict[str, Any]) -> bytes:
    """Raises ValueError for text that is not valid Unicode."""
    try:
        return _to_json(command).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("keys and values must be valid Unicode text") from error


def decode_result(result: bytes) -> dict[str, Any]:
    """Return a result as a dictionary. Raises ValueError when it is not a JSON object."""
    decoded = json.loads(result)
    if not isinstance(decoded, dict):
        raise ValueError("a result is a JSON object")
    return decoded


class KeyValueStore:
    """A dictionary of text, changed by commands."""

    def __init__(self) -> None:
        self.items: dict[str, str] = {}
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "put": self._put,
            "get": self._get,
            "delete": self._delete,
            "append": self._append,
            "cas": self._compare_and_swap,
            "increment": self._increment,
        }

    def apply(self, command: bytes) -> bytes:
        """Execute `command`; return `{"ok":true,...}`, or `{"ok":false,"error":...}` if it makes no sense.

        Never raises for a bad command: it is in the log already, and every server must come to the same result.
        """
        try:
            decoded = json.loads(command)
            result = self._operations[decoded["op"]](decoded)
        except (ValueError, KeyError, TypeError, RecursionError):
            result = {"ok": False, "error": "not a command of the key-value store"}
        return _to_bytes(result)

    def query(self, query: bytes) -> bytes:
        """Answer a `get` like `apply`, and change nothing; whatever else is asked gets `{"ok":false,"error":...}`."""
        try:
            decoded = json.loads(query)
            if decoded["op"] != "get":
                raise ValueError("it may change something")
            result = self._get(decoded)
        except (ValueError, KeyError, TypeError, RecursionError):
            result = {"ok": False, "error": "not a query of the key-value store"}
        return _to_bytes(result)

    def capture(self) -> Iterator[bytes]:
        """Return a record `["key","value"]` for each key (§7), in the order in which they came.

        The dictionary is copied at once, the texts in it are shared; the records are made when they are asked for.
        """
        return map(_record, self.items.copy().items())

    def restore(self, records: Iterable[bytes]) -> None:
        """Hold what `records` tell, and nothing else. Raises ValueError, and changes nothing: not made by `capture`."""
        self.items = dict(map(_parse_record, records))

    def _put(self, command: dict[str, Any]) -> dict[str, Any]:
        self.items[_text(command["key"])] = _text(command["value"])
        return {"ok": True}

    def _get(self, command: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "value": self.items.get(_text(command["key"]))}

    def _delete(self, command: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "existed": self.items.pop(_text(command["key"]), None) is not None}

    def _append(self, command: dict[str, Any]) -> dict[str, Any]:
        key = _text(command["key"])
        value = self.items.get(key, "") + _text(command["value"])
        if len(_to_bytes(value)) > MAX_COMMAND_BYTES:
            return {"ok": False, "error": f"a value has at most {MAX_COMMAND_BYTES} bytes"}  # else none could read it
        self.items[key] = value
        return {"ok": True}

    def _compare_and_swap(self, command: dict[str, Any]) -> dict[str, Any]:
        key, expected, value = _text(command["key"]), command["expected"], _text(command["value"])
        current = self.items.get(key)
        if current != (None if expected is None else _text(expected)):
            return {"ok": True, "swapped": False, "value": current}
        self.items[key] = value
        return {"ok": True, "swapped": True}

    def _increment(self, command: dict[str, Any]) -> dict[str, Any]:
        key, by = _text(command["key"]), command["by"]
        if type(by) is not int or abs(by) > MAX_COUNTER:
            raise TypeError("a counter is changed by a whole number")
        current = self.items.get(key, "0")
        if not re.fullmatch("-?[0-9]{1,19}", current) or abs(int(current) + by) > MAX_COUNTER:
            return {"ok": False, "error": f"a counter is a whole number from {-MAX_COUNTER} to {MAX_COUNTER}"}
        self.items[key] = str(int(current) + by)
        return {"ok": True, "value": self.items[key]}


def _record(item: tuple[str, str]) -> bytes:
    """Return the record of a key and its value. What is not valid Unicode comes back exactly, even in halves."""
    return _to_json(item).encode("utf-8", "surrogatepass")


def _parse_record(record: bytes) -> tuple[str, str]:
    """Return the key and the value in `record`. Raises ValueError when there is nothing of the kind."""
    try:
        key, value = json.loads(record)
        return _text(key), _text(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"not a record of the key-value store: {record[:100]!r}") from error


def _to_bytes(value: Any) -> bytes:
    """Return `value` as JSON; what is not valid Unicode, too."""
    return _to_json(value).encode("utf-8", "backslashreplace")


def _text(value: Any) -> str:
    """Return `value`. Raises TypeError when it is not text."""
    if not isinstance(value, str):
        raise TypeError("keys and values are text")
    return value
