"""One entry as one line (§5.3): the same bytes on the wire and on disk, and any damage is noticed."""

from __future__ import annotations

import random

import pytest

from raft_threads.entry_format import (
    BadLine,
    add_checksum,
    check_and_strip,
    escape,
    format_entry,
    parse_entry,
    unescape,
)
from raft_threads.log import COMMAND, NO_OP, LogEntry


def test_a_line_reads_as_the_documentation_says() -> None:
    """docs/storage-format.md: checksum, index, term, kind, command."""
    assert format_entry(1, 1, NO_OP, b"") == b"3d10f2e3 1 1 noop \n"
    assert format_entry(2, 1, COMMAND, b'{"op":"put","key":"x","value":"1"}') == (
        b'7c02b622 2 1 command {"op":"put","key":"x","value":"1"}\n'
    )


def test_every_byte_survives_and_none_breaks_the_line() -> None:
    """Commands are opaque bytes."""
    command = bytes(range(256)) * 2
    line = format_entry(7, 3, COMMAND, command)
    assert line.count(b"\n") == 1 and b"\r" not in line
    assert parse_entry(line) == (7, 3, COMMAND, command)


@pytest.mark.parametrize("data", [b"", b"%", b"%0A", b"\n", b"100%\r\n", b"%25", b" leading and trailing "])
def test_escaping_is_undone_exactly(data: bytes) -> None:
    """Also for text that looks escaped already."""
    assert unescape(escape(data)) == data


@pytest.mark.parametrize("seed", range(20))
def test_any_single_flipped_bit_is_noticed(seed: int) -> None:
    """CRC-32 finds all single-bit errors."""
    print(f"seed {seed}")
    dice = random.Random(f"flip {seed}")
    line = format_entry(dice.randint(1, 10**9), dice.randint(1, 99), COMMAND, dice.getrandbits(400).to_bytes(50, "big"))
    position = dice.randrange(len(line))
    flipped = line[:position] + bytes([line[position] ^ (1 << dice.randrange(8))]) + line[position + 1:]
    with pytest.raises(BadLine):
        parse_entry(flipped)


def test_a_line_cut_anywhere_is_noticed() -> None:
    """As after a write that was interrupted."""
    line = format_entry(12, 2, COMMAND, b"some command")
    for length in range(len(line)):
        with pytest.raises(BadLine):
            parse_entry(line[:length])
    with pytest.raises(BadLine):
        parse_entry(line[:-1] + b"x")


@pytest.mark.parametrize(
    "content",
    [b"", b"1 1 command", b"x 1 command y", b"1 x command y", b"-1 1 command y", b"1 1  y", b"1 1 c0mmand y"]
    + [b"9" * 5000 + b" 1 command y", b"1 " + b"9" * 100_000 + b" command y"],
)
def test_a_whole_line_whose_fields_make_no_sense_is_refused(content: bytes) -> None:
    """The checksum fits, the fields do not."""
    with pytest.raises(BadLine):
        parse_entry(add_checksum(content))


@pytest.mark.parametrize("content", [b"0 1 command x", b"1 0 command x", b"1 1 gossip x"])
def test_a_line_that_cannot_be_a_log_entry_is_refused(content: bytes) -> None:
    """Fig. 2: the first index is 1, and so is the first term that has a leader."""
    with pytest.raises(BadLine):
        LogEntry.from_line(add_checksum(content))


def test_an_entry_is_encoded_once_and_keeps_the_bytes_it_came_in() -> None:
    """Followers store the line that the leader made."""
    made = LogEntry(3, 2, COMMAND, b"x")
    assert made.line == format_entry(3, 2, COMMAND, b"x")
    received = LogEntry.from_line(made.line)
    assert received == made
    assert received.line is made.line


def test_a_checksum_is_eight_digits_even_if_it_begins_with_zeros() -> None:
    """The format is fixed, so that the content begins at the same place in every line."""
    content = next(b"%d" % n for n in range(100_000) if add_checksum(b"%d" % n).startswith(b"00"))
    assert check_and_strip(add_checksum(content)) == content
