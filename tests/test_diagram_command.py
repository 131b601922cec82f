"""Diagrams as text, `raft-threads diagram`, and the demo's --trace and --diagram (docs/trace-format.md)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional
from xml.etree import ElementTree

import pytest
from svg_trees import groups, words_in
from traces import DONE, HEARTBEAT, WRITE, Script, small

from raft_threads import events, surroundings
from raft_threads.__main__ import main
from raft_threads.demo.cli import main as demo_main
from raft_threads.diagram_command import summary
from raft_threads.diagrams.run import Run
from raft_threads.diagrams.space_time import MOST_ROWS, Window, draw_up
from raft_threads.diagrams.text import draw_text
from raft_threads.log import LogEntry
from raft_threads.trace import TraceWriter, read_trace

ROOT = Path(__file__).resolve().parent.parent


# The text


def test_the_text_has_a_column_for_each_server_and_a_line_for_each_event() -> None:
    """Role letters and terms, arrows, what is lost, and heartbeats of no effect in one line."""
    script = small()
    script.around(surroundings.LinksCut, links=(("n2", "n3"), ("n3", "n2")))
    script.event(events.ElectionTimerSet, "n2", timeout=0.2)
    lost = "LOST: the connection is cut"
    assert draw_text(script.run()) == [
        "  seconds  n1  n2  n3",
        " 0.000000  F0          n1 starts",
        " 0.001000  |   F0      n2 starts",
        " 0.002000  |   |   F0  n3 starts",
        " 0.003000  F0  |   |   n1 times out",
        " 0.004000  C1  |   |   n1 candidate, term 1",
        " 0.005000  C1  |   |   n1 ->n2 RequestVote(term 1, last 0/0)",
        " 0.006000  |   F1  |   n2 <-n1 RequestVote(term 1, last 0/0)",
        " 0.007000  |   F1  |   n2 votes for n1",
        " 0.008000  |   F1  |   n2 ->n1 RequestVoteReply(term 1, granted)",
        " 0.009000  L1  |   |   n1 <-n2 RequestVoteReply(term 1, granted)",
        " 0.010000  L1  |   |   n1 leads term 1",
        " 0.011000  L1  |   |   n1 appends 1: x=1",
        " 0.012000  L1  |   |   n1 ->n2 AppendEntries(term 1, prev 0/0, [1/1 x=1], commit 0)",
        f" 0.013000  L1  |   |   n1 ->n3 AppendEntries(term 1, prev 0/0, [1/1 x=1], commit 0)  {lost}",
        " 0.014000  |   F1  |   n2 <-n1 AppendEntries(term 1, prev 0/0, [1/1 x=1], commit 0)",
        " 0.015000  |   F1  |   n2 appends 1: x=1",
        " 0.016000  |   F1  |   n2 ->n1 AppendEntriesReply(term 1, success)",
        " 0.018000  L1  |   |   n1 <-n2 AppendEntriesReply(term 1, success)",
        " 0.019000  L1  |   |   n1 commits 1",
        " 0.020000  L1  |   |   n1 applies 1: x=1",
        " 0.021000  |   |   |   ... 2 messages of no effect",
        " 0.025000      |   |   n1 crashes",
        " 0.026000      |   |   ~~~ cut: n2–n3 ~~~",
    ]


def test_two_messages_of_no_effect_are_shown_and_arrivals_out_of_order_told() -> None:
    """A line that says less than those it stands for would be no gain."""
    script = Script("n1", "n2")
    script.exchange("n1", "n2", HEARTBEAT, DONE)
    script.send("n1", "n2", HEARTBEAT)
    script.receive("n1", "n2", HEARTBEAT)
    script.receive("n1", "n2", HEARTBEAT)
    script.event(events.LeaderRecognized, "n2", leader="n1")
    lines = draw_text(script.run(), Window(0.0035))
    assert [line[19:] for line in lines[1:]] == ["... 2 messages of no effect", "n2 follows n1"]
    lines = draw_text(script.run(), Window(0.0055))
    assert [line[19:] for line in lines[1:]] == [
        "n2 <-n1 AppendEntries(term 1, prev 0/0, [], commit 0)  AGAIN",
        "n2 follows n1",
    ]


def test_lines_of_text_are_cut_to_the_width_and_never_broken() -> None:
    """--width; and commands with newlines stay on their line."""
    script = Script("n1", "n2")
    script.event(events.EntriesAppended, "n1", entries=(LogEntry(1, 1, "command", b"a\nb\x1b[2J"),))
    script.send("n1", "n2", WRITE)
    whole, cut = draw_text(script.run()), draw_text(script.run(), width=40)
    assert len(whole) == len(cut) == 3
    assert whole[1].endswith("appends 1: a\\nb\\x1b[2J")
    assert [len(line) <= 40 for line in cut] == [True] * 3 and cut[2].endswith("…")


# The command


def traced(directory: Path, script: Script, **metadata: Any) -> Path:
    """Write a script's trace to a file."""
    path = directory / "run.trace"
    with open(path, "w", encoding="ascii", newline="\n") as file:
        writer = TraceWriter(file, script.servers, metadata)
        for record in script.records:
            writer.observe(record)
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[Optional[int], str, str]:
    """Run `raft-threads diagram`; return its exit code and what it wrote."""
    try:
        code: Any = main(["diagram", *map(str, arguments)])
    except SystemExit as left:
        code = left.code
    return (code, *capsys.readouterr())


