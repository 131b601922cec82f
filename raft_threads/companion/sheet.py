"""Text on a terminal of 80 columns: paragraphs are wrapped, pictures stand as they are, and both behind a margin."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TextIO

WIDTH = 80
MARGIN = "   "


class Sheet:
    """Writes to `out`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def prompt(self, text: str) -> None:
        """Write an empty line, and `text` with the margin, behind which somebody is expected to type something."""
        self._out.write(f"\n{MARGIN}{text} ")
        self.flush()

    def flush(self) -> None:
        """Have all seen that was written."""
        self._out.flush()

    def line(self, text: str = "") -> None:
        """Write a line without a margin; without `text`, an empty one."""
        self._out.write(text.rstrip() + "\n")

    def lines(self, texts: Sequence[str]) -> None:
        """Write lines behind the margin. What is too long goes on in the next line, a little further to the right."""
        for text in texts:
            indent = " " * (len(text) - len(text.lstrip()) + 6)
            for row in self._wrapped(text, indent) if len(MARGIN + text) > WIDTH else [text]:
                self.line(MARGIN + row)

    def paragraph(self, text: str) -> None:
        """Write a paragraph behind the margin."""
        for row in self._wrapped(text, ""):
            self.line(MARGIN + row)

    @staticmethod
    def _wrapped(text: str, indent: str) -> list[str]:
        width = WIDTH - len(MARGIN)
        return textwrap.wrap(
            text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
