"""Traces: every record comes back as it was, the bytes are stable, damage is named, messages find their ends (§5)."""

from __future__ import annotations

import io
import json
import random
import re
import threading
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from doubles import Background, Bench

from raft_threads import events, surroundings
from raft_threads.configuration import Configuration, Member
from raft_threads.cut_network import CutNetwork
from raft_threads.demo.tracing import SharedTrace
from raft_threads.events import Event, Glimpse
from raft_threads.local_cluster import LocalCluster
from raft_threads.log import NO_OP, LogEntry, SnapshotMetadata
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
from raft_threads.recorder import EventRecorder
from raft_threads.state import Role
from raft_threads.surroundings import Record, Surrounding, links_between
from raft_threads.trace import RECORD_KINDS, BadTrace, Header, TraceWriter, header_line, read_trace, record_line
from raft_threads.trace_fields import form_of

ROOT = Path(__file__).resolve().parent.parent
STATE = Glimpse(3, Role.LEADER, "n1", None, 4, 3, 5, 2)
ENTRIES = (
    LogEntry(1, 1, NO_OP, b""),
    LogEntry(2, 3, "command", b'{"op":"put","key":"x","value":"\xc3\xbc"}'),
    LogEntry(3, 3, "command", b"\xff\x00\n"),
    LogEntry(4, 3, "command", b'"{}\\\n\t\x7f'),
)
JOINT = Configuration((Member("n1", "host:1"),), (Member("n1", "host:1"), Member("n2", "host:2")))
START = SnapshotMetadata(2, 3, JOINT)
CHUNK = InstallSnapshot(3, "n1", 2, 3, 4096, b"\x00\n%", True)
APPEND = AppendEntries(3, "n1", 4, 2, ENTRIES, 4)
FATE = (7.25, "n1", "n2", 12)

SAMPLES: list[Record] = [
    events.Restarted("n1", 0.0, STATE, ENTRIES, START),
    events.Stopped("n1", 1.5, STATE, 'the "disk" \\ is\nfull'),
    events.ElectionTimerSet("n1", 1.5, STATE, 0.234567891),
    events.ElectionTimedOut("n1", 1.5, STATE),
    events.BecameCandidate("n1", 1.5, STATE),
    events.VoteGranted("n1", 1.5, STATE, "n2"),
    events.VoteDenied("n1", 1.5, STATE, "n2"),
    events.VoteReceived("n1", 1.5, STATE, "n2", True),
    events.BecameLeader("n1", 1.5, STATE),
    events.SteppedDown("n1", 1.5, STATE, Role.CANDIDATE),
    events.LeaderRecognized("n1", 1.5, STATE, "n2"),
    events.EntriesAppended("n1", 1.5, STATE, ENTRIES),
    events.EntriesDeleted("n1", 1.5, STATE, 3, 5),
    events.CommitAdvanced("n1", 1.5, STATE, 3),
    events.Applied("n1", 1.5, STATE, ENTRIES[1], b"\x80"),
    events.ConfigurationChanged("n1", 1.5, STATE, 4, JOINT),
    events.CatchUpBegan("n1", 1.5, STATE, ("n2", "n3")),
    events.CatchUpRoundEnded("n1", 1.5, STATE, "n2", 1, 0.25),
    events.MembershipChangeGivenUp("n1", 1.5, STATE, "too slow"),
    events.RequestVoteDisregarded("n1", 1.5, STATE, "n9", 77),
    events.SnapshotTaken("n1", 1.5, STATE, START, 4711),
    events.SnapshotInstalled("n1", 1.5, STATE, START, True),
    events.StateMachineReset("n1", 1.5, STATE, START),
    events.ReadServed("n1", 1.5, STATE, 4),
    events.PreVoteBegan("n1", 1.5, STATE),
    events.PreVoteReceived("n1", 1.5, STATE, "n2", False),
    events.TransferBegan("n1", 1.5, STATE, "n2"),
    events.TransferGivenUp("n1", 1.5, STATE, "n2"),
    events.LostContact("n1", 1.5, STATE),
    events.MessageSent("n1", 1.5, STATE, "n2", APPEND),
    events.MessageReceived("n1", 1.5, STATE, "n2", RequestVote(3, "n2", 5, 2)),
    events.ReplyReceived("n1", 1.5, STATE, "n2", CHUNK, InstallSnapshotReply(3)),
    events.ReplyReceived("n1", 1.5, STATE, "n2", PreVote(4, "n2", 5, 2), PreVoteReply(3, True)),
    events.ReplyReceived("n1", 1.5, STATE, "n2", TimeoutNow(3, "n1"), TimeoutNowReply(3)),
    events.ReplySent("n1", 1.5, STATE, "n2", RequestVote(3, "n2", 5, 2), RequestVoteReply(3, False)),
    events.ReplyReceived("n1", 1.5, STATE, "n2", APPEND, AppendEntriesReply(3, False, 2, 4)),
    events.MessageDropped("n1", 1.5, STATE, "n2", APPEND, "\udcff is not Unicode"),
    events.PeerUnreachable("n1", 1.5, STATE, "n2", "silence"),
    events.PeerReachable("n1", 1.5, STATE, "n2"),
    surroundings.Crashed(7.25, "n1"),
    surroundings.LinksCut(7.25, (("n1", "n2"), ("n2", "n1"))),
    surroundings.LinksHealed(7.25, ()),
    surroundings.MessageLost(*FATE, APPEND, "the link is cut"),
    surroundings.MessageDuplicated(*FATE, AppendEntriesReply(3, True)),
    surroundings.MessageDelivered(*FATE, RequestVoteReply(3, True)),
    surroundings.Stalled(7.25, "n1", "n1/disk", 0.2),
    surroundings.ClockChanged(7.25, "n1", -0.5, 1.001),
    surroundings.DiskFault(7.25, "n1", "fsync failed"),
]