def test_the_command_draws_beside_the_trace_or_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/trace-format.md: -o."""
    trace = traced(tmp_path, small(), seed=7, profile={"nested": 1})
    assert said(capsys, trace) == (0, f"{tmp_path}/run.svg: 0.000 to 0.025 s\n", "")
    words = words_in(ElementTree.parse(tmp_path / "run.svg").getroot())
    assert {"run.trace", "seed 7, 0.000 to 0.025 s"} <= set(words)
    assert said(capsys, trace, "-o", tmp_path / "other", "--from", "0.005", "--to", "0.010")[0] == 0
    assert "candidate, term 1" not in (tmp_path / "other").read_text()


def test_the_command_writes_text_to_standard_output_or_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/trace-format.md: --text; whole lines, where there is no terminal."""
    trace = traced(tmp_path, small())
    code, output, errors = said(capsys, trace, "--text")
    assert (code, errors) == (0, "")
    assert output.splitlines() == draw_text(small().run())
    assert said(capsys, trace, "--text", "-o", tmp_path / "run.txt", "--width", "30") == (0, "", "")
    assert (tmp_path / "run.txt").read_text().splitlines() == draw_text(small().run(), width=30)


def test_a_long_run_is_drawn_from_its_beginning_and_the_rest_is_pointed_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/trace-format.md: 2,000 moments a picture, and the line says where it goes on."""
    script = Script("n1", "n2")
    script.start()
    for _ in range(MOST_ROWS // 4 + 5):
        script.exchange("n1", "n2", HEARTBEAT, DONE)
    picture = draw_up(script.run())
    assert (len(picture.rows), picture.moments) == (MOST_ROWS, MOST_ROWS + 22)
    said_so = f"0.000 to 1.999 s, the first {MOST_ROWS} of {MOST_ROWS + 22} moments; --from 1.999 shows what follows"
    assert summary(picture) == said_so
    trace = traced(tmp_path, script)
    assert said(capsys, trace)[1] == f"{tmp_path}/run.svg: {said_so}\n"
    assert said_so in words_in(ElementTree.parse(tmp_path / "run.svg").getroot())
    assert said(capsys, trace, "--from", "1.999")[1] == f"{tmp_path}/run.svg: 1.999 to 2.021 s\n"


@pytest.mark.parametrize(
    "arguments, code, complaint",
    [
        (("no.trace",), 1, "no.trace: No such file or directory"),
        (("..",), 1, "..: Is a directory"),
        (("damaged.trace",), 1, "damaged.trace:2: this is not JSON"),
        (("empty.trace",), 1, "the trace holds no event"),
        (("empty.trace", "--text"), 1, "the trace holds no event"),
        (("run.trace", "--from", "99"), 1, "the trace lasts 0.025 s, and nothing is to be seen"),
        (("run.trace", "--text", "--from", "99"), 1, "the trace lasts 0.025 s"),
        (("run.trace", "-o", "no/such.svg"), 1, "no/such.svg: No such file or directory"),
        ((), 2, "the following arguments are required: TRACE"),
        (("run.trace", "--from", "x"), 2, "'x' is not a number of seconds"),
        (("run.trace", "--from", "-1"), 2, "a run begins at 0 seconds"),
        (("run.trace", "--to", "nan"), 2, "a run begins at 0 seconds"),
        (("run.trace", "--from", "2", "--to", "1"), 2, "--from must not be later than --to"),
        (("run.trace", "--width", "80"), 2, "--width goes with --text"),
        (("run.trace", "--text", "--width", "3"), 2, "--width goes with --text, and is 20 at least"),
        (("run.trace", "-o", "run.trace"), 2, "run.trace is the trace itself; name another file with -o"),
        (("run.svg",), 2, "run.svg is the trace itself; name another file with -o"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_the_trace_stays_as_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    complaint: str,
) -> None:
    """Exit code 1 for what is in the files, 2 for arguments."""
    monkeypatch.chdir(tmp_path)
    trace = traced(tmp_path, small())
    header = trace.read_text().splitlines()[0] + "\n"
    (tmp_path / "damaged.trace").write_text(header + "{\n")
    (tmp_path / "empty.trace").write_text(header)
    before = trace.read_bytes()
    exit_code, output, errors = said(capsys, *arguments)
    assert (exit_code, output) == (code, "")
    last = errors.splitlines()[-1]
    assert complaint in last and last.startswith("raft-threads")
    assert code == 2 or len(errors.splitlines()) == 1
    assert trace.read_bytes() == before and not (tmp_path / "run.svg").exists()


# The demo


def demo(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Play a scenario to its end."""
    command = [sys.executable, str(ROOT / "run_demo.py"), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=50)


