"""Every thread, what it waits for, who holds that, and where it is in our code: for failures and for `show`."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from pathlib import Path
from types import FrameType
from typing import Optional

from raft_threads.simulation.scheduler import SECOND, Scheduler, Task

# Where code lies that a report leaves out: the simulation, the stdlib, what pip installs.
_NOT_OURS = tuple({str(Path(__file__).resolve().parent), *map(sysconfig.get_path, ("stdlib", "purelib", "platlib"))})
DEEPEST = 4


def describe_threads(scheduler: Scheduler, problem: str) -> str:
    """Return `problem`, the time, and a few lines for each thread."""
    lines = [f"{problem} (at {scheduler.now_ns / SECOND:.6f} s, after {scheduler.steps} steps, seed {scheduler.seed})"]
    for task in scheduler.tasks:
        lines.append(f"  {task.name} {what_it_does(scheduler, task)}")
        lines += [f"      {place}" for place in our_places(task)[:DEEPEST]]
    return "\n".join(lines)


def what_it_does(scheduler: Scheduler, task: Task) -> str:
    """Return in a few words what `task` does or waits for."""
    lock = task.blocked_on
    if lock is not None:
        return f"waits for {lock.name}" + (f", held by {lock.owner.name}" if lock.owner is not None else "")
    if task.parked:
        return f"waits for {task.why}"
    return "runs" if task is scheduler.current else "is ready to run"


def our_places(task: Task) -> list[str]:
    """Return where a thread is, innermost first: without the simulation, the stdlib and pytest."""
    frame = frame_of(task)
    if frame is None:
        return []
    frames = reversed(traceback.extract_stack(frame))
    ours = [each for each in frames if not each.filename.startswith((*_NOT_OURS, "<"))]
    return [f"{Path(each.filename).name}:{each.lineno} in {each.name}: {each.line}" for each in ours]


def frame_of(task: Task) -> Optional[FrameType]:
    """Return the frame that a thread is in, None if it has not begun or has ended."""
    identifier = task.thread.ident if task.thread is not None else None
    return None if identifier is None else sys._current_frames().get(identifier)
