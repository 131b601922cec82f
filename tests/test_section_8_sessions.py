"""§8, Diss. §6.3: sessions make each command take effect once, on every server alike, while they last."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Iterable, Iterator
from typing import Optional

import pytest

from raft_threads import kv, sessions
from raft_threads.configuration import Configuration, format_configuration
from raft_threads.entry_format import MAX_COMMAND_BYTES
from raft_threads.kv import KeyValueStore
from raft_threads.log import COMMAND, CONFIGURATION, NO_OP, REGISTER, SESSION_COMMAND, LogEntry
from raft_threads.messages import AppendEntries
from raft_threads.sessions import MAX_REPLIES_PER_SESSION, Sessions, parse_session_command, session_command
from raft_threads.wire import encode, read_message

ADD_ONE = kv.increment_command("counter")


class Server:
    """A server's applier, to which entries come one after the other. `executed` is what reached the machine."""

    def __init__(self, max_sessions: int = 3) -> None:
        self.executed: list[bytes] = []
        self.max_sessions = max_sessions
        self.sessions = Sessions(self, max_sessions)
        self.last_applied = 0
        self._store = KeyValueStore()

    def entry(self, kind: str, command: bytes = b"") -> Optional[bytes]:
        """Apply the next entry."""
        self.last_applied += 1
        return self.sessions.apply(LogEntry(self.last_applied, 1, kind, command))

    def register(self) -> int:
        """Open a session; return its client id."""
        assert self.entry(REGISTER) == b""
        return self.last_applied

    def send(self, client_id: int, sequence: int, first_unanswered: int, command: bytes = ADD_ONE) -> Optional[str]:
        """Apply a command of a session; return the value in its answer, None when it was not executed."""
        result = self.entry(SESSION_COMMAND, session_command(client_id, sequence, first_unanswered, command))
        return None if result is None else str(kv.decode_result(result)["value"])

    def snapshot(self) -> list[bytes]:
        """Return the records of a snapshot."""
        return list(self.sessions.capture())

    def clients(self) -> list[int]:
        """Return whose sessions are open, the least recently used first, as a snapshot tells."""
        return [int(record.split()[1]) for record in self.snapshot() if record.startswith(b"session ")]

    def restarted(self) -> Server:
        """Return a server that was started from this one's snapshot."""
        server = Server(self.max_sessions)
        server.last_applied = self.last_applied
        server.sessions.restore(iter(self.snapshot()))
        return server

    # The state machine

    def apply(self, command: bytes) -> bytes:
        """Execute `command`."""
        self.executed.append(command)
        return self._store.apply(command)

    def query(self, query: bytes) -> bytes:
        """Answer `query`."""
        return self._store.query(query)

    def capture(self) -> Iterator[bytes]:
        """Return the store's records."""
        return self._store.capture()

    def restore(self, records: Iterable[bytes]) -> None:
        """Restore the store."""
        self._store.restore(records)


# Executed once


def test_a_command_that_is_sent_again_gets_the_first_answer_and_is_not_executed_again() -> None:
    """§8: "it responds immediately without re-executing the request". The second entry may be a new leader's."""
    server = Server()
    client, other = server.register(), server.register()
    assert server.send(client, 1, 1) == "1"
    assert server.send(other, 1, 1) == "2"
    assert server.send(client, 1, 1) == server.send(client, 1, 1) == "1"
    assert len(server.executed) == 2


def test_the_first_answer_is_remembered_even_if_it_is_blank() -> None:
    """§8: whatever the associated response is."""

    class Silent(Server):
        def apply(self, command: bytes) -> bytes:
            return super().apply(command)[:0]

    server = Silent()
    body = session_command(server.register(), 1, 1, ADD_ONE)
    assert server.entry(SESSION_COMMAND, body) == server.entry(SESSION_COMMAND, body) == b""
    assert len(server.executed) == 1


def test_numbers_belong_to_a_client() -> None:
    """§8: the latest serial number is tracked for each client."""
    server = Server()
    clients = [server.register() for _ in range(3)]
    assert [server.send(client, 1, 1) for client in clients] == ["1", "2", "3"]
    assert [server.send(client, 1, 1) for client in clients] == ["1", "2", "3"]


