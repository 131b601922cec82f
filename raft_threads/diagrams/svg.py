"""Draw a space-time diagram as SVG: one file, no script, to be opened in any browser or printed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional
from xml.sax.saxutils import escape, quoteattr

from raft_threads.diagrams.layout import (
    HEADING_HEIGHT,
    LABEL_HEIGHT,
    LANE_WIDTH,
    Box,
    Layout,
    lay_out,
    text_width,
)
from raft_threads.diagrams.space_time import Arrow, Band, Mark, SpaceTime, Stretch
from raft_threads.diagrams.style import BANDS, CSS, LANE_SAMPLES, LINE_SAMPLES, SHAPES, UNEVEN_BAND, definitions
from raft_threads.state import Role

MARGIN = 16.0
NARROWEST = 640.0
LEGEND_ROW = 18.0
# Where a message ends that does not arrive: so far right of the nearest lane before its receiver, as a part of the room
# between two lanes. Labels seldom reach there. And how far it falls on its way.
LOST_AT = 0.66
LOST_FALL = 9.0
CROSS = 3.5


def draw_svg(picture: SpaceTime, title: str, subtitle: str = "") -> str:
    """Return `picture` as an SVG document under a `title` and a `subtitle`."""
    layout = lay_out(picture)
    width = max(layout.width, NARROWEST, 1.5 * text_width(title), text_width(subtitle)) + 2 * MARGIN
    legend, legend_height = _legend(width - 2 * MARGIN)
    top = MARGIN + 44 + legend_height
    height = top + layout.height + MARGIN
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}">',
        f"<title>{_text(title)}</title>",
        f"<style>{CSS}</style>",
        definitions(),
        f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>',
        f'<text class="title" x="{MARGIN:g}" y="{MARGIN + 8:g}">{_text(title)}</text>',
        f'<text class="subtitle" x="{MARGIN:g}" y="{MARGIN + 27:g}">{_text(subtitle)}</text>',
        f'<g class="legend" transform="translate({MARGIN:g},{MARGIN + 48:g})">{legend}</g>',
        f'<g transform="translate({MARGIN:g},{top:g})">',
        *_bands(layout),
        *_axis(layout),
        *_messages(layout),
        *_lanes(layout),
        *_marks(layout),
        *_names(layout),
        "</g>",
        "</svg>",
        "",
    ]
    return "\n".join(parts)


def _text(text: str) -> str:
    """Return `text` escaped; characters that XML has no place for are written as Python does."""
    return escape("".join(letter if _is_xml(letter) else ascii(letter)[1:-1] for letter in text))


def _is_xml(letter: str) -> bool:
    return letter in "\n\t" or " " <= letter <= "\ud7ff" or "\ue000" <= letter <= "\ufffd" or letter >= "\U00010000"


def _group(classes: str, title: str, *parts: str) -> str:
    """Return a group that tells `title` to whoever points at it."""
    return f"<g class={quoteattr(classes)}><title>{_text(title)}</title>{''.join(parts)}</g>"


# The network


def _bands(layout: Layout) -> Iterator[str]:
    for band, label in zip(layout.picture.bands, layout.networks):
        top, bottom = layout.rows[band.first] - 7, layout.rows[band.last]
        title = "cut: " + ", ".join(f"{sender} → {receiver}" for sender, receiver in sorted(band.links))
        parts = [
            f'<rect x="{layout.x_of(server) - LANE_WIDTH:g}" y="{top:g}" width="{layout.pitch:g}" '
            f'height="{bottom - top:g}" fill="{_band_colour(band, server)}"/>'
            for server in layout.picture.servers
        ]
        x = layout.lanes_right + 1
        parts.append(f'<path d="M{x - 3:g},{top:g} h5 V{bottom:g} h-5" fill="none" stroke="#b06f00"/>')
        parts.append(f'<text x="{label.x:g}" y="{label.y:g}">{_text(label.text)}</text>')
        yield _group("network", title, *parts)


def _paper(layout: Layout, mark: Mark, box: Box) -> str:
    """Return a piece of the ground that a label stands on, to be laid over the lines that pass there."""
    bands = [band for band in layout.picture.bands if band.first <= mark.row < band.last]
    colour = _band_colour(bands[0], mark.server) if bands else "#fff"
    left, top, right, bottom = box
    return (
        f'<rect x="{left - 1:g}" y="{top:g}" width="{right - left:.1f}" height="{bottom - top:g}" fill="{colour}" '
        'fill-opacity="0.85"/>'
    )


def _band_colour(band: Band, server: str) -> str:
    parts = [number for number, group in enumerate(band.groups) if server in group]
    return BANDS[parts[0] % len(BANDS)] if parts else UNEVEN_BAND


def _axis(layout: Layout) -> Iterator[str]:
    x = layout.axis_x
    yield f'<path class="axis" d="M{x:g},{HEADING_HEIGHT:g} V{layout.height:g}"/>'
    yield f'<text class="tick" x="{x:g}" y="{HEADING_HEIGHT / 2:g}" text-anchor="end">seconds</text>'
    for tick in layout.ticks:
        yield f'<path class="axis" d="M{x - 3:g},{tick.y:g} h6"/>'
        yield f'<text class="tick" x="{x - 6:g}" y="{tick.y:g}" text-anchor="end">{tick.text}</text>'


# Lanes


def _lanes(layout: Layout) -> Iterator[str]:
    for server, stretches in layout.picture.lanes.items():
        ends = [layout.rows[stretch.row] for stretch in stretches[1:]] + [layout.height]
        for number, (stretch, bottom) in enumerate(zip(stretches, ends)):
            top = layout.rows[stretch.row] if number else HEADING_HEIGHT - 6
            yield _stretch(layout.x_of(server), top, bottom, stretch, server)
    for pause in layout.picture.pauses:
        top, bottom = layout.rows[pause.first], max(layout.rows[pause.last], layout.rows[pause.first] + 6)
        x = layout.x_of(pause.server) - LANE_WIDTH / 2 + 2
        bar = f'<rect class="pause" x="{x:g}" y="{top:g}" width="{LANE_WIDTH - 4:g}" height="{bottom - top:g}"/>'
        yield _group("stall", pause.text, bar)
    for server, term in layout.terms:
        width = max(LANE_WIDTH + 2, text_width(term.text) + 4)
        pill = (
            f'<rect x="{term.x - width / 2:g}" y="{term.y - 6:g}" width="{width:g}" height="12" rx="6"/>'
            f'<text x="{term.x:g}" y="{term.y:g}">{term.text}</text>'
        )
        yield _group("term", f"{server} is in term {term.text}", pill)


def _stretch(x: float, top: float, bottom: float, stretch: Stretch, server: str) -> str:
    if stretch.role is None:
        shape = f'<path class="down" d="M{x:g},{top:g} V{bottom:g}"/>'
        return _group("stretch", f"{server} is down", shape)
    style = "leader-lane" if stretch.role is Role.LEADER else stretch.role.value
    shape = (
        f'<rect class="lane {style}" x="{x - LANE_WIDTH / 2:g}" y="{top:g}" width="{LANE_WIDTH:g}" '
        f'height="{max(0.0, bottom - top):g}"/>'
    )
    return _group("stretch", f"{server} is {stretch.role.value} in term {stretch.term}", shape)


def _names(layout: Layout) -> Iterator[str]:
    for y in layout.headings:
        for server in layout.picture.servers:
            x, width = layout.x_of(server), text_width(server) * 1.2 + 8
            yield f'<rect x="{x - width / 2:g}" y="{y - 9:g}" width="{width:g}" height="18" rx="3" fill="#fff"/>'
            yield f'<text class="name" x="{x:g}" y="{y:g}">{_text(server)}</text>'


# Messages


def _messages(layout: Layout) -> Iterator[str]:
    """The quiet ones first, so that the others lie above them."""
    for arrow in sorted(layout.picture.arrows, key=lambda arrow: not arrow.quiet):
        yield _message(layout, arrow)


def _message(layout: Layout, arrow: Arrow) -> str:
    line, end = _line(layout, arrow)
    parts = [f'<path class="hit" d="{line}"/>', f'<path class="line" d="{line}"/>']
    if arrow.fate == "lost":
        x, y = end
        arm = CROSS * (0.7 if arrow.quiet else 1.0)
        parts.append(
            f'<path class="cross" d="M{x - arm:.1f},{y - arm:.1f} l{2 * arm:.1f},{2 * arm:.1f} '
            f'm0,{-2 * arm:.1f} l{-2 * arm:.1f},{2 * arm:.1f}"/>'
        )
    return _group(_classes(arrow), arrow.text, *parts)


def _classes(arrow: Arrow) -> str:
    chosen = {"reply": arrow.reply, "refusal": arrow.refusal, "quiet": arrow.quiet, "again": arrow.again}
    names = ["message", arrow.kind, *(name for name, holds in chosen.items() if holds)]
    return " ".join([*names, arrow.fate.replace(" ", "-")])


def _line(layout: Layout, arrow: Arrow) -> tuple[str, tuple[float, float]]:
    """Return the path of a message, and where it ends."""
    direction = 1 if layout.x_of(arrow.receiver) > layout.x_of(arrow.sender) else -1
    start_x = layout.x_of(arrow.sender) + direction * LANE_WIDTH / 2
    end_x = layout.x_of(arrow.receiver) - direction * LANE_WIDTH / 2
    start_y = _height_of(layout, arrow.first, HEADING_HEIGHT - 4)
    end_y = _height_of(layout, arrow.last, layout.height)
    if arrow.fate == "lost":
        left_lane = layout.x_of(arrow.receiver) - (layout.pitch if direction > 0 else 0.0)
        end_x, end_y = left_lane + LOST_AT * layout.pitch, start_y + LOST_FALL
    return f"M{start_x:.1f},{start_y:.1f} L{end_x:.1f},{end_y:.1f}", (end_x, end_y)


def _height_of(layout: Layout, row: Optional[int], otherwise: float) -> float:
    return otherwise if row is None else layout.rows[row]


# Marks


def _marks(layout: Layout) -> Iterator[str]:
    for mark in layout.picture.marks:
        shape = SHAPES.get(mark.kind)
        if shape is not None:
            place = shape.format(x=f"{layout.x_of(mark.server):g}", y=f"{layout.rows[mark.row]:.1f}")
            yield _group(f"mark {mark.kind}", mark.text, place)
    for mark, text in layout.labels:
        words = f'<text x="{text.x:g}" y="{text.y:g}">{_text(text.text)}</text>'
        yield _group(f"label {mark.kind}", mark.text, _paper(layout, mark, text.box), words)


# The legend


def _legend(width: float) -> tuple[str, float]:
    """Return what the colours and lines mean, in as many rows as `width` needs, and how high it is."""
    parts: list[str] = []
    x, y = 0.0, 0.0
    for kind, text in [*LANE_SAMPLES, *LINE_SAMPLES]:
        sample_width = 40.0 if kind.startswith("message") else 22.0
        needed = sample_width + text_width(text) + 14
        if x + needed > width:
            x, y = 0.0, y + LEGEND_ROW
        parts.append(_sample(kind, x, y))
        parts.append(f'<text x="{x + sample_width:g}" y="{y:g}">{_text(text)}</text>')
        x += needed
    return "".join(parts), y + LABEL_HEIGHT


def _sample(kind: str, x: float, y: float) -> str:
    if kind in SHAPES:
        ground = f'<rect class="follower" x="{x + 1:g}" y="{y - 6:g}" width="14" height="12"/>'
        return ground + SHAPES[kind].format(x=x + 8, y=y)
    if kind == "down":
        return f'<path class="down" d="M{x + 2:g},{y:g} h14"/>'
    if not kind.startswith("message"):
        return f'<rect class="{kind}" x="{x:g}" y="{y - 6:g}" width="16" height="12"/>'
    cross = ""
    if kind.endswith("lost"):
        cross = f'<path class="cross" d="M{x + 25:g},{y - 3.5:g} l7,7 m0,-7 l-7,7"/>'
    length = 28 if kind.endswith("lost") else 34
    return f'<g class="{kind}"><path class="line" d="M{x:g},{y:g} h{length}"/>{cross}</g>'
