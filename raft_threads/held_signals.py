"""Keep signals waiting while something must not be left half done: starting and stopping servers (§5.5)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# SIGHUP says that the terminal was closed, which a server may outlive (`nohup`) and the demo does not.
ALL_SIGNALS = (*STOP_SIGNALS, signal.SIGHUP)


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold the signals back until the end of the block, where they take effect.

    The signal mask would not do: the kernel gives the signal to any thread that lets it in, and Python then runs the
    handler in the main thread all the same. Only that thread can be interrupted, so elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    handlers = {each: signal.getsignal(each) for each in ALL_SIGNALS}
    for each in ALL_SIGNALS:
        signal.signal(each, lambda signum, frame: arrived.append(signum))
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
        if arrived:
            signal.raise_signal(arrived[0])
