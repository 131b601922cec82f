"""`run_demo.py rule` and `run_demo.py break`, and docs/rules.md: the rule book as a reader sees it."""

from __future__ import annotations

import argparse
import dis
import re
import subprocess
import sys
from pathlib import Path

import pytest

from raft_threads.companion.break_command import announcement
from raft_threads.companion.breaks import BREAKS
from raft_threads.companion.commands import COMPANION
from raft_threads.companion.rule import Rule
from raft_threads.companion.rule_command import sheet
from raft_threads.companion.rules import RULES, resolve
from raft_threads.companion.rules_page import page
from raft_threads.companion.source import place_of
from raft_threads.demo.cli import main
from raft_threads.output_files import refuse_unwritable

ROOT = Path(__file__).resolve().parent.parent


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the demo's command in this process; return what it wrote. It must end with 0."""
    assert main(list(arguments)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that ends with 2, and prints nothing before; return the last line that it wrote as an error."""
    with pytest.raises(SystemExit) as exit:
        main(list(arguments))
    assert exit.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1]


# docs/rules.md


def test_the_page_is_made_of_the_data() -> None:
    """If this fails: python3 -m raft_threads.companion.rules_page > docs/rules.md"""
    assert (ROOT / "docs" / "rules.md").read_text() == page()


# rule


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_is_shown_with_its_code_and_a_breakpoint_in_it(rule: Rule) -> None:
    """The line is one that runs when the function is called; of a class, when an instance is made."""
    lines = sheet(rule)
    place = place_of(rule.function)
    code = (ROOT / place.path).read_text().splitlines()
    assert place.text.splitlines()[0] == code[place.line - 1].strip()
    assert f"   b {place.path}:{place.breakpoint}" in lines
    function = resolve(rule.function)
    if isinstance(function, type):
        function = vars(function).get("__post_init__", vars(function)["__init__"])
    starts = {line for _, line in dis.findlinestarts(getattr(function, "__wrapped__", function).__code__)}
    assert place.breakpoint in starts - {function.__code__.co_firstlineno}


def test_rule_prints_what_it_says_its_function_and_its_tests(capsys: pytest.CaptureFixture[str]) -> None:
    """Capitals do not matter."""
    out = said(capsys, "rule", "f2.leaders.4")
    assert out.startswith("F2.Leaders.4 ") and "Why: " in out
    assert "   def advance_commit_index(state: State) -> None:\n" in out
    assert "state.log.term_at(n) == state.current_term" in out
    assert re.search(r"^   .* --trace tests/.*\n   b raft_threads/replication.py:\d+\n   c$", out, re.MULTILINE)
    assert all(f"   {test}\n" in out for test in RULES["F2.Leaders.4"].tests)
    assert "python3 run_demo.py break F2.Leaders.4" in out


@pytest.mark.parametrize("arguments", [["rule"], ["rule", "--list"]], ids=" ".join)
def test_rule_without_an_id_lists_them_all(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each; --list as with `break`."""
    out = said(capsys, *arguments)
    assert [line.split()[0] for line in out.splitlines()] == list(RULES)


@pytest.mark.parametrize("command", ["rule", "break"])
def test_an_unknown_rule_is_refused_in_one_line_that_names_those_like_it(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What to type instead: those that begin so, else those that are spelled nearly so; all, if there are too many."""
    assert complaint(capsys, command, "f2.followers").endswith("; did you mean F2.Followers.1, F2.Followers.2?")
    assert complaint(capsys, command, "F2").endswith("there is no rule F2; `run_demo.py rule` lists all of them")
    assert complaint(capsys, command, "F2.Leader.4").endswith("there is no rule F2.Leader.4; did you mean "
                                                             "F2.Leaders.4, F2.Leaders.3, F2.Leaders.2, F2.Leaders.1?")


@pytest.mark.parametrize("command", ["rule --list", "break F2.RequestVote.2 --diagram /dev/null"])
def test_a_reader_who_has_seen_enough_ends_a_command_without_a_word(command: str) -> None:
    """`run_demo.py rule | head -1`, and a pager that is left: no traceback."""
    first_line_only = f"'{sys.executable}' run_demo.py {command} | head -1"
    process = subprocess.run(first_line_only, shell=True, capture_output=True, cwd=ROOT, text=True, timeout=30)
    assert (process.stdout.count("\n"), process.stderr) == (1, "")


# break


def test_break_shows_a_run_that_goes_wrong_and_then_that_it_holds(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What the rule is, what takes its place, the run, the logs at the end, what is lost; and the same run with it."""
    diagram = tmp_path / "run.svg"
    out = said(capsys, "break", "F2.Leaders.4", "--diagram", str(diagram))
    parts = [
        "Why: ",
        "In place of advance_commit_index in raft_threads/replication.py:",
        "def commit_by_counting(state: State) -> None:",
        "Fig. 8, with three servers",
        "  seconds  n1  n2  n3\n",
        "n1 commits 1\n",
        " n3 leads term 4\n",
        "n1 leader, term 3    [1 no-op] (3 no-op)\n",
        "Leader Completeness is lost: n3 leads term 4 without entry 1 of term 1",
        f"Diagram: {diagram}, ",
        "The same with the rule in place:\n   It holds. ",
    ]
    places = [out.find(part) for part in parts]
    assert -1 not in places and places == sorted(places), out
    assert "LOST: the network lost it" in out and " is lost: the network" not in out  # once is enough
    assert "<svg " in diagram.read_text()


def test_break_says_what_a_replacement_calls() -> None:
    """The function that was there, under a name that begins with an underscore; others stand without it."""
    for rule, calls in (("F2.Candidates.1.1", True), ("F2.State.4", True), ("F2.Leaders.4", False)):
        lines = announcement(RULES[rule], BREAKS[rule])
        assert any(line.endswith(" is what was there.)") for line in lines) == calls, rule
    assert "   (_begin_election is what was there.)" in announcement(
        RULES["F2.Candidates.1.1"], BREAKS["F2.Candidates.1.1"]
    )


def test_break_shows_the_end_of_a_run_unless_asked_for_all_of_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What comes before is told, and how to see it."""
    arguments = ("break", "S6.5", "--diagram", str(tmp_path / "run.svg"))
    out = said(capsys, *arguments)
    left_out = re.search(r"^  ... (\d+) lines before; --whole shows them$", out, re.MULTILINE)
    assert left_out
    whole = said(capsys, *arguments, "--whole")
    assert len(whole.splitlines()) == len(out.splitlines()) + int(left_out[1]) - 1
    assert "lines before" not in whole


def test_break_draws_into_the_directory_where_one_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a name that is told."""
    monkeypatch.chdir(tmp_path)
    assert "Diagram: break-F2.Candidates.2.svg, " in said(capsys, "break", "F2.candidates.2")
    assert [path.name for path in tmp_path.iterdir()] == ["break-F2.Candidates.2.svg"]


def test_break_says_why_a_rule_cannot_be_told_from_its_absence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And draws nothing."""
    monkeypatch.chdir(tmp_path)
    out = " ".join(said(capsys, "break", "S8.1").split())
    assert "Nothing is lost that could be shown. The first server tells them who leads" in out
    assert list(tmp_path.iterdir()) == []


def test_break_refuses_a_file_that_cannot_be_written_before_it_plays(capsys: pytest.CaptureFixture[str]) -> None:
    """In one line that says what to do."""
    line = complaint(capsys, "break", "S8.8", "--diagram", "/nowhere/run.svg")
    assert line.endswith("cannot write /nowhere/run.svg: No such file or directory; name another file with --diagram")


def test_whoever_interrupts_break_finds_no_empty_drawing(tmp_path: Path) -> None:
    """Whether it can be written is found out without leaving anything behind; what is there stays."""
    diagram = tmp_path / "run.svg"
    refuse_unwritable(argparse.ArgumentParser(), "--diagram", diagram)
    assert not diagram.exists()
    diagram.write_text("<svg/>")
    refuse_unwritable(argparse.ArgumentParser(), "--diagram", diagram)
    assert diagram.read_text() == "<svg/>"


@pytest.mark.parametrize("arguments", [["break"], ["break", "--list"]], ids=" ".join)
def test_break_lists_what_is_lost_without_each_rule(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each."""
    out = said(capsys, *arguments)
    assert [line.split()[0] for line in out.splitlines()] == list(BREAKS)
    assert re.search(r"^F2\.Leaders\.4 +Leader Completeness +A leader commits", out, re.MULTILINE)


@pytest.mark.soak
@pytest.mark.parametrize("rule", BREAKS)
def test_break_shows_every_rule(rule: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What is lost, the drawing, and that it holds; or why nothing can be shown."""
    diagram, left_out = tmp_path / "run.svg", BREAKS[rule]
    out = " ".join(said(capsys, "break", rule, "--diagram", str(diagram)).split())
    if left_out.schedule is None:
        assert f"Nothing is lost that could be shown. {left_out.untold}" in out and not diagram.exists()
    else:
        assert f"{left_out.loses} is lost: " in out and "with the rule in place: It holds. " in out
        assert "<svg " in diagram.read_text()


# In the demo


def test_the_demo_names_the_commands_among_its_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    """In --list and --help, with what each shows."""
    out = said(capsys, "--list")
    for name in COMPANION:
        assert re.search(rf"^{name} +\S.*", out, re.MULTILINE)
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "rule, break" in " ".join(capsys.readouterr().out.split())