def test_the_demo_writes_down_and_draws_a_run_of_real_servers(tmp_path: Path) -> None:
    """docs/demo.md: --trace, --diagram; cuts, repairs and crashes are in it."""
    trace, drawing = tmp_path / "run.trace", tmp_path / "run.svg"
    commands = "put x 1\ncut 1 2\nheal\ncrash 2\nrestart 2\nquit\n"
    played = demo("shell", "--pace", "fast", "--seed", 3, "--trace", trace, "--diagram", drawing, stdin=commands)
    assert played.returncode == 0, played.stdout + played.stderr
    assert re.search(rf"^Diagram: {drawing}, 0\.000 to \d+\.\d+ s$", played.stdout, re.MULTILINE)
    header, records = read_trace(trace)
    assert header.servers == ("n1", "n2", "n3")
    assert header.metadata == {"scenario": "shell", "seed": 3, "pace": "fast"}
    around = [type(record).__name__ for record in records if isinstance(record, surroundings.Surrounding)]
    assert around == ["LinksCut", "LinksHealed", "Crashed"]
    run = Run(read_trace(trace))
    assert any(journey.received is not None for journey in run.journeys)
    assert [journey for journey in run.journeys if journey.sent is None] == []
    arrows = groups(ElementTree.parse(drawing).getroot(), "message")
    assert len(arrows) == len(run.journeys)


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (("processes", "--trace", "run.trace"), "processes cannot be traced: its servers are other processes"),
        (("--trace", "no/such/file"), "cannot write no/such/file: No such file or directory"),
        (("--trace", "run.trace", "--diagram", "."), "cannot write .: Is a directory"),
        (("--trace", "run", "--diagram", "./run"), "--trace and --diagram need different files"),
    ],
)
def test_the_demo_refuses_files_that_it_cannot_write_before_it_begins(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    complaint: str,
) -> None:
    """docs/demo.md: exit code 2, and files that exist stay as they are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.trace").write_text("of yesterday")
    with pytest.raises(SystemExit, match="2"):
        demo_main([*arguments, "--pace", "fast"])
    output, errors = capsys.readouterr()
    assert (output, errors.splitlines()[-1]) == ("", f"run_demo.py: error: {complaint}")
    assert (tmp_path / "run.trace").read_text() == "of yesterday"
