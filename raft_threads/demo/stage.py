"""What the demo prints, and how fast: headings, narration, checks (a story a section of §5)."""

from __future__ import annotations

import os
import queue
import sys
import textwrap
import threading
import time
from typing import Optional, TextIO

BOLD, DIM, GREEN, RED = "1", "2", "32", "31"
# By the number in a server's name.
SERVER_COLOURS = ("36", "33", "35", "34", "32", "96", "93", "95")
WIDTH = 80


class Stage:
    """Prints lines in the order in which they come, from any thread.

    Servers report events while they hold their lock. So nobody prints but a thread of the stage's own: a terminal that
    is slow, or stopped with Ctrl-S, does not stop the servers.
    """

    def __init__(self, pace: str, out: Optional[TextIO] = None) -> None:
        """Prepare to print to `out` (default: standard output), at pace `human` or `fast`."""
        self.pace = pace
        self.failures = 0
        self._scenes = 0
        self._out = sys.stdout if out is None else out
        self._coloured = self._out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._lines: queue.Queue[Optional[str]] = queue.Queue()
        self._printer = threading.Thread(target=self._print, name="demo/printer")

    def open(self) -> None:
        """Begin to print."""
        self._printer.start()

    def close(self) -> None:
        """Print what is left to print, and end."""
        self._lines.put(None)
        if self._printer.is_alive():
            self._printer.join()

    def _print(self) -> None:
        while True:
            line = self._lines.get()
            if line is None:
                self._lines.task_done()
                return
            try:
                print(line, file=self._out, flush=True)
            except OSError:
                self._out = open(os.devnull, "w")  # the reader has gone; play to the end without it
            self._lines.task_done()

    def line(self, text: str = "", style: str = "") -> None:
        """Print one line."""
        self._lines.put(self.styled(text, style))

    def styled(self, text: str, style: str) -> str:
        """Return `text` in a terminal style, plain where there is no terminal."""
        return f"\x1b[{style}m{text}\x1b[0m" if style and self._coloured else text

    def name(self, server: str) -> str:
        """Return a server's name in its colour."""
        number = int("0" + "".join(letter for letter in server if letter.isdigit()))
        return self.styled(server, SERVER_COLOURS[number % len(SERVER_COLOURS)])

    def scene(self, title: str, section: str) -> None:
        """Print a heading: what happens now, and where to read of it."""
        if self._scenes:
            self.pause(1.0)
        self._scenes += 1
        self.line()
        self.line(f"== {title}  [{section}]", BOLD)

    def say(self, text: str) -> None:
        """Print a paragraph for the reader, and leave time to read it."""
        for row in textwrap.wrap(text, WIDTH - 3):
            self.line("   " + row)
        self.pause(len(text) / 60)

    def aside(self, text: str) -> None:
        """Print what is not part of the story."""
        self.line("   " + text, DIM)

    def note(self, server: str, text: str) -> None:
        """Print what a server did, with the time."""
        self.line(f"   {time.strftime('%H:%M:%S')}  {self.name(server)}  {text}")

    def check(self, what: str, holds: bool) -> None:
        """Print whether something that the scenario promises is so; the exit code depends on it."""
        self.failures += not holds
        self.line(f"   Checked: {what}: {'yes' if holds else 'NO'}", GREEN if holds else RED)

    def pause(self, seconds: float) -> None:
        """Leave time to read, at human pace."""
        if self.pace == "human":
            time.sleep(seconds)

    def flush(self) -> None:
        """Wait until everything said so far has been printed."""
        self._lines.join()
