"""`raft-threads serve`: one server as a process (§5), until a signal or a failed disk ends it."""

from __future__ import annotations

import argparse
import logging
import logging.handlers
import queue
import signal
import sys
from pathlib import Path
from typing import Optional

from raft_threads.garbage import spare_what_lives_long
from raft_threads.held_signals import STOP_SIGNALS, ignore_signals, interrupt_once
from raft_threads.log_lines import LogLines
from raft_threads.rpc_server import CannotListen
from raft_threads.server import KeyValueServer
from raft_threads.storage import StorageError

logger = logging.getLogger(__name__)


class StopRequested(BaseException):
    """SIGTERM or Ctrl-C arrived. Not an Exception: only `run_until_stopped` is to catch it."""


def serve(arguments: argparse.Namespace) -> int:
    """Run a server in the foreground. Returns 0 after a signal, 1 when it could not start or had to stop."""
    # Blocked until the server runs: a half-started server cannot be stopped cleanly. Its threads keep them blocked.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    log_writer = start_logging(arguments.log_level)
    spare_what_lives_long()
    try:
        server = KeyValueServer(
            arguments.id,
            arguments.cluster,
            Path(arguments.data_dir),
            cluster=arguments.cluster_name,
            timing=arguments.timing,
            options=arguments.options,
            join=arguments.join,
            observers=[LogLines()],
        )
    except (StorageError, CannotListen) as error:
        print(f"raft-threads serve: {error}", file=sys.stderr)
        return 1
    else:
        server.start()
        logger.info("%s serves at %s, data in %s", server.id, arguments.cluster[server.id], arguments.data_dir)
        return run_until_stopped(server)
    finally:
        log_writer.stop()


def run_until_stopped(server: KeyValueServer) -> int:
    """Wait for a signal, or until the server stops by itself; then stop it in order. Returns the exit code."""
    failure: Optional[Exception] = None
    try:
        interrupt_once(STOP_SIGNALS, StopRequested)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        failure = server.node.wait_until_stopping()
        ignore_signals(STOP_SIGNALS)  # it has begun to stop by itself; being asked to as well changes nothing
    except StopRequested:
        logger.debug("%s was asked to stop", server.id)
    finally:
        server.stop()
    return 1 if failure else 0


def start_logging(level: str) -> logging.handlers.QueueListener:
    """Log to standard error from a thread of its own.

    Servers log while they hold their lock; if they wrote themselves, a full pipe could stop a cluster.
    """
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=level.upper(), format="%(message)s", handlers=[logging.handlers.QueueHandler(records)])
    listener = logging.handlers.QueueListener(records, handler)
    listener.start()
    return listener
