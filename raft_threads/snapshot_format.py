"""A snapshot as bytes (§7, Fig. 12): a file that a learner can read with `less`, and that knows when it is damaged.

    5b2c1a09 {"format":1,"last_included_index":5,"last_included_term":3,"configuration":{"servers":{...}}}
    0f3a7d11  ["x","0"]
    77c4e0b2 end 1

Each line has a checksum. The first says what the snapshot replaces, then come the state machine's records, and the last
one tells how many those are. `docs/storage-format.md` describes it for programs in other languages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from raft_threads.configuration import format_configuration, parse_configuration
from raft_threads.entry_format import BadLine, add_checksum, check_and_strip, escape, unescape
from raft_threads.log import SnapshotMetadata

FORMAT = 1
_END = b"end "


def snapshot_lines(metadata: SnapshotMetadata, records: Iterable[bytes]) -> Iterator[bytes]:
    """Return the lines of the snapshot of `metadata` with the state machine's `records`."""
    yield add_checksum(_header(metadata))
    count = 0
    for count, record in enumerate(records, 1):
        yield add_checksum(b" " + escape(record))
    yield add_checksum(_END + b"%d" % count)


def _header(metadata: SnapshotMetadata) -> bytes:
    value = {
        "format": FORMAT,
        "last_included_index": metadata.last_included_index,
        "last_included_term": metadata.last_included_term,
        "configuration": json.loads(format_configuration(metadata.configuration)),
    }
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def read_metadata(line: bytes) -> SnapshotMetadata:
    """Return what the first line says of the log. Raises BadLine."""
    try:
        value = json.loads(check_and_strip(line))
    except (ValueError, RecursionError) as error:
        raise BadLine(f"line 1 is no header of a snapshot: {error}") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise BadLine(f"line 1 is no header of a snapshot of format {FORMAT}")
    index, term = value.get("last_included_index"), value.get("last_included_term")
    if not (type(index) is int and type(term) is int and 1 <= term and 1 <= index):
        raise BadLine("line 1: the last included index and term must be positive whole numbers")
    return SnapshotMetadata(index, term, parse_configuration(json.dumps(value.get("configuration")).encode("ascii")))


def read_records(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Return the records in the `lines` after the first one.

    Raises BadLine, naming the line, at the latest at the end, unless all are there and whole.
    """
    count, ended = 0, False
    for number, line in enumerate(lines, 2):
        try:
            content = check_and_strip(line)
        except BadLine as error:
            raise BadLine(f"line {number}: {error}") from error
        if ended:
            raise BadLine(f"line {number}: something follows the end of the snapshot")
        if content.startswith(b" "):
            count += 1
            yield unescape(content[1:])
        elif content == _END + b"%d" % count:
            ended = True
        else:
            raise BadLine(f"line {number}: this is neither a record nor the end after {count} of them")
    if not ended:
        raise BadLine(f"line {count + 2}: the snapshot breaks off after {count} records")


def check_snapshot(lines: Iterable[bytes]) -> SnapshotMetadata:
    """Return what a snapshot says of the log, after reading all of it. Raises BadLine unless it is whole."""
    lines = iter(lines)
    metadata = read_metadata(next(lines, b""))
    for _ in read_records(lines):
        pass
    return metadata
