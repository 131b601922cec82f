"""§8: each operation appears to execute once, at one instant between invocation and answer; does this history look so?

Histories are told in short lines: `1 invoke write 5`, `1 ok write`, `1 info write`; and `1 write 5` for an operation
that is over before the next line, `1 read 5` for one that found 5, `1 cas! [1,2]` for a cas that found another value
than 1. Values are JSON. The key is x, or y in `1 read@y 5`.
"""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest

from raft_threads import linearizability
from raft_threads.histories import History
from raft_threads.linearizability import Verdict, Window, check, describe

PATIENCE = 30.0  # seconds; what takes so long has been searched in a foolish way


def told(*lines: str) -> History:
    """Return the history that `lines` tell, as said above."""
    history = History()
    for line in lines:
        process, *words = line.split(None, 3)
        type = words.pop(0) if words[0] in ("invoke", "ok", "fail", "info") else None
        f, _, key = words[0].partition("@")
        value = json.loads(words[1]) if len(words) > 1 else None
        if type is None:
            history.invoke(process, f.rstrip("!"), key or "x", value)
            type = "fail" if f.endswith("!") else "ok"
        getattr(history, type)(process, f.rstrip("!"), key or "x", value)
    return history


def is_linearizable(*lines: str) -> bool:
    """Return the verdict on the history that `lines` tell."""
    return check(told(*lines).operations(), PATIENCE).is_linearizable


def window_of(*lines: str) -> Window:
    """Return the one window of a history that is not linearizable."""
    (window,) = check(told(*lines).operations(), PATIENCE).windows
    return window


def named(window: Window) -> list[tuple[str, Any, Any]]:
    """Return what to tell a window's operations by."""
    return [(operation.f, operation.argument, operation.result) for operation in window.operations]


# One client after the other


def test_no_operations_are_linearizable() -> None:
    """Nothing was promised."""
    assert check([]) == Verdict((), ())


def test_a_read_sees_the_last_write() -> None:
    """And nothing older: Raft's leader must know that it still leads before it answers."""
    assert is_linearizable("1 write 1", "2 write 2", "3 read 2")
    assert not is_linearizable("1 write 1", "2 write 2", "3 read 1")


def test_a_key_is_absent_until_it_is_written() -> None:
    """And a null can be written, too."""
    assert is_linearizable("1 read null", "1 write 1", "1 read 1", "1 write null", "1 read null")
    assert not is_linearizable("1 write 1", "1 read null")
    assert not is_linearizable('1 read ""')


@pytest.mark.parametrize("written, read", [*itertools.permutations(["1", '"1"', "true", "1.0"], 2)])
def test_values_are_the_same_only_if_their_types_are(written: str, read: str) -> None:
    """For Python 1 == True == 1.0."""
    assert is_linearizable(f"1 write {written}", f"1 read {written}")
    assert not is_linearizable(f"1 write {written}", f"1 read {read}")
    assert not is_linearizable(f"1 write {written}", f"1 cas [{read},5]")
    assert is_linearizable(f"1 write {written}", f"1 cas! [{read},5]")
    assert not is_linearizable(f"1 invoke write {written}", f"2 read {read}")
    assert not is_linearizable(f"1 write {written}", f"1 read {written}", f"1 read {read}")
    both = [f"1 invoke write {written}", f"2 invoke write {read}"]
    assert is_linearizable(*both, f"3 read {written}", f"3 read {read}")
    assert is_linearizable(*both, f"3 read {read}", f"3 read {written}")


def test_an_appended_text_stays() -> None:
    """Absent counts as empty."""
    assert is_linearizable('1 append "a"', '2 append "b"', '3 read "ab"')
    assert not is_linearizable('1 append "a"', '2 append "b"', '3 read "ba"')
    assert not is_linearizable('1 append "a"', '2 append "b"', '3 read "a"')
    assert not is_linearizable('1 append "a"', '2 read "aa"')
    assert is_linearizable('1 write "w"', '1 append ""', '1 append "b"', '3 read "wb"')


def test_nothing_can_be_appended_to_what_is_not_text() -> None:
    """No answer would have come."""
    assert not is_linearizable("1 write 1", '1 append "a"')
    assert is_linearizable("1 write 1", '2 invoke write "w"', '1 append "a"')
    assert is_linearizable("1 write 1", '2 invoke append "a"', "1 read 1")


def test_a_cas_swaps_only_what_it_expects() -> None:
    """Null is "no such key"."""
    assert is_linearizable("1 cas [null,1]", "2 cas [1,2]", "3 read 2", "3 cas [2,null]", "3 read null")
    assert not is_linearizable("1 write 1", "2 cas [2,3]")
    assert not is_linearizable("1 cas [1,2]")
    assert not is_linearizable("1 write 1", "2 cas [1,2]", "3 cas [1,2]")


