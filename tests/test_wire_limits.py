"""How much is read before nonsense is refused (docs/wire-format.md, "Limits"): nobody can make a server hold more."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from raft_threads import peer_thread, snapshot_transfer, wire
from raft_threads.entry_format import MAX_COMMAND_BYTES, add_checksum
from raft_threads.wire import BadMessage, ConnectionEnded, read_message

APPEND_ENTRIES = (
    b'{"type":"append_entries","term":2,"leader_id":"n1","prev_log_index":0,"prev_log_term":0,"leader_commit":0,'
)
INSTALL_SNAPSHOT = (
    b'{"type":"install_snapshot","term":2,"leader_id":"n1","last_included_index":1,"last_included_term":1,'
    b'"offset":0,"done":false,"lines":1}\n'
)
BUFFER = io.DEFAULT_BUFFER_SIZE


class Endless(io.RawIOBase):
    """A caller that never stops sending; counts what was taken."""

    def __init__(self, beginning: bytes, then: bytes) -> None:
        self._chunks = self._all(beginning, then)
        self._rest = b""
        self.taken = 0

    @staticmethod
    def _all(beginning: bytes, then: bytes) -> Iterator[bytes]:
        yield beginning
        while True:
            yield then * (BUFFER // len(then))

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Send as much as is wanted."""
        while not self._rest:
            self._rest = next(self._chunks)
        part = self._rest[: len(buffer)]
        self._rest = self._rest[len(part):]
        buffer[: len(part)] = part
        self.taken += len(part)
        return len(part)


@pytest.mark.parametrize(
    "beginning, then, limit",
    [
        (b"", b"x", wire.MAX_HEADER_BYTES),
        (b'{"type":"status', b" ", wire.MAX_HEADER_BYTES),
        (b'{"type":"command","timeout":1,"lines":1}\n', b"x", wire.MAX_LINE_BYTES),
        (b'{"type":"query","timeout":1,"lines":1}\n', b"x", wire.MAX_LINE_BYTES),
        (INSTALL_SNAPSHOT, b"x", wire.MAX_LINE_BYTES),
        (b'{"type":"change_members","change":"add","members":[', b'"n",', wire.MAX_HEADER_BYTES),
        (APPEND_ENTRIES + b'"lines":10000}\n', b"x" * 4000 + b"\n", wire.MAX_FRAME_BYTES),
        (APPEND_ENTRIES + b'"lines":10001}\n', b"x\n", 0),
    ],
    ids=["no newline", "a long header", "a long command", "a long query", "a long chunk", "many members"]
    + ["many lines", "more lines than allowed"],
)
def test_no_more_is_read_than_the_limit_allows(beginning: bytes, then: bytes, limit: int) -> None:
    """However much comes: what is over the limit stays unread."""
    raw = Endless(beginning, then)
    with pytest.raises(BadMessage):
        read_message(io.BufferedReader(raw))  # type: ignore[type-var]
    assert raw.taken <= len(beginning) + limit + 2 * BUFFER


def test_a_follower_takes_as_much_as_a_leader_sends() -> None:
    """docs/wire-format.md: what a server sends at most, and what it takes at most."""
    assert peer_thread.MAX_ENTRIES_PER_MESSAGE <= wire.MAX_LINES
    assert peer_thread.MAX_BYTES_PER_MESSAGE + wire.MAX_HEADER_BYTES <= wire.MAX_FRAME_BYTES
    page = (Path(__file__).parent.parent / "docs" / "wire-format.md").read_text()
    assert f"at most {peer_thread.MAX_ENTRIES_PER_MESSAGE:,} entries and 1 MiB of them" in page
    assert peer_thread.MAX_BYTES_PER_MESSAGE == 1024 * 1024
    assert snapshot_transfer.MAX_CHUNK_BYTES == 256 * 1024 <= MAX_COMMAND_BYTES
    assert "A chunk has at most 2 MiB; a server sends 256 KiB at a time" in " ".join(page.split())


@pytest.mark.parametrize("digits", [19, 20, 4301, MAX_COMMAND_BYTES])
def test_an_entry_with_an_enormous_index_is_refused_at_once(digits: int) -> None:
    """int() takes minutes for millions of digits, or raises an error of its own."""
    entry = add_checksum(b"9" * digits + b" 1 command x")
    with pytest.raises(BadMessage) as error:
        read_message(io.BytesIO(APPEND_ENTRIES + b'"lines":1}\n' + entry))
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("name", ["a\nb", "\r", "\x1b[2J", "\ud800", "\u2028"])
def test_names_cannot_forge_lines_in_a_log_or_draw_on_a_terminal(name: str) -> None:
    """A name comes back in error texts and log lines."""
    hello = wire._to_json({"type": "hello", "cluster": "raft", "sender": name}).encode() + b"\n"
    with pytest.raises(BadMessage, match="'sender' is missing or has a wrong value"):
        read_message(io.BytesIO(hello))


@pytest.mark.parametrize("seed", range(10))
def test_random_bytes_never_raise_anything_else(seed: int) -> None:
    """With newlines and braces more often than chance has them."""
    print(f"seed {seed}")
    dice = random.Random(f"bytes {seed}")
    alphabet = bytes(range(256)) + b'\n{}[]":,0123456789' * 8
    words = [b'"type":"status"', b'"type":"append_entries"', b'"lines":2', b'"term":1', b"\n", b"{", b"}", b","]
    for _ in range(200):
        data = b"".join(
            dice.choice(words) if dice.random() < 0.3 else bytes(dice.choices(alphabet, k=dice.randint(0, 9)))
            for _ in range(dice.randint(0, 20))
        )
        stream = io.BytesIO(data)
        with pytest.raises((BadMessage, ConnectionEnded)):
            while True:
                read_message(stream)
