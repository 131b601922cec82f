"""The client's side of sessions (§8; Diss. §6.3): what got no answer is sent again, and executed once."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Optional

import pytest
from fake_cluster import (
    EXPIRED,
    NOT_LEADER,
    Behaviour,
    FakeServer,
    SharedLog,
    answer,
    client_of,
    do_not_know,
    do_not_lead,
    lead,
    lose_the_answer,
    lose_the_request,
)
from raw_sockets import PATIENCE, RawServer, free_addresses

from raft_threads import client_requests, client_session, rpc_server
from raft_threads.client import MayHaveHappened, SurelyFailed
from raft_threads.client_messages import ErrorReply, Outcome, Query, Refusal, Register
from raft_threads.wire import Message

SOON = 0.2


@pytest.fixture(autouse=True)
def no_long_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shutdown waits for the poll interval; here are many."""
    monkeypatch.setattr(rpc_server, "POLL_INTERVAL", 0.01)


@pytest.fixture
def log() -> SharedLog:
    """What all servers of a test agree on."""
    return SharedLog()


# Executed once


@pytest.mark.parametrize("mishap", [lose_the_answer, lose_the_request, do_not_know])
def test_a_command_without_an_answer_is_sent_again_and_executed_once(log: SharedLog, mishap: Behaviour) -> None:
    """§8: a leader that crashes after committing the entry, but before it answers."""
    with FakeServer(log, mishap, mishap, lead) as server, client_of(server.address) as client:
        assert client.increment("x") == 1
        assert client.increment("x", 10) == 11
    assert log.store.items == {"x": "11"}
    assert [command.sequence for command in server.commands] == [1, 1, 1, 2]


def test_without_a_session_it_would_be_executed_twice(log: SharedLog) -> None:
    """§8: as described so far, Raft can execute a command multiple times. So the client does not send it again."""
    with FakeServer(log, lose_the_answer, lead) as server, client_of(server.address, sessions=False) as client:
        with pytest.raises(MayHaveHappened):
            client.increment("x")
        assert client.increment("x") == 2, "who asks again without looking counts twice"


def test_another_server_answers_for_a_leader_that_died(log: SharedLog) -> None:
    """§8: the sessions are in the log, so the new leader knows the answer."""
    with FakeServer(log, lose_the_answer, do_not_lead) as leader, FakeServer(log, do_not_lead, lead) as successor:
        with client_of(leader.address, free_addresses("n2")["n2"], successor.address) as client:
            assert client.increment("x") == 1
        assert [len(server.commands) for server in (leader, successor)] == [2, 2]
    assert log.store.items == {"x": "1"}


def test_the_first_write_opens_a_session_and_reads_need_none(log: SharedLog) -> None:
    """§8: read-only operations can be handled without writing anything into the log."""
    with FakeServer(log) as server, client_of(server.address) as client:
        assert client.get("x") is None
        assert log.entries == []
        for _ in range(3):
            client.put("x", "1")
        assert client.get("x") == "1"
    assert [entry.kind for entry in log.entries] == ["register", "session", "session", "session"]
    assert [type(request) for request in server.asked[:2]] == [Query, Register]


def test_commands_are_numbered_and_tell_which_answers_the_client_has(log: SharedLog) -> None:
    """Diss. §6.3: so that the servers can forget those."""
    with FakeServer(log) as server, client_of(server.address) as client:
        for _ in range(3):
            client.increment("x")
    assert [(command.client_id, command.sequence, command.first_unanswered) for command in server.commands] == [
        (1, 1, 1), (1, 2, 2), (1, 3, 3)
    ]


def test_a_refusal_of_the_store_is_an_answer_like_any_other(log: SharedLog) -> None:
    """It is remembered by the session, too."""
    with FakeServer(log, lead, lose_the_answer, lead) as server, client_of(server.address) as client:
        client.put("x", "no number")
        with pytest.raises(SurelyFailed, match="a counter is a whole number"):
            client.increment("x")
    assert len(server.commands) == 3


# When the time is up


