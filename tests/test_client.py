"""The client (§8): finds the leader, tries again only what is safe, and says what is known of a command."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional, Union

import pytest
from fake_cluster import FirstThrow, ok
from fake_cluster import client_of as client_in_session_of
from raw_sockets import Listening, RawServer, free_addresses

from raft_threads import client_requests, rpc_server
from raft_threads.addresses import Address
from raft_threads.client import Client, MayHaveHappened, SurelyFailed
from raft_threads.client_messages import Command, CommandResult, Outcome, Query, Refusal, ServerStatus, StatusRequest
from raft_threads.entry_format import MAX_COMMAND_BYTES
from raft_threads.runtime import Runtime
from raft_threads.server import KeyValueServer
from raft_threads.transport import RequestRefused
from raft_threads.wire import ConnectionEnded, Message

SOON = 0.3
LONG = 20.0
Answer = Union[Message, Exception]


@pytest.fixture(autouse=True)
def no_long_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shutdown waits for the poll interval; here are many."""
    monkeypatch.setattr(rpc_server, "POLL_INTERVAL", 0.01)


class Scripted(Listening):
    """A server that gives the answers in `script`, the last one for ever, and keeps the commands it got."""

    def __init__(self, *script: Union[Answer, Callable[[], Answer]]) -> None:
        self.commands: list[bytes] = []
        self._script = list(script)
        super().__init__(self._handle)

    def _handle(self, sender: Optional[str], request: Message) -> Message:
        assert isinstance(request, (Command, Query))
        self.commands.append(request.command if isinstance(request, Command) else request.query)
        answer = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        made = answer() if callable(answer) else answer
        if isinstance(made, Exception):
            raise made
        return made


def client_of(*addresses: Address, timeout: float = LONG) -> Client:
    """Return a client that begins with the first of `addresses`, and has no session."""
    return client_in_session_of(*addresses, timeout=timeout, sessions=False)


NOT_LEADER = Refusal(Outcome.NOT_LEADER, "this server is not the leader")
UNKNOWN = Refusal(Outcome.UNKNOWN, "the command was not committed within 1 s")
NOT_LEADER_STATUS = ServerStatus("n1", "follower", 1, None, 0, 0, 0)
FAILED = Refusal(Outcome.FAILED, "another leader's entry took the place of the command in the log")


# Against a real server


@pytest.fixture
def single(tmp_path: Path) -> Iterator[dict[str, Address]]:
    """A cluster of one, running."""
    addresses = free_addresses("n1")
    server = KeyValueServer("n1", addresses, tmp_path / "n1")
    server.start()
    yield addresses
    server.stop()


def test_all_operations_work(single: dict[str, Address]) -> None:
    """§2: the example state machine, over the network."""
    with Client(single, timeout=LONG) as client:
        assert client.get("x") is None
        client.put("x", "1")
        assert client.get("x") == "1"
        client.append("x", "2\n%")
        assert client.get("x") == "12\n%"
        assert client.cas("x", "1", "no") is False
        assert client.cas("x", "12\n%", "3") is True
        assert client.cas("y", None, "4") is True
        assert client.delete("x") is True
        assert client.delete("x") is False


def test_a_command_that_the_store_does_not_know_surely_failed(single: dict[str, Address]) -> None:
    """It is in the log, and changes nothing."""
    with Client(single, timeout=LONG) as client:
        with pytest.raises(SurelyFailed, match="not a command"):
            client.execute(b'{"op":"fly"}')


def test_the_status_of_every_server_is_asked_for_and_some_may_be_down(single: dict[str, Address]) -> None:
    """As the operator wants to know it when something is wrong."""
    down = free_addresses("n2")
    with Client({**single, **down}, timeout=LONG) as client:
        client.put("x", "1")
        up_report, down_report = client.status()
    assert (up_report.id, up_report.reachable, up_report.role, up_report.leader) == ("n1", True, "leader", "n1")
    assert up_report.commit_index == up_report.last_applied == up_report.last_log_index == 3
    assert (down_report.id, down_report.address) == ("n2", str(down["n2"]))
    assert (down_report.reachable, down_report.role, down_report.term) == (False, None, None)


def test_a_server_that_answers_something_else_is_not_reported_as_reachable() -> None:
    """There is nothing to show of it."""
    with Listening(lambda sender, request: ok()) as confused, client_of(confused.address) as client:
        assert [report.reachable for report in client.status()] == [False]


def test_a_wrong_cluster_name_is_no_cluster(single: dict[str, Address]) -> None:
    """The last answer says what is wrong."""
    with Client(single, cluster_name="other", timeout=SOON) as client:
        with pytest.raises(SurelyFailed, match="this is cluster 'raft', not 'other'"):
            client.put("x", "1")
        assert [report.reachable for report in client.status()] == [False]


# Finding the leader


def test_a_hint_leads_to_the_leader() -> None:
    """§5.1: if a client contacts a follower, the follower redirects it to the leader."""
    with Scripted(ok()) as other, Scripted(ok()) as leader:
        with Scripted(Refusal(Outcome.NOT_LEADER, "n3 is", "n3", "127.0.0.1:1")) as follower:
            with client_of(follower.address, other.address, leader.address) as client:
                client.put("x", "1")
            assert [len(server.commands) for server in (follower, other, leader)] == [1, 0, 1]


