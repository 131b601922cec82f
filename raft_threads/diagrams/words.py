"""What a diagram says of records and messages: short for labels and lines, whole for whoever points at them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Callable, NamedTuple, Optional

from raft_threads import events, surroundings
from raft_threads.journeys import Journey
from raft_threads.log import NO_OP, REGISTER, LogEntry
from raft_threads.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    RequestVote,
    RequestVoteReply,
)
from raft_threads.short_text import command_text, configuration_text


class Label(NamedTuple):
    """The short text beside a lane, and what kind of thing it tells of: the drawing's style goes by that."""

    kind: str
    text: str


# What stands beside a lane. What only an arrow or a colour shows is left out.
_LABELS: dict[type[Any], Callable[[Any], Label]] = {
    events.Restarted: lambda e: Label("start", f"starts, {counted(len(e.entries))}" if e.entries else "starts"),
    events.Stopped: lambda e: Label("stop", "stops" if e.failure is None else f"stops: {e.failure}"),
    events.ElectionTimedOut: lambda e: Label("election", "times out"),
    events.BecameCandidate: lambda e: Label("election", f"candidate, term {e.state.term}"),
    events.VoteGranted: lambda e: Label("vote", f"votes for {e.candidate}"),
    events.VoteDenied: lambda e: Label("refusal", f"denies {e.candidate} its vote"),
    events.BecameLeader: lambda e: Label("leader", f"leads term {e.state.term}"),
    events.SteppedDown: lambda e: Label("election", f"steps down as {e.was.value}"),
    events.EntriesAppended: lambda e: Label("append", f"appends {entries_text(e.entries)}"),
    events.EntriesDeleted: lambda e: Label("refusal", f"deletes {span_text(e.first_index, e.last_index)}"),
    events.CommitAdvanced: lambda e: Label("commit", f"commits {span_text(e.previous + 1, e.state.commit_index)}"),
    events.Applied: lambda e: Label("applied", ""),
    events.ConfigurationChanged: lambda e: Label("append", f"uses {configuration_text(e.configuration)}"),
    events.CatchUpBegan: lambda e: Label("append", f"brings up {', '.join(e.learners)}"),
    events.MembershipChangeGivenUp: lambda e: Label("refusal", f"gives up: {e.reason}"),
    events.RequestVoteDisregarded: lambda e: Label("refusal", f"disregards {e.candidate}"),
    events.SnapshotTaken: lambda e: Label("commit", f"snapshot 1–{e.metadata.last_included_index}"),
    events.SnapshotInstalled: lambda e: Label("commit", f"installs snapshot 1–{e.metadata.last_included_index}"),
    events.ReadServed: lambda e: Label("applied", f"reads at {e.read_index}"),
    events.PreVoteBegan: lambda e: Label("election", "asks first"),
    events.TransferBegan: lambda e: Label("election", f"hands over to {e.target}"),
    events.TransferGivenUp: lambda e: Label("refusal", f"{e.target} does not take over"),
    events.LostContact: lambda e: Label("election", "hears from no majority"),
    surroundings.Crashed: lambda e: Label("crash", "crashes"),
    surroundings.Stalled: lambda e: Label("fault", f"stalls {duration_text(e.duration)}"),
    surroundings.ClockChanged: lambda e: Label("fault", f"clock {e.offset:+g} s"),
    surroundings.DiskFault: lambda e: Label("fault", f"disk: {e.fault}"),
}


def label_of(record: Any) -> Optional[Label]:
    """Return what stands beside the lane for `record`, None for nothing. An empty text is a mark without words."""
    make = _LABELS.get(type(record))
    return None if make is None else make(record)


def counted(entries: int) -> str:
    """Return `1 entry` or `2 entries`."""
    return f"{entries} entr{'y' if entries == 1 else 'ies'}"


def span_text(first: int, last: int) -> str:
    """Return `3`, or `3–5`."""
    return str(first) if first == last else f"{first}–{last}"


