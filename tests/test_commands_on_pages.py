"""What the README and docs/ have for a shell is understood: by the parsers, or the files and tests, that it is for."""

from __future__ import annotations

import argparse
import importlib.util
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from typing import Any

import pytest
from pages import PAGES, ROOT, Page, chosen_tests
from shell_lines import programs

from raft_threads import __main__ as raft_threads
from raft_threads.companion.rules import RULES
from raft_threads.demo import cli

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@each_page
def test_every_command_is_understood(page: Page) -> None:
    """Lines of boxes, in which a variable may be set; and what the prose says."""
    for command in [*programs(page.shell_lines()), *programs(page.commands())]:
        assert understood(command), f"{page.name}: {' '.join(command)}"


def test_pages_have_commands_of_every_kind() -> None:
    """So that none of them is overlooked."""
    found = {" ".join(command[:3]) for page in PAGES for command in programs([*page.shell_lines(), *page.commands()])}
    assert {"-m pytest -s", "-m raft_threads serve", "-m pdb run_demo.py", "run_demo.py shell --pace"} <= found


@pytest.mark.parametrize(
    "command",
    [
        "run_demo.py elections",
        "run_demo.py figure-3",
        "run_demo.py figure-4 --stop",
        "run_demo.py break F2.Leaders.44",
        "run_demo.py quiz --topic none",
        "-m pdb run_demo.py figure-2",
        "-m raft_threads serv --id n1",
        "-m raft_threads simulate --seeds 9:0",
        "-m raft_threads put --cluster $C x 1",
        "-m raft_threads.companion.rule_page",
        "-m pytest --trace tests/test_section_5_9.py",
        "-m pytest --trace tests/test_figure_8_on_servers.py -k in_z",
        "-m pytest -m soaked",
    ],
)
def test_a_command_that_does_not_work_is_not_understood(command: str) -> None:
    """So the test above can fail."""
    assert not understood(command.split())


def understood(command: Sequence[str]) -> bool:
    """Return whether Python takes this: a file or `-m` and a module, and arguments that it knows."""
    first, *rest = command
    if first == "run_demo.py":
        return demo_understands([word for word in rest if word != "[SCENARIO]"])
    module, *arguments = rest
    if module == "pdb":
        return understood(arguments)
    if module == "pytest":
        return pytest_understands(arguments)
    if module == "raft_threads":
        return bool(not arguments or raft_threads_understands(arguments))
    return importlib.util.find_spec(module) is not None and (module, arguments) in [
        ("venv", [".venv"]),
        ("raft_threads.companion.rules_page", []),
    ]


class Understood(Exception):
    """A command's own parser takes its arguments; so it would begin."""


@contextmanager
def in_silence() -> Iterator[None]:
    """Have a parser's complaints unheard, and its exit not lead out of the program."""
    with redirect_stderr(StringIO()), redirect_stdout(StringIO()), suppress(SystemExit):
        yield


def demo_understands(arguments: list[str]) -> bool:
    """Return whether `run_demo.py` takes these arguments, up to the id of a rule."""
    parse_args: Any = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, argv: list[str]) -> None:
        parse_args(parser, argv)
        raise Understood

    with pytest.MonkeyPatch.context() as patch, in_silence():
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        try:
            cli.main(arguments)
        except Understood:
            return arguments[:1] not in (["rule"], ["break"]) or set(arguments[1:]) <= {*RULES, "--list"}
    return False


def raft_threads_understands(arguments: Sequence[str]) -> bool:
    """Return whether `python3 -m raft_threads` takes these arguments."""
    with in_silence():
        parsed = raft_threads.build_parser().parse_args(arguments)
        parsed.complete(parsed.parser, parsed)
        return True
    return False


def pytest_understands(arguments: list[str]) -> bool:
    """Return whether there is a test to run: `[-s] [--trace] [-m MARK] [FILE [-k WORD]]`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", action="store_true")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("-m", default="")
    parser.add_argument("-k", default="")
    parser.add_argument("files", nargs="*")
    with in_silence():
        parsed = parser.parse_args(arguments)
        marks = re.findall(r"^    (\w+)[(:]", (ROOT / "setup.cfg").read_text(encoding="utf-8"), re.MULTILINE)
        return parsed.m in ["", *marks] and all(
            (ROOT / file).exists() and chosen_tests(file, parsed.k) for file in parsed.files
        )
    return False