def test_a_hint_to_a_server_that_the_client_was_not_told_of_is_followed_too() -> None:
    """The server says its address (§8)."""
    with Scripted(ok()) as leader:
        with Scripted(Refusal(Outcome.NOT_LEADER, "n9 is", "n9", str(leader.address))) as follower:
            with client_of(follower.address) as client:
                client.put("x", "1")
            assert len(leader.commands) == 1


@pytest.mark.parametrize("address", ["nonsense", "", "[::1", "host:99999"])
def test_a_hint_that_makes_no_sense_is_ignored(address: str) -> None:
    """The client asks round."""
    with Scripted(Refusal(Outcome.NOT_LEADER, "n9 is", "n9", address or None)) as follower, Scripted(ok()) as leader:
        with client_of(follower.address, leader.address) as client:
            client.put("x", "1")


def test_without_a_hint_the_client_asks_round_also_past_servers_that_are_down() -> None:
    """§8: when a client first starts up, it connects to a randomly chosen server."""
    with Scripted(NOT_LEADER) as follower, Scripted(ok()) as leader:
        down = free_addresses("n2")["n2"]
        with client_of(follower.address, down, leader.address) as client:
            client.put("x", "1")
        assert len(leader.commands) == 1


def test_clients_begin_with_different_servers() -> None:
    """§8: a randomly chosen one."""
    addresses = free_addresses("n1", "n2", "n3")
    assert {Client(addresses)._leader._connections._position for _ in range(200)} == {0, 1, 2}


def test_the_connection_to_the_leader_is_kept() -> None:
    """No search for each command."""
    with Scripted(NOT_LEADER) as follower, Scripted(ok()) as leader:
        with client_of(follower.address, leader.address) as client:
            for _ in range(20):
                client.put("x", "1")
            assert len(leader.server._connections) == 1
        assert (len(follower.commands), len(leader.commands)) == (1, 20)


def test_a_kept_connection_that_the_server_closed_is_noticed_before_a_command_is_sent() -> None:
    """Else every restart of a server would leave a command in doubt."""
    addresses = free_addresses("n1")
    with Client(addresses, timeout=LONG, sessions=False) as client:
        for _ in range(3):
            with Listening(lambda sender, request: ok(), addresses["n1"]):
                client.put("x", "1")


def test_a_leader_that_is_elected_meanwhile_is_found() -> None:
    """It tries again until its time is up."""
    with Scripted(NOT_LEADER, NOT_LEADER, NOT_LEADER, NOT_LEADER, ok()) as server:
        with client_of(server.address) as client:
            client.put("x", "1")
        assert len(server.commands) == 5


# What is known of a command


def test_when_nobody_answers_the_command_surely_failed_after_the_timeout() -> None:
    """And the reason given is the last one."""
    with client_of(*free_addresses("n1", "n2").values(), timeout=SOON) as client:
        began = time.monotonic()
        with pytest.raises(SurelyFailed, match="no leader took the command within 0.3 s; last answer: cannot connect"):
            client.put("x", "1")
        assert time.monotonic() - began < SOON + 5


class NotedSleeps:
    """A `time` that notes how long the client sleeps, and does not."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Take note."""
        self.sleeps.append(seconds)


def test_within_a_round_the_client_does_not_wait() -> None:
    """The next server may be the leader."""
    notes = NotedSleeps()
    with Scripted(NOT_LEADER) as follower, Scripted(NOT_LEADER, ok()) as leader:
        servers = {"n1": follower.address, "n2": free_addresses("n2")["n2"], "n3": leader.address}
        runtime = Runtime(time=notes, random=FirstThrow())
        with Client(servers, timeout=LONG, sessions=False, runtime=runtime) as client:
            client.put("x", "1")
    assert [seconds > 0 for seconds in notes.sleeps] == [False, False, True, False, False]


def test_between_rounds_the_client_waits_longer_and_longer() -> None:
    """Backoff: it does not flood a cluster that has no leader."""
    with Scripted(NOT_LEADER) as server:
        with client_of(server.address, timeout=SOON) as client:
            with pytest.raises(SurelyFailed):
                client.put("x", "1")
        assert 3 <= len(server.commands) <= 10


