"""The graphs of Fig. 16 as SVG pictures, drawn by matplotlib, which need not be installed for all else (§9.3)."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from raft_threads.figure_16.graphs import GRAPHS, Graph
from raft_threads.figure_16.results import Measured, Results

INCHES = (7.0, 3.2)
# How many points of a line are drawn at most, besides its slowest trials, which are all drawn: 1000 make large files.
MOST_POINTS, SLOWEST = 200, 20
# The same picture each time: nothing of when it was made, and no random names in it.
_SETTINGS = {"svg.hashsalt": "figure 16", "svg.fonttype": "none", "font.size": 9}
INSTALL = "needs matplotlib: pip install 'raft-threads[plots]', or python3 -m pip install matplotlib"


def matplotlib_is_there() -> bool:
    """Return whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def write_plots(results: Results, directory: Path) -> list[Path]:
    """Draw both graphs of `results` into `directory`, those that have lines; return the files. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for graph in GRAPHS:
        if graph.drawn(results):
            path = directory / f"figure-16-{graph.name}.svg"
            write_plot(graph, results, path)
            written.append(path)
    return written


def write_plot(graph: Graph, results: Results, path: Path) -> None:
    """Draw `graph` of `results` to `path`. Raises OSError."""
    matplotlib: Any = importlib.import_module("matplotlib")
    figures: Any = importlib.import_module("matplotlib.figure")
    with matplotlib.rc_context(_SETTINGS):
        figure = figures.Figure(figsize=INCHES, layout="constrained")
        axes = figure.add_subplot()
        for measured in graph.drawn(results):
            axes.plot(*points_of(measured), drawstyle="steps-post", linewidth=1.2, label=f"{measured.line.name} ms")
        dress(axes, graph)
        figure.savefig(path, format="svg", metadata={"Date": None})


def dress(axes: Any, graph: Graph) -> None:
    """Give the graph its axes, as in the paper."""
    if graph.logarithmic:
        axes.set_xscale("log")
    axes.set_xlim(graph.least, graph.most)
    axes.set_xticks(graph.marks, [str(mark) for mark in graph.marks])
    axes.set_ylim(-4, 104)
    axes.set_yticks(range(0, 101, 20), [f"{percent}%" for percent in range(0, 101, 20)])
    axes.set_xlabel("time without leader (ms)")
    axes.set_ylabel("cumulative percent")
    axes.grid(True, color="0.87", linewidth=0.6)
    axes.legend(loc="lower right", fontsize=8)


def points_of(measured: Measured) -> tuple[list[float], list[float]]:
    """Return the points of a line, times in milliseconds and the percentage of trials that were over by then."""
    times = measured.sorted_ms()
    count, elected = len(times), len(times) - measured.not_elected()
    step = max(1, count // MOST_POINTS)
    drawn = [number for number in range(elected) if number % step == 0 or number >= elected - SLOWEST]
    return [times[number] for number in drawn], [100.0 * (number + 1) / count for number in drawn]
