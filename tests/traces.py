"""Traces made by hand: a few records that tell exactly what a test is about."""

from __future__ import annotations

from typing import Any, Optional

from raft_threads import events
from raft_threads.diagrams.run import Run
from raft_threads.events import Event, Glimpse
from raft_threads.log import LogEntry
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
            self.event(events.Restarted, server, entries=())

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
