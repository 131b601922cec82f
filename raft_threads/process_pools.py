"""Pools of processes for work that takes minutes, which end at once when that is interrupted."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from multiprocessing import active_children
from typing import Callable, TypeVar

from raft_threads.held_signals import signals_held

Item = TypeVar("Item")
Result = TypeVar("Result")

# Seconds between two looks for a signal.
LOOK_EVERY = 0.2


def results_as_they_come(
    pool: ProcessPoolExecutor, processes: int, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result]]:
    """Have a new pool of so many processes call `function` for each of the `items`; yield these with the results.

    A signal takes effect between two looks: the queues and futures of a pool have locks, which would stay locked for
    ever if it came in the middle of taking one.
    """
    with ending_at_once(pool, processes), signals_held() as arrived:
        waiting = iter(items)
        running: dict[Future[Result], Item] = {}
        while not arrived:
            for item in islice(waiting, 2 * processes - len(running)):
                running[pool.submit(function, item)] = item
            if not running:
                break
            for future in wait(running, LOOK_EVERY, FIRST_COMPLETED).done:
                yield running.pop(future), future.result()


@contextmanager
def ending_at_once(pool: ProcessPoolExecutor, processes: int) -> Iterator[ProcessPoolExecutor]:
    """Have a new pool of so many processes for the block. When that fails or is interrupted they end: what they are at
    may take minutes, and nobody waits for it any more.
    """
    others = set(active_children())
    with pool:
        try:
            start_all(pool, processes)
            yield pool
        except BaseException:
            for process in set(active_children()) - others:
                process.terminate()
            raise


def start_all(pool: ProcessPoolExecutor, processes: int) -> None:
    """Start the processes of a pool, which begins one for a call that finds all busy.

    They inherit that SIGINT is blocked: of all that Ctrl-C reaches, only the process that has begun the others is to
    heed it. A handler would come too late for one that has just begun.
    """
    with signals_held():  # a process whose start is interrupted is nobody's child
        blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        for _ in range(processes):
            pool.submit(int)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked_before)
