"""What stands in for `threading` and `time` does what they do: the same small programs run on both, and tell the same.

No program's outcome depends on the schedule; so the simulated ones run with calm and with hostile schedules.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable

import pytest
from bare_simulation import simulation

from raft_threads.simulation.policies import CALM, HOSTILE

Story = list[Any]
Program = Callable[[Any, Any], Story]
# Long enough for a real thread to be late, short enough to wait for (seconds).
SHORT = 0.01


def error_of(call: Callable[..., Any], *arguments: Any, **more: Any) -> str:
    """Return what kind of error `call` raises, and its text."""
    try:
        return f"no error but {call(*arguments, **more)!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def in_a_thread(threading: Any, call: Callable[..., Any], *arguments: Any) -> Any:
    """Return what `call` returns in another thread."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(call(*arguments)), name="other")
    thread.start()
    thread.join()
    return results[0]


def a_lock_is_held_by_one(threading: Any, time: Any) -> Story:
    lock = threading.Lock()
    told = [lock.locked(), lock.acquire(), lock.locked(), lock.acquire(blocking=False), lock.acquire(timeout=SHORT)]
    lock.release()
    return [*told, lock.locked(), error_of(lock.release), lock.acquire(timeout=SHORT), lock.acquire(False)]


def a_lock_is_released_by_anybody(threading: Any, time: Any) -> Story:
    lock = threading.Lock()
    lock.acquire()
    in_a_thread(threading, lock.release)
    return [lock.locked()]


def a_lock_is_released_when_its_block_fails(threading: Any, time: Any) -> Story:
    lock = threading.Lock()

    def fail() -> None:
        with lock:
            raise KeyError(lock.locked())

    return [error_of(fail), lock.locked()]