def written(*records: Record, **metadata: Any) -> str:
    """Return the trace of `records`."""
    file = io.StringIO()
    writer = TraceWriter(file, ("n1", "n2"), metadata)
    for record in records:
        writer.observe(record)
    return file.getvalue()


# Round trips


def test_there_is_a_sample_of_every_record() -> None:
    """A new event needs one below, and a row in docs/trace-format.md."""
    assert {type(sample).__name__ for sample in SAMPLES} == set(RECORD_KINDS)


@pytest.mark.parametrize("record", SAMPLES, ids=lambda record: type(record).__name__)
def test_every_record_comes_back_as_it_was(record: Record) -> None:
    """docs/trace-format.md: without loss, on one line of ASCII."""
    trace = written(record)
    assert trace.isascii() and trace.count("\n") == 2
    (back,) = read_trace(io.StringIO(trace)).records
    assert type(back) is type(record)
    assert back == record


@pytest.mark.parametrize("record", SAMPLES, ids=lambda record: type(record).__name__)
def test_every_field_of_a_record_is_written_under_its_own_name(record: Record) -> None:
    """The state comes last; messages tell their type first, and are whole."""
    line = json.loads(record_line(record))
    names = [field.name for field in fields(record)]
    assert list(line) == ["event", *sorted(names, key=lambda name: name == "state")]
    if "message" in line:
        message = record.message  # type: ignore[union-attr]
        assert list(line["message"]) == ["type", *(field.name for field in fields(message))]


def test_the_header_comes_back_with_servers_and_metadata() -> None:
    """docs/trace-format.md: the metadata are the maker's own."""
    trace = read_trace(io.StringIO(written(seed=7, profile={"loss": [0.5, None, "ü"]})))
    assert trace.header == Header(("n1", "n2"), {"seed": 7, "profile": {"loss": [0.5, None, "ü"]}})
    assert trace.records == []


def test_whole_nanoseconds_come_back_exactly() -> None:
    """docs/trace-format.md: up to a hundred days of a machine's monotonic clock."""
    seed = random.randrange(10**6)
    dice = random.Random(seed)
    for _ in range(500):
        nanoseconds = dice.randrange(10 ** dice.randrange(1, 17))
        crash = surroundings.Crashed(nanoseconds / 1e9, "n1")
        (back,) = read_trace([written(crash).splitlines()[0], record_line(crash)]).records
        assert back == crash, f"seed {seed}"


