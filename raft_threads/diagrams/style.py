"""How a space-time diagram looks: colours, lines, arrowheads, and the legend that explains them (Fig. 4's states).

The colours are told apart by people who are colour-blind (after Okabe and Ito), and in a black-and-white print by their
lightness, by dashes and by stripes.
"""

from __future__ import annotations

from typing import NamedTuple

FOLLOWER, CANDIDATE, LEADER = "#bccad6", "#e69f00", "#0072b2"
VOTE, APPEND, QUIET, REFUSAL, COMMIT = "#b06f00", "#0072b2", "#a9b8c5", "#d55e00", "#00775a"
INK, FAINT = "#1d2a35", "#6b7a87"
BANDS = ("#fdf1dc", "#e6f1f8", "#efe9f5", "#e7f4ee", "#f7e9ec")
UNEVEN_BAND = "#f3f0ea"

CSS = f"""
text {{ font: 10px 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif; fill: {INK}; dominant-baseline: central; }}
.title {{ font-size: 15px; font-weight: bold; }}
.subtitle, .tick, .legend text {{ fill: {FAINT}; }}
.legend text {{ fill: {INK}; }}
.name {{ font-size: 12px; font-weight: bold; text-anchor: middle; }}
.label.leader text, .label.crash text, .label.start text {{ font-weight: bold; }}
.label.leader text {{ fill: {LEADER}; }}
.label.election text {{ fill: {VOTE}; }}
.label.vote text, .label.append text {{ fill: {INK}; }}
.label.commit text {{ fill: {COMMIT}; }}
.label.refusal text, .label.crash text, .label.fault text {{ fill: {REFUSAL}; }}
.label.stop text {{ fill: {FAINT}; }}
.term rect {{ fill: #fff; stroke: {INK}; stroke-width: 0.8; }}
.mark path {{ stroke-width: 0.8; }}
.mark.crash path {{ stroke-width: 2.2; }}
.term text {{ font-size: 9px; font-weight: bold; text-anchor: middle; }}
.network text {{ fill: {VOTE}; }}
.axis {{ stroke: {QUIET}; stroke-width: 1; }}
.lane {{ stroke: #fff; stroke-width: 0.6; }}
.follower {{ fill: {FOLLOWER}; }}
.candidate {{ fill: url(#stripes); }}
.leader-lane {{ fill: {LEADER}; }}
.down {{ fill: none; stroke: {FAINT}; stroke-width: 1; stroke-dasharray: 2 4; }}
.pause {{ fill: url(#hatching); stroke: {REFUSAL}; stroke-width: 0.8; }}
.line {{ fill: none; stroke-width: 1.5; }}
.vote .line {{ stroke: {VOTE}; marker-end: url(#head-vote); }}
.append .line {{ stroke: {APPEND}; marker-end: url(#head-append); }}
.heartbeat .line {{ stroke: {APPEND}; stroke-width: 0.9; marker-end: url(#head-append); }}
.snapshot .line {{ stroke: {COMMIT}; stroke-width: 2.4; marker-end: url(#head-snapshot); }}
.reply .line {{ stroke-width: 1; stroke-dasharray: 5 3; }}
.refusal .line {{ stroke: {REFUSAL}; stroke-dasharray: 5 3; marker-end: url(#head-refusal); }}
.quiet .line {{ stroke: {QUIET}; stroke-width: 0.7; marker-end: url(#head-quiet); }}
.again .line {{ stroke-dasharray: 9 2 2 2; }}
.lost .line, .under-way .line {{ marker-end: none; }}
.cross {{ fill: none; stroke: {REFUSAL}; stroke-width: 1.6; }}
.quiet .cross {{ stroke-width: 1; }}
.hit {{ fill: none; stroke: transparent; stroke-width: 7; pointer-events: stroke; }}
.message:hover .line {{ stroke-width: 3; stroke: {INK}; }}
.label:hover text {{ text-decoration: underline; }}
"""


class Head(NamedTuple):
    """An arrowhead: its name, its colour, how long it is, and whether it is filled."""

    name: str
    colour: str
    size: float
    filled: bool


HEADS = (
    Head("vote", VOTE, 7, True),
    Head("append", APPEND, 7, True),
    Head("snapshot", COMMIT, 7, True),
    Head("quiet", QUIET, 5, True),
    Head("refusal", REFUSAL, 7, False),
)


def definitions() -> str:
    """Return the arrowheads and patterns that the drawing refers to."""
    heads = "".join(_head(head) for head in HEADS)
    stripes = (
        f'<pattern id="stripes" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<rect width="5" height="5" fill="{CANDIDATE}"/><rect width="1.6" height="5" fill="#fff"/></pattern>'
    )
    hatching = (
        f'<pattern id="hatching" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)">'
        f'<rect width="4" height="4" fill="#fff"/><rect width="1.4" height="4" fill="{REFUSAL}"/></pattern>'
    )
    return f"<defs>{heads}{stripes}{hatching}</defs>"


def _head(head: Head) -> str:
    fill, stroke = (head.colour, "none") if head.filled else ("none", head.colour)
    return (
        f'<marker id="head-{head.name}" viewBox="0 0 10 10" refX="9.5" refY="5" markerWidth="{head.size}" '
        f'markerHeight="{head.size}" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M1,1.5 L9.5,5 L1,8.5{" z" if head.filled else ""}" fill="{fill}" stroke="{stroke}" '
        f'stroke-width="1.6"/></marker>'
    )


# What is drawn on a lane at {x}, {y}, the middle of the lane, beside the label or without one.
SHAPES = {
    "applied": '<circle cx="{x}" cy="{y}" r="1.8" fill="#fff"/>',
    "commit": '<path transform="translate({x},{y})" d="M7,-4 l4,4 l-4,4 l-4,-4 z" fill="%s" stroke="#fff"/>' % COMMIT,
    "crash": '<path transform="translate({x},{y})" d="M-6,-6 L6,6 M6,-6 L-6,6" stroke="%s"/>' % REFUSAL,
    "term": '<g class="term" transform="translate({x},{y})"><rect x="-8" y="-6" width="16" height="12" rx="6"/>'
    '<text x="0" y="0">2</text></g>',
}

# The legend: the class of a sample and what it means. A sample is a piece of lane with or without a shape, or a line.
LANE_SAMPLES = (
    ("follower", "follower"),
    ("candidate", "candidate"),
    ("leader-lane", "leader"),
    ("down", "down"),
    ("term", "a new term"),
    ("commit", "committed"),
    ("applied", "applied"),
)
LINE_SAMPLES = (
    ("message vote", "RequestVote"),
    ("message append", "AppendEntries"),
    ("message heartbeat", "heartbeat"),
    ("message snapshot", "InstallSnapshot"),
    ("message append reply", "reply"),
    ("message append refusal", "refusal"),
    ("message append lost", "lost"),
    ("message append again", "arrived twice"),
    ("message heartbeat quiet", "of no effect"),
)
