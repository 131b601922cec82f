"""Work that needs no real time, done by other processes while tests wait for real time: runs of the simulator.

A test says what it will ask for with the mark `beforehand(function, *arguments)`, as often as it needs to, and gets it
from the fixture of that name. What nobody has begun by then is done where it is asked for. With `waits=True` it is done
by a thread: programs that are started, and mostly wait. The mark `alongside` has the whole test done in that way.
"""

from __future__ import annotations

import inspect
import os
import signal
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

import pytest

from raft_threads.simulation.sweep import processes_with_a_core, take_a_core

Made = TypeVar("Made")
PROCESSES = 2
THREADS = 3
# How far they stand back behind the tests themselves, whose servers have timeouts.
NICENESS = 10


def stand_back(taken: Any) -> None:
    """Begin a process of the pool, on a core of its own; Ctrl-C is for the tests."""
    os.nice(NICENESS)
    take_a_core(taken)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def perform(test: pytest.Function) -> None:
    """Run a test that takes parameters and, as `tmp_path`, a directory: one that is removed afterwards.

    It must print nothing: another test, the one whose turn it is, would be taken to have said it. And it must run no
    servers in this process, where other tests leave out rules.
    """
    arguments = dict(test.callspec.params) if hasattr(test, "callspec") else {}
    with tempfile.TemporaryDirectory() as directory:
        if "tmp_path" in inspect.signature(test.obj).parameters:
            arguments["tmp_path"] = Path(directory)
        test.obj(**arguments)


class Beforehand:
    """What is being done beforehand, by function and arguments."""

    def __init__(self, calls: Sequence[tuple[Any, ...]], waiting_calls: Sequence[tuple[Any, ...]]) -> None:
        self._threads = ThreadPoolExecutor(THREADS)
        self._futures: dict[tuple[Any, ...], Future[Any]] = {
            call: self._threads.submit(*call) for call in dict.fromkeys(waiting_calls)
        }
        self._pool: Optional[ProcessPoolExecutor] = None
        if calls:
            self._pool = processes_with_a_core(PROCESSES, stand_back)
            self._futures.update({call: self._pool.submit(*call) for call in calls})

    def close(self) -> None:
        """Give up what has not been begun."""
        for future in self._futures.values():
            future.cancel()
        self._threads.shutdown()
        if self._pool is not None:
            self._pool.shutdown()

    def __call__(self, function: Callable[..., Made], *arguments: Any) -> Made:
        """Return what the function returns for these arguments."""
        future = self._futures.get((function, *arguments))
        if future is None or future.cancel():
            return function(*arguments)
        made: Made = future.result()
        return made
