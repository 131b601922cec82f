"""What a space-time diagram shows, before anybody decides where: lanes, arrows, marks and partitions, row by row.

A row is one record of the trace that has something to show. Rows are in the order of the trace; how far apart they are
drawn is the drawing's business (`layout.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Optional

from raft_threads.diagrams.run import Run, server_of
from raft_threads.diagrams.words import is_heartbeat, is_refusal, label_of, whole_journey, whole_record
from raft_threads.events import Event, Restarted, Stopped
from raft_threads.journeys import Journey
from raft_threads.messages import InstallSnapshot, PreVote, RequestVote, TimeoutNow
from raft_threads.state import Role
from raft_threads.surroundings import Crashed, Link, LinksCut, LinksHealed, Stalled, links_between

# What one picture holds. More would be slow to draw and nobody would read it.
MOST_ROWS = 2000


class Window(NamedTuple):
    """Which part of a run to show, in seconds since its first record; None for as far as it goes."""

    first: Optional[float] = None
    last: Optional[float] = None

    def holds(self, second: float) -> bool:
        """Return whether something at `second` is to be shown."""
        return (self.first is None or second >= self.first) and (self.last is None or second <= self.last)


@dataclass(frozen=True)
class Row:
    """One moment: its time in seconds since the run began, and whether only a quiet message is to be seen there."""

    second: float
    quiet: bool


@dataclass(frozen=True)
class Stretch:
    """A server's role and term from `row` on; no role when it is down. `new_term` says that the term was another."""

    row: int
    role: Optional[Role]
    term: int
    new_term: bool


@dataclass(frozen=True)
class Arrow:
    """A message. `first` and `last` are rows; None where that end lies outside the picture, or does not exist.

    `kind` is vote, append or heartbeat. `fate` is received, lost, or under way (when the picture ends).
    """

    sender: str
    receiver: str
    first: Optional[int]
    last: Optional[int]
    kind: str
    reply: bool
    refusal: bool
    quiet: bool
    again: bool
    fate: str
    text: str


@dataclass(frozen=True)
class Mark:
    """Something that one server did, or that was done to it. `label` may be empty; `text` is all that is known."""

    row: int
    server: str
    kind: str
    label: str
    text: str


@dataclass(frozen=True)
class Band:
    """Rows `first` to `last` during which the same `links` were cut.

    `groups` are the parts that they cut the cluster into, if they do so cleanly; none if they do not. `label` tells of
    either.
    """

    first: int
    last: int
    links: frozenset[Link]
    groups: tuple[tuple[str, ...], ...]

    label: str


@dataclass(frozen=True)
class Pause:
    """A thread of `server` stood still from row `first` to row `last`."""

    server: str
    first: int
    last: int
    text: str


@dataclass
class SpaceTime:
    """A picture's contents."""

    servers: list[str]
    rows: list[Row] = field(default_factory=list)
    lanes: dict[str, list[Stretch]] = field(default_factory=dict)
    arrows: list[Arrow] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    bands: list[Band] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    # How many moments the window holds; more than there are rows if not all of them fit into one picture.
    moments: int = 0


def draw_up(run: Run, window: Window = Window(), most_rows: int = MOST_ROWS) -> SpaceTime:
    """Return what a diagram of `window` shows: its first `most_rows` moments if there are more."""
    ends = _message_ends(run)
    shown = [
        position
        for position, record in enumerate(run.records)
        if window.holds(run.seconds[position]) and (position in ends or _shows_itself(record))
    ]
    picture = SpaceTime(run.servers, moments=len(shown))
    rows = {position: row for row, position in enumerate(shown[:most_rows])}
    picture.rows = [Row(run.seconds[position], _is_quiet(run, position, ends)) for position in rows]
    picture.lanes = _lanes(run, rows)
    picture.arrows = list(_arrows(run, rows))
    picture.marks = _marks(run, rows)
    picture.bands = list(_bands(run, rows))
    picture.pauses = list(_pauses(run, rows, picture.rows))
    return picture


def _message_ends(run: Run) -> dict[int, list[Journey]]:
    """Return which messages begin or end at which position."""
    ends: dict[int, list[Journey]] = {}
    for journey in run.journeys:
        # A second copy has no beginning of its own: its first one is drawn already.
        for position in {None if journey.again else journey.sent, journey.received} - {None}:
            assert position is not None
            ends.setdefault(position, []).append(journey)
    return ends


def _shows_itself(record: object) -> bool:
    return isinstance(record, (LinksCut, LinksHealed)) or label_of(record) is not None


def _is_quiet(run: Run, position: int, ends: dict[int, list[Journey]]) -> bool:
    label = label_of(run.records[position])
    if position in ends:
        return all(run.is_quiet(journey) for journey in ends[position])
    return label is not None and not label.text


# Lanes


def _lanes(run: Run, rows: dict[int, int]) -> dict[str, list[Stretch]]:
    """Return each server's roles and terms; the first stretch holds what it was like as the picture begins.

    A change is drawn at the first row that shows it. Until its first record a server is taken to be down.
    """
    lanes: dict[str, list[Stretch]] = {server: [] for server in run.servers}
    now: dict[str, tuple[Optional[Role], int]] = dict.fromkeys(run.servers, (None, 0))
    down: set[str] = set()
    begun = False
    for position, record in enumerate(run.records):
        if position in rows and not begun:
            begun = True
            for server, (role, term) in now.items():
                lanes[server].append(Stretch(0, role, term, role is not None))
        server_name = server_of(record)
        if server_name is None or (begun and position not in rows):
            continue
        before = now[server_name]
        now[server_name] = after = _role_after(record, before, server_name in down)
        if isinstance(record, (Stopped, Crashed, Restarted)):
            (down.discard if isinstance(record, Restarted) else down.add)(server_name)
        if begun and after != before:
            new_term = after[0] is not None and (after[1] != before[1] or before[0] is None)
            lanes[server_name].append(Stretch(rows[position], *after, new_term))
    return lanes


