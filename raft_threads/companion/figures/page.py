"""A figure on the terminal: scene after scene, with what to look at and where to stop; Enter between them if wanted."""

from __future__ import annotations

import textwrap
from typing import TextIO

from raft_threads.companion.figures.scene import Figure, Scene

WIDTH = 100
MARGIN = "   "


class Page:
    """Prints to `out`. With `step` it waits after a scene for a line from `keys`; where those end, it waits no more."""

    def __init__(self, out: TextIO, keys: TextIO, step: bool) -> None:
        self._out = out
        self._keys = keys
        self._step = step

    def open(self, name: str, figure: Figure) -> None:
        """Print the heading, and what our servers do otherwise than the figure."""
        self._line(f"== {name.replace('figure-', 'Figure ')}: {figure.title}  [{figure.sections}]")
        if figure.apart:
            self._line()
            self._paragraph(figure.apart)

    def show(self, scene: Scene) -> None:
        """Print `scene`, and wait until the reader is done with it; meanwhile its cluster stands still."""
        self._line()
        self._line(f"-- {scene.title}")
        self._line()
        for line in scene.picture:
            self._line(f"{MARGIN}{line}".rstrip())
        self._line()
        self._paragraph(scene.look)
        self._line()
        self._paragraph(f"Stop in {', '.join(stop.function.__name__ for stop in scene.stops)}:")
        for stop in scene.stops:
            self._line(f"{MARGIN}{MARGIN}{stop.command()}")
        if self._step:
            self._wait()
        self._out.flush()

    def close(self, name: str, figure: Figure) -> None:
        """Print how to stop in the code, and what to read."""
        self._line()
        self._paragraph(
            f"To stop in one of those functions: python3 -m pdb run_demo.py {name}. At its prompt type one of the "
            "lines that begin with b, and then c. All servers and their clock stand still there for as long as you "
            "like, and cluster.show() draws them (docs/debugging.md)."
        )
        self._paragraph(f"Read: {figure.read}")
        self._out.flush()

    def _wait(self) -> None:
        """Wait for Enter. At the end of a pipe there is nobody to wait for."""
        self._out.write("\n   Enter: go on; Ctrl-C: leave ")
        self._out.flush()
        self._step = self._keys.readline() != ""
        if not self._keys.isatty():
            self._line()

    def _paragraph(self, text: str) -> None:
        for line in textwrap.wrap(text, WIDTH - len(MARGIN), break_long_words=False, break_on_hyphens=False):
            self._line(MARGIN + line)

    def _line(self, text: str = "") -> None:
        self._out.write(text + "\n")
