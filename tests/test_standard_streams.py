"""What both programs do when their output cannot be written, and without a terminal at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, environment

RULE = "run_demo.py rule --list"
QUIZ = "run_demo.py quiz --seed 1"
HELP = "run_demo.py figure-8 --help"
SIMULATE = "-m raft_threads simulate --seed 1 --seconds 0.1"
FIGURE_16 = "-m raft_threads figure-16 --lines 150-300 --trials 1"


def run(command: str, streams: str = "", stdout: int = subprocess.DEVNULL) -> tuple[int, list[str]]:
    """Have a shell run one of our commands; return its exit code, and what it complains of."""
    done = subprocess.run(
        ["bash", "-c", f"exec '{sys.executable}' {command} {streams}"],
        stdout=stdout, stderr=subprocess.PIPE, cwd=ROOT, env=environment(), text=True, timeout=50,
    )
    return done.returncode, [line for line in done.stderr.splitlines() if "trials, " not in line]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.alongside
@pytest.mark.parametrize("command", [RULE, QUIZ, SIMULATE, FIGURE_16])
def test_a_full_disk_is_one_clear_line(command: str) -> None:
    """Whatever was to be printed."""
    code, complaints = run(command, "<&- >/dev/full")
    assert (code, len(complaints)) == (1, 1)
    assert complaints[0].endswith(": cannot write: No space left on device")


@pytest.mark.alongside
@pytest.mark.parametrize("command, code", [(RULE, 0), (HELP, 0), (SIMULATE, 130), (FIGURE_16, 130)])
def test_a_reader_that_has_gone_is_no_complaint(command: str, code: int) -> None:
    """The demo is over then as if it was seen to its end; a measurement was interrupted."""
    read, write = os.pipe()
    os.close(read)
    try:
        assert run(command, stdout=write) == (code, [])
    finally:
        os.close(write)


@pytest.mark.alongside
@pytest.mark.parametrize("command", [RULE, QUIZ, SIMULATE, FIGURE_16])
def test_a_program_without_any_stream_does_its_work(command: str) -> None:
    """As a service manager may start it; at the end of its input a quiz is over."""
    assert run(command, "<&- >&- 2>&-") == (0, [])
