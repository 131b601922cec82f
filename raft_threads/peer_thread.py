"""The thread that sends to one peer: votes to ask for (§5.2), entries (§5.3), snapshots (§7), and what extensions add.

One request is under way at a time. What comes together meanwhile goes with the next one. A request without an answer
is sent again, for ever (§5.1, §5.5).
"""

from __future__ import annotations

from typing import Optional

from raft_threads import compaction, election, pre_vote, reads, replication, transfer
from raft_threads.events import (
    MessageDropped,
    MessageSent,
    PeerReachable,
    PeerUnreachable,
    PreVoteReceived,
    ReplyReceived,
    VoteReceived,
    glimpse,
)
from raft_threads.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    Reply,
    Request,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)
from raft_threads.monitor import Monitor
from raft_threads.snapshot_transfer import SnapshotTransfer
from raft_threads.state import Role
from raft_threads.storage import Storage
from raft_threads.transport import PeerDidNotAnswer, Transport

# What one AppendEntries carries at most. Large enough that a busy leader sends what has come together in one message.
MAX_ENTRIES_PER_MESSAGE = 4096
MAX_BYTES_PER_MESSAGE = 1024 * 1024


class PeerThread:
    """Sends to `peer` whatever is due. `main` takes the lock; the other methods are called with the lock held."""

    def __init__(
        self,
        monitor: Monitor,
        transport: Transport,
        storage: Storage,
        peer: str,
        max_entries: int,
        max_chunk_bytes: int,
    ) -> None:
        """Send to `peer` over `transport`: at most `max_entries` entries in one message, and snapshots from `storage`,
        at most `max_chunk_bytes` at a time.
        """
        self._monitor = monitor
        self._state = monitor.state
        self._transport = transport
        self._peer = peer
        self._max_entries = max_entries
        self._link = monitor.links[peer]
        self._snapshot = SnapshotTransfer(storage, max_chunk_bytes)
        # The newest round of heartbeats that some read needed when the present request was made (§8).
        self._read_round = 0

    def main(self) -> None:
        """Wait until a request is due, send it without the lock, hand the answer to its rule."""
        monitor = self._monitor
        try:
            with monitor.lock:
                while self._wait_until_due():
                    request = self._next_request()
                    if request is not None:
                        self._send(request)
                self._leave()
        finally:
            self._snapshot.end()

    def _wait_until_due(self) -> bool:
        """Return True when a request is due, False when there will be none any more."""
        monitor, link = self._monitor, self._link
        while not (monitor.stopping or link.removed or self._is_due()):
            link.wake.wait(self._seconds_until_due())
        return not (monitor.stopping or link.removed)

    def _leave(self) -> None:
        """Make room for another thread, if the peer was removed and has been added again meanwhile (§6)."""
        del self._monitor.links[self._peer]
        self._monitor.link_peers()

    def _send(self, request: Request) -> None:
        """Send `request` and handle what comes of it. Lets go of the lock meanwhile."""
        monitor = self._monitor
        monitor.narrator.tell(MessageSent, peer=self._peer, message=request)
        try:
            with monitor.unlocked():
                reply = self._transport.call(self._peer, request, monitor.timing.rpc_timeout)
        except PeerDidNotAnswer as error:
            self._did_not_answer(request, error)
        else:
            self._answered(request, reply)

    # What is due

    def _due_at(self) -> Optional[float]:
        """Return when the next request is due (monotonic seconds), None when nothing is to be sent.

        A leader sends entries, snapshots and what reads wait for at once, and heartbeats at intervals; a candidate asks
        for a vote until it is answered, and not before its own vote is saved (Fig. 2). After a request without an
        answer all wait a little.
        """
        state, peer, link = self._state, self._peer, self._link
        if state.role is Role.LEADER:
            at_once = (
                replication.has_entries_for(state, peer)
                or reads.owes_heartbeat(state, peer)
                or transfer.timeout_now_is_due(state, peer)
            )
            return max(0.0 if at_once else link.heartbeat_at, link.retry_at)
        asks_for_vote = election.awaits_vote_of(state, peer) and state.term_and_vote_are_saved()
        return link.retry_at if asks_for_vote or pre_vote.awaits_pre_vote_of(state, peer) else None

    def _is_due(self) -> bool:
        due_at = self._due_at()
        return due_at is not None and self._monitor.now() >= due_at

    def _seconds_until_due(self) -> Optional[float]:
        due_at = self._due_at()
        return None if due_at is None else max(0.0, due_at - self._monitor.now())

    def _next_request(self) -> Optional[Request]:
        """Return what is to be sent; None if reading it took so long that we have to look again."""
        state, peer = self._state, self._peer
        self._read_round = state.read_round
        if state.role is not Role.LEADER:
            asks_first = pre_vote.awaits_pre_vote_of(state, peer)
            return pre_vote.pre_vote_request(state) if asks_first else election.vote_request(state)
        if transfer.timeout_now_is_due(state, peer):
            return transfer.timeout_now_request(state)
        self._link.heartbeat_at = self._monitor.now() + self._monitor.timing.heartbeat_interval
        if compaction.needs_snapshot(state, peer):
            return self._next_chunk()
        self._snapshot.end()
        return replication.append_entries_request(state, peer, self._max_entries, MAX_BYTES_PER_MESSAGE)

    def _next_chunk(self) -> Optional[InstallSnapshot]:
        """Return the next part of a snapshot (§7). Lets go of the lock while it is read, and looks again then."""
        state, term = self._state, self._state.current_term
        with self._monitor.unlocked():
            chunk = self._snapshot.next_chunk()
        if state.current_term != term or not compaction.needs_snapshot(state, self._peer) or self._link.removed:
            return None
        return compaction.install_snapshot_request(state, chunk.metadata, chunk.offset, chunk.data, chunk.done)

    # What comes of it

    def _answered(self, request: Request, reply: Reply) -> None:
        """Hand the reply to its rule. The lock was free: the rule looks at term and role again."""
        before = glimpse(self._state)
        narrator = self._monitor.narrator
        self._monitor.requests_answered += 1
        if self._link.removed:
            election.adopt_newer_term(self._state, reply.term)
        else:
            self._note_answer_to_leader(request, reply)
            self._hand_to_rule(request, reply)
        narrator.tell(ReplyReceived, peer=self._peer, message=request, reply=reply)
        self._monitor.react(before)
        if not self._link.removed:
            self._monitor.advance_membership(self._peer)
        if self._monitor.reads:
            self._monitor.to_apply.notify()
        if self._link.reachable is False:
            narrator.tell(PeerReachable, peer=self._peer)
        self._link.reachable = True

    def _hand_to_rule(self, request: Request, reply: Reply) -> None:
        state, peer = self._state, self._peer
        if isinstance(request, RequestVote) and isinstance(reply, RequestVoteReply):
            counts = election.answers_our_candidacy(state, request, reply)
            if reply.term < request.term:
                self._wait_before_retry()  # it disregards us (§6)
            election.handle_request_vote_reply(state, peer, request, reply)
            if counts:
                self._monitor.narrator.tell(VoteReceived, voter=peer, granted=reply.vote_granted)
        elif isinstance(request, AppendEntries) and isinstance(reply, AppendEntriesReply):
            replication.handle_append_entries_reply(state, peer, request, reply)
        elif isinstance(request, InstallSnapshot) and isinstance(reply, InstallSnapshotReply):
            if not self._snapshot.go_on_from(reply.bytes_stored):
                self._wait_before_retry()
            compaction.handle_install_snapshot_reply(state, peer, request, reply)
        elif isinstance(request, PreVote) and isinstance(reply, PreVoteReply):
            self._handle_pre_vote_reply(request, reply)
        elif isinstance(request, TimeoutNow) and isinstance(reply, TimeoutNowReply):
            transfer.handle_timeout_now_reply(state, peer, request, reply)

    def _handle_pre_vote_reply(self, request: PreVote, reply: PreVoteReply) -> None:
        """Count the answer; if we would be elected, the election begins now (Diss. §9.6)."""
        pre_vote.handle_pre_vote_reply(self._state, self._peer, request, reply)
        if not pre_vote.awaits_pre_vote_of(self._state, self._peer):
            self._monitor.narrator.tell(PreVoteReceived, voter=self._peer, granted=reply.vote_granted)
        if pre_vote.would_be_elected(self._state):
            self._monitor.election_due.notify()

    def _note_answer_to_leader(self, request: Request, reply: Reply) -> None:
        """Note that the peer takes us for the leader, since when we made the request (§6, §8)."""
        if replication.answers_our_leadership(self._state, request, reply):
            self._link.answered_at = self._monitor.now()
            reads.record_heartbeat_answer(self._state, self._peer, self._read_round)

    def _did_not_answer(self, request: Request, error: PeerDidNotAnswer) -> None:
        """Note to try again a little later (§5.5); at once, if we are in a newer term than the request was."""
        link, monitor = self._link, self._monitor
        if isinstance(request, InstallSnapshot) and request.offset == 0:
            self._snapshot.end()  # nothing of it has come: begin with the newest one
        if request.term >= self._state.current_term:
            self._wait_before_retry()
        monitor.narrator.tell(MessageDropped, peer=self._peer, message=request, reason=str(error))
        if link.reachable is not False and not monitor.stopping:
            monitor.narrator.tell(PeerUnreachable, peer=self._peer, reason=str(error))
        link.reachable = False

    def _wait_before_retry(self) -> None:
        self._link.retry_at = self._monitor.now() + self._monitor.timing.heartbeat_interval
