"""What operations do to one key of the store, for the search that explains histories (§8).

A value is any JSON scalar, or None while the key is absent.
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

    Without an answer everything fits, except that a cas needs its expected value: otherwise it does nothing.
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
    """Return whether the answer of `operation` fits one value only: a read, or a cas that swapped."""
    return operation.f == READ or (operation.f == CAS and operation.result is True)


def needed_value(operation: Operation) -> Any:
    """Return the one value that fits, for an operation that needs it."""
    return operation.result if operation.f == READ else operation.argument[0]


def can_come(needed: Any, value: Any, operations: Collection[Operation]) -> bool:
    """Return whether `value` is `needed`, or perhaps becomes so by some of `operations`; False is certain."""
    texts = [operation.argument for operation in operations if operation.f == APPEND]
    return _can_grow_into(needed, value, texts) or any(
        _can_grow_into(needed, _replacement(operation), texts)
        for operation in operations
        if operation.f != APPEND and not observes_only(operation)
    )


def can_be_replacement(operation, needed):
    if operation.f == APPEND or observes_only(operation):
        return False
    value = _replacement(operation)
    if same(value,needed): return True
    return isinstance(needed, str) and (value is None or isinstance(value,str) and needed.startswith(value))


def _can_grow_into(needed: Any, value: Any, texts: Collection[str]) -> bool:
    """Return whether `value` is `needed`, or perhaps becomes so when some of `texts` are appended; False is certain."""
    if same(value, needed):
        return True
    base = "" if value is None else value
    if not isinstance(needed, str) or not isinstance(base, str) or not needed.startswith(base):
        return False
    is_next = any(needed.startswith(text, len(base)) for text in texts)
    return is_next and sum(map(len, texts)) >= len(needed) - len(base)


def _replacement(operation: Operation) -> Any:
    """Return the value after a write, cas or delete that takes effect."""
    if operation.f == CAS:
        return operation.argument[1]
    return operation.argument if operation.f == WRITE else None


class Vocabulary:
    """The values that answers on a key speak of. All others are alike to everybody, so one of them stands for all.

    `operations` are all operations on the key.
    """

    def __init__(self, operations: Collection[Operation]) -> None:
        values = [needed_value(operation) for operation in operations if operation.f in (READ, CAS)]
        self._texts = sorted({value for value in values if isinstance(value, str)})
        self._others = {(type(value), value) for value in values if not isinstance(value, str)}
        self._has_appends = any(operation.f == APPEND for operation in operations)
        self._some_cas_failed = any(operation.f == CAS and operation.result is False for operation in operations)
        # Longer than all of them, so it is none of them and cannot grow into one.
        self._unspoken = "?" * (1 + max(map(len, self._texts), default=0))

    def spoken(self, value: Any) -> Any:
        """Return `value`, or another that stands for it if nobody can tell them apart."""
        if value is None or (self._has_appends and not isinstance(value, str)):
            return value
        return value if self._is_spoken_of(value) else self._unspoken

    def effect(self, operation: Operation) -> tuple[str, str]:
        """Return the same for operations without an answer that nobody can tell apart."""
        argument = operation.argument
        if operation.f == WRITE:
            argument = self.spoken(argument)
        elif operation.f == CAS:
            argument = argument[0], self.spoken(argument[1])
        elif operation.f == APPEND and not any(argument in text for text in self._texts):
            argument = self._unspoken
        return operation.f, json.dumps(argument)  # JSON, because 1 == True == 1.0 in Python

    def is_worth_it(self, before: Any, after: Any) -> bool:
        """Return whether anybody could be helped by a change of the value from `before` to `after`."""
        goes_unseen = after == self._unspoken and before is not None and not self._some_cas_failed
        return not goes_unseen and not same(before, after)

    def _is_spoken_of(self, value: Any) -> bool:
        if not isinstance(value, str):
            return (type(value), value) in self._others
        at = bisect_left(self._texts, value)
        if at == len(self._texts):
            return False
        return self._texts[at].startswith(value) if self._has_appends else self._texts[at] == value
