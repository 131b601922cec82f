"""The rules are plain functions over plain state; the node takes time, threads and chance from outside."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "raft_threads"
RULES = (
    ("state", "log", "entry_format", "configuration", "messages", "election", "replication", "timing")
    + ("membership", "compaction", "sessions", "state_machine", "reads", "pre_vote", "transfer", "check_quorum")
)
CHECKS = ("invariants", "watched_server", "server_invariants", "known_entries")
NODE = ("node", "monitor", "peer_thread", "proposals", "disk", "narrator", "events")
TRACES = ("surroundings", "trace", "trace_fields", "journeys")
DIAGRAMS = tuple(f"diagrams/{name}" for name in ("run", "space_time", "layout", "words", "style", "svg", "text"))
WORLD = {"threading", "socket", "socketserver", "time", "random", "os", "queue", "subprocess", "select", "asyncio"}


def imports_of(module: str) -> set[str]:
    """Return the names of the modules that `module` imports, `raft_threads.x` as `raft_threads.x`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "raft_threads":
            names |= {f"raft_threads.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("module", RULES)
def test_a_rule_module_imports_nothing_of_the_world(module: str) -> None:
    """No threads, no sockets, no files, no clock, no dice."""
    assert not {name.split(".")[0] for name in imports_of(module)} & WORLD


@pytest.mark.parametrize("module", RULES)
def test_a_rule_module_imports_only_rule_modules(module: str) -> None:
    """An arrow only ever points down."""
    ours = {name for name in imports_of(module) if name.startswith("raft_threads")}
    assert ours <= {f"raft_threads.{rule}" for rule in RULES}


@pytest.mark.parametrize("module", CHECKS)
def test_the_checks_run_in_whatever_thread_tells_of_an_event(module: str) -> None:
    """Fig. 3 is checked in a simulator too, where only the simulated threads run."""
    assert not {name.split(".")[0] for name in imports_of(module)} & WORLD


@pytest.mark.parametrize("module", [*NODE, *TRACES, *DIAGRAMS])
def test_the_node_takes_threads_time_and_chance_from_its_runtime(module: str) -> None:
    """So that a simulator can run the very same node; and trace and draw its runs."""
    assert not imports_of(module) & {"threading", "time", "random", "queue", "concurrent.futures", "socket"}
