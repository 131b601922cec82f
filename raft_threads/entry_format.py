"""One log entry as one line of bytes (§5.3, Fig. 6): the same bytes on the wire and on disk.

    c4e39522 12 3 command {"op":"put","key":"x","value":"1"}
    checksum index term kind command

An entry is encoded once, by the leader that creates it. Followers check the line and store it as it came.
`docs/storage-format.md` describes it for programs in other languages.
"""

from __future__ import annotations

import zlib
from urllib.parse import unquote_to_bytes

# The largest command. A command of nothing but newlines grows threefold when it is escaped.
MAX_COMMAND_BYTES = 2 * 1024 * 1024


class BadLine(ValueError):
    """A line that is not a whole, unharmed log entry."""


def escape(data: bytes) -> bytes:
    """Return `data` with no newline in it: `%` becomes `%25`, newline `%0A`, carriage return `%0D`."""
    return data.replace(b"%", b"%25").replace(b"\n", b"%0A").replace(b"\r", b"%0D")


def unescape(data: bytes) -> bytes:
    """Undo `escape`."""
    return unquote_to_bytes(data) if b"%" in data else data


def add_checksum(content: bytes) -> bytes:
    """Return the line that holds `content`: its CRC-32 in eight hex digits, a blank, the content, a newline."""
    return b"%08x %s\n" % (zlib.crc32(content), content)


def check_and_strip(line: bytes) -> bytes:
    """Return the content of a line made by `add_checksum`.

    Raises BadLine when the line is cut short or its checksum does not fit.
    """
    if not line.endswith(b"\n"):
        raise BadLine("the line is cut short")
    content = line[9:-1]
    if line[:9] != b"%08x " % zlib.crc32(content):
        raise BadLine("the checksum does not fit the content")
    return content


def format_entry(index: int, term: int, kind: str, command: bytes) -> bytes:
    """Return the line for an entry."""
    return add_checksum(b"%d %d %s %s" % (index, term, kind.encode("ascii"), escape(command)))


def is_number(field: bytes) -> bool:
    """Return whether `field` is a number of at most 19 digits, as 2^63-1 has: int() is slow or fails with thousands."""
    return field.isdigit() and len(field) <= 19


def parse_entry(line: bytes) -> tuple[int, int, str, bytes]:
    """Return `(index, term, kind, command)` of a line made by `format_entry`.

    Raises BadLine when the line is not whole, its checksum does not fit, or its fields make no sense.
    """
    fields = check_and_strip(line).split(b" ", 3)
    if len(fields) != 4 or not (is_number(fields[0]) and is_number(fields[1]) and fields[2].isalpha()):
        raise BadLine("the fields are not: index term kind command")
    return int(fields[0]), int(fields[1]), fields[2].decode("ascii"), unescape(fields[3])
