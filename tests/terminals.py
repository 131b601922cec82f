"""A program on a pseudo-terminal, as whoever debugs has it: reads its prompts, types commands, watches."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from processes import ROOT, environment, send_when_it_waits
from raw_sockets import PATIENCE

PROMPT = "(Pdb) "
# What a terminal is told about colours and the cursor.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """A process on a pseudo-terminal. A context manager that kills it."""

    def __init__(self, command: Sequence[str], directory: Path = ROOT) -> None:
        self._side, terminal = pty.openpty()
        self._process = subprocess.Popen(
            command,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=directory,
            env={**environment(), "TERM": "dumb", "COLUMNS": "200", "PYTHON_COLORS": "0", "NO_COLOR": "1"},
            start_new_session=True,
        )
        os.close(terminal)
        # Everything that was printed, and how much of it has been looked at.
        self.text = ""
        self._seen = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Return our side of the terminal, for `select`."""
        return self._side

    def close(self) -> None:
        """Kill the process, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE)
        os.close(self._side)

    def read_until(self, text: str) -> str:
        """Return what is printed from here on up to `text`, which is waited for."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.text[self._seen :]:
            assert self._read(deadline - time.monotonic()), f"{text!r} does not come after:\n{self.text}"
        end = self.text.index(text, self._seen) + len(text)
        begin, self._seen = self._seen, end
        return self.text[begin:end]

    def prompt(self) -> str:
        """Wait for pdb's prompt; return what was printed before it."""
        return self.read_until(PROMPT)[: -len(PROMPT)]

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._side, line.encode() + b"\n")

    def ask(self, command: str) -> str:
        """Type a command at the prompt; return what is printed up to the next prompt."""
        self.type(command)
        answer = self.prompt()
        assert answer.startswith(command + "\n"), f"the terminal does not show {command!r} first but {answer!r}"
        return answer[len(command) + 1 :]

    def send(self, number: int) -> None:
        """Send the process a signal: SIGINT is what Ctrl-C does."""
        send_when_it_waits(self._process, number)

    def end(self) -> int:
        """Read everything up to the end of the process; return its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline - time.monotonic()):
            pass
        return self._process.wait(PATIENCE)

    def _read(self, seconds: float) -> bool:
        """Wait `seconds` at most for something to be printed; return whether there was something."""
        if not select.select([self._side], [], [], max(0.0, seconds))[0]:
            return False
        try:
            data = os.read(self._side, 65536)
        except OSError:  # what Linux says when the process has closed the terminal
            return False
        self.text += _ESCAPES.sub("", data.decode())
        return bool(data)
