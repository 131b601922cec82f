"""The benchmark measures what it says (docs/performance.md): its load, its counts, its ratios, its wrong arguments."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import run

from raft_threads.__main__ import main
from raft_threads.addresses import Address
from raft_threads.bench import arguments, choices, machine
from raft_threads.bench.in_process import InProcessLoad, run_in_process
from raft_threads.bench.load import Load, run_load
from raft_threads.bench.report import ratio_lines, work_table
from raft_threads.bench.rounds import Round, median_round, round_of
from raft_threads.bench.stores import EtcdStore, LoadFailed, OurStore
from raft_threads.bench.works import ONE_CLIENT, RATIOS
from raft_threads.client import Client
from raft_threads.client_messages import ServerStatus
from raft_threads.free_ports import choose_addresses
from raft_threads.server import KeyValueServer

CLUSTER = "benched"
HERE = Address("127.0.0.1", 1)


@pytest.fixture(name="addresses")
def two_addresses() -> dict[str, Address]:
    """Addresses for two servers."""
    return choose_addresses(["n1", "n2"], 0, lambda line: None)


@pytest.fixture(name="server")
def server_alone(tmp_path: Path, addresses: dict[str, Address]) -> Iterator[KeyValueServer]:
    """A cluster of one server."""
    server = KeyValueServer("n1", {"n1": addresses["n1"]}, tmp_path / "n1", cluster=CLUSTER)
    server.start()
    server.node.expire_election_timer()
    with Client({"n1": addresses["n1"]}, cluster_name=CLUSTER) as client:
        client.get("x")  # answered once it leads
    yield server
    server.stop()


def our_round(rate: float, p50: float = 0.001) -> Round:
    """Return a round with so many operations a second."""
    return Round(int(rate), 1.0, p50, 2 * p50, 3 * p50)


# The load


def test_each_synchronous_client_has_a_session_and_one_command_under_way(
    server: KeyValueServer, addresses: dict[str, Address]
) -> None:
    """§8: the load is what clients do."""
    measured = run_load(Load(OurStore(addresses["n1"], CLUSTER, "value"), 3, 0.1, 0.02))
    entries = server.node.log_entries()
    sessions = [entry.index for entry in entries if entry.kind == "register"]
    assert len(sessions) == 3
    with Client({"n1": addresses["n1"]}, cluster_name=CLUSTER) as client:
        while len(server.store.items) < len(sessions):
            client.get("x")  # what was sent last comes after the end of the load
    assert server.store.items == {f"key-{session}": "value" for session in sessions}
    assert 0 < measured.operations <= len(entries) and 0 < measured.p50 <= measured.p99 <= measured.longest
    assert measured.cpu["load"] > 0


def test_reads_under_load_write_nothing_to_the_log(server: KeyValueServer, addresses: dict[str, Address]) -> None:
    """§8: linearizable reads without the log."""
    measured = run_load(Load(OurStore(addresses["n1"], CLUSTER, "", reads=True), 2, 0.05, 0.0))
    assert measured.operations > 0
    assert {entry.kind for entry in server.node.log_entries()} == {"noop", "register"}


def test_a_load_on_a_server_that_does_not_lead_fails_with_its_answer(
    tmp_path: Path, addresses: dict[str, Address]
) -> None:
    """§5.1: only the leader takes commands."""
    server = KeyValueServer("n1", addresses, tmp_path / "n1", cluster=CLUSTER)
    server.start()
    try:
        with pytest.raises(LoadFailed, match="not_leader|NOT_LEADER"):
            run_load(Load(OurStore(addresses["n1"], CLUSTER, ""), 1, 0.05, 0.0))
    finally:
        server.stop()


def test_a_load_on_nobody_fails(addresses: dict[str, Address]) -> None:
    """In one line, and at once."""
    with pytest.raises(LoadFailed, match="refused"):
        run_load(Load(OurStore(addresses["n1"], CLUSTER, ""), 1, 0.05, 0.0))


@pytest.mark.parametrize("many", [False, True])
def test_within_the_leaders_process_many_commands_are_under_way(
    many: bool, tmp_path: Path, addresses: dict[str, Address]
) -> None:
    """One thread with `submit`, or some with `propose_many`; entries for each write are counted."""
    alone = {"n1": addresses["n1"]}
    measured = run_in_process(InProcessLoad("n1", alone, CLUSTER, tmp_path / "n1", 40, "value", 0.1, 0.02, many))
    assert measured.operations >= 40
    assert measured.entries_per_write is not None and measured.entries_per_write > 1


def test_an_answer_of_etcd_is_whole_when_its_body_is_as_long_as_its_header_says() -> None:
    """HTTP; anything but 200 is a failure."""
    store = EtcdStore(HERE, "value")
    whole = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}'
    assert [store.is_whole(whole[:length]) for length in (5, len(whole) - 1, len(whole))] == [False, False, True]
    with pytest.raises(LoadFailed, match="503 Service Unavailable"):
        store.is_whole(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")


# What is made of it


def test_a_round_tells_the_middle_the_slowest_in_a_hundred_and_the_slowest() -> None:
    """Latencies come in any order; a round without any is a failure."""
    measured = round_of(array("d", [0.2, *[0.001] * 98, 0.1]), 2.0, {"leader": 1.0})
    assert (measured.p50, measured.p99, measured.longest) == (0.001, 0.2, 0.2)
    assert (measured.rate, measured.cpu_per_operation()) == (50.0, {"leader": 0.01})
    with pytest.raises(ValueError):
        round_of(array("d"), 1.0, {})


def test_the_median_round_is_the_one_in_the_middle_by_its_rate() -> None:
    """Of two in the middle it is the slower one, so that nothing is claimed that was not seen."""
    assert median_round([our_round(rate) for rate in (3, 1, 2)]).rate == 2
    assert median_round([our_round(rate) for rate in (4, 1, 2, 3)]).rate == 2


def test_entries_for_each_write_and_message_come_from_what_the_leader_counts() -> None:
    """Each entry goes in one message to each peer."""
    before, after = (ServerStatus("n1", "leader", 1, "n1", 0, 0, n, 0, 0, 0, n // 10, n // 5) for n in (100, 200))
    counted = our_round(1).with_counts(before, after, peers=2)
    assert (counted.entries_per_write, counted.entries_per_message) == (10, 10)


def test_what_the_host_takes_away_counts_as_used_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A core that a virtual machine did not get was busy for somebody else; time without work is nobody's."""
    monkeypatch.setattr(machine, "PROC", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    times = []
    for ours, idle, stolen in ((100, 1000, 10), (250, 1120, 40)):
        (tmp_path / "stat").write_text(f"cpu  {ours} 0 0 {idle} 0 0 0 {stolen} 0 0\ncpu0 1 0 0 0 0 0 0 0 0 0\n")
        times.append(machine.cpu_times({}))
    tick = 1 / os.sysconf("SC_CLK_TCK")
    before, after = times
    assert machine.used_by_others(before, after, 150 * tick, 150 * tick) == pytest.approx(30 / (150 * 2))


def test_ratios_are_of_medians_and_only_of_what_was_measured() -> None:
    """Rounds of both, in the same run."""
    ratio = RATIOS[0]
    rounds = {ratio.ours: [our_round(rate) for rate in (900, 1000, 5000)], ratio.theirs: [our_round(100)]}
    assert ratio_lines(rounds, []) == ["Ratios:", f"  {ratio.ours} / {ratio.theirs} = 10.00"]
    assert ratio_lines({ONE_CLIENT: [our_round(1)]}, []) == []


def test_the_table_has_a_line_for_each_work_and_a_dash_for_what_is_not_known() -> None:
    """Columns are explained below it."""
    heading, line, *rest = work_table({"some work": [our_round(1234)]})
    assert line.split()[:5] == ["some", "work", "1,234", "1,234", "1,234"] and line.endswith("-")
    assert heading.split()[0] == "/s" and "the median of all rounds" in rest[1]


def test_each_choice_replaces_something_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a benchmark would compare our servers with themselves."""
    replaced: list[tuple[Any, str]] = []
    monkeypatch.setattr(choices, "setattr", lambda of, name, value: replaced.append((of, name)), raising=False)
    for choice in choices.CHOICES.values():
        known = len(replaced)
        choice.make()
        assert len(replaced) > known and all(hasattr(*each) for each in replaced)


# The command


@pytest.mark.alongside
def test_it_measures_real_processes_and_writes_down_every_round(tmp_path: Path) -> None:
    """The floor, and clients over sockets, on a cluster of one; nothing is left behind."""
    written = tmp_path / "rounds.json"
    data = tmp_path / "data"
    data.mkdir()
    what = ["floor", "reads", "--servers", "1", "--rounds", "1", "--seconds", "0.05"]
    done = run("bench", *what, "--json", str(written), "--data-dir", str(data))
    assert done.returncode == 0, done.stderr
    assert "a bare chain" in done.stdout and "get 10 B, 64 clients" in done.stdout
    assert done.stderr.count("round 1 of 1") == 2
    found = json.loads(written.read_text())
    assert [len(rounds) for rounds in found["works"].values()] == [1, 1] and len(found["floor"]) == 1
    assert list(data.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        ["no-such-part"],
        ["--servers", "0"],
        ["--rounds", "0"],
        ["--seconds", "0"],
        ["--vs", "no-such-peer"],
        ["--data-dir", "/no/such/directory"],
        ["--json", "/no/such/file"],
    ],
)
def test_wrong_arguments_get_one_clear_error(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and nothing is started."""
    with pytest.raises(SystemExit) as end:
        main(["bench", *wrong])
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("raft-threads bench: error: ")


def test_a_peer_that_is_not_installed_is_named_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is an extra, and never needed."""
    monkeypatch.setattr(arguments, "INSTALLED", {"etcd": (lambda: False, "apt install etcd-server")})
    with pytest.raises(SystemExit):
        main(["bench", "--vs", "etcd"])
    assert "etcd is not installed; try: apt install etcd-server" in capsys.readouterr().err
