"""A question: what is asked, what may be answered, and why the right answer is right."""

from __future__ import annotations

import inspect
import random
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, NamedTuple, Union

from raft_threads.companion.quiz.answers import Answers
from raft_threads.companion.source import line_below_docstring

PROJECT = Path(__file__).resolve().parents[3]

# A paragraph to be wrapped, or the lines of a picture to be left as they are.
Block = Union[str, list[str]]


class Rule(NamedTuple):
    """What an answer rests on: a function of the rules, and where the paper says it."""

    function: Callable[..., Any]
    sections: str

    def place(self) -> str:
        """Return the function's name, its section, and where to read it and to set a breakpoint."""
        code = inspect.unwrap(self.function).__code__
        path = Path(code.co_filename).resolve().relative_to(PROJECT)
        return f"{self.function.__qualname__} ({self.sections}), {path}:{code.co_firstlineno}"

    def lines(self) -> list[str]:
        """Return what the function does, without its signature and docstring."""
        lines, first = inspect.getsourcelines(self.function)
        return textwrap.dedent("".join(lines[line_below_docstring(self.function) - first:])).splitlines()


@dataclass(frozen=True)
class Question:
    """`asked` ends with the question itself; `why` is shown when it was answered, and then the `rules`."""

    asked: Sequence[Block]
    answers: Answers
    why: Sequence[Block]
    rules: Sequence[Rule]


class Topic(NamedTuple):
    """Something to be asked about; `make` thinks up a question and works out its answer."""

    asks: str
    sections: str
    make: Callable[[random.Random], Question]
