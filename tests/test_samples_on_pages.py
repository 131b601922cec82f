"""What the README and docs/ show is what one gets: lists, pictures, answers, a scenario, the paper's figures."""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections.abc import Iterator
from io import BufferedReader, BytesIO

import pytest
from pages import ROOT, Page

from raft_threads import __main__ as raft_threads
from raft_threads import kv, membership, peer_thread, rpc_server, sessions, snapshot_transfer, wire
from raft_threads.bench.arguments import ONCE, USUAL
from raft_threads.companion.break_command import LEGEND
from raft_threads.demo.cli import SCENARIOS
from raft_threads.entry_format import MAX_COMMAND_BYTES
from raft_threads.events import CommitAdvanced
from raft_threads.figure_16.lines import LINES, Line
from raft_threads.log import NO_OP, LogEntry
from raft_threads.log_drawing import Row, draw_rows
from raft_threads.options import Options
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.timing import Timing

PACKAGE = ROOT / "raft_threads"
README = Page(ROOT / "README.md")


def page(name: str) -> Page:
    """Return a page of docs/."""
    return Page(ROOT / "docs" / name)


def box_with(text: str, of: Page) -> str:
    """Return the one box of a page that has `text` in it."""
    (box,) = (str(box) for _, box in of.boxes if text in box)
    return box


# README.md


def modules_named_in(lines: str) -> set[str]:
    """Return the modules and folders of the package that stand in a part of the README's map."""
    return set(re.findall(r"\b([a-z_0-9]+)(?:\.py\b|/)", lines)) - {"run_demo"}


def imported_by(name: str) -> Iterator[str]:
    """Return what a module or folder of the package imports from the package."""
    module = PACKAGE / f"{name}.py"
    for path in [module] if module.exists() else (PACKAGE / name).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "raft_threads":
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("raft_threads."):
                yield node.module.split(".")[1]


