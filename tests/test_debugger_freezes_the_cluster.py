"""A breakpoint in any thread of a simulation stops all servers and the clock, and looking around changes nothing.

pdb runs as a person runs it, on a terminal. All terminals are opened at once, and stay at their prompts together.
"""

from __future__ import annotations

import re
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import debugged_election
import pytest
from bare_simulation import simulation
from beforehand import Beforehand
from processes import ROOT
from raw_sockets import PATIENCE
from terminals import Terminal

from raft_threads.simulation.debuggers import WouldWait

# How long nothing may happen at an open prompt (real seconds): election timeouts are a tenth of it.
SILENCE = 2.5
SCRIPT = str(ROOT / "tests" / "debugged_election.py")
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
TEST_FILE = """
import debugged_election

def test_a_breakpoint_in_a_server_changes_nothing():
    undisturbed = debugged_election.run()
    assert debugged_election.run("breakpoint") == undisturbed
"""

TRACED_FILE = """
import pytest
from raft_threads.simulation.cluster import SimulatedCluster

@pytest.fixture
def cluster():
    with SimulatedCluster() as cluster:
        yield cluster

def test_an_election(cluster):
    cluster.elect("n1")
"""


def line_of(file: str, text: str) -> int:
    """Return the number of the first line of a module that holds `text`."""
    lines = (ROOT / "raft_threads" / file).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


FIRST_LINE = f"raft_threads/election.py:{line_of('election.py', 'state.current_term += 1')}"


def freeze() -> tuple[dict[str, Terminal], ExitStack]:
    """Return programs whose election timer of n1 has been at a prompt for some seconds, in which they printed nothing;
    and what ends them.
    """
    with ExitStack() as cleanup:
        path = Path(cleanup.enter_context(TemporaryDirectory())) / "test_with_a_breakpoint.py"
        path.write_text(TEST_FILE)
        under_pytest = [*PYTEST, "--rootdir", str(path.parent), str(path)]
        commands = {
            "breakpoint()": [sys.executable, SCRIPT, "breakpoint"],
            "pdb.set_trace()": [sys.executable, SCRIPT, "set_trace"],
            "pdb.Pdb().set_trace()": [sys.executable, SCRIPT, "bare"],
            "pdb.post_mortem()": [sys.executable, SCRIPT, "post_mortem"],
            "breakpoint() in main": [sys.executable, SCRIPT, "breakpoint", "main"],
            "breakpoint() in an observer": [sys.executable, SCRIPT, "breakpoint", "observer"],
            "pytest": under_pytest,
            "pytest -s": [*under_pytest, "-s"],
            "python -m pdb": [sys.executable, "-m", "pdb", SCRIPT],
        }
        terminals = {name: cleanup.enter_context(Terminal(command)) for name, command in commands.items()}
        terminals["python -m pdb"].prompt()
        terminals["python -m pdb"].ask(f"b {FIRST_LINE}")
        terminals["python -m pdb"].type("c")
        for terminal in terminals.values():
            terminal.prompt()
        spoke = select.select(list(terminals.values()), [], [], SILENCE)[0]
        assert not spoke, [name for name, terminal in terminals.items() if terminal in spoke]
        return terminals, cleanup.pop_all()


@pytest.fixture(scope="module")
def frozen(beforehand: Beforehand) -> Iterator[dict[str, Terminal]]:
    """The programs that are at their prompts together."""
    terminals, cleanup = beforehand(freeze)
    with cleanup:
        yield terminals


def leave(terminal: Terminal, way: str) -> None:
    """Let the program run to its end, and check that its fingerprint is that of a run that nobody looked at."""
    terminal.type("c")
    if way == "python -m pdb":
        terminal.prompt()
        terminal.type("q")
    assert terminal.end() == 0, terminal.text
    if way.startswith("pytest"):
        assert "1 passed" in terminal.text
    else:
        assert f"fingerprint {debugged_election.run()}\n" in terminal.text


