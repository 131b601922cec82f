"""`python -m raft_threads simulate` as people and scripts see it: output, exit codes, the same bytes each time."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from beforehand import Beforehand
from processes import ROOT, command_line, environment

from raft_threads.__main__ import main
from raft_threads.companion.breaks import broken
from raft_threads.simulation.sweep import shard
from raft_threads.trace import read_trace


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command in this process; return its exit code and what it wrote."""
    code = main(["simulate", *arguments])
    return (code, *capsys.readouterr())


def test_a_sweep_says_what_was_explored_and_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    """Elections, commits, crashes, partitions, messages lost, schedules; progress goes to stderr."""
    code, out, err = said(capsys, "--seeds", "0:6", "--seconds", "1", "--jobs", "2")
    assert code == 0, out
    assert re.search(r"^6 seeds: \d+ virtual seconds in [\d.]+ s, \d+ a second$", out, re.MULTILINE)
    for what in ("elections", "leaders", "commits", "crashes", "partitions", "messages sent", "lost", "duplicated"):
        assert re.search(rf"\d+ {what}", out), what
    assert "schedules: " in out and "0 seeds failed" in out
    assert re.search(r"6 of 6 seeds, 0 failed, [\d.]+ a second, 0 s left", err)


def test_a_seed_that_fails_is_named_with_its_property_and_how_to_replay_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1; the replay command does the same again."""
    arguments = ("--profile", "hostile", "--seconds", "2", "--servers", "5")
    with broken("F2.RequestVote.2.1"):
        code, out, _ = said(capsys, "--seeds", "0:3", *arguments)
        assert code == 1
        failed = re.search(r"^seed (\d) failed: One Vote per Term$", out, re.MULTILINE)
        assert failed, out
        replay = f"python -m raft_threads simulate --seed {failed[1]} --servers 5 --seconds 2 --profile hostile"
        assert replay in out
        code, out, _ = said(capsys, *replay.split()[4:])
    assert code == 1
    assert "failed: One Vote per Term" in out


ONE_RUN = ["simulate", "--seed", "7", "--seconds", "1", "--profile", "hostile", "--trace"]


def trace_of_another_process(hash_seed: str, *options: str) -> bytes:
    """Have a run traced by an interpreter with these options, and a seed for the hashes of texts."""
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(directory) / "run.jsonl"
        command = [sys.executable, *options, *command_line(*ONE_RUN, str(trace))[1:]]
        variables = {**environment(), "PYTHONHASHSEED": hash_seed}
        subprocess.run(command, env=variables, check=True, capture_output=True, timeout=50, cwd=ROOT)
        return trace.read_bytes()


@pytest.mark.beforehand(trace_of_another_process, "0", waits=True)
@pytest.mark.beforehand(trace_of_another_process, "1", "-X", "dev", waits=True)
def test_a_run_is_the_same_to_the_byte_in_every_process(tmp_path: Path, beforehand: Beforehand) -> None:
    """Whatever hashes text gets, whatever ran before, and in development mode.

    The run in this process is not beside others: they may leave out rules.
    """
    trace = tmp_path / "here.jsonl"
    assert main([*ONE_RUN, str(trace)]) == 0
    assert trace.read_bytes() == beforehand(trace_of_another_process, "0")
    assert trace.read_bytes() == beforehand(trace_of_another_process, "1", "-X", "dev")


def test_a_run_can_be_written_down_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The trace says which run it is, and the diagram is made from it."""
    trace, diagram = tmp_path / "run.jsonl", tmp_path / "run.svg"
    code, out, _ = said(capsys, "--seed", "3", "--seconds", "1", "--trace", str(trace), "--diagram", str(diagram))
    assert code == 0
    header, records = read_trace(trace)
    assert header.servers[:3] == ("n1", "n2", "n3")
    assert header.metadata == {"seed": 3, "profile": "mixed", "seconds": 1.0}
    assert records
    assert diagram.read_text().startswith("<")
    assert f"trace: {trace}" in out and f"diagram: {diagram}" in out and "fingerprint" in out


def test_a_file_that_cannot_be_written_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback."""
    code, _, err = said(capsys, "--seed", "3", "--seconds", "0.1", "--trace", str(tmp_path / "missing" / "run.jsonl"))
    assert code == 1
    assert err.startswith("raft-threads simulate: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--seeds", "5"],
        ["--seeds", "5:5"],
        ["--seeds", "a:b"],
        ["--seed", "1", "--seeds", "0:2"],
        ["--seeds", "0:2", "--trace", "x"],
        ["--seed", "1", "--servers", "0"],
        ["--seed", "1", "--seconds", "0"],
        ["--seed", "1", "--jobs", "0"],
        ["--seed", "1", "--profile", "gentle"],
        ["--seeds", "0:2", "--shard", "3/2"],
        ["--seeds", "0:2", "--shard", "x"],
    ],
)
def test_a_wrong_argument_gets_one_clear_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    with pytest.raises(SystemExit) as end:
        main(["simulate", *arguments])
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("raft-threads simulate: error: ")


def test_the_shards_of_a_sweep_are_all_seeds_and_each_once() -> None:
    """Many machines may share one sweep."""
    parts = [shard(range(10), number, 3) for number in (1, 2, 3)]
    assert sorted(seed for part in parts for seed in part) == list(range(10))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
