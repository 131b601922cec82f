"""Where things stand in a space-time diagram: lanes side by side, time downwards, and room for every label.

Time is neither true to scale nor left out. Rows follow each other closely where much happens at once, gaps grow with
the logarithm of the time that passes, and a row moves down until its label touches no other. The axis says what time it
really is. All lengths are pixels of the SVG.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log10
from typing import NamedTuple

from raft_threads.diagrams.space_time import Arrow, Mark, SpaceTime
from raft_threads.short_text import shortened

LANE_WIDTH = 14.0
WIDEST_NETWORK = 300.0
FONT_SIZE = 10.0
LABEL_HEIGHT = 12.0
HEADING_HEIGHT = 30.0
# Names of the lanes are repeated this often, so that one is always on the screen.
HEADING_DISTANCE = 900.0
TICK_DISTANCE = 32.0
# The room from one lane to the next, for up to so many servers.
PITCHES = ((3, 200.0), (5, 172.0), (7, 146.0), (999, 128.0))
# How far two things on one lane keep apart.
BETWEEN_LABELS = 13.0
LABEL_TO_ARROW = 8.5
BETWEEN_ARROWS = 5.0
BETWEEN_QUIET_ARROWS = 2.0
# How far a message falls at least on its way, so that its direction in time is seen.
FALL = 9.0
QUIET_FALL = 3.0
# How much a row moves down when ten times as many milliseconds pass.
PER_DECADE = 10.0
NARROW, WIDE = set("ijltfrI.,:;'|!()[] "), set("mwMWO@%—…")


class Box(NamedTuple):
    """A rectangle that text fills."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Return whether the two have any room in common."""
        side_by_side = self.right <= other.left or other.right <= self.left
        one_below_the_other = self.bottom <= other.top or other.bottom <= self.top
        return not (side_by_side or one_below_the_other)


@dataclass(frozen=True)
class PlacedText:
    """Text as it is drawn, cut to its room: where it begins, the middle of its line, and what belongs to it."""

    x: float
    y: float
    text: str
    centred: bool = False

    @property
    def box(self) -> Box:
        """The room that it takes."""
        width = text_width(self.text)
        left = self.x - width / 2 if self.centred else self.x
        return Box(left, self.y - LABEL_HEIGHT / 2, left + width, self.y + LABEL_HEIGHT / 2)


@dataclass
class Layout:
    """The places of everything in one picture."""

    picture: SpaceTime
    pitch: float
    axis_x: float
    lanes_left: float
    width: float
    height: float = 0.0
    rows: list[float] = field(default_factory=list)
    headings: list[float] = field(default_factory=list)
    labels: list[tuple[Mark, PlacedText]] = field(default_factory=list)
    terms: list[tuple[str, PlacedText]] = field(default_factory=list)
    ticks: list[PlacedText] = field(default_factory=list)
    networks: list[PlacedText] = field(default_factory=list)

    def x_of(self, server: str) -> float:
        """Return the middle of a server's lane."""
        return self.lanes_left + LANE_WIDTH + self.picture.servers.index(server) * self.pitch

    @property
    def lanes_right(self) -> float:
        """Where the room of the last lane ends."""
        return self.lanes_left + len(self.picture.servers) * self.pitch

    def all_texts(self) -> list[PlacedText]:
        """Return all text in the picture but the title and the legend."""
        places = [(self.x_of(server), y, server) for y in self.headings for server in self.picture.servers]
        names = [PlacedText(x, y, server, centred=True) for x, y, server in places]
        placed = [text for _, text in self.labels] + [text for _, text in self.terms]
        return names + placed + self.ticks + self.networks


def text_width(text: str) -> float:
    """Return about how wide `text` is; rather more than less, as nobody knows the font."""
    return FONT_SIZE * sum(0.42 if letter in NARROW else 0.98 if letter in WIDE else 0.66 for letter in text)


def fitted(text: str, width: float) -> str:
    """Return `text`, cut so that it is no wider than `width`."""
    length = len(text)
    while length > 1 and text_width(shortened(text, length)) > width:
        length -= 1
    return shortened(text, length)


def lay_out(picture: SpaceTime) -> Layout:
    """Return where everything in `picture` stands."""
    pitch = next(pitch for most, pitch in PITCHES if len(picture.servers) <= most)
    network_width = max((text_width(band.label) + 12 for band in picture.bands), default=0.0)
    axis_x = max(44.0, text_width(_time_text(picture.rows[-1].second))) + 10 if picture.rows else 0.0
    terms = [str(stretch.term) for stretches in picture.lanes.values() for stretch in stretches]
    lanes_left = axis_x + 6 + max(0.0, max(map(text_width, terms), default=0.0) - LANE_WIDTH)
    width = lanes_left + len(picture.servers) * pitch + min(network_width, WIDEST_NETWORK)
    layout = Layout(picture, pitch, axis_x, lanes_left, width)
    _Rows(layout).place()
    _place_labels(layout)
    _place_ticks(layout)
    return layout


