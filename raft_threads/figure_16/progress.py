"""A progress bar, for a run of some minutes."""

from __future__ import annotations

import time
from typing import TextIO

BAR_WIDTH = 30
# Seconds between two looks at the bar: on a terminal, where it is written over, and elsewhere, where it is a new line.
ON_A_TERMINAL, ELSEWHERE = 0.5, 15.0


class Progress:
    """How many of `total` steps are done, and how long the rest may take."""

    def __init__(self, total: int, out: TextIO) -> None:
        self._total = total
        self._out = out
        self._done = 0
        self._began = self._told = time.monotonic()

    def advance(self, steps: int, doing: str) -> None:
        """Count so many `steps`, the last of them part of `doing`, and draw the bar if it is time for that."""
        self._done += steps
        now = time.monotonic()
        interval = ON_A_TERMINAL if self._out.isatty() else ELSEWHERE
        if now - self._told >= interval or self._done == self._total:
            self._told = now
            self._draw(now - self._began, doing)

    def _draw(self, seconds: float, doing: str) -> None:
        filled = BAR_WIDTH * self._done // self._total
        left = seconds / self._done * (self._total - self._done)
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        line = f"[{bar}] {self._done} of {self._total} trials, {left:.0f} s left ({doing})"
        self._out.write(f"\r{line:78}" if self._out.isatty() else line + "\n")
        self._out.flush()

    def end(self) -> None:
        """Leave the line."""
        if self._out.isatty():
            self._out.write("\n")
            self._out.flush()