class TracingRecorder(EventRecorder):
    """Keeps what it also writes."""

    def __init__(self, writer: TraceWriter) -> None:
        super().__init__()
        self._writer = writer

    def observe(self, event: Event) -> None:
        """Write it, and keep it."""
        self._writer.observe(event)
        super().observe(event)


def to_the_nanosecond(record: Any) -> Record:
    """Return a record with its times rounded, as a trace rounds them."""
    times = {name: round(getattr(record, name), 9) for name in ("when", "timeout") if hasattr(record, name)}
    rounded: Record = replace(record, **times)
    return rounded


def test_what_a_real_node_tells_is_read_back_from_a_file(tmp_path: Path) -> None:
    """A TraceWriter is an observer like any other."""
    with open(tmp_path / "trace", "w", encoding="ascii", newline="\n") as file:
        recorder = TracingRecorder(TraceWriter(file, ("n1", "n2", "n3")))
        with Bench(recorder=recorder) as bench:
            bench.lead()
    told = [to_the_nanosecond(event) for event in recorder.events(Event)]
    assert len(told) > 10
    assert [to_the_nanosecond(record) for record in read_trace(tmp_path / "trace").records] == told


# Bytes


def test_the_bytes_of_a_trace_are_these() -> None:
    """docs/trace-format.md: fixed order, no blanks, nine digits; the metadata sorted."""
    state = (
        '"state":{"term":3,"role":"leader","voted_for":"n1","leader_id":null,"commit_index":4,'
        '"last_applied":3,"last_log_index":5,"last_log_term":2,"last_included_index":0}'
    )
    message = (
        '"message":{"type":"AppendEntries","term":3,"leader_id":"n1","prev_log_index":4,"prev_log_term":2,"entries":['
        '{"index":1,"term":1,"kind":"noop","command":""},'
        '{"index":3,"term":3,"kind":"command","command":{"base64":"/wAK"}}],"leader_commit":4}'
    )
    request = replace(APPEND, entries=(ENTRIES[0], ENTRIES[2]))
    sent = events.MessageSent("n1", 12658.0803933149, STATE, "n2", request)
    assert written(sent, surroundings.LinksCut(2.0, (("n1", "n2"),)), seed=1, pace="fast") == (
        '{"raft_threads_trace":1,"servers":["n1","n2"],"metadata":{"pace":"fast","seed":1}}\n'
        f'{{"event":"MessageSent","server":"n1","when":12658.080393315,"peer":"n2",{message},{state}}}\n'
        '{"event":"LinksCut","when":2.000000000,"links":[["n1","n2"]]}\n'
    )


def test_a_type_of_field_without_a_form_is_refused_when_the_record_is_defined() -> None:
    """Not in the midst of a run."""
    with pytest.raises(TypeError, match="no form for fields of type"):
        form_of(dict[str, int])


# Damage

HEADER = header_line(Header(("n1",)))
CRASH = '{"event":"Crashed","when":1.0,"server":"n1"}\n'
TIMER = record_line(SAMPLES[2])
SENT = next(each for each in SAMPLES if isinstance(each, events.MessageSent))
CUT = next(each for each in SAMPLES if isinstance(each, surroundings.LinksCut))


