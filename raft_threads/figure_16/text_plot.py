"""A graph of Fig. 16 for the terminal: a letter a line (§9.3)."""

from __future__ import annotations

from string import ascii_lowercase

from raft_threads.figure_16.graphs import Graph, percent_by
from raft_threads.figure_16.results import Measured, Results

WIDTH, HEIGHT = 72, 21
_LABEL_WIDTH = 6


def text_plot(graph: Graph, results: Results) -> str:
    """Return `graph` as text: cumulative percent over the time without a leader. Empty if it has no lines."""
    drawn = graph.drawn(results)
    if not drawn:
        return ""
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]
    key = []
    for letter, measured in zip(ascii_lowercase, drawn):
        draw(grid, letter, graph, measured)
        key.append(f"{letter} {measured.line.name}")
    rows = [f"{label(number):>{_LABEL_WIDTH}}|" + "".join(cells).rstrip() for number, cells in enumerate(grid)]
    return "\n".join(["cumulative percent", *rows, *axis(graph), "", f"   {', '.join(key)} ms"])


def draw(grid: list[list[str]], letter: str, graph: Graph, measured: Measured) -> None:
    """Draw one line with `letter`, from where its first trial ends to where its last one does."""
    times = measured.sorted_ms()
    below = 0
    for column in range(WIDTH):
        percent = percent_by(times, graph.time_at((column + 1) / WIDTH))
        height = round(percent / 100 * (HEIGHT - 1))
        if percent > 0:
            for level in range(min(below + 1, height), height + 1):
                grid[HEIGHT - 1 - level][column] = letter
        if percent == 100:
            return
        below = height


def label(row: int) -> str:
    """Return what stands before a row, the first being 100 %."""
    percent = round(100 * (HEIGHT - 1 - row) / (HEIGHT - 1))
    return f"{percent}% " if percent % 20 == 0 else ""


def axis(graph: Graph) -> list[str]:
    """Return the axis below a graph: its line, and the times."""
    line, times = ["-"] * WIDTH, [" "] * (WIDTH + _LABEL_WIDTH)
    for mark in graph.marks:
        column = min(WIDTH - 1, int(graph.share(mark) * WIDTH))
        line[column] = "+"
        begin = max(0, min(column - len(str(mark)) // 2, len(times) - len(str(mark))))
        times[begin:begin + len(str(mark))] = str(mark)
    indent = " " * _LABEL_WIDTH
    return [indent + "+" + "".join(line), indent + " " + "".join(times).rstrip() + "  ms without a leader"]