class _Rows:
    """Goes down the rows, and knows of each lane how far it is taken."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        picture = layout.picture
        self._labels: dict[int, list[str]] = {}
        self._ends: dict[int, list[str]] = {}
        self._terms: dict[int, list[str]] = {}
        self._arriving: dict[int, list[Arrow]] = {}
        for mark in picture.marks:
            if mark.label:
                self._labels.setdefault(mark.row, []).append(mark.server)
        for arrow in picture.arrows:
            for row, server in ((arrow.first, arrow.sender), (arrow.last, arrow.receiver)):
                if row is not None:
                    self._ends.setdefault(row, []).append(server)
            if arrow.last is not None:
                self._arriving.setdefault(arrow.last, []).append(arrow)
        for server, stretches in picture.lanes.items():
            for stretch in stretches:
                if stretch.new_term:
                    self._terms.setdefault(stretch.row, []).append(server)
        for band in picture.bands:
            self._labels.setdefault(band.first, []).append("")  # the network's own column
        # From where on each lane is free for a label, an arrow, a term; and when the rows began to be dense.
        self._free: dict[tuple[str, str], float] = {}

    def place(self) -> None:
        """Give each row its height, and put headings between them."""
        layout = self._layout
        layout.headings.append(HEADING_HEIGHT / 2)
        y = HEADING_HEIGHT
        for row, moment in enumerate(layout.picture.rows):
            if row:
                before = layout.picture.rows[row - 1]
                gap = PER_DECADE * log10(1.0 + 1000.0 * (moment.second - before.second))
                y += gap / 6 if moment.quiet and before.quiet else gap
            y = self._below_what_is_there(row, y, BETWEEN_QUIET_ARROWS if moment.quiet else BETWEEN_ARROWS)
            if y - layout.headings[-1] > HEADING_DISTANCE:
                layout.headings.append(y + HEADING_HEIGHT / 2)
                y += HEADING_HEIGHT + LABEL_HEIGHT / 2
            self._take(row, y)
            layout.rows.append(y)
        layout.height = y + 2 * LABEL_HEIGHT

    def _below_what_is_there(self, row: int, y: float, distance: float) -> float:
        """Return where `row` may stand: at `y`, or below what its own lanes hold."""
        free = self._free.get
        for arrow in self._arriving.get(row, ()):
            if arrow.first is not None:
                y = max(y, self._layout.rows[arrow.first] + (QUIET_FALL if arrow.quiet else FALL))
        for server in self._labels.get(row, ()):
            y = max(y, free((server, "label"), 0.0))
        for server in self._ends.get(row, ()):
            y = max(y, free((server, "arrow"), 0.0) + distance)
        for server in self._terms.get(row, ()):
            y = max(y, free((server, "term"), 0.0))
        return y

    def _take(self, row: int, y: float) -> None:
        for server in self._labels.get(row, ()):
            self._free[server, "label"] = y + BETWEEN_LABELS
            self._free[server, "arrow"] = y + LABEL_TO_ARROW - BETWEEN_ARROWS
        for server in self._ends.get(row, ()):
            self._free[server, "arrow"] = max(self._free.get((server, "arrow"), 0.0), y)
            self._free[server, "label"] = max(self._free.get((server, "label"), 0.0), y + LABEL_TO_ARROW)
        for server in self._terms.get(row, ()):
            self._free[server, "term"] = y + LABEL_HEIGHT + 1


def _place_labels(layout: Layout) -> None:
    picture = layout.picture
    room = layout.pitch - LANE_WIDTH - 11
    for mark in picture.marks:
        if mark.label:
            x = layout.x_of(mark.server) + LANE_WIDTH / 2 + 7
            layout.labels.append((mark, PlacedText(x, layout.rows[mark.row], fitted(mark.label, room))))
    for server, stretches in picture.lanes.items():
        for stretch in stretches:
            if stretch.new_term:
                term = str(stretch.term)
                # One that is wider than the lane grows to the left: the label is on the right.
                x = layout.x_of(server) - max(0.0, text_width(term) / 2 - LANE_WIDTH / 2)
                layout.terms.append((server, PlacedText(x, layout.rows[stretch.row], term, centred=True)))
    for band in picture.bands:
        place = PlacedText(layout.lanes_right + 6, layout.rows[band.first], fitted(band.label, WIDEST_NETWORK - 10))
        layout.networks.append(place)


def _time_text(second: float) -> str:
    return f"{second:.3f}"


def _place_ticks(layout: Layout) -> None:
    """Say on the axis what time it is, as often as there is room."""
    lowest = 0.0
    for y, row in zip(layout.rows, layout.picture.rows):
        text = _time_text(row.second)
        if y >= lowest and not (layout.ticks and layout.ticks[-1].text == text):
            layout.ticks.append(PlacedText(layout.axis_x - 6 - text_width(text), y, text))
            lowest = y + TICK_DISTANCE
