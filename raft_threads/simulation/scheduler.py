"""Real threads, one at a time, in virtual time: a seed decides every interleaving, a breakpoint stops the clock.

Every simulated thread is a real one, so that a debugger shows an ordinary stack; but only the holder of the baton runs.
Each has a raw lock as its gate, and the baton is handed on by opening the next one's gate and waiting at one's own.
Two things block, and all else is made of them: `park` waits to be woken, `unpark` wakes. `point` stands before each
visible step, and is where a thread may be interrupted. No code takes time: when nobody is ready, the clock jumps to
the next deadline.
"""

from __future__ import annotations

import _thread
import heapq
import sys
import threading
from collections.abc import Sequence
from typing import Any, Callable, NoReturn, Optional

from raft_threads.simulation.debuggers import (
    Breakpoints,
    a_debugger_is_evaluating,
    is_at_a_prompt,
    refuse_to_wait_at_a_prompt,
)
from raft_threads.simulation.notes import add_note
from raft_threads.simulation.policies import Policy

# pytest leaves this module out of its tracebacks.
__tracebackhide__ = True

SECOND = 1_000_000_000
# So many steps without the clock moving are no progress.
MOST_STEPS_AT_ONE_INSTANT = 200_000
# How long a main thread that was interrupted waits for the baton (real seconds).
INTERRUPTED_WAIT = 5.0

Callback = Callable[[], None]


class Killed(BaseException):
    """This thread's server has crashed: the thread unwinds. No Exception, so that no handler takes it for one."""


class Group:
    """Tasks that die together: those of one server between start and crash."""

    def __init__(self, name: str) -> None:
        self.name = name
        # A dictionary for its order: a set's would differ from run to run.
        self.tasks: dict[Task, None] = {}


class Task:
    """One simulated thread."""

    def __init__(self, name: str, number: int, run: Callback, group: Optional[Group]) -> None:
        self.name = name
        self.number = number
        self.run = run
        self.group = group
        self.gate = _thread.allocate_lock()
        self.gate.acquire()
        self.thread: Optional[threading.Thread] = None
        self.parked = False
        self.woken = False
        self.doomed = False
        self.done = False
        self.parkings = 0
        self.parked_since_ns = 0
        self.wakes_by_itself = False
        self.priority = 0.0
        self.slow = False
        # For reports, and to find deadlocks: what it waits for, and the lock if it waits for one without a time limit.
        self.why = "has not run yet"
        self.blocked_on: Any = None
        self.give_baton_back_to: Optional[Task] = None
        self.joiners: list[Task] = []

    def __repr__(self) -> str:
        return f"<{self.name}: {'done' if self.done else self.why}>"


