"""Tells the reader what the servers do, as they do it: an observer of the event stream (§5 to §8)."""

from __future__ import annotations

from typing import Callable, Optional

from raft_threads import events
from raft_threads.configuration import Configuration
from raft_threads.demo.stage import Stage
from raft_threads.events import Event, EventKinds
from raft_threads.free_ports import listed
from raft_threads.log import COMMAND, SESSION_COMMAND, SnapshotMetadata
from raft_threads.messages import InstallSnapshot, Request, TimeoutNow, sender_of
from raft_threads.sessions import parse_session_command
from raft_threads.short_text import command_text

_TEXTS: dict[type[Event], Callable[..., str]] = {
    events.Restarted: lambda e: f"starts as follower in term {e.state.term}, with {counted(len(e.entries))} from disk",
    events.ElectionTimedOut: lambda e: "has heard of no leader and times out",
    events.BecameCandidate: lambda e: f"starts an election for term {e.state.term}, and votes for itself",
    events.VoteGranted: lambda e: f"votes for {e.candidate} in term {e.state.term}",
    events.VoteDenied: lambda e: f"denies its vote to {e.candidate}, in term {e.state.term}",
    events.BecameLeader: lambda e: f"has won the election! The new term is: {e.state.term}",
    events.SteppedDown: lambda e: f"is {e.was.value} no more, but a follower in term {e.state.term}",
    events.LeaderRecognized: lambda e: f"follows {e.leader} in term {e.state.term}",
    events.EntriesDeleted: lambda e: f"deletes {entries_text(e.first_index, e.last_index)}: not what the leader has",
    events.Applied: lambda e: f"applies entry {e.entry.index}: {command_text(e.entry)}",
    # §6
    events.CatchUpBegan: lambda e: f"sends the log to {listed(e.learners)}, without a vote yet",
    events.CatchUpRoundEnded: lambda e: f"finds that {e.learner} has caught up, in {e.seconds * 1000:.0f} ms",
    events.ConfigurationChanged: lambda e: f"uses {configuration_text(e.configuration)}, {origin_text(e)}",
    events.MembershipChangeGivenUp: lambda e: f"gives up: {e.reason}",
    events.RequestVoteDisregarded: lambda e: f"disregards {e.candidate}, which asks for a vote in term {e.term}",
    # §7
    events.SnapshotTaken: lambda e: f"has a snapshot of {span_text(e.metadata)}, and cuts its log",
    events.SnapshotInstalled: lambda e: f"installs a snapshot of {span_text(e.metadata)}",
    events.MessageReceived: lambda e: message_text(e.message),
    # Diss. §3.10, §6.2, §9.6
    events.PreVoteBegan: lambda e: "asks whether it would be elected",
    events.PreVoteReceived: lambda e: f"hears {'yes' if e.granted else 'no'} from {e.voter}",
    events.TransferBegan: lambda e: f"hands over to {e.target}",
    events.TransferGivenUp: lambda e: f"goes on as leader: {e.target} did not take over",
    events.LostContact: lambda e: "has not heard from a majority",
}
# Told as well where the log itself is the subject.
_TEXTS_ON_LOGS: dict[type[Event], Callable[..., str]] = {
    events.EntriesAppended: lambda e: f"appends {entries_text(e.entries[0].index, e.entries[-1].index)} to its log",
    events.CommitAdvanced: lambda e: f"knows {entries_text(e.previous + 1, e.state.commit_index)} to be committed",
}


def configuration_text(configuration: Configuration) -> str:
    """Return `C_old,new = n1 n2 and n2 n3`, or `C_new = n2 n3` (§6)."""
    names = " ".join(member.id for member in configuration.members)
    if configuration.new_members is None:
        return f"C_new = {names}"
    return f"C_old,new = {names} and {' '.join(member.id for member in configuration.new_members)}"


def origin_text(event: events.ConfigurationChanged) -> str:
    """Return where a configuration stands: `entry 7`, or in the snapshot that came."""
    return "as the snapshot says" if event.index == event.state.last_included_index else f"by entry {event.index}"


def span_text(metadata: SnapshotMetadata) -> str:
    """Return which entries a snapshot replaces (Fig. 12)."""
    return entries_text(1, metadata.last_included_index)


def message_text(message: Request) -> str:
    """Return what a server is told by one of the few messages that are worth a line."""
    if isinstance(message, InstallSnapshot):
        end = message.offset + len(message.data)
        return f"receives bytes {message.offset + 1} to {end} of the snapshot of {message.leader_id}"
    return f"is told by {sender_of(message)} to stand for election at once"


def counted(entries: int) -> str:
    """Return `1 entry` or `2 entries`."""
    return f"{entries} entr{'y' if entries == 1 else 'ies'}"


def entries_text(first: int, last: int) -> str:
    """Return `entry 3` or `entries 3 to 5`."""
    return f"entry {first}" if first == last else f"entries {first} to {last}"


class Narration:
    """An observer that says what happens, in the servers' colours."""

    def __init__(self, stage: Stage, closely: bool) -> None:
        """Tell on `stage` of roles, votes and commands, and `closely` of how entries get into the logs too."""
        self._stage = stage
        self._texts = {**_TEXTS, **_TEXTS_ON_LOGS} if closely else _TEXTS
        self.kinds: Optional[EventKinds] = frozenset(self._texts)
        # What is left out for a while, because there is too much of it.
        self.leave_out: Callable[[Event], bool] = lambda event: False
        self._disregarded: dict[str, tuple[str, int]] = {}
        self._told_to_stand: set[str] = set()
        # By server, the commands in sessions that it has executed (§8).
        self._executed: dict[str, set[tuple[int, int]]] = {}

    def observe(self, event: Event) -> None:
        """Say what `event` is."""
        again = self._was_executed_before(event)
        if not (self._goes_without_saying(event) or self.leave_out(event)):
            text = self._texts[type(event)](event)
            self._stage.note(event.server, f"{text} again; the first answer counts" if again else text)

    def _goes_without_saying(self, event: Event) -> bool:
        """Return whether there is nothing to say: of no-ops, of heartbeats, of what comes again and again.

        A reader who sees a configuration in force needs no echo when it is applied. Who was told to stand has not heard
        of no leader. A candidate that is disregarded asks until the next term.
        """
        if isinstance(event, events.Applied):
            return event.entry.kind not in (COMMAND, SESSION_COMMAND)
        if isinstance(event, events.MessageReceived):
            if isinstance(event.message, TimeoutNow):
                self._told_to_stand.add(event.server)
            return not isinstance(event.message, (InstallSnapshot, TimeoutNow))
        if isinstance(event, events.ElectionTimedOut) and event.server in self._told_to_stand:
            self._told_to_stand.discard(event.server)
            return True
        if isinstance(event, events.RequestVoteDisregarded):
            before = self._disregarded.get(event.server)
            self._disregarded[event.server] = (event.candidate, event.term)
            return before == (event.candidate, event.term)
        return False

    def _was_executed_before(self, event: Event) -> bool:
        """Return whether `event` applies a command that this server has executed already, since it started (§8)."""
        executed = self._executed.setdefault(event.server, set())
        if isinstance(event, events.Restarted):
            executed.clear()
        if not isinstance(event, events.Applied) or event.entry.kind != SESSION_COMMAND:
            return False
        command = parse_session_command(event.entry.command)
        if command is None or event.result is None:
            return False
        known = (command.client_id, command.sequence) in executed
        executed.add((command.client_id, command.sequence))
        return known