def duration_text(seconds: float) -> str:
    """Return a duration in a unit that suits it: `850 µs`, `12 ms`, `3.2 s`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def entries_text(entries: tuple[LogEntry, ...]) -> str:
    """Return the indexes of `entries`, and what a single one does: `4: x=1`, or `4–9`."""
    span = span_text(entries[0].index, entries[-1].index)
    return f"{span}: {command_text(entries[0])}" if len(entries) == 1 else span


# Messages


def is_heartbeat(message: Any) -> bool:
    """Return whether `message` is an AppendEntries without entries (§5.2)."""
    return isinstance(message, AppendEntries) and not message.entries


def is_refusal(reply: Any) -> bool:
    """Return whether `reply` says no."""
    return not getattr(reply, "vote_granted", getattr(reply, "success", True))


def line_of_message(message: Any) -> str:
    """Return a message in one line, for the terminal. Index and term of an entry stand as `4/2`."""
    if isinstance(message, RequestVote):
        return f"RequestVote(term {message.term}, last {message.last_log_index}/{message.last_log_term})"
    if isinstance(message, RequestVoteReply):
        return f"RequestVoteReply(term {message.term}, {'granted' if message.vote_granted else 'denied'})"
    if isinstance(message, AppendEntries):
        entries = ", ".join(f"{each.index}/{each.term} {command_text(each)}" for each in message.entries)
        previous = f"prev {message.prev_log_index}/{message.prev_log_term}"
        return f"AppendEntries(term {message.term}, {previous}, [{entries}], commit {message.leader_commit})"
    if isinstance(message, AppendEntriesReply):
        conflict = f", conflict {message.conflict_index}/{message.conflict_term}" if message.conflict_index else ""
        return f"AppendEntriesReply(term {message.term}, {'success' if message.success else 'refused' + conflict})"
    return _line_of_later_message(message)


def _line_of_later_message(message: Any) -> str:
    """The same for the messages of §7 and of the dissertation."""
    if isinstance(message, InstallSnapshot):
        last = f"snapshot {message.last_included_index}/{message.last_included_term}"
        span = f"bytes {message.offset}–{message.offset + len(message.data)}{', done' if message.done else ''}"
        return f"InstallSnapshot(term {message.term}, {last}, {span})"
    if isinstance(message, InstallSnapshotReply):
        stored = "complete" if message.bytes_stored is None else f"{message.bytes_stored} bytes stored"
        return f"InstallSnapshotReply(term {message.term}, {stored})"
    if isinstance(message, PreVote):
        return f"PreVote(term {message.term}, last {message.last_log_index}/{message.last_log_term})"
    if isinstance(message, PreVoteReply):
        return f"PreVoteReply(term {message.term}, {'granted' if message.vote_granted else 'denied'})"
    return f"{type(message).__name__}(term {message.term})"


def whole_message(message: Any) -> list[str]:
    """Return all fields of a message, a line each, and each of its entries."""
    lines = []
    for field in fields(message):
        value = getattr(message, field.name)
        if isinstance(value, bytes):
            value = f"{len(value)} bytes"
        if field.name != "entries":
            lines.append(f"{field.name}: {value}")
            continue
        lines.append(f"entries: {len(value)}")
        lines += [f"  {each.index} (term {each.term}) {whole_command(each)}" for each in value]
    return lines


def whole_command(entry: LogEntry) -> str:
    """Return an entry's command as text."""
    if entry.kind in (NO_OP, REGISTER):
        return "no-op" if entry.kind == NO_OP else "a client registers"
    return entry.command.decode("utf-8", "backslashreplace")


def fate_text(journey: Journey, second_of: Callable[[int], float]) -> str:
    """Return when a message was sent and what became of it; `second_of` gives the time of a position in the trace."""
    sent = "sent before this trace begins" if journey.sent is None else f"sent at {second_of(journey.sent):.6f} s"
    if journey.received is None:
        return f"{sent}, " + ("under way when the trace ends" if journey.lost is None else f"lost: {journey.reason}")
    received = f"received{' again' if journey.again else ''} at {second_of(journey.received):.6f} s"
    if journey.sent is None:
        return f"{sent}, {received}"
    took = max(0.0, second_of(journey.received) - second_of(journey.sent))
    return f"{sent}, {received}, after {duration_text(took)}"


def whole_journey(journey: Journey, second_of: Callable[[int], float]) -> str:
    """Return everything that is known of a message: its name, its fields, when it was sent, what became of it."""
    travelling = journey.message if journey.reply is None else journey.reply
    lines = [f"{type(travelling).__name__} from {journey.sender} to {journey.receiver}", *whole_message(travelling)]
    if journey.reply is not None:
        lines.append(f"in answer to {line_of_message(journey.message)}")
    return "\n".join([*lines, fate_text(journey, second_of)])


def whole_record(record: Any, second: float) -> str:
    """Return everything that is known of an event: who, when, its own fields, and the server's state after it."""
    lines = [f"{type(record).__name__} at {second:.6f} s"]
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name == "entries":
            lines.append(f"entries: {len(value)}")
            lines += [f"  {each.index} (term {each.term}) {whole_command(each)}" for each in value]
        elif field.name == "entry":
            lines.append(f"entry: {value.index} (term {value.term}) {whole_command(value)}")
        elif isinstance(value, bytes):
            lines.append(f"{field.name}: {value.decode('utf-8', 'backslashreplace')}")
        elif field.name not in ("when", "state"):
            lines.append(f"{field.name}: {getattr(value, 'value', value)}")
    state = getattr(record, "state", None)
    if state is not None:
        pairs = [f"{name} {getattr(value, 'value', value)}" for name, value in state._asdict().items()]
        lines.append("state: " + ", ".join(pairs))
    return "\n".join(lines)
