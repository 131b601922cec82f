"""A run as a file: JSON lines, one a record, in the order in which things happened (docs/trace-format.md).

A trace holds enough to draw the run and to replay it against Ongaro's TLA+ specification: messages whole, and each
server's state after every step. The same records give the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple, Optional, Protocol, Union

from raft_threads.events import Event, EventKinds
from raft_threads.surroundings import Record, Surrounding
from raft_threads.trace_fields import WrongValue, one_of, quoted

FORMAT = 1
# The first key of the first line: how a trace is told from other files.
HEADER_KEY = "raft_threads_trace"


def _kinds_under(kind: type[Any]) -> list[type[Any]]:
    """Return the classes under `kind` that have none under themselves: the records that there are."""
    below = kind.__subclasses__()
    return [leaf for each in below for leaf in _kinds_under(each)] if below else [kind]


RECORD_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for base in (Event, Surrounding) for kind in _kinds_under(base)
}
_RECORD = one_of("event", RECORD_KINDS)


class BadTrace(ValueError):
    """A file that is not a whole trace. The text names the line and says in one line what is wrong with it."""


@dataclass(frozen=True)
class Header:
    """The first line: which servers the run has, and what its maker wants to be known (seed, profile, ...)."""

    servers: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Trace(NamedTuple):
    """A trace that was read."""

    header: Header
    records: list[Record]


class Writable(Protocol):
    """What a trace is written to, like a text file; for the same bytes everywhere open it with `newline="\\n"`."""

    def write(self, text: str, /) -> object:
        """Take `text`, which is ASCII."""


def header_line(header: Header) -> str:
    """Return the first line of a trace, with its newline. Raises TypeError for metadata that JSON cannot hold."""
    servers = ",".join(quoted(server) for server in header.servers)
    metadata = json.dumps(dict(header.metadata), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f'{{"{HEADER_KEY}":{FORMAT},"servers":[{servers}],"metadata":{metadata}}}\n'


def record_line(record: Record) -> str:
    """Return the line for `record`, with its newline."""
    return _RECORD.write(record) + "\n"


class TraceWriter:
    """An observer that writes a line for each event; surroundings are handed to the same method.

    It has no lock: if several threads tell it of something, they take turns.
    """

    kinds: Optional[EventKinds] = None

    def __init__(self, file: Writable, servers: Sequence[str], metadata: Optional[Mapping[str, Any]] = None) -> None:
        """Write the header: the cluster's `servers`, and `metadata`, any JSON object."""
        self._write = file.write
        self._write(header_line(Header(tuple(servers), metadata or {})))

    def observe(self, event: Record) -> None:
        """Write what happened."""
        self._write(_RECORD.write(event) + "\n")


def read_trace(source: Union[str, os.PathLike[str], Iterable[str]]) -> Trace:
    """Return the trace in a file, or in lines. Raises BadTrace when it is damaged, OSError when it cannot be read."""
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return _read(file, os.fspath(source))
    return _read((line.encode("utf-8", "surrogatepass") for line in source), "trace")


def _read(lines: Iterable[bytes], name: str) -> Trace:
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        header: Header = _understand(_read_header, line, f"{name}:{number}")
        return Trace(header, [_understand(_read_record, line, f"{name}:{number}") for number, line in numbered])
    raise BadTrace(f"{name}: it is empty; a trace begins with a header")


def _understand(read: Callable[[bytes], Any], line: bytes, place: str) -> Any:
    """Return what `read` makes of `line`. Raises BadTrace, which names the `place`."""
    try:
        return read(line)
    except WrongValue as error:
        hint = "" if line.endswith(b"\n") else " (the last line is cut short; without it the rest can be read)"
        raise BadTrace(f"{place}: {error}{hint}") from error


def _read_record(line: bytes) -> Record:
    """Return the record in a line. Raises WrongValue."""
    record: Record = _RECORD.read(_decode(line))
    return record


def _decode(line: bytes) -> Any:
    """Return the JSON value in a line. Raises WrongValue."""
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise WrongValue(f"this is not JSON: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _read_header(line: bytes) -> Header:
    """Return what the first line says. Raises WrongValue."""
    try:
        value = _decode(line)
    except WrongValue:
        value = None
    if not isinstance(value, dict) or HEADER_KEY not in value:
        raise WrongValue(f'this is not a trace: its first line should begin with {{"{HEADER_KEY}":{FORMAT}')
    if value[HEADER_KEY] != FORMAT:
        raise WrongValue(f"trace format {value[HEADER_KEY]} is not known here, only {FORMAT}")
    servers, metadata = value.get("servers"), value.get("metadata")
    if not isinstance(servers, list) or not all(isinstance(server, str) for server in servers):
        raise WrongValue("servers: should be a list of names")
    if not isinstance(metadata, dict):
        raise WrongValue("metadata: should be an object")
    return Header(tuple(servers), metadata)