@pytest.mark.parametrize(
    "behaviour, outcome",
    [
        (answer(NOT_LEADER), SurelyFailed),
        (answer(Refusal(Outcome.FAILED, "another leader's entry took its place")), SurelyFailed),
        (lose_the_request, MayHaveHappened),
        (answer(Refusal(Outcome.UNKNOWN, "nobody knows")), MayHaveHappened),
    ],
    ids=["no leader", "failed", "no answer", "unknown"],
)
def test_when_the_time_is_up_the_client_says_what_is_known(
    log: SharedLog, behaviour: Behaviour, outcome: type[Exception]
) -> None:
    """§8: the command was surely not executed, or nobody knows."""
    with FakeServer(log, behaviour) as server, client_of(server.address, timeout=SOON) as client:
        with pytest.raises(outcome, match="within 0.2 s"):
            client.put("x", "1")
        assert len(server.commands) > 1


def test_a_doubt_is_not_forgotten_when_later_attempts_surely_fail(log: SharedLog) -> None:
    """The first attempt may have been executed, whatever becomes of the others."""
    with FakeServer(log, lose_the_answer, answer(NOT_LEADER)) as server:
        with client_of(server.address, timeout=SOON) as client:
            with pytest.raises(MayHaveHappened, match="an earlier attempt is in doubt: the server did not answer"):
                client.put("x", "1")
    with FakeServer(log, lose_the_answer, answer(ErrorReply("no commands today"))) as server:
        with client_of(server.address) as client:
            with pytest.raises(MayHaveHappened, match="no commands today; an earlier attempt is in doubt"):
                client.put("x", "2")
    assert log.store.items == {"x": "2"}


def test_a_command_that_was_given_up_is_never_executed_after_the_next_one(log: SharedLog) -> None:
    """Diss. §6.3: the next command says that nobody waits for it any more."""
    with FakeServer(log, lose_the_request) as server:
        with client_of(server.address, timeout=SOON) as client:
            with pytest.raises(MayHaveHappened):
                client.put("x", "late")
            server.script[:] = [lead]
            client.put("x", "1")
            late = server.commands[0]
            assert log.carry_out(late) == Refusal(Outcome.SESSION_EXPIRED, "who are you?")
    assert log.store.items == {"x": "1"}


def test_a_read_without_an_answer_is_no_doubt(log: SharedLog) -> None:
    """It has changed nothing."""
    with FakeServer(log, lose_the_answer) as server, client_of(server.address, timeout=SOON) as client:
        with pytest.raises(SurelyFailed, match="did not answer"):
            client.get("x")


