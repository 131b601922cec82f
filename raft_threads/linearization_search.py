"""A search for an order of the operations on one key that explains what the clients saw (§8).

Linearizability (Herlihy and Wing, 1990): each operation appears to take effect at one instant between its invocation
and its answer. As Wing and Gong do (1993), the search lets one operation after the other have its turn, always one that
was invoked before the first answer among those that still wait, and only if its own answer fits. As Lowe does (2017),
it remembers what it has come to, a `Configuration`, and goes on from each but once. Operations without an answer may
have their turn at any time after their invocation, or never.

That alone is correct. What makes it quick is said where it is done: reads go first, operations of the same effect go in
one order, values that nobody speaks of are one value, and where a value that is needed cannot come any more, it ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from heapq import heappop, heappush
from itertools import chain
from typing import Any, NamedTuple, Optional

from raft_threads.cell import Vocabulary, can_come, can_replace, needed_value, needs_a_value, observes_only, step
from raft_threads.histories import Operation


class Configuration(NamedTuple):
    """What a search has come to.

    Answered operations are numbered from 0 in the order of their answers. All before `first_waiting` have had their
    turn, and so have those in the bitset `ahead`, whose bit i is operation `first_waiting + i`. `open_used` is the
    bitset of operations without an answer that have had their turn, and `value` is the key's value now.
    """

    first_waiting: int
    ahead: int
    open_used: int
    value: Any

    def is_waiting(self, i: int) -> bool:
        """Return whether answered operation `i` has not had its turn."""
        return i >= self.first_waiting and not self.ahead >> (i - self.first_waiting) & 1

    def place(self) -> tuple[Any, ...]:
        """Return everything but the open operations, such that 1, 1.0 and True are different values."""
        return self.first_waiting, self.ahead, type(self.value), self.value

    def after_turn(self, i: int, value: Any) -> Configuration:
        """Return the configuration after answered operation `i` had its turn and left `value`."""
        first_waiting, ahead = self.first_waiting, self.ahead | 1 << (i - self.first_waiting)
        while ahead & 1:
            first_waiting, ahead = first_waiting + 1, ahead >> 1
        return Configuration(first_waiting, ahead, self.open_used, value)


class Search:
    """A search for an order of `operations`, all on one key, which is absent at first.

    Nothing is asked of the answers of those in `left_out`: such an operation may have taken effect between its
    invocation and its answer, or not at all.
    """

    def __init__(self, operations: Sequence[Operation], left_out: Collection[Operation] = ()) -> None:
        skipped = {operation.invoked for operation in left_out}
        # Who changes nothing, and whose answer does not matter or never came, plays no part.
        operations = [
            each
            for each in operations
            if not observes_only(each) or (each.returned is not None and each.invoked not in skipped)
        ]
        self._vocabulary = Vocabulary(operations)
        self._answered = sorted((each for each in operations if each.returned is not None), key=end_of)
        self._is_optional = [operation.invoked in skipped for operation in self._answered]
        self._pending_at = _pending_at_each_answer(self._answered)
        self._in_need_from = self._next_operations_in_need()
        self._last_replacement: dict[int, int] = {}
        self._open_kinds = _OpenKinds(operations, self._vocabulary)
        # By place: the smallest sets of open operations with which the search was there.
        self._seen: dict[tuple[Any, ...], list[int]] = {}
        # What to go on from, by number, and the numbers in two orders of preference.
        self._frontier: dict[int, Configuration] = {}
        self._furthest_first: list[tuple[int, int, int]] = []
        self._nearest_first: list[tuple[int, int, int]] = []
        self._number = 0
        # Some order explains so many answers for certain, counted from the first.
        self.explained = 0
        self._found = not self._answered
        if not self._found:
            self._consider(Configuration(0, 0, 0, None))

    def run(self, steps: int) -> Optional[bool]:
        """Go on for `steps` steps; return whether there is an order, or None when that is not known yet.

        To go on from what has come furthest finds an order soon if there is one. To leave nothing behind finds soon
        that there is none, because it comes to each place with the fewest open operations first. So both, in turns.
        """
        for _ in range(steps):
            self._go_on_from_first(self._furthest_first)
            self._go_on_from_first(self._nearest_first)
            if self._found or not self._frontier:
                return self._found
        return None

    def _go_on_from_first(self, preference: list[tuple[int, int, int]]) -> None:
        while preference:
            at = self._frontier.pop(heappop(preference)[-1], None)
            if at is not None and at.open_used in self._seen[at.place()]:
                for configuration in self._successors(at):
                    self._consider(configuration)
                return

    def _consider(self, at: Configuration) -> None:
        """Keep `at` to go on from, if that promises something."""
        self.explained = max(self.explained, at.first_waiting)
        if at.first_waiting == len(self._answered):
            self._found = True
        elif self._is_new(at) and self._can_go_on(at):
            self._number -= 1  # among equals, the latest is the first
            self._frontier[self._number] = at
            open_used = bin(at.open_used).count("1")
            heappush(self._furthest_first, (-at.first_waiting, open_used, self._number))
            heappush(self._nearest_first, (at.first_waiting, open_used, self._number))

    def _is_new(self, at: Configuration) -> bool:
        """Take note of `at`; return False if the search was there and had used no more of the open operations."""
        seen = self._seen.setdefault(at.place(), [])
        if any(used & at.open_used == used for used in seen):
            return False
        seen[:] = [used for used in seen if used & at.open_used != at.open_used]
        seen.append(at.open_used)
        return True

    def _successors(self, at: Configuration) -> Iterator[Configuration]:
        """Yield what one more turn can lead to."""
        waiting = [i for i in self._pending_at[at.first_waiting] if at.is_waiting(i)]
        for i in waiting:
            # Who only looks, and finds what fits, may have its turn at once: that is in nobody's way.
            if observes_only(self._answered[i]) and step(at.value, self._answered[i])[0]:
                yield at.after_turn(i, at.value)
                return
        for i in waiting:
            fits, value = step(at.value, self._answered[i])
            if fits and not observes_only(self._answered[i]):
                yield at.after_turn(i, self._vocabulary.word_for(value))
        if self._is_optional[at.first_waiting]:
            yield at.after_turn(at.first_waiting, at.value)
        for operation, bit in self._open_kinds.next_until(end_of(self._answered[at.first_waiting]), at.open_used):
            fits, value = step(at.value, operation)
            value = self._vocabulary.word_for(value)
            if fits and self._vocabulary.may_help(at.value, value):
                yield at._replace(open_used=at.open_used | bit, value=value)

    def _can_go_on(self, at: Configuration) -> bool:
        """Return whether the next operation that needs a certain value can perhaps still find it.

        So appends in a wrong order are noticed at once, and not after all orders of the appends that follow.
        """
        i = self._next_in_need(at)
        if i is None or at.first_waiting <= self._last_replacement_before(i):
            return True  # the quick answer in most cases
        numbers = dict.fromkeys(chain(range(at.first_waiting, i), self._pending_at[i]))
        before = [self._answered[j] for j in numbers if at.is_waiting(j)]
        before += self._open_kinds.unused_until(end_of(self._answered[i]), at.open_used)
        return can_come(needed_value(self._answered[i]), at.value, before)

    def _next_in_need(self, at: Configuration) -> Optional[int]:
        """Return the first waiting operation that needs a certain value, None if there is no such."""
        i = self._in_need_from[at.first_waiting]
        while i is not None and not at.is_waiting(i):
            i = self._in_need_from[i + 1]
        return i

    def _next_operations_in_need(self) -> list[Optional[int]]:
        """Return for each operation, and for the end, the first one from there on that needs a certain value."""
        result: list[Optional[int]] = [None]
        for i in reversed(range(len(self._answered))):
            is_in_need = needs_a_value(self._answered[i]) and not self._is_optional[i]
            result.append(i if is_in_need else result[-1])
        return result[::-1]

    def _last_replacement_before(self, i: int) -> int:
        """Return the last operation before `i` that can lay the ground for the value that `i` needs, -1 for none."""
        if i not in self._last_replacement:
            needed = needed_value(self._answered[i])
            all_before = (j for j in reversed(range(i)) if can_replace(self._answered[j], needed))
            self._last_replacement[i] = next(all_before, -1)
        return self._last_replacement[i]


class _OpenKinds:
    """The operations without an answer. Of those with the same effect, the one invoked first has its turn first.

    So each kind's part of the bitset `open_used` fills up from below, and much less is to be tried.
    """

    def __init__(self, operations: Sequence[Operation], vocabulary: Vocabulary) -> None:
        kinds: dict[tuple[str, str], list[Operation]] = {}
        for operation in sorted(operations, key=lambda operation: operation.invoked):
            if operation.returned is None:
                kinds.setdefault(vocabulary.effect_of(operation), []).append(operation)
        self._kinds: list[tuple[list[Operation], int]] = []
        first_bit = 0
        for kind in kinds.values():
            self._kinds.append((kind, first_bit))
            first_bit += len(kind)

    def next_until(self, end: int, open_used: int) -> Iterator[tuple[Operation, int]]:
        """Yield for each kind the next operation, if it was invoked before position `end`, and its bit."""
        for kind, first_bit in self._kinds:
            used = (open_used >> first_bit & (1 << len(kind)) - 1).bit_length()
            if used < len(kind) and kind[used].invoked < end:
                yield kind[used], 1 << first_bit + used

    def unused_until(self, end: int, open_used: int) -> Iterator[Operation]:
        """Yield all operations invoked before position `end` that have not had their turn."""
        for kind, first_bit in self._kinds:
            for i, operation in enumerate(kind, first_bit):
                if operation.invoked < end and not open_used >> i & 1:
                    yield operation


def end_of(operation: Operation) -> int:
    """Return the position of the answer of an operation that has one."""
    assert operation.returned is not None
    return operation.returned


def _pending_at_each_answer(answered: Sequence[Operation]) -> list[tuple[int, ...]]:
    """Return for each of `answered`, in the order of answers, which are pending just before its answer: itself too."""
    to_invoke = sorted(range(len(answered)), key=lambda i: answered[i].invoked, reverse=True)
    pending: dict[int, None] = {}
    result = []
    for i, operation in enumerate(answered):
        while to_invoke and answered[to_invoke[-1]].invoked < end_of(operation):
            pending[to_invoke.pop()] = None
        result.append(tuple(pending))
        del pending[i]
    return result
