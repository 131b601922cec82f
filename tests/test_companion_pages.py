"""The companion in docs/ is right: its order, breakpoints, rules to break, figures, and the answers to questions."""

from __future__ import annotations

import inspect
import re
import sys
import threading
from code import InteractiveConsole
from contextlib import redirect_stdout
from io import StringIO
from types import CodeType, FrameType
from typing import Any, Callable

import pytest
from pages import INDEX, ROOT, Answer, Page, Stop, chosen_tests
from simulated import SimulatedRuns

from raft_threads.companion.breaks import BREAKS
from raft_threads.companion.figures.command import FIGURES

CHAPTERS = [Page(path) for path in sorted(INDEX.path.parent.glob("[!R]*.md"))]
ANSWERS = [pytest.param(each, id=f"{page.name}-{n}") for page in CHAPTERS for n, each in enumerate(page.answers(), 1)]
STOPS = [pytest.param(each, id=page.name) for page in CHAPTERS for each in page.stops()]
def test_the_pages_follow_one_another_as_the_index_says() -> None:
    """Each leads to the one before it, to the index, and to the next."""
    order = re.findall(r"^\| \d+ \| \[[^]]+\]\(([^)]+)\)", INDEX.text, re.MULTILINE)
    assert sorted(order) == [page.path.name for page in CHAPTERS]
    for before, name, after in zip(["", *order], order, [*order[1:], ""]):
        line = (INDEX.path.parent / name).read_text(encoding="utf-8").splitlines()[2]
        assert re.findall(r"\]\(([^)]+)\)", line) == [each for each in (before, "README.md", after) if each], name


# Breakpoints


@pytest.mark.parametrize("stop", STOPS)
def test_the_breakpoint_is_reached_by_the_test(stop: Stop) -> None:
    """What is typed at the prompt is an import and a breakpoint, and the program comes by."""
    names: dict[str, Any] = {}
    imported, breakpoint_ = stop.lines
    exec(imported, names)
    where, _, condition = breakpoint_[len("b "):].partition(", ")
    function = eval(where, names)
    *_, file, _, word = stop.command.split()
    (test,) = chosen_tests(file, word)
    with SimulatedRuns(test.__name__) as runs:
        fixtures: dict[str, Callable[[], object]] = {"simulated": lambda: runs, "cluster": lambda: runs(3)}
        given = {name: fixtures[name]() for name in inspect.signature(test).parameters}
        with Watch(function.__code__, condition or "True") as watch:
            test(**given)
    assert watch.reached


class Watch:
    """Sees whether any thread calls a function while a condition holds, as at a breakpoint. A context manager."""

    def __init__(self, code: CodeType, condition: str) -> None:
        self.reached = False
        self._code = code
        self._condition = compile(condition, "condition", "eval")

    def __enter__(self) -> Watch:
        threading.setprofile(self._look)
        sys.setprofile(self._look)
        return self

    def __exit__(self, *details: Any) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def _look(self, frame: FrameType, event: str, _: Any) -> None:
        if frame.f_code is self._code and event == "call" and not self.reached:
            self.reached = bool(eval(self._condition, frame.f_globals, frame.f_locals))


# Questions


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_answer_is_what_python_says(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed line by line, as at a prompt: so a blank line ends each block, and none is within one."""
    printed = StringIO()
    monkeypatch.setattr(sys, "displayhook", lambda value: None)  # a prompt also shows what calls return
    with redirect_stdout(printed):
        console = Console()
        for line in [*answer.code.splitlines(), ""]:
            unfinished = console.push(line)
    assert not unfinished
    assert printed.getvalue() == answer.output


class Console(InteractiveConsole):
    """Python's prompt, at which a mistake is a mistake of the page."""

    def showtraceback(self) -> None:
        """Raise what was raised, instead of showing it."""
        raise

    def showsyntaxerror(self, *details: Any, **more: Any) -> None:
        """Raise what was raised, instead of showing it."""
        raise


def test_every_chapter_asks_questions_and_says_where_to_stop() -> None:
    """Two or three questions, a breakpoint, something to run, and what the paper leaves open."""
    for page in CHAPTERS:
        assert 2 <= len(page.answers()) <= 3 and page.stops(), page.name
        assert {"the-code", "left-open", "do", "questions"} <= page.anchors(), page.name


def test_every_chapter_has_a_rule_to_break_and_says_what_is_lost_without_it() -> None:
    """Word for word as `run_demo.py break` does, behind a few words of its own."""
    for page in CHAPTERS:
        ((said, rule),) = re.findall(
            r"^(Break it(?:.+\n)+)\n```\npython3 run_demo\.py break (\S+)\n```$", page.text, re.MULTILINE
        )
        does = BREAKS[rule].does
        expected = f"{does[0].lower()}{does[1:]} **{BREAKS[rule].loses}** is lost."
        assert " ".join(said.split()).endswith(expected), page.name


def test_every_chapter_plays_the_figures_that_the_index_names_for_it() -> None:
    """Those that can be played: Fig. 2 is the rule book, Fig. 3 is checked everywhere."""
    for chapter, figures in re.findall(r"^\| \d+ \| \[[^]]+\]\(([^)]+)\) \|(.*)\|$", INDEX.text, re.MULTILINE):
        named = [f"figure-{number}" for number in re.findall(r"\d+", figures)]
        played = re.findall(r"^python3 run_demo\.py (figure-\d+)", Page(INDEX.path.parent / chapter).text, re.MULTILINE)
        assert played == [name for name in named if name in FIGURES or name == "figure-16"], chapter


def test_every_choice_says_what_the_paper_says_what_we_do_what_others_do_and_what_follows() -> None:
    """docs/choices.md: four points each."""
    _, *choices = re.split("^### ", (ROOT / "docs" / "choices.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for choice in choices:
        points = re.findall(r"^- \*\*(\w+)", choice, re.MULTILINE)
        assert points == ["Paper", "We", "Others", "So"], choice.splitlines()[0]
