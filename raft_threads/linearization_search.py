"""Wing and Gong's search for an order that explains a history, with Lowe's memory of where it has been (§8).

Linearizability (Herlihy and Wing, 1990): each operation appears to take effect at one instant between its invocation
and its answer. So the search lets one operation after the other have its turn, always one that was invoked before the
first answer among those still waiting, and goes back when the answers do not fit. An operation without an answer may
have its turn at any time after its invocation, or never.

Everything here is about one key. What the search has come to is a small immutable `Configuration`, and a configuration
that promises no more than one seen before is not searched again, which is what makes the search usable.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from heapq import heappop, heappush
from itertools import chain
from typing import Any, NamedTuple, Optional

from raft_threads.cell import Vocabulary, can_be_replacement, can_come, needed_value, needs_a_value, observes_only, step
from raft_threads.histories import APPEND, READ, Operation


class Configuration(NamedTuple):
    """What a search has come to.

    Answered operations are numbered from 0 by their answers. All before `first_waiting` have had their turn, and so
    have those in the bitset `ahead`, whose bit i is operation `first_waiting + i`. `open_used` is the bitset of
    operations without an answer that had their turn; `value` is the key's value now.
    """

    first_waiting: int
    ahead: int
    open_used: int
    value: Any

    def is_waiting(self, i: int) -> bool:
        """Return whether answered operation `i` has not had its turn."""
        return i >= self.first_waiting and not self.ahead >> (i - self.first_waiting) & 1


class Search:
    """A search for an order of `operations`, all on one key that is absent at first.

    The answers of those in `left_out` explain nothing and need no explanation: such an operation may have taken effect
    between its invocation and its answer, or not at all.
    """

    def __init__(self, operations: Sequence[Operation], left_out: Collection[Operation] = ()) -> None:
        skipped = {operation.invoked for operation in left_out}
        self._answered = [
            operation
            for operation in sorted(operations, key=lambda operation: operation.returned or 0)
            if operation.returned is not None and not (operation.invoked in skipped and observes_only(operation))
        ]
        self._is_optional = [operation.invoked in skipped for operation in self._answered]
        self._pending_at = _pending_at_each_return(self._answered)
        self._in_need_from = self._next_operations_in_need()
        self._vocabulary = Vocabulary(operations)
        self._open_kinds = _identical_open_operations(operations, self._vocabulary)
        self._has_appends = any(operation.f == APPEND for operation in operations)
        # By (first_waiting, ahead, value and its type): the smallest sets of open operations with which we were there.
        self._seen: dict[tuple[int, int, Any, type], list[int]] = {}
        # What to go on from, by number; and their numbers in two orders of preference.
        self._frontier: dict[int, Configuration] = {}
        self._furthest_first: list[tuple[int, int, int]] = []
        self._nearest_first: list[tuple[int, int, int]] = []
        self._count = 0
        self._replacements: dict[int, int] = {}
        self._found = not self._answered
        self._consider(Configuration(0, 0, 0, None))

    def run(self, steps: int) -> Optional[bool]:
        """Go on for `steps` steps; return whether there is an order, or None when that is not known yet."""
        for _ in range(steps):
            self._go_on_from_next(self._furthest_first)
            self._go_on_from_next(self._nearest_first)
            if self._found or not self._frontier:
                return self._found
        return None

    def _go_on_from_next(self, preference: list[tuple[int, int, int]]) -> None:
        while preference:
            at = self._frontier.pop(heappop(preference)[-1], None)
            if at is not None and at.open_used in self._seen[_place(at)]:
                for configuration in self._successors(at):
                    self._consider(configuration)
                return

    def _consider(self, at: Configuration) -> None:
        """Keep `at` to go on from later, if that promises something.

        """
        if at.first_waiting == len(self._answered):
            self._found = True
        elif self._promises_something_new(at) and self._can_go_on(at):
            self._count -= 1
            self._frontier[self._count] = at
            open_used = _bits(at.open_used)
            heappush(self._furthest_first, (-at.first_waiting, open_used, self._count))
            heappush(self._nearest_first, (at.first_waiting, open_used, self._count))

    def _next_operations_in_need(self) -> list[Optional[int]]:
        """Return for each operation, and for the end, the first one from there on that needs a certain value."""
        result: list[Optional[int]] = [None]
        for i in reversed(range(len(self._answered))):
            is_in_need = needs_a_value(self._answered[i]) and not self._is_optional[i]
            result.append(i if is_in_need else result[-1])
        return result[::-1]

    def _promises_something_new(self, at: Configuration) -> bool:
        """Take note of a configuration, unless one like it was seen that had used no more of the open operations."""
        seen = self._seen.setdefault(_place(at), [])
        if any(used & at.open_used == used for used in seen):
            return False
        seen[:] = [used for used in seen if used & at.open_used != at.open_used]
        seen.append(at.open_used)
        return True

    def _can_go_on(self, at: Configuration) -> bool:
        """Return whether the next operation that needs a certain value can still find it.

        So appends in a wrong order are noticed at once, and not after all orders of the appends that follow.
        """
        i = self._next_in_need(at) if self._has_appends else None
        if i is None or at.first_waiting <= self._last_replacement_before(i):
            return True
        answered = (j for j in chain(range(at.first_waiting, i), self._pending_at[i]) if at.is_waiting(j))
        candidates = [self._answered[j] for j in dict.fromkeys(answered)]
        for kind, first_bit in self._open_kinds:
            candidates += [open for open in kind[_used(at, kind, first_bit) :] if open.invoked < self._end(i)]
        return can_come(needed_value(self._answered[i]), at.value, candidates)

    def _last_replacement_before(self, i: int) -> int:
        if i not in self._replacements:
            j = i-1
            while j >= 0 and not can_be_replacement(self._answered[j], needed_value(self._answered[i])):
                j -= 1
            self._replacements[i] = j
        return self._replacements[i]

    def _next_in_need(self, at: Configuration) -> Optional[int]:
        """Return the first waiting operation whose answer counts and fits one value only."""
        i = self._in_need_from[at.first_waiting]
        while i is not None and not at.is_waiting(i):
            i = self._in_need_from[i + 1]
        return i

    def _successors(self, at: Configuration) -> Iterator[Configuration]:
        """Yield what one more turn can lead to."""
        waiting = [i for i in self._pending_at[at.first_waiting] if at.is_waiting(i)]
        for i in waiting:
            # Whoever only looks, and sees what fits, may have its turn at once: nobody is the worse for it.
            if observes_only(self._answered[i]) and step(at.value, self._answered[i])[0]:
                yield _after_turn(at, i, at.value)
                return
        for i in waiting:
            fits, value = step(at.value, self._answered[i])
            if fits and not observes_only(self._answered[i]):
                yield _after_turn(at, i, self._vocabulary.spoken(value))
        if self._is_optional[at.first_waiting]:
            yield _after_turn(at, at.first_waiting, at.value)
        for operation, bit in self._first_unused_open(at, self._end(at.first_waiting)):
            fits, value = step(at.value, operation)
            value = self._vocabulary.spoken(value)
            if fits and self._vocabulary.is_worth_it(at.value, value):
                yield at._replace(open_used=at.open_used | bit, value=value)

    def _first_unused_open(self, at: Configuration, end: int) -> Iterator[tuple[Operation, int]]:
        """Yield the operations without an answer that can be next before `end`, and their bits: one of each kind."""
        for kind, first_bit in self._open_kinds:
            count = _used(at, kind, first_bit)
            if count < len(kind) and kind[count].invoked < end:
                yield kind[count], 1 << first_bit + count

    def _end(self, i: int) -> int:
        """Return the position of the answer of operation `i`."""
        end = self._answered[i].returned
        assert end is not None
        return end


def _after_turn(at: Configuration, i: int, value: Any) -> Configuration:
    """Return the configuration after answered operation `i` had its turn and left `value`."""
    first_waiting, ahead = at.first_waiting, at.ahead | 1 << (i - at.first_waiting)
    while ahead & 1:
        first_waiting, ahead = first_waiting + 1, ahead >> 1
    return Configuration(first_waiting, ahead, at.open_used, value)


def _place(at: Configuration) -> tuple[int, int, Any, type]:
    return at.first_waiting, at.ahead, at.value, type(at.value)


def _bits(bitset: int) -> int:
    return bin(bitset).count("1")


def _used(at: Configuration, kind: Sequence[Operation], first_bit: int) -> int:
    """Return how many of a kind had their turn. They have it as invoked, so their bits are set from below."""
    return (at.open_used >> first_bit & (1 << len(kind)) - 1).bit_length()


def _pending_at_each_return(answered: Sequence[Operation]) -> list[tuple[int, ...]]:
    """Return for each of `answered`, sorted by answers, who is pending just before its answer: itself and others."""
    by_invocation = sorted(range(len(answered)), key=lambda i: answered[i].invoked)
    pending: dict[int, None] = {}
    result = []
    next_invoked = 0
    for i, operation in enumerate(answered):
        assert operation.returned is not None
        while (
            next_invoked < len(answered) and answered[by_invocation[next_invoked]].invoked < operation.returned
        ):
            pending[by_invocation[next_invoked]] = None
            next_invoked += 1
        result.append(tuple(pending))
        del pending[i]
    return result


def _identical_open_operations(operations: Sequence[Operation], vocabulary: Vocabulary) -> list[tuple[list[Operation], int]]:
    """Return the operations without an answer, identical ones together as invoked, and where their bits begin."""
    kinds: dict[tuple[str, str], list[Operation]] = {}
    for operation in sorted(operations, key=lambda operation: operation.invoked):
        if operation.returned is None and operation.f != READ:
            kinds.setdefault(vocabulary.effect(operation), []).append(operation)
    result, first_bit = [], 0
    for kind in kinds.values():
        result.append((kind, first_bit))
        first_bit += len(kind)
    return result