@pytest.mark.beforehand(freeze, waits=True)
@pytest.mark.parametrize("way", ["breakpoint()", "pdb.set_trace()", "pytest", "pytest -s", "python -m pdb"])
def test_looking_around_and_stepping_in_a_servers_thread_changes_nothing(frozen: dict[str, Terminal], way: str) -> None:
    """Expressions that call into servers, also into the one whose lock is held; `where`, `next` and `step`."""
    terminal = frozen[way]
    assert "n1/election-timer at 0.000000 s" in terminal.text
    assert "role='follower', term=0" in terminal.ask("cluster.node('n3').status()")
    assert "role='follower', term=0" in terminal.ask("cluster.node('n1').status()")
    assert "n1 follower, term 0" in terminal.ask("cluster.show()")
    assert "n3 follower, term 0" in terminal.ask("print(cluster.picture())")
    assert "GuardedState" not in terminal.ask("p cluster.state('n1')")
    first = re.findall(r"^[> ] (\S+)\(\d+\)(\w+)", terminal.ask("where"), re.MULTILINE)
    assert [function for _, function in first][:4] == ["_run", "main", "_time_is_up", "_start_election"]
    for command in ("n", "n", "s", "n", "n", "s"):
        assert "/simulation/" not in terminal.ask(command)
    assert "/simulation/" not in terminal.ask("where")
    leave(terminal, way)


@pytest.mark.beforehand(freeze, waits=True)
@pytest.mark.parametrize(
    "way", ["pdb.Pdb().set_trace()", "pdb.post_mortem()", "breakpoint() in main", "breakpoint() in an observer"]
)
def test_every_other_way_to_a_prompt_changes_nothing_either(frozen: dict[str, Terminal], way: str) -> None:
    """At a prompt after a failure, this thread has no trace function that would tell of a debugger."""
    terminal = frozen[way]
    assert "ServerStatus(id='n3'" in terminal.ask("cluster.node('n3').status()")
    assert "n1 " in terminal.ask("cluster.show()")
    assert "WouldWait" in terminal.ask("cluster.run_for(1)")
    leave(terminal, way)


def test_what_would_have_to_wait_is_refused_at_a_prompt_and_has_no_effect() -> None:
    """Nobody else runs: whoever waited would wait for ever."""
    with Terminal([sys.executable, SCRIPT, "breakpoint"]) as terminal:
        terminal.prompt()
        for command in (
            "cluster.put('x', '2', via='n2')",
            "cluster.crash('n3')",
            "cluster.run_until(lambda: False, 'never')",
            "cluster.node('n2').wait_until_stopping()",
            "cluster.node('n2')._monitor.election_due.wait(1)",
            "cluster.node('n2')._threads[0].join()",
        ):
            assert "WouldWait" in terminal.ask(command), terminal.text
        leave(terminal, "breakpoint()")


@pytest.mark.parametrize("command", ["n", "s"])
def test_a_step_over_a_line_that_waits_comes_back_to_this_thread(command: str) -> None:
    """Others run meanwhile, time goes by, and the prompt says so."""
    with Terminal([sys.executable, "-m", "pdb", SCRIPT]) as terminal:
        terminal.prompt()
        terminal.ask(f"b raft_threads/peer_thread.py:{line_of('peer_thread.py', 'reply = self._transport.call(')}")
        terminal.type("c")
        stopped = re.search(r"^(n1/peer-n\d) at 0.000000 s$", terminal.prompt(), re.MULTILINE)
        assert stopped
        assert terminal.ask("p self._state.current_term") == "1\n", "without the lock, which this thread does not hold"
        assert "on its way" in terminal.ask("cluster.show()")
        # One that is never come to: with breakpoints left, pdb watches all threads.
        terminal.ask(f"b raft_threads/disk.py:{line_of('disk.py', 'self._failure = error')}")
        terminal.ask("cl 1")
        answer = terminal.ask(command)
        while " at " not in answer:  # `step` first leads into what is called for the arguments
            answer = terminal.ask(command)
        assert f"{stopped.group(1)} at 0.002000 s" in answer, "a message takes a millisecond"
        if sys.version_info >= (3, 10):  # older ones do not come by the end of a `with` again
            assert "with monitor.unlocked():" in answer
        while "_answered(request, reply)" not in answer:  # `step` first leads through what takes the lock again
            answer = terminal.ask(command)
            assert "scheduler.py" not in answer and "primitives.py" not in answer
        leave(terminal, "python -m pdb")


