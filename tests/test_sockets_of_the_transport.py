"""The calling side on real sockets (§5.1): one connection kept per peer, and no answer is never a reason to fail."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Callable, Optional

import pytest
from raw_sockets import PATIENCE, Listening, RawServer, free_addresses, line, refuse_all

from raft_threads import rpc_server
from raft_threads.addresses import Address
from raft_threads.client_messages import ErrorReply, Hello
from raft_threads.connection import Connection, ConnectionLost
from raft_threads.log import LogEntry
from raft_threads.messages import AppendEntries, AppendEntriesReply, Reply, Request, RequestVote, RequestVoteReply
from raft_threads.tcp_transport import TcpTransport
from raft_threads.transport import PeerDidNotAnswer, RequestRefused
from raft_threads.wire import Message

WELCOME = line({"type": "welcome", "cluster": "raft", "id": "n2"})
VOTE_REPLY = line({"type": "request_vote_reply", "term": 1, "vote_granted": True})


@pytest.fixture(autouse=True)
def no_long_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shutdown waits for the poll interval; here are many."""
    monkeypatch.setattr(rpc_server, "POLL_INTERVAL", 0.01)


def vote(term: int) -> RequestVote:
    """Return a request to tell from others by its term."""
    return RequestVote(term, "n1", 0, 0)


def agree(peer: str, request: Request) -> Reply:
    """Be a node that grants every vote and takes every entry."""
    if isinstance(request, RequestVote):
        return RequestVoteReply(request.term, True)
    return AppendEntriesReply(request.term, True)


def no_client(request: Message) -> Message:
    """Be a server without clients."""
    return ErrorReply("no clients here")


@contextmanager
def transport_to(
    addresses: dict[str, Address],
    server: str = "n1",
    cluster: str = "raft",
    handle: Callable[[str, Request], Reply] = refuse_all,
) -> Iterator[TcpTransport]:
    """A transport of one server, running."""
    transport = TcpTransport(server, cluster, addresses, no_client)
    transport.start(handle)
    try:
        yield transport
    finally:
        transport.close()


@contextmanager
def transport_and(behave: Callable[[socket.socket], None]) -> Iterator[tuple[TcpTransport, RawServer]]:
    """A transport of n1, whose peer n2 behaves as told."""
    with RawServer(behave) as peer:
        with transport_to({**free_addresses("n1"), "n2": peer.address}) as transport:
            yield transport, peer


def test_a_request_is_answered_by_the_peers_handler() -> None:
    """§5.1: servers communicate using remote procedure calls."""
    asked: list[tuple[str, Request]] = []

    def handle(peer: str, request: Request) -> Reply:
        asked.append((peer, request))
        return agree(peer, request)

    addresses = free_addresses("n1", "n2")
    with transport_to(addresses) as n1, transport_to(addresses, "n2", handle=handle):
        assert n1.call("n2", vote(3), PATIENCE) == RequestVoteReply(3, True)
        heartbeat = AppendEntries(3, "n1", 0, 0, (), 0)
        assert n1.call("n2", heartbeat, PATIENCE) == AppendEntriesReply(3, True)
        assert asked == [("n1", vote(3)), ("n1", heartbeat)]


def test_one_connection_serves_many_calls() -> None:
    """It is kept open."""
    with Listening() as listening:
        listening.server.server_id = "n2"
        with transport_to({**free_addresses("n1"), "n2": listening.address}) as transport:
            transport.call("n2", vote(1), PATIENCE)
            (connection,) = listening.server._connections
            for term in range(2, 100):
                assert transport.call("n2", vote(term), PATIENCE) == RequestVoteReply(term, True)
            assert list(listening.server._connections) == [connection]


def test_a_connection_that_a_restarted_peer_closed_costs_no_call() -> None:
    """It is noticed before anything is sent on it."""
    addresses = free_addresses("n1", "n2")
    with transport_to(addresses) as n1:
        for term in range(1, 4):
            with transport_to(addresses, "n2", handle=agree):
                assert n1.call("n2", vote(term), PATIENCE) == RequestVoteReply(term, True)


def test_after_a_peers_restart_the_next_call_connects_again() -> None:
    """§5.5: if the server restarts, the RPC will complete successfully."""
    addresses = free_addresses("n1", "n2")
    with transport_to(addresses) as n1:
        for term in range(1, 4):
            with transport_to(addresses, "n2", handle=agree):
                assert n1.call("n2", vote(term), PATIENCE) == RequestVoteReply(term, True)
            with pytest.raises(PeerDidNotAnswer):
                n1.call("n2", vote(term), PATIENCE)


def test_a_port_where_nobody_listens_is_a_peer_that_does_not_answer() -> None:
    """However often; and one line says so."""
    with transport_to(free_addresses("n1", "n2")) as n1:
        for _ in range(20):
            with pytest.raises(PeerDidNotAnswer, match="cannot connect to 127.0.0.1:") as caught:
                n1.call("n2", vote(1), PATIENCE)
            assert "\n" not in str(caught.value)


