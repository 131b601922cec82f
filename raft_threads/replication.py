"""Log replication (§5.3) and commitment (§5.4.2), a function a rule.

Read it beside Fig. 2: the AppendEntries box, the rules for leaders, and the rule for all servers about applying. Every
function works on plain state, never blocks, and is called with the lock held.
"""

from __future__ import annotations

from collections.abc import Sequence

from raft_threads import election
from raft_threads.log import COMMAND, Log, LogEntry
from raft_threads.messages import AppendEntries, AppendEntriesReply, Reply, Request
from raft_threads.state import Role, SafetyViolation, State

# The follower (Fig. 2, "AppendEntries RPC: Receiver implementation")


def handle_append_entries(state: State, request: AppendEntries) -> AppendEntriesReply:
    """Answer a leader (Fig. 2). What it changed must be on disk before the reply is sent.

    Raises SafetyViolation when the request contradicts what Raft guarantees; nothing has been changed then.
    """
    refuse_the_impossible(state, request)
    election.adopt_newer_term(state, request.term)
    if election.is_stale(state, request.term):
        return AppendEntriesReply(term=state.current_term, success=False)
    recognize_leader(state, request.leader_id)
    if not matches_previous_entry(state.log, request.prev_log_index, request.prev_log_term):
        return refusal_with_conflict(state, request.prev_log_index)
    delete_conflicting_entries(state.log, request.entries)
    append_new_entries(state.log, request.entries)
    follow_leader_commit(state, request.leader_commit, last_new_index(request))
    return AppendEntriesReply(term=state.current_term, success=True)


def refuse_the_impossible(state: State, request: AppendEntries) -> None:
    """Raise SafetyViolation for a second leader in our term, or for entries that contradict committed ones (Fig. 3)."""
    if request.term == state.current_term and state.role is Role.LEADER:
        raise SafetyViolation(f"Election Safety: {request.leader_id} claims to lead term {request.term}, as we do")
    conflict = first_conflict(state.log, request.entries)
    if request.term >= state.current_term and 0 < conflict <= state.commit_index:
        raise SafetyViolation(f"Leader Completeness: {request.leader_id} would replace our committed entry {conflict}")


def recognize_leader(state: State, leader_id: str) -> None:
    """Follow the legitimate leader of our term; a candidate gives up its election (§5.2)."""
    if state.role is Role.CANDIDATE:
        election.become_follower(state)
    state.leader_id = leader_id
    state.pre_votes = None


def matches_previous_entry(log: Log, prev_log_index: int, prev_log_term: int) -> bool:
    """The consistency check: return whether our entry at prev_log_index has prev_log_term (§5.3).

    What our snapshot has replaced was committed, so every leader has the same there (Leader Completeness; §7).
    """
    return prev_log_index < log.start.last_included_index or log.term_at(prev_log_index) == prev_log_term


def refusal_with_conflict(state: State, prev_log_index: int) -> AppendEntriesReply:
    """Refuse, and help the leader back up by a whole term at a time (§5.3, the optimization at its end)."""
    conflict_term = state.log.term_at(prev_log_index)
    if conflict_term is None:
        return AppendEntriesReply(state.current_term, False, None, state.log.last_index + 1)
    return AppendEntriesReply(state.current_term, False, conflict_term, state.log.first_index_of_term(conflict_term))


def first_conflict(log: Log, entries: Sequence[LogEntry]) -> int:
    """Return the index of our first entry that has another term than the new one there; 0 when none has."""
    for entry in entries:
        our_term = log.term_at(entry.index)
        if entry.index > log.last_index:
            return 0
        if our_term is not None and our_term != entry.term:
            return entry.index
    return 0


def delete_conflicting_entries(log: Log, entries: Sequence[LogEntry]) -> None:
    """Delete our first entry that conflicts with a new one, and all that follow it (§5.3).

    Only a real conflict deletes: an AppendEntries that comes late or twice removes nothing.
    """
    conflict = first_conflict(log, entries)
    if conflict:
        log.delete_from(conflict)


def append_new_entries(log: Log, entries: Sequence[LogEntry]) -> None:
    """Append the entries that are not in the log already (§5.3)."""
    for entry in entries:
        if entry.index > log.last_index:
            log.append(entry)


def last_new_index(request: AppendEntries) -> int:
    """Return the index of the last new entry: up to there, our log is now known to equal the leader's (Fig. 2)."""
    return request.prev_log_index + len(request.entries)


def follow_leader_commit(state: State, leader_commit: int, last_new: int) -> None:
    """Advance commit_index to the leader's, but not past the last new entry: we may hold others' leftovers beyond.

    Never backwards: a late heartbeat may speak of less than we know to be committed (Fig. 2, receiver rule 5).
    """
    state.commit_index = max(state.commit_index, min(leader_commit, last_new))


# The leader (Fig. 2, "Leaders")


def append_command(state: State, command: bytes, kind: str = COMMAND) -> LogEntry:
    """Append a client's command to our log and return its entry; only a leader does so (§5.3).

    `kind` tells what kind of entry it is: a command within a session, or one that opens a session, is another (§8).
    """
    return state.log.append_new(state.current_term, kind, command)


