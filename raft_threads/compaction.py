"""Log compaction by snapshots (§7), a function a rule. Read it beside Fig. 12 and Fig. 13.

A server takes snapshots by itself, of what it has applied. Once one is durable, the log forgets what it replaces. A
leader sends its snapshot to a follower that needs entries which the leader's log does not hold any more. Every function
works on plain state, never blocks, and is called with the lock held; the shell moves the bytes.
"""

from __future__ import annotations

from typing import Optional

from raft_threads import election, replication
from raft_threads.log import SnapshotMetadata
from raft_threads.messages import InstallSnapshot, InstallSnapshotReply
from raft_threads.state import IncomingSnapshot, Role, SafetyViolation, State

# Our own snapshots (Fig. 12)


def snapshot_is_due(state: State, threshold: int) -> bool:
    """Return whether the log has reached `threshold` bytes, and a snapshot would rid us of most of it (§7)."""
    return state.log.size_bytes >= threshold and (
        state.last_applied - state.log.start.last_included_index > state.log.last_index - state.last_applied
    )


def has_something_to_compact(state: State) -> bool:
    """Return whether anything was applied since the last snapshot, and the configuration is known that belongs to it.

    A server that has yet to be added, or was just, got entries from before it was told of any configuration (§6).
    """
    return (
        state.last_applied > state.log.start.last_included_index
        and bool(state.log.configuration_at(state.last_applied).servers)
    )


def snapshot_metadata(state: State) -> SnapshotMetadata:
    """Return what a snapshot of the state machine as it is now says of the log: of the last applied entry (Fig. 12)."""
    return state.log.position_of(state.last_applied)


def discard_what_it_replaces(state: State, metadata: SnapshotMetadata) -> None:
    """Discard the log up to the last included entry, now that our snapshot is durable (§7)."""
    if metadata.last_included_index > state.log.start.last_included_index:
        state.log.discard_up_to(metadata)


# The leader (Fig. 13)


def needs_snapshot(state: State, peer: str) -> bool:
    """Return whether we have discarded the entry that `peer` needs next (§7)."""
    return state.role is Role.LEADER and state.next_index[peer] < state.log.first_index


def install_snapshot_request(
    state: State, metadata: SnapshotMetadata, offset: int, data: bytes, done: bool
) -> InstallSnapshot:
    """Return the InstallSnapshot with the chunk `data` at byte `offset` of the snapshot of `metadata` (Fig. 13)."""
    return InstallSnapshot(
        term=state.current_term,
        leader_id=state.id,
        last_included_index=metadata.last_included_index,
        last_included_term=metadata.last_included_term,
        offset=offset,
        data=data,
        done=done,
    )


def handle_install_snapshot_reply(
    state: State, peer: str, request: InstallSnapshot, reply: InstallSnapshotReply
) -> None:
    """Learn from `peer`'s answer to `request`: once it has the snapshot, the log goes on after that (§7)."""
    election.adopt_newer_term(state, reply.term)
    if replication.answers_our_leadership(state, request, reply) and reply.bytes_stored is None:
        replication.record_match(state, peer, request.last_included_index)
        replication.advance_commit_index(state)


# The follower (Fig. 13, "Receiver implementation")


def handle_install_snapshot(state: State, request: InstallSnapshot) -> InstallSnapshotReply:
    """Answer a leader that sends a snapshot: rule 1, and which bytes we want next (Fig. 13).

    If those are the ones that it sends, the shell stores them (rules 2 to 4), and then asks `install_snapshot`. Raises
    SafetyViolation when the request contradicts what Raft guarantees; nothing has been changed then.
    """
    refuse_the_impossible(state, request)
    election.adopt_newer_term(state, request.term)
    if election.is_stale(state, request.term):
        return InstallSnapshotReply(term=state.current_term, bytes_stored=0)
    replication.recognize_leader(state, request.leader_id)
    if is_known_already(state, request):
        return InstallSnapshotReply(term=state.current_term)
    if begins_a_new_snapshot(state, request):
        begin_receiving(state, request)
    return InstallSnapshotReply(term=state.current_term, bytes_stored=bytes_stored(state, request))


def refuse_the_impossible(state: State, request: InstallSnapshot) -> None:
    """Raise SafetyViolation for a second leader in our term, or a snapshot that contradicts ours (Fig. 3)."""
    if request.term == state.current_term and state.role is Role.LEADER:
        raise SafetyViolation(f"Election Safety: {request.leader_id} claims to lead term {request.term}, as we do")
    index = request.last_included_index
    our_term = state.log.term_at(index)
    if index <= state.commit_index and our_term is not None and our_term != request.last_included_term:
        raise SafetyViolation(f"Leader Completeness: {request.leader_id} would replace our committed entry {index}")