def test_a_peer_that_accepts_and_never_answers_costs_about_the_timeout() -> None:
    """As a stopped process does."""
    with transport_and(lambda connection: None) as (transport, _):
        began = time.monotonic()
        with pytest.raises(PeerDidNotAnswer):
            transport.call("n2", vote(1), 0.1)
        assert 0.09 < time.monotonic() - began < 5


def test_a_peer_that_welcomes_us_and_then_never_answers_costs_about_the_timeout() -> None:
    """The same, later."""
    with transport_and(lambda connection: connection.sendall(WELCOME)) as (transport, peer):
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(PeerDidNotAnswer):
                transport.call("n2", vote(1), 0.1)
            assert 0.09 < time.monotonic() - began < 5
        assert peer.accepted == 2, "the answer might still come: that connection is of no use any more"


def test_a_reply_that_comes_too_late_never_answers_a_later_request() -> None:
    """Else the reply to one request would be taken for that to another."""
    may_answer = threading.Event()
    late: list[threading.Thread] = []

    def answer_late(connection: socket.socket) -> None:
        may_answer.wait(PATIENCE)
        with suppress(OSError):
            connection.sendall(VOTE_REPLY)

    def behave(connection: socket.socket) -> None:
        connection.sendall(WELCOME)
        if peer_box[0].accepted == 1:
            late.append(threading.Thread(target=answer_late, args=(connection,)))
            late[0].start()
        else:
            connection.sendall(line({"type": "request_vote_reply", "term": 2, "vote_granted": False}))

    peer_box: list[RawServer] = []
    with RawServer(behave) as peer:
        peer_box.append(peer)
        with transport_to({**free_addresses("n1"), "n2": peer.address}) as transport:
            with pytest.raises(PeerDidNotAnswer):
                transport.call("n2", vote(1), 0.1)
            may_answer.set()
            late[0].join(PATIENCE)
            assert transport.call("n2", vote(2), PATIENCE) == RequestVoteReply(2, False)


@pytest.mark.parametrize(
    "answers",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"x" * 200_000,
        line({"type": "status_reply"}),
        line({"type": "error", "message": "go away"}),
        VOTE_REPLY,
        WELCOME + b"\0\0\0\n",
        WELCOME + b"{" * 100_000,
        WELCOME + line({"type": "append_entries_reply", "term": 1, "success": True}),
        WELCOME + line({"type": "command_result", "lines": 1}) + b"x\n",
        WELCOME + line({"type": "error", "message": "n2 stops"}),
        WELCOME + WELCOME,
    ],
)
def test_a_peer_that_answers_nonsense_is_a_peer_that_did_not_answer(answers: bytes) -> None:
    """The node tries again for ever; nothing else may come out of a call (§5.5)."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(answers)
        connection.shutdown(socket.SHUT_WR)

    with transport_and(behave) as (transport, _):
        for _ in range(2):
            with pytest.raises(PeerDidNotAnswer) as caught:
                transport.call("n2", vote(1), PATIENCE)
            assert "\n" not in str(caught.value)


def test_after_an_answer_of_the_wrong_kind_the_connection_is_not_used_again() -> None:
    """Its next answer might be to this request."""
    wrong = WELCOME + line({"type": "append_entries_reply", "term": 1, "success": True})
    with transport_and(lambda connection: connection.sendall(wrong)) as (transport, peer):
        for count in (1, 2):
            with pytest.raises(PeerDidNotAnswer, match="it answered with append_entries_reply"):
                transport.call("n2", vote(1), PATIENCE)
            assert peer.accepted == count


def test_what_a_peer_says_unasked_is_never_taken_for_an_answer() -> None:
    """§5.1: one answer to a request. Here the first request gets two at once."""
    answers = WELCOME + VOTE_REPLY + line({"type": "request_vote_reply", "term": 9, "vote_granted": True})
    with transport_and(lambda connection: connection.sendall(answers)) as (transport, peer):
        for count in (1, 2):
            assert transport.call("n2", vote(count), PATIENCE) == RequestVoteReply(1, True)
            assert peer.accepted == count


def test_a_peer_that_closes_the_connection_while_we_wait_is_a_peer_that_did_not_answer() -> None:
    """As a crash does."""
    with transport_and(lambda connection: connection.shutdown(socket.SHUT_RDWR)) as (transport, _):
        with pytest.raises(PeerDidNotAnswer):
            transport.call("n2", vote(1), PATIENCE)


def test_two_clusters_on_one_machine_never_mix() -> None:
    """A peer must present the right cluster name."""
    addresses = free_addresses("n1", "n2")
    with transport_to(addresses, cluster="blue") as blue, transport_to(addresses, "n2", "green"):
        with pytest.raises(PeerDidNotAnswer, match="this is cluster 'green', not 'blue'"):
            blue.call("n2", vote(1), PATIENCE)


def test_swapped_addresses_are_found_out() -> None:
    """n1 means n2, and reaches n3."""
    one, two, three = free_addresses("n1", "n2", "n3").values()
    with transport_to({"n1": one, "n2": two, "n3": three}) as n1:
        with transport_to({"n1": one, "n2": three, "n3": two}, "n3"):
            with pytest.raises(PeerDidNotAnswer, match="this is server n3, not n2; check the addresses"):
                n1.call("n2", vote(1), PATIENCE)


def test_a_refusal_by_the_peers_node_is_told_and_the_next_call_goes_through() -> None:
    """The connection was closed with the refusal; a new one is made."""
    refusals = iter([True, False])

    def handle(peer: str, request: Request) -> Reply:
        if next(refusals):
            raise RequestRefused("this server is stopping")
        return agree(peer, request)

    addresses = free_addresses("n1", "n2")
    with transport_to(addresses) as n1, transport_to(addresses, "n2", handle=handle):
        with pytest.raises(PeerDidNotAnswer, match="n2 refused request_vote: this server is stopping"):
            n1.call("n2", vote(1), PATIENCE)
        assert n1.call("n2", vote(2), PATIENCE) == RequestVoteReply(2, True)


# One connection


def test_a_connection_that_got_no_answer_is_closed() -> None:
    """The answer may still come, and must not be taken for that to another request."""
    with RawServer(lambda connection: None) as silent:
        connection = Connection(silent.address, PATIENCE)
        assert connection.is_open()
        with pytest.raises(ConnectionLost):
            connection.exchange(Hello("raft"), 0.05)
        assert not connection.is_open()


def test_a_request_is_never_held_back_to_be_sent_with_another() -> None:
    """Nagle's algorithm would wait for the other side's acknowledgement, which may take 40 ms."""
    with Listening() as listening:
        connection = Connection(listening.address, PATIENCE)
        assert connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        connection.close()


def test_a_caller_that_hangs_up_at_once_is_one_we_cannot_connect_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS lets nobody set options of a connection that the other side has closed; a server must not end of that."""

    class HungUp(socket.socket):
        def setsockopt(self, *arguments: object) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(socket, "create_connection", lambda address, timeout: HungUp())
    with transport_to(free_addresses("n1", "n2")) as n1:
        with pytest.raises(PeerDidNotAnswer, match="Invalid argument"):
            n1.call("n2", vote(1), PATIENCE)


