"""Traces made by hand: a few records that tell exactly what a test is about."""

from __future__ import annotations

import random
from typing import Any, Optional

from raft_threads import events, surroundings
from raft_threads.diagrams.run import Run
from raft_threads.events import Event, Glimpse
from raft_threads.log import LogEntry, SnapshotMetadata
from raft_threads.messages import AppendEntries, AppendEntriesReply, Reply, Request, RequestVote, RequestVoteReply
from raft_threads.state import Role
from raft_threads.surroundings import Record, Surrounding
from raft_threads.trace import Header, Trace

NOBODY = Glimpse(0, Role.FOLLOWER, None, None, 0, 0, 0, 0)
HEARTBEAT = AppendEntries(1, "n1", 0, 0, (), 0)
WRITE = AppendEntries(1, "n1", 0, 0, (LogEntry(1, 1, "command", b'{"op":"put","key":"x","value":"1"}'),), 0)
ASK = RequestVote(1, "n1", 0, 0)
YES, NO = RequestVoteReply(1, True), RequestVoteReply(1, False)
DONE, REFUSED = AppendEntriesReply(1, True), AppendEntriesReply(1, False, None, 1)
TALK: list[tuple[Request, Reply]] = [(ASK, YES), (ASK, NO), (WRITE, DONE), (WRITE, REFUSED), (HEARTBEAT, DONE)]


class Script:
    """Records in the order in which a test tells of them; a millisecond passes before each."""

    def __init__(self, *servers: str) -> None:
        self.servers = servers or ("n1", "n2", "n3")
        self.records: list[Record] = []
        self.milliseconds = 0
        self._states = dict.fromkeys(self.servers, NOBODY)

    def event(self, kind: type[Event], server: str, state: Optional[dict[str, Any]] = None, **fields: Any) -> int:
        """Add an event that changes the server's state so; return its position."""
        self._states[server] = self._states[server]._replace(**(state or {}))
        return self._add(kind(server, self._now(), self._states[server], **fields))

    def around(self, kind: type[Surrounding], **fields: Any) -> int:
        """Add what happens around the servers; return its position."""
        return self._add(kind(self._now(), **fields))

    def start(self) -> None:
        """All servers start."""
        for server in self.servers:
            self.event(events.Restarted, server, entries=(), start=SnapshotMetadata())

    def send(self, sender: str, receiver: str, message: Request) -> int:
        """A request leaves."""
        return self.event(events.MessageSent, sender, peer=receiver, message=message)

    def receive(self, sender: str, receiver: str, message: Request, **state: Any) -> int:
        """A request is handled."""
        return self.event(events.MessageReceived, receiver, state, peer=sender, message=message)

    def answer(self, sender: str, receiver: str, message: Request, reply: Reply) -> int:
        """The reply to a request of `sender` leaves `receiver`."""
        return self.event(events.ReplySent, receiver, peer=sender, message=message, reply=reply)

    def hear(self, sender: str, receiver: str, message: Request, reply: Reply, **state: Any) -> int:
        """The reply to its request comes back to `sender`."""
        return self.event(events.ReplyReceived, sender, state, peer=receiver, message=message, reply=reply)

    def give_up(self, sender: str, receiver: str, message: Request, reason: str = "silence") -> int:
        """No reply comes."""
        return self.event(events.MessageDropped, sender, peer=receiver, message=message, reason=reason)

    def exchange(self, sender: str, receiver: str, message: Request, reply: Reply) -> None:
        """A request and its reply, all as it should be."""
        self.send(sender, receiver, message)
        self.receive(sender, receiver, message)
        self.answer(sender, receiver, message, reply)
        self.hear(sender, receiver, message, reply)

    def elect(self, winner: str, term: int = 1) -> None:
        """A server times out, and leads with the vote of the next one."""
        voter = self.servers[(self.servers.index(winner) + 1) % len(self.servers)]
        request, reply = RequestVote(term, winner, 0, 0), RequestVoteReply(term, True)
        candidate = {"term": term, "role": Role.CANDIDATE, "voted_for": winner, "leader_id": None}
        self.event(events.ElectionTimedOut, winner)
        self.event(events.BecameCandidate, winner, candidate)
        self.send(winner, voter, request)
        self.receive(winner, voter, request, term=term, voted_for=winner)
        self.event(events.VoteGranted, voter, candidate=winner)
        self.answer(winner, voter, request, reply)
        self.hear(winner, voter, request, reply, role=Role.LEADER, leader_id=winner)
        self.event(events.BecameLeader, winner)

    def pass_time(self, milliseconds: int) -> None:
        """Nothing happens for a while."""
        self.milliseconds += milliseconds

    def trace(self, **metadata: Any) -> Trace:
        """Return what happened so far."""
        return Trace(Header(self.servers, metadata), list(self.records))

    def run(self) -> Run:
        """Return what happened so far, as diagrams take it."""
        return Run(self.trace())

    def _now(self) -> float:
        self.milliseconds += 1
        return self.milliseconds / 1000

    def _add(self, record: Record) -> int:
        self.records.append(record)
        return len(self.records) - 1


def small() -> Script:
    """An election, a write that reaches one of two followers, and a crash."""
    script = Script()
    script.start()
    script.elect("n1")
    script.event(events.EntriesAppended, "n1", {"last_log_index": 1, "last_log_term": 1}, entries=WRITE.entries)
    script.send("n1", "n2", WRITE)
    script.send("n1", "n3", WRITE)
    script.receive("n1", "n2", WRITE, leader_id="n1", last_log_index=1, last_log_term=1)
    script.event(events.EntriesAppended, "n2", entries=WRITE.entries)
    script.answer("n1", "n2", WRITE, DONE)
    script.give_up("n1", "n3", WRITE, "the connection is cut")
    script.hear("n1", "n2", WRITE, DONE, commit_index=1)
    script.event(events.CommitAdvanced, "n1", previous=0)
    script.event(events.Applied, "n1", {"last_applied": 1}, entry=WRITE.entries[0], result=b'{"ok":true}')
    script.exchange("n1", "n2", HEARTBEAT, DONE)
    script.around(surroundings.Crashed, server="n1")
    return script


def busy(seed: int, servers: int, steps: int) -> Script:
    """A long run of everything that can happen, at random."""
    dice = random.Random(seed)
    script = Script(*(f"n{number}" for number in range(1, servers + 1)))
    script.start()
    for _ in range(steps):
        one, other = dice.sample(script.servers, 2)
        step = dice.randrange(12)
        if step < 5:
            script.exchange(one, other, *dice.choice(TALK))
        elif step == 5:
            script.elect(one, term=1 + dice.randrange(12_000))
        elif step == 6:
            script.send(one, other, WRITE)
            script.give_up(one, other, WRITE)
        elif step == 7:
            script.event(events.EntriesAppended, one, entries=WRITE.entries)
            script.event(events.CommitAdvanced, one, {"commit_index": 5}, previous=2)
        elif step == 8:
            script.around(surroundings.LinksCut, links=((one, other),))
        elif step == 9:
            script.around(surroundings.LinksHealed, links=((one, other),))
        elif step == 10:
            script.around(surroundings.Stalled, server=one, thread=f"{one}/disk", duration=0.01)
            script.around(surroundings.DiskFault, server=one, fault="wrote half of what it should have, and said so")
        else:
            script.pass_time(dice.choice([1, 100, 10_000]))
    return script
