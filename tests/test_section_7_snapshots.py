"""§7: logs that begin after a snapshot, and what the rules of §5 make of them."""

from __future__ import annotations

import random

import pytest
from drawing import THREE, append_entries, entries_of, server
from exchanges import configuration_entry, joint, save, snapshot_up_to

from raft_threads import compaction, election, reads, replication
from raft_threads.configuration import Configuration
from raft_threads.log import COMMAND, Log, SnapshotMetadata
from raft_threads.messages import AppendEntriesReply, RequestVote
from raft_threads.state import Role, SafetyViolation, State

C3 = Configuration.of(THREE)


def log_after(index: int, term: int, *terms: int) -> Log:
    """Return a saved log that begins after a snapshot up to (index, term), with entries of these terms."""
    return Log(entries_of(*terms, first_index=index + 1), snapshot_up_to(index, term, C3))


def compacted(index: int, term: int, *terms: int, id: str = "n2", current_term: int = 9) -> State:
    """Return a follower whose log begins after a snapshot up to (index, term)."""
    state = State(id, (), current_term, log=log_after(index, term, *terms), commit_index=index, last_applied=index)
    state.saved_term_and_vote = state.term_and_vote
    return state


def compacted_leader(index: int, term: int, *terms: int) -> State:
    """Return a leader just elected, whose log begins after a snapshot, and its no-op taken away."""
    state = compacted(index, term, *terms, id="n1")
    election.become_leader(state)
    state.log.delete_from(state.log.last_index)
    return state


def terms_of(state: State) -> list[int]:
    """Return the terms of the entries that are held."""
    return [entry.term for entry in state.log.all_entries()]


# The log


def test_a_log_after_a_snapshot_knows_the_term_of_the_last_included_entry_and_of_none_before() -> None:
    """§7: preserved to support the consistency check for the first log entry following the snapshot."""
    log = log_after(5, 3, 3, 4)
    assert (log.first_index, log.last_index, log.last_term) == (6, 7, 4)
    assert [log.term_at(index) for index in range(-1, 9)] == [None] * 6 + [3, 3, 4, None]


def test_a_log_whose_entries_are_all_in_the_snapshot_ends_where_that_ends() -> None:
    """§7, §5.4.1: last index and last term are those of the last included entry."""
    log = log_after(5, 3)
    assert (log.first_index, log.last_index, log.last_term, log.size_bytes) == (6, 5, 3, 0)
    assert log.all_entries() == []


def test_entries_in_the_snapshot_cannot_be_had() -> None:
    """§7: they are discarded."""
    log = log_after(5, 3, 3, 4)
    assert log.entry_at(6).term == 3
    for index in (0, 5, 8):
        with pytest.raises(IndexError):
            log.entry_at(index)


def test_new_entries_follow_on_the_snapshot() -> None:
    """§7: the snapshot positions itself in the log."""
    log = log_after(5, 3)
    assert log.append_new(4, COMMAND, b"x").index == 6
    with pytest.raises(ValueError):
        log.append(entries_of(4, first_index=8)[0])
    assert [entry.index for entry in log.unsaved_entries()] == [6]


def test_first_and_last_index_of_a_term_are_looked_for_where_terms_are_known() -> None:
    """§5.3, §7: the last included entry is the last one of its term, if none follows."""
    log = log_after(5, 3, 3, 4, 4)
    assert (log.first_index_of_term(3), log.last_index_of_term(3)) == (6, 6)
    assert (log.first_index_of_term(4), log.last_index_of_term(4)) == (7, 8)
    for unknown in (1, 2, 9):
        assert (log.first_index_of_term(unknown), log.last_index_of_term(unknown)) == (None, None)
    assert log_after(5, 3, 4).last_index_of_term(3) == 5
    assert log_after(5, 3).last_index_of_term(3) == 5


def test_entries_between_two_indexes_are_found_after_a_snapshot() -> None:
    """§7."""
    log = log_after(5, 3, 3, 4, 4)
    assert [entry.index for entry in log.entries_between(6, 7)] == [6, 7]
    assert [entry.index for entry in log.entries_between(8, 99)] == [8]
    assert log.entries_between(9, 10) == []
    assert log.entries_between(6, 5) == []
    assert log.entries_between(6, 4) == []


def test_to_discard_a_prefix_is_to_forget_what_the_snapshot_replaces() -> None:
    """§7: it may delete all log entries up through the last included index."""
    log = log_after(0, 0, 1, 1, 2, 2, 3)
    size = sum(len(entry.line) for entry in log.entries_between(4, 5))
    log.discard_up_to(snapshot_up_to(3, 2, C3))
    assert [entry.index for entry in log.all_entries()] == [4, 5]
    assert (log.first_index, log.last_index, log.size_bytes) == (4, 5, size)
    assert log.term_at(3) == 2