def test_a_peer_whose_machine_is_silent_does_not_hold_up_the_end_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting cannot be interrupted, so it is given up early, however long an answer may take."""
    waited: list[float] = []

    def create_connection(address: Address, timeout: float) -> socket.socket:
        waited.append(timeout)
        raise socket.timeout("timed out")

    with transport_to(free_addresses("n1", "n2")) as n1:
        monkeypatch.setattr(socket, "create_connection", create_connection)
        for timeout in (60.0, 0.05):
            with pytest.raises(PeerDidNotAnswer, match="timed out"):
                n1.call("n2", vote(1), timeout)
    assert waited[0] <= 0.5 and waited[1] <= 0.05


# The end


def test_close_ends_calls_that_wait() -> None:
    """Well under a second, although the peer never answers and the timeout is long."""
    welcomed = threading.Semaphore(0)

    def behave(connection: socket.socket) -> None:
        connection.sendall(WELCOME)
        connection.recv(65536)
        welcomed.release()

    with ExitStack() as stack:
        peers = [stack.enter_context(RawServer(behave)) for _ in range(4)]
        addresses = {**free_addresses("n1"), **{f"p{i}": peer.address for i, peer in enumerate(peers)}}
        transport = stack.enter_context(transport_to(addresses))
        outcomes: list[Optional[Exception]] = []

        def call(peer: str) -> None:
            try:
                transport.call(peer, vote(1), PATIENCE)
            except PeerDidNotAnswer as error:
                outcomes.append(error)

        threads = [threading.Thread(target=call, args=(peer,)) for peer in addresses if peer != "n1"]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert welcomed.acquire(timeout=PATIENCE)
        began = time.monotonic()
        transport.close()
        for thread in threads:
            thread.join(PATIENCE)
        assert time.monotonic() - began < 1
        assert len(outcomes) == len(threads)


def test_after_close_a_call_fails_at_once_and_leaves_nothing_open() -> None:
    """The node's threads may still come once before they see that it stops."""
    with Listening() as listening:
        listening.server.server_id = "n2"
        with transport_to({**free_addresses("n1"), "n2": listening.address}) as transport:
            transport.close()
            with pytest.raises(PeerDidNotAnswer, match="stopping"):
                transport.call("n2", vote(1), PATIENCE)
            assert transport._connections == {}


def test_a_large_message_goes_through_whole() -> None:
    """As a follower gets that was away for long."""
    entries = tuple(LogEntry(index, 1, command=bytes([index % 256]) * 1000) for index in range(1, 2000))
    got: list[Request] = []

    def handle(peer: str, request: Request) -> Reply:
        got.append(request)
        return agree(peer, request)

    addresses = free_addresses("n1", "n2")
    with transport_to(addresses) as n1, transport_to(addresses, "n2", handle=handle):
        request = AppendEntries(1, "n1", 0, 0, entries, 0)
        assert n1.call("n2", request, PATIENCE) == AppendEntriesReply(1, True)
        assert got == [request]
