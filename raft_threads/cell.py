"""One key of the store as clients see it: what operations do to its value, and which values can be told apart (§8).

A value is any JSON scalar, or None while the key is absent. `linearization_search` explains histories with this.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Collection
from typing import Any, Callable

from raft_threads.histories import APPEND, CAS, DELETE, READ, WRITE, Operation


def same(one: Any, other: Any) -> bool:
    """Return whether two values are one and the same: of one type, and equal. 1 is not "1", nor True, nor 1.0."""
    return type(one) is type(other) and bool(one == other)


def step(value: Any, operation: Operation) -> tuple[bool, Any]:
    """Return whether the answer of `operation` fits if it takes effect on `value`, and the value after it.

    Of what has no answer, only effects are of interest: a cas does not fit where it would find another value.
    """
    return _EFFECTS[operation.f](value, operation)


def _read(value: Any, operation: Operation) -> tuple[bool, Any]:
    return same(value, operation.result), value


def _write(value: Any, operation: Operation) -> tuple[bool, Any]:
    return True, operation.argument


def _cas(value: Any, operation: Operation) -> tuple[bool, Any]:
    expected, new = operation.argument
    if operation.result is False:
        return not same(value, expected), value
    return same(value, expected), new


def _append(value: Any, operation: Operation) -> tuple[bool, Any]:
    if value is None:
        return True, operation.argument
    return (True, value + operation.argument) if isinstance(value, str) else (False, value)


def _delete(value: Any, operation: Operation) -> tuple[bool, Any]:
    existed = value is not None
    return operation.result is None or operation.result is existed, None


_EFFECTS: dict[str, Callable[[Any, Operation], tuple[bool, Any]]] = {
    READ: _read,
    WRITE: _write,
    CAS: _cas,
    APPEND: _append,
    DELETE: _delete,
}


def observes_only(operation: Operation) -> bool:
    """Return whether `operation` changed nothing, by its answer: a read, or a cas or delete that came to nothing."""
    return operation.f == READ or (operation.f in (CAS, DELETE) and operation.result is False)


def needs_a_value(operation: Operation) -> bool:
    """Return whether the answer of `operation` fits one value only: that of a read, or of a cas that swapped."""
    return operation.f == READ or (operation.f == CAS and operation.result is True)


def needed_value(operation: Operation) -> Any:
    """Return the value that a read found, or that a cas expects."""
    return operation.result if operation.f == READ else operation.argument[0]


def can_replace(operation: Operation, needed: Any) -> bool:
    """Return whether `operation` can set the `needed` value, or one that appends could perhaps make so."""
    if operation.f == APPEND or observes_only(operation):
        return False
    return same(_replacement(operation), needed) or _is_beginning(_replacement(operation), needed)


def can_come(needed: Any, value: Any, operations: Collection[Operation]) -> bool:
    """Return whether `value` is the `needed` one, or `operations` can perhaps make it so. False is certain."""
    texts = [operation.argument for operation in operations if operation.f == APPEND]
    return _can_grow(value, needed, texts) or any(
        can_replace(operation, needed) and _can_grow(_replacement(operation), needed, texts)
        for operation in operations
    )


def _can_grow(value: Any, needed: Any, texts: Collection[str]) -> bool:
    """Return whether `value` is the `needed` one, or perhaps becomes so when some of `texts` are appended."""
    if same(value, needed):
        return True
    if not _is_beginning(value, needed):
        return False
    length = 0 if value is None else len(value)
    return sum(map(len, texts)) >= len(needed) - length and any(needed.startswith(text, length) for text in texts)


def _is_beginning(value: Any, needed: Any) -> bool:
    """Return whether `needed` is text that `value` begins, or may begin because it is absent."""
    if value is None:
        return isinstance(needed, str)
    return isinstance(value, str) and isinstance(needed, str) and needed.startswith(value)


def _replacement(operation: Operation) -> Any:
    """Return the value after a write, cas or delete that takes effect."""
    if operation.f == CAS:
        return operation.argument[1]
    return operation.argument if operation.f == WRITE else None


class Vocabulary:
    """The values that the answers of some operations speak of: those read, and those that a cas expects.

    To these operations all other values are alike, so one of them stands for all. Fewer values, less to search.
    """

    def __init__(self, operations: Collection[Operation]) -> None:
        values = [needed_value(operation) for operation in operations if operation.f in (READ, CAS)]
        self._texts = sorted({value for value in values if isinstance(value, str)})
        self._others = {(type(value), value) for value in values if not isinstance(value, str)}
        self._some_cas_failed = any(operation.f == CAS and operation.result is False for operation in operations)
        self.has_appends = any(operation.f == APPEND for operation in operations)
        # Longer than all the others, so it is none of them and cannot grow into one.
        self._unspoken = "?" * (1 + max(map(len, self._texts), default=0))

    def word_for(self, value: Any) -> Any:
        """Return `value`, or what stands for it if it cannot be told from others, not even after appends."""
        if value is None or self._is_spoken_of(value) or (self.has_appends and not isinstance(value, str)):
            return value
        return self._unspoken

    def _is_spoken_of(self, value: Any) -> bool:
        """Return whether `value` is one of ours, or could become one by appends."""
        if not isinstance(value, str):
            return (type(value), value) in self._others
        i = bisect_left(self._texts, value)
        if i == len(self._texts):
            return False
        return self._texts[i].startswith(value) if self.has_appends else self._texts[i] == value

    def effect_of(self, operation: Operation) -> tuple[str, str]:
        """Return the same for operations without an answer whose effects are the same."""
        argument = operation.argument
        if operation.f == WRITE:
            argument = self.word_for(argument)
        elif operation.f == CAS:
            argument = argument[0], self.word_for(argument[1])
        elif operation.f == APPEND and not any(argument in text for text in self._texts):
            argument = self._unspoken
        return operation.f, json.dumps(argument)  # not as it is, because 1 == True == 1.0 in Python

    def may_help(self, before: Any, after: Any) -> bool:
        """Return whether anybody could be helped if the value changes from `before` to `after`, a word of ours."""
        if same(before, after):
            return False
        if after != self._unspoken or before is None or self._some_cas_failed:
            return True
        return self.has_appends and not isinstance(before, str)  # to which nothing can be appended
