"""One thread at a time: what is said of a run that cannot go on; kills; the same run from the same seed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable

import debugged_election
import pytest
from bare_simulation import Simulation, simulation
from processes import environment
from raw_sockets import PATIENCE

from raft_threads.simulation import scheduler as scheduler_module
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.policies import CALM, HOSTILE, Tendencies
from raft_threads.simulation.scheduler import Deadlock, Livelock, Stuck
from raft_threads.timing import Timing

HERE = os.path.basename(__file__)


@pytest.fixture
def simulated() -> Iterator[Simulation]:
    """A simulation without servers."""
    with simulation(seed=11) as made:
        yield made


def start(simulated: Simulation, name: str, run: Callable[[], Any]) -> Any:
    """Start a thread."""
    thread = simulated.threading.Thread(target=run, name=name)
    thread.start()
    return thread


def lines_about(thread: str, report: str) -> list[str]:
    """Return what a report says of one thread: what it does, then its stack."""
    found = re.search(rf"^  {re.escape(thread)} (.*(?:\n      .*)*)", report, re.MULTILINE)
    assert found, f"nothing is said of {thread} in:\n{report}"
    return [line.strip() for line in found.group(1).splitlines()]


# Deadlock


def test_two_locks_taken_in_opposite_orders_are_reported_at_once(simulated: Simulation) -> None:
    """Although main's time limit would come some day. Every thread is named: what it waits for, who has it, where."""
    first, second = simulated.threading.Lock(), simulated.threading.Lock()

    def take(one: Any, other: Any) -> None:
        with one:
            simulated.time.sleep(1)
            with other:
                pass

    start(simulated, "ann", lambda: take(first, second))
    start(simulated, "bob", lambda: take(second, first))
    with pytest.raises(Deadlock) as caught:
        simulated.time.sleep(1000)
    report = str(caught.value)
    assert simulated.time.monotonic() == 1.0
    circle = report.splitlines()[0]
    assert "ann waits for test lock 2, held by bob" in circle
    assert "bob waits for test lock 1, held by ann" in circle
    for thread, waits in (("ann", "waits for test lock 2, held by bob"), ("bob", "waits for test lock 1, held by ann")):
        said, place, *_ = lines_about(thread, report)
        assert said == waits
        assert re.fullmatch(rf"{HERE}:\d+ in take: with other:", place)
    assert lines_about("main", report)[0] == "waits for 1000 s to go by"


def test_a_lock_that_its_holder_takes_again_is_a_deadlock(simulated: Simulation) -> None:
    """The shortest circle. In main, the error is raised where it waits."""
    lock = simulated.threading.Lock()
    lock.acquire()
    with pytest.raises(Deadlock, match="main waits for test lock 1, held by main"):
        lock.acquire()


def test_when_all_wait_and_no_time_limit_will_wake_one_that_is_a_deadlock(simulated: Simulation) -> None:
    """Main as well: it is told in main."""
    condition, event = simulated.threading.Condition(), simulated.threading.Event()

    def wait() -> None:
        with condition:
            condition.wait()

    start(simulated, "waiter", wait)
    with pytest.raises(Deadlock, match="every thread waits, and no time limit will wake one") as caught:
        event.wait()
    report = str(caught.value)
    said, place, *_ = lines_about("waiter", report)
    assert said == "waits for test condition 1"
    assert place.endswith("in wait: condition.wait()")
    assert lines_about("main", report)[0].startswith("waits for test event")


def test_a_wait_with_a_time_limit_is_no_deadlock(simulated: Simulation) -> None:
    """However long it is."""
    lock = simulated.threading.Lock()
    lock.acquire()
    assert not lock.acquire(timeout=1e6)


# Livelock