def has_entries_for(state: State, peer: str) -> bool:
    """Return whether we lead and our log holds entries from next_index on that `peer` has not been sent (§5.3)."""
    return state.role is Role.LEADER and state.log.last_index >= state.next_index[peer]


def append_entries_request(state: State, peer: str, max_entries: int, max_bytes: int) -> AppendEntries:
    """Return the AppendEntries for `peer`: its entries from next_index on, or none as a heartbeat (§5.2, §5.3).

    It carries at most `max_entries` entries, and at most `max_bytes` bytes of them unless the first alone is larger.
    """
    prev_log_index = state.next_index[peer] - 1
    prev_log_term = state.log.term_at(prev_log_index)
    assert prev_log_term is not None, "whoever needs what our snapshot has replaced is sent the snapshot (§7)"
    return AppendEntries(
        term=state.current_term,
        leader_id=state.id,
        prev_log_index=prev_log_index,
        prev_log_term=prev_log_term,
        entries=entries_to_send(state.log, prev_log_index + 1, max_entries, max_bytes),
        leader_commit=state.commit_index,
    )


def entries_to_send(log: Log, first_index: int, max_entries: int, max_bytes: int) -> tuple[LogEntry, ...]:
    """Return the entries from `first_index` on that fit into one message."""
    entries = log.entries_between(first_index, first_index + max_entries - 1)
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry.line)
        if size > max_bytes and count > 0:
            return tuple(entries[:count])
    return tuple(entries)


def handle_append_entries_reply(state: State, peer: str, request: AppendEntries, reply: AppendEntriesReply) -> None:
    """Learn from `peer`'s answer to `request`, if it still matters (§5.3)."""
    election.adopt_newer_term(state, reply.term)
    if not answers_our_leadership(state, request, reply):
        return
    if reply.success:
        record_match(state, peer, last_new_index(request))
        advance_commit_index(state)
    else:
        back_up_next_index(state, peer, request, reply)


def answers_our_leadership(state: State, request: Request, reply: Reply) -> bool:
    """Return whether we still lead in the term of the request, and the reply is of that term too.

    A reply from a term that we led before says nothing of our present log.
    """
    return state.role is Role.LEADER and state.current_term == request.term == reply.term


def record_match(state: State, peer: str, index: int) -> None:
    """Note that `peer` stores our log up to `index`; never backwards, so late and repeated replies do no harm."""
    state.match_index[peer] = max(state.match_index[peer], index)
    state.next_index[peer] = max(state.next_index[peer], state.match_index[peer] + 1)


def back_up_next_index(state: State, peer: str, request: AppendEntries, reply: AppendEntriesReply) -> None:
    """After a failed consistency check, decrement next_index past all entries of the conflicting term (§5.3).

    A refusal of an earlier probe changes nothing, and next_index never falls to what is known to match.
    """
    if request.prev_log_index != state.next_index[peer] - 1:
        return
    agreement = index_to_try_next(state.log, request.prev_log_index, reply)
    state.next_index[peer] = max(agreement, state.match_index[peer] + 1)


def index_to_try_next(log: Log, prev_log_index: int, reply: AppendEntriesReply) -> int:
    """Return the next_index to try after a refusal at prev_log_index: always a smaller one, and at least 1.

    If we have entries of the conflicting term before prev_log_index, the logs may agree up to our last one of them;
    otherwise nothing of that term can stay, and we bypass it whole.
    """
    if reply.conflict_index is None:
        return max(1, prev_log_index)
    ours = log.last_index_of_term(reply.conflict_term) if reply.conflict_term is not None else None
    bypass = ours + 1 if ours is not None and ours < prev_log_index else reply.conflict_index
    return max(1, min(bypass, prev_log_index))


def record_own_disk(state: State) -> None:
    """Note how far our own disk has got; a leader counts itself only up to there (Diss. §10.2.1)."""
    if state.role is Role.LEADER:
        record_own_match(state)
        advance_commit_index(state)


def record_own_match(state: State) -> None:
    """Set our own match_index to the last entry that our disk holds."""
    state.match_index[state.id] = state.log.saved_index


def advance_commit_index(state: State) -> None:
    """Commit up to the highest N that a majority stores, if log[N] is of our own term (§5.3, §5.4.2).

    Entries of earlier terms are never committed by counting (Fig. 8); they are committed with the first of ours.
    """
    n = index_stored_on_majority(state)
    if n > state.commit_index and state.log.term_at(n) == state.current_term:
        state.commit_index = n


def index_stored_on_majority(state: State) -> int:
    """Return the highest index that a majority of the configuration in force stores, by match_index (§5.3, §6)."""
    return int(state.configuration.reached_by_majority(state.match_index))


# All servers: applying (Fig. 2, "All Servers")


def entries_to_apply(state: State, max_entries: int) -> list[LogEntry]:
    """Return the next committed entries that have not been applied, at most `max_entries`, in log order (§5.3)."""
    last_index = min(state.commit_index, state.last_applied + max_entries)
    return state.log.entries_between(state.last_applied + 1, last_index)


def record_applied(state: State, index: int) -> None:
    """Note that the state machine has applied all entries up to `index`."""
    state.last_applied = index
