"""Commands that work for minutes, and start processes for it, end at once when they are told to: Ctrl-C, SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Callable

import pytest
from processes import ROOT, command_line, environment, heed_ctrl_c
from raw_sockets import PATIENCE


def children(parent: int, word: str) -> dict[int, str]:
    """Return those of a process's children that have a word in their commands, by process id."""
    done = subprocess.run(["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True)
    found = [line.split(None, 2) for line in done.stdout.splitlines()[1:]]
    return {int(each[0]): each[2] for each in found if each[1] == str(parent) and word in each[2]}


def is_there(pid: int) -> bool:
    """Return whether a process lives; one that nobody has waited for yet does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def wait_until(predicate: Callable[[], bool], what: str) -> None:
    """Look again and again, since no system tells of other processes' children."""
    deadline = time.monotonic() + PATIENCE
    while not predicate():
        assert time.monotonic() < deadline, what
        os.sched_yield()


@pytest.mark.alongside
@pytest.mark.parametrize(
    "command, starts, count, number",
    [
        ("simulate --seeds 0:100 --seconds 1000 --jobs 2", "spawn_main", 2, signal.SIGINT),
        ("figure-16 --trials 1000 --jobs 2", "spawn_main", 2, signal.SIGTERM),
        ("figure-16 --real --trials 100 --lines 150-300", "serve", 5, signal.SIGTERM),
        ("bench clients", "serve", 3, signal.SIGINT),
    ],
)
def test_a_measurement_that_is_interrupted_twice_leaves_no_process_and_no_traceback(
    command: str, starts: str, count: int, number: signal.Signals
) -> None:
    """Ctrl-C goes to all processes of a terminal, SIGTERM to one. The second signal comes while it cleans up."""
    started: dict[int, str] = {}
    with subprocess.Popen(
        command_line(*command.split()), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        cwd=ROOT, env=environment(), start_new_session=True, preexec_fn=heed_ctrl_c,
    ) as process:

        def has_started_all() -> bool:
            started.update(children(process.pid, starts))
            return len(started) >= count

        try:
            wait_until(has_started_all, f"{command} does not start {count} processes")
            (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
            process.send_signal(number)
            _, errors = process.communicate(timeout=PATIENCE)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        assert "Traceback" not in errors and "Error" not in errors, errors
        assert process.returncode in (130, -number)  # the second one may come when all is over
    wait_until(lambda: not any(map(is_there, started)), f"{started} are left")


@pytest.mark.alongside
def test_a_sweep_goes_on_when_its_terminal_is_closed_if_it_was_told_so() -> None:
    """`nohup`: the summary is of all seeds."""
    with subprocess.Popen(
        ["nohup", *command_line("simulate", "--seeds", "0:12", "--seconds", "1", "--jobs", "2")],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
        env=environment(), start_new_session=True,
    ) as process:
        wait_until(lambda: len(children(process.pid, "spawn_main")) == 2, "it does not start two processes")
        os.killpg(process.pid, signal.SIGHUP)
        output, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output.split(":")[0]) == (0, "12 seeds")
