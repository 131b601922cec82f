"""The key-value store (§2): deterministic, and never upset by a command."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from raft_threads import kv
from raft_threads.client_messages import CommandResult
from raft_threads.entry_format import MAX_COMMAND_BYTES
from raft_threads.kv import KeyValueStore
from raft_threads.wire import encode, read_message


def run(store: KeyValueStore, command: bytes) -> dict[str, Any]:
    """Apply one command."""
    return kv.decode_result(store.apply(command))


def test_a_value_that_was_put_can_be_read_until_it_is_deleted() -> None:
    """put, get, delete."""
    store = KeyValueStore()
    assert run(store, kv.get_command("x")) == {"ok": True, "value": None}
    assert run(store, kv.put_command("x", "1")) == {"ok": True}
    assert run(store, kv.get_command("x")) == {"ok": True, "value": "1"}
    assert run(store, kv.delete_command("x")) == {"ok": True, "existed": True}
    assert run(store, kv.delete_command("x")) == {"ok": True, "existed": False}
    assert store.items == {}


def test_an_empty_value_is_a_value() -> None:
    """It is there until it is deleted."""
    store = KeyValueStore()
    run(store, kv.put_command("x", ""))
    assert run(store, kv.get_command("x")) == {"ok": True, "value": ""}
    assert run(store, kv.delete_command("x")) == {"ok": True, "existed": True}


def test_append_begins_with_nothing() -> None:
    """append."""
    store = KeyValueStore()
    for value in ("a", "b"):
        run(store, kv.append_command("x", value))
    assert store.items == {"x": "ab"}


@pytest.mark.parametrize("letter", ["x", "%", "€", "\x01", "\ud800"])
def test_a_value_never_grows_beyond_what_can_be_read(letter: str) -> None:
    """docs/wire-format.md: its limits also hold for the results of what many small commands have put together."""
    store = KeyValueStore()
    grew, refused = 0, {"ok": True}
    while refused["ok"]:
        length = len(store.items.get("x", ""))
        refused = run(store, json.dumps({"op": "append", "key": "x", "value": letter * 100_000}).encode())
        grew += 1
    assert refused == {"ok": False, "error": f"a value has at most {MAX_COMMAND_BYTES} bytes"}
    assert grew > 3 and len(store.items["x"]) == length
    result = CommandResult(store.apply(kv.get_command("x")))
    assert read_message(io.BytesIO(encode(result))) == result


@pytest.mark.parametrize(
    "before, expected, swapped", [("1", "1", True), ("1", "2", False), (None, None, True), ("1", None, False)]
    + [(None, "1", False), ("", None, False), ("", "", True)],
)
def test_compare_and_swap_changes_a_value_only_if_it_is_the_expected_one(
    before: Any, expected: Any, swapped: bool
) -> None:
    """cas: None is "no such key", which differs from an empty value."""
    store = KeyValueStore()
    if before is not None:
        run(store, kv.put_command("x", before))
    result = run(store, kv.cas_command("x", expected, "new"))
    assert result == ({"ok": True, "swapped": True} if swapped else {"ok": True, "swapped": False, "value": before})
    assert store.items.get("x") == ("new" if swapped else before)


@pytest.mark.parametrize("text", ["", " ", "ü€😀", "a\nb\r\0", '"\\{}', "%0A", "x" * 100_000])
def test_any_text_may_be_a_key_and_a_value(text: str) -> None:
    """Keys and values are text."""
    store = KeyValueStore()
    run(store, kv.put_command(text, text))
    assert run(store, kv.get_command(text))["value"] == text


@pytest.mark.parametrize(
    "command",
    [b"", b"\xff", b"null", b"[]", b"{}", b'{"op":"put"}', b'{"op":"put","key":1,"value":"x"}', b'{"op":["put"]}']
    + [b'{"op":"put","key":"x","value":1}', b'{"op":"append","key":"x","value":null}', b'{"op":"get","key":[]}']
    + [b'{"op":"fly","key":"x"}', b'{"op":"cas","key":"x","expected":1,"value":"y"}', b"[" * 100_000],
)
def test_a_command_that_makes_no_sense_changes_nothing_and_gets_a_result(command: bytes) -> None:
    """It is in every server's log: all must come to the same result."""
    store = KeyValueStore()
    assert run(store, command) == {"ok": False, "error": "not a command of the key-value store"}
    assert store.items == {}


def test_text_that_is_not_unicode_is_refused_at_the_clients_edge() -> None:
    """Such text comes from a terminal that does not speak UTF-8."""
    with pytest.raises(ValueError, match="valid Unicode"):
        kv.put_command("x", "\udcff")


def test_a_lone_surrogate_from_another_client_does_not_stop_the_server() -> None:
    """JSON can write one; a result in UTF-8 cannot."""
    store = KeyValueStore()
    store.apply(json.dumps({"op": "put", "key": "x", "value": "\ud800"}).encode())
    assert run(store, kv.get_command("x"))["ok"]
