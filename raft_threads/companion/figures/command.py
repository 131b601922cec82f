"""The commands `figure-1` and so on: which there are, and what each does with its arguments (Fig. 1, 4 to 13)."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from functools import partial
from typing import Callable

from raft_threads.companion.figures import (
    figure_1,
    figure_4,
    figure_5,
    figure_6,
    figure_7,
    figure_8,
    figure_9,
    figure_10,
    figure_11,
    figure_12,
    figure_13,
)
from raft_threads.companion.figures.page import Page
from raft_threads.companion.figures.scene import Figure

INTERRUPTED = 130

FIGURES: dict[str, Figure] = {
    "figure-1": figure_1.FIGURE,
    "figure-4": figure_4.FIGURE,
    "figure-5": figure_5.FIGURE,
    "figure-6": figure_6.FIGURE,
    "figure-7": figure_7.FIGURE,
    "figure-8": figure_8.FIGURE,
    "figure-9": figure_9.FIGURE,
    "figure-10": figure_10.FIGURE,
    "figure-11": figure_11.FIGURE,
    "figure-12": figure_12.FIGURE,
    "figure-13": figure_13.FIGURE,
}


def main(name: str, argv: list[str]) -> int:
    """Play the figure `name` with the arguments `argv`; return 0, or 130 if it was interrupted."""
    figure = FIGURES[name]
    arguments = build_parser(name, figure).parse_args(argv)
    try:
        present(name, figure, Page(sys.stdout, sys.stdin, arguments.step))
    except KeyboardInterrupt:
        print()
        return INTERRUPTED
    return 0


def present(name: str, figure: Figure, page: Page) -> None:
    """Have `figure` played, and show each scene on `page` while it stands still."""
    page.open(name, figure)
    with closing(figure.play()) as scenes:
        for scene in scenes:
            page.show(scene)
    page.close(name, figure)


def build_parser(name: str, figure: Figure) -> argparse.ArgumentParser:
    """Return the parser of a figure's arguments."""
    parser = argparse.ArgumentParser(
        prog=f"run_demo.py {name}",
        description=f"{figure.title}: {figure.shows}. Played by real servers in virtual time.",
    )
    parser.add_argument("--step", action="store_true", help="wait for Enter after each scene")
    return parser


COMMANDS: dict[str, Callable[[list[str]], int]] = {name: partial(main, name) for name in FIGURES}
