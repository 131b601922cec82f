"""Servers and commands as processes of their own: started, watched line by line, killed (§5.5)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Optional

from raw_sockets import PATIENCE

from raft_threads.addresses import Address, format_cluster

ROOT = Path(__file__).resolve().parent.parent


def command_line(*arguments: str) -> list[str]:
    """Return `python -m raft_threads` with these arguments."""
    return [sys.executable, "-m", "raft_threads", *arguments]


def environment() -> dict[str, str]:
    """Return an environment in which the package, and the tests' helpers, are found from anywhere."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command_line(*arguments), capture_output=True, text=True, timeout=PATIENCE, env=environment(), **options
    )


def heed_ctrl_c() -> None:
    """Have a new process heed SIGINT as from a terminal, also when these tests run in a background that ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def send_when_it_waits(process: subprocess.Popen[Any], number: int) -> None:
    """Send a signal to a process once its main thread waits: for a key, a lock, an answer.

    One that comes just before that thread waits is not handled until the wait is over, in CPython.
    """
    deadline = time.monotonic() + PATIENCE
    while main_thread_is_busy(process.pid):
        assert time.monotonic() < deadline, "its main thread does not wait for anything"
        os.sched_yield()
    process.send_signal(number)


def main_thread_is_busy(pid: int) -> bool:
    """Return whether it runs, or would if it had a core; False where only the system can tell, as on macOS."""
    stat = Path(f"/proc/{pid}/task/{pid}/stat")
    return stat.exists() and " R " in stat.read_text()


class ServeProcess:
    """One `raft_threads serve` process. A context manager that kills it."""

    def __init__(
        self,
        server: str,
        cluster: dict[str, Address],
        data_dir: Path,
        *more: str,
        before_exec: Optional[Callable[[], None]] = None,
    ) -> None:
        self.lines: list[str] = []
        self._grew = threading.Condition()
        self._ended = False
        arguments = ["serve", "--id", server, "--cluster", format_cluster(cluster), "--data-dir", str(data_dir), *more]
        self.process = subprocess.Popen(
            command_line(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
            preexec_fn=before_exec,
        )
        self._reader = threading.Thread(target=self._read, name=f"test/output-of-{server}")
        self._reader.start()

    def __enter__(self) -> ServeProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._grew:
                self.lines.append(line.rstrip("\n"))
                self._grew.notify_all()
        with self._grew:
            self._ended = True
            self._grew.notify_all()

    def wait_for_line(self, pattern: str) -> str:
        """Wait until the process writes a line that fits; return it."""
        found: list[str] = []

        def there_is_one() -> bool:
            found[:] = [line for line in self.lines if re.search(pattern, line)]
            return bool(found) or self._ended

        with self._grew:
            self._grew.wait_for(there_is_one, PATIENCE)
            assert found, f"no line fits {pattern!r} in:\n" + "\n".join(self.lines)
            return found[0]

    def wait_until_it_serves(self) -> None:
        """Return once its port is open."""
        self.wait_for_line(r" serves at ")

    def signal(self, number: int) -> None:
        """Send a signal to it."""
        self.process.send_signal(number)

    def exit_code(self) -> int:
        """Wait until the process has ended and all its output is read; return its exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash does, and wait for its end. Once more does no harm."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.exit_code()