def test_a_prefix_is_not_discarded_for_a_snapshot_that_the_log_disagrees_with() -> None:
    """§7: nor for one that ends before the log begins; then the log stays as it is."""
    log = log_after(3, 2, 2, 3)
    for index, term in ((4, 1), (2, 2), (6, 3)):
        with pytest.raises(ValueError):
            log.discard_up_to(snapshot_up_to(index, term, C3))
    assert (log.first_index, log.last_index) == (4, 5)


def test_the_whole_log_can_be_discarded() -> None:
    """§7; Fig. 13, rule 7."""
    log = log_after(0, 0, 1, 1, 1)
    log.append(configuration_entry(4, 1, joint(THREE, ("n4",))))
    log.discard_all(snapshot_up_to(9, 2, C3))
    assert (log.first_index, log.last_index, log.last_term, log.size_bytes) == (10, 9, 2, 0)
    assert (log.configuration, log.configuration_index) == (C3, 9)
    assert log.append_new(2, COMMAND, b"x") in log.unsaved_entries()
    assert log.saved_index == 9


@pytest.mark.parametrize("discard", [Log.discard_up_to, Log.discard_all])
def test_a_log_that_was_compacted_is_unsaved_until_the_disk_has_cut_its_own(discard: object) -> None:
    """§7; Fig. 2, persistent state: the entries that follow need not be written again, but the old ones must go."""
    log = log_after(0, 0, 1, 1, 1)
    discard(log, snapshot_up_to(3, 1, C3))  # type: ignore[operator]
    assert log.unsaved_entries() == []
    assert not log.is_saved()
    log.saved_start_index = 3
    assert log.is_saved()


def test_what_the_disk_holds_is_remembered_when_the_log_is_compacted() -> None:
    """§7: a snapshot of what is durable; what follows it need not be durable yet."""
    log = log_after(0, 0, 1, 1, 1)
    for entry in entries_of(1, 1, first_index=4):
        log.append(entry)
    log.discard_up_to(snapshot_up_to(2, 1, C3))
    assert (log.saved_index, [entry.index for entry in log.unsaved_entries()]) == (3, [4, 5])
    log.discard_up_to(snapshot_up_to(4, 1, C3))
    assert (log.saved_index, [entry.index for entry in log.unsaved_entries()]) == (4, [5])
    log.mark_saved(3, 1)
    assert log.saved_index == 4, "a late notice of the disk, of an entry that is in the snapshot by now"
    log.mark_saved(5, 1)
    assert log.saved_index == 5


def test_entries_after_a_snapshot_can_be_deleted_down_to_it() -> None:
    """§5.3, §7: the conflict can be at the first entry that follows."""
    log = log_after(5, 3, 3, 3)
    log.delete_from(6)
    assert (log.last_index, log.last_term, log.size_bytes, log.saved_index) == (5, 3, 0, 5)


# Which configuration belongs to it (§7: the latest configuration in the log as of last included index)


def test_a_position_in_the_log_has_the_configuration_that_was_the_latest_there() -> None:
    """§7: not the one in force now, which may come after it and may be rolled back."""
    later = joint(THREE, ("n4",))
    log = Log([*entries_of(1, 1), configuration_entry(3, 1, later), *entries_of(2, first_index=4)])
    log.begin_with(C3)
    assert log.position_of(2) == SnapshotMetadata(2, 1, C3)
    assert log.position_of(3) == SnapshotMetadata(3, 1, later)
    assert log.position_of(4) == SnapshotMetadata(4, 2, later)
    log.discard_up_to(log.position_of(2))
    assert (log.configuration, log.configuration_index) == (later, 3)
    log.discard_up_to(log.position_of(4))
    assert (log.configuration, log.configuration_index) == (later, 4)
    assert log.position_of(4) == SnapshotMetadata(4, 2, later)
    for index in (3, 5):
        with pytest.raises(IndexError):
            log.position_of(index)


def test_the_beginning_of_a_log_is_a_position_as_well() -> None:
    """§7: index 0, term 0."""
    log = log_after(0, 0, 1)
    assert log.position_of(0) == SnapshotMetadata(0, 0, C3)


# When to take a snapshot