WRITES: dict[str, Callable[[Client], object]] = {
    "put": lambda client: client.put("x", "1"),
    "append": lambda client: client.append("x", "1"),
    "delete": lambda client: client.delete("x"),
    "cas": lambda client: client.cas("x", "1", "2"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
def test_a_write_whose_connection_breaks_may_have_happened_and_is_not_sent_again(
    write: Callable[[Client], object]
) -> None:
    """§8: if the leader crashes after committing the log entry but before responding."""
    with Scripted(ConnectionEnded(), ok()) as server:
        with client_of(server.address, server.address) as client:
            with pytest.raises(MayHaveHappened, match="did not answer any more"):
                write(client)
            assert len(server.commands) == 1
            client.put("x", "1")


def test_a_read_whose_connection_breaks_is_sent_again() -> None:
    """A read changes nothing, so it may be repeated."""
    with Scripted(ConnectionEnded(), ok(value="1")) as server:
        with client_of(server.address) as client:
            assert client.get("x") == "1"
        assert len(server.commands) == 2


def test_a_write_of_unknown_outcome_may_have_happened_and_is_not_sent_again() -> None:
    """§8: the server says that it does not know."""
    with Scripted(UNKNOWN, ok()) as server:
        with client_of(server.address) as client:
            with pytest.raises(MayHaveHappened, match="not committed"):
                client.append("x", "1")
        assert len(server.commands) == 1


def test_a_read_of_unknown_outcome_is_sent_again() -> None:
    """It may be repeated."""
    with Scripted(UNKNOWN, ok(value=None)) as server:
        with client_of(server.address) as client:
            assert client.get("x") is None


def test_a_write_that_surely_failed_is_sent_again() -> None:
    """Another leader's entry took its place for good: sending again cannot execute it twice."""
    with Scripted(FAILED, ok()) as server:
        with client_of(server.address) as client:
            client.append("x", "1")
        assert len(server.commands) == 2


def test_a_write_that_is_refused_by_name_surely_failed() -> None:
    """The server did not take it for a command."""
    with Scripted(RequestRefused("no commands today")) as server:
        with client_of(server.address) as client:
            with pytest.raises(SurelyFailed, match="no commands today"):
                client.put("x", "1")


def test_an_answer_to_something_else_leaves_a_write_in_doubt_and_a_read_to_another() -> None:
    """The server took the command; what it did with it, nobody can tell."""
    with Scripted(NOT_LEADER_STATUS, ok()) as confused:
        with client_of(confused.address) as client:
            with pytest.raises(MayHaveHappened, match="nonsense"):
                client.put("x", "1")
    with Scripted(NOT_LEADER_STATUS) as confused, Scripted(ok(value="1")) as leader:
        with client_of(confused.address, leader.address) as client:
            assert client.get("x") == "1"


@pytest.mark.parametrize("result", [b"", b"not JSON", b"[]", b"\xff"])
def test_a_result_that_makes_no_sense_leaves_a_write_in_doubt(result: bytes) -> None:
    """It was executed, or it was not."""
    with Scripted(CommandResult(result)) as server:
        with client_of(server.address) as client:
            with pytest.raises(MayHaveHappened):
                client.put("x", "1")


def test_a_server_that_never_answers_leaves_a_write_in_doubt_after_the_timeout() -> None:
    """As a process that was stopped does, after it took the command."""
    hello = b'{"type":"welcome","cluster":"raft","id":"n1"}\n'
    with RawServer(lambda connection: connection.sendall(hello)) as stopped:
        with client_of(stopped.address, timeout=SOON) as client:
            began = time.monotonic()
            with pytest.raises(MayHaveHappened):
                client.put("x", "1")
            assert SOON <= time.monotonic() - began < SOON + 5


def test_a_server_that_never_answers_a_read_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads may be repeated, so they need not wait for the whole timeout."""
    monkeypatch.setattr(client_requests, "ATTEMPT_TIMEOUT", 0.05)
    hello = b'{"type":"welcome","cluster":"raft","id":"n1"}\n'
    with RawServer(lambda connection: connection.sendall(hello)) as stopped, Scripted(ok(value="1")) as leader:
        with client_of(stopped.address, leader.address) as client:
            assert client.get("x") == "1"


def test_a_server_that_talks_something_else_is_passed_over() -> None:
    """A wrong port in --cluster."""
    with RawServer(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")) as ssh, Scripted(ok()) as leader:
        with client_of(ssh.address, leader.address) as client:
            client.put("x", "1")


def test_what_cannot_be_sent_is_refused_before_it_is() -> None:
    """Too long, or no text."""
    with Scripted(ok()) as server:
        with client_of(server.address) as client:
            with pytest.raises(ValueError, match="at most"):
                client.put("x", "y" * MAX_COMMAND_BYTES)
            with pytest.raises(ValueError, match="Unicode"):
                client.put("\udc80", "y")
        assert server.commands == []


def test_the_servers_patience_is_what_is_left_of_ours() -> None:
    """So that the server's own "time is up" reaches us."""
    asked: list[float] = []

    def handle(sender: Optional[str], request: Message) -> Message:
        assert isinstance(request, (Command, StatusRequest))
        asked.append(request.timeout if isinstance(request, Command) else 0)
        return ok()

    with Listening(handle) as server:
        with client_of(server.address, timeout=100.0) as client:
            client.put("x", "1")
    assert 50 < asked[0] <= 100


def test_the_servers_own_time_is_up_still_reaches_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says more than our own."""
    monkeypatch.setattr(client_requests, "GRACE", LONG)

    def handle(sender: Optional[str], request: Message) -> Message:
        assert isinstance(request, Command)
        threading.Event().wait(request.timeout)
        return UNKNOWN

    with Listening(handle) as server, client_of(server.address, timeout=SOON) as client:
        with pytest.raises(MayHaveHappened, match="the command was not committed within"):
            client.put("x", "1")
