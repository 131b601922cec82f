"""Tells the checks of Fig. 3 a story: hand-made events, in the order in which nodes tell them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Optional

import pytest
from drawing import FIVE, THREE, entries_of

from raft_threads import events
from raft_threads.configuration import Configuration
from raft_threads.events import Event, Glimpse
from raft_threads.invariants import Invariants, InvariantViolation
from raft_threads.log import LogEntry, SnapshotMetadata
from raft_threads.messages import AppendEntries, AppendEntriesReply, RequestVote, RequestVoteReply
from raft_threads.state import Role
from raft_threads.watched_server import NEW_SERVER


class Telling:
    """A cluster of which there is nothing but what is told. Its verbs are sound steps; `tell` tells of anything.

    Leaders append no no-op by themselves, so that the logs are those of the figures.
    """

    def __init__(self, servers: Sequence[str] = THREE) -> None:
        self.invariants = Invariants(servers)
        self.states: dict[str, Glimpse] = dict.fromkeys(servers, NEW_SERVER)
        self.logs: dict[str, list[LogEntry]] = {server: [] for server in servers}

    def tell(self, kind: type[Event], server: str, now: Optional[dict[str, Any]] = None, **fields: Any) -> None:
        """Tell of one event; `now` is what has changed in the state of `server`, all else being as it was."""
        log = self.logs[server]
        last = log[-1] if log else LogEntry(0, 0)
        changes = {"last_log_index": last.index, "last_log_term": last.term, **(now or {})}
        self.states[server] = self.states[server]._replace(**changes)
        self.invariants.observe(kind(server, 0.0, self.states[server], **fields))

    def start(self, *terms: int) -> None:
        """All servers start for the first time, with these entries on their disks."""
        for server in self.states:
            self.restart(server, entries_of(*terms), term=max(terms, default=0))

    def restart(self, server: str, log: Optional[Sequence[LogEntry]] = None, **disk: Any) -> None:
        """`server` crashes and is back with `log` and `disk`: by default with all that it had."""
        before = self.states[server]
        self.states[server] = NEW_SERVER._replace(term=before.term, voted_for=before.voted_for)
        self.logs[server] = list(self.logs[server] if log is None else log)
        start = SnapshotMetadata(configuration=Configuration.of(self.states))
        self.tell(events.Restarted, server, disk, entries=tuple(self.logs[server]), start=start)

    # Elections (§5.2)

    def campaign(self, server: str, term: int) -> None:
        """`server` times out and asks the others for their votes."""
        now = {"term": term, "role": Role.CANDIDATE, "voted_for": server, "leader_id": None}
        self.tell(events.BecameCandidate, server, now)
        for peer in self.states:
            if peer != server:
                self.tell(events.MessageSent, server, peer=peer, message=self.vote_request(server))

    def vote_request(self, candidate: str) -> RequestVote:
        """Return what `candidate` asks."""
        state = self.states[candidate]
        return RequestVote(state.term, candidate, state.last_log_index, state.last_log_term)

    def vote(self, voter: str, candidate: str) -> None:
        """`voter` grants `candidate` its vote, and the answer arrives."""
        request = self.vote_request(candidate)
        now = {"term": request.term, "role": Role.FOLLOWER, "voted_for": candidate}
        if self.states[voter].term < request.term:
            now["leader_id"] = None
        self.tell(events.MessageReceived, voter, now, peer=candidate, message=request)
        self.tell(events.VoteGranted, voter, candidate=candidate)
        reply = RequestVoteReply(request.term, True)
        self.tell(events.ReplySent, voter, peer=candidate, message=request, reply=reply)
        self.tell(events.VoteReceived, candidate, voter=voter, granted=True)

    def win(self, server: str) -> None:
        """`server` becomes leader."""
        self.tell(events.BecameLeader, server, {"role": Role.LEADER, "leader_id": server})

    def elect(self, server: str, term: int, *voters: str) -> None:
        """`server` is elected by `voters` and itself."""
        self.campaign(server, term)
        for voter in voters:
            self.vote(voter, server)
        self.win(server)

    # Replication (§5.3)

    def append(self, leader: str, count: int = 1) -> None:
        """`leader` appends entries of its term."""
        log, term = self.logs[leader], self.states[leader].term
        entries = entries_of(*[term] * count, first_index=len(log) + 1)
        log += entries
        self.tell(events.EntriesAppended, leader, entries=entries)

    def send(self, leader: str, follower: str) -> AppendEntries:
        """`leader` sends `follower` all entries that it does not have; return the message."""
        ours, state = self.logs[leader], self.states[leader]
        same = 0
        while same < min(len(ours), len(self.logs[follower])) and ours[same] == self.logs[follower][same]:
            same += 1
        prev_log_term = ours[same - 1].term if same else 0
        message = AppendEntries(state.term, leader, same, prev_log_term, tuple(ours[same:]), state.commit_index)
        self.tell(events.MessageSent, leader, peer=follower, message=message)
        return message

    def accept(self, follower: str, message: AppendEntries) -> None:
        """`follower` takes what the message brings, and acknowledges it."""
        self.take(follower, message)
        self.acknowledge(follower, message)

    def take(self, follower: str, message: AppendEntries) -> None:
        """`follower` takes what the message brings; its disk does not hold it yet."""
        before, log = self.states[follower], self.logs[follower]
        old_length = len(log)
        last_new = message.prev_log_index + len(message.entries)
        conflict = next((entry.index for entry in message.entries if log[entry.index - 1:entry.index] != [entry]), 0)
        deletes = 0 < conflict <= old_length
        appended = message.entries[conflict - 1 - message.prev_log_index:] if conflict else ()
        if conflict:
            log[conflict - 1:] = appended
        now = {
            "term": message.term,
            "role": Role.FOLLOWER,
            "voted_for": before.voted_for if before.term == message.term else None,
            "leader_id": message.leader_id,
            "commit_index": max(before.commit_index, min(message.leader_commit, last_new)),
        }
        self.tell(events.MessageReceived, follower, now, peer=message.leader_id, message=message)
        if (before.term, before.leader_id) != (message.term, message.leader_id):
            self.tell(events.LeaderRecognized, follower, leader=message.leader_id)
        if deletes:
            self.tell(events.EntriesDeleted, follower, first_index=conflict, last_index=old_length)
        if appended:
            self.tell(events.EntriesAppended, follower, entries=appended)
        if now["commit_index"] != before.commit_index:
            self.tell(events.CommitAdvanced, follower, previous=before.commit_index)

    def acknowledge(self, follower: str, message: AppendEntries) -> None:
        """The answer leaves: success."""
        reply = AppendEntriesReply(message.term, True)
        self.tell(events.ReplySent, follower, peer=message.leader_id, message=message, reply=reply)

    def replicate(self, leader: str, *followers: str) -> None:
        """`leader` brings `followers` up to its own log and commit_index."""
        for follower in followers:
            self.accept(follower, self.send(leader, follower))

    def commit(self, leader: str, index: int) -> None:
        """`leader` advances its commit_index."""
        previous = self.states[leader].commit_index
        self.tell(events.CommitAdvanced, leader, {"commit_index": index}, previous=previous)

    def apply(self, server: str, index: int, result: bytes = b"done") -> None:
        """`server` applies its entry at `index`."""
        entry = self.logs[server][index - 1]
        self.tell(events.Applied, server, {"last_applied": index}, entry=entry, result=result)


# Where stories begin


def with_leader(*log: int) -> Telling:
    """n1, elected in the term after that of `log` by n2; all have `log`."""
    told = Telling()
    told.start(*log)
    told.elect("n1", max(log, default=0) + 1, "n2")
    return told


def committed() -> Telling:
    """n1 leads term 1; entry 1 is on n1 and n2, and both know that it is committed."""
    told = with_leader()
    told.append("n1")
    told.replicate("n1", "n2")
    told.commit("n1", 1)
    told.replicate("n1", "n2")
    return told


def fig_8_until_c() -> Telling:
    """Fig. 8 (a) to (c): entry 2 of term 2 is on n1, n2 and n3; n5 has one of term 3 there."""
    told = Telling(FIVE)
    told.start(1)
    told.elect("n1", 2, "n2", "n3")
    told.append("n1")
    told.replicate("n1", "n2")
    told.restart("n1")
    told.elect("n5", 3, "n3", "n4")
    told.append("n5")
    told.restart("n5")
    told.elect("n1", 4, "n2", "n3")
    told.replicate("n1", "n3")
    told.append("n1")
    return told


# How they end


@contextmanager
def broken(property: str, *servers: str, at: tuple[int, ...] = ()) -> Iterator[None]:
    """Expect that `property` is found broken by `servers`, at these log indexes; and that the message says so."""
    with pytest.raises(InvariantViolation) as found:
        yield
    violation = found.value
    assert (violation.property, set(violation.servers)) == (property, set(servers))
    assert set(at) <= set(violation.indexes)
    message = str(violation)
    assert message.startswith(property + ": ") and "\n" not in message
    assert all(name in message for name in [*servers, *map(str, violation.indexes)]), message
