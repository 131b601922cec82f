"""Messages as bytes (docs/wire-format.md): what goes in comes out, and nonsense is refused, never guessed at."""

from __future__ import annotations

import io
import json
import random

import pytest
from drawing import entries_of

from raft_threads import wire
from raft_threads.client_messages import (
    Change,
    ChangeMembers,
    Command,
    CommandResult,
    Done,
    ErrorReply,
    Hello,
    MembersReply,
    MembersRequest,
    Outcome,
    Query,
    Refusal,
    Register,
    Registered,
    ServerStatus,
    StatusRequest,
    TakeSnapshot,
    TransferLeadership,
    Welcome,
)
from raft_threads.configuration import MAX_SERVERS
from raft_threads.entry_format import MAX_COMMAND_BYTES
from raft_threads.log import COMMAND, LogEntry
from raft_threads.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)
from raft_threads.wire import BadMessage, ConnectionEnded, Message, encode, read_message

MESSAGES: list[Message] = [
    Hello("raft"),
    Hello("raft", "n1", "n2"),
    Welcome("raft", "n2"),
    RequestVote(3, "n1", 7, 2),
    RequestVote(3, "n1", 7, 2, told_to_stand=True),
    RequestVoteReply(3, True),
    AppendEntries(2, "n1", 0, 0, (), 0),
    AppendEntries(4, "n1", 2, 1, entries_of(1, 3, 4, first_index=3), 2),
    AppendEntriesReply(4, True),
    AppendEntriesReply(4, False, 2, 3),
    InstallSnapshot(4, "n1", 12, 3, 0, b"any \n\r% bytes \x00\xff", False),
    InstallSnapshot(4, "n1", 12, 3, 262_144, b"", True),
    InstallSnapshotReply(4),
    InstallSnapshotReply(4, bytes_stored=0),
    PreVote(4, "n1", 7, 2),
    PreVoteReply(3, False),
    TimeoutNow(4, "n1"),
    TimeoutNowReply(4),
    Register(5),
    Registered(12),
    Command(b"any \n\r% bytes \x00\xff", 2.5),
    Command(b"x", 2.5, client_id=12, sequence=7, first_unanswered=6),
    Query(b"any \n\r% bytes \x00\xff", 2.5),
    CommandResult(b""),
    CommandResult(b"100%"),
    Refusal(Outcome.NOT_LEADER, "ask n2", "n2", "[::1]:3301"),
    *[Refusal(outcome, "for a reason") for outcome in Outcome],
    StatusRequest(),
    ServerStatus("n1", "leader", 3, "n1", 5, 4, 6),
    ServerStatus("n1", "candidate", 3, None, 0, 0, 0),
    ServerStatus("n1", "follower", 3, "n2", 12, 12, 12, snapshot_index=10, snapshot_bytes=300, log_bytes=70),
    MembersRequest(),
    MembersReply(()),
    MembersReply(("n1=127.0.0.1:3300", "n2=[::1]:3301"), ("n3",)),
    *[ChangeMembers(change, ("n1=127.0.0.1:3300", "n2"), 5) for change in Change],
    TransferLeadership(None, 5),
    TransferLeadership("n2", 5),
    TakeSnapshot(5),
    Done("leadership was handed over to n2"),
    ErrorReply("what?\nindeed"),
]
# What the page calls optional.
OPTIONAL = {
    "hello": {"sender", "receiver"},
    "request_vote": {"told_to_stand"},
    "append_entries_reply": {"conflict_term", "conflict_index"},
    "install_snapshot_reply": {"bytes_stored"},
    "command": {"client_id", "sequence", "first_unanswered"},
    "refusal": {"leader_id", "leader_address"},
    "status_reply": {
        *("leader", "snapshot_index", "snapshot_bytes", "log_bytes", "disk_writes", "requests_answered"),
    },
    "members_reply": {"new_members"},
    "transfer_leadership": {"target"},
}


def read(data: bytes) -> Message:
    """Read one message from `data`."""
    return read_message(io.BytesIO(data))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_comes_out_as_it_went_in(message: Message) -> None:
    """docs/wire-format.md."""
    assert read(encode(message)) == message


def test_there_is_a_sample_of_every_message() -> None:
    """All that the wire format knows."""
    assert {type(message) for message in MESSAGES} == set(wire._LAYOUT)


def test_messages_follow_each_other_on_a_stream_that_then_ends() -> None:
    """One after the other, whatever lines they carry."""
    stream = io.BytesIO(b"".join(encode(message) for message in MESSAGES))
    assert [read_message(stream) for _ in MESSAGES] == MESSAGES
    with pytest.raises(ConnectionEnded):
        read_message(stream)


def test_an_entry_travels_as_the_line_it_is_stored_as() -> None:
    """docs/storage-format.md: and the receiver keeps these bytes."""
    (entry,) = entries_of(1)
    data = encode(AppendEntries(1, "n1", 0, 0, (entry,), 0))
    assert data.endswith(b"\n" + entry.line)
    received = read(data)
    assert isinstance(received, AppendEntries) and received.entries[0].line == entry.line