class Scheduler:
    """Who runs, and what time it is. All methods are called by the task that holds the baton, so no lock is needed."""

    def __init__(self, policy: Policy) -> None:
        """Begin at time 0 with one task, `main`, which is the calling thread and holds the baton."""
        self.policy = policy
        self.now_ns = 0
        self.steps = 0
        self.main = Task("main", 0, lambda: None, None)
        self.main.thread = threading.current_thread()
        self.current = self.main
        self.failure: Optional[BaseException] = None
        self.failed_task: Optional[Task] = None
        # What a failure's note says beside thread and time.
        self.seed: object = None
        self.tasks: dict[Task, None] = {self.main: None}
        # Makes a report of a problem, while all threads are still where it came up.
        self.describe: Callable[[str], str] = lambda problem: problem
        # Told of each thread that stalls, and for how many nanoseconds.
        self.tell_of_stall: Callable[[Task, int], None] = lambda task, stall_ns: None
        self.fingerprint = 0
        self._ready: list[Task] = []
        self._timers: list[tuple[int, int, Any, int]] = []
        self._numbers = 0
        self._main_is_wanted = False
        self._countdown = policy.points_to_next_interruption()
        self._step_of_instant = 0
        self._breakpoints = Breakpoints()
        self._stuck = False

    def number(self) -> int:
        """Return the next number for a task, a lock or a timer: counted, since `id()` differs from run to run."""
        self._numbers += 1
        return self._numbers

    # Threads

    def spawn(self, name: str, run: Callback, group: Optional[Group] = None) -> Task:
        """Start a thread that runs `run` when its turn comes, and dies with `group`."""
        task = Task(name, self.number(), run, group)
        task.priority = self.policy.draw_priority()
        task.slow = self.policy.draw_slowness()
        task.why = "ready"
        self.tasks[task] = None
        if group is not None:
            group.tasks[task] = None
        # A daemon only in case the simulation itself goes wrong: `close` joins all threads.
        task.thread = threading.Thread(target=self._thread_main, args=(task,), name=name, daemon=True)
        task.thread.start()
        self._make_ready(task)
        return task

    def _thread_main(self, task: Task) -> None:
        task.gate.acquire()
        self._breakpoints.take_over()
        try:
            if not task.doomed:
                task.run()
        except Killed:
            pass
        except BaseException as error:
            if not task.doomed:
                self._note_failure(error)
        self._finish(task)

    def _finish(self, task: Task) -> None:
        task.done = True
        del self.tasks[task]
        if task.group is not None:
            del task.group.tasks[task]
        for joiner in task.joiners:
            self.unpark(joiner)
        self._give_baton_to(task.give_baton_back_to or self._next())

    def kill(self, group: Group) -> None:
        """Have all threads of `group` unwind now, wherever they are. If the caller is one of them, it is the last."""
        refuse_to_wait_at_a_prompt(f"the end of {group.name}")
        me = self.current
        self._unwind([task for task in group.tasks if task is not me])
        if me.group is group:
            me.doomed = True
            raise Killed

    def _unwind(self, tasks: Sequence[Task]) -> None:
        """Give each the baton until it has ended."""
        me = self.current
        for task in tasks:
            task.doomed = True
            task.parked = False
            if task in self._ready:
                self._ready.remove(task)
            task.give_baton_back_to = me
            self._hand_over(me, task)

    # Waiting and waking

    def park(self, why: str, timeout_ns: Optional[int] = None) -> bool:
        """Wait until somebody wakes this thread; False if `timeout_ns` nanoseconds went by first."""
        refuse_to_wait_at_a_prompt(why)
        me = self.current
        if me.doomed:
            raise Killed
        me.why = why
        me.parked = True
        me.woken = False
        me.parkings += 1
        me.parked_since_ns = self.now_ns
        me.wakes_by_itself = timeout_ns is not None
        if timeout_ns is not None:
            heapq.heappush(self._timers, (self.now_ns + timeout_ns, self.number(), me, me.parkings))
        self._switch(me)
        me.why = "running"
        return me.woken

    def unpark(self, task: Task) -> None:
        """Wake `task`, if it is parked."""
        if task.parked:
            task.woken = True
            self._make_ready(task)

    def call_at(self, when_ns: int, callback: Callback) -> None:
        """Have `callback` called at that time, by whichever thread comes by. It must not wait, and not kill."""
        heapq.heappush(self._timers, (when_ns, self.number(), callback, 0))

    def calls(self) -> list[tuple[int, Callback]]:
        """Return what `call_at` has been given and is still to come, in order of time."""
        return [(when_ns, due) for when_ns, _, due, _ in sorted(self._timers) if not isinstance(due, Task)]

    def _make_ready(self, task: Task) -> None:
        task.parked = False
        self._ready.append(task)
        if task is self.main:
            self._want_main()
        elif task.priority > self.current.priority:
            self._countdown = 0

    def _want_main(self) -> None:
        """Have the thread that runs let main go on at its next point."""
        self._main_is_wanted = True
        self._countdown = 0

    # Points

    def point(self, kind: int, number: int = 0) -> None:
        """Mark a step that others can see. The thread may be interrupted here, and a dead one ends.

        `kind` and `number` say which step; with time and thread they go into the run's fingerprint.
        """
        me = self.current
        if me.doomed:
            raise Killed
        if a_debugger_is_evaluating():
            return
        self.steps += 1
        # Integers and tuples of them hash alike in all processes, text does not.
        self.fingerprint = hash((self.fingerprint, self.now_ns, me.number, kind, number))
        self._countdown -= 1
        if self._countdown <= 0:
            self._interrupt(me)

    def _interrupt(self, me: Task) -> None:
        if self.steps - self._step_of_instant > MOST_STEPS_AT_ONE_INSTANT:
            self.fail(Livelock(self.describe(f"{MOST_STEPS_AT_ONE_INSTANT} steps, and the clock did not move")))
        self._countdown = self.policy.points_to_next_interruption()
        if me is self.main:
            return
        stall_ns = 0 if self._main_is_wanted else self.policy.interruption(self.steps, me)
        if stall_ns > 0:
            self._stall(me, stall_ns)
        elif stall_ns == 0 and self._ready:
            me.why = "ready"
            self._ready.append(me)
            self._switch(me)
            me.why = "running"

    def hesitate(self) -> None:
        """Have a slow thread stall, as it may before it takes a lock: what it is to do then may be outdated."""
        stall_ns = self.policy.slow_thread_stall_ns()
        if stall_ns:
            self._stall(self.current, stall_ns)

    def _stall(self, me: Task, stall_ns: int) -> None:
        self.tell_of_stall(me, stall_ns)
        self.park("the end of a stall", stall_ns)

    # The baton

    def _switch(self, me: Task) -> None:
        following = self._next()
        if following is not me:
            self._hand_over(me, following)
        self._after_wait(me)

    def _after_wait(self, me: Task) -> None:
        if me is self.main and self.failure is not None:
            failure, self.failure = self.failure, None
            self._tell_where_it_happened(failure)
            raise failure
        if me.doomed:
            raise Killed

    def _give_baton_to(self, task: Task) -> None:
        self._breakpoints.hand_on()
        self.current = task
        task.gate.release()

    def _hand_over(self, me: Task, task: Task) -> None:
        """Give the baton away, and wait until it comes back."""
        if me is self.main:
            self._hand_over_as_main(task)
        else:
            self._give_baton_to(task)
            me.gate.acquire()
        self._breakpoints.take_over()

    def _hand_over_as_main(self, task: Task) -> None:
        """As above; but Ctrl-C or a test's time limit ends the wait, unless a person is at a prompt meanwhile."""
        given = False
        while True:
            try:
                if not given:
                    given = True
                    self._give_baton_to(task)
                self.main.gate.acquire()
                return
            except BaseException as interruption:
                if not self._somebody_is_at_a_prompt():
                    self._take_baton_back(interruption)
                    raise

    def _somebody_is_at_a_prompt(self) -> bool:
        thread = self.current.thread
        assert thread is not None and thread.ident is not None
        return is_at_a_prompt(sys._current_frames().get(thread.ident))

    def _take_baton_back(self, interruption: BaseException) -> None:
        """Stop the thread that runs at its next point, and let main go on. Raises Stuck if there is no such point."""
        if self.current is self.main:
            self.main.gate.acquire(timeout=1.0)  # the baton comes, or came, at the same moment
            return
        self.main.parked = False
        if self.main not in self._ready:
            self._ready.append(self.main)
        self._want_main()
        running = self.current.name
        self._stuck = True
        if not self.main.gate.acquire(timeout=INTERRUPTED_WAIT):
            problem = f"{running} runs on and on without a step, or waits outside of the simulation"
            raise Stuck(self.describe(problem)) from interruption
        self._stuck = False
        if not isinstance(interruption, KeyboardInterrupt):
            add_note(interruption, self.describe(f"interrupted while {running} ran"))

    def _next(self) -> Task:
        """Choose who runs next, and let the clock move on if nobody is ready."""
        while True:
            if self.failure is not None:
                self.main.parked = False
                if self.main in self._ready:
                    self._ready.remove(self.main)
                return self.main
            if self._main_is_wanted and self.main in self._ready:
                self._main_is_wanted = False
                self._ready.remove(self.main)
                return self.main
            if self._ready and not self._clock_moves_early():
                return self._ready.pop(self.policy.choose(self._ready))
            self._advance_clock()

    def _clock_moves_early(self) -> bool:
        return bool(self._timers) and self.policy.clock_moves_early(self._timers[0][0] - self.now_ns)

    def _advance_clock(self) -> None:
        """Go on to the next deadline; all that is due then becomes ready together."""
        if not self._timers:
            self._note_failure(Deadlock(self.describe("every thread waits, and no time limit will wake one")))
            return
        when = self._timers[0][0]
        if when > self.now_ns:
            self.now_ns = when
            self._step_of_instant = self.steps
        while self._timers and self._timers[0][0] <= when:
            _, _, due, parkings = heapq.heappop(self._timers)
            if not isinstance(due, Task):
                self._call(due)
            elif due.parked and due.parkings == parkings:
                self._make_ready(due)

    def _call(self, callback: Callback) -> None:
        try:
            callback()
        except Exception as error:
            self._note_failure(error)

    # Failures

    def fail(self, error: BaseException) -> NoReturn:
        """End the simulation: `error` is raised in main. The calling thread unwinds."""
        if self.current is self.main:
            self.failed_task = self.main
            self._tell_where_it_happened(error)
            raise error
        self._note_failure(error)
        raise Killed

    def _note_failure(self, error: BaseException) -> None:
        """Keep the first failure: what follows from it explains nothing."""
        if self.failure is None:
            self.failure = error
            self.failed_task = self.current

    def _tell_where_it_happened(self, error: BaseException) -> None:
        """Note thread, time and seed on an error that is raised in main: the traceback does not tell them."""
        task = self.failed_task or self.main
        add_note(error, f"in {task.name} at {self.now_ns / SECOND:.6f} s of virtual time, seed {self.seed}")

    def close(self) -> None:
        """End all threads. Called by main."""
        if self._stuck:
            return
        others = [task for task in self.tasks if task is not self.main]
        self._unwind(others)
        for task in others:
            assert task.thread is not None
            task.thread.join()


class Deadlock(Exception):
    """No thread can ever run again, or some wait for each other in a circle."""


class Livelock(Exception):
    """Threads run, and nothing comes of it."""


class Stuck(Exception):
    """A thread does not come to its next step."""