def test_a_command_without_a_session_is_executed_as_often_as_it_is_in_the_log() -> None:
    """§8: "as described so far Raft can execute a command multiple times"."""
    server = Server()
    assert [server.entry(COMMAND, ADD_ONE) for _ in range(2)] == [
        b'{"ok":true,"value":"1"}', b'{"ok":true,"value":"2"}'
    ]


def count_to(goal: int, dice: random.Random, server: Server) -> str:
    """Increment a counter `goal` times as a client whose answers often get lost; return the last answer."""
    client, answer = server.register(), None
    for sequence in range(1, goal + 1):
        while True:
            answer = server.send(client, sequence, sequence)
            if dice.random() < 0.7:
                break
    assert answer is not None
    return answer


def test_a_client_that_increments_a_counter_10000_times_ends_at_10000(monkeypatch: pytest.MonkeyPatch) -> None:
    """§8: however many answers get lost. Without the remembered replies it ends elsewhere."""
    assert count_to(10_000, random.Random("count"), Server()) == "10000"
    monkeypatch.setattr(sessions, "remembered_reply", lambda session, sequence: None)
    assert int(count_to(10_000, random.Random("count"), Server())) > 10_000


# Several commands under way


@pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3, 4])))
def test_commands_of_one_client_may_be_applied_in_any_order_each_once(order: tuple[int, ...]) -> None:
    """Diss. §6.3: a client may have several under way; a low number after a high one is new nevertheless."""
    server = Server()
    client = server.register()
    answers = {sequence: server.send(client, sequence, 1) for sequence in order}
    assert [answers[sequence] for sequence in order] == ["1", "2", "3", "4"]
    assert {sequence: server.send(client, sequence, 1) for sequence in reversed(order)} == answers
    assert len(server.executed) == 4


def test_a_client_that_says_what_it_has_answers_to_takes_the_memory_of_one_reply() -> None:
    """Diss. §6.3: the client includes the lowest number it has no answer to, and the others are discarded."""
    server = Server()
    client = server.register()
    for sequence in range(1, 1000):
        server.send(client, sequence, sequence)
    assert server.snapshot() == [
        b"session 1 999", b'reply 999 {"ok":true,"value":"999"}', b'state ["counter","999"]'
    ]


def test_replies_that_the_client_may_ask_for_again_are_kept() -> None:
    """Diss. §6.3: of 1 to 5, it has answers to 1 and 2."""
    server = Server()
    client = server.register()
    for sequence in range(1, 6):
        server.send(client, sequence, 1)
    server.send(client, 6, 3)
    assert [server.send(client, sequence, 3) for sequence in (3, 4, 5, 6)] == ["3", "4", "5", "6"]
    assert sum(record.startswith(b"reply") for record in server.snapshot()) == 4


def test_a_command_whose_answer_the_client_has_is_not_executed_again() -> None:
    """Diss. §6.3: a request that was delayed in the network comes again, after the reply was forgotten."""
    server = Server()
    client = server.register()
    server.send(client, 1, 1)
    server.send(client, 2, 2)
    assert server.send(client, 1, 1) is None
    assert len(server.executed) == 2


def test_an_older_request_does_not_take_back_what_the_client_said() -> None:
    """Diss. §6.3: requests may be applied in another order than they were sent."""
    server = Server()
    client = server.register()
    server.send(client, 3, 3)
    assert server.send(client, 4, 1) == "2"
    assert server.send(client, 1, 1) is server.send(client, 2, 1) is None
    assert len(server.executed) == 2


def test_a_session_remembers_a_limited_number_of_replies_whatever_the_client_says() -> None:
    """Diss. §6.3: memory is bounded. Nothing is executed whose reply could not be remembered."""
    server = Server()
    client = server.register()
    for sequence in range(1, MAX_REPLIES_PER_SESSION + 1):
        assert server.send(client, sequence, 1) == str(sequence)
    assert server.send(client, MAX_REPLIES_PER_SESSION + 1, 1) is None
    assert server.send(client, 2**63, 1) is None
    assert len(server.executed) == MAX_REPLIES_PER_SESSION
    assert server.send(client, MAX_REPLIES_PER_SESSION + 1, 2) == str(MAX_REPLIES_PER_SESSION + 1)
    assert sum(record.startswith(b"reply") for record in server.snapshot()) == MAX_REPLIES_PER_SESSION