def test_a_failed_cas_found_something_else_and_left_it() -> None:
    """That is an answer like any other."""
    assert is_linearizable("1 cas! [1,2]", "1 write 2", "1 cas! [1,3]", "1 read 2")
    assert not is_linearizable("1 write 1", "2 cas! [1,2]")
    assert not is_linearizable("1 cas! [null,2]")
    assert not is_linearizable("1 write 2", "1 cas! [1,3]", "1 read 3")


def test_a_delete_may_say_whether_there_was_something() -> None:
    """Null says nothing."""
    assert is_linearizable("1 delete false", "1 write 1", "1 delete true", "1 delete false", "1 read null")
    assert is_linearizable("1 delete null", "1 write 1", "1 delete null", "1 read null")
    assert not is_linearizable("1 delete true")
    assert not is_linearizable("1 write 1", "1 delete false")
    assert not is_linearizable("1 write 1", "1 delete null", "1 read 1")
    assert is_linearizable('1 append "a"', "1 delete true", '1 append "b"', '1 read "b"')


# At the same time


def test_operations_at_the_same_time_may_go_in_any_order() -> None:
    """But in one order for all."""
    both = ["1 invoke write 1", "2 invoke write 2", "1 ok write", "2 ok write"]
    assert is_linearizable(*both, "3 read 1")
    assert is_linearizable(*both, "3 read 2")
    assert not is_linearizable(*both, "3 read 1", "3 read 2")
    texts = ['1 invoke append "a"', '2 invoke append "b"', "1 ok append", "2 ok append"]
    assert is_linearizable(*texts, '3 read "ba"')
    assert not is_linearizable(*texts, '3 read "b"')


def test_a_read_during_a_write_sees_the_old_value_or_the_new_but_never_goes_back() -> None:
    """Once somebody has seen it, it has happened."""
    begun = ["1 write 0", "1 invoke write 1"]
    assert is_linearizable(*begun, "2 read 0", "2 read 1", "1 ok write")
    assert is_linearizable(*begun, "2 read 0", "2 read 0", "1 ok write", "2 read 1")
    assert not is_linearizable(*begun, "2 read 1", "3 read 0", "1 ok write")
    assert is_linearizable(*begun, "2 invoke read", "3 read 1", "1 ok write", "2 ok read 0")


def test_of_two_cas_at_the_same_time_one_finds_what_the_other_left() -> None:
    """Both cannot win."""
    begun = ["1 write 0", "1 invoke cas [0,1]", "2 invoke cas [0,2]"]
    assert is_linearizable(*begun, "1 ok cas", "2 fail cas", "3 read 1")
    assert not is_linearizable(*begun, "1 ok cas", "2 ok cas")
    assert not is_linearizable(*begun, "1 fail cas", "2 fail cas")


# Without an answer


OPEN = ["1 write 0", "2 invoke write 1", "2 info write"]


def test_an_operation_without_an_answer_may_take_effect_at_once_later_or_never() -> None:
    """§8: the leader might crash after committing the entry but before responding."""
    assert is_linearizable(*OPEN, "1 read 1")
    assert is_linearizable(*OPEN, *["1 read 0", "1 write 3", "1 read 3", "1 write 0"] * 20, "1 read 1")
    assert is_linearizable(*OPEN, *["1 read 0", "1 write 3", "1 read 3", "1 write 0"] * 20)


def test_an_operation_without_an_answer_takes_effect_at_most_once() -> None:
    """Each invocation can explain one change."""
    assert not is_linearizable(*OPEN, "1 read 1", "1 write 2", "1 read 1")
    assert is_linearizable(*OPEN, "3 invoke write 1", "1 read 1", "1 write 2", "1 read 1")
    assert not is_linearizable(*OPEN, "3 invoke write 1", *["1 read 1", "1 write 2"] * 2, "1 read 1")
    assert not is_linearizable('1 invoke append "a"', '2 read "aa"')


def test_an_operation_without_an_answer_is_kept_for_when_it_is_needed() -> None:
    """The first read may have been of another write."""
    begun = ["1 invoke write 2", "2 invoke write 1", "1 ok write", "2 ok write", "3 invoke write 1", "2 invoke read"]
    later = ["1 invoke write 3", "2 ok read 1", "2 invoke write 2", "1 ok write", "2 ok write", "1 read 1"]
    assert is_linearizable(*begun, *later)


def test_an_operation_without_an_answer_does_nothing_before_it_is_invoked() -> None:
    """Also if one of the same kind was invoked before."""
    assert not is_linearizable("1 write 0", "1 read 1", "2 invoke write 1")
    assert not is_linearizable(*OPEN, "1 read 1", "1 write 2", "1 read 1", "3 invoke write 1", "1 read 1")


