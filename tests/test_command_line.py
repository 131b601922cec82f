"""`python -m raft_threads` as people and scripts see it: output, exit codes, one clear line for what is wrong."""

from __future__ import annotations

import json
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import FakeServer, SharedLog, answer, lose_the_request
from processes import ROOT, ServeProcess, command_line, environment, run
from raw_sockets import HELLO, PATIENCE, RawClient, free_addresses, line

from raft_threads import __version__
from raft_threads.__main__ import build_parser, main
from raft_threads.addresses import Address, format_cluster
from raft_threads.client_messages import Change, ChangeMembers, Done, MembersReply
from raft_threads.operator_commands import member_lines
from raft_threads.options import Options
from raft_threads.server import KeyValueServer
from raft_threads.timing import Timing

COMMANDS = ["serve", "put", "get", "delete", "append", "cas", "increment", "status", "members", "transfer", "snapshot"]
CHANGES = ["list", "add", "remove", "set"]
NOBODY = format_cluster(free_addresses("n1", "n2"))
INDEXES = ["commit_index", "last_applied", "last_log_index", "snapshot_index", "snapshot_bytes", "log_bytes"]
LOG_LINE = r"\d\d:\d\d:\d\d \[(DEBUG|INFO|WARNING)\] .+"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two servers of a cluster of three, whose third is down; as the text after --cluster."""
    patient = ("--election-timeout", "500-1000")  # no second election in the middle of a test
    addresses = free_addresses("n1", "n2", "n3")
    directory = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        for name in ("n1", "n2"):
            stack.enter_context(ServeProcess(name, addresses, directory / name, *patient)).wait_until_it_serves()
        yield format_cluster(addresses)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code and what it wrote."""
    code = main(list(arguments))
    return (code, *capsys.readouterr())


# Clients' commands


def test_get_prints_the_value_alone(servers: str, capsys: pytest.CaptureFixture[str]) -> None:
    """So that a script can use it as it is."""
    assert said(capsys, "put", "--cluster", servers, "x", "1") == (0, "ok\n", "")
    assert said(capsys, "get", "--cluster", servers, "x") == (0, "1\n", "")
    assert said(capsys, "append", "--cluster", servers, "x", "2 ü%\n3") == (0, "ok\n", "")
    assert said(capsys, "get", "--cluster", servers, "x") == (0, "12 ü%\n3\n", "")
    assert run("get", "--cluster", servers, "x").stdout == "12 ü%\n3\n"


