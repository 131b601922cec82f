"""§8: what an atomic register did is always linearizable; and of other short histories brute force knows the truth."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Collection
from typing import Any, Optional

import pytest

from raft_threads.histories import READ, History, Operation
from raft_threads.linearizability import Window, check
from raft_threads.linearization_search import Search

PATIENCE = 30.0  # seconds; what takes so long has been searched in a foolish way
# Operations, and how often they get no answer.
KINDS = [
    (["read", "write"], 0.3),
    (["read", "write", "cas"], 0.1),
    (["read", "append"], 0.02),
    (["read", "write", "append", "append", "delete", "cas"], 0.05),
]
for_all_kinds = pytest.mark.parametrize("fs, without_answer", KINDS, ids=["-".join(fs) for fs, _ in KINDS])


def random_history(chance: random.Random, length: int, processes: int, without_answer: float, fs: list[str]) -> History:
    """Return a history that an atomic register gave: each operation takes effect at one instant, some after all."""
    history, register = History(), Register()
    pending: dict[int, list[Any]] = {}
    late: list[tuple[str, Any]] = []
    begun = 0
    while begun < length or pending:
        if late and chance.random() < 0.05:
            register.apply(*late.pop(chance.randrange(len(late))))
        process = chance.randrange(processes)
        if process not in pending:
            if begun < length:
                f = chance.choice(fs)
                pending[process] = [f, argument_for(f, chance), None]
                history.invoke(process, f, "x", pending[process][1])
                begun += 1
        elif pending[process][2] is not None:
            f, argument, answer = pending.pop(process)
            getattr(history, answer[0])(process, f, "x", answer[1])
        elif chance.random() < without_answer:
            f, argument, _ = pending.pop(process)
            history.info(process, f, "x", argument)
            late += [(f, argument)] * chance.randrange(2)
        else:
            pending[process][2] = register.apply(*pending[process][:2])
    return history


def argument_for(f: str, chance: random.Random) -> Any:
    """Return an argument for an operation."""
    values = ["", "a", "b", "ab"]
    arguments = {"write": chance.choice(values), "append": chance.choice("abc")}
    return [chance.choice(values), chance.choice(values)] if f == "cas" else arguments.get(f)


class Register:
    """What a history is told of, atomic by nature."""

    def __init__(self) -> None:
        self._value: Optional[str] = None

    def apply(self, f: str, argument: Any) -> tuple[str, Any]:
        """Do it, and return type and value of the answer."""
        before = self._value
        if f == "read":
            return "ok", before
        if f == "write":
            self._value = argument
        elif f == "append":
            self._value = (before or "") + argument
        elif f == "delete":
            self._value = None
            return "ok", before is not None
        elif before != argument[0]:
            return "fail", argument
        else:
            self._value = argument[1]
        return "ok", argument


# What an atomic register did


@for_all_kinds
def test_what_an_atomic_register_did_is_linearizable(fs: list[str], without_answer: float) -> None:
    """However many clients there are, and however long it goes."""
    for seed in range(15):
        print(f"seed {seed}")
        chance = random.Random(seed)
        history = random_history(chance, chance.randrange(200), chance.randrange(1, 8), without_answer, fs)
        assert check(history.operations(), PATIENCE).is_linearizable


def with_late_read(history: History, value: Any) -> list[Operation]:
    """Return the operations of `history`, but one of the last reads found `value`."""
    events = [json.loads(line) for line in history.to_lines()]
    reads = [event for event in events if event["f"] == "read" and event["type"] == "ok"]
    reads[len(reads) * 4 // 5]["value"] = value
    return History.from_lines(map(json.dumps, events)).operations()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_is_soon_found_that_there_is_an_order_and_that_there_is_none(seed: int) -> None:
    """Thirty operations without an answer: either order of preference alone would take one of these much longer."""
    history = random_history(random.Random(seed), 400, 5, 0.08, ["read", "write", "cas"])
    assert Search(history.operations()).run(1000) is True
    assert Search(with_late_read(history, "never written")).run(5000) is False


def test_the_window_is_found_among_many_appends_that_nobody_read_soon() -> None:
    """One that ends before its time is noticed where it ends."""
    history = random_history(random.Random(1), 150, 10, 0.0, ["read", *["append"] * 8])
    (window,) = check(with_late_read(history, "ab")).windows
    assert window.is_minimal and len(window.operations) <= 2


def test_a_long_history_of_few_clients_is_no_trouble() -> None:
    """Nothing recurs, and nothing grows with the square of the length."""
    operations = random_history(random.Random(1), 5000, 5, 0.0, ["read", "write", "cas"]).operations()
    assert check(operations, PATIENCE).is_linearizable


# Against brute force


def brute_force(operations: list[Operation], unknown: Collection[Operation] = ()) -> bool:
    """Return whether some order explains `operations`, by trying all; those in `unknown` as if their answers were not.

    An unknown one took effect in its own time or not at all; it did not if its answer says that nothing changed.
    """
    certain = [each for each in operations if each.returned is not None and each not in unknown]
    perhaps = [each for each in operations if each not in certain and each.f != READ and each.result is not False]
    chosen = itertools.chain.from_iterable(itertools.combinations(perhaps, n) for n in range(len(perhaps) + 1))
    return any(has_an_order([*certain, *some], None, unknown) for some in chosen)


def has_an_order(remaining: list[Operation], value: Any, unknown: Collection[Operation]) -> bool:
    """Return whether all of `remaining` can take effect, one after the other, beginning with `value`."""
    if not remaining:
        return True
    first_end = min(operation.returned or 10**9 for operation in remaining)
    for operation in remaining:
        if operation.invoked < first_end:
            fits, after = effect(value, operation, operation in unknown)
            if fits and has_an_order([each for each in remaining if each is not operation], after, unknown):
                return True
    return False


def effect(value: Any, operation: Operation, is_unknown: bool) -> tuple[bool, Any]:
    """Return whether the answer fits, and the value after the operation."""
    argument, result = operation.argument, operation.result
    if operation.f == "read":
        return value == result, value
    if operation.f == "cas":
        return (value == argument[0]) == (result is not False), value if result is False else argument[1]
    if operation.f == "delete":
        return is_unknown or result is None or result == (value is not None), None
    return True, argument if operation.f == "write" else (value or "") + argument


def changed(history: History, chance: random.Random) -> History:
    """Return `history` with an answer or two changed: what was read or deleted, and whether a cas swapped."""
    events = [json.loads(line) for line in history.to_lines()]
    for event in chance.sample(events, min(2, len(events))):
        if event["type"] in ("ok", "fail") and event["f"] == "cas":
            event["type"] = "fail" if event["type"] == "ok" else "ok"
        elif event["type"] == "ok":
            event["value"] = chance.choice([True, False]) if event["f"] == "delete" else chance.choice("abc")
    return History.from_lines(map(json.dumps, events))


@for_all_kinds
def test_verdict_and_window_are_what_brute_force_finds(fs: list[str], without_answer: float) -> None:
    """On short histories with wrong answers: the window fails, and none of its answers can be spared."""
    sizes = set()
    for seed in range(500):
        print(f"seed {seed}")
        chance = random.Random(seed)
        history = random_history(chance, chance.randrange(8), chance.randrange(1, 5), without_answer, fs)
        operations = changed(history, chance).operations()
        verdict = check(operations)
        assert verdict.is_linearizable == brute_force(operations)
        for window in verdict.windows:
            sizes.add(len(window.operations))
            assert_minimal(operations, window)
    assert {1, 2} <= sizes


def assert_minimal(operations: list[Operation], window: Window) -> None:
    """Check what the definition of a window promises."""
    answered = [operation for operation in operations if operation.returned is not None]
    outside = [operation for operation in answered if operation not in window.operations]
    assert window.is_minimal and window.others == len(operations) - len(window.operations)
    assert not brute_force(operations, outside)
    assert all(brute_force(operations, [*outside, operation]) for operation in window.operations)
    end = max(operation.returned or 0 for operation in window.operations)
    assert brute_force(operations, [operation for operation in answered if (operation.returned or 0) >= end])
