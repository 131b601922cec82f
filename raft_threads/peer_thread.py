"""The thread that sends to one peer: RequestVote as a candidate (§5.2), AppendEntries as leader (§5.3).

One request is under way at a time. What comes together meanwhile goes with the next one. A request without an answer
is sent again, for ever (§5.1, §5.5).
"""

from __future__ import annotations

from typing import Optional

from raft_threads import election, replication
from raft_threads.events import (
    MessageDropped,
    MessageSent,
    PeerReachable,
    PeerUnreachable,
    ReplyReceived,
    VoteReceived,
    glimpse,
)
from raft_threads.messages import AppendEntries, AppendEntriesReply, Reply, Request, RequestVote, RequestVoteReply
from raft_threads.monitor import Monitor
from raft_threads.state import Role
from raft_threads.transport import PeerDidNotAnswer, Transport

# What one AppendEntries carries at most. Large enough that a busy leader sends what has come together in one message.
MAX_ENTRIES_PER_MESSAGE = 4096
MAX_BYTES_PER_MESSAGE = 1024 * 1024


class PeerThread:
    """Sends to `peer` whatever is due. `main` takes the lock; the other methods are called with the lock held."""

    def __init__(self, monitor: Monitor, transport: Transport, peer: str, max_entries: int) -> None:
        """Send to `peer` over `transport`, at most `max_entries` entries in one message."""
        self._monitor = monitor
        self._state = monitor.state
        self._transport = transport
        self._peer = peer
        self._max_entries = max_entries
        self._link = monitor.links[peer]

    def main(self) -> None:
        """Wait until a request is due, send it without the lock, hand the answer to its rule."""
        monitor = self._monitor
        while True:
            with monitor.lock:
                while not (monitor.stopping or self._is_due()):
                    self._link.wake.wait(self._seconds_until_due())
                if monitor.stopping:
                    return
                request = self._next_request()
            try:
                reply = self._transport.call(self._peer, request, monitor.timing.rpc_timeout)
            except PeerDidNotAnswer as error:
                with monitor.lock:
                    self._did_not_answer(request, error)
            else:
                with monitor.lock:
                    self._answered(request, reply)

    def _due_at(self) -> Optional[float]:
        """Return when the next request is due (monotonic seconds), None when nothing is to be sent.

        A leader sends entries at once and heartbeats at intervals; a candidate asks for a vote until it is answered,
        and not before its own vote is saved (Fig. 2). After a request without an answer both wait a little.
        """
        state, link = self._state, self._link
        if state.role is Role.LEADER:
            due_at = 0.0 if replication.has_entries_for(state, self._peer) else link.heartbeat_at
            return max(due_at, link.retry_at)
        if election.awaits_vote_of(state, self._peer) and state.term_and_vote_are_saved():
            return link.retry_at
        return None

    def _is_due(self) -> bool:
        due_at = self._due_at()
        return due_at is not None and self._monitor.now() >= due_at

    def _seconds_until_due(self) -> Optional[float]:
        due_at = self._due_at()
        return None if due_at is None else max(0.0, due_at - self._monitor.now())

    def _next_request(self) -> Request:
        request: Request
        if self._state.role is Role.LEADER:
            request = replication.append_entries_request(
                self._state, self._peer, self._max_entries, MAX_BYTES_PER_MESSAGE
            )
            self._link.heartbeat_at = self._monitor.now() + self._monitor.timing.heartbeat_interval
        else:
            request = election.vote_request(self._state)
        self._monitor.narrator.tell(MessageSent, peer=self._peer, message=request)
        return request

    def _answered(self, request: Request, reply: Reply) -> None:
        """Hand the reply to its rule. The lock was free: the rule looks at term and role again."""
        before = glimpse(self._state)
        narrator = self._monitor.narrator
        if isinstance(request, RequestVote) and isinstance(reply, RequestVoteReply):
            counts = election.answers_our_candidacy(self._state, request, reply)
            election.handle_request_vote_reply(self._state, self._peer, request, reply)
            if counts:
                narrator.tell(VoteReceived, voter=self._peer, granted=reply.vote_granted)
        elif isinstance(request, AppendEntries) and isinstance(reply, AppendEntriesReply):
            replication.handle_append_entries_reply(self._state, self._peer, request, reply)
        narrator.tell(ReplyReceived, peer=self._peer, message=request, reply=reply)
        self._monitor.react(before)
        if self._link.reachable is False:
            narrator.tell(PeerReachable, peer=self._peer)
        self._link.reachable = True

    def _did_not_answer(self, request: Request, error: PeerDidNotAnswer) -> None:
        """Note to try again a little later (§5.5); at once, if we are in a newer term than the request was."""
        link, monitor = self._link, self._monitor
        if request.term == self._state.current_term:
            link.retry_at = monitor.now() + monitor.timing.heartbeat_interval
        monitor.narrator.tell(MessageDropped, peer=self._peer, message=request, reason=str(error))
        if link.reachable is not False and not monitor.stopping:
            monitor.narrator.tell(PeerUnreachable, peer=self._peer, reason=str(error))
        link.reachable = False
