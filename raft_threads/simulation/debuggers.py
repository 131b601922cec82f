"""Whether a person at a breakpoint, and not the program, is calling: then nobody must wait, and no step counts."""

from __future__ import annotations

import os
import sys

# The functions in which a debugger sits while it shows its prompt, by file. pdb's prompt opens in a trace function.
_PROMPTS = {
    ("bdb.py", "trace_dispatch"),
    ("pdb.py", "interaction"),
    ("pydevd.py", "do_wait_suspend"),
    ("pydevd.py", "_do_wait_suspend"),
}
_FUNCTIONS = frozenset(function for _, function in _PROMPTS)


def a_debugger_is_evaluating() -> bool:
    """Return whether this thread is at a debugger's prompt, from which what runs now was called."""
    if sys.gettrace() is None and "pydevd" not in sys.modules:
        return False
    frame = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name in _FUNCTIONS and (os.path.basename(code.co_filename), code.co_name) in _PROMPTS:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
