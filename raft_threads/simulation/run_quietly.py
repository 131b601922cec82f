"""What a simulation asks of the interpreter: no surprise from the garbage collector, and one core for its threads."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager


class OurCore:
    """Which of the machine's cores this process uses; processes that share a sweep get different ones."""

    number = os.getpid()


@contextmanager
def run_quietly() -> Iterator[None]:
    """Switch off cyclic garbage collection, whose finalizers would run at any step, and stay on one core.

    Threads that take turns hand over two to three times as fast when they share a core.
    """
    collects = gc.isenabled()
    gc.disable()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    if len(cores) > 1:
        os.sched_setaffinity(0, {sorted(cores)[OurCore.number % len(cores)]})
    try:
        yield
    finally:
        if len(cores) > 1:
            os.sched_setaffinity(0, cores)
        if collects:
            gc.enable()


@contextmanager
def unlogged() -> Iterator[None]:
    """Keep what servers log to themselves, where much goes wrong on purpose."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
