"""`run_demo.py break F2.Leaders.4`: a cluster without a rule, up to the step at which something is lost."""

from __future__ import annotations

import inspect
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from raft_threads.companion.breaking import Break, Outcome, Schedule, first_loss, run
from raft_threads.companion.breaks import BREAKS
from raft_threads.companion.rule import Rule
from raft_threads.companion.rule_command import build_parser, find_rule, indented, statement, wrapped
from raft_threads.companion.sheet import MARGIN
from raft_threads.companion.source import path_of, text_of
from raft_threads.diagram_command import write_svg
from raft_threads.diagrams.run import Run
from raft_threads.diagrams.text import draw_text
from raft_threads.output_files import refuse_unwritable
from raft_threads.standard_streams import complaint_about
from raft_threads.trace import read_trace

# How much of a run is shown: its last lines.
SHOWN = 110
LEGEND = "[ ] known to be committed  ( ) not known to be"


def main(argv: list[str]) -> int:
    """a run without a rule of the paper, up to the step at which something is lost"""
    parser = build_parser("break", "Run a cluster without a rule of the paper, and see what is lost; then with it.")
    parser.add_argument(
        "--diagram", type=Path, metavar="FILE", help="where to draw the run, as an SVG (default: break-ID.svg)"
    )
    parser.add_argument("--whole", action="store_true", help=f"show the whole run, not just its last {SHOWN} lines")
    arguments = parser.parse_args(argv)
    if arguments.list or arguments.rule is None:
        print("\n".join(list_of_breaks()))
        return 0
    rule = find_rule(parser, arguments.rule)
    left_out = BREAKS[rule.id]
    if left_out.schedule is None:
        print("\n".join(announcement(rule, left_out)))
        print("\n".join(["", *wrapped(left_out.untold, "Nothing is lost that could be shown. ")]))
        print(f"{MARGIN}Its tests know the difference: python3 run_demo.py rule {rule.id}")
        return 0
    diagram = arguments.diagram or Path(f"break-{rule.id}.svg")
    refuse_unwritable(parser, "--diagram", diagram)
    print("\n".join(announcement(rule, left_out)))
    return perform(rule, left_out, left_out.schedule, diagram, None if arguments.whole else SHOWN)


def list_of_breaks() -> list[str]:
    """Return a line for each rule: what is lost without it, and what servers do then."""
    width, losses = max(map(len, BREAKS)), max(len(each.loses) for each in BREAKS.values())
    return [f"{name:{width}}  {each.loses or '-':{losses}}  {each.does}" for name, each in BREAKS.items()]


def announcement(rule: Rule, left_out: Break) -> list[str]:
    """Return what the rule is, and what takes its place."""
    lines = [*statement(rule), "", "Without it:", *wrapped(left_out.does)]
    for target, replacement in left_out.swaps:
        name, text = target.split(".", 2)[2], text_of(replacement)
        lines += ["", f"In place of {name} in {path_of(target)}:", "", *indented(text)]
        original = "_" + name.rpartition(".")[2].strip("_")
        if f"{original}(" in text:
            lines += wrapped(f"({original} is what was there.)")
    return lines


def perform(rule: Rule, left_out: Break, schedule: Schedule, diagram: Path, most_lines: Optional[int]) -> int:
    """Play the schedule without the rule, and with it; return 0 if only the first run loses something."""
    outcome = first_loss(schedule, left_out.swaps)
    recorded = Run(read_trace(outcome.trace))
    print("\n".join(story(schedule, outcome, recorded, most_lines)))
    try:
        print(f"\nDiagram: {diagram}, {write_svg(recorded, diagram, f'without {rule.id}')}")
    except OSError as error:
        print(f"run_demo.py break: {complaint_about(error)}", file=sys.stderr)
        return 1
    sound = run(schedule, seed=outcome.seed)
    print("\n".join(["", "The same with the rule in place:", *wrapped(ending(sound))]))
    return 0 if outcome.lost is not None and sound.lost is None else 1


def story(schedule: Schedule, outcome: Outcome, recorded: Run, most_lines: Optional[int]) -> list[str]:
    """Return what happens in a run, its last lines drawn, and all logs as they are then."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    summary = inspect.getdoc(schedule.play) or ""
    paragraphs = [" ".join(each.split()) for each in summary.split("\n\n")]
    return [
        "",
        "What happens:",
        *(line for paragraph in paragraphs for line in wrapped(paragraph)),
        "",
        *last_lines(draw_text(recorded, width=width), most_lines),
        "",
        *indented(outcome.picture),
        f"{MARGIN}{LEGEND}",
        "",
        *wrapped(ending(outcome)),
    ]


def last_lines(lines: Sequence[str], most: Optional[int]) -> list[str]:
    """Return the heading, and the last `most` lines."""
    heading, *rest = lines
    if most is None or len(rest) <= most:
        return list(lines)
    return [heading, f"  ... {len(rest) - most} lines before; --whole shows them", *rest[-most:]]


def ending(outcome: Outcome) -> str:
    """Return in a sentence or two how a run ended."""
    if outcome.lost is None:
        return f"It holds. {outcome.ending}"
    return f"{outcome.lost.property} is lost: {outcome.lost.detail}."