def test_a_cas_without_an_answer_takes_effect_only_on_what_it_expects() -> None:
    """It did nothing otherwise."""
    begun = ["1 write 0", "2 invoke cas [1,2]", "2 info cas"]
    assert not is_linearizable(*begun, "1 read 2")
    assert is_linearizable(*begun, "1 write 1", "1 read 2")
    assert is_linearizable(*begun, "1 write 1", "1 cas! [1,5]")


def test_a_delete_without_an_answer_may_be_what_a_cas_or_delete_found() -> None:
    """And a write that nobody reads may be, too."""
    assert is_linearizable("1 write 0", "2 invoke delete", "1 delete false")
    assert is_linearizable("1 write 0", "2 invoke delete", "1 cas! [0,1]", "1 read null")
    assert is_linearizable("2 invoke write 7", "1 delete true")
    assert is_linearizable("1 write 0", "2 invoke write 7", "1 cas! [0,1]")
    assert is_linearizable('1 append "a"', '2 invoke append "b"', '1 cas! ["a","c"]')
    assert not is_linearizable('1 append "a"', '2 invoke append ""', '1 cas! ["a","c"]')


def test_a_process_whose_operation_is_open_may_go_on_before_it_takes_effect() -> None:
    """As with a client that gives up and asks for something else."""
    assert is_linearizable("1 invoke write 1", "1 info write", "1 write 2", "1 read 2", "1 read 1")


# Several keys


def test_each_key_is_looked_at_alone() -> None:
    """A write of one explains no read of another; a key that fails says nothing against others."""
    assert is_linearizable("1 write@x 1", "2 write@y 2", "3 read@x 1", "3 read@y 2")
    assert not is_linearizable("1 write@x 1", "2 read@y 1")
    verdict = check(told("1 write@x 1", "2 write@y 2", "3 read@x 1", "3 read@y 1", "4 read@z 1").operations())
    assert [window.key for window in verdict.windows] == ["y", "z"]


def test_a_number_and_a_text_are_different_keys() -> None:
    """1 and "1"."""
    history = History()
    for key, value in ((1, "a"), ("1", "b"), (None, "c")):
        history.invoke("p", "put", key, value)
        history.ok("p", "put", key)
    for key, value in ((1, "a"), ("1", "b"), (None, "c")):
        history.invoke("p", "get", key)
        history.ok("p", "get", key, value)
    assert check(history.operations()).is_linearizable


# The window


def test_the_window_of_a_stale_read_is_that_read_and_the_write_before() -> None:
    """Whatever else there was."""
    before = ["1 write 1", "1 read 1", "2 write 5", "2 read 5"]
    window = window_of(*before, "1 write 2", "3 cas! [7,8]", "3 read@y null", "4 read 1", "1 write 3", "1 read 3")
    assert named(window) == [("write", 2, None), ("read", None, 1)]
    assert (window.key, window.others, window.is_minimal) == ("x", 7, True)
    assert [(operation.invoked, operation.returned) for operation in window.operations] == [(9, 10), (15, 16)]


def test_the_window_of_a_value_that_was_never_written_is_the_read_alone() -> None:
    """No write is to blame."""
    assert named(window_of("1 write 1", "1 read 1", "2 read 9", "1 read 1")) == [("read", None, 9)]


def test_the_window_of_a_lost_append_is_the_append_and_the_read_without_it() -> None:
    """The appends around it are not needed."""
    lines = ['1 append "a"', '2 append "b"', '3 read "ab"', '1 append "c"', '2 append "d"', '3 read "abd"']
    assert named(window_of(*lines)) == [("append", "c", None), ("read", None, "abd")]


def test_a_window_holds_all_that_contradicts() -> None:
    """Two reads must have been of two writes, and only one is left."""
    lines = ["1 invoke write 1", "2 write 2", "2 read 1", "2 write 2", "2 read 1", "1 ok write"]
    assert named(window_of(*lines)) == [("read", None, 1), ("write", 2, None), ("read", None, 1)]


def test_where_one_of_two_would_do_the_later_is_in_the_window() -> None:
    """Each answer in turn is left out, the oldest first."""
    lines = ["1 invoke write 1", "2 read 1", "2 write 2", "2 write 3", "2 read 1"]
    assert named(window_of(*lines)) == [("read", None, 1), ("write", 3, None), ("read", None, 1)]


def test_of_several_contradictions_the_first_is_shown() -> None:
    """The one whose last answer came first."""
    assert named(window_of("1 write 1", "1 read 2", "1 read 3", "1 write 4", "1 read 1")) == [("read", None, 2)]


