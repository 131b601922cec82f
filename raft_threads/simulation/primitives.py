"""What `threading` and `time` offer, on the scheduler: locks, conditions, events, threads, a clock (simulated).

A node takes these for the modules themselves. Semantics are the stdlib's, down to what hurts: a lock that is released
goes to whoever comes first, and a notification may go to a waiter whose time has just run out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Callable, Optional

from raft_threads.simulation.debuggers import (
    a_debugger_is_evaluating,
    refuse_to_wait_at_a_prompt,
)
from raft_threads.simulation.scheduler import SECOND, Deadlock, Group, Scheduler, Task

# Kinds of steps, for the fingerprint.
ACQUIRE, RELEASE, WAIT, NOTIFY, START, SET = range(1, 7)
# pytest leaves this module out of its tracebacks.
__tracebackhide__ = True


class Clock:
    """`time` for one server: its own, which may be ahead and go wrong by some parts per thousand.

    A timeout that a server measures out is rounded up to whole nanoseconds; else `while now < deadline` might wait for
    nothing, for ever.
    """

    def __init__(self, scheduler: Scheduler, ahead_ns: int = 0, drift: int = 0) -> None:
        """`drift` is in parts per thousand: at 10 it runs 1 % fast."""
        self._scheduler = scheduler
        self._ahead_ns = ahead_ns
        self._rate = 1000 + drift

    @property
    def rate(self) -> float:
        """How many seconds it counts in a true one."""
        return self._rate / 1000

    def monotonic(self) -> float:
        """Return this clock's time in seconds."""
        return (self._ahead_ns + self._scheduler.now_ns * self._rate // 1000) / SECOND

    def real_ns(self, seconds: float) -> int:
        """Return how many nanoseconds go by while this clock measures `seconds`."""
        return max(0, math.ceil(math.ceil(seconds * SECOND) * 1000 / self._rate))

    def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of this clock."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self._scheduler.park(f"{seconds:g} s to go by", self.real_ns(seconds))


class Lock:
    """`threading.Lock`."""

    def __init__(self, threading: SimulatedThreading, name: str) -> None:
        self.name = name
        self.owner: Optional[Task] = None
        self._scheduler = threading.scheduler
        self._clock = threading.clock
        self._number = self._scheduler.number()
        self._waiters: deque[Task] = deque()

    def __repr__(self) -> str:
        return f"<{self.name}, {'free' if self.owner is None else 'held by ' + self.owner.name}>"

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock; wait for it if it is held, `timeout` seconds at most. Return whether it was taken."""
        if a_debugger_is_evaluating():
            return self._look_through(blocking, timeout)
        scheduler = self._scheduler
        scheduler.point(ACQUIRE, self._number)
        me = scheduler.current
        if me.slow:
            scheduler.hesitate()
        if self.owner is None:
            self.owner = me
            return True
        if not blocking:
            return False
        if timeout < 0:
            self._take(me)
            return True
        return self._take_until(me, scheduler.now_ns + self._clock.real_ns(timeout))

    __enter__ = acquire

    def release(self) -> None:
        """Let go of the lock. Any thread may; one that dies does so without a word."""
        if a_debugger_is_evaluating():
            return  # what it did not take
        scheduler = self._scheduler
        if self.owner is None:
            if scheduler.current.doomed:
                return
            raise RuntimeError("release unlocked lock")
        self.owner = None
        self._wake_one()
        if not scheduler.current.doomed:
            scheduler.point(RELEASE, self._number)

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        me = self._scheduler.current
        if not (me.doomed and self.owner is not me):
            self.release()

    def locked(self) -> bool:
        """Return whether somebody holds it."""
        return self.owner is not None

    def is_mine(self) -> bool:
        """Return whether the thread that asks holds it."""
        return self.owner is self._scheduler.current

    def _look_through(self, blocking: bool, timeout: float) -> bool:
        """Let somebody at a prompt see what the lock guards, without taking it: nobody else runs meanwhile.

        Who would wait for a certain time waits for something to happen, and is refused.
        """
        if self.owner is not None and timeout >= 0:
            refuse_to_wait_at_a_prompt(self.name)
        return blocking or self.owner is None

    def _take(self, me: Task) -> None:
        """Wait without a time limit. Reports a circle of threads that wait for each other at once."""
        while self.owner is not None:
            me.blocked_on = self
            self._check_for_circle(me)
            self._waiters.append(me)
            self._scheduler.park(self.name)
            me.blocked_on = None
        self.owner = me

    def _take_until(self, me: Task, deadline_ns: int) -> bool:
        while self.owner is not None:
            self._waiters.append(me)
            if not self._scheduler.park(self.name, max(0, deadline_ns - self._scheduler.now_ns)):
                if me in self._waiters:
                    self._waiters.remove(me)
                return False
        self.owner = me
        return True

    def _drop(self) -> None:
        """Let go without a step that others could come between: `Condition.wait` is one."""
        self.owner = None
        self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if waiter.parked:
                self._scheduler.unpark(waiter)
                return

    def _check_for_circle(self, me: Task) -> None:
        circle = []
        waiter, lock = me, self
        while lock is not None and lock.owner is not None:
            circle.append(f"{waiter.name} waits for {lock.name}, held by {lock.owner.name}")
            if lock.owner is me:
                self._scheduler.fail(Deadlock(self._scheduler.describe("; ".join(circle))))
            waiter, lock = lock.owner, lock.owner.blocked_on


class RLock(Lock):
    """`threading.RLock`: whoever holds it may take it again."""

    def __init__(self, threading: SimulatedThreading, name: str) -> None:
        super().__init__(threading, name)
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, once more if we hold it."""
        taken = self.is_mine() or super().acquire(blocking, timeout)
        self._count += self.is_mine()
        return taken

    __enter__ = acquire

    def release(self) -> None:
        """Undo one `acquire`."""
        if not self.is_mine():
            if a_debugger_is_evaluating():
                return
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if self._count == 0:
            super().release()

    def _drop(self) -> None:
        self._count = 0
        super()._drop()


class Condition:
    """`threading.Condition`."""

    def __init__(self, threading: SimulatedThreading, lock: Optional[Lock], name: str) -> None:
        self.name = name
        self._lock = threading.RLock() if lock is None else lock
        self._scheduler = threading.scheduler
        self._clock = threading.clock
        self._number = self._scheduler.number()
        self._waiters: deque[Task] = deque()
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(self, *details: Any) -> None:
        self._lock.__exit__(*details)

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Let go of the lock until somebody notifies us, or `timeout` seconds are over; return which of the two."""
        scheduler, lock = self._scheduler, self._lock
        refuse_to_wait_at_a_prompt(self.name)
        self._check_lock("wait")
        me = scheduler.current
        count = getattr(lock, "_count", None)
        scheduler.point(WAIT, self._number)
        self._waiters.append(me)
        lock._drop()
        try:
            notified = scheduler.park(self.name, None if timeout is None else self._clock.real_ns(timeout))
        finally:
            if me in self._waiters:
                self._waiters.remove(me)
            if not me.doomed:
                lock._take(me)
                if count is not None:
                    lock._count = count  # type: ignore[attr-defined]
        return notified

    def wait_for(self, predicate: Callable[[], Any], timeout: Optional[float] = None) -> Any:
        """Wait until `predicate()`, `timeout` seconds at most; return what it said last."""
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        result = predicate()
        while not result:
            remaining = None if deadline is None else deadline - self._clock.monotonic()
            if remaining is not None and remaining <= 0:
                break
            self.wait(remaining)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake up to `n` of those who wait."""
        self._check_lock("notify")
        self._scheduler.point(NOTIFY, self._number)
        for _ in range(min(n, len(self._waiters))):
            self._scheduler.unpark(self._waiters.popleft())

    def notify_all(self) -> None:
        """Wake all who wait."""
        self.notify(len(self._waiters))

    def _check_lock(self, what: str) -> None:
        if not (self._lock.is_mine() or self._scheduler.current.doomed or a_debugger_is_evaluating()):
            raise RuntimeError(f"cannot {what} on un-acquired lock")


class Event:
    """`threading.Event`."""

    def __init__(self, threading: SimulatedThreading, name: str) -> None:
        self._condition = Condition(threading, Lock(threading, name), name)
        self._happened = False

    def is_set(self) -> bool:
        """Return whether it has happened."""
        return self._happened

    def set(self) -> None:
        """Let it happen: all who wait go on."""
        with self._condition:
            self._happened = True
            self._condition.notify_all()

    def clear(self) -> None:
        """Let it not have happened."""
        with self._condition:
            self._happened = False

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Wait until it happens, `timeout` seconds at most; return whether it has."""
        with self._condition:
            return bool(self._condition.wait_for(lambda: self._happened, timeout))


class Thread:
    """`threading.Thread`."""

    def __init__(
        self,
        threading: SimulatedThreading,
        target: Callable[..., Any],
        name: str,
        args: tuple[Any, ...] = (),
        kwargs: Optional[Mapping[str, Any]] = None,
    ) -> None:
        self.name = name
        self._scheduler = threading.scheduler
        self._clock = threading.clock
        self._group = threading.group
        self._run = lambda: target(*args, **(kwargs or {}))
        self._task: Optional[Task] = None

    def start(self) -> None:
        """Start it. Once only."""
        if self._task is not None:
            raise RuntimeError("threads can only be started once")
        self._task = self._scheduler.spawn(self.name, self._run, self._group)
        self._scheduler.point(START, self._task.number)

    def join(self, timeout: Optional[float] = None) -> None:
        """Wait for its end, `timeout` seconds at most."""
        scheduler = self._scheduler
        if self._task is None:
            raise RuntimeError("cannot join thread before it is started")
        if self._task is scheduler.current:
            raise RuntimeError("cannot join current thread")
        if not self._task.done:
            refuse_to_wait_at_a_prompt(f"the end of {self.name}")
        deadline_ns = None if timeout is None else scheduler.now_ns + self._clock.real_ns(timeout)
        while not self._task.done:
            remaining_ns = None if deadline_ns is None else deadline_ns - scheduler.now_ns
            if remaining_ns is not None and remaining_ns <= 0:
                return
            self._task.joiners.append(scheduler.current)
            scheduler.park(f"the end of {self.name}", remaining_ns)

    def is_alive(self) -> bool:
        """Return whether it has been started and has not ended."""
        return self._task is not None and not self._task.done


class SimulatedThreading:
    """Stands in for the module `threading`, for one server; its locks and conditions are named in reports."""

    def __init__(self, scheduler: Scheduler, clock: Clock, owner: str, group: Optional[Group] = None) -> None:
        self.scheduler = scheduler
        self.clock = clock
        self.group = group
        self._owner = owner
        self._made = 0

    def Lock(self) -> Lock:  # noqa: N802
        """Return a lock."""
        return Lock(self, self._name("lock"))

    def RLock(self) -> RLock:  # noqa: N802
        """Return a lock that its holder may take again."""
        return RLock(self, self._name("lock"))

    def Condition(self, lock: Any = None) -> Condition:  # noqa: N802
        """Return a condition with `lock`, or a lock of its own."""
        return Condition(self, lock, self._name("condition"))

    def Event(self) -> Event:  # noqa: N802
        """Return an event."""
        return Event(self, self._name("event"))

    def Thread(  # noqa: N802
        self,
        target: Callable[..., Any],
        name: Optional[str] = None,
        args: tuple[Any, ...] = (),
        kwargs: Optional[Mapping[str, Any]] = None,
    ) -> Thread:
        """Return a thread that is not started yet."""
        return Thread(self, target, name or self._name("thread"), args, kwargs)

    def _name(self, kind: str) -> str:
        self._made += 1
        return f"{self._owner} {kind} {self._made}"