def is_known_already(state: State, request: InstallSnapshot) -> bool:
    """Return whether all that the snapshot holds is committed in our log, or is in our own snapshot."""
    return request.last_included_index <= state.commit_index


def begins_a_new_snapshot(state: State, request: InstallSnapshot) -> bool:
    """Return whether this is the first chunk of another snapshot than the one we are receiving (Fig. 13, rules 2, 5).

    The new one replaces the other, unless it is an earlier one of the same leader's: then it comes late.
    """
    incoming = state.incoming
    return request.offset == 0 and (
        incoming is None
        or incoming.term != request.term
        or incoming.last_included_index < request.last_included_index
    )


def begin_receiving(state: State, request: InstallSnapshot) -> None:
    """Create a new snapshot, of which nothing has come yet (Fig. 13, rule 2)."""
    state.incoming = IncomingSnapshot(
        request.term, request.leader_id, request.last_included_index, request.last_included_term
    )


def is_of(incoming: Optional[IncomingSnapshot], request: InstallSnapshot) -> bool:
    """Return whether `request` carries a chunk of the snapshot that we are receiving.

    Another leader's snapshot of the same entry need not have the same bytes.
    """
    return incoming is not None and (
        incoming.term,
        incoming.leader_id,
        incoming.last_included_index,
        incoming.last_included_term,
    ) == (request.term, request.leader_id, request.last_included_index, request.last_included_term)


def bytes_stored(state: State, request: InstallSnapshot) -> int:
    """Return how much we have of the snapshot that `request` is about; the leader goes on from there."""
    incoming = state.incoming
    return incoming.bytes_stored if incoming is not None and is_of(incoming, request) else 0


def wants_chunk(state: State, request: InstallSnapshot) -> bool:
    """Return whether the chunk is the next one of the snapshot that we are receiving (Fig. 13, rule 3).

    While the snapshot is being put in its place we want nothing; a leader that asks again is told to ask for the same.
    Nor when the leader was deposed meanwhile (rule 1), or we have got what the snapshot holds by other means.
    """
    incoming = state.incoming
    if incoming is None or incoming.installing or not is_of(incoming, request):
        return False
    return (
        incoming.bytes_stored == request.offset
        and not election.is_stale(state, request.term)
        and not is_known_already(state, request)
    )


def record_chunk(state: State, request: InstallSnapshot) -> None:
    """Note that the chunk is stored, and that it was the last one if it was (Fig. 13, rule 4)."""
    assert state.incoming is not None
    if request.done:
        state.incoming.installing = True
    else:
        state.incoming.bytes_stored = request.offset + len(request.data)


def stop_receiving(state: State, request: InstallSnapshot) -> None:
    """Forget the snapshot of `request`: it is in its place, or it is damaged and has to come anew."""
    if is_of(state.incoming, request):
        state.incoming = None


def install_snapshot(state: State, metadata: SnapshotMetadata) -> bool:
    """Let the snapshot, which is durable now, take the place of the log; return whether entries after it are kept.

    Rules 6 and 7 of Fig. 13. Rule 8 is the applier's: it finds that last_applied is behind the log's beginning.
    """
    retained = has_its_last_entry(state, metadata)
    if retained:
        state.log.discard_up_to(metadata)
    else:
        state.log.discard_all(metadata)
    state.commit_index = max(state.commit_index, metadata.last_included_index)
    return retained


def has_its_last_entry(state: State, metadata: SnapshotMetadata) -> bool:
    """Return whether our entry at the last included index has the last included term: then what follows it is valid.

    Rule 6 of Fig. 13: by Log Matching, all before it is what the snapshot holds.
    """
    return state.log.term_at(metadata.last_included_index) == metadata.last_included_term


# The applier


def must_reset_state_machine(state: State) -> bool:
    """Return whether the log begins after what the state machine has seen: it must take the snapshot (Fig. 13, rule 8).

    So it is after InstallSnapshot, and after a restart.
    """
    return state.last_applied < state.log.start.last_included_index


def record_reset(state: State, metadata: SnapshotMetadata) -> None:
    """Note that the state machine is now what the snapshot says."""
    state.last_applied = metadata.last_included_index
