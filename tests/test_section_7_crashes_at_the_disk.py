"""A crash at any point while snapshots are written, received and adopted loses nothing that was promised (§7, §5.5)."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest
from power_failures import Files, Killed, PowerFailures, laid_out
from snapshots import indexes, opened, records_in, records_of
from storage_lives import Promised, check, live

from raft_threads.file_storage import FileStorage

HERE = Path(__file__).resolve().parent
def live_in(directory: Path, crashes: PowerFailures) -> None:
    """Go through a server's life in `directory`, noting what is promised after each step."""

    def note(promised: Promised) -> None:
        crashes.promised = promised

    storage = FileStorage(directory, "raft", "n1", crashes.sync)
    try:
        live(storage, note)
    finally:
        storage.close()


def check_in(directory: Path, promised: Promised, sync: Callable[[int], None] = lambda descriptor: None) -> None:
    """Start from `directory`, and see that nothing is lost."""
    storage, saved = opened(directory, sync)
    check(storage, saved, promised)
    storage.close()


def crash_everywhere(directory: Path) -> list[tuple[Files, Promised]]:
    """Return what a crash may leave at each point of LIFE, and what had been promised by then."""
    directory.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        crashes = PowerFailures(directory, patch)
        live_in(directory, crashes)
    crashes.close()
    return crashes.left


def test_a_power_failure_between_any_two_steps_loses_nothing_that_was_promised(tmp_path: Path) -> None:
    """§7: each file is written, synced, renamed, and its name synced, in this order; then the log is cut."""
    left = crash_everywhere(tmp_path / "n1")
    assert len(left) > 50
    for number, (files, promised) in enumerate(left):
        check_in(laid_out(tmp_path / str(number), files), promised)


def kill_and_restart(directory: Path, steps: int) -> tuple[bool, list[tuple[Files, Promised]]]:
    """Kill the server after `steps` steps of its life, and start it again with the files as they are.

    Returns whether its life was longer than that, and what a power failure during the new start may leave.
    """
    directory.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        crashes = PowerFailures(directory, patch)
        crashes.steps_to_live = steps
        try:
            live_in(directory, crashes)
        except Killed:
            check_in(directory, crashes.promised, crashes.sync)
    crashes.close()
    return crashes.steps_to_live is None, crashes.left


def test_a_power_failure_during_the_start_after_a_kill_loses_nothing_either(tmp_path: Path) -> None:
    """§5.5: what the killed server did may not be durable yet when the log is cut; the repair may be cut short, too."""
    was_killed, met, steps = True, set(), 0
    while was_killed:
        was_killed, left = kill_and_restart(tmp_path / f"killed-{steps}", steps)
        steps += 1
        for files, promised in left if was_killed else []:
            known = (frozenset(files.items()), promised)
            if known not in met:
                met.add(known)
                check_in(laid_out(tmp_path / str(len(met)), files), promised)
    assert steps > 100 and len(met) > 100


def test_what_a_crash_leaves_of_unfinished_files_is_gone_after_the_next_start(tmp_path: Path) -> None:
    """docs/storage-format.md: they may be large."""
    for number, (files, _) in enumerate(crash_everywhere(tmp_path / "n1")):
        directory = laid_out(tmp_path / str(number), files)
        opened(directory)[0].close()
        assert {path.name for path in directory.iterdir()} == {"lock", "server", "term_and_vote", "log"} | (
            {"snapshot"} & files.keys()
        )


# kill -9


WRITER = HERE / "snapshot_writer.py"


def killed_writer(directory: Path, lines: int) -> list[str]:
    """Start a process that writes snapshots, kill it after so many lines; return what it said that it has done."""
    with subprocess.Popen([sys.executable, str(WRITER), str(directory)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        return said + process.stdout.readlines()


def test_kill_9_of_a_process_that_writes_snapshots_loses_nothing_that_it_has_told(tmp_path: Path) -> None:
    """§5.5: the process tells each step when it is durable; the next one goes on from there."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    for _ in range(5):
        said = killed_writer(tmp_path / "n1", lines=dice.randint(1, 60))
        step, first, last = said[-1].split()
        storage, saved = opened(tmp_path / "n1")
        start = saved.start.last_included_index if saved.start is not None else 0
        assert start >= int(first) and start + len(saved.entries) >= int(last), (step, first, last)
        assert indexes(saved.entries) == list(range(start + 1, start + 1 + len(saved.entries)))
        if saved.start is not None:
            assert records_in(storage) == list(records_of(start))
        storage.close()