# Sessions expire


def test_a_command_of_a_session_that_nobody_knows_is_not_executed_and_opens_none() -> None:
    """Diss. §6.3: to allocate a session silently would risk to execute a command again."""
    server = Server()
    assert server.send(7, 1, 1) is server.send(7, 2, 2) is None
    assert server.executed == [] and server.clients() == []


def test_the_least_recently_used_session_expires_when_there_are_too_many() -> None:
    """Diss. §6.3: an upper bound for the number of sessions, and the same choice on every server."""
    server = Server(max_sessions=3)
    clients = [server.register() for _ in range(3)]
    assert server.clients() == clients
    newest = server.register()
    assert server.clients() == [*clients[1:], newest]


def test_an_expired_session_is_told_so_for_a_new_command_and_for_one_that_was_executed() -> None:
    """Diss. §6.3: the client cannot know whether its command was executed, and must not be led to believe it."""
    server = Server(max_sessions=1)
    expired = server.register()
    assert server.send(expired, 1, 1) == "1"
    newer = server.register()
    assert server.send(expired, 1, 1) is server.send(expired, 2, 1) is None
    assert server.send(newer, 1, 1) == "2"
    assert len(server.executed) == 2 and server.clients() == [newer]


@pytest.mark.parametrize("sequence", [2, 3, 1, 10_000], ids=["new", "repeated", "answered", "too far ahead"])
def test_any_command_of_a_session_counts_as_its_use(sequence: int) -> None:
    """Diss. §6.3: also one that is not executed (again) shows that the client is there."""
    server = Server(max_sessions=3)
    clients = [server.register() for _ in range(3)]
    server.send(clients[0], 3, 2)
    for client in clients[1:]:
        server.send(client, 1, 1)
    server.send(clients[0], sequence, 1)
    assert server.clients() == [clients[1], clients[2], clients[0]]
    server.register()
    assert clients[0] in server.clients() and clients[1] not in server.clients()


def test_a_query_needs_no_session_and_uses_none() -> None:
    """§8: it is not in the log, so the other servers would not know of it."""
    server = Server()
    server.send(server.register(), 1, 1)
    server.register()
    before = server.snapshot()
    assert server.sessions.query(kv.get_command("counter")) == b'{"ok":true,"value":"1"}'
    assert not kv.decode_result(server.sessions.query(ADD_ONE))["ok"]
    assert server.snapshot() == before


@pytest.mark.parametrize(
    "kind, command", [(NO_OP, b""), (CONFIGURATION, format_configuration(Configuration.of(["n1"])))]
)
def test_what_is_not_for_the_state_machine_changes_nothing_in_it(kind: str, command: bytes) -> None:
    """§8, §6: the no-op and configurations are the servers' own."""
    server = Server()
    server.send(server.register(), 1, 1)
    before = server.snapshot()
    assert server.entry(kind, command) == b""
    assert server.snapshot() == before and len(server.executed) == 1


# Snapshots


def test_a_command_that_is_sent_again_after_a_restart_from_a_snapshot_is_not_executed_again() -> None:
    """Diss. §6.3: session state is part of the snapshot."""
    server = Server()
    client = server.register()
    for sequence in (2, 4, 3):
        server.send(client, sequence, 2)
    restarted = server.restarted()
    assert [restarted.send(client, sequence, 2) for sequence in (2, 3, 4)] == ["1", "3", "2"]
    assert restarted.send(client, 1, 1) is None
    assert restarted.executed == []
    assert restarted.send(client, 5, 2) == "4"


