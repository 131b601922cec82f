"""The listening side on real sockets (§5.1): whatever comes in, the server answers it or closes it, and lives on."""

from __future__ import annotations

import resource
import socket
import threading
import time
from typing import Optional

import pytest
from raw_sockets import HELLO, PATIENCE, Listening, RawClient, answer_by_type, free_addresses, line

from raft_threads import rpc_server
from raft_threads.addresses import Address
from raft_threads.rpc_server import CannotListen, RpcServer
from raft_threads.transport import RequestRefused
from raft_threads.wire import Message

VOTE = {"type": "request_vote", "term": 1, "candidate_id": "n2", "last_log_index": 0, "last_log_term": 0}
STATUS = {"type": "status"}


@pytest.fixture(autouse=True)
def no_long_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shutdown waits for the poll interval; here are many."""
    monkeypatch.setattr(rpc_server, "POLL_INTERVAL", 0.01)


def refusal_of(client: RawClient) -> str:
    """Return the text of the error reply that must come now, before the connection is closed."""
    answer = client.read()
    assert answer["type"] == "error"
    assert client.is_ended()
    assert "\n" not in answer["message"]
    return str(answer["message"])


# Frames


def test_a_frame_may_come_byte_by_byte() -> None:
    """A stream has no message boundaries."""
    with Listening() as listening, listening.connect() as client:
        for byte in line(HELLO) + line(STATUS):
            client.send(bytes([byte]))
        assert [client.read()["type"] for _ in range(2)] == ["welcome", "status_reply"]


def test_several_frames_may_come_in_one_piece_and_are_answered_in_order() -> None:
    """Requests on one connection are answered in order."""
    with Listening() as listening, listening.connect() as client:
        client.send(line({**HELLO, "sender": "n2"}) + b"".join(line({**VOTE, "term": term}) for term in range(1, 50)))
        assert client.read()["type"] == "welcome"
        assert [client.read()["term"] for _ in range(1, 50)] == list(range(1, 50))


def test_a_caller_may_stop_sending_and_still_read_its_answers() -> None:
    """As `nc -N` and shutdown() do."""
    with Listening() as listening, listening.connect() as client:
        client.send(line(HELLO) + line(STATUS))
        client.socket.shutdown(socket.SHUT_WR)
        assert [client.read()["type"] for _ in range(2)] == ["welcome", "status_reply"]
        assert client.is_ended()


def test_a_connection_that_breaks_off_in_the_middle_of_a_message_harms_nobody() -> None:
    """Half a message is none."""
    handled: list[Message] = []

    def handle(sender: Optional[str], request: Message) -> Message:
        handled.append(request)
        return answer_by_type(sender, request)

    with Listening(handle) as listening:
        with listening.greet("n2") as client:
            client.send(line(VOTE)[:-5])
            client.socket.shutdown(socket.SHUT_WR)
            assert "broke off" in refusal_of(client)
        assert handled == []
        assert listening.still_serves()


# Who may talk


@pytest.mark.parametrize(
    "hello, complaint",
    [
        ({"type": "hello", "cluster": "other"}, "this is cluster 'raft', not 'other'"),
        ({**HELLO, "sender": "n2", "receiver": "n3"}, "this is server n1, not n3"),
        ({**HELLO, "receiver": "n2"}, "this is server n1, not n2"),
        ({**HELLO, "sender": "n1", "receiver": "n1"}, "n1 is this one"),
        (STATUS, "begins with hello"),
        ({"type": "welcome", "cluster": "raft", "id": "n2"}, "begins with hello"),
    ],
)
def test_who_does_not_belong_here_is_told_so_and_turned_away(hello: dict[str, object], complaint: str) -> None:
    """Two clusters on one machine never mix, and a wrong address is found out."""
    with Listening() as listening:
        with listening.connect() as client:
            client.send(line(hello))
            assert complaint in refusal_of(client)
        assert listening.still_serves()


@pytest.mark.parametrize(
    "sender, request_line, complaint",
    [
        (None, line(VOTE), "request_vote is not for clients to send"),
        ("n2", line(STATUS), "status is not for peers to send"),
        ("n2", line({"type": "command", "timeout": 1, "lines": 1}) + b"x\n", "command is not for peers to send"),
        (None, line(HELLO), "hello is not for clients to send"),
        ("n2", line({"type": "request_vote_reply", "term": 9, "vote_granted": True}), "is not for peers to send"),
    ],
)
def test_clients_and_peers_may_send_only_what_is_theirs(
    sender: Optional[str], request_line: bytes, complaint: str
) -> None:
    """A client cannot vote, and a peer cannot slip in commands."""
    with Listening() as listening:
        with listening.greet(sender) as client:
            client.send(request_line)
            assert complaint in refusal_of(client)
        assert listening.still_serves()


def test_a_handler_that_refuses_gets_its_reason_sent() -> None:
    """As the node does with an impostor, or when it stops."""

    def handle(sender: Optional[str], request: Message) -> Message:
        raise RequestRefused("n2 sent a message in the name of n3")

    with Listening(handle) as listening, listening.greet("n2") as client:
        client.send(line({**VOTE, "candidate_id": "n3"}))
        assert "in the name of n3" in refusal_of(client)


# Nonsense


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: n1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
        b"\n",
        b"[1]\n",
        b"[" * 60_000 + b"\n",
        b'{"type":"hello"}\n',
        b'{"type":"gossip"}\n',
        bytes(range(256)) * 300,
    ],
)
def test_garbage_gets_an_error_reply_and_a_closed_connection(garbage: bytes) -> None:
    """A browser, a TLS client, a port scanner."""
    with Listening() as listening:
        with listening.connect() as client:
            client.send(garbage)
            assert refusal_of(client)
        assert listening.still_serves()


def test_after_an_error_reply_the_connection_ends_in_order_even_if_more_was_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Closing with unread input would reset the connection, and the reply could be lost on its way."""
    monkeypatch.setattr(rpc_server, "LINGER_SECONDS", PATIENCE)
    with Listening() as listening:
        with listening.connect() as client:
            client.send(b"garbage\n" * 100_000)
            assert client.read()["type"] == "error"
            assert client.read_line() == b"", "the end, and no ConnectionResetError"
            for _ in range(20):
                client.send(b"garbage\n" * 100)