def test_a_server_that_is_silent_is_left_for_another_one(log: SharedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process that was stopped: within a session a write need not wait for it until the time is up."""
    monkeypatch.setattr(client_requests, "ATTEMPT_TIMEOUT", 0.01)
    monkeypatch.setattr(client_requests, "GRACE", 0.01)
    hello = b'{"type":"welcome","cluster":"raft","id":"n1"}\n'
    with RawServer(lambda connection: connection.sendall(hello)) as stopped, FakeServer(log) as leader:
        with client_of(stopped.address, leader.address) as client:
            assert client.increment("x") == 1


# When the session has expired


def test_an_expired_session_is_replaced_if_nothing_is_in_doubt() -> None:
    """Diss. §6.3: here other clients have taken all room. The command is executed, once."""
    log = SharedLog(max_sessions=2)
    with FakeServer(log) as server, client_of(server.address) as client:
        assert client.increment("x") == 1
        for _ in range(2):
            log.carry_out(Register(1.0))
        assert client.increment("x") == 2
        assert client.increment("x") == 3
    assert [(command.client_id, command.sequence) for command in server.commands] == [(1, 1), (1, 2), (6, 2), (6, 3)]


def test_an_expired_session_leaves_a_command_in_doubt_in_doubt(log: SharedLog) -> None:
    """Diss. §6.3: the answer went with the session. The next command opens a new one."""
    with FakeServer(log, lose_the_answer, answer(EXPIRED), lead) as server, client_of(server.address) as client:
        with pytest.raises(MayHaveHappened, match="the session has expired, and an earlier attempt is in doubt"):
            client.increment("x")
        assert client.increment("x") == 2
    assert [entry.kind for entry in log.entries] == ["register", "session", "register", "session"]


def test_sessions_that_expire_at_once_end_with_the_clients_time(log: SharedLog) -> None:
    """And the log is not flooded with new ones meanwhile."""
    with FakeServer(log, answer(EXPIRED)) as server, client_of(server.address, timeout=SOON) as client:
        with pytest.raises(SurelyFailed, match="session is not known any more"):
            client.put("x", "1")
    assert 2 <= len(log.entries) <= 10


def test_a_session_whose_opening_got_no_answer_is_opened_again(log: SharedLog) -> None:
    """It does no harm to open one too many."""
    with FakeServer(log, register=[lose_the_answer, do_not_know, lead]) as server, client_of(server.address) as client:
        assert client.increment("x") == 1
    assert [entry.kind for entry in log.entries] == ["register", "register", "register", "session"]


def test_if_no_session_can_be_opened_the_command_surely_failed(log: SharedLog) -> None:
    """It was not sent yet."""
    with FakeServer(log, register=[lose_the_answer]) as server, client_of(server.address, timeout=SOON) as client:
        with pytest.raises(SurelyFailed, match="did not answer"):
            client.put("x", "1")
        assert server.commands == []


# Finding the leader


def test_a_leader_without_a_majority_is_left_for_one_that_has_it(log: SharedLog) -> None:
    """§8: it takes commands and cannot commit them, and it does not know that there is a newer leader."""
    cannot = Refusal(Outcome.FAILED, "no majority confirmed that this server leads")
    cut_off = answer(Refusal(Outcome.UNKNOWN, "the command was not committed"))
    with FakeServer(log, cut_off) as old, FakeServer(log) as new, client_of(old.address, new.address) as client:
        client.put("x", "1")
        assert (len(old.commands), len(new.commands)) == (1, 1)
    with FakeServer(log, answer(cannot)) as old, client_of(old.address, free_addresses("n2")["n2"]) as client:
        with FakeServer(log, address=client._cluster["n2"]) as new:
            assert client.get("x") == "1"


def test_when_all_servers_that_the_client_knew_are_gone_it_asks_those_that_it_was_told_of(log: SharedLog) -> None:
    """§6: one by one, a cluster may have been replaced by another."""
    addresses = free_addresses("n1", "n4")
    told = Refusal(Outcome.NOT_LEADER, "this server is not the leader; n4 is", "n4", str(addresses["n4"]))
    with client_of(addresses["n1"]) as client:
        with FakeServer(log, answer(told), lead, address=addresses["n1"]):
            assert client.get("x") is None
        with FakeServer(log, do_not_lead, lead, address=addresses["n4"]) as added:
            client.put("x", "1")
        assert len(added.asked) == 3


def test_a_server_that_has_moved_is_found_where_the_others_say_it_is(log: SharedLog) -> None:
    """§6: the client's list is older than the cluster's configuration."""
    with FakeServer(log) as leader:
        told = Refusal(Outcome.NOT_LEADER, "this server is not the leader; n2 is", "n2", str(leader.address))
        with FakeServer(log, answer(told)) as follower:
            with client_of(follower.address, free_addresses("n2")["n2"]) as client:
                assert client.get("x") is None


# Several threads


@pytest.fixture
def crowd() -> Iterator[ThreadPoolExecutor]:
    """Threads that share a client."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        yield pool


@pytest.mark.parametrize("seed", range(3))
def test_threads_may_share_a_client_and_each_command_is_executed_once(
    log: SharedLog, crowd: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Diss. §6.3: several commands under way in one session, with answers lost at random."""
    print(f"seed {seed}")
    monkeypatch.setattr(client_requests, "FIRST_BACKOFF", 0.001)
    dice = random.Random(f"answers {seed}")
    behaviours = [dice.choice([lead, lead, lead, lose_the_answer, lose_the_request, do_not_know]) for _ in range(150)]
    with FakeServer(log, *behaviours, lead) as server, client_of(server.address) as client:
        sums = list(crowd.map(lambda _: client.increment("x"), range(80)))
    assert sorted(sums) == list(range(1, 81))
    assert log.store.items == {"x": "80"}
    assert len({command.client_id for command in server.commands}) == 1
    assert [entry.kind for entry in log.entries].count("register") == 1


def test_a_command_that_waits_holds_up_no_other_and_keeps_its_place(log: SharedLog, crowd: ThreadPoolExecutor) -> None:
    """Diss. §6.3: the servers remember the answers from the first command that has none."""
    arrived, may_go_on = threading.Event(), threading.Event()

    def slow(request: Message, carry_out: Callable[[Message], Message]) -> Message:
        arrived.set()
        assert may_go_on.wait(PATIENCE)
        return NOT_LEADER

    with FakeServer(log, slow, lead) as server, client_of(server.address) as client:
        waiting = crowd.submit(client.increment, "x")
        assert arrived.wait(PATIENCE)
        assert [client.increment("x") for _ in range(3)] == [1, 2, 3]
        may_go_on.set()
        assert waiting.result(PATIENCE) == 4
    numbers = [(command.sequence, command.first_unanswered) for command in server.commands]
    assert numbers == [(1, 1), (2, 1), (3, 1), (4, 1), (1, 1)]


def test_no_more_commands_are_under_way_than_the_servers_remember_answers(
    log: SharedLog, crowd: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an answer could be forgotten that somebody asks for again."""
    monkeypatch.setattr(client_session, "MAX_REPLIES_PER_SESSION", 2)
    arrived, may_go_on = threading.Event(), threading.Event()

    def slow(request: Message, carry_out: Callable[[Message], Message]) -> Message:
        arrived.set()
        assert may_go_on.wait(PATIENCE)
        return NOT_LEADER

    waits = threading.Event()

    class NotedCondition(threading.Condition):
        """Tells when somebody waits on it."""

        def wait(self, timeout: Optional[float] = None) -> bool:
            """Say so, with the lock held, and wait."""
            waits.set()
            return super().wait(timeout)

    with FakeServer(log, slow, lead) as server, client_of(server.address) as client:
        assert client._session is not None
        client._session._window_moved = NotedCondition(client._session._lock)
        first = crowd.submit(client.increment, "x")
        assert arrived.wait(PATIENCE)
        assert client.increment("x") == 1
        client._timeout = 0.02
        with pytest.raises(SurelyFailed, match="too many commands are under way"):
            client.increment("x")
        client._timeout = 3 * PATIENCE  # longer than this test waits for it
        waits.clear()
        third = crowd.submit(client.increment, "x")
        assert waits.wait(PATIENCE)
        may_go_on.set()
        assert {first.result(PATIENCE), third.result(PATIENCE)} == {2, 3}
    assert max(command.sequence or 0 for command in server.commands) == 3


def test_threads_that_begin_together_open_one_session(log: SharedLog, crowd: ThreadPoolExecutor) -> None:
    """The others wait for it."""
    start = threading.Barrier(8)

    def begin(number: int) -> int:
        start.wait(PATIENCE)
        return client.increment("x")

    with FakeServer(log) as server, client_of(server.address) as client:
        assert sorted(crowd.map(begin, range(8))) == list(range(1, 9))
        assert len(client._leader._connections._idle) <= 8
    assert [type(request) for request in server.asked].count(Register) == 1


def test_close_hangs_up_also_on_connections_that_are_in_use_once_they_have_their_answers(
    log: SharedLog, crowd: ThreadPoolExecutor
) -> None:
    """No connection is left behind."""
    arrived, may_go_on = threading.Event(), threading.Event()

    def slow(request: Message, carry_out: Callable[[Message], Message]) -> Message:
        arrived.set()
        assert may_go_on.wait(PATIENCE)
        return carry_out(request)

    with FakeServer(log, slow) as server:
        client = client_of(server.address)
        waiting = crowd.submit(client.increment, "x")
        assert arrived.wait(PATIENCE)
        client.close()
        may_go_on.set()
        assert waiting.result(PATIENCE) == 1
        threads = list(server.server._connections.values())
        for thread in threads:
            thread.join(PATIENCE)
        assert not server.server._connections