def test_steps_in_main_go_from_line_to_line_of_the_script() -> None:
    """`step` into a word of scenarios, `next` over one: all servers run meanwhile."""
    with Terminal([sys.executable, SCRIPT, "breakpoint", "main"]) as terminal:
        terminal.prompt()
        while "-> cluster.put(" not in terminal.text:  # the prompt opens a line earlier since Python 3.13
            terminal.ask("n")
        assert re.search(r"^main at 0.0\d+ s\n.*debugged_election.py.*\n-> cluster.run_for\(1\)", terminal.ask("n"))
        assert re.search(r"cluster.py\(\d+\)run_for\(\)", terminal.ask("s"))
        leave(terminal, "breakpoint()")


def test_pytest_stops_at_the_beginning_of_a_test_whose_cluster_is_there_already(tmp_path: Path) -> None:
    """`pytest --trace`: its first step is asked for by pytest itself."""
    path = tmp_path / "test_to_be_traced.py"
    path.write_text(TRACED_FILE)
    with Terminal([*PYTEST, "--trace", "--rootdir", str(tmp_path), str(path)]) as terminal:
        assert re.search(r"main at 0.000000 s\n.*\n-> cluster.elect", terminal.prompt())
        terminal.ask(f"b {FIRST_LINE}")
        assert "n1/election-timer at 0.000000 s" in terminal.ask("c")
        leave(terminal, "pytest")


def test_next_at_the_end_of_a_function_goes_back_to_its_caller() -> None:
    """Also where no breakpoint was: until Python 3.13, pdb by itself goes on to some other function."""
    with Terminal([sys.executable, "-m", "pdb", SCRIPT]) as terminal:
        terminal.prompt()
        terminal.ask(f"b raft_threads/election.py:{line_of('election.py', 'state.votes = {state.id: True}')}")
        assert "n1/election-timer at" in terminal.ask("c")
        for _ in range(2):
            assert "begin_election()" in terminal.ask("n")
        assert "--Return--" in terminal.ask("n")
        assert f"{SCRIPT}(" in terminal.ask("n")
        leave(terminal, "python -m pdb")


def test_what_is_changed_at_a_prompt_is_no_step_and_lets_nobody_else_run() -> None:
    """What it does to the servers, they do when they go on."""
    with Terminal([sys.executable, SCRIPT, "breakpoint"]) as terminal:
        terminal.prompt()
        looking = "p cluster.scheduler.steps, cluster.scheduler.current, cluster.state('n2').current_term"
        before = terminal.ask(looking)
        for _ in range(200):
            terminal.ask("cluster.time_out('n2')")
        assert terminal.ask(looking) == before
        terminal.ask("b raft_threads/peer_thread.py:%d" % line_of("peer_thread.py", "self._answered(request, reply)"))
        assert re.search("^n2/peer-n. at 0.002000 s", terminal.ask("c") + terminal.ask("c"), re.MULTILINE)


def test_a_breakpoint_that_is_set_in_one_thread_holds_in_all() -> None:
    """Also in loops that run already: pdb knows of the thread it was called in only."""
    receipt = f"raft_threads/request_handlers.py:{line_of('request_handlers.py', 'reply = election.handle_request')}"
    loop = f"raft_threads/peer_thread.py:{line_of('peer_thread.py', 'request = self._next_request()')}"
    with Terminal([sys.executable, SCRIPT, "breakpoint"]) as terminal:
        terminal.prompt()
        # A condition is judged in the thread that comes by, and must not count as a step of it either.
        terminal.ask(f"b {receipt}, cluster.node('n3').status().role == 'follower'")
        terminal.ask(f"b {loop}")
        assert re.search(r"^n1/peer-n[23] at 0.000000 s$", terminal.ask("c"), re.MULTILINE)
        terminal.ask("cl 2")
        stops = [terminal.ask("c"), terminal.ask("c")]
        assert sorted(re.findall(r"^(n\d/rpc-from-n1) at", "".join(stops), re.MULTILINE)) == [
            "n2/rpc-from-n1",
            "n3/rpc-from-n1",
        ]
        leave(terminal, "breakpoint()")