def a_lock_lets_one_in_at_a_time(threading: Any, time: Any) -> Story:
    lock, inside, most = threading.Lock(), [0], [0]

    def work() -> None:
        for _ in range(20):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0)
                inside[0] -= 1

    threads = [threading.Thread(target=work, name=f"worker-{number}") for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [inside, most]


def an_rlock_is_taken_again_by_its_holder(threading: Any, time: Any) -> Story:
    lock = threading.RLock()
    told = [lock.acquire(), lock.acquire(blocking=False)]
    told += [in_a_thread(threading, lock.acquire, False), in_a_thread(threading, error_of, lock.release)]
    lock.release()
    told.append(in_a_thread(threading, lock.acquire, False))
    lock.release()
    return [*told, in_a_thread(threading, lambda: (lock.acquire(False), lock.release())), error_of(lock.release)]


def a_condition_needs_its_lock(threading: Any, time: Any) -> Story:
    condition = threading.Condition()
    return [error_of(condition.wait, SHORT), error_of(condition.notify), error_of(condition.notify_all)]


def a_wait_that_nobody_ends_ends_in_time(threading: Any, time: Any) -> Story:
    condition = threading.Condition(threading.Lock())
    with condition:
        condition.notify()  # is not remembered
        began = time.monotonic()
        return [condition.wait(SHORT), condition.wait(0), time.monotonic() - began >= SHORT]


def notifications_wake_as_many_as_they_say(threading: Any, time: Any) -> Story:
    """Each waiter counts itself before it waits; so whoever has the lock and sees the count knows who waits."""
    lock = threading.Lock()
    condition, counted = threading.Condition(lock), threading.Condition(lock)
    waiting: list[int] = []
    woken: list[int] = []

    def wait(number: int) -> None:
        with lock:
            waiting.append(number)
            counted.notify()
            told.append(condition.wait())
            woken.append(number)
            counted.notify()

    told: list[Any] = []
    threads = [threading.Thread(target=wait, name=f"waiter-{number}", args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    with lock:
        counted.wait_for(lambda: len(waiting) == 5)
        for notify, awake in ((condition.notify, 1), (lambda: condition.notify(2), 3), (condition.notify_all, 5)):
            notify()
            counted.wait_for(lambda: len(woken) == awake)  # noqa: B023
            told.append(sorted(woken) == sorted(waiting[:awake]))
    for thread in threads:
        thread.join()
    return told


def a_wait_lets_go_of_an_rlock_altogether(threading: Any, time: Any) -> Story:
    condition = threading.Condition()
    told: list[Any] = []

    def notify() -> None:
        with condition:
            told.append("inside")
            condition.notify()

    thread = threading.Thread(target=notify, name="notifier")
    with condition:
        with condition:
            thread.start()
            told.append(condition.wait())
            told.append(in_a_thread(threading, condition.acquire, False))
        told.append(in_a_thread(threading, condition.acquire, False))
    thread.join()
    return [*told, in_a_thread(threading, condition.acquire, False)]


def wait_for_returns_what_the_predicate_said_last(threading: Any, time: Any) -> Story:
    condition = threading.Condition()
    with condition:
        return [condition.wait_for(lambda: "yes"), condition.wait_for(lambda: [], SHORT), condition.wait_for(list, 0)]


def an_event_stays_set(threading: Any, time: Any) -> Story:
    event = threading.Event()
    told = [event.is_set(), event.wait(SHORT), event.wait(0)]
    thread = threading.Thread(target=lambda: told.append(event.wait()), name="waiter")
    thread.start()
    event.set()
    thread.join()
    told += [event.is_set(), event.wait(), event.wait(0)]
    event.clear()
    return [*told, event.is_set(), event.wait(0)]


def a_thread_is_started_once_and_joined_at_will(threading: Any, time: Any) -> Story:
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, name="sleeper", args=(), kwargs={"timeout": None})
    told = [thread.name, thread.is_alive(), error_of(thread.join)]
    thread.start()
    told += [thread.is_alive(), error_of(thread.start), thread.join(SHORT), thread.is_alive()]
    gate.set()
    return [*told, thread.join(), thread.is_alive(), thread.join(), error_of(thread.start)]


def a_thread_cannot_wait_for_its_own_end(threading: Any, time: Any) -> Story:
    told: list[Any] = []
    thread: Any = threading.Thread(target=lambda: told.append(error_of(thread.join)), name="selfish")
    thread.start()
    thread.join()
    return told


def a_sleep_is_never_too_short(threading: Any, time: Any) -> Story:
    began = time.monotonic()
    told = [time.sleep(SHORT), time.monotonic() - began >= SHORT, time.sleep(0)]
    return [*told, error_of(time.sleep, -1)]


PROGRAMS = [
    a_lock_is_held_by_one,
    a_lock_is_released_by_anybody,
    a_lock_is_released_when_its_block_fails,
    a_lock_lets_one_in_at_a_time,
    an_rlock_is_taken_again_by_its_holder,
    a_condition_needs_its_lock,
    a_wait_that_nobody_ends_ends_in_time,
    notifications_wake_as_many_as_they_say,
    a_wait_lets_go_of_an_rlock_altogether,
    wait_for_returns_what_the_predicate_said_last,
    an_event_stays_set,
    a_thread_is_started_once_and_joined_at_will,
    a_thread_cannot_wait_for_its_own_end,
    a_sleep_is_never_too_short,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_the_simulated_threads_tell_the_same_story_as_real_ones(program: Program) -> None:
    """A difference would be a bug found in the simulator that is none in the program, or the other way round."""
    expected = program(threading, time)
    with simulation() as simulated:
        assert program(simulated.threading, simulated.time) == expected, "with a calm schedule"
    for seed in range(10):
        with simulation(seed, HOSTILE) as simulated:
            assert program(simulated.threading, simulated.time) == expected, f"hostile, seed {seed}"


def test_time_goes_by_only_while_all_wait() -> None:
    """No code takes time; a sleep takes exactly as long as it says."""
    with simulation(tendencies=CALM) as simulated:
        began = simulated.time.monotonic()
        sum(range(100_000))
        assert simulated.time.monotonic() == began
        simulated.time.sleep(1000.5)
        assert simulated.time.monotonic() - began == pytest.approx(1000.5, abs=1e-9)


def test_waiting_until_a_deadline_ends_at_the_deadline() -> None:
    """Timeouts are rounded up: `while now < deadline: wait(deadline - now)` must not come back too early for ever."""
    with simulation() as simulated:
        condition = simulated.threading.Condition()
        deadline = simulated.time.monotonic() + 1 / 3
        waits = 0
        with condition:
            while simulated.time.monotonic() < deadline:
                condition.wait(deadline - simulated.time.monotonic())
                waits += 1
        assert waits <= 2