def test_a_snapshot_is_due_when_the_log_reaches_a_fixed_size_in_bytes() -> None:
    """§7: one simple strategy."""
    state = server(1, 1, 1, commit_index=3)
    state.last_applied = 3
    size = state.log.size_bytes
    assert compaction.snapshot_is_due(state, size)
    assert not compaction.snapshot_is_due(state, size + 1)


def test_a_snapshot_is_not_due_while_it_would_leave_most_of_the_log() -> None:
    """§7: if what makes the log long is not applied yet, snapshot after snapshot would not make it shorter."""
    state = server(1, 1, 1, 1, commit_index=3)
    state.last_applied = 2
    assert not compaction.snapshot_is_due(state, 1)
    state.last_applied = 3
    assert compaction.snapshot_is_due(state, 1)
    state.log.discard_up_to(state.log.position_of(3))
    assert not compaction.snapshot_is_due(state, 1)


def test_a_snapshot_covers_just_what_was_applied() -> None:
    """§7: the last entry the state machine had applied; not all that is committed."""
    state = server(1, 1, 2, 2, commit_index=4)
    assert not compaction.has_something_to_compact(state)
    state.last_applied = 3
    assert compaction.has_something_to_compact(state)
    assert compaction.snapshot_metadata(state) == SnapshotMetadata(3, 2, C3)
    compaction.discard_what_it_replaces(state, compaction.snapshot_metadata(state))
    assert not compaction.has_something_to_compact(state)


def test_a_snapshot_keeps_the_term_of_its_last_entry_whatever_the_servers_term_is() -> None:
    """§7, Fig. 12: the consistency check and elections go by the entry, as if it were still there."""
    state = server(1, 1, 2, 3, commit_index=3)
    state.last_applied, state.current_term = 3, 9
    assert compaction.snapshot_metadata(state) == SnapshotMetadata(3, 2, C3)


def test_a_snapshot_that_a_leaders_has_overtaken_discards_nothing() -> None:
    """§7: it was written while the leader's was installed."""
    state = compacted(5, 3, 3, 4)
    compaction.discard_what_it_replaces(state, snapshot_up_to(4, 3, C3))
    compaction.discard_what_it_replaces(state, snapshot_up_to(5, 3, C3))
    assert (state.log.first_index, state.log.last_index) == (6, 7)


def test_a_new_server_takes_no_snapshot_before_it_knows_which_configuration_belongs_to_it() -> None:
    """§6, §7: the entries before its first configuration came with those that the cluster was started with."""
    state = State("n4", (), 1, log=Log(entries_of(1, 1)), commit_index=2, last_applied=2)
    assert not compaction.has_something_to_compact(state)
    state.log.append(configuration_entry(3, 1, joint(THREE, ("n4",))))
    assert not compaction.has_something_to_compact(state), "the configuration in force is not that of entry 2"
    state.commit_index = state.last_applied = 3
    assert compaction.has_something_to_compact(state)


# Elections


def test_a_server_whose_log_is_all_in_its_snapshot_votes_and_stands_by_the_last_included_entry() -> None:
    """§7, §5.4.1."""
    state = compacted(5, 3, current_term=4)
    for index, term, up_to_date in ((5, 3, True), (4, 3, False), (9, 2, False), (1, 4, True)):
        assert election.is_at_least_as_up_to_date(state.log, index, term) == up_to_date
    election.begin_election(state)
    assert election.vote_request(state) == RequestVote(5, "n2", last_log_index=5, last_log_term=3)
    election.become_leader(state)
    assert state.log.entry_at(6).term == 5
    assert (state.next_index["n1"], state.match_index["n2"]) == (6, 5)


# Followers (§5.3 after §7)


def test_the_consistency_check_succeeds_at_the_last_included_entry() -> None:
    """§7: the first entry that follows needs a previous log index and term."""
    state = compacted(5, 3)
    assert replication.handle_append_entries(state, append_entries(4, 4, term=9, prev=(5, 3))).success
    assert terms_of(state) == [4, 4]


def test_entries_that_the_snapshot_has_replaced_are_skipped_and_the_others_appended() -> None:
    """§7: a late or repeated AppendEntries begins before the snapshot; what it holds there is committed."""
    state = compacted(5, 3, 3)
    request = append_entries(2, 3, 3, 4, 4, term=9, prev=(3, 2), leader_commit=7)
    assert replication.handle_append_entries(state, request) == AppendEntriesReply(9, True)
    assert terms_of(state) == [3, 4, 4]
    assert state.commit_index == 7