def test_quitting_at_a_prompt_ends_the_program_at_once() -> None:
    """All threads unwind, whichever of them was asked to quit."""
    with Terminal([sys.executable, SCRIPT, "breakpoint"]) as terminal:
        terminal.prompt()
        began = time.monotonic()
        terminal.type("q")
        assert terminal.end() == 1
        assert time.monotonic() - began < PATIENCE / 2
        assert "BdbQuit" in terminal.text


def test_a_debugger_that_is_left_in_a_servers_own_thread_leaves_no_traceback() -> None:
    """README.md: `python3 -m pdb run_demo.py figure-4`, and q at the first stop."""
    with Terminal([sys.executable, "-m", "pdb", "run_demo.py", "figure-4"]) as terminal:
        terminal.prompt()
        terminal.ask("from raft_threads import election")
        terminal.ask("b election.begin_election")
        assert "S3/election-timer at" in terminal.ask("c")
        terminal.type("q")
        assert terminal.end() == 0
        assert "Traceback" not in terminal.text


def test_ctrl_c_at_a_servers_prompt_leaves_the_prompt_as_it_is() -> None:
    """The signal reaches main, which waits; it goes on waiting, as for a prompt of its own."""
    with Terminal([sys.executable, SCRIPT, "bare"]) as terminal:
        terminal.prompt()
        terminal.send(signal.SIGINT)
        terminal.read_until("Ctrl-C\n")
        assert "n1 follower, term 0" in terminal.ask("cluster.show()")
        leave(terminal, "breakpoint()")


def test_a_time_limit_does_not_end_a_test_at_whose_prompt_somebody_sits(tmp_path: Path) -> None:
    """pytest-timeout does not notice a prompt that pytest has not opened."""
    path = tmp_path / "test_with_a_bare_pdb.py"
    path.write_text(TEST_FILE.replace('"breakpoint"', '"bare"'))
    options = ["-s", "--timeout", str(PATIENCE), "--timeout-method", "signal", "--rootdir", str(tmp_path)]
    with Terminal([*PYTEST, *options, str(path)]) as terminal:
        terminal.prompt()
        terminal.send(signal.SIGALRM)  # time is up
        for _ in ("before the stacks", "after them"):
            terminal.read_until("Timeout +")
        terminal.read_until("\n")
        assert "ServerStatus" in terminal.ask("cluster.node('n3').status()")
        leave(terminal, "pytest")


# VS Code and PyCharm debug with pydevd, which the tests do without: what is known of it are names of its functions


@pytest.mark.parametrize("function", ["do_wait_suspend", "handle_breakpoint_condition"])
def test_who_evaluates_in_pydevd_is_noticed(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may use sys.monitoring instead of a trace function: then only its being there tells that it may be at work."""
    names: dict[str, Any] = {}
    code = f"def {function}(look):\n    return look()"
    exec(compile(code, "/somewhere/pydevd.py", "exec"), names)
    with simulation() as made:
        lock = made.threading.Lock()
        lock.acquire()
        steps = made.scheduler.steps
        monkeypatch.setattr(sys, "gettrace", lambda: None)
        monkeypatch.setitem(sys.modules, "pydevd", ModuleType("pydevd"))
        assert names[function](lock.acquire), "whoever looks goes through"
        with pytest.raises(WouldWait):
            names[function](lambda: made.time.sleep(1))
        assert made.scheduler.steps == steps
        lock.release()
        assert made.scheduler.steps == steps + 1, "the program itself is not taken for a debugger"