def append_entries(header: str, *lines: bytes) -> bytes:
    """Return an append_entries of term 4 after entry 2 of term 1, with `header` added."""
    fields = '"type":"append_entries","term":4,"leader_id":"n1","prev_log_index":2,"prev_log_term":1,"leader_commit":0'
    return b"{%s%s}\n" % (fields.encode(), header.encode()) + b"".join(lines)


ENTRY = entries_of(3, first_index=3)[0].line
SNAPSHOT = (
    b'{"type":"install_snapshot","term":4,"leader_id":"n1","last_included_index":12,"last_included_term":3,'
    b'"offset":0,"done":true,"lines":1}\n'
)

NONSENSE = {
    "no JSON": b"hello\n",
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
    "not an object": b"[1,2]\n",
    "no type": b"{}\n",
    "a strange type": b'{"type":"gossip"}\n',
    "a type that is no text": b'{"type":["status"]}\n',
    "nested too deep": b"[" * 60_000 + b"\n",
    "an enormous number": b'{"type":"request_vote_reply","term":' + b"9" * 5000 + b',"vote_granted":true}\n',
    "broken off in the header": b'{"type":"stat',
    "broken off before its lines": append_entries(',"lines":1'),
    "broken off before a command": b'{"type":"command","timeout":1,"lines":1}\n',
    "broken off in a line": append_entries(',"lines":1', ENTRY[:-3]),
    "a field too many": b'{"type":"status","x":1}\n',
    "a field missing": b'{"type":"request_vote_reply","term":1}\n',
    "truth for a number": b'{"type":"request_vote_reply","term":true,"vote_granted":true}\n',
    "a number for truth": b'{"type":"request_vote_reply","term":1,"vote_granted":1}\n',
    "a number too large": b'{"type":"request_vote_reply","term":9223372036854775808,"vote_granted":true}\n',
    "a negative number": b'{"type":"request_vote_reply","term":-1,"vote_granted":true}\n',
    "a fraction": b'{"type":"request_vote_reply","term":1.5,"vote_granted":true}\n',
    "an empty name": b'{"type":"hello","cluster":""}\n',
    "a long name": b'{"type":"hello","cluster":"' + b"x" * 256 + b'"}\n',
    "a strange outcome": b'{"type":"refusal","outcome":"perhaps","message":""}\n',
    "an outcome that is no text": b'{"type":"refusal","outcome":{},"message":""}\n',
    "no patience": b'{"type":"command","timeout":0,"lines":1}\nx\n',
    "not a number of seconds": b'{"type":"command","timeout":NaN,"lines":1}\nx\n',
    "endless patience": b'{"type":"command","timeout":Infinity,"lines":1}\nx\n',
    "a command without its line": b'{"type":"command","timeout":1}\n',
    "a command of two lines": b'{"type":"command","timeout":1,"lines":2}\nx\ny\n',
    "half a second in words": b'{"type":"register","timeout":"0.5"}\n',
    "more than an hour": b'{"type":"take_snapshot","timeout":3600.5}\n',
    "a session that is no number": b'{"type":"command","timeout":1,"client_id":"12","lines":1}\nx\n',
    "a session number too large": b'{"type":"registered","client_id":9223372036854775808}\n',
    "a fraction of a command": b'{"type":"command","timeout":1,"sequence":1.5,"lines":1}\nx\n',
    "a command before the first": b'{"type":"command","timeout":1,"first_unanswered":-1,"lines":1}\nx\n',
    "a query without its line": b'{"type":"query","timeout":1}\n',
    "a query too long": b'{"type":"query","timeout":1,"lines":1}\n' + b"x" * (MAX_COMMAND_BYTES + 1) + b"\n",
    "members that are no list": b'{"type":"members_reply","members":"n1"}\n',
    "members without members": b'{"type":"members_reply"}\n',
    "members by number": b'{"type":"members_reply","members":[1]}\n',
    "a member without a name": b'{"type":"members_reply","members":[""]}\n',
    "a member with a long name": b'{"type":"members_reply","members":["%s"]}\n' % (b"x" * 513),
    "a member that draws": b'{"type":"members_reply","members":["\\u001b[2J"]}\n',
    "too many members": b'{"type":"members_reply","members":[%s"n"]}\n' % (b'"n",' * MAX_SERVERS),
    "new members that are no list": b'{"type":"members_reply","members":[],"new_members":{}}\n',
    "a strange change": b'{"type":"change_members","change":"swap","members":["n1"],"timeout":1}\n',
    "a change that is no text": b'{"type":"change_members","change":[],"members":["n1"],"timeout":1}\n',
    "a change without members": b'{"type":"change_members","change":"add","members":null,"timeout":1}\n',
    "a transfer to nobody": b'{"type":"transfer_leadership","target":"","timeout":1}\n',
    "a snapshot that may be done": SNAPSHOT.replace(b"true", b"0") + b"x\n",
    "a snapshot before its beginning": SNAPSHOT.replace(b'"offset":0', b'"offset":-1') + b"x\n",
    "a snapshot in lines": SNAPSHOT.replace(b'"lines":1', b'"lines":2') + b"x\ny\n",
    "a snapshot without data": SNAPSHOT.replace(b'"lines":1', b'"lines":0'),
    "a snapshot broken off": SNAPSHOT + b"x",
    "a chunk too large": SNAPSHOT + b"x" * (MAX_COMMAND_BYTES + 1) + b"\n",
    "a candidate told something else": b'{"type":"request_vote","term":1,"candidate_id":"n1","last_log_index":0,'
    b'"last_log_term":0,"told_to_stand":"yes"}\n',
    "lines where there are none": b'{"type":"status","lines":1}\nx\n',
    "a negative number of lines": append_entries(',"lines":-1'),
    "too many lines": append_entries(f',"lines":{wire.MAX_LINES + 1}'),
    "a header too long": b'{"type":"status"' + b" " * wire.MAX_HEADER_BYTES + b"}\n",
    "a line too long": b'{"type":"command","timeout":1,"lines":1}\n' + b"x" * (wire.MAX_LINE_BYTES + 1) + b"\n",
    "a command too long": b'{"type":"command","timeout":1,"lines":1}\n' + b"x" * (MAX_COMMAND_BYTES + 1) + b"\n",
    "too much in all": append_entries(',"lines":3', *[b"x" * (wire.MAX_LINE_BYTES - 1) + b"\n"] * 3),
    "a damaged entry": append_entries(',"lines":1', ENTRY.replace(b"command", b"commanb")),
    "a gap": append_entries(',"lines":1', entries_of(3, first_index=4)[0].line),
    "falling terms": append_entries(',"lines":2', ENTRY, entries_of(2, first_index=4)[0].line),
    "a term below the one before": append_entries("", b"").replace(b'"prev_log_term":1', b'"prev_log_term":4').replace(
        b"}\n", b',"lines":1}\n'
    ) + ENTRY,
    "a term beyond the leader's": append_entries(',"lines":1', entries_of(5, first_index=3)[0].line),
}


