"""A figure on the terminal: scene after scene, with what to look at and where to stop; Enter between them if wanted."""

from __future__ import annotations

from typing import TextIO

from raft_threads.companion.figures.scene import Figure, Scene
from raft_threads.companion.sheet import MARGIN, Sheet


class Page:
    """Prints to `out`. With `step` it waits after a scene for a line from `keys`; where those end, it waits no more."""

    def __init__(self, out: TextIO, keys: TextIO, step: bool) -> None:
        self._sheet = Sheet(out)
        self._keys = keys
        self._step = step

    def open(self, name: str, figure: Figure) -> None:
        """Print the heading, and what our servers do otherwise than the figure."""
        self._sheet.line(f"== {name.replace('figure-', 'Figure ')}  [{figure.sections}]")
        for text in filter(None, (f"{figure.title}.", figure.apart)):
            self._sheet.line()
            self._sheet.paragraph(text)

    def show(self, scene: Scene) -> None:
        """Print `scene`, and wait until the reader is done with it; meanwhile its cluster stands still."""
        sheet = self._sheet
        sheet.line()
        sheet.line(f"-- {scene.title}")
        sheet.line()
        for line in scene.picture:
            sheet.line(MARGIN + line)
        sheet.line()
        sheet.paragraph(scene.look)
        sheet.line()
        sheet.paragraph(f"Stop in {', '.join(stop.function.__name__ for stop in scene.stops)}:")
        for stop in scene.stops:  # in one line each, however long: they are to be copied
            sheet.line(MARGIN * 2 + stop.command())
        if self._step:
            self._wait()
        sheet.flush()

    def close(self, name: str, figure: Figure) -> None:
        """Print how to stop in the code, and what to read."""
        self._sheet.line()
        self._sheet.paragraph(
            f"To stop in one of those functions: python3 -m pdb run_demo.py {name}. At its prompt type one of the "
            "lines that begin with b, and then c. All servers and their clock stand still there for as long as you "
            "like, and cluster.show() draws them (docs/debugging.md)."
        )
        self._sheet.paragraph(f"Read: {figure.read}")
        self._sheet.flush()

    def _wait(self) -> None:
        """Wait for Enter. At the end of a pipe there is nobody to wait for."""
        self._sheet.prompt("Enter: go on; Ctrl-C: leave")
        self._step = self._keys.readline() != ""
        if not self._keys.isatty():
            self._sheet.line()
