"""Is there an order that explains what the clients saw? And if not, which few answers contradict each other (§8)?

"Our goal for Raft is to implement linearizable semantics (each operation appears to execute instantaneously, exactly
once, at some point between its invocation and its response)". A history is linearizable if and only if that of each of
its keys is (Herlihy and Wing, 1990), so each key is looked at alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable, Optional

from raft_threads.histories import CAS, DELETE, READ, WRITE, Key, Operation
from raft_threads.linearization_search import Search

# Between two looks at the clock.
STEPS_AT_A_TIME = 100
# What one question may cost while a window is made smaller: some tenths of a second.
STEPS_FOR_A_QUESTION = 20_000


@dataclass(frozen=True)
class Window:
    """A few operations on one key whose answers no order explains, whatever its `others` did.

    Each of the others may have taken effect between its invocation and its answer (at any time after its invocation
    if it has no answer), or not at all. Which operations these are is settled in three steps, by asking the search:

    1. The window ends with the first answer by which no order explains all answers so far.
    2. It begins with the last answer such that those from there to the end cannot be explained.
    3. From what lies between, each answer in turn is left out, the oldest first, if the rest still cannot be explained.

    So a window is minimal: without any one of its answers, an order explains the rest. `is_minimal` is False if that
    was not settled for all of them in the time given. `operations` are in the order of their invocations.
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
    """Look for an order that explains `operations`, for `timeout` seconds at most (None: as long as it takes).

    The search may take time exponential in the number of operations that are pending at once; it hardly ever does.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    by_key: dict[Key, list[Operation]] = {}
    for operation in operations:
        by_key.setdefault(operation.key, []).append(operation)
    answers = {key: _has_an_order(Search(of_key), deadline) for key, of_key in by_key.items()}
    return Verdict(
        tuple(_WindowFinder(by_key[key], deadline).find() for key, answer in answers.items() if answer is False),
        tuple(key for key, answer in answers.items() if answer is None),
    )


def _has_an_order(search: Search, deadline: Optional[float], steps: Optional[int] = None) -> Optional[bool]:
    """Run `search` to its end, but not past `deadline` or more than about `steps`; None if it is not known by then."""
    taken = 0
    while True:
        answer = search.run(STEPS_AT_A_TIME)
        taken += STEPS_AT_A_TIME
        if answer is not None:
            return answer
        if (deadline is not None and time.monotonic() > deadline) or (steps is not None and taken >= steps):
            return None


class _WindowFinder:
    """Finds the window in the history of one key that no order explains."""

    def __init__(self, operations: Sequence[Operation], deadline: Optional[float]) -> None:
        self._operations = operations
        self._deadline = deadline
        self._is_minimal = True

    def find(self) -> Window:
        """Return the window."""
        window = [operation for operation in self._operations if operation.returned is not None]
        window.sort(key=_position_of_answer)
        window = window[: self._shortest(len(window), lambda length: window[:length])]
        window = window[-self._shortest(len(window), lambda length: window[-length:]) :]
        window = self._thinned(window)
        return Window(
            self._operations[0].key,
            tuple(sorted(window, key=lambda operation: operation.invoked)),
            len(self._operations) - len(window),
            self._is_minimal,
        )

    def _shortest(self, longest: int, part: Callable[[int], list[Operation]]) -> int:
        """Return the smallest length whose part no order explains; the part of length `longest` is one of these."""
        too_short, long_enough = 0, longest
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
        while ranges:
            tried = ranges.pop()
            rest = [operation for i, operation in enumerate(window) if i not in spared and i not in tried]
            if self._no_order_explains(rest):
                spared.update(tried)
            elif len(tried) > 1:
                middle = len(tried) // 2
                ranges += [tried[middle:], tried[:middle]]
        return [operation for i, operation in enumerate(window) if i not in spared]

    def _no_order_explains(self, window: Sequence[Operation]) -> bool:
        """Return whether it is certain that no order explains `window`, of operations sorted by their answers."""
        if not window:
            return False
        end = _position_of_answer(window[-1])
        in_window = {operation.invoked for operation in window}
        until_end = [operation for operation in self._operations if operation.invoked < end]
        left_out = [
            operation
            for operation in until_end
            if operation.returned is not None and operation.invoked not in in_window
        ]
        answer = _has_an_order(Search(until_end, left_out), self._deadline, STEPS_FOR_A_QUESTION)
        if answer is None:
            self._is_minimal = False
        return answer is False


def _position_of_answer(operation: Operation) -> int:
    assert operation.returned is not None
    return operation.returned


def describe(window: Window) -> list[str]:
    """Return lines that show `window` to people."""
    count = len(window.operations)
    answers = "this answer" if count == 1 else f"these {count} answers"
    whose = "of the only key" if window.key is None else f"of key {json.dumps(window.key)}"
    lines = [f"no order explains {answers} {whose}, whatever its {window.others} other operations did:"]
    cells = [_cells(operation) for operation in window.operations]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines += ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    if not window.is_minimal:
        lines.append("  (fewer may do: there was no time to try all)")
    return lines


def _cells(operation: Operation) -> list[str]:
    """Return what one line says of an operation: where, when, who, what."""
    times = ["?" if at is None else f"{at:g}" for at in (operation.invoked_at, operation.returned_at)]
    return [
        f"lines {operation.invoked}-{operation.returned}",
        "" if times == ["?", "?"] else f"{'-'.join(times)} s",
        f"process {operation.process}",
        f"{operation.f} {_what(operation)}".rstrip(),
    ]


def _what(operation: Operation) -> str:
    """Return argument and result of an answered operation."""
    argument = "" if operation.argument is None and operation.f != WRITE else json.dumps(operation.argument)
    if operation.f == READ:
        return f"-> {json.dumps(operation.result)}"
    if operation.f == CAS:
        return f"{argument} -> {'ok' if operation.result else 'another value'}"
    if operation.f == DELETE and operation.result is not None:
        return "-> existed" if operation.result else "-> did not exist"
    return f"{argument} -> ok".lstrip()
