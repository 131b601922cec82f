"""`run_demo.py figure-8` and the like as a person starts them, and docs/figures.md, which says what they show."""

from __future__ import annotations

import dis
import io
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any

import pytest
from beforehand import Beforehand
from played_figures import all_stops, played
from processes import ROOT, heed_ctrl_c, send_when_it_waits
from terminals import Terminal

from raft_threads import election, kv, replication
from raft_threads.companion.commands import COMPANION
from raft_threads.companion.figures.command import FIGURES, present
from raft_threads.companion.figures.page import Page
from raft_threads.companion.figures.scene import Stop
from raft_threads.companion.figures.words import without_the_no_op
from raft_threads.companion.sheet import MARGIN, WIDTH
from raft_threads.companion.source import first_line_of_body
from raft_threads.demo import cli
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role

PAGE = (ROOT / "docs" / "figures.md").read_text()
PROGRAM = [sys.executable, str(ROOT / "run_demo.py")]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_same_each_time_and_plain_text(
    name: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Issue 6: `run_demo.py figure-1` and so on. A seed decides all that is left to chance; nothing is logged."""
    assert cli.main([name]) == 0
    printed = capsys.readouterr().out
    for moment in played(name):
        picture = "".join(f"{MARGIN}{line}".rstrip() + "\n" for line in moment.picture)
        assert f"\n-- {moment.title}\n\n{picture}\n" in printed
    assert caplog.messages == []
    assert printed.startswith(f"== Figure {name[7:]}  [") and "\x1b" not in printed
    assert max(len(line) for line in printed.splitlines() if not line.startswith("      b ")) <= WIDTH


def test_what_a_figure_leaves_out_is_said_on_the_screen() -> None:
    """Fig. 6, 7, 8 and 12 do without the no-op (§8), Fig. 10 without C_old,new (§6)."""
    said = {}
    for name, figure in FIGURES.items():
        out = io.StringIO()
        Page(out, io.StringIO(), step=False).open(name, figure)
        said[name] = " ".join(out.getvalue().split())
    without_no_op = {name for name, text in said.items() if "no-op, with which our leaders open their terms" in text}
    assert without_no_op == {"figure-6", "figure-7", "figure-8", "figure-12"}
    assert {name for name, figure in FIGURES.items() if figure.apart} == {*without_no_op, "figure-10"}
    assert "servers append C_new where they should append C_old,new" in said["figure-10"]


class Keys(io.StringIO):
    """A reader's keys: notes after how many scenes they were waited for. Where the text ends there are no more."""

    def __init__(self, text: str, out: io.StringIO) -> None:
        super().__init__(text)
        self.scenes_shown: list[int] = []
        self._out = out

    def readline(self, *size: Any) -> Any:
        """Note how much has been printed so far."""
        self.scenes_shown.append(self._out.getvalue().count("\n-- "))
        return super().readline(*size)


@pytest.mark.parametrize("keys, waits", [("\n\n\n\n", [1, 2, 3]), ("\n", [1, 2]), ("", [1])], ids=["all", "one", "no"])
def test_with_step_it_waits_after_each_scene_until_the_keys_end(keys: str, waits: list[int]) -> None:
    """Issue 6: a key between steps; on a pipe, EOF goes on."""
    out = io.StringIO()
    reader = Keys(keys, out)
    present("figure-9", FIGURES["figure-9"], Page(out, reader, step=True))
    assert reader.scenes_shown == waits
    assert out.getvalue().count("\n-- ") == 3 and "Read: " in out.getvalue()


def test_without_step_it_waits_for_nothing() -> None:
    """A figure is played to its end."""
    out = io.StringIO()
    reader = Keys("", out)
    present("figure-9", FIGURES["figure-9"], Page(out, reader, step=False))
    assert reader.scenes_shown == []


def interrupted_at_a_key() -> tuple[int, str]:
    """Press Ctrl-C where a figure waits for a key; return the exit code, and what is said on standard error."""
    command, pipe = [*PROGRAM, "figure-8", "--step"], subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, preexec_fn=heed_ctrl_c
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        while not process.stdout.readline().startswith("      b raft_threads/"):
            pass  # it waits for a key then
        send_when_it_waits(process, signal.SIGINT)
        return process.wait(20), process.stderr.read()


def piped_to_head() -> tuple[str, str]:
    """Return what comes through, and what is said on standard error."""
    first_line_only = f"{sys.executable} {PROGRAM[1]} figure-8 | head -1"
    done = subprocess.run(["bash", "-c", first_line_only], capture_output=True, text=True, timeout=20)
    return done.stdout, done.stderr


@pytest.mark.beforehand(interrupted_at_a_key, waits=True)
@pytest.mark.beforehand(piped_to_head, waits=True)
def test_a_reader_who_has_seen_enough_gets_no_traceback(beforehand: Beforehand) -> None:
    """`run_demo.py figure-8 | head -1`, and Ctrl-C at a key: exit code 130, as with the scenarios."""
    assert beforehand(interrupted_at_a_key) == (130, "")
    assert beforehand(piped_to_head) == ("== Figure 8  [§5.4.2]\n", "")


@pytest.mark.parametrize(
    "arguments, error",
    [
        (["figure-8", "--stop"], "run_demo.py figure-8: error: unrecognized arguments: --stop"),
        (["--seed", "2", "figure-8"], "run_demo.py: error: figure-8 stands first, and what it takes after it: see "),
        (["figure-2"], "run_demo.py: error: argument SCENARIO: invalid choice: 'figure-2'"),
    ],
)
def test_a_wrong_argument_gets_one_clear_error(
    arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(error)


# Breakpoints


def test_a_breakpoint_is_at_the_first_statement_of_its_function() -> None:
    """At the line of the `def`, pdb would stop only when the module is loaded."""
    lines = (ROOT / "raft_threads" / "election.py").read_text().splitlines()
    stop = Stop(election.begin_election, "state.id == 'S1'").command()
    line, condition = re.fullmatch(r"b raft_threads/election\.py:(\d+), (.*)", stop).groups()  # type: ignore[union-attr]
    assert (lines[int(line) - 1].strip(), condition) == ("state.current_term += 1", "state.id == 'S1'")
    line = Stop(election.grants_vote).command().rpartition(":")[2]
    assert lines[int(line) - 1].strip() == "not is_stale(state, request.term)", "`return (` comes last"


@pytest.mark.parametrize("name", FIGURES)
def test_no_inner_function_shares_the_line_of_a_breakpoint(name: str) -> None:
    """In a generator on that line, which lacks the names in its condition, pdb would stop whenever it comes by."""
    for stop in all_stops(name):
        function: Any = stop.function
        line = first_line_of_body(function)
        for code in codes_inside(function.__code__):
            assert line not in {number for _, number in dis.findlinestarts(code)}, f"{stop.command()}: {code.co_name}"


def codes_inside(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of all generators, lambdas and the like inside a function."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from codes_inside(inner)


def test_a_figure_is_played_also_when_pdb_has_read_its_commands_from_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python3 -m pdb run_demo.py figure-9 <commands`: no encoding can be set there any more."""
    keys = io.TextIOWrapper(io.BytesIO(b"c\nc\n"))
    keys.readline()
    monkeypatch.setattr(sys, "stdin", keys)
    assert cli.main(["figure-9"]) == 0
    assert capsys.readouterr().out.startswith("== Figure 9")


def test_what_a_figure_prints_can_be_typed_at_pdbs_prompt() -> None:
    """docs/figures.md: all servers stand still there."""
    stop = Stop(replication.advance_commit_index, "index_stored_on_majority(state) == 7").command()
    with Terminal([sys.executable, "-m", "pdb", "run_demo.py", "figure-6"]) as terminal:
        terminal.prompt()
        assert "Breakpoint 1 at" in terminal.ask(stop)
        assert re.search(r"S1/peer-S\d at .* s\n.*replication\.py\(\d+\)advance_commit_index\(\)", terminal.ask("c"))
        assert terminal.ask("p state.id, state.commit_index") == "('S1', 6)\n"
        assert "S1 leader, term 3" in terminal.ask("cluster.show()")


# docs/figures.md


def test_the_page_names_every_figure_that_there_is() -> None:
    """docs/figures.md: a row for each command."""
    assert re.findall(r"^\| `python3 run_demo\.py (figure-\d+)` \|", PAGE, re.MULTILINE) == [*FIGURES, "figure-16"]
    assert all(name in COMPANION for name in FIGURES)


def test_the_pages_sample_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/figures.md: (c) of Fig. 8, word for word."""
    (name, sample), = re.findall(r"^\$ python3 run_demo\.py (figure-\d+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    cli.main([name])
    assert sample in capsys.readouterr().out


def test_the_pages_breakpoint_is_one_that_the_figure_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/figures.md; only the line is left open, which any change of the code moves."""
    (name, stop), = re.findall(r"^\$ python3 -m pdb run_demo\.py (figure-\d+)\n\(Pdb\) (.*)$", PAGE, re.MULTILINE)
    cli.main([name])
    assert stop in re.sub(r"(?<=\.py:)\d+", "LINE", capsys.readouterr().out)


# What the figures' plays rest on


def test_a_leader_sends_heartbeats_at_once_also_if_it_has_nothing_to_replicate() -> None:
    """§5.2, Fig. 2, "Leaders": upon election. Without §8's no-op, nothing else wakes the threads that send them."""
    with without_the_no_op(), SimulatedCluster(["n1", "n2", "n3", "n4", "n5"]) as cluster:
        cluster.elect("n1")
        cluster.run_for(0.010)
        assert [cluster.state(server).leader_id for server in cluster.servers] == ["n1"] * 5


def test_a_cluster_runs_for_all_of_its_time_also_if_an_answer_comes_that_nobody_waits_for() -> None:
    """docs/simulation.md: `run_for`, after `propose`, whose answer comes some milliseconds later."""
    with SimulatedCluster() as cluster:
        cluster.elect("n1")
        cluster.propose(kv.put_command("x", "1"), "n1")
        before = cluster.now
        cluster.run_for(0.5)
        assert cluster.now - before == pytest.approx(0.5)
        assert cluster.state("n1").role is Role.LEADER