def test_who_does_not_hang_up_after_an_error_reply_costs_no_thread_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server waits a moment for what is still coming, and not for ever."""
    monkeypatch.setattr(rpc_server, "LINGER_SECONDS", 0.05)
    with Listening() as listening, listening.connect() as client:
        client.send(b"garbage\n")
        assert client.read()["type"] == "error"
        for thread in list(listening.server._connections.values()):
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.mark.parametrize("beginning", [b"", line(HELLO), line(HELLO) + b'{"type":"command","timeout":1,"lines":1}\n'])
def test_a_hundred_megabytes_without_a_newline_are_not_taken_in(beginning: bytes) -> None:
    """The server reads up to its limit and hangs up; it never holds what it was sent."""
    chunk = b"x" * (1024 * 1024)
    sent = 0
    with Listening() as listening:
        with listening.connect() as client:
            client.send(beginning)
            if beginning:
                assert client.read()["type"] == "welcome"
            try:
                while sent < 100 * len(chunk):
                    sent += client.socket.send(chunk)
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert "longer than" in refusal_of(client)
        assert sent < 40 * len(chunk)
        assert listening.still_serves()


def test_a_caller_that_never_reads_its_answers_slows_nobody_else() -> None:
    """Its thread waits until its socket takes more; and close() gets rid of it."""
    with Listening() as listening, listening.greet() as deaf:
        deaf.socket.settimeout(0.2)
        with pytest.raises(OSError):
            for _ in range(1000):
                deaf.send(line(STATUS) * 4000)
        assert listening.still_serves()
        began = time.monotonic()
        listening.server.close()
        assert time.monotonic() - began < 1


# Silence


def test_who_connects_and_says_nothing_is_hung_up_on_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection costs a thread; it has to say hello."""
    monkeypatch.setattr(rpc_server, "HELLO_TIMEOUT", 0.05)
    with Listening() as listening:
        with listening.connect() as client:
            assert client.is_ended()
        with listening.connect() as client:
            client.send(line(HELLO)[:10])
            assert client.is_ended()
        assert listening.still_serves()


