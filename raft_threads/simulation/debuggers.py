"""What a debugger does in a simulation: it looks and nothing moves, and a breakpoint set in one thread holds in all.

Only the thread with the baton runs, so a prompt in it stops all others, and the clock. What a person evaluates there is
called by that thread, but not by the program: it must neither count as a step nor wait, since nobody would wake it.
"""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Optional

# The functions in which a debugger sits while it shows its prompt, or judges the condition of a breakpoint, by file.
# pydevd is what VS Code and PyCharm debug with.
_PROMPTS = frozenset(
    {
        ("bdb.py", "trace_dispatch"),
        ("pdb.py", "interaction"),
        ("pydevd.py", "do_wait_suspend"),
        ("pydevd.py", "handle_breakpoint_condition"),
        ("pydevd.py", "handle_breakpoint_expression"),
    }
)
_FUNCTIONS = frozenset(function for _, function in _PROMPTS)


class WouldWait(Exception):
    """A debugger evaluates something that would have to wait, and nobody else runs while it does."""


class OpenPrompts:
    """How many prompts of pdb are open now. A prompt after a failure needs no trace function, so that none tells."""

    count = 0


def a_debugger_is_evaluating() -> bool:
    """Return whether this thread is at a debugger's prompt, from which what runs now was called."""
    if sys.gettrace() is None and not OpenPrompts.count and "pydevd" not in sys.modules:
        return False
    return is_at_a_prompt(sys._getframe(1))


def is_at_a_prompt(frame: Optional[FrameType]) -> bool:
    """Return whether the thread that is in `frame` is at a debugger's prompt."""
    while frame is not None:
        code = frame.f_code
        if code.co_name in _FUNCTIONS and (os.path.basename(code.co_filename), code.co_name) in _PROMPTS:
            return True
        frame = frame.f_back
    return False


def refuse_to_wait_at_a_prompt(what: str) -> None:
    """Raise WouldWait if a debugger evaluates. `what` is what the caller would wait for."""
    if a_debugger_is_evaluating():
        raise WouldWait(f"{what}: nobody runs while you look. Let the program do it, and go on")


@contextmanager
def known_at_every_prompt(cluster: object) -> Iterator[None]:
    """Have `cluster` be a name in every function: at a breakpoint in a server, nothing else leads to the others."""
    missing = object()
    before = getattr(builtins, "cluster", missing)
    builtins.cluster = cluster  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del builtins.cluster  # type: ignore[attr-defined]
        if before is not missing:
            builtins.cluster = before  # type: ignore[attr-defined]


class Breakpoints:
    """Has breakpoints that were set at a prompt in one thread hold in all: the debugger goes with the baton.

    That is for pdb, which knows one thread; pydevd sees to it by itself.
    """

    def __init__(self) -> None:
        self._debugger: Any = None

    def hand_on(self) -> None:
        """Called by a thread that gives the baton away."""
        trace = sys.gettrace()
        if trace is None:
            return
        debugger = debugger_behind(trace)
        if debugger is not None:
            self._debugger = debugger if debugger.breaks else None

    def take_over(self) -> None:
        """Called by a thread that has got the baton."""
        if self._debugger is None:
            return
        debugger, trace = self._debugger, sys.gettrace()
        behind = debugger_behind(trace)
        if behind is not debugger and (trace is None or behind is not None):
            sys.settrace(debugger.trace_dispatch)
        # A function that runs already, as a thread's loop does, is not traced by that.
        frame: Optional[FrameType] = sys._getframe(1)
        while frame is not None:
            if frame.f_trace is None and debugger.break_anywhere(frame):
                frame.f_trace = debugger.trace_dispatch
            frame = frame.f_back


def debugger_behind(trace: Any) -> Any:
    """Return the pdb, or whatever else is made of `bdb`, whose trace function this is; None for any other."""
    debugger = getattr(trace, "__self__", None)
    return debugger if hasattr(debugger, "breaks") and hasattr(debugger, "break_anywhere") else None