def test_entries_that_are_all_in_the_snapshot_change_nothing_and_match() -> None:
    """§7: the leader learns that it need not send them again."""
    state = compacted(5, 3, 3)
    for prev, terms in (((1, 1), (1, 2)), ((0, 0), ()), ((3, 2), (2, 3))):
        assert replication.handle_append_entries(state, append_entries(*terms, term=9, prev=prev)).success
    assert (terms_of(state), state.commit_index) == ([3], 5)


def test_a_conflict_after_the_snapshot_deletes_what_follows_it_only() -> None:
    """§5.3, §7."""
    state = compacted(5, 3, 3, 3, 3)
    assert replication.handle_append_entries(state, append_entries(3, 3, 4, term=9, prev=(4, 3))).success
    assert terms_of(state) == [3, 4]


def test_a_previous_entry_with_another_term_than_the_last_included_one_does_not_match() -> None:
    """§5.3, §7: no leader of this cluster has it; one of another cluster must not slip through."""
    state = compacted(5, 3, 3)
    assert not replication.handle_append_entries(state, append_entries(9, term=9, prev=(5, 2))).success
    assert terms_of(state) == [3]


def test_a_leader_that_would_replace_the_last_included_entry_contradicts_a_committed_one() -> None:
    """Fig. 3, Leader Completeness: what a snapshot holds is committed."""
    state = compacted(5, 3, 3)
    with pytest.raises(SafetyViolation, match="committed entry 5"):
        replication.handle_append_entries(state, append_entries(3, 4, term=9, prev=(3, 2)))
    assert (terms_of(state), state.log.start.last_included_index, state.current_term) == ([3], 5, 9)


def test_a_follower_names_the_first_entry_after_its_snapshot_as_the_beginning_of_a_term() -> None:
    """§5.3, §7: the term began earlier, but up to the snapshot all is committed, so nothing can conflict there."""
    state = compacted(5, 3, 3, 3)
    assert replication.refusal_with_conflict(state, 7) == AppendEntriesReply(9, False, 3, 6)
    assert replication.refusal_with_conflict(state, 8) == AppendEntriesReply(9, False, None, 8)


# Leaders


def test_a_follower_needs_the_snapshot_when_its_next_entry_is_discarded() -> None:
    """§7: when the leader has already discarded the next log entry that it needs to send."""
    state = compacted_leader(5, 3, 3)
    state.next_index.update(n2=5, n3=6)
    assert compaction.needs_snapshot(state, "n2")
    assert not compaction.needs_snapshot(state, "n3")
    election.become_follower(state)
    assert not compaction.needs_snapshot(state, "n2"), "only a leader sends it"


def test_the_first_entry_after_the_snapshot_is_sent_with_the_last_included_one_before_it() -> None:
    """§7: that entry needs a previous log index and term."""
    state = compacted_leader(5, 3, 4)
    state.next_index.update(n2=6)
    request = replication.append_entries_request(state, "n2", max_entries=9, max_bytes=9_999)
    assert (request.prev_log_index, request.prev_log_term, len(request.entries)) == (5, 3, 1)
    state.next_index.update(n2=5)
    with pytest.raises(AssertionError, match="sent the snapshot"):
        replication.append_entries_request(state, "n2", max_entries=9, max_bytes=9_999)


def test_a_leader_whose_log_is_all_in_its_snapshot_sends_heartbeats_after_it() -> None:
    """§5.2, §7."""
    state = compacted_leader(5, 3)
    assert not replication.has_entries_for(state, "n2")
    request = replication.append_entries_request(state, "n2", max_entries=9, max_bytes=9_999)
    assert (request.prev_log_index, request.prev_log_term, request.entries) == (5, 3, ())
    state.next_index["n2"] = 3
    assert replication.has_entries_for(state, "n2")


def test_a_leader_backs_up_to_its_snapshot_before_it_sends_that() -> None:
    """§5.3, §7: the follower's last entries are of the snapshot's last term; up to there the logs may agree."""
    leading = compacted_leader(5, 3, 9, 9)
    leading.next_index["n2"] = 8
    follower = server(1, 1, 3, 3, 3, 3, 3, id="n2", current_term=9)
    request = replication.append_entries_request(leading, "n2", max_entries=9, max_bytes=9_999)
    reply = replication.handle_append_entries(follower, request)
    assert reply == AppendEntriesReply(9, False, conflict_term=3, conflict_index=3)
    replication.handle_append_entries_reply(leading, "n2", request, reply)
    assert (leading.next_index["n2"], compaction.needs_snapshot(leading, "n2")) == (6, False)


