"""Tells the reader what the servers do, as they do it: an observer of the event stream (§5.2, §5.3)."""

from __future__ import annotations

from typing import Callable, Optional

from raft_threads import events
from raft_threads.configuration import Configuration
from raft_threads.demo.stage import Stage
from raft_threads.events import Event, EventKinds
from raft_threads.log import COMMAND, SESSION_COMMAND
from raft_threads.messages import InstallSnapshot
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
    events.CatchUpBegan: lambda e: f"sends the log to {' and '.join(e.learners)}, without a vote yet",
    events.CatchUpRoundEnded: lambda e: f"finds that {e.learner} has caught up, in {e.seconds * 1000:.0f} ms",
    events.ConfigurationChanged: lambda e: f"uses {configuration_text(e.configuration)}, by entry {e.index}",
    events.MembershipChangeGivenUp: lambda e: f"gives up: {e.reason}",
    events.RequestVoteDisregarded: lambda e: f"disregards {e.candidate}, which asks for a vote in term {e.term}",
    events.SnapshotTaken: lambda e: f"has a snapshot of entries 1 to {e.metadata.last_included_index}; its log is cut",
    events.SnapshotInstalled: lambda e: f"installs a snapshot of entries 1 to {e.metadata.last_included_index}",
    events.MessageReceived: lambda e: f"receives {chunk_text(e.message)} of the snapshot of {e.peer}",
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


def chunk_text(message: InstallSnapshot) -> str:
    """Return which part of a snapshot came: `bytes 1 to 262144`."""
    return f"bytes {message.offset + 1} to {message.offset + len(message.data)}"


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
        self.silent_about: EventKinds = frozenset()

    def observe(self, event: Event) -> None:
        """Say what `event` is. Of messages only snapshots are told of. No-ops are applied without a word, and a reader who sees a commit needs no echo."""
        told_anyway = isinstance(event, events.Applied) and event.entry.kind not in (COMMAND, SESSION_COMMAND)
        of_no_interest = isinstance(event, events.MessageReceived) and not isinstance(event.message, InstallSnapshot)
        if told_anyway or of_no_interest or type(event) in self.silent_about:
            return
        self._stage.note(event.server, self._texts[type(event)](event))