def test_no_such_key_is_exit_code_1_and_a_line_on_stderr(servers: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty value is something else."""
    for command in ("get", "delete"):
        code, out, err = said(capsys, command, "--cluster", servers, "nothing here")
        assert (code, out, err) == (1, "", f"raft-threads {command}: no such key: nothing here\n")
    assert said(capsys, "put", "--cluster", servers, "empty", "")[0] == 0
    assert said(capsys, "get", "--cluster", servers, "empty") == (0, "\n", "")
    assert said(capsys, "delete", "--cluster", servers, "empty") == (0, "ok\n", "")


def test_cas_says_whether_it_changed_anything(servers: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Compare and swap; --absent expects that there is no such key."""
    assert said(capsys, "cas", "--cluster", servers, "--absent", "c", "1") == (0, "ok\n", "")
    assert said(capsys, "cas", "--cluster", servers, "c", "1", "2") == (0, "ok\n", "")
    code, out, err = said(capsys, "cas", "--cluster", servers, "c", "1", "3")
    assert (code, out) == (1, "") and "nothing changed: c does not hold '1'" in err
    code, out, err = said(capsys, "cas", "--cluster", servers, "--absent", "c", "3")
    assert (code, out, err) == (1, "", "raft-threads cas: nothing changed: c exists\n")
    assert said(capsys, "get", "--cluster", servers, "c") == (0, "2\n", "")


def test_increment_prints_the_sum(servers: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A counter begins at 0; what is no number is left alone."""
    assert said(capsys, "increment", "--cluster", servers, "counter") == (0, "1\n", "")
    assert said(capsys, "increment", "--cluster", servers, "counter", "41") == (0, "42\n", "")
    assert said(capsys, "increment", "--cluster", servers, "counter", "-2") == (0, "40\n", "")
    assert said(capsys, "put", "--cluster", servers, "word", "x")[0] == 0
    code, out, err = said(capsys, "increment", "--cluster", servers, "word")
    assert (code, out) == (3, "") and "a counter is a whole number" in err and err.count("\n") == 1


def test_keys_and_values_that_look_like_options_can_be_given_after_two_dashes(
    servers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As everywhere."""
    assert said(capsys, "put", "--cluster", servers, "--", "-k", "--help") == (0, "ok\n", "")
    assert said(capsys, "get", "--cluster", servers, "--", "-k") == (0, "--help\n", "")


def test_status_prints_a_table(servers: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A row a server, also for one that is down."""
    assert said(capsys, "put", "--cluster", servers, "x", "1")[0] == 0
    code, out, err = said(capsys, "status", "--cluster", servers)
    header, *rows = [row.split() for row in out.splitlines()]
    assert (code, err) == (0, "")
    assert header == ["id", "address", "role", "term", "leader", *INDEXES]
    assert [row[0] for row in rows] == ["n1", "n2", "n3"]
    assert sorted(row[2] for row in rows) == ["follower", "leader", "unreachable"]
    assert rows[2][3:] == ["-"] * 8
    assert not any(text.endswith(" ") for text in out.splitlines())


def test_status_as_json_is_a_list_of_objects(servers: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the fields that are promised, and null for what is not known."""
    assert said(capsys, "put", "--cluster", servers, "x", "1")[0] == 0
    code, out, err = said(capsys, "status", "--json", "--cluster", servers)
    reports = json.loads(out)
    assert (code, err) == (0, "")
    fields = ["id", "address", "reachable", "role", "term", "leader", *INDEXES, "disk_writes", "requests_answered"]
    assert [list(report) for report in reports] == [fields] * 3
    assert [report["reachable"] for report in reports] == [True, True, False]
    (leader,) = [report for report in reports if report["role"] == "leader"]
    assert leader["leader"] == leader["id"] and leader["last_applied"] == leader["last_log_index"] > 1
    assert set(reports[2].values()) == {"n3", reports[2]["address"], False, None}


def test_when_no_server_answers_the_exit_codes_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    """3: surely not executed. 1: no server answers."""
    code, out, err = said(capsys, "put", "--cluster", NOBODY, "--timeout", "0.2", "x", "1")
    assert (code, out) == (3, "") and err.startswith("raft-threads put: surely not executed: ") and err.count("\n") == 1
    code, out, err = said(capsys, "status", "--cluster", NOBODY, "--timeout", "0.2")
    assert (code, err) == (1, "") and out.count("unreachable") == 2


def test_a_command_in_doubt_is_exit_code_4(capsys: pytest.CaptureFixture[str]) -> None:
    """It may be in the log of a server that does not answer any more, and nobody knows what becomes of it."""
    with FakeServer(SharedLog(), lose_the_request) as server:
        code, out, err = said(capsys, "put", "--cluster", f"n1={server.address}", "--timeout", "0.1", "x", "2")
    assert (code, out) == (4, "") and "may or may not have been executed" in err and err.count("\n") == 1


@pytest.mark.alongside
def test_text_that_is_not_unicode_is_one_clear_line() -> None:
    """From a terminal that does not speak UTF-8."""
    arguments: list[bytes | str] = [*command_line("put", "--cluster", NOBODY), b"\xff", "1"]
    done = subprocess.run(arguments, capture_output=True, env=environment(), timeout=20)
    assert done.returncode == 3
    assert done.stderr == b"raft-threads put: keys and values must be valid Unicode text\n"


def test_a_reader_that_goes_away_is_no_traceback(servers: str) -> None:
    """`raft-threads status | head -0`."""
    with subprocess.Popen(
        command_line("status", "--cluster", servers), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


# Operators' commands


def test_a_cluster_grows_moves_and_shrinks_by_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """§6, §7; Diss. §3.10: a server joins, gets what the log does not hold any more, leads, and is left alone."""
    addresses = free_addresses("n1", "n2")
    one, two = ({server: address} for server, address in addresses.items())
    both, options = format_cluster(addresses), ["--cluster", format_cluster(one)]
    lines = [f"{server}={address}\n" for server, address in addresses.items()]
    patient = Timing(20, 30, 0.05)  # no election but those that we ask for
    with ExitStack() as stack:
        first = KeyValueServer("n1", one, tmp_path / "n1", timing=patient)
        second = KeyValueServer("n2", two, tmp_path / "n2", timing=patient, join=True)
        for server in (first, second):
            server.start()
            stack.callback(server.stop)
        first.node.expire_election_timer()
        assert said(capsys, "put", *options, "x", "1") == (0, "ok\n", "")
        index = one_report(capsys, one)["last_applied"]
        assert said(capsys, "snapshot", *options) == (0, f"n1: a snapshot replaces the log up to entry {index}\n", "")
        report = one_report(capsys, one)
        assert (report["snapshot_index"], report["log_bytes"]) == (index, 0) and report["snapshot_bytes"] > 0

        assert said(capsys, "members", "add", *options, lines[1].strip()) == (0, "".join(lines), "")
        assert said(capsys, "members", *options) == (0, "".join(lines), "")
        code, out, err = said(capsys, "members", *options, "add", lines[1].strip())
        assert (code, out) == (3, "")
        assert err == "raft-threads members: surely not executed: server n2 is in the cluster already\n"
        assert said(capsys, "transfer", *options, "n2") == (0, "leadership was handed over to n2\n", "")
        assert said(capsys, "get", "--cluster", format_cluster(two), "x") == (0, "1\n", "")
        assert said(capsys, "members", "remove", "--cluster", both, "n1") == (0, lines[1], "")
        code, out, err = said(capsys, "members", "remove", "--cluster", both, "n2")
        assert code == 3 and "the last one cannot be removed" in err


def one_report(capsys: pytest.CaptureFixture[str], cluster: dict[str, Address]) -> dict[str, Any]:
    """Return what `status --json` says of a cluster of one."""
    (report,) = json.loads(said(capsys, "status", "--json", "--cluster", format_cluster(cluster))[1])
    return dict(report)


def test_members_of_a_cluster_that_is_changing_say_what_becomes_of_them() -> None:
    """§6: C_old,new."""
    assert member_lines(MembersReply(("n1=h:1", "n2=h:2"), ("n2=h:2", "n3=h:3"))) == [
        "n1=h:1 (leaving)", "n2=h:2", "n3=h:3 (joining)"
    ]


def test_several_servers_may_be_named_with_blanks_or_commas_and_options_before_or_after(
    capsys: pytest.CaptureFixture[str]
) -> None:
    """As it comes to mind."""
    with FakeServer(SharedLog(), answer(MembersReply(("n1=h:1",)))) as server:
        where = ["--cluster", f"n1={server.address}", "--timeout", "9"]
        for arguments in (
            ["members", "set", *where, "n1=h:1", "n2=[::1]:2"],
            ["members", *where, "set", "n1=h:1,n2=[::1]:2"],
            ["members", "set", "n1=h:1, n2=[::1]:2", *where],
            ["members", *where[2:], "set", *where[:2], "n1=h:1", "n2=[::1]:2"],
        ):
            assert said(capsys, *arguments) == (0, "n1=h:1\n", "")
            change = server.asked.pop()
            assert isinstance(change, ChangeMembers) and 5 < change.timeout <= 9
            assert (change.change, change.members) == (Change.SET, ("n1=h:1", "n2=[::1]:2"))
        assert said(capsys, "members", "remove", *where, "n1,n2", "n3")[0] == 0
        change = server.asked.pop()
        assert isinstance(change, ChangeMembers) and change.members == ("n1", "n2", "n3")


def test_a_snapshot_of_all_servers_tells_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    """§7: one may be down; the exit code says so."""
    with FakeServer(SharedLog(), answer(Done("a snapshot replaces the log up to entry 7"))) as server:
        cluster = f"n1={server.address},{NOBODY.replace('n1=', 'n3=')}"
        code, out, err = said(capsys, "snapshot", "--cluster", cluster)
        assert (code, out) == (3, "n1: a snapshot replaces the log up to entry 7\n")
        assert err.count("surely not executed: cannot connect") == err.count("\n") == 2
        assert said(capsys, "snapshot", "--cluster", cluster, "n1")[0] == 0


# Help and wrong arguments


@pytest.mark.parametrize(
    "arguments",
    [[], *[[command] for command in COMMANDS], *[["members", change] for change in CHANGES]],
    ids=" ".join,
)
def test_every_command_has_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """On standard output, with exit code 0."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    wanted = COMMANDS if not arguments else ["--cluster", "--cluster-name"]
    assert all(word in out for word in wanted)


def test_the_version_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """--version."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"raft-threads {__version__}\n")


SERVE = ["serve", "--id", "n1", "--cluster", "n1=127.0.0.1:1,n2=127.0.0.1:2", "--data-dir", "unused"]


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ([], "COMMAND"),
        (["fly"], "fly"),
        (["get", "x"], "--cluster"),
        (["get", "--cluster", "n1", "x"], "write id=host:port"),
        (["get", "--cluster", "n1=h", "x"], "write host:port"),
        (["get", "--cluster", "n1=h:1,n1=h:2", "x"], "named twice"),
        (["get", "--cluster", NOBODY], "KEY"),
        (["get", "--cluster", NOBODY, "--timeout", "0", "x"], "must be positive"),
        (["get", "--cluster", NOBODY, "--timeout", "nan", "x"], "must be positive"),
        (["get", "--cluster", NOBODY, "--timeout", "soon", "x"], "not a number of seconds"),
        (["cas", "--cluster", NOBODY, "x", "1"], "cas takes"),
        (["cas", "--cluster", NOBODY, "x", "1", "2", "3"], "cas takes"),
        (["cas", "--cluster", NOBODY, "--absent", "x", "1", "2"], "cas takes"),
        (["get", "--cluster", NOBODY, "--cluster-name", "", "x"], "1 to 255 printable characters"),
        (["get", "--cluster", NOBODY, "--cluster-name", "a\nb", "x"], "1 to 255 printable characters"),
        (["get", "--cluster", NOBODY, "--cluster-name", "x" * 256, "x"], "1 to 255 printable characters"),
        (["increment", "--cluster", NOBODY, "x", "1.5"], "not a whole number"),
        (["increment", "--cluster", NOBODY, "x", str(2**63)], "more than a counter can hold"),
        (["increment", "--cluster", NOBODY, "x", "9" * 5000], "more than a counter can hold"),
        (["members"], "--cluster"),
        (["members", "add", "n4=h:1"], "--cluster"),
        (["members", "--cluster", NOBODY, "fly"], "fly"),
        (["members", "--cluster", NOBODY, "add"], "ID=HOST:PORT"),
        (["members", "--cluster", NOBODY, "add", "n4"], "write id=host:port"),
        (["members", "--cluster", NOBODY, "set", "n4=h:0"], "write host:port"),
        (["members", "--cluster", NOBODY, "set", "n4=h:1,n4=h:2"], "named twice"),
        (["members", "--cluster", NOBODY, "remove", "n4,"], "1 to 255 printable characters"),
        (["members", "--cluster", NOBODY, "--timeout", "0", "list"], "must be positive"),
        (["transfer", "--cluster", NOBODY, ""], "1 to 255 printable characters"),
        (["snapshot", "--cluster", NOBODY, "n9"], "n9 is not among the servers"),
        ([*SERVE, "--join", "--id", "n9"], "n9 is not among the servers"),
        ([*SERVE, "--snapshot-threshold", "0"], "write it like 512K or 64M, or off"),
        ([*SERVE, "--snapshot-threshold", "-1"], "write it like 512K or 64M, or off"),
        ([*SERVE, "--snapshot-threshold", "64MB"], "write it like 512K or 64M, or off"),
        ([*SERVE, "--snapshot-threshold", "many"], "write it like 512K or 64M, or off"),
        ([*SERVE, "--data-dir", ""], "--data-dir is empty; name a directory"),
        ([*SERVE, "--id", "n9"], "n9 is not among the servers"),
        ([*SERVE, "--election-timeout", "150"], "write it like 150-300"),
        ([*SERVE, "--election-timeout", "a-b"], "not a number of milliseconds"),
        ([*SERVE, "--election-timeout", "300-150"], "the smaller first"),
        ([*SERVE, "--election-timeout", "0-0"], "positive"),
        ([*SERVE, "--election-timeout", "nan-nan"], "positive"),
        ([*SERVE, "--heartbeat-interval", "500"], "must be shorter"),
        ([*SERVE, "--heartbeat-interval", "x"], "not a number of milliseconds"),
        ([*SERVE, "--log-level", "loud"], "loud"),
        (SERVE[:-2], "--data-dir"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else "",
)
def test_wrong_arguments_are_exit_code_2_and_say_what_is_wrong(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage and one line, on standard error."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert complaint in err.splitlines()[-1]


# serve


@pytest.mark.parametrize(
    "arguments, options",
    [
        ([], Options()),
        (["--snapshot-threshold", "off"], Options(snapshot_threshold=None)),
        (["--snapshot-threshold", "4096"], Options(snapshot_threshold=4096)),
        (["--snapshot-threshold", "512k"], Options(snapshot_threshold=512 * 1024)),
        (["--snapshot-threshold", "2G", "--pre-vote"], Options(2 * 1024**3, pre_vote=True)),
        (["--check-quorum", "--snapshot-threshold", "64M"], Options(check_quorum=True)),
    ],
)
def test_what_a_server_does_beyond_the_paper_is_chosen_on_its_command_line(
    arguments: list[str], options: Options
) -> None:
    """§7; Diss. §6.2, §9.6."""
    parsed = build_parser().parse_args([*SERVE, *arguments])
    parsed.complete(parsed.parser, parsed)
    assert parsed.options == options


@pytest.mark.alongside
def test_the_log_is_compacted_when_it_is_as_large_as_the_command_line_says(tmp_path: Path) -> None:
    """§7: here at once."""
    addresses = free_addresses("n1")
    with ServeProcess("n1", addresses, tmp_path / "n1", "--snapshot-threshold", "1") as server:
        server.wait_for_line("has won the election")
        with RawClient(addresses["n1"]) as client:
            client.send(line(HELLO))
            assert client.read()["type"] == "welcome"
            deadline, compacted = time.monotonic() + PATIENCE, False
            while not compacted and time.monotonic() < deadline:
                client.send(line({"type": "status"}))
                compacted = client.read()["snapshot_index"] == 1
            assert compacted


@pytest.mark.alongside
def test_a_server_that_waits_to_be_added_needs_to_know_only_itself(tmp_path: Path) -> None:
    """§6: it never stands for election, and is no cluster of its own."""
    addresses = free_addresses("n4")
    with ServeProcess("n4", addresses, tmp_path / "n4", "--join", "--election-timeout", "5-10") as server:
        server.wait_until_it_serves()
        with RawClient(addresses["n4"]) as client:
            client.send(line(HELLO) + line({"type": "members"}))
            assert [client.read()["type"] for _ in range(2)] == ["welcome", "refusal"]
            for _ in range(200):  # many election timeouts
                client.send(line({"type": "status"}))
                assert client.read()["term"] == 0
        server.signal(signal.SIGTERM)
        assert server.exit_code() == 0
        assert not any("election" in text for text in server.lines)


@pytest.mark.alongside
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_server_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    """Exit code 0, nothing but log lines, however many clients and peers are connected, and its port is free."""
    addresses = free_addresses("n1")
    with ServeProcess("n1", addresses, tmp_path / "n1") as server:
        server.wait_for_line("has won the election")
        clients = [RawClient(addresses["n1"]) for _ in range(10)]
        for client in clients[5:]:
            client.send(line(HELLO))
            assert client.read()["type"] == "welcome"
        server.signal(number)
        assert server.exit_code() == 0
        for client in clients:
            client.close()
        assert [text for text in server.lines if not re.fullmatch(LOG_LINE, text)] == []
        assert "stops" in server.lines[-1]
    with pytest.raises(ConnectionRefusedError):
        RawClient(addresses["n1"])


@pytest.mark.alongside
def test_a_signal_stops_a_server_that_is_blocked_on_its_peers(tmp_path: Path) -> None:
    """One refuses connections; the other takes them and never answers."""
    addresses = free_addresses("n1", "n2", "n3")
    with socket.create_server(addresses["n3"]), ServeProcess("n1", addresses, tmp_path / "n1") as server:
        server.wait_for_line("cannot reach n2")
        server.wait_for_line("cannot reach n3")
        server.signal(signal.SIGTERM)
        server.wait_for_line(" stops$")
        server.signal(signal.SIGINT)  # an impatient person: nothing changes
        assert server.exit_code() == 0
        assert [text for text in server.lines if not re.fullmatch(LOG_LINE, text)] == []


def test_a_signal_does_not_disturb_a_server_that_is_stopping_by_itself() -> None:
    """Its disk has failed; it stops in order, and the exit code says so. Here the signal comes in the middle of it."""
    code = """
import os, signal
from raft_threads.serve import run_until_stopped

class Failed:
    id, node = "n1", property(lambda self: self)

    def wait_until_stopping(self):
        return OSError("the disk is broken")

    def stop(self):
        for each in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), each)
        print("stopped in order")

raise SystemExit(run_until_stopped(Failed()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (1, "stopped in order\n", "")


@pytest.mark.alongside
def test_a_port_in_use_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    """And the directory is left free."""
    addresses = free_addresses("n1")
    with socket.create_server(addresses["n1"]):
        done = run("serve", "--id", "n1", "--cluster", format_cluster(addresses), "--data-dir", str(tmp_path / "n1"))
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"raft-threads serve: cannot listen on 127.0.0.1:\d+: .*in use.*\n", done.stderr)


@pytest.mark.alongside
def test_a_second_server_on_the_same_directory_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    """The first one goes on."""
    addresses = free_addresses("n1", "n2")
    with ServeProcess("n1", addresses, tmp_path / "data") as server:
        server.wait_until_it_serves()
        elsewhere = {**addresses, **free_addresses("n1")}
        done = run("serve", "--id", "n1", "--cluster", format_cluster(elsewhere), "--data-dir", str(tmp_path / "data"))
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(r"raft-threads serve: data directory .* is in use by another server; .*\n", done.stderr)
        assert server.process.poll() is None


@pytest.mark.alongside
def test_another_servers_directory_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    """A typing error in --id."""
    addresses = free_addresses("n1", "n2")
    with ServeProcess("n1", addresses, tmp_path / "data") as server:
        server.wait_until_it_serves()
    done = run("serve", "--id", "n2", "--cluster", format_cluster(addresses), "--data-dir", str(tmp_path / "data"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "belongs to server n1" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.alongside
def test_a_full_disk_stops_a_server_with_one_line_that_says_so(tmp_path: Path) -> None:
    """Here by a limit on the size of files, which the kernel reports to the writer."""

    def limit_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    addresses = free_addresses("n1")
    with ServeProcess("n1", addresses, tmp_path / "n1", before_exec=limit_files) as server:
        server.wait_for_line("has won the election")
        done = run("put", "--cluster", format_cluster(addresses), "--timeout", "1", "x", "y" * 8000)
        assert done.returncode == 4, "it may be in the log of others"
        assert server.exit_code() == 1
        (said_so,) = [text for text in server.lines if "CRITICAL" in text]
        assert "stops for good: cannot write to data directory" in said_so and "File too large" in said_so
        assert not any("Traceback" in text for text in server.lines)
    with ServeProcess("n1", addresses, tmp_path / "n1") as server:
        server.wait_for_line("has won the election")


@pytest.mark.alongside
def test_more_connections_than_descriptors_do_not_stop_a_server(tmp_path: Path) -> None:
    """Each save of term and vote opens a file; clients that only connect must leave room for that."""

    def limit_descriptors() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    addresses = free_addresses("n1", "n2")
    with ServeProcess("n1", addresses, tmp_path / "n1", before_exec=limit_descriptors) as server:
        server.wait_until_it_serves()
        clients = [RawClient(addresses["n1"]) for _ in range(100)]
        seen = len(server.lines)
        term = max(int(number) for number in re.findall(r"\(term (\d+)\)", "\n".join(server.lines)))
        server.wait_for_line(rf"\(term {term + 3}\) started an election")
        assert len(server.lines) > seen and server.process.poll() is None
        for client in clients:
            client.close()


def test_ipv6_addresses_work_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--cluster n1=[::1]:3300`."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6")
    addresses = {"n1": Address("::1", free_addresses("n1")["n1"].port)}
    with ServeProcess("n1", addresses, tmp_path / "n1") as server:
        server.wait_for_line("has won the election")
        cluster = format_cluster(addresses)
        assert cluster.startswith("n1=[::1]:")
        assert said(capsys, "put", "--cluster", cluster, "x", "1") == (0, "ok\n", "")
        assert f"[::1]:{addresses['n1'].port}" in said(capsys, "status", "--cluster", cluster)[1]


@pytest.mark.alongside
def test_the_command_runs_from_any_directory(tmp_path: Path) -> None:
    """Nothing is looked for in the working directory."""
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0 and str(ROOT) not in done.stdout
