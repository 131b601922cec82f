"""Lines along which time runs, as in Fig. 5, 10 and 11: what each server was, or what held, from when to when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

COLUMNS = 70
# So many marks the axis has at most.
MOST_MARKS = 8


class Span(NamedTuple):
    """From `begin` to `end` (seconds), drawn with `fill` over and over, and `text` in its middle if there is room."""

    begin: float
    end: float
    fill: str
    text: str = ""


class Track(NamedTuple):
    """One line: its title, and what is drawn along it. Later spans cover earlier ones."""

    title: str
    spans: Sequence[Span]
    note: str = ""


def draw_timeline(tracks: Sequence[Track], begin: float, end: float, columns: int = COLUMNS) -> list[str]:
    """Return the lines of a picture of `tracks` from `begin` to `end` (seconds), with an axis in milliseconds below."""
    title = max(len(track.title) for track in tracks)
    scale = columns / (end - begin)

    def column(when: float) -> int:
        return min(columns, max(0, round((when - begin) * scale)))

    lines = []
    for track in tracks:
        cells = [" "] * columns
        for span in track.spans:
            first, last = column(span.begin), column(span.end)
            cells[first:last] = filled(span, last - first)
        lines.append(f"{track.title:<{title}}  {''.join(cells)}  {track.note}".rstrip())
    return [*lines, *(f"{'':<{title}}  {line}".rstrip() for line in axis(begin, end, columns))]


def filled(span: Span, width: int) -> list[str]:
    """Return the characters of a span of so many columns."""
    cells = (span.fill * (width // len(span.fill) + 1))[:width]
    text = f" {span.text} "
    return list(cells if not span.text or len(text) > width else text.center(width, span.fill[0]))


def axis(begin: float, end: float, columns: int) -> list[str]:
    """Return a line with marks, and one with their times in milliseconds from `begin` on."""
    total_ms = (end - begin) * 1000
    step = next(each for each in steps() if total_ms / each <= MOST_MARKS)
    marks, numbers = ["-"] * columns, [" "] * (columns + 10)
    for number in range(int(total_ms // step) + 1):
        position = min(columns - 1, round(number * step * columns / total_ms))
        marks[position] = "+"
        text = f"{number * step:g}" + (" ms" if number == 0 else "")
        numbers[position : position + len(text)] = text
    return ["".join(marks) + "> time", "".join(numbers)]


def steps() -> Sequence[int]:
    """Return by how many milliseconds marks may be apart: round numbers."""
    return [digit * 10**power for power in range(8) for digit in (1, 2, 5)]
