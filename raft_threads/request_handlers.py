"""How a node answers other servers: the RPCs of Fig. 2 and Fig. 13, and those of the dissertation.

Each takes the lock, calls its rule, sees that what the rule changed is on disk, and answers. Called in the threads of
the transport, `n1/rpc-from-n2`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, Optional

from raft_threads import compaction, election, pre_vote, replication, transfer
from raft_threads.entry_format import BadLine
from raft_threads.events import EntriesDeleted, Glimpse, ReplySent, SnapshotInstalled, glimpse
from raft_threads.log import SnapshotMetadata
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
    sender_of,
)
from raft_threads.monitor import Monitor
from raft_threads.snapshot_format import read_metadata
from raft_threads.state import SafetyViolation
from raft_threads.storage import BadSnapshot, Storage, snapshot_size
from raft_threads.transport import RequestRefused

logger = logging.getLogger(__name__)


class RequestHandlers:
    """Answers requests for one node. `handle` takes the lock; the other methods are called with the lock held."""

    def __init__(self, monitor: Monitor, storage: Storage) -> None:
        self._monitor = monitor
        self._state = monitor.state
        self._storage = storage
        self._handlers: dict[type[Any], Callable[[str, Any], Reply]] = {
            RequestVote: self._handle_request_vote,
            AppendEntries: self._handle_append_entries,
            InstallSnapshot: self._handle_install_snapshot,
            PreVote: self._handle_pre_vote,
            TimeoutNow: self._handle_timeout_now,
        }

    def handle(self, peer: str, request: Request) -> Reply:
        """Answer `peer`. Raises RequestRefused: this node stops, `peer` is an impostor, or contradicts Fig. 3."""
        refuse_impostor(peer, sender_of(request))
        with self._monitor.lock:
            if self._monitor.stopping:
                raise RequestRefused("this server is stopping")
            with self._refusing_violations(peer):
                return self._handlers[type(request)](peer, request)

    # Fig. 2

    def _handle_request_vote(self, peer: str, request: RequestVote) -> Reply:
        """Answer a candidate (§5.2), unless we hear from a leader (§6)."""
        before = glimpse(self._state)
        if election.disregards(request, self._monitor.hears_from_leader()):
            reply = election.disregarding_reply(self._state)
        else:
            reply = election.handle_request_vote(self._state, request)
        self._after_request(peer, request, reply, before)
        self._monitor.save()  # persist before answering (Fig. 2)
        return self._answer(peer, request, reply)

    def _handle_append_entries(self, peer: str, request: AppendEntries) -> Reply:
        """Answer a leader (§5.3)."""
        before = glimpse(self._state)
        conflict = self._conflict_to_tell_of(request)
        reply = replication.handle_append_entries(self._state, request)
        self._after_request(peer, request, reply, before, conflict)
        self._monitor.save()  # persist before answering (Fig. 2)
        return self._answer(peer, request, reply)

    # Fig. 13

    def _handle_install_snapshot(self, peer: str, request: InstallSnapshot) -> Reply:
        """Answer a leader that sends a snapshot (§7), after storing what it sends, if that is the next part."""
        before = glimpse(self._state)
        reply = compaction.handle_install_snapshot(self._state, request)
        self._after_request(peer, request, reply, before)
        if compaction.wants_chunk(self._state, request):
            self._monitor.save()  # the term first: no snapshot on disk is ahead of it
            reply = self._store_chunk(request)
        self._monitor.save()  # persist before answering (Fig. 2)
        return self._answer(peer, request, reply)

    def _store_chunk(self, request: InstallSnapshot) -> InstallSnapshotReply:
        """Store a chunk; if it is the last one, the snapshot takes the place of the log (Fig. 13, rules 3 to 7).

        Lets go of the lock while the disk works; another leader's snapshot may have taken over meanwhile.
        """
        monitor, state = self._monitor, self._state
        refuse_wrong_header(request)
        with monitor.turn_at_disk():
            if compaction.wants_chunk(state, request):
                with monitor.unlocked():
                    self._storage.store_chunk(request.offset, request.data)
                if compaction.wants_chunk(state, request):
                    compaction.record_chunk(state, request)
                    if request.done:
                        return self._install(request)
        return InstallSnapshotReply(request.term, compaction.bytes_stored(state, request))

    def _install(self, request: InstallSnapshot) -> InstallSnapshotReply:
        """Let the whole snapshot take the place of the log. Called with the turn at the disk as well."""
        monitor, state = self._monitor, self._state
        try:
            with monitor.unlocked():
                metadata = self._storage.adopt_received()
                size = 0 if metadata is None else snapshot_size(self._storage)
        except BadSnapshot as error:
            compaction.stop_receiving(state, request)
            logger.error("%s: a snapshot of %s is damaged and must come again: %s", state.id, request.leader_id, error)
            return InstallSnapshotReply(request.term, bytes_stored=0)
        compaction.stop_receiving(state, request)
        if metadata is not None:
            monitor.snapshot_bytes = size
            self._let_it_replace_the_log(metadata)
        return InstallSnapshotReply(request.term)

    def _let_it_replace_the_log(self, metadata: SnapshotMetadata) -> None:
        before = glimpse(self._state)
        retained = compaction.install_snapshot(self._state, metadata)
        self._monitor.narrator.tell(SnapshotInstalled, metadata=metadata, retained=retained)
        now = glimpse(self._state)
        # What became of the log has been told: the rest of the step is told by comparison.
        self._monitor.react(
            before._replace(
                last_log_index=now.last_log_index,
                last_log_term=now.last_log_term,
                last_included_index=now.last_included_index,
            )
        )
        if self._monitor.narrator.tell_of_configuration():
            self._monitor.link_peers()
        self._monitor.to_apply.notify()

    # From the dissertation

    def _handle_pre_vote(self, peer: str, request: PreVote) -> Reply:
        """Say whether we would vote for a server (Diss. §9.6)."""
        before = glimpse(self._state)
        reply = pre_vote.handle_pre_vote(self._state, request, self._monitor.hears_from_leader())
        self._after_request(peer, request, reply, before)
        return self._answer(peer, request, reply)

    def _handle_timeout_now(self, peer: str, request: TimeoutNow) -> Reply:
        """Stand for election at once, since the leader hands over to us (Diss. §3.10)."""
        before = glimpse(self._state)
        reply = transfer.handle_timeout_now(self._state, request)
        stands = transfer.is_to_stand(self._state, request)
        self._after_request(peer, request, reply, before)
        self._monitor.save()  # persist before answering (Fig. 2)
        answer = self._answer(peer, request, reply)
        if stands and transfer.is_to_stand(self._state, request):
            self._monitor.stand_for_election_at_once()
        return answer

    # All of them

    def _after_request(
        self, peer: str, request: Request, reply: Reply, before: Glimpse, conflict: Optional[int] = None
    ) -> None:
        """Restart the timer if that was a leader or our candidate; see to what changed."""
        if election.restarts_election_timer(reply, request.term):
            self._monitor.restart_election_timer()
            if isinstance(request, (AppendEntries, InstallSnapshot)):
                self._monitor.heard_from_leader_at = self._monitor.now()
        self._monitor.narrator.tell_of_request(peer, request, reply)
        self._monitor.react(before, conflict)

    def _answer(self, peer: str, request: Request, reply: Reply) -> Reply:
        """Return what leaves for `peer` now that our disk holds what it promises.

        A refusal instead of `reply`, if the disk took so long that we are in a newer term; which it must hold as well.
        Lets go of the lock if the disk has to work for that.
        """
        while not self._state.term_and_vote_are_saved():
            self._monitor.save()
        if reply.term != self._state.current_term:
            reply = refusal(request, self._state.current_term)
        self._monitor.narrator.tell(ReplySent, peer=peer, message=request, reply=reply)
        return reply

    def _conflict_to_tell_of(self, request: AppendEntries) -> int:
        """Return where `request` conflicts with our log, if an observer wants to know."""
        if not self._monitor.narrator.wants(EntriesDeleted):
            return 0
        return replication.first_conflict(self._state.log, request.entries)

    @contextmanager
    def _refusing_violations(self, peer: str) -> Iterator[None]:
        """Answer nothing to what must never be said, so that damage does not spread (Fig. 3)."""
        try:
            yield
        except SafetyViolation as violation:
            logger.error("%s: refused a message of %s: %s", self._state.id, peer, violation)
            raise RequestRefused(str(violation)) from violation


def refusal(request: Request, term: int) -> Reply:
    """Return the answer to a request of an older term than `term`, ours (§5.1)."""
    if isinstance(request, AppendEntries):
        return AppendEntriesReply(term, False)
    if isinstance(request, InstallSnapshot):
        return InstallSnapshotReply(term, bytes_stored=0)
    if isinstance(request, TimeoutNow):
        return TimeoutNowReply(term)
    return PreVoteReply(term, False) if isinstance(request, PreVote) else RequestVoteReply(term, False)


def refuse_wrong_header(request: InstallSnapshot) -> None:
    """Raise RequestRefused when the first chunk of a snapshot does not begin as that of the entry it is sent for."""
    header, newline, _ = request.data.partition(b"\n")
    if request.offset != 0 or not newline:
        return
    try:
        metadata = read_metadata(header + newline)
    except BadLine as error:
        raise RequestRefused(f"a snapshot cannot begin so: {error}") from error
    if (metadata.last_included_index, metadata.last_included_term) != (
        request.last_included_index,
        request.last_included_term,
    ):
        raise RequestRefused(f"this is a snapshot up to entry {metadata.last_included_index}, not the one announced")


def refuse_impostor(peer: str, claimed: str) -> None:
    """Raise RequestRefused when `peer` sends in another server's name."""
    if peer != claimed:
        raise RequestRefused(f"{peer} sent a message in the name of {claimed}")