def test_no_layer_of_the_readmes_map_imports_from_one_above_it() -> None:
    """The rules, the shell, and what uses them; and all that stands there exists."""
    layers = [modules_named_in(part) for part in box_with("the rules: no threads", README).split(" ────")]
    assert len(layers) == 3 and {"node"} < layers[1] and {"election"} < layers[2]
    above: set[str] = set()
    for layer in layers:
        for name in layer:
            assert (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir(), name
            assert not above & set(imported_by(name)), name
        above |= layer


def test_the_readme_names_every_command_and_every_exit_code() -> None:
    """As `python3 -m raft_threads --help` does."""
    parser = raft_threads.build_parser()
    (commands,) = (each.choices for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    prose = " ".join(README.prose.split())
    (listed,) = re.findall(r"((?:`[a-z0-9-]+`(?:,| and)? )+)each explain themselves", prose)
    assert re.findall(r"`([a-z0-9-]+)`", listed) == list(commands)
    assert parser.epilog is not None and parser.epilog in prose


def test_the_debugger_offers_every_scenario() -> None:
    """`.vscode/launch.json`, in the order of `run_demo.py --list`."""
    launch = json.loads((ROOT / ".vscode" / "launch.json").read_text(encoding="utf-8"))
    (scenario,) = (each for each in launch["inputs"] if each["id"] == "scenario")
    assert scenario["options"] == list(SCENARIOS)


# Pictures of logs


def test_the_picture_of_logs_is_what_is_drawn_of_these_servers() -> None:
    """docs/demo.md: a deposed leader that does not know it, and a follower, beside the leader of term 2."""
    no_op, later = LogEntry(1, 1, NO_OP), LogEntry(4, 2, NO_OP)
    x, y, lost, new = (
        LogEntry(index, term, command=kv.put_command(key, value))
        for index, term, key, value in ((2, 1, "x", "1"), (3, 1, "y", "2"), (4, 1, "lost", "1"), (5, 2, "x", "3"))
    )
    picture = draw_rows([
        Row("n1 leader, term 2", [no_op, x, y, later, new], 5),
        Row("n2 leader, term 1", [no_op, x, y, lost], 3),
        Row("n3 follower, term 2", [no_op, x, y, later, new], 5),
    ])
    *shown, legend = box_with("n2 leader, term 1", page("demo.md")).splitlines()
    assert [line.strip() for line in shown] == picture
    assert legend.strip() == LEGEND


# docs/wire-format.md


def test_each_command_of_the_store_gets_one_of_the_answers_on_the_page() -> None:
    """Each answer is one to this command, whatever the store held before: one of a few values, or nothing."""
    rows = re.findall(r'^\| `(\{"op":.*?\})` \| (.*) \|$', page("wire-format.md").text, re.MULTILINE)
    assert len(rows) == 6
    for command, answers in rows:
        given = set()
        for before in ({}, {"x": "1"}, {"x": "3"}):
            store = kv.KeyValueStore()
            store.items.update(before)
            given.add(store.apply(command.encode()).decode())
        assert given.issuperset(re.findall(r"`(\{.*?\})`", answers)), command


def test_what_is_typed_and_answered_by_hand_are_messages() -> None:
    """Both sides of the sample, up to the last line."""
    sample = box_with("nc -N", page("wire-format.md"))
    typed, answered = sample.split(" 3300\n")
    sent = stream_of("\n".join(re.findall(r"'(\{.*?\})'", typed)))
    assert [type(wire.read_message(sent)).__name__ for _ in range(3)] == ["Hello", "StatusRequest", "Command"]
    received = stream_of(answered.strip())
    answers = [type(wire.read_message(received)).__name__ for _ in range(3)]
    assert answers == ["Welcome", "ServerStatus", "CommandResult"]
    assert sent.read() == received.read() == b""


def stream_of(lines: str) -> BufferedReader:
    """Return lines as they come from a socket."""
    return BufferedReader(BytesIO(lines.encode() + b"\n"))


# Limits

KIB, MIB = 1024, 1024 * 1024
LIMITS = [
    ("wire-format.md", "64 KiB for the JSON line", wire.MAX_HEADER_BYTES == 64 * KIB),
    ("wire-format.md", "2 MiB for a command or 3 times that for its escaped line", MAX_COMMAND_BYTES == 2 * MIB),
    ("wire-format.md", "10,000 lines and about 12 MiB a message", wire.MAX_LINES == 10_000),
    ("wire-format.md", "10,000 lines and about 12 MiB a message", round(wire.MAX_FRAME_BYTES / MIB) == 12),
    ("wire-format.md", "at most 4,096 entries and 1 MiB of them", peer_thread.MAX_ENTRIES_PER_MESSAGE == 4096),
    ("wire-format.md", "a server sends 256 KiB at a time", snapshot_transfer.MAX_CHUNK_BYTES == 256 * KIB),
    ("wire-format.md", "The first message, within 10 seconds", rpc_server.HELLO_TIMEOUT == 10),
    ("wire-format.md", "10,000 sessions at most", sessions.MAX_SESSIONS == 10_000),
    ("wire-format.md", "Up to 1000 commands", sessions.MAX_REPLIES_PER_SESSION == 1000),
    ("choices.md", "up to 4096 entries or 1 MiB", peer_thread.MAX_BYTES_PER_MESSAGE == MIB),
    ("choices.md", "forget the least recently used of more than 10,000 sessions", sessions.MAX_SESSIONS == 10_000),
    ("choices.md", "shorter than an election timeout, ten at most", membership.MAX_ROUNDS == 10),
    ("performance.md", "compacted at 64 MiB", Options().snapshot_threshold == 64 * MIB),
    ("companion/5.6-timing.md", "half a second at most (`rpc_timeout`)", Timing(1, 2).rpc_timeout == 0.5),
]


@pytest.mark.parametrize("name, says, is_so", LIMITS)
def test_limits_on_the_pages_are_those_of_the_code(name: str, says: str, is_so: bool) -> None:
    """Where a number is written out in words."""
    assert says in " ".join(page(name).prose.split()) and is_so


# docs/simulation.md


def test_the_scenario_runs_and_its_words_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/simulation.md: what it prints, and the words that are listed below it."""
    (scenario,) = page("simulation.md").answers()
    exec(scenario.code, {"SimulatedCluster": SimulatedCluster, "CommitAdvanced": CommitAdvanced})
    assert capsys.readouterr().out == scenario.output
    (words,) = re.findall(r"((?:`\w+`(?:,| and)?\s+)+)are the\s+other words", page("simulation.md").text)
    assert all(callable(getattr(SimulatedCluster, word)) for word in re.findall(r"\w+", words) if word != "and")


# Measurements


@pytest.mark.parametrize("line", LINES, ids=lambda line: str(line.name))
def test_the_papers_figures_are_those_that_the_command_prints(line: Line) -> None:
    """docs/figure-16.md: median, the 99th percentile, and the worst of each line."""
    (row,) = re.findall(rf"^\| {line.name} \| .* \|$", page("figure-16.md").text, re.MULTILINE)
    cells = [re.sub(r"[*,]| \(.*\)", "", cell.strip()) for cell in row.split("|")[1:-1]]
    assert [float(cell) for cell in cells[2:7:2]] == [line.paper.median, line.paper.p99, line.paper.worst]


def test_the_papers_figures_beside_quicker_answers_are_the_same() -> None:
    """docs/figure-16.md: median, mean and the 99th percentile, below ours with `--answer 5-9`."""
    text = page("figure-16.md").text
    (heading,) = re.findall(r"^\| \| (150-155 .*) \|$", text, re.MULTILINE)
    papers = {line.name: line.paper for line in LINES}
    rows = re.findall(r"^\| (median|mean|p99) \|.*\n\| the paper's \| (.*) \|$", text, re.MULTILINE)
    assert [name for name, _ in rows] == ["median", "mean", "p99"]
    for name, cells in rows:
        stated = [float(cell.replace(",", "")) for cell in cells.split(" | ")]
        assert stated == [round(getattr(papers[line], name), 1) for line in heading.split(" | ")]


def test_the_benchmarks_parts_are_those_of_the_page() -> None:
    """docs/performance.md."""
    parts = re.findall(r"^\| `([a-z-]+)` \|", page("performance.md").text, re.MULTILINE)
    assert sorted(parts) == sorted([*USUAL, *ONCE])
