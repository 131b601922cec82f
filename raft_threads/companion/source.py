"""Where a rule stands in the code: file, line, text, and where to set a breakpoint. Looked up when it is asked for."""

from __future__ import annotations

import ast
import dis
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
    """Return the number of the first line in `value`'s file that is executed when it is called: after its docstring.

    That of a `return (` over several lines is executed last: a debugger that stops there comes too late.
    """
    begin = line_below_docstring(function_of(value))
    executed = (line for _, line in dis.findlinestarts(inspect.unwrap(function_of(value)).__code__))
    return next(line for line in executed if line is not None and line >= begin)


def function_of(value: Any) -> Any:
    """Return the function that is executed when `value` is called: if that is a class, its constructor."""
    if inspect.isclass(value):
        return next(vars(value)[name] for name in _CONSTRUCTORS if name in vars(value))
    return value


def line_below_docstring(function: Any) -> int:
    """Return the number of the line in the function's file with which its first statement begins."""
    lines, first = inspect.getsourcelines(function)
    (definition,) = ast.parse(textwrap.dedent("".join(lines))).body
    assert isinstance(definition, ast.FunctionDef)
    body = definition.body[1:] if ast.get_docstring(definition) is not None else definition.body
    return first + body[0].lineno - 1