def test_which_session_expires_next_survives_a_snapshot() -> None:
    """Diss. §6.3: servers that start from a snapshot must agree with those that applied the log."""
    server = Server(max_sessions=3)
    clients = [server.register() for _ in range(3)]
    server.send(clients[0], 1, 1)
    restarted = server.restarted()
    assert restarted.clients() == [clients[1], clients[2], clients[0]]
    restarted.register()
    assert restarted.clients() == [clients[2], clients[0], 5]


def test_a_snapshot_tells_of_the_moment_when_it_was_taken() -> None:
    """§7: copy-on-write. Its records are read while commands are applied again."""
    server = Server(max_sessions=2)
    client = server.register()
    server.send(client, 1, 1)
    at_once = server.snapshot()
    begun, not_begun = server.sessions.capture(), server.sessions.capture()
    first = next(begun)
    server.send(client, 2, 1)
    server.send(client, 3, 3)
    server.register()
    server.register()
    assert server.clients() == [5, 6]
    assert [first, *begun] == list(not_begun) == at_once


def test_a_snapshot_without_sessions_or_without_state_can_be_restored() -> None:
    """Fig. 13, rule 8: whatever the state was, it is that of the snapshot."""
    assert Server().restarted().snapshot() == []
    server = Server()
    server.register()
    assert server.restarted().snapshot() == [b"session 1 1"]
    server.sessions.restore([])
    assert server.snapshot() == []
    server.entry(COMMAND, ADD_ONE)
    assert server.restarted().snapshot() == [b'state ["counter","1"]']


@pytest.mark.parametrize(
    "records",
    [[b""], [b"gossip 1 2"], [b"session 1"], [b"session x 1"], [b"session 1 -1"], [b"session 1 1 1"], [b"reply 1 x"]]
    + [[b"session 1 1", b"reply 1"], [b"session 1 1", b"reply x y"], [b"state nonsense"]]
    + [[b'state ["x","1"]', b"session 1 1"], [b'state ["x","1"]', b'reply ["y","2"]']]
    + [[b"session %s 1" % (b"9" * 5000)]],
)
def test_records_that_make_no_sense_are_refused_and_nothing_changes(records: list[bytes]) -> None:
    """Fig. 13, rule 8: there is nothing to become."""
    server = Server()
    server.send(server.register(), 1, 1)
    before = server.snapshot()
    with pytest.raises(ValueError, match="^not a record of the"):
        server.sessions.restore(records)
    assert server.snapshot() == before


# What the log says


@pytest.mark.parametrize("command", [b"", b" ", b"1 2 3", b"a\nb\r\0%", b'{"op":"get","key":"x"}', bytes(range(256))])
def test_a_command_comes_out_of_its_entry_as_it_was(command: bytes) -> None:
    """Commands are opaque bytes."""
    entry = LogEntry(5, 1, SESSION_COMMAND, session_command(3, 12, 7, command))
    assert parse_session_command(LogEntry.from_line(entry.line).command) == (3, 12, 7, command)


@pytest.mark.parametrize(
    "body",
    [b"", b"1", b"1 1", b"1 1 1", b"x 1 1 c", b"1 x 1 c", b"1 1 x c", b"-1 1 1 c", b"1  1 1 c", b" 1 1 1 c"]
    + [b"1 1 2 c", b"1 0 0 c", b"1 1 0 c", b"1 1.0 1 c", b"1 +1 1 c", b"1 1_0 1 c", b"1\t1\t1\tc", b"{} 1 1 c"]
    + [b"1 " + b"9" * 20 + b" 1 c", b"1 " + b"9" * 5000 + b" 1 c", "1 ١ 1 c".encode(), b"\xff\x00 1 1 c"],
)
def test_a_body_that_makes_no_sense_changes_nothing(body: bytes) -> None:
    """It is in every server's log, perhaps from a newer version: all must come to the same result."""
    server = Server()
    assert [server.register(), server.register()] == [1, 2]
    assert server.entry(SESSION_COMMAND, body) is None
    assert server.executed == [] and server.clients() == [1, 2]