def test_a_leader_backs_up_past_its_snapshot_when_the_follower_is_that_far_behind() -> None:
    """§5.3, §7: then the snapshot is what the follower needs."""
    leading = compacted_leader(5, 3, 9, 9)
    leading.next_index["n2"] = 8
    follower = server(1, 1, 1, id="n2", current_term=9)
    request = replication.append_entries_request(leading, "n2", max_entries=9, max_bytes=9_999)
    reply = replication.handle_append_entries(follower, request)
    replication.handle_append_entries_reply(leading, "n2", request, reply)
    assert (leading.next_index["n2"], compaction.needs_snapshot(leading, "n2")) == (4, True)


def test_a_leader_commits_nothing_that_its_snapshot_holds_already() -> None:
    """Fig. 2, Leaders 6; §7: match_index may be in the snapshot."""
    state = compacted_leader(5, 3, 9)
    state.match_index.update(n1=6, n2=2, n3=4)
    replication.advance_commit_index(state)
    assert state.commit_index == 5
    state.match_index.update(n2=6)
    replication.advance_commit_index(state)
    assert state.commit_index == 6


# Applying


def test_after_a_restart_the_state_machine_begins_with_the_snapshot() -> None:
    """§7; Fig. 13, rule 8: last_applied is volatile (Fig. 2); the entries before the snapshot are not to be had."""
    state = State("n1", (), 4, log=log_after(5, 3, 4), commit_index=5)
    assert compaction.must_reset_state_machine(state)
    compaction.record_reset(state, state.log.start)
    assert (state.last_applied, compaction.must_reset_state_machine(state)) == (5, False)
    state.commit_index = 6
    assert [entry.index for entry in replication.entries_to_apply(state, 9)] == [6]


# Any two logs


def compact_at_random(state: State, dice: random.Random, committed: int) -> None:
    """Have `state` take a snapshot up to some entry that is committed."""
    index = dice.randint(0, committed)
    state.commit_index = max(state.commit_index, index)
    state.log.discard_up_to(state.log.position_of(index))
    save(state)


@pytest.mark.parametrize("seed", range(100))
def test_any_two_logs_become_equal_wherever_their_snapshots_end(seed: int) -> None:
    """§5.3, §7: by AppendEntries, or by the snapshot where that is needed; and committed entries stay as they are."""
    print(f"seed {seed}")
    dice = random.Random(f"snapshots {seed}")
    common = sorted(dice.choices(range(1, 4), k=dice.randint(0, 8)))
    committed = dice.randint(0, len(common))
    leading = server(*common, *sorted(dice.choices((5, 6), k=dice.randint(0, 4))), current_term=7)
    follower = server(*common[:dice.randint(committed, len(common))], id="n2", current_term=7)
    for entry in entries_of(*[4] * dice.randint(0, 3), first_index=follower.log.last_index + 1):
        follower.log.append(entry)
    for state in (leading, follower):
        compact_at_random(state, dice, committed)
    election.become_leader(leading)
    leading.next_index["n2"] = dice.randint(1, leading.log.last_index + 1)
    for _ in range(20):
        if compaction.needs_snapshot(leading, "n2"):
            receive_snapshot(leading, follower)
        request = replication.append_entries_request(leading, "n2", dice.randint(1, 5), 9_999)
        reply = replication.handle_append_entries(follower, request)
        replication.handle_append_entries_reply(leading, "n2", request, reply)
        if leading.match_index["n2"] == leading.log.last_index:
            break
    both = max(leading.log.first_index, follower.log.first_index)
    assert follower.log.last_index == leading.log.last_index
    assert follower.log.entries_between(both, 99) == leading.log.entries_between(both, 99)


def receive_snapshot(leading: State, follower: State) -> None:
    """Have the leader's snapshot go to the follower in one piece."""
    start = leading.log.start
    request = compaction.install_snapshot_request(leading, start, 0, b"all", True)
    reply = compaction.handle_install_snapshot(follower, request)
    if compaction.wants_chunk(follower, request):
        compaction.record_chunk(follower, request)
        compaction.stop_receiving(follower, request)
        compaction.install_snapshot(follower, start)
        reply = compaction.handle_install_snapshot(follower, request)
    save(follower)
    compaction.handle_install_snapshot_reply(leading, "n2", request, reply)


# Reads (§8) on a log that was compacted


def test_a_read_needs_no_more_than_is_committed_when_the_terms_no_op_is_in_the_snapshot() -> None:
    """§8, §7: an entry of the term is committed then; the first one that the log still holds may not be."""
    state = compacted_leader(5, 9, 9, 9)
    assert state.role is Role.LEADER
    assert reads.read_index(state) == 5