@pytest.mark.parametrize("data", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_refused_in_one_line(data: bytes) -> None:
    """docs/wire-format.md: an unknown message, a wrong type, a frame too long."""
    with pytest.raises(BadMessage) as error:
        read(data)
    assert 0 < len(str(error.value)) < 500 and "\n" not in str(error.value)


def test_the_largest_command_fits_even_if_every_byte_of_it_is_escaped() -> None:
    """docs/wire-format.md: limits."""
    command = Command(b"\n" * MAX_COMMAND_BYTES, 1)
    assert read(encode(command)) == command


def test_the_largest_numbers_and_the_largest_entry_fit() -> None:
    """docs/wire-format.md: numbers up to 2^63-1; what a client may write into a log can also be replicated."""
    largest = 2**63 - 1
    entry = LogEntry(largest, largest, COMMAND, b"\n" * MAX_COMMAND_BYTES)
    request = AppendEntries(largest, "n1", largest - 1, largest, (entry,), largest)
    assert read(encode(request)) == request


def test_the_sample_snapshot_that_is_damaged_above_is_whole() -> None:
    """Else it would be refused for another reason."""
    assert read(SNAPSHOT + b"x\n") == InstallSnapshot(4, "n1", 12, 3, 0, b"x", True)


def header_of(message: Message) -> tuple[dict[str, object], bytes]:
    """Return the fields of a message, and its lines."""
    first, newline, rest = encode(message).partition(b"\n")
    return json.loads(first), newline + rest


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_optional_fields_may_be_left_out_or_be_null_and_no_others(message: Message) -> None:
    """docs/wire-format.md: optional."""
    header, lines = header_of(message)
    kind = str(header["type"])
    for field in set(header) - {"type", "lines"}:
        without = json.dumps({name: value for name, value in header.items() if name != field}).encode() + lines
        null = json.dumps({**header, field: None}).encode() + lines
        if field in OPTIONAL.get(kind, ()):
            assert read(without) == read(null)
        else:
            for data in (without, null):
                with pytest.raises(BadMessage, match=field):
                    read(data)


@pytest.mark.parametrize("seed", range(30))
def test_random_damage_is_refused_or_makes_another_message_but_nothing_worse(seed: int) -> None:
    """No bytes whatever may raise anything but BadMessage."""
    print(f"seed {seed}")
    dice = random.Random(f"damage {seed}")
    for _ in range(50):
        data = bytearray(b"".join(encode(dice.choice(MESSAGES)) for _ in range(2)))
        for _ in range(dice.randint(1, 5)):
            position = dice.randrange(len(data))
            data[position:position + dice.randint(0, 3)] = dice.getrandbits(16).to_bytes(2, "big")[: dice.randint(0, 2)]
        stream = io.BytesIO(bytes(data))
        try:
            while True:
                read_message(stream)
        except (BadMessage, ConnectionEnded):
            continue