@pytest.mark.parametrize("sequence, first_unanswered", [(0, 0), (1, 0), (1, 2), (-1, -1)])
def test_a_client_cannot_number_its_commands_in_a_way_that_makes_no_sense(
    sequence: int, first_unanswered: int
) -> None:
    """Diss. §6.3: it has no answer to what it asks."""
    with pytest.raises(ValueError, match="without an answer"):
        session_command(1, sequence, first_unanswered, b"")


@pytest.mark.parametrize("letter", [b"x", b"\n"])
def test_the_largest_command_fits_in_a_session_too(letter: bytes) -> None:
    """docs/wire-format.md: limits; with the largest numbers, and every byte escaped."""
    largest = 2**63 - 1
    body = session_command(largest, largest, largest, letter * MAX_COMMAND_BYTES)
    entry = LogEntry(largest, largest, SESSION_COMMAND, body)
    request = AppendEntries(largest, "n1", largest - 1, largest, (entry,), largest)
    assert read_message(io.BytesIO(encode(request))) == request


# At random

Applied = tuple[str, bytes]


def random_log(dice: random.Random, length: int) -> list[Applied]:
    """Return entries of clients that repeat themselves, overtake themselves, expire, and do not always make sense."""
    log: list[Applied] = []
    clients: list[int] = [99_999]
    next_sequence: dict[int, int] = {}
    while len(log) < length:
        client = dice.choice(clients[-5:])
        sequence = max(1, next_sequence.get(client, 1) - dice.choice([0, 0, 0, 1, 2, 5]))
        next_sequence[client] = max(next_sequence.get(client, 1), sequence + dice.choice([1, 1, 1, 2]))
        first_unanswered = max(1, sequence - dice.choice([0, 1, 3]))
        command = dice.choice([ADD_ONE, kv.append_command("text", str(len(log))), b"nonsense"])
        kind = dice.choices([SESSION_COMMAND, REGISTER, COMMAND, NO_OP], [20, 2, 1, 1])[0]
        if kind == REGISTER:
            clients.append(len(log) + 1)
        body = session_command(client, sequence, first_unanswered, command)
        if kind == SESSION_COMMAND and dice.random() < 0.02:
            body = dice.getrandbits(200).to_bytes(25, "big") if dice.random() < 0.5 else body[:dice.randint(0, 9)]
        log.append((kind, {SESSION_COMMAND: body, COMMAND: command}.get(kind, b"")))
    return log


@pytest.mark.parametrize("seed", range(20))
def test_servers_with_the_same_log_have_the_same_sessions_wherever_they_were_restarted(seed: int) -> None:
    """Fig. 3, State Machine Safety: the same answers and snapshots, from a log or from a snapshot and a log."""
    print(f"seed {seed}")
    dice = random.Random(f"same sessions {seed}")
    one, other = Server(), Server()
    for kind, command in random_log(dice, 400):
        assert one.entry(kind, command) == other.entry(kind, command)
        if dice.random() < 0.1:
            other = other.restarted()
        if dice.random() < 0.1:
            assert one.snapshot() == other.snapshot()
    assert one.snapshot() == other.snapshot()
    assert one.snapshot() == one.restarted().snapshot()


@pytest.mark.parametrize("seed", range(20))
def test_no_command_of_a_session_is_ever_executed_twice_or_answered_in_two_ways(seed: int) -> None:
    """§8: exactly once; at most once where the client was told that its session has expired."""
    print(f"seed {seed}")
    dice = random.Random(f"exactly once {seed}")
    server = Server()
    answers: dict[tuple[int, int], bytes] = {}
    answered, repeated, refused = 0, 0, 0
    for kind, body in random_log(dice, 400):
        before = len(server.executed)
        answer = server.entry(kind, body)
        request = parse_session_command(body)
        if kind == SESSION_COMMAND and request is not None and answer is not None:
            number = request.client_id, request.sequence
            assert len(server.executed) == before + (number not in answers)
            assert answers.setdefault(number, answer) == answer
            answered, repeated = answered + 1, repeated + (len(server.executed) == before)
        elif kind == SESSION_COMMAND:
            assert answer is None and len(server.executed) == before
            refused += 1
        assert len(server.clients()) <= 3
    assert answered > 50 and repeated > 10 and refused > 10
