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


# Counters


def test_increment_adds_to_a_number_and_begins_with_0() -> None:
    """increment; the value stays text."""
    store = KeyValueStore()
    assert run(store, kv.increment_command("x")) == {"ok": True, "value": "1"}
    assert run(store, kv.increment_command("x", 40)) == {"ok": True, "value": "41"}
    assert run(store, kv.increment_command("x", -100)) == {"ok": True, "value": "-59"}
    assert store.items == {"x": "-59"}


@pytest.mark.parametrize("value", ["", "one", "1.0", "1e3", " 1", "1\n", "+1", "--1", "١", "1_0", "9" * 20, "9" * 5000])
def test_what_is_not_a_number_cannot_be_incremented_and_stays(value: str) -> None:
    """increment: all servers must come to the same result, and quickly."""
    store = KeyValueStore()
    run(store, kv.put_command("x", value))
    assert run(store, kv.increment_command("x"))["error"].startswith("a counter is a whole number from -9223372036854")
    assert store.items == {"x": value}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_counter_ends_where_64_bits_end(sign: int) -> None:
    """increment: a result has a bounded size."""
    store = KeyValueStore()
    assert run(store, kv.increment_command("x", sign * kv.MAX_COUNTER))["value"] == str(sign * (2**63 - 1))
    assert not run(store, kv.increment_command("x", sign))["ok"]
    assert run(store, kv.increment_command("x", -sign))["value"] == str(sign * (2**63 - 2))


@pytest.mark.parametrize("by", ["null", '"1"', "1.0", "true", "[]", "NaN", str(2**63), "9" * 5000])
def test_a_counter_is_incremented_by_a_whole_number(by: str) -> None:
    """increment: what makes no sense changes nothing."""
    store = KeyValueStore()
    result = run(store, b'{"op":"increment","key":"x","by":%s}' % by.encode())
    assert result == {"ok": False, "error": "not a command of the key-value store"}
    assert store.items == {}


# Queries


@pytest.mark.parametrize("key", ["x", "nothing", "ü€😀"])
def test_a_query_reads_what_a_command_would_read(key: str) -> None:
    """§8: read-only operations, without the log."""
    store = KeyValueStore()
    run(store, kv.put_command("x", "1"))
    run(store, kv.put_command("ü€😀", "2"))
    assert store.query(kv.get_command(key)) == store.apply(kv.get_command(key))


@pytest.mark.parametrize(
    "query",
    [kv.put_command("x", "2"), kv.delete_command("x"), kv.append_command("x", "2"), kv.cas_command("x", "1", "2")]
    + [kv.increment_command("x"), b"", b"\xff", b"null", b"[]", b"{}", b'{"op":"get"}', b'{"op":"get","key":1}']
    + [b'{"op":["get"],"key":"x"}', b"[" * 100_000],
)
def test_what_is_not_a_query_changes_nothing_and_gets_an_answer(query: bytes) -> None:
    """§8: what is not in the log must not change one server alone."""
    store = KeyValueStore()
    run(store, kv.put_command("x", "1"))
    assert kv.decode_result(store.query(query)) == {"ok": False, "error": "not a query of the key-value store"}
    assert store.items == {"x": "1"}


# Snapshots


def restored(records: list[bytes]) -> KeyValueStore:
    """Return a store that has become what `records` tell, and was something else before."""
    store = KeyValueStore()
    run(store, kv.put_command("old", "gone"))
    store.restore(iter(records))
    return store


def test_a_snapshot_has_a_readable_record_for_each_key() -> None:
    """§7: with `less`, one can see what is in it."""
    store = KeyValueStore()
    run(store, kv.put_command("x", "1"))
    run(store, kv.put_command('ü "quoted"\n', ""))
    assert list(store.capture()) == [b'["x","1"]', '["ü \\"quoted\\"\\n",""]'.encode()]
    assert restored(list(store.capture())).items == store.items
    assert restored([]).items == {}


def test_a_snapshot_tells_the_state_at_the_moment_when_it_was_taken() -> None:
    """§7: copy-on-write; its records are read while commands are applied again."""
    store = KeyValueStore()
    for i in range(100):
        run(store, kv.put_command(f"k{i}", str(i)))
    before = list(store.capture())
    capture = store.capture()
    first = next(capture)
    for i in range(100):
        run(store, kv.delete_command(f"k{i}") if i % 3 else kv.increment_command(f"k{i}"))
        run(store, kv.put_command(f"new{i}", "x"))
    assert [first, *capture] == before


@pytest.mark.parametrize("halves", ["\ud83d\ude00", "\ud800", "\ude00\ud83d", "\\\ud83d"])
def test_text_that_is_not_unicode_comes_out_of_a_snapshot_as_it_was(halves: str) -> None:
    """Two halves of a character must not become one: a server that was restored would differ from those that were not.
    """
    store = KeyValueStore()
    for half in halves:
        store.apply(json.dumps({"op": "append", "key": "x", "value": half}).encode())
    store.apply(json.dumps({"op": "put", "key": halves[0], "value": "key"}).encode())
    assert store.items["x"] == halves
    assert restored(list(store.capture())).items == store.items


@pytest.mark.parametrize(
    "record", [b"", b"\xff", b"{}", b"[]", b'["x"]', b'["x",1]', b'[null,"x"]', b'["x","y","z"]', b"[" * 100_000]
)
def test_a_record_that_makes_no_sense_is_refused_and_nothing_changes(record: bytes) -> None:
    """Fig. 13, rule 8: there is nothing to become."""
    store = KeyValueStore()
    run(store, kv.put_command("x", "1"))
    with pytest.raises(ValueError, match="^not a record of the key-value store: b'"):
        store.restore([b'["y","2"]', record])
    assert store.items == {"x": "1"}