@pytest.mark.parametrize(
    "lines, complaint",
    [
        ([], "it is empty"),
        (["<svg>\n"], ":1: this is not a trace"),
        (["\n"], ":1: this is not a trace"),
        (['{"event":"Crashed"}\n'], ":1: this is not a trace"),
        ([HEADER.replace(":1,", ":2,")], ":1: trace format 2 is not known here, only 1"),
        ([HEADER.replace('["n1"]', "3")], ":1: servers: should be a list of names"),
        ([HEADER.replace("{}", "[]")], ":1: metadata: should be an object"),
        ([HEADER, CRASH, "{oops\n"], ":3: this is not JSON"),
        ([HEADER, CRASH, "\n"], ":3: this is not JSON"),
        ([HEADER, "[]\n"], ':2: should be an object with "event", and is []'),
        ([HEADER, "[" * 100_000 + "\n"], ":2: this is not JSON"),
        ([HEADER, CRASH.replace("Crashed", "Vanished")], ":2: there is no event 'Vanished'"),
        ([HEADER, CRASH.replace("1.0", '"1"')], ':2: when: should be a number, and is "1"'),
        ([HEADER, CRASH.replace("1.0", "NaN")], ":2: this is not JSON: NaN is no number"),
        ([HEADER, CRASH.replace("1.0", "1e999")], ":2: when: should be a number, and is Infinity"),
        ([HEADER, CRASH.replace("1.0", "true")], ":2: when: should be a number, and is true"),
        ([HEADER, CRASH.replace('"n1"', "null")], ":2: server: should be text, and is null"),
        ([HEADER, CRASH.replace(',"server":"n1"', "")], ":2: lacks the field 'server'"),
        ([HEADER, CRASH.replace("{", '{"x":1,')], ":2: has a field 'x' that is not known"),
        ([HEADER, TIMER.replace('"leader"', '"boss"')], ":2: state: role: should be one of follower, "),
        ([HEADER, TIMER.replace('"term":3', '"term":3.0')], ":2: state: term: should be a whole number, and is 3.0"),
        ([HEADER, record_line(SAMPLES[7]).replace("true", "1")], ":2: granted: should be true or false, and is 1"),
        ([HEADER, record_line(SENT).replace("/wAK", "!")], ":2: message: entries: command: should be text or"),
        ([HEADER, record_line(SENT).replace("AppendEntries", "Gossip")], ":2: message: there is no type"),
        ([HEADER, record_line(CUT).replace(',"n2"],', "],")], ":2: links: should be a list of 2"),
        ([HEADER, record_line(CUT)[:60]], "(the last line is cut short; without it the rest can be read)"),
    ],
)
def test_damage_is_named_with_its_line_in_one_line(tmp_path: Path, lines: list[str], complaint: str) -> None:
    """docs/trace-format.md: a reader refuses what it does not know."""
    path = tmp_path / "run.trace"
    path.write_text("".join(lines))
    with pytest.raises(BadTrace) as failure:
        read_trace(path)
    assert complaint in str(failure.value)
    assert str(failure.value).startswith(str(path)) and "\n" not in str(failure.value)


def test_bytes_that_are_no_text_are_damage_too(tmp_path: Path) -> None:
    """And a missing file is what it always is."""
    (tmp_path / "run.trace").write_bytes(HEADER.encode() + b"\xff\xfe\n")
    with pytest.raises(BadTrace, match="run.trace:2: this is not JSON"):
        read_trace(tmp_path / "run.trace")
    with pytest.raises(FileNotFoundError):
        read_trace(tmp_path / "no.trace")


# In a live cluster


def test_threads_take_turns_and_no_line_is_torn() -> None:
    """A real cluster's nodes tell of their steps at once."""
    file = io.StringIO()
    trace = SharedTrace(file, {})
    trace.begin(("n1", "n2"))
    gate = threading.Barrier(4)

    def tell(server: str) -> None:
        gate.wait()
        for number in range(200):
            trace.observe(surroundings.Crashed(float(number), server))

    for teller in [Background(lambda name=f"n{number}": tell(name)) for number in range(4)]:  # type: ignore[misc]
        teller.result()
    records = read_trace(io.StringIO(file.getvalue())).records
    for number in range(4):
        mine = [record.when for record in records if record == surroundings.Crashed(record.when, f"n{number}")]
        assert mine == list(range(200))


def test_a_full_disk_ends_the_trace_and_not_the_server() -> None:
    """The observer is called under a node's lock; nothing may come out of it."""

    class FullDisk:
        def write(self, text: str) -> None:
            if "Crashed" in text:
                raise OSError(28, "No space left on device")

    trace = SharedTrace(FullDisk(), {})
    trace.observe(surroundings.Crashed(0.0, "n1"))  # before the first server: nothing to write yet
    trace.begin(("n1",))
    trace.observe(surroundings.Crashed(0.0, "n1"))
    trace.observe(surroundings.Crashed(0.0, "n1"))
    assert trace.failure is not None and trace.failure.errno == 28


