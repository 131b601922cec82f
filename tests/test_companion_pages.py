"""The companion in docs/ is right: its links, names, commands, breakpoints, and the answers to its questions."""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import shlex
import sys
import threading
from code import InteractiveConsole
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Callable

import pytest
from pages import ROOT, Answer, Page, Stop
from simulated import SimulatedRuns

from raft_threads.companion.rules import RULES
from raft_threads.demo import cli
from raft_threads.serve_arguments import add_serve

COMPANION = ROOT / "docs" / "companion"
INDEX = Page(COMPANION / "README.md")
CHAPTERS = [Page(path) for path in sorted(COMPANION.glob("[!R]*.md"))]
PAGES = [INDEX, *CHAPTERS, Page(ROOT / "docs" / "choices.md"), Page(ROOT / "docs" / "production.md")]
ANSWERS = [pytest.param(each, id=f"{page.name}-{n}") for page in PAGES for n, each in enumerate(page.answers(), 1)]
STOPS = [pytest.param(each, id=page.name) for page in PAGES for each in page.stops()]
# What stands in backticks and is neither a name of the code nor a command.
WORDS = {"c", "python3", ".venv", "kill -9", "pip install", "§", "Fig.", "Diss.", "_on_servers"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def defined_in(path: Path) -> set[str]:
    """Return what a module defines: functions, classes, methods, fields, constants."""
    definition = re.compile(r"^ *(?:def|class) (\w+)|^ *(?:self\.)?(\w+)(?:: [^=\n]+)?(?: = |$)", re.MULTILINE)
    return {name for names in definition.findall(path.read_text(encoding="utf-8")) for name in names if name}


KNOWN = {path: defined_in(path) for path in (ROOT / "raft_threads").rglob("*.py")}


# Links


@each_page
def test_every_link_leads_to_a_file_and_to_a_heading_that_are_there(page: Page) -> None:
    """Files in docs/ and in the package; headings by the names that browsers know them by."""
    for path, heading in page.links():
        assert path.exists(), f"{page.name} links to {path}"
        assert not heading or heading in Page(path).anchors(), f"{page.name} links to #{heading} in {path.name}"


def test_the_pages_follow_one_another_as_the_index_says() -> None:
    """Each leads to the one before it, to the index, and to the next."""
    order = re.findall(r"^\| \d+ \| \[[^]]+\]\(([^)]+)\)", INDEX.text, re.MULTILINE)
    assert sorted(order) == [page.path.name for page in CHAPTERS]
    for before, name, after in zip(["", *order], order, [*order[1:], ""]):
        line = (COMPANION / name).read_text(encoding="utf-8").splitlines()[2]
        assert re.findall(r"\]\(([^)]+)\)", line) == [each for each in (before, "README.md", after) if each], name


# Names


@each_page
def test_every_name_behind_a_file_is_defined_in_it(page: Page) -> None:
    """A function stands behind its module, a method also behind its class."""
    for path, name in page.names_of_files():
        assert KNOWN[path].issuperset(name.split(".")), f"{page.name}: there is no {name} in {path.name}"


@each_page
def test_everything_else_in_backticks_is_a_name_an_option_a_file_or_a_command(page: Page) -> None:
    """So nothing on a page is called as the code does not call it any more."""
    names, options, commands = set().union(*KNOWN.values()), help_of_serve(), page.commands()
    for span in set(page.spans()) - WORDS - set(commands):
        if span.startswith("--"):
            assert span in options, f"{page.name}: serve has no {span}"
        elif "/" in span:
            assert list(ROOT.glob(span)), f"{page.name}: there is no {span}"
        else:
            assert names.issuperset(span.split(".")), f"{page.name}: nothing is called {span}"


def help_of_serve() -> str:
    """Return what `serve --help` says."""
    commands: Any = argparse.ArgumentParser().add_subparsers()
    add_serve(commands)
    text: str = commands.choices["serve"].format_help()
    return text


# Breakpoints


@pytest.mark.parametrize("stop", STOPS)
def test_the_breakpoint_is_reached_by_the_test(stop: Stop) -> None:
    """What is typed at the prompt is an import and a breakpoint, and the program comes by."""
    names: dict[str, Any] = {}
    imported, breakpoint_ = stop.lines
    exec(imported, names)
    where, _, condition = breakpoint_[len("b "):].partition(", ")
    function = eval(where, names)
    (test,) = started_by(stop.command)
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
        assert 2 <= len(page.answers()) <= 3 and page.stops() and page.commands(), page.name
        assert {"the-code", "left-open", "do", "questions"} <= page.anchors(), page.name


def test_every_choice_says_what_the_paper_says_what_we_do_what_others_do_and_what_follows() -> None:
    """docs/choices.md: four points each."""
    _, *choices = re.split("^### ", (ROOT / "docs" / "choices.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for choice in choices:
        points = re.findall(r"^- \*\*(\w+)", choice, re.MULTILINE)
        assert points == ["Paper", "We", "Others", "So"], choice.splitlines()[0]
