"""`run_demo.py` as a person starts it: every scenario, its checks, its exit codes, and nothing left behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, TypeVar

import pytest
from beforehand import Beforehand
from pages import Page

from raft_threads.companion.commands import COMPANION
from raft_threads.demo.cli import main

Test = TypeVar("Test", bound=Callable[..., Any])
ROOT = Path(__file__).resolve().parent.parent


def environment(temporary: Path, **more: str) -> dict[str, str]:
    """Return an environment whose temporary directory is `temporary`, so that leftovers are seen."""
    return {**os.environ, "TMPDIR": str(temporary), **more}


def demo(temporary: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the demo to its end, from a directory that is not the project's."""
    return subprocess.run(
        [sys.executable, str(ROOT / "run_demo.py"), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=50,
        cwd=temporary,
        env=environment(temporary),
    )


# What each scenario prints when it has come to its end.
LINES = {
    "split-vote": r"half of the votes elected nobody: yes",
    "replication": r"committed all without n\d: yes",
    "leader-crash": r"n\d has what n\d had committed: yes",
    "partition": r"n\d has committed nothing new: yes",
    "membership": r"(?s)C_old,new was committed before .*: yes.*and nobody voted for it: yes",
    "snapshot": r"n\d got a snapshot of entries 1 to \d+, in [3-9] chunks: yes",
    "exactly-once": r"(?s)without a session, 3 .* count as [45]: yes.*in a session, 3 increments count as 3: yes",
    "pre-vote": r"(?s)n\d leads term \d+ no more: yes.*in which n\d leads: yes",
    "check-quorum": r"(?s)the client was not sent elsewhere: yes.*the client was sent elsewhere: yes",
    "transfer": r"handing over was quicker: yes",
    "processes": r"all \d+ acknowledged writes are still there: yes",
}


class Play(NamedTuple):
    """What is typed: arguments, and lines for the standard input."""

    arguments: tuple[str, ...]
    lines: tuple[str, ...] = ()


ELECTIONS = {seed: Play(("election", "--seed", seed)) for seed in ("1", "5")}
# What the project's forerunner printed, in this order.
FORERUNNERS_LINES = (
    r"Starting server at: 127\.0\.0\.1:\d+\.\.\.$",
    r"The server server_\d, has a timeout of [345] seconds\.$",
    r"Server (?P<leader>server_\d) has timed out\.$",
    r"Server server_\d, with term 1, started the election process\.$",
    r"Server server_\d has won the election! The new term is: 1$",
    r"Server server_\d with term 1, received heartbeat from server_\d with term 1$",
    r"Server server_\d becoming follower\. The new leader is: server_\d$",
)
OTHER_NUMBERS = [("story", "4"), ("split-vote", "5"), ("election", "1")]
CLIENTS_SHELL = Play(
    ("shell",),
    (
        *("put x 1", "append x 2", "get x", "get y", "cas x 12 13", "get x", "delete x", "get x", "status", "log"),
        *("crash 9", "restart 1", "foo", "put x", "cut 1", "heal", "timeout 2", "help", "crash 3", "status"),
        *("restart 3", "quit", "get z"),
    ),
)
OPERATORS_SHELL = Play(
    ("shell",),
    (
        *("increment x", "add 4", "members", "remove 4", "members", "crash 4", "wipe 4", "restart 4"),
        *("timeout 2", "transfer 2", "transfer 1", "snapshot 1", "snapshot 2", "snapshot 3", "snapshot 4"),
        *("add 4", "transfer 4", "log", "increment x"),
        *("wipe 1", "crash 1", "wipe 1", "remove 9", "add 1", "put y z", "increment y"),
    ),
)
PLAYS = [
    Play(("story",)),
    *(Play((scenario,)) for scenario in LINES),
    *ELECTIONS.values(),
    *(Play((scenario, "--servers", servers)) for scenario, servers in OTHER_NUMBERS),
    CLIENTS_SHELL,
    OPERATORS_SHELL,
]
def perform(play: Play) -> tuple[subprocess.CompletedProcess[str], list[Path]]:
    """Play it, with ports of its own: those of a server that is down might else be taken meanwhile. Return what became
    of it, and the files that it has left behind.
    """
    lines = "".join(f"{line}\n" for line in play.lines)
    arguments = (*play.arguments, "--pace", "fast", "--first-port", str(20000 + 20 * PLAYS.index(play)))
    with tempfile.TemporaryDirectory() as directory:
        return demo(Path(directory), *arguments, stdin=lines), list(Path(directory).iterdir())


def of(*plays: Play) -> Callable[[Test], Test]:
    """Have these played beside other tests: mostly they wait."""

    def mark(test: Test) -> Test:
        for play in plays:
            test = pytest.mark.beforehand(perform, play, waits=True)(test)
        return test

    return mark


class Performances:
    """What has been played."""

    def __init__(self, beforehand: Beforehand) -> None:
        self._beforehand = beforehand

    def of(self, play: Play) -> subprocess.CompletedProcess[str]:
        """Wait for the end of a performance, and return it. It must have ended well, and left nothing behind."""
        played, left_behind = self._beforehand(perform, play)
        assert played.returncode == 0, played.stdout + played.stderr
        assert left_behind == []
        return played


@pytest.fixture(name="performances")
def all_performances(beforehand: Beforehand) -> Performances:
    """Every scenario, being played."""
    return Performances(beforehand)


@of(*(Play((scenario,)) for scenario in LINES))
@pytest.mark.parametrize("scenario", LINES)
def test_each_scenario_plays_to_its_end_and_its_checks_hold(performances: Performances, scenario: str) -> None:
    """docs/demo.md: exit code 0 only if the checks hold; and no file is left."""
    played = performances.of(Play((scenario,)))
    assert re.search(LINES[scenario], played.stdout), played.stdout
    assert ": NO" not in played.stdout


@of(Play(("story",)))
def test_without_a_name_it_plays_the_story_and_names_the_sections_to_read(performances: Performances) -> None:
    """README.md: the first command; each step is headed by what happens and where to read of it."""
    played = performances.of(Play(("story",)))
    assert re.search(r"all 3 servers applied the same \d+ entries in the same order .*: yes", played.stdout)
    assert ": NO" not in played.stdout
    headings = re.findall(r"^== (.*)  \[(.*)\]$", played.stdout, re.MULTILINE)
    assert len(headings) == 6
    assert all("§" in section or "Fig." in section for _, section in headings)
    assert re.search(r"n\d  deletes entry \d+", played.stdout)
    assert "surely not executed" in played.stdout
    assert "\x1b[" not in played.stdout, "no colours in a pipe"


@of(ELECTIONS["1"])
def test_the_election_is_told_in_the_forerunners_words(performances: Performances) -> None:
    """§5.2: in this order, and with the candidate's term at the voters' first heartbeat (§5.1); docs/demo.md, too."""
    sample = Page(ROOT / "docs" / "demo.md").boxes[-1][1]
    for printed in (performances.of(ELECTIONS["1"]).stdout, sample):
        position = 0
        for pattern in FORERUNNERS_LINES:
            match = re.compile(r"^\d\d:\d\d:\d\d \[INFO\] " + pattern, re.MULTILINE).search(printed, position)
            assert match, f"{pattern} after\n{printed[:position]}\nin\n{printed}"
            position = match.end()
    assert len(sample.splitlines()) == len(FORERUNNERS_LINES)


@of(*ELECTIONS.values())
def test_the_server_with_the_shortest_timeout_wins_and_the_seed_decides_which(performances: Performances) -> None:
    """§5.2: randomized timeouts; --seed."""
    for election in ELECTIONS.values():
        played = performances.of(election)
        (shortest,) = re.findall(r"The server (server_\d), has a timeout of 3 seconds", played.stdout)
        assert f"{shortest} has won the election!" in played.stdout


def test_the_list_names_every_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/demo.md: --list; after the scenarios comes what goes with the paper."""
    assert main(["--list"]) == 0
    every_name = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    names = [name for name in every_name if name not in COMPANION]
    assert every_name == [*names, *COMPANION]
    assert " ".join(names) == (
        "story election split-vote replication leader-crash partition membership snapshot exactly-once pre-vote "
        "check-quorum transfer processes shell"
    )
    assert set(names) == set(re.findall(r"^\| `([a-z][a-z-]*)`", (ROOT / "docs" / "demo.md").read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such"],
        ["--servers", "0"],
        ["--servers", "99"],
        ["--servers", "x"],
        ["--pace", "slow"],
        ["--first-port", "80"],
    ],
)
def test_a_wrong_argument_gets_one_clear_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """docs/demo.md: exit code 2."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert err.splitlines()[-1].startswith("run_demo.py: error: ") and out == ""


@of(*(Play((scenario, "--servers", servers)) for scenario, servers in OTHER_NUMBERS))
@pytest.mark.parametrize("scenario, servers", OTHER_NUMBERS)
def test_other_numbers_of_servers_work_too(performances: Performances, scenario: str, servers: str) -> None:
    """docs/demo.md: --servers, an even number and a larger odd one."""
    performances.of(Play((scenario, "--servers", servers)))


@of(CLIENTS_SHELL)
def test_the_shell_takes_commands_from_a_pipe(performances: Performances) -> None:
    """docs/demo.md: every command, and one line for what makes no sense."""
    played = performances.of(CLIENTS_SHELL)
    for text in ("   12\n", "   13\n", "   x is absent\n", "   y is absent\n", "there is no server 9", "n1 is running"):
        assert text in played.stdout
    for text in ("there is no command 'foo'", "write: put KEY VALUE", "n3  down"):
        assert text in played.stdout
    assert re.search(r"\[[0-9]+ x=1\]", played.stdout), "the log, in whichever term a leader was elected"
    assert "z is absent" not in played.stdout, "nothing happens after quit"
    assert "raft>" not in played.stdout, "no prompt without a terminal"


@of(OPERATORS_SHELL)
def test_the_shell_takes_what_operators_ask_for(performances: Performances) -> None:
    """docs/demo.md: servers come and go, logs are compacted, leadership is handed over (§6, §7; Diss. §3.10)."""
    played = performances.of(OPERATORS_SHELL)
    assert re.findall(r"^   (n1 n2 n3.*)$", played.stdout, re.MULTILINE) == ["n1 n2 n3 n4", "n1 n2 n3"]
    texts = ["uses C_new = n1 n2 n3 n4", "installs a snapshot", "to stand for election at once", "[="]
    texts += ["n1 is running; crash it first", "n1 has lost its disk, and belongs to", "n1 is down", "a whole number"]
    assert [text for text in texts if text not in played.stdout] == []
    assert re.findall(r"^   ([0-9]+)$", played.stdout, re.MULTILINE) == ["1", "2"]


def test_a_port_in_use_is_replaced_and_said_so(tmp_path: Path) -> None:
    """docs/demo.md: it takes free ones."""
    with socket.socket() as occupied:
        occupied.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            occupied.bind(("127.0.0.1", 3301))
            occupied.listen()
        except OSError:
            pass  # somebody else occupies it: just as good
        played = demo(tmp_path, "election", "--pace", "fast")
    assert played.returncode == 0
    assert re.search(r"Port 330\d is in use; .*server_2.* take", played.stdout)


def start_and_wait_for(temporary: Path, text: str, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo, and return once it has printed a line with `text`."""
    process = subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "run_demo.py"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(temporary),
    )
    assert process.stdout is not None
    line: Optional[str] = ""
    while line is not None and text not in line:
        line = process.stdout.readline() or None
    assert line is not None, f"the demo ended before it printed {text!r}"
    return process


@pytest.mark.alongside
@pytest.mark.parametrize(
    "scenario, moment, stop",
    [
        ("leader-crash", "starts as follower", signal.SIGINT),
        ("election", "Starting server", signal.SIGTERM),
        ("processes", "is process", signal.SIGINT),
        ("processes", "leads;", signal.SIGTERM),
        ("shell", "won the election", signal.SIGINT),
    ],
)
def test_ctrl_c_at_any_moment_leaves_nothing_behind(
    tmp_path: Path, scenario: str, moment: str, stop: signal.Signals
) -> None:
    """docs/demo.md: exit code 130; no process, no file, no traceback."""
    process = start_and_wait_for(tmp_path, moment, scenario)
    process.send_signal(stop)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []
    for server in re.findall(r"is process (\d+)", output):
        with pytest.raises(ProcessLookupError):
            os.kill(int(server), 0)