# What the demo's cluster tells of its surroundings


def test_a_cut_is_told_with_the_links_that_were_whole_before() -> None:
    """And a repair with all that were cut; nothing is told twice."""
    told: list[Surrounding] = []
    network = CutNetwork(told.append)
    network.heal()
    network.cut("n1", "n2")
    network.partition(["n1"], ["n2", "n3"])
    network.partition(["n1"], ["n2", "n3"])
    network.heal()
    first, second = (("n1", "n2"), ("n2", "n1")), (("n1", "n3"), ("n3", "n1"))
    assert [type(each).__name__ for each in told] == ["LinksCut", "LinksCut", "LinksHealed"]
    assert [each.links for each in told] == [first, second, tuple(sorted(first + second))]  # type: ignore[attr-defined]


def test_links_between_groups_go_both_ways() -> None:
    """As `partition` cuts them."""
    assert links_between([["a"], ["b", "c"]]) == (("a", "b"), ("a", "c"), ("b", "a"), ("c", "a"))
    assert links_between([["a"], ["b"], ["c"]]) == (
        ("a", "b"), ("a", "c"), ("b", "a"), ("b", "c"), ("c", "a"), ("c", "b")
    )


def test_a_crash_is_told_after_the_last_word_of_the_server() -> None:
    """So that what follows in the trace is the next life's."""
    file = io.StringIO()
    trace = SharedTrace(file, {})
    cluster = LocalCluster(["n1"], first_port=0, observers=[trace], note=trace.observe)
    trace.begin(cluster.servers)
    with cluster:
        cluster.put("x", "1")
        cluster.crash("n1")
    records = read_trace(io.StringIO(file.getvalue())).records
    assert [type(record) for record in records[-2:]] == [events.Stopped, surroundings.Crashed]


# The page


def test_the_page_lists_every_record_with_its_fields() -> None:
    """docs/trace-format.md, in both of its tables."""
    page = (ROOT / "docs" / "trace-format.md").read_text()
    rows = {name: cells.split("|")[0] for name, cells in re.findall(r"^\| `([A-Z]\w+)` \|(.*)\|$", page, re.MULTILINE)}
    common = {"server", "when", "state"}
    for name, kind in RECORD_KINDS.items():
        own = {field.name for field in fields(kind)} - (common if issubclass(kind, Event) else {"when"})
        assert set(re.findall(r"`(\w+)`", rows.pop(name))) == own, name
    assert not rows, "the page lists what does not exist"


def test_the_page_names_every_field_of_the_state_and_every_action() -> None:
    """Ongaro's specification has these; UpdateTerm and DropStaleResponse are steps of receiving."""
    page = (ROOT / "docs" / "trace-format.md").read_text()
    described = set(re.findall(r"`(\w+)`", page[page.index("| `state` |"):page.index("When a message is handled")]))
    assert set(Glimpse._fields) <= described
    actions = "Restart Timeout RequestVote BecomeLeader ClientRequest AdvanceCommitIndex AppendEntries UpdateTerm "
    actions += "HandleRequestVoteRequest HandleRequestVoteResponse HandleAppendEntriesRequest "
    actions += "HandleAppendEntriesResponse DropStaleResponse DuplicateMessage DropMessage"
    for action in actions.split():
        assert re.search(rf"\b{action}\b", page), action


def test_the_pages_sample_lines_can_be_read() -> None:
    """The header and the vote on the page."""
    page = (ROOT / "docs" / "trace-format.md").read_text()
    samples = re.findall(r'^(\{"(?:raft_threads_trace|event)".*\})$', page, re.MULTILINE)
    trace = read_trace(samples)
    assert trace.header.servers == ("n1", "n2", "n3")
    assert [type(record) for record in trace.records] == [events.VoteGranted]
    assert record_line(trace.records[0]).strip() == samples[1]
