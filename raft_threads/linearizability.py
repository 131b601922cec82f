"""Does an order explain what the clients saw? And if none does, which few answers contradict each other (§8)?

Raft's goal for its clients is linearizability: each operation appears to take effect once, at one instant between its
invocation and its answer. A history is linearizable if and only if the history of each key is (Herlihy and Wing, 1990),
so each key is looked at alone. `linearization_search` does the looking.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from raft_threads.histories import CAS, DELETE, READ, Key, Operation
from raft_threads.linearization_search import Search, end_of

# Between two looks at the clock.
STEPS_AT_A_TIME = 100
# What it may cost to ask whether a window can be smaller: so much, or so much for each operation. And how often that.
STEPS_FOR_A_QUESTION = 10_000
STEPS_FOR_AN_OPERATION = 10
LONG_QUESTIONS = 5
# How much of a window is shown.
LONGEST_LIST = 50
LONGEST_VALUE = 120


@dataclass(frozen=True)
class Window:
    """A few operations on one key whose answers no order explains, whatever the `others` on that key did.

    Of the others only the time is known: each may have taken effect between its invocation and its answer (at any time
    after its invocation if it has no answer), or not at all; those that changed nothing, by their answers, did not.

    Which operations are in the window is settled in two steps. It ends with the first answer such that no order
    explains the answers so far. Of these, each in turn is left out, the oldest first, if still no order explains the
    rest. So the window is minimal: if any of its answers were not known, an order would explain the others.
    `is_minimal` is False if that would have taken too long to settle. `operations` are in the order of their
    invocations.
    """

    key: Key
    operations: tuple[Operation, ...]
    others: int
    is_minimal: bool


@dataclass(frozen=True)
class Verdict:
    """What was found: a window for each key whose history no order explains, and the keys where time was up."""

    windows: tuple[Window, ...]
    undecided: tuple[Key, ...]

    @property
    def is_linearizable(self) -> bool:
        """Whether an order explains the histories of all keys."""
        return not self.windows and not self.undecided


def check(operations: Sequence[Operation], timeout: Optional[float] = None) -> Verdict:
    """Look for an order that explains `operations`, for about `timeout` seconds at most (None: as long as it takes).

    The time may grow exponentially with the number of operations that are pending at once, or have no answer, but
    hardly ever does. To find a window takes some seconds more, whatever `timeout` says.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    by_key: dict[Key, list[Operation]] = {}
    for operation in operations:
        by_key.setdefault(operation.key, []).append(operation)
    searches = {key: Search(of_key) for key, of_key in by_key.items()}
    answers: dict[Key, bool] = {}
    while len(answers) < len(searches) and (deadline is None or time.monotonic() < deadline):
        for key, search in searches.items():
            answer = None if key in answers else search.run(STEPS_AT_A_TIME)
            if answer is not None:
                answers[key] = answer
    failed = [key for key in by_key if answers.get(key) is False]
    return Verdict(
        tuple(_WindowFinder(by_key[key]).find(searches[key].explained) for key in failed),
        tuple(key for key in by_key if key not in answers),
    )


