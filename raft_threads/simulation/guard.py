"""Nobody touches a server's state without its lock: checked at each access, not only when it does harm."""

from __future__ import annotations

from typing import Any

from raft_threads.simulation.debuggers import a_debugger_is_evaluating
from raft_threads.simulation.scheduler import Group, Scheduler, Task
from raft_threads.state import State

# What never changes may be read by anybody.
_CONSTANT = frozenset({"id", "__class__"})


class WithoutTheLock(Exception):
    """A server's thread read or changed its state and did not hold its lock."""


def guard(state: State, lock: Any, group: Group, scheduler: Scheduler) -> None:
    """From now on, end the simulation when a thread of `group` touches `state` and does not hold `lock`."""

    def check(task: Task, name: str) -> None:
        if task.group is group and name not in _CONSTANT and not (task.doomed or a_debugger_is_evaluating()):
            scheduler.fail(WithoutTheLock(f"{task.name} looks at {name} of {group.name} without its lock"))

    class GuardedState(State):
        def __getattribute__(self, name: str, get: Any = object.__getattribute__) -> Any:
            if lock.owner is not scheduler.current:
                check(scheduler.current, name)
            return get(self, name)

    GuardedState.__qualname__ = "State"  # as it is printed
    state.__class__ = GuardedState
