"""Where a rule stands in the code: file, line, text, and where to set a breakpoint. Looked up when it is asked for."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import raft_threads
from raft_threads.companion.rules import resolve

# What a breakpoint is set in, if the rule is a class.
_CONSTRUCTORS = ("__post_init__", "__init__")


class Place(NamedTuple):
    """A function, method or class: its file (from the project's root), first line, text, and first line of its body."""

    path: str
    line: int
    text: str
    breakpoint: int


def place_of(dotted: str) -> Place:
    """Return where the function, method or class with a dotted name stands. Raises AttributeError if there is none."""
    value = resolve(dotted)
    lines, line = inspect.getsourcelines(value)
    return Place(path_of(dotted), line, textwrap.dedent("".join(lines)).rstrip(), first_line_of_body(value))


def path_of(dotted: str) -> str:
    """Return the file of a dotted name: `raft_threads/replication.py`."""
    module = ".".join(dotted.split(".")[:2])
    file = inspect.getsourcefile(importlib.import_module(module))
    assert file is not None
    return Path(file).resolve().relative_to(Path(raft_threads.__file__).resolve().parent.parent).as_posix()


def text_of(function: Any) -> str:
    """Return the source of a function."""
    return textwrap.dedent(inspect.getsource(function)).rstrip()


def first_line_of_body(value: Any) -> int:
    """Return the number of the first line in `value`'s file that is executed when it is called: after its docstring."""
    if inspect.isclass(value):
        value = next(vars(value)[name] for name in _CONSTRUCTORS if name in vars(value))
    lines, first = inspect.getsourcelines(value)
    (function,) = ast.parse(textwrap.dedent("".join(lines))).body
    assert isinstance(function, ast.FunctionDef)
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return first + body[0].lineno - 1