class _WindowFinder:
    """Finds the window in the history of one key that no order explains."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations
        self._steps_for_a_question = max(STEPS_FOR_A_QUESTION, STEPS_FOR_AN_OPERATION * len(operations))
        self._steps_left = LONG_QUESTIONS * self._steps_for_a_question
        self._is_minimal = True

    def find(self, explained: int) -> Window:
        """Return the window, given that the first answers, as many as `explained`, are known to have an order."""
        window = sorted((operation for operation in self._operations if operation.returned is not None), key=end_of)
        window = window[: self._shortest(explained, len(window), lambda length: window[:length])]
        # What can be left out from the beginning is found sooner from the other end.
        window = window[-self._shortest(0, len(window), lambda length: window[-length:]) :]
        window = self._thinned(window)
        return Window(
            self._operations[0].key,
            tuple(sorted(window, key=lambda operation: operation.invoked)),
            len(self._operations) - len(window),
            self._is_minimal,
        )

    def _shortest(self, too_short: int, longest: int, part: Callable[[int], list[Operation]]) -> int:
        """Return the smallest length whose part no order explains.

        Some order explains the part of length `too_short`, none that of length `longest`.
        """
        stride, length = 1, too_short + 1
        while length < longest and not self._no_order_explains(part(length)):
            stride, too_short = 2 * stride, length
            length += stride
        long_enough = min(length, longest)
        while long_enough - too_short > 1:
            length = (too_short + long_enough) // 2
            if self._no_order_explains(part(length)):
                long_enough = length
            else:
                too_short = length
        return long_enough

    def _thinned(self, window: list[Operation]) -> list[Operation]:
        """Return `window` without what it can spare. Trying many at once leaves out the same as one after the other."""
        spared: set[int] = set()
        ranges = [range(len(window))]
        while ranges and self._steps_left > 0:
            tried = ranges.pop()
            rest = [operation for i, operation in enumerate(window) if i not in spared and i not in tried]
            if self._no_order_explains(rest):
                spared.update(tried)
            elif len(tried) > 1:
                middle = len(tried) // 2
                ranges += [tried[middle:], tried[:middle]]
        self._is_minimal &= not ranges
        return [operation for i, operation in enumerate(window) if i not in spared]

    def _no_order_explains(self, window: Sequence[Operation]) -> bool:
        """Return whether it is certain that no order explains `window`, of operations in the order of answers."""
        if not window:
            return False
        answer, steps, search = None, 0, self._search_for(window)
        while answer is None and steps < min(self._steps_for_a_question, self._steps_left):
            answer = search.run(STEPS_AT_A_TIME)
            steps += STEPS_AT_A_TIME
        self._steps_left -= steps
        if answer is None:
            self._is_minimal = False
        return answer is False

    def _search_for(self, window: Sequence[Operation]) -> Search:
        """Return a search for an order that explains `window`, with the other answers left out."""
        in_window = {operation.invoked for operation in window}
        until_end = [operation for operation in self._operations if operation.invoked < end_of(window[-1])]
        left_out = [each for each in until_end if each.returned is not None and each.invoked not in in_window]
        return Search(until_end, left_out)


def name_of(key: Key) -> str:
    """Return how to call `key` in texts for people."""
    return "the register" if key is None else f"key {json.dumps(key)}"


def describe(window: Window) -> list[str]:
    """Return lines that show `window` to people: what it is, and one line for each of its operations."""
    count = len(window.operations)
    answers = "this answer" if count == 1 else f"these {count} answers"
    others = "the other operation" if window.others == 1 else f"the {window.others} other operations"
    whatever = f", whatever {others} on it did" if window.others else ""
    lines = [f"{name_of(window.key)}: no order explains {answers}{whatever}:"]
    shown = window.operations[-LONGEST_LIST:]
    has_times = any(operation.invoked_at is not None or operation.returned_at is not None for operation in shown)
    cells = [_cells(operation, has_times) for operation in shown]
    widths = [max(map(len, column)) for column in zip(*cells)]
    if count > LONGEST_LIST:
        lines.append(f"  ({count - LONGEST_LIST} more)")
    lines += ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    if not window.is_minimal:
        lines.append("  (fewer may do: it would have taken too long to try all)")
    return lines


def _cells(operation: Operation, has_times: bool) -> list[str]:
    """Return what one line says of an operation: where, when, who, what."""
    times = ["?" if at is None else f"{at:.3f}" for at in (operation.invoked_at, operation.returned_at)]
    return [
        f"lines {operation.invoked}-{operation.returned}",
        *(["-".join(times) + " s"] if has_times else []),
        f"process {operation.process}",
        f"{operation.f} {_what(operation)}",
    ]


def _what(operation: Operation) -> str:
    """Return argument and result of an answered operation."""
    if operation.f == READ:
        return f"-> {_shown(operation.result)}"
    if operation.f == CAS:
        expected, new = operation.argument
        return f"{_shown(expected)} {_shown(new)} -> {'ok' if operation.result else 'another value'}"
    if operation.f == DELETE:
        return "-> " + {True: "existed", False: "did not exist", None: "ok"}[operation.result]
    return f"{_shown(operation.argument)} -> ok"


def _shown(value: Any) -> str:
    """Return `value` as JSON, the middle left out if it is long."""
    text = json.dumps(value)
    if len(text) <= LONGEST_VALUE:
        return text
    half = LONGEST_VALUE // 2
    return f"{text[:half]} ... {text[-half:]} ({len(value)} characters)"