def test_threads_that_run_on_while_the_clock_stands_are_reported(
    simulated: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take locks and let them go, and nothing comes of it."""
    monkeypatch.setattr(scheduler_module, "MOST_STEPS_AT_ONE_INSTANT", 1000)
    lock = simulated.threading.Lock()

    def hurry() -> None:
        while True:
            with lock:
                pass

    start(simulated, "hurried", hurry)
    with pytest.raises(Livelock, match="1000 steps, and the clock did not move") as caught:
        simulated.time.sleep(1)
    said, place, *_ = lines_about("hurried", str(caught.value))
    assert said == "runs"
    assert place.startswith(HERE)
    assert simulated.time.monotonic() == 0.0


# Failures in a thread


class Wrong(Exception):
    """What a test's thread raises."""


def notes_of(error: BaseException) -> str:
    """Return what is noted on an error, in any version of Python."""
    return "\n".join(getattr(error, "__notes__", []))


def test_an_exception_in_a_thread_is_raised_in_main_as_it_is(simulated: Simulation) -> None:
    """The same object, with its traceback; thread, time and seed are noted on it."""
    wrong = Wrong("as it is")

    def fail() -> None:
        simulated.time.sleep(0.25)
        raise wrong

    start(simulated, "failing", fail)
    with pytest.raises(Wrong) as caught:
        simulated.time.sleep(1000)
    assert caught.value is wrong
    assert "in failing at 0.250000 s of virtual time, seed 11" in notes_of(wrong)
    assert any(entry.name == "fail" for entry in caught.traceback)


def test_the_first_of_several_failures_is_the_one_that_counts(simulated: Simulation) -> None:
    """What follows from it explains nothing."""

    def fail(number: int) -> None:
        simulated.time.sleep(number)
        raise Wrong(number)

    for number in (2, 1, 3):
        start(simulated, f"failing-{number}", lambda number=number: fail(number))  # type: ignore[misc]
    with pytest.raises(Wrong, match="^1"):
        simulated.time.sleep(1000)


def test_a_servers_exception_is_raised_in_the_test() -> None:
    """The node stops by itself; its failure is the run's."""

    def fail() -> None:
        raise Wrong("in a rule")

    with pytest.raises(Wrong) as caught, SimulatedCluster(seed="s") as cluster:
        cluster.stream.reactions.append((lambda event: event.server == "n2", lambda event: fail()))
        cluster.elect("n2")
    assert re.search(r"in n2/\S+ at 0\.\d{6} s of virtual time, seed s", notes_of(caught.value))


def test_a_failure_in_main_ends_all_threads() -> None:
    """Nothing is left of a simulation."""
    before = threading.active_count()
    with pytest.raises(Wrong), simulation() as made:
        start(made, "sleeper", lambda: made.time.sleep(1000))
        made.time.sleep(1)
        raise Wrong
    assert threading.active_count() == before


# Interruptions: Ctrl-C, a test's time limit


def interrupt_main() -> None:
    """Send main a signal. Called again and again: one that comes just before main waits is noticed too late."""
    ident = threading.main_thread().ident
    assert ident is not None
    signal.pthread_kill(ident, signal.SIGUSR1)


@contextmanager
def interrupted_by(error: BaseException) -> Iterator[None]:
    """Have the first signal raise `error` in main, as Ctrl-C and pytest-timeout do."""
    errors = [error]

    def handle(number: int, frame: object) -> None:
        if errors:
            raise errors.pop()

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_ctrl_c_stops_the_thread_that_runs_at_its_next_step(simulated: Simulation) -> None:
    """And main could go on, if it caught the exception."""
    lock = simulated.threading.Lock()

    def work() -> None:
        while not finished:
            interrupt_main()
            simulated.time.sleep(0.001)
            with lock:
                pass

    finished: list[bool] = []
    worker = start(simulated, "worker", work)
    with interrupted_by(KeyboardInterrupt()):
        with pytest.raises(KeyboardInterrupt) as caught:
            simulated.time.sleep(1e6)
        assert notes_of(caught.value) == "", "whoever pressed Ctrl-C wants no pages of stacks"
        stopped_at = simulated.time.monotonic()
        simulated.time.sleep(1)
        assert simulated.time.monotonic() == pytest.approx(stopped_at + 1)
        finished.append(True)
        worker.join()


def test_a_tests_time_limit_tells_what_all_threads_did(simulated: Simulation) -> None:
    """pytest-timeout raises in main, from a signal handler."""

    def work() -> None:
        while True:
            interrupt_main()
            simulated.time.sleep(0.001)

    start(simulated, "worker", work)
    start(simulated, "idle", lambda: simulated.time.sleep(1e9))
    with interrupted_by(Wrong("out of time")), pytest.raises(Wrong) as caught:
        simulated.time.sleep(1e6)
    report = notes_of(caught.value)
    assert re.search(r"interrupted while \w+ ran", report)
    assert lines_about("idle", report)[0] == "waits for 1e+09 s to go by"


def test_a_thread_that_comes_to_no_step_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be stopped. It is named, with its stack, and left behind."""
    monkeypatch.setattr(scheduler_module, "INTERRUPTED_WAIT", 0.2)
    enough = threading.Event()

    def loop() -> None:
        while not enough.is_set():
            interrupt_main()

    with interrupted_by(KeyboardInterrupt()), simulation() as made:
        thread = start(made, "looping", loop)
        with pytest.raises(Stuck, match="looping runs on and on") as caught:
            made.time.sleep(1)
        assert isinstance(caught.value.__cause__, KeyboardInterrupt)
        said, place, *_ = lines_about("looping", str(caught.value))
        assert said == "runs"
        assert f"{HERE}:" in place
        enough.set()
        for each in threading.enumerate():
            if each.name == thread.name:
                each.join(PATIENCE)


# Kills


def endless_work(made: Simulation, lock: Any, told: list[str]) -> Callable[[], None]:
    """Return what a thread does that uses everything, and cleans up."""
    ready, event = made.mortal.Condition(lock), made.mortal.Event()

    def child() -> None:
        event.set()
        made.time.sleep(0.5)

    def work() -> None:
        try:
            while True:
                thread = made.mortal.Thread(target=child, name="child")
                thread.start()
                event.wait()
                with lock:
                    ready.notify()
                    ready.wait(0.01)
                made.time.sleep(0.01)
                thread.join(0.01)
        finally:
            told.append("cleaned up")
            with lock:
                told.append("a dead thread went on")

    return work


def wake_main_at_step(made: Simulation, step: int) -> None:
    """Have main go on when a thread has come to the given step, counted from here, and before anybody takes another."""
    scheduler, original, left = made.scheduler, made.scheduler.point, [step]

    def point(kind: int, number: int = 0) -> None:
        left[0] -= 1
        if left[0] == 0:
            scheduler.unpark(scheduler.main)
        original(kind, number)

    scheduler.point = point  # type: ignore[method-assign]


@pytest.mark.parametrize("tendencies", [CALM, HOSTILE], ids=["calm", "hostile"])
def test_threads_are_killed_wherever_they_are(tendencies: Tendencies) -> None:
    """They unwind and take no further step, at whichever step it happens; who does not belong to them lives on."""
    for step in range(1, 100):
        with simulation(step, tendencies) as made:
            told: list[str] = []
            outsider_steps = [0]
            lock = made.mortal.Lock()

            def outside(made: Simulation = made, lock: Any = lock, steps: list[int] = outsider_steps) -> None:
                while True:
                    made.time.sleep(0.001)
                    with lock:
                        made.time.sleep(0.001)
                        assert lock.is_mine(), "somebody who died let go of it"
                    steps[0] += 1

            start(made, "outsider", outside)
            wake_main_at_step(made, step)
            work = endless_work(made, lock, told)
            for number in range(2):
                made.mortal.Thread(target=work, name=f"worker-{number}").start()
            if step > 2:  # main itself has come to the first two: a start is a step
                made.scheduler.park("the step")
            tasks = list(made.group.tasks)
            made.scheduler.kill(made.group)
            assert tasks and all(task.done for task in tasks), f"killed at step {step}"
            assert not made.group.tasks
            assert told.count("cleaned up") <= 2
            assert "a dead thread went on" not in told, f"killed at step {step}"
            before = outsider_steps[0]
            made.time.sleep(1)
            assert outsider_steps[0] > before


def test_a_thread_that_kills_its_own_group_is_the_last_to_end(simulated: Simulation) -> None:
    """As a server does that crashes at an event of its own."""
    told: list[str] = []

    def sleep() -> None:
        try:
            simulated.time.sleep(1000)
        finally:
            told.append("other")

    def kill() -> None:
        try:
            simulated.time.sleep(1)
            simulated.scheduler.kill(simulated.group)
            told.append("alive")
        finally:
            told.append("killer")
            simulated.time.sleep(1)
            told.append("alive")

    simulated.mortal.Thread(target=sleep, name="other").start()
    simulated.mortal.Thread(target=kill, name="killer").start()
    simulated.time.sleep(10)
    assert told == ["other", "killer"]


# The same run from the same seed


def test_the_same_seed_gives_the_same_run_in_every_process() -> None:
    """Whatever PYTHONHASHSEED is, with the checks of `-X dev`, and with other runs before it."""
    commands = [
        ({"PYTHONHASHSEED": "0"}, []),
        ({"PYTHONHASHSEED": "4711"}, ["-X", "dev"]),
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, *options, debugged_election.__file__],
            env={**environment(), **variables},
            stdout=subprocess.PIPE,
            text=True,
        )
        for variables, options in commands
    ]
    expected = f"fingerprint {debugged_election.run()}\n"
    assert f"fingerprint {debugged_election.run()}\n" == expected
    assert [process.communicate(timeout=PATIENCE)[0] for process in processes] == [expected, expected]


def fingerprint_of(seed: int) -> int:
    """Return the fingerprint of some seconds with a hostile schedule."""
    with SimulatedCluster(seed=seed, timing=Timing(), tendencies=HOSTILE) as cluster:
        cluster.run_for(0.5)
        return cluster.scheduler.fingerprint


def test_another_seed_gives_another_run() -> None:
    """Else the fingerprint would prove nothing."""
    assert len({fingerprint_of(seed) for seed in range(5)}) == 5
    assert fingerprint_of(3) == fingerprint_of(3)
