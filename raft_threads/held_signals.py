"""Signals that end a program come once, and not while something must not be left half done (§5.5)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Optional

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# SIGHUP says that the terminal was closed, which a server may outlive (`nohup`) and the demo does not.
ALL_SIGNALS = (*STOP_SIGNALS, signal.SIGHUP)


def interrupt_once(signals: Sequence[signal.Signals], interruption: type[BaseException]) -> None:
    """From here on, have the first of the signals raise `interruption` in the main thread; later ones change nothing.

    So they do not disturb the cleaning up after the first. Called in the main thread.
    """

    def interrupt(signum: int, frame: Optional[FrameType]) -> None:
        ignore_signals(signals)
        raise interruption

    for each in signals:
        signal.signal(each, interrupt)


def ignore_signals(signals: Sequence[signal.Signals]) -> None:
    """From here on, none of the signals changes anything."""
    for each in signals:
        signal.signal(each, signal.SIG_IGN)


def heeded_signals() -> dict[signal.Signals, Any]:
    """Return the signals that are not ignored, with their handlers."""
    handlers = {each: signal.getsignal(each) for each in ALL_SIGNALS}
    return {each: handler for each, handler in handlers.items() if handler is not signal.SIG_IGN}


@contextmanager
def interrupted_once() -> Iterator[None]:
    """Have Ctrl-C, SIGTERM or a closed terminal raise KeyboardInterrupt in the block, once: what it has started, it has
    to end. Signals that are ignored stay so, as under `nohup`; outside of the main thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = heeded_signals()
    interrupt_once(list(handlers), KeyboardInterrupt)
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)


@contextmanager
def signals_held() -> Iterator[Sequence[int]]:
    """Hold the signals back until the end of the block, where they take effect; tell which have arrived.

    The signal mask would not do: the kernel gives the signal to any thread that lets it in, and Python then runs the
    handler in the main thread all the same. Only that thread can be interrupted, so elsewhere this does nothing.
    Signals that are ignored stay so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield ()
        return
    arrived: list[int] = []
    handlers = heeded_signals()
    for each in handlers:
        signal.signal(each, lambda signum, frame: arrived.append(signum))
    try:
        yield arrived
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
        if arrived:
            signal.raise_signal(arrived[0])
