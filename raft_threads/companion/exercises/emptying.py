"""Takes the body of a function out of a file's text; signature, docstring and all other lines stay as they are."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Collection
from functools import lru_cache

WIDTH = 120
REFERENCE = re.compile(r"Diss\. §[0-9.]*[0-9]|Fig\. [0-9]+|§[0-9.]*[0-9]")
# Said at the end of the message, so not in the midst of it.
IN_PARENTHESES = re.compile(r" \((?:§|Fig\. |Diss\. )[^()]*\)")
END_OF_SENTENCE = re.compile(r"(?<!Fig)(?<!Diss)\. |\.$")

class NoSuchFunction(Exception):
    """The text has no function of that name."""


@lru_cache(maxsize=8)
def parsed(text: str) -> ast.Module:
    """Return the syntax tree of a file's text, which is asked for once for each of its functions."""
    return ast.parse(text)


def functions_in(text: str) -> dict[str, ast.FunctionDef]:
    """Return the functions and methods in `text` by their names, a method's with its class before it."""
    found: dict[str, ast.FunctionDef] = {}
    for node in parsed(text).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found.update({f"{node.name}.{each.name}": each for each in node.body if isinstance(each, ast.FunctionDef)})
    return found


def function_named(text: str, name: str) -> ast.FunctionDef:
    """Return the function `name` in `text`. Raises NoSuchFunction."""
    try:
        return functions_in(text)[name]
    except KeyError as error:
        raise NoSuchFunction(f"there is no function {name}") from error


def source_of(text: str, name: str) -> str:
    """Return the lines of the function `name`, with its decorators. Raises NoSuchFunction."""
    function = function_named(text, name)
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return textwrap.dedent("".join(text.splitlines(keepends=True)[first - 1:function.end_lineno]))


def emptied(text: str, names: Collection[str]) -> str:
    """Return `text` with `raise NotImplementedError(...)` for the bodies of the functions `names`.

    Raises NoSuchFunction, and ValueError for a function without a docstring, which would not say what to write.
    """
    lines = text.splitlines(keepends=True)
    for name in sorted(names, key=lambda name: function_named(text, name).lineno, reverse=True):
        function = function_named(text, name)
        docstring = ast.get_docstring(function)
        if docstring is None or function.end_lineno is None:
            raise ValueError(f"{name} has no docstring")
        said = function.body[0].end_lineno or function.lineno
        indent = " " * function.body[0].col_offset
        lines[said:function.end_lineno] = raising(what_to_write(text, name, docstring), indent)
    return "".join(lines)


def what_to_write(text: str, name: str, docstring: str) -> str:
    """Return what is missing and where to read of it: by the function's docstring, or its module's."""
    task = IN_PARENTHESES.sub("", END_OF_SENTENCE.split(" ".join(docstring.split()))[0])
    heading = (ast.get_docstring(parsed(text)) or "").partition("\n")[0]
    references = REFERENCE.findall(docstring) or REFERENCE.findall(heading)
    return f"{name}: {task[0].lower()}{task[1:]}; see {', '.join(dict.fromkeys(references))}"


def raising(message: str, indent: str) -> list[str]:
    """Return the lines of a raise statement, none wider than the rest of the code."""
    line = f"{indent}raise NotImplementedError({quoted(message)})\n"
    if len(line) <= WIDTH:
        return [line]
    pieces = textwrap.wrap(message, WIDTH - len(indent) - 8, drop_whitespace=False, break_on_hyphens=False)
    return [
        f"{indent}raise NotImplementedError(\n",
        *(f"{indent}    {quoted(piece)}\n" for piece in pieces),
        f"{indent})\n",
    ]


def quoted(text: str) -> str:
    """Return `text` as a literal in double quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
