"""Fig. 3 as checks of a running cluster, after every event: its five properties, and what they rest on (§5.4.3).

`watched_server.py` looks at each server by itself; here they are compared. The cost of an event is that of the
entries in it, however long the logs are: each check relies on what was checked before (induction, as in the paper).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, Optional

from raft_threads import events
from raft_threads.configuration import Configuration
from raft_threads.events import Event, EventKinds
from raft_threads.known_elections import KnownElections
from raft_threads.known_entries import Committed, KnownEntries, same_entry
from raft_threads.log import LogEntry
from raft_threads.membership_invariants import (
    check_configuration_in_force,
    check_covers_only_what_was_applied,
    check_keeps_what_follows,
    check_may_stop_leading,
    check_new_configuration,
    check_snapshot,
    describe,
)
from raft_threads.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    RequestVote,
    RequestVoteReply,
)
from raft_threads.server_invariants import (
    COMMITMENT,
    ELECTION_SAFETY,
    LEADER_APPEND_ONLY,
    LEADER_COMPLETENESS,
    LOG_MATCHING,
    MESSAGES,
    PERSISTENCE,
    STATE_MACHINE_SAFETY,
    InvariantViolation,
    check_state,
)
from raft_threads.state import Role, State
from raft_threads.watched_server import (
    WatchedServer,
    check_append_entries,
    check_reply_is_of_the_term,
    check_request_vote,
    is_majority,
)

__all__ = ["Invariants", "InvariantViolation", "check_state"]


class Invariants:
    """An observer that checks the properties for all servers of one cluster.

    It must hear every event from the first start on, each before the next one happens: calls must be serialized by
    the caller. In a simulation only one thread runs at a time; for real threads there is `InvariantWatch`.
    """

    kinds: Optional[EventKinds] = None

    def __init__(self, servers: Sequence[str]) -> None:
        """Watch `servers`, which the cluster begins with; others may come to be added (§6)."""
        self._servers = {server: WatchedServer(server) for server in servers}
        self._first_configuration = Configuration.of(servers)
        self._entries = KnownEntries()
        self._committed = Committed()
        self._elections = KnownElections(self._entries, self._committed)
        # By term, how far each follower has acknowledged the log of the term's leader.
        self._acknowledged: dict[int, dict[str, int]] = {}
        # Who applied each entry first, with which result.
        self._applied: list[tuple[str, LogEntry, Optional[bytes]]] = []
        self._checks: dict[type[Event], Callable[[WatchedServer, Any], None]] = {
            events.Restarted: self._restarted,
            events.VoteGranted: self._vote_granted,
            events.VoteReceived: self._vote_received,
            events.BecameCandidate: self._became_candidate,
            events.BecameLeader: self._became_leader,
            events.LeaderRecognized: self._leader_recognized,
            events.EntriesAppended: self._entries_appended,
            events.EntriesDeleted: self._entries_deleted,
            events.CommitAdvanced: self._commit_advanced,
            events.Applied: self._entry_applied,
            events.MessageSent: self._message_sent,
            events.MessageReceived: self._message_received,
            events.ReplySent: self._reply_sent,
            events.ConfigurationChanged: self._configuration_changed,
            events.SteppedDown: self._stepped_down,
            events.LostContact: self._lost_contact,
            events.SnapshotTaken: self._snapshot_taken,
            events.SnapshotInstalled: self._snapshot_installed,
            events.StateMachineReset: self._state_machine_reset,
        }

    def observe(self, event: Event) -> None:
        """Check that `event` may happen. Raises InvariantViolation; later events mean nothing then."""
        server = self._servers.setdefault(event.server, WatchedServer(event.server))
        if event.state != server.state and type(event) is not events.Restarted:
            server.step_to(event.state)
        check = self._checks.get(type(event))
        if check is not None:
            check(server, event)

    def forget(self, server: str) -> None:
        """Note that `server` has lost its disk: what it promised is void. Only who was removed may lose it (§6)."""
        configuration = self._committed.configuration_at(self._committed.last_index) or self._first_configuration
        if server in configuration:
            raise InvariantViolation(
                PERSISTENCE, f"{server} has lost its disk, and belongs to {describe(configuration)}", [server]
            )
        self._servers[server] = WatchedServer(server)

    def check_match_index(self, state: State) -> None:
        """Check that a leader believes no follower to hold more than that acknowledged in this term (§5.3).

        No event carries match_index; so this is for those who can look at a server's state, with its lock held.
        """
        acknowledged = self._acknowledged.get(state.current_term, {})
        for peer, index in state.match_index.items():
            if peer != state.id and index > acknowledged.get(peer, 0):
                raise InvariantViolation(
                    COMMITMENT,
                    f"{state.id} has match_index {index} of {peer}, "
                    f"which acknowledged {acknowledged.get(peer, 0)} in term {state.current_term}",
                    [state.id, peer],
                    [index],
                )

    # Restarts (Fig. 2, "Persistent state")

    def _restarted(self, server: WatchedServer, event: events.Restarted) -> None:
        """What a disk holds when its server is first started is taken for given; later it must have been known."""
        if event.start.configuration.servers and event.start.last_included_index == 0:
            self._first_configuration = event.start.configuration
        check_snapshot(server, event.start, self._committed, self._first_configuration)
        entries = [*self._committed.entries_up_to(event.start.last_included_index), *event.entries]
        server.check_promises_kept(event.state, entries)
        first_start = not server.started
        kept = server.restart(event.state, entries)
        for entry in entries[kept:]:
            self._append(server, entry, may_be_new=first_start)
        server.begin_after(event.start)

    # Elections (§5.2, §5.4.1)

    def _became_candidate(self, server: WatchedServer, event: events.BecameCandidate) -> None:
        server.voters = set()

    def _vote_granted(self, server: WatchedServer, event: events.VoteGranted) -> None:
        server.check_election_restriction(event.candidate)

    def _vote_received(self, server: WatchedServer, event: events.VoteReceived) -> None:
        if not event.granted:
            return
        term = event.state.term
        if self._servers[event.voter].promised_votes.get(term) != server.id:
            raise InvariantViolation(
                ELECTION_SAFETY,
                f"{server.id} counts a vote of {event.voter} in term {term} that was not given",
                [server.id, event.voter],
            )
        server.voters.add(event.voter)

    def _became_leader(self, server: WatchedServer, event: events.BecameLeader) -> None:
        """The no-op of the new term is told of later."""
        self._elections.note_win(server, event.state.term)

    def _leader_recognized(self, server: WatchedServer, event: events.LeaderRecognized) -> None:
        self._elections.check_leads(event.leader, event.state.term, f"{server.id} follows {event.leader}", server.id)

    # Logs (§5.3)

    def _entries_appended(self, server: WatchedServer, event: events.EntriesAppended) -> None:
        leads = event.state.role is Role.LEADER
        for entry in event.entries:
            if leads and entry.term != event.state.term:
                raise InvariantViolation(
                    LOG_MATCHING,
                    f"{server.id}, leader of term {event.state.term}, creates entry {entry.index} of term {entry.term}",
                    [server.id],
                    [entry.index],
                )
            if leads:
                check_new_configuration(server, entry)
            self._append(server, entry, may_be_new=leads)
        server.check_log_is_told()

    def _append(self, server: WatchedServer, entry: LogEntry, may_be_new: bool) -> None:
        server.check_is_next(entry)
        self._entries.check_append(server.id, entry, server.last_term, may_be_new)
        server.append(entry)

    def _entries_deleted(self, server: WatchedServer, event: events.EntriesDeleted) -> None:
        """Leader Append-Only; and no follower deletes what is committed."""
        first, last, term = event.first_index, event.last_index, event.state.term
        if event.state.role is Role.LEADER:
            raise InvariantViolation(
                LEADER_APPEND_ONLY,
                f"{server.id} leads term {term} and deletes entries {first} to {last}",
                [server.id],
                [first, last],
            )
        if not 1 <= first <= last == len(server.log):
            raise InvariantViolation(
                LOG_MATCHING,
                f"{server.id} deletes entries {first} to {last} of a log of {len(server.log)}",
                [server.id],
                [first, last],
            )
        # The leader whose word it deletes them on has all that was committed in terms up to its own. An entry that is
        # committed later, by others, may well be deleted here: this server was not one of the majority.
        if first <= self._committed.index_in_terms_up_to(term) and self._is_committed(server, first):
            raise InvariantViolation(
                LEADER_COMPLETENESS,
                f"{server.id} deletes the committed entry {first} for the leader of term {term}",
                [server.id],
                [first],
            )
        server.delete_from(first)

    # Commitment (§5.3, §5.4.2)

    def _commit_advanced(self, server: WatchedServer, event: events.CommitAdvanced) -> None:
        server.check_log_is_told()
        term, index = event.state.term, event.state.commit_index
        if not event.previous == server.commit_index < index:
            raise InvariantViolation(
                COMMITMENT,
                f"{server.id} advances commit_index from {event.previous} to {index}; it was {server.commit_index}",
                [server.id],
                [event.previous, index],
            )
        if event.state.role is Role.LEADER:
            self._check_majority(server, term, index)
            self._committed.note(term, index, server.log)
            self._elections.check_later_leaders(term, index)
        else:
            server.check_was_told_of_commitment(index)
        self._check_is_committed(server, index)
        server.commit_index = index

    def _check_majority(self, leader: WatchedServer, term: int, index: int) -> None:
        """Check that the entry is of the leader's own term, and that a majority has acknowledged it in this term.

        Not whether a majority holds it now: a follower that acknowledged it may have gone on to a newer term, and its
        entries beyond may be gone. Its acknowledgement counts all the same (§5.4.3).
        """
        if leader.term_at(index) != term:
            raise InvariantViolation(
                COMMITMENT,
                f"{leader.id} leads term {term} and commits entry {index} of term {leader.term_at(index)} by counting",
                [leader.id],
                [index],
            )
        acknowledged = self._acknowledged.get(term, {})
        others = [follower for follower, up_to in acknowledged.items() if up_to >= index]
        if not is_majority(leader.configuration, {leader.id, *others}):
            raise InvariantViolation(
                COMMITMENT,
                f"{leader.id} commits entry {index} of term {term}, held only by {', '.join([leader.id, *others])}",
                [leader.id, *others],
                [index],
            )
        if not is_majority(leader.configuration, others):
            leader.promise_entries(index, term)  # it has counted its own disk (Diss. §10.2.1)

    def _is_committed(self, server: WatchedServer, index: int) -> bool:
        """Return whether the entry of `server` at `index` is the one known to be committed there.

        If so, all entries before it are the committed ones too (Log Matching).
        """
        return server.term_at(index) == self._committed.term_at(index)

    def _check_is_committed(self, server: WatchedServer, index: int) -> None:
        """A follower's commit_index is never ahead of all leaders', and all mean the same entries by it."""
        if index > self._committed.last_index:
            raise InvariantViolation(
                COMMITMENT,
                f"{server.id} takes entry {index} for committed, and no leader more than {self._committed.last_index}",
                [server.id],
                [index],
            )
        if not self._is_committed(server, index):
            raise InvariantViolation(
                STATE_MACHINE_SAFETY,
                f"{server.id} takes its entry {index} of term {server.term_at(index)} for committed; "
                f"that of term {self._committed.term_at(index)} is",
                [server.id],
                [index],
            )

    # Applying (§5.3, §5.4.3)

    def _entry_applied(self, server: WatchedServer, event: events.Applied) -> None:
        """State Machine Safety; and each server applies its own committed entries, one after the other."""
        entry, index = event.entry, event.entry.index
        server.check_log_is_told()
        if index != server.last_applied + 1 or index != event.state.last_applied:
            raise InvariantViolation(
                STATE_MACHINE_SAFETY,
                f"{server.id} applies entry {index} after entry {server.last_applied}",
                [server.id],
                [index, server.last_applied],
            )
        if index > len(self._applied):
            self._applied.append((server.id, entry, event.result))
        first, first_entry, first_result = self._applied[index - 1]
        if not same_entry(first_entry, entry) or first_result != event.result:
            what = "gives another result than on" if first_entry == entry else "is another one than on"
            raise InvariantViolation(
                STATE_MACHINE_SAFETY,
                f"entry {index} that {server.id} applies {what} {first}",
                [server.id, first],
                [index],
            )
        if index > server.commit_index or not same_entry(server.log[index - 1], entry):
            raise InvariantViolation(
                STATE_MACHINE_SAFETY,
                f"{server.id} applies entry {index} of term {entry.term}, which is not a committed one of its log",
                [server.id],
                [index],
            )
        server.last_applied = index

    # Messages (Fig. 2)

    def _message_sent(self, server: WatchedServer, event: events.MessageSent) -> None:
        """A request is what its sender's state says; a candidate's is its vote for itself as well."""
        server.check_log_is_told()
        message = event.message
        if isinstance(message, PreVote):
            return  # promises nothing
        server.promised_term = message.term
        if isinstance(message, RequestVote):
            check_request_vote(server, message)
            server.promise_vote(message.term, server.id)
            return
        if isinstance(message, AppendEntries):
            check_append_entries(server, message)
        self._elections.check_leads(server.id, message.term, f"{server.id} sends {type(message).__name__}")

    def _message_received(self, server: WatchedServer, event: events.MessageReceived) -> None:
        server.heard = event.message

    def _reply_sent(self, server: WatchedServer, event: events.ReplySent) -> None:
        """A reply promises what it says: the term, a vote, entries that are on disk."""
        server.check_log_is_told()
        request, reply = event.message, event.reply
        if reply.term != event.state.term:
            raise InvariantViolation(
                MESSAGES, f"{server.id} is in term {event.state.term} and answers as of term {reply.term}", [server.id]
            )
        server.promised_term = reply.term
        if isinstance(reply, RequestVoteReply) and reply.vote_granted:
            check_reply_is_of_the_term(server, request.term, reply.term)
            server.promise_vote(reply.term, event.peer)
        if isinstance(reply, AppendEntriesReply) and reply.success:
            check_reply_is_of_the_term(server, request.term, reply.term)
            assert isinstance(request, AppendEntries), "an AppendEntriesReply answers an AppendEntries"
            index = request.prev_log_index + len(request.entries)
            last_term = request.entries[-1].term if request.entries else request.prev_log_term
            self._acknowledge(server, request.term, index, last_term)
        if isinstance(reply, InstallSnapshotReply) and reply.bytes_stored is None:
            check_reply_is_of_the_term(server, request.term, reply.term)
            assert isinstance(request, InstallSnapshot), "an InstallSnapshotReply answers an InstallSnapshot"
            self._acknowledge(server, request.term, request.last_included_index, request.last_included_term)

    def _acknowledge(self, server: WatchedServer, term: int, index: int, last_term: int) -> None:
        """Note that `server` told the leader of `term` that it holds the log up to the entry `index` of `last_term`."""
        server.promise_entries(index, last_term)
        acknowledged = self._acknowledged.setdefault(term, {})
        acknowledged[server.id] = max(index, acknowledged.get(server.id, 0))

    # Configurations (§6) and snapshots (§7)

    def _configuration_changed(self, server: WatchedServer, event: events.ConfigurationChanged) -> None:
        check_configuration_in_force(server, event.index, event.configuration)

    def _stepped_down(self, server: WatchedServer, event: events.SteppedDown) -> None:
        """A leader steps down for a newer term, or because it was removed or is alone. Told before the log's changes.
        """
        if event.was is Role.LEADER and self._elections.was_won_by(server.id, event.state.term):
            check_may_stop_leading(server)
        server.lost_contact = False

    def _lost_contact(self, server: WatchedServer, event: events.LostContact) -> None:
        server.lost_contact = True

    def _snapshot_taken(self, server: WatchedServer, event: events.SnapshotTaken) -> None:
        check_covers_only_what_was_applied(server, event.metadata)
        check_snapshot(server, event.metadata, self._committed, self._first_configuration)
        if event.metadata.last_included_index > server.start.last_included_index:
            server.begin_after(event.metadata)

    def _snapshot_installed(self, server: WatchedServer, event: events.SnapshotInstalled) -> None:
        """The log is the committed one up to the snapshot's last entry; and what follows, if that agrees (Fig. 13)."""
        index = event.metadata.last_included_index
        check_snapshot(server, event.metadata, self._committed, self._first_configuration)
        check_keeps_what_follows(server, event.metadata, event.retained)
        if not event.retained:
            server.log = self._committed.entries_up_to(index)
            server.promised_index = min(server.promised_index, index)
        server.begin_after(event.metadata)

    def _state_machine_reset(self, server: WatchedServer, event: events.StateMachineReset) -> None:
        check_snapshot(server, event.metadata, self._committed, self._first_configuration)
        server.last_applied = event.metadata.last_included_index
