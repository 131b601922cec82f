"""Lines that pages have for a shell, taken apart: which of our programs they start, with which arguments."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from string import Template

PYTHON = ("python3", "python", ".venv/bin/python")
_BETWEEN_COMMANDS = {"&&", "&", "|", ";", "do", "done"}


def programs(lines: Sequence[str]) -> Iterator[list[str]]:
    """Return what each command has behind `python3`, or all of it if it begins with `run_demo.py`.

    A variable stands for what it was set to in an earlier line; that of a loop for its first value.
    """
    variables: dict[str, str] = {}
    for line in lines:
        variables.update(re.findall(r"^(\w+)=(\S+)$", line) + re.findall(r"^for (\w+) in (\w+)", line))
        for command in commands_of(line):
            words = [Template(word).safe_substitute(variables) for word in command]
            if words[0] in PYTHON:
                yield words[1:]
            elif words[0] == "run_demo.py":
                yield words


def commands_of(line: str) -> Iterator[list[str]]:
    """Return the words of each command in a line, without `> FILE` and comments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: list[str] = []
    for word in [*lexer, ";"]:
        if word not in _BETWEEN_COMMANDS:
            command.append(word)
        elif command:
            yield command[: command.index(">")] if ">" in command else command
            command = []