def _role_after(record: object, before: tuple[Optional[Role], int], down: bool) -> tuple[Optional[Role], int]:
    """Return role and term after `record`. A server that is `down` stays so until it restarts, whatever it says."""
    if isinstance(record, (Stopped, Crashed)):
        return None, before[1]
    if isinstance(record, Restarted) or (isinstance(record, Event) and not down):
        return record.state.role, record.state.term
    return before


# Messages


def _arrows(run: Run, rows: dict[int, int]) -> Iterator[Arrow]:
    for journey in run.journeys:
        first = None if journey.sent is None else rows.get(journey.sent)
        last = None if journey.received is None else rows.get(journey.received)
        if first is None and last is None:
            continue
        yield Arrow(
            sender=journey.sender,
            receiver=journey.receiver,
            first=first,
            last=last,
            kind=kind_of(journey),
            reply=journey.reply is not None,
            refusal=journey.reply is not None and is_refusal(journey.reply),
            quiet=run.is_quiet(journey),
            again=journey.again,
            fate="lost" if journey.lost is not None else "received" if last is not None else "under way",
            text=whole_journey(journey, run.second_of),
        )


def kind_of(journey: Journey) -> str:
    """Return which RPC a message belongs to; an AppendEntries without entries is a heartbeat (§5.2)."""
    if isinstance(journey.message, (RequestVote, PreVote, TimeoutNow)):
        return "vote"
    if isinstance(journey.message, InstallSnapshot):
        return "snapshot"
    return "heartbeat" if is_heartbeat(journey.message) else "append"


# Marks


def _marks(run: Run, rows: dict[int, int]) -> list[Mark]:
    marks: list[Mark] = []
    newest: dict[str, Mark] = {}
    for position, row in rows.items():
        record = run.records[position]
        label, server = label_of(record), server_of(record)
        if label is None or server is None:
            continue
        text = whole_record(record, run.seconds[position])
        if isinstance(record, Crashed) and server in newest and newest[server].kind == "stop":
            # A real node that crashes says that it stops, like any other that is stopped; one mark is enough.
            marks.remove(newest[server])
        newest[server] = Mark(row, server, label.kind, label.text, text)
        marks.append(newest[server])
    return marks


# The network


def cuts(run: Run) -> Iterator[tuple[int, frozenset[Link]]]:
    """Return at which positions the network changes, and which links are cut from there on."""
    cut: frozenset[Link] = frozenset()
    for position, record in enumerate(run.records):
        if isinstance(record, (LinksCut, LinksHealed)):
            cut = cut.union(record.links) if isinstance(record, LinksCut) else cut.difference(record.links)
            yield position, cut


def text_of_cut(cut: frozenset[Link], servers: list[str]) -> str:
    """Return which links are cut, short: by the parts that they leave, or one by one."""
    parts = parts_left(cut, servers)
    if parts:
        return "cut: " + " | ".join(" ".join(part) for part in parts)
    both = [f"{one}–{other}" for one, other in sorted(cut) if one < other and (other, one) in cut]
    one_way = [f"{one}→{other}" for one, other in sorted(cut) if (other, one) not in cut]
    return "cut: " + ", ".join(both + one_way)


def _bands(run: Run, rows: dict[int, int]) -> Iterator[Band]:
    if not rows:
        return
    first_position, last_position = min(rows), max(rows)
    changes = [(position, cut) for position, cut in cuts(run) if position <= last_position]
    ends = [position for position, _ in changes[1:]] + [last_position]
    for (position, cut), end in zip(changes, ends):
        if cut and end >= first_position:
            first, last = rows.get(position, 0), rows[end]
            yield Band(first, last, cut, parts_left(cut, run.servers), text_of_cut(cut, run.servers))


def parts_left(cut: frozenset[Link], servers: list[str]) -> tuple[tuple[str, ...], ...]:
    """Return the parts that a cut leaves of the cluster; none if it also divides servers of one part."""
    parts: list[set[str]] = []
    for server in servers:
        whole = {other for other in servers if not {(server, other), (other, server)} & cut}
        joined = [part for part in parts if part & whole]
        parts = [part for part in parts if part not in joined] + [set().union(whole, {server}, *joined)]
    if set(links_between(parts)) != cut:
        return ()
    in_order = [tuple(server for server in servers if server in part) for part in parts]
    return tuple(sorted(in_order, key=lambda part: servers.index(part[0])))


def _pauses(run: Run, rows: dict[int, int], moments: list[Row]) -> Iterator[Pause]:
    for position, row in rows.items():
        record = run.records[position]
        if isinstance(record, Stalled):
            end = run.seconds[position] + record.duration
            last = max(later for later in range(row, len(moments)) if later == row or moments[later].second <= end)
            yield Pause(record.server, row, last, whole_record(record, run.seconds[position]))