def test_who_has_said_hello_may_stay_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader sends to its peers again after any pause."""
    monkeypatch.setattr(rpc_server, "HELLO_TIMEOUT", 0.05)
    with Listening() as listening, listening.greet("n2") as peer:
        with listening.connect() as silent:
            assert silent.is_ended(), "longer than the time for hello has passed"
        peer.send(line(VOTE))
        assert peer.read()["vote_granted"] is True


def test_the_kernel_is_asked_to_find_out_about_peers_that_vanish() -> None:
    """A half-open connection: the other machine lost power. Without keepalive its thread would wait for ever."""
    with Listening() as listening, listening.greet("n2"):
        (connection,) = listening.server._connections
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) != 0
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60


def test_an_answer_is_never_held_back_to_be_sent_with_another() -> None:
    """Nagle's algorithm would wait for the other side's acknowledgement, which may take 40 ms."""
    with Listening() as listening, listening.greet("n2"):
        (connection,) = listening.server._connections
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_a_connection_that_is_reset_harms_nobody() -> None:
    """As when a process is killed with unread input."""
    with Listening() as listening:
        for _ in range(5):
            client = listening.greet()
            client.send(line(STATUS) * 100)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        assert listening.still_serves()


# Many


def test_beyond_the_limit_connections_are_closed_at_once_and_room_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each connection costs a thread and a descriptor."""
    monkeypatch.setattr(rpc_server, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(rpc_server, "HELLO_TIMEOUT", 1000.0)  # it is not for its silence that one is turned away
    with Listening() as listening:
        kept = [listening.greet() for _ in range(3)]
        with listening.connect() as one_too_many:
            assert one_too_many.is_ended()
        kept[0].send(line(STATUS))
        assert kept[0].read()["type"] == "status_reply"
        threads = list(listening.server._connections.values())
        for client in kept:
            client.close()
        for thread in threads:
            thread.join(PATIENCE)
        assert listening.still_serves()


def test_many_who_come_at_once_can_connect_before_the_first_is_accepted() -> None:
    """With a short queue the kernel would turn some away, and they would try again only after a second."""
    address = free_addresses("n1")["n1"]
    server = RpcServer("n1", "raft", address, answer_by_type)
    try:
        callers = [socket.create_connection(address, timeout=0.9) for _ in range(64)]
        for caller in callers:
            caller.close()
    finally:
        server.close()


def test_connections_leave_the_server_enough_descriptors_for_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that cannot open its file stops the server for good; callers must not be able to bring that about."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    assert rpc_server.connection_limit() == 128
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY,) * 2)
    assert rpc_server.connection_limit() == rpc_server.MAX_CONNECTIONS


def test_a_connection_that_gets_no_thread_is_closed_and_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the system's limit on threads is reached."""
    with Listening() as listening:
        with monkeypatch.context() as patched:

            def start(thread: threading.Thread) -> None:
                raise RuntimeError("can't start new thread")

            patched.setattr(threading.Thread, "start", start)
            with listening.connect() as client:
                assert client.is_ended()
        assert listening.still_serves()


def test_close_ends_fifty_silent_clients_and_peers_in_well_under_a_second() -> None:
    """socketserver's own server_close() would wait for them for ever."""
    before = set(threading.enumerate())
    with Listening() as listening:
        clients = [listening.connect() for _ in range(25)] + [listening.greet() for _ in range(25)]
        clients += [listening.greet("n2"), listening.greet("n3")]
        began = time.monotonic()
        listening.server.close()
        assert time.monotonic() - began < 1
        assert set(threading.enumerate()) == before
        assert all(client.is_ended() for client in clients)
        for client in clients:
            client.close()
        with pytest.raises(ConnectionRefusedError):
            listening.connect()


def test_close_ends_a_server_that_was_never_started() -> None:
    """As when the other half of the server could not be made."""
    address = free_addresses("n1")["n1"]
    RpcServer("n1", "raft", address, answer_by_type).close()
    with Listening(address=address) as listening:
        assert listening.still_serves()


def test_threads_are_named_after_whom_they_serve() -> None:
    """docs/threads.md: what a debugger shows."""
    with Listening() as listening, listening.greet("n2"), listening.greet() as client:
        names = {thread.name for thread in threading.enumerate()}
        host, port = client.socket.getsockname()
        assert {"n1/acceptor", "n1/rpc-from-n2", f"n1/rpc-from-{host}:{port}"} <= names


# Addresses


def test_a_port_in_use_is_one_clear_line() -> None:
    """Not a traceback."""
    with Listening() as listening:
        with pytest.raises(CannotListen, match="cannot listen on 127.0.0.1:[0-9]+: .*in use") as caught:
            RpcServer("n1", "raft", listening.address, answer_by_type)
        assert "\n" not in str(caught.value)
        assert listening.still_serves()


@pytest.mark.parametrize("address", [Address("a..b", 3300), Address("127.0.0.1", 70_000)])
def test_an_address_that_cannot_be_is_one_clear_line(address: Address) -> None:
    """A typing error in --cluster."""
    with pytest.raises(CannotListen) as caught:
        RpcServer("n1", "raft", address, answer_by_type)
    assert str(address) in str(caught.value) and "\n" not in str(caught.value)


def test_a_port_can_be_had_again_right_after_a_server_with_connections_stopped() -> None:
    """A restart must not wait for TIME_WAIT to pass."""
    address = free_addresses("n1")["n1"]
    for _ in range(3):
        with Listening(address=address) as listening, listening.greet("n2"):
            assert listening.still_serves()


def test_ipv6_addresses_work() -> None:
    """`n1=[::1]:3300`."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip("this machine has no IPv6")
    with Listening(address=Address("::1", port)) as listening:
        assert listening.still_serves()
