"""`raft-threads diagram`: draw the space-time diagram of a trace (docs/trace-format.md).

Exit codes: 0 done, 1 the trace cannot be read or the drawing cannot be written. argparse itself exits with 2.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raft_threads.diagrams.run import Run
from raft_threads.diagrams.space_time import SpaceTime, Window, draw_up
from raft_threads.diagrams.svg import draw_svg
from raft_threads.diagrams.text import draw_text
from raft_threads.standard_streams import complaint_about
from raft_threads.trace import BadTrace, read_trace

DONE, FAILED = 0, 1


class NothingToDraw(Exception):
    """The window holds no event. The text says in one line how long the run lasts."""


def add_diagram(commands: Any) -> None:
    """Add the parser of `diagram`."""
    purpose = "draw the space-time diagram of a trace"
    parser = commands.add_parser("diagram", help=purpose, description=purpose.capitalize() + ", as SVG or as text.")
    parser.add_argument("trace", metavar="TRACE", type=Path, help="the trace, as run_demo.py --trace writes one")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="where to draw it (default: TRACE with the ending .svg)"
    )
    parser.add_argument("--text", action="store_true", help="write a table for the terminal instead of an SVG")
    parser.add_argument(
        "--from", dest="first", type=parse_moment, metavar="S", help="begin S seconds after the trace does"
    )
    parser.add_argument("--to", dest="last", type=parse_moment, metavar="S", help="end S seconds after it began")
    parser.add_argument(
        "--width", type=int, metavar="N", help="with --text: cut lines to N characters (default: the terminal's width)"
    )
    parser.set_defaults(parser=parser, complete=complete_diagram_arguments, run=run_diagram_command)


def complete_diagram_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Check what argparse cannot. Exits with 2 if the arguments contradict each other."""
    if arguments.first is not None and arguments.last is not None and arguments.first > arguments.last:
        parser.error("--from must not be later than --to")
    if arguments.width is not None and not (arguments.text and arguments.width >= 20):
        parser.error("--width goes with --text, and is 20 at least")
    if arguments.output is None and not arguments.text:
        arguments.output = arguments.trace.parent / f"{arguments.trace.stem}.svg"
    if arguments.output is not None and arguments.output.resolve() == arguments.trace.resolve():
        parser.error(f"{arguments.output} is the trace itself; name another file with -o")


def parse_moment(text: str) -> float:
    """Return a number of seconds since the beginning of a run."""
    try:
        seconds = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from error
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError("a run begins at 0 seconds")
    return seconds


def run_diagram_command(arguments: argparse.Namespace) -> int:
    """Draw the trace that `arguments` name; return the exit code."""
    try:
        run = Run(read_trace(arguments.trace))
        if arguments.text:
            write_text(run, arguments)
        else:
            window = Window(arguments.first, arguments.last)
            print(f"{arguments.output}: {write_svg(run, arguments.output, arguments.trace.name, window)}")
        return DONE
    except (BadTrace, NothingToDraw) as error:
        return fail(str(error))
    except OSError as error:
        return fail(complaint_about(error))


def fail(text: str) -> int:
    """Write one line to standard error, and return the exit code that goes with it."""
    print(f"raft-threads diagram: {text}", file=sys.stderr)
    return FAILED


def write_svg(run: Run, output: Path, title: str, window: Window = Window()) -> str:
    """Draw `window` of a run into the file `output`, and return what the drawing shows.

    Raises NothingToDraw, and OSError when the file cannot be written.
    """
    picture = draw_up(run, window)
    if not picture.rows:
        raise NothingToDraw(how_long(run))
    shows = summary(picture)
    output.write_text(draw_svg(picture, title, ", ".join([*facts(run.header.metadata), shows])), encoding="utf-8")
    return shows


def write_text(run: Run, arguments: argparse.Namespace) -> None:
    """Write the diagram as text, to a file or to standard output. Lines end where a terminal does, or at --width."""
    window = Window(arguments.first, arguments.last)
    if not any(map(window.holds, run.seconds)):
        raise NothingToDraw(how_long(run))
    width = arguments.width
    if width is None and arguments.output is None and sys.stdout.isatty():
        width = shutil.get_terminal_size().columns
    text = "".join(line + "\n" for line in draw_text(run, window, width))
    if arguments.output is None:
        sys.stdout.write(text)
    else:
        arguments.output.write_text(text, encoding="utf-8")


def how_long(run: Run) -> str:
    """Return why there is nothing to draw."""
    if not run.records:
        return "the trace holds no event"
    return f"the trace lasts {run.seconds[-1]:.3f} s, and nothing is to be seen between --from and --to"


def facts(metadata: Mapping[str, Any]) -> list[str]:
    """Return those values of a header that are short enough for a line under the title."""
    return [f"{key} {value}" for key, value in metadata.items() if isinstance(value, (str, int, float))]


def summary(picture: SpaceTime) -> str:
    """Return what a picture shows, and how to see more if it could not take all of it."""
    first, last = picture.rows[0].second, picture.rows[-1].second
    if len(picture.rows) == picture.moments:
        return f"{first:.3f} to {last:.3f} s"
    return (
        f"{first:.3f} to {last:.3f} s, the first {len(picture.rows)} of {picture.moments} moments; "
        f"--from {last:.3f} shows what follows"
    )
