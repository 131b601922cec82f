"""What the README and docs/ name is there: files, headings, names of the code, options, commands, threads."""

from __future__ import annotations

import argparse
import re
from contextlib import redirect_stdout, suppress
from functools import lru_cache
from io import StringIO
from pathlib import Path

import pytest
from pages import INDEX, PAGES, ROOT, Page

from raft_threads import __main__ as raft_threads
from raft_threads.companion.commands import COMPANION
from raft_threads.companion.exercises.catalogue import EXERCISES
from raft_threads.companion.rules import RULES
from raft_threads.demo import cli

# What stands in backticks, and is no name of ours: of the shell, of pdb, of other projects; and what is no name at all.
WORDS = {
    *("apt install python3-venv", "kill %1", "kill $(jobs -p)", "kill -9", "python3", ".venv", "pip install"),
    *("pip install -e .", "pip install matplotlib", "pip install pysyncobj", "plots", "etcd-server"),
    *("taskset", "/proc/PID/task/*/status"),
    *("c", "n", "q", "-s --timeout 0", "breakpoint()", "less", "flock", "F_FULLFSYNC", "null", "_on_servers"),
    *("§", "Fig.", "Diss.", "...", "2", '""', "\\n", "%", "%25", "%0A", "%0D", "%XX", "id=host:port", "stale.jsonl"),
    *("checksum content\\n", "#2 n+1", "C n1 n2+n1 n2 n3", "grant", "~grant", "test_in_d_...", "timing="),
}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def defined_in(path: Path) -> set[str]:
    """Return what a module defines: functions, classes, methods, fields, constants."""
    definition = re.compile(r"^ *(?:def|class) (\w+)|^ *(?:self\.)?(\w+)(?:: [^=\n]+)?(?: = |$)", re.MULTILINE)
    return {name for names in definition.findall(path.read_text(encoding="utf-8")) for name in names if name}


KNOWN = {path: defined_in(path) for path in (ROOT / "raft_threads").rglob("*.py")}


@each_page
def test_every_link_leads_to_a_file_and_to_a_heading_that_are_there(page: Page) -> None:
    """Files in docs/ and in the package; headings by the names that browsers know them by."""
    for path, heading in page.links():
        assert path.exists(), f"{page.name} links to {path}"
        assert not heading or heading in Page(path).anchors(), f"{page.name} links to #{heading} in {path.name}"


def test_every_page_is_found_from_the_readme() -> None:
    """By following links; and the companion's index knows all of them."""
    found, to_read = {ROOT / "README.md"}, [ROOT / "README.md"]
    while to_read:
        linked = {path for path, _ in Page(to_read.pop()).links() if path.suffix == ".md"} - found
        found |= linked
        to_read += linked
    assert found == {page.path for page in PAGES}
    known_to_the_index = {path for path, _ in INDEX.links()}
    assert {page.path for page in PAGES} - known_to_the_index == {ROOT / "README.md", INDEX.path}


@each_page
def test_every_name_behind_a_file_is_defined_in_it(page: Page) -> None:
    """A function stands behind its module, a method also behind its class."""
    for path, name in page.names_of_files():
        assert KNOWN[path].issuperset(name.split(".")), f"{page.name}: there is no {name} in {path.name}"


@each_page
def test_everything_else_in_backticks_is_a_name_an_option_a_file_or_a_command(page: Page) -> None:
    """So nothing on a page is called as the code does not call it any more."""
    for span in set(page.spans()) - WORDS - set(page.commands()):
        if not re.match(r"[{[%]", span):  # a sample of a format, which other tests read
            for word in span.split():
                assert is_known(word), f"{page.name}: nothing is called {word}, in `{span}`"


def is_known(word: str) -> bool:
    """Return whether a word means something to us."""
    call = re.sub(r"\.splitlines\(\)$", "", word)
    return (
        set(re.sub(r"\(.*\)$", "", call).split(".")) <= names_and_strings()
        or word in words_of_command_lines()
        or is_file(word.strip("/"))
        or is_thread(word)
        or bool(re.fullmatch(r"[A-Z]+|[\d:,./-]+", word))  # FILE, and numbers
    )


def is_file(path: str) -> bool:
    """Return whether there is such a file in the project, or such a module anywhere in it."""
    return any(each.name == path for each in KNOWN) or ("/" in path and any(ROOT.glob(path)))


def is_thread(word: str) -> bool:
    """Return whether threads are called like that: `n1/peer-n2`, `n1/rpc-from-127.0.0.1:5000`."""
    named = re.fullmatch(r"[nS]\d/([a-z-]+?)(?:[nS]\d|[\d.:]+)?", word)
    return named is not None and named[1] in names_of_threads()


@lru_cache(maxsize=None)
def names_and_strings() -> set[str]:
    """Return all names that the package defines, and the words that stand in it in quotes."""
    source = "".join(path.read_text(encoding="utf-8") for path in KNOWN)
    commands_of_the_shell = re.findall(r"def do_(\w+)", source)
    return {*set().union(*KNOWN.values()), *re.findall(r"[\"']([\w.-]+)[\"']", source), *commands_of_the_shell}


@lru_cache(maxsize=None)
def words_of_command_lines() -> set[str]:
    """Return the words of all commands' help texts, and what can be named in them."""
    help_texts = [*helps(raft_threads.build_parser()), *helps(cli.build_parser())]
    for command in COMPANION.values():
        with redirect_stdout(StringIO()) as printed, suppress(SystemExit):
            command.main(["--help"])
        help_texts.append(printed.getvalue())
    words = {word for text in help_texts for word in re.findall(r"[\w.-]+", text)}
    return {*words, *cli.SCENARIOS, *EXERCISES, *RULES}


def helps(parser: argparse.ArgumentParser) -> list[str]:
    """Return the help texts of a parser and of those below it."""
    below = [each.choices.values() for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    return [parser.format_help(), *(text for parsers in below for each in parsers for text in helps(each))]


@lru_cache(maxsize=None)
def names_of_threads() -> set[str]:
    """Return the names of threads as the code gives them, up to a peer or an address in them."""
    source = "".join(path.read_text(encoding="utf-8") for path in KNOWN)
    return set(re.findall(r"[\"/]((?:election|peer|disk|apply|snapshot|acceptor|rpc)[a-z-]*)[\"{]", source))
