"""pdb in a simulation: it says whose prompt it is, steps through that thread alone, and through no machinery.

pdb knows of one thread. Left as it is, `step` would go on in whatever thread runs next, or lead from `with self._lock`
into the scheduler. So while a simulation runs, a few of pdb's methods are replaced; `breakpoint()`, `pdb.set_trace()`,
`pdb.post_mortem()`, `pytest --pdb` and `python -m pdb` all come by there.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, Callable, Optional

from raft_threads import node
from raft_threads.simulation.debuggers import OpenPrompts, debugger_behind
from raft_threads.simulation.scheduler import SECOND, Scheduler

# What stepping passes over, and what `where` leaves out below a thread's own functions. Of the simulation itself only
# the words that scenarios are written with are shown.
_MACHINERY = "raft_threads.simulation."
_SHOWN = "raft_threads.simulation.cluster"


def is_machinery(frame: FrameType) -> bool:
    """Return whether `frame` is of the simulation, and not of what is simulated."""
    module: str = frame.f_globals.get("__name__", "")
    return module.startswith(_MACHINERY) and module != _SHOWN


def is_of_no_interest(frame: FrameType) -> bool:
    """Return whether `frame` is machinery, the stdlib's part in starting a thread, or the debugger itself."""
    return is_machinery(frame) or frame.f_globals.get("__name__") in ("threading", "bdb")


def is_inside_a_call_of_machinery(frame: Optional[FrameType]) -> bool:
    """Return whether some function of our own has called machinery, which has come to `frame`, be that ours or not."""
    machinery_seen = False
    while frame is not None:
        if is_machinery(frame):
            machinery_seen = True
        elif machinery_seen and not is_of_no_interest(frame):
            return True
        frame = frame.f_back
    return False


@contextmanager
def pdb_knows_threads(scheduler: Scheduler) -> Iterator[None]:
    """Teach pdb about the threads of `scheduler` for as long as the block runs."""
    import bdb  # here, since most simulations run without a debugger's ever being asked for
    import pdb

    kinds: list[Any] = [pdb.Pdb]
    # `python -m pdb` runs pdb as the module __main__: its class is another one.
    debugger = debugger_behind(sys.gettrace())
    if debugger is not None:
        debugger.steps_in = threading.get_ident()
        debugger.steps_through_machinery = False
        if hasattr(debugger, "interaction") and not isinstance(debugger, pdb.Pdb):
            kinds.append(type(debugger))
    with ExitStack() as replacements:
        replacements.enter_context(leaving_is_no_failure(bdb.BdbQuit))
        for make in (set_trace, _set_stopinfo, stop_here, get_stack):
            replacements.enter_context(replaced(bdb.Bdb, make.__name__, make))
        for kind in kinds:
            replacements.enter_context(replaced(kind, "interaction", interaction))
            replacements.enter_context(replaced(kind, "print_stack_entry", announcing(scheduler)))
        yield


@contextmanager
def leaving_is_no_failure(left: type[Exception]) -> Iterator[None]:
    """Have a node not complain that its thread failed, if the debugger was left in it: that raises `left` there."""

    def is_failure(record: logging.LogRecord) -> bool:
        return record.exc_info is None or record.exc_info[0] is not left

    log = logging.getLogger(node.__name__)
    log.addFilter(is_failure)
    try:
        yield
    finally:
        log.removeFilter(is_failure)


@contextmanager
def replaced(kind: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """Replace the method `name` of `kind` by what `make` makes of it."""
    original = getattr(kind, name)
    setattr(kind, name, make(original))
    try:
        yield
    finally:
        setattr(kind, name, original)


def set_trace(original: Any) -> Any:
    """Stop where somebody has written `breakpoint()`, wherever that is."""

    def set_trace_there(debugger: Any, frame: Optional[FrameType] = None, **more: Any) -> None:
        original(debugger, frame or sys._getframe(1), **more)
        debugger.steps_through_machinery = True

    return set_trace_there


def _set_stopinfo(original: Any) -> Any:
    """Note in which thread a step is asked for, and whether within machinery: who stopped there wants to see it."""

    def note_and_set(debugger: Any, *details: Any, **more: Any) -> None:
        debugger.steps_in = threading.get_ident()
        debugger.steps_through_machinery = is_inside_a_call_of_machinery(getattr(debugger, "curframe", None))
        # Until Python 3.13, `next` at the end of a function does not stop in the caller if nothing there was traced.
        ending = getattr(debugger, "frame_returning", None)
        if ending is not None and ending.f_back is not None and ending.f_back.f_trace is None:
            ending.f_back.f_trace = debugger.trace_dispatch
        original(debugger, *details, **more)

    return note_and_set


def stop_here(original: Any) -> Any:
    """Have `step`, `next` and `return` stop only in the thread that they were asked for in, and in no machinery."""

    def stop_in_this_thread(debugger: Any, frame: FrameType) -> bool:
        if debugger.steps_in != threading.get_ident() or not original(debugger, frame):
            return False
        if debugger.steps_through_machinery:
            return True
        return not (is_of_no_interest(frame) or is_inside_a_call_of_machinery(frame))

    return stop_in_this_thread


def get_stack(original: Any) -> Any:
    """Have `where` begin with the first function of our own."""

    def get_our_stack(debugger: Any, frame: Optional[FrameType], traceback: Any) -> tuple[list[Any], int]:
        stack, position = original(debugger, frame, traceback)
        below = 0
        while below < position and is_of_no_interest(stack[below][0]):
            below += 1
        return stack[below:], position - below

    return get_our_stack


def interaction(original: Any) -> Any:
    """Count the open prompts."""

    def count_and_interact(debugger: Any, *details: Any, **more: Any) -> None:
        OpenPrompts.count += 1
        try:
            original(debugger, *details, **more)
        finally:
            OpenPrompts.count -= 1

    return count_and_interact


def announcing(scheduler: Scheduler) -> Callable[[Any], Any]:
    """Return what says above a prompt whose it is, if that or the time has changed since the last one."""
    announced = [""]

    def print_stack_entry(original: Any) -> Any:
        def announce_and_print(debugger: Any, *details: Any, **more: Any) -> None:
            current = scheduler.current
            whose = f"{current.name} at {scheduler.now_ns / SECOND:.6f} s"
            if current.thread is threading.current_thread() and [whose] != announced:
                announced[:] = [whose]
                debugger.message(whose)
            original(debugger, *details, **more)

        return announce_and_print

    return print_stack_entry