def test_an_operation_outside_the_window_counts_only_for_its_own_time() -> None:
    """The write of 1 was over before that of 2 began, so it cannot explain the read."""
    window = window_of("1 invoke write 1", "2 read 1", "1 ok write", "1 write 2", "2 read 1")
    assert named(window) == [("write", 2, None), ("read", None, 1)]


def test_the_window_is_what_it_is_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is right, but not as small as can be, and says so."""
    monkeypatch.setattr(linearizability, "LONG_QUESTIONS", 0)
    window = window_of("1 write 1", "1 write 2", "1 read 1", "1 read 2")
    assert named(window) == [("write", 1, None), ("write", 2, None), ("read", None, 1), ("read", None, 2)]
    assert not window.is_minimal
    assert describe(window)[-1] == "  (fewer may do: it would have taken too long to try all)"


def test_a_window_is_shown_with_lines_times_processes_and_results() -> None:
    """Times only if they were recorded."""
    history = told('1 write "a"', '1 cas ["a","b"]')
    history.invoke(77, "cas", "x", ["b", None], time=1.0)
    history.fail(77, "cas", "x", time=1.25)
    history.invoke(5, "get", None)
    history.ok(5, "get", None, 1)
    window, without_key = check(history.operations()).windows
    assert describe(without_key)[0] == "the register: no order explains this answer:"
    assert describe(window) == [
        'key "x": no order explains these 2 answers, whatever the other operation on it did:',
        '  lines 3-4  ?-? s          process 1   cas "a" "b" -> ok',
        '  lines 5-6  1.000-1.250 s  process 77  cas "b" null -> another value',
    ]


def test_deletes_and_appends_are_shown_as_what_they_did() -> None:
    """A sentence each."""
    assert describe(window_of("1 delete true"))[1].endswith("  process 1  delete -> existed")
    assert describe(window_of('1 append "a"', "2 delete false"))[1:] == [
        '  lines 1-2  process 1  append "a" -> ok',
        "  lines 3-4  process 2  delete -> did not exist",
    ]
    assert describe(window_of("1 delete null", "2 read 1", "2 read 1"))[0].startswith('key "x": no order explains this')


def test_a_long_value_and_a_long_window_are_shown_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its beginning and its end; the last operations."""
    text = describe(window_of(f'1 read "{"a" * 500}"'))[1]
    assert len(text) < 200 and '"aaa' in text and text.endswith('aaa" (500 characters)')
    monkeypatch.setattr(linearizability, "LONG_QUESTIONS", 0)
    lines = describe(window_of(*["1 write 1"] * 60, "1 read 2"))
    assert len(lines) == 1 + 1 + 50 + 1 and lines[1] == "  (11 more)" and lines[-2].endswith("read -> 2")


# Hard histories


def test_appends_of_many_clients_are_ordered_as_the_read_says() -> None:
    """Not by trying all of their orders."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    begun = [f'{letter} invoke append "{letter}"' for letter in letters]
    ended = [f"{letter} ok append" for letter in letters]
    assert is_linearizable(*begun, *ended, f'1 read "{letters[::-1]}"')
    assert not is_linearizable(*begun, *ended, f'1 read "{letters[:-1]}a"')
    assert is_linearizable(*begun, f'1 read "{letters[::-2]}"')


def test_many_operations_without_an_answer_are_no_trouble_where_nobody_saw_them() -> None:
    """A partition that lasts."""
    lost = [f'{n} invoke append "{n},"' for n in range(2, 60)] + [f"w{n} invoke write {n}" for n in range(60)]
    seen = ['1 append "x"', '1 read "x"', "1 delete true"] * 10
    assert is_linearizable(*lost, *seen)
    assert named(window_of(*lost, *seen, '1 append "x"', '1 read "y"')) == [("read", None, "y")]


def test_when_time_is_up_a_key_is_undecided_and_a_contradiction_elsewhere_still_counts() -> None:
    """Whether an order exists is NP-complete: some histories are too hard."""
    chance = random.Random(1)
    numbers = range(30)
    lines = [f"{n} invoke cas [{chance.choice(numbers)},{chance.choice(numbers)}]" for n in numbers]
    lines += [f"w{n} invoke write {n}" for n in numbers] + [f"w{n} ok write" for n in numbers]
    lines += [f"r read {chance.choice(numbers)}" for _ in range(60)]
    verdict = check(told(*lines).operations(), timeout=0.1)
    assert verdict == Verdict((), ("x",)) and not verdict.is_linearizable
    verdict = check(told(*lines, "r read@y 1").operations(), timeout=0.1)
    assert [window.key for window in verdict.windows] == ["y"] and verdict.undecided == ("x",)
