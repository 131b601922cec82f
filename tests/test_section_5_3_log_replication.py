"""§5.3: the leader appends and sends; the follower checks, deletes what conflicts, appends."""

from __future__ import annotations

import pytest
from drawing import append_entries, entries_of, leader, log_of, server, terms_of

from raft_threads import replication
from raft_threads.messages import AppendEntriesReply
from raft_threads.state import Role, SafetyViolation

# The follower (Fig. 2, AppendEntries receiver)


def test_a_follower_refuses_entries_when_it_has_none_at_prev_log_index() -> None:
    """Fig. 2, AppendEntries receiver 2: a gap."""
    state = server(1, current_term=2)
    assert not replication.handle_append_entries(state, append_entries(2, term=2, prev=(2, 1))).success
    assert terms_of(state.log) == [1]


def test_a_follower_refuses_entries_when_its_entry_at_prev_log_index_is_of_another_term() -> None:
    """Fig. 2, AppendEntries receiver 2. The refusal deletes nothing."""
    state = server(1, 1, 1, current_term=3)
    assert not replication.handle_append_entries(state, append_entries(3, term=3, prev=(2, 2))).success
    assert terms_of(state.log) == [1, 1, 1]


def test_a_follower_accepts_entries_that_follow_a_matching_one() -> None:
    """Fig. 2, AppendEntries receiver 2 and 4."""
    state = server(1, 1, current_term=2)
    assert replication.handle_append_entries(state, append_entries(2, 2, term=2, prev=(2, 1))).success
    assert terms_of(state.log) == [1, 1, 2, 2]


def test_the_first_entry_of_all_follows_index_0() -> None:
    """§5.3: the empty logs match."""
    state = server(current_term=1)
    assert replication.handle_append_entries(state, append_entries(1, term=1)).success
    assert terms_of(state.log) == [1]


def test_a_conflicting_entry_and_all_that_follow_it_are_deleted() -> None:
    """Fig. 2, AppendEntries receiver 3."""
    state = server(1, 2, 2, 2, current_term=3)
    assert replication.handle_append_entries(state, append_entries(3, term=3, prev=(1, 1))).success
    assert terms_of(state.log) == [1, 3]


def test_entries_before_the_conflict_are_kept() -> None:
    """Fig. 2, AppendEntries receiver 3: from the conflicting entry on."""
    state = server(1, 1, 2, 2, current_term=3)
    kept = state.log.entry_at(2)
    assert replication.handle_append_entries(state, append_entries(1, 3, term=3, prev=(1, 1))).success
    assert terms_of(state.log) == [1, 1, 3]
    assert state.log.entry_at(2) is kept


@pytest.mark.parametrize("repeated", [(), (2,), (2, 2)])
def test_append_entries_that_comes_late_or_twice_deletes_nothing(repeated: tuple[int, ...]) -> None:
    """Fig. 2, AppendEntries receiver 3: only a real conflict deletes; 4: any new entries not already in the log."""
    state = server(1, 2, 2, 2, current_term=2)
    assert replication.handle_append_entries(state, append_entries(*repeated, term=2, prev=(1, 1))).success
    assert terms_of(state.log) == [1, 2, 2, 2]


def test_entries_that_are_partly_there_are_completed() -> None:
    """Fig. 2, AppendEntries receiver 4."""
    state = server(1, 2, current_term=2)
    assert replication.handle_append_entries(state, append_entries(2, 2, 2, term=2, prev=(1, 1))).success
    assert terms_of(state.log) == [1, 2, 2, 2]


def test_a_heartbeat_is_checked_like_any_append_entries_and_leaves_the_log_alone() -> None:
    """§5.2, §5.3: an AppendEntries without entries."""
    state = server(1, 1, current_term=1)
    assert replication.handle_append_entries(state, append_entries(term=1, prev=(2, 1))).success
    assert not replication.handle_append_entries(state, append_entries(term=1, prev=(3, 1))).success
    assert terms_of(state.log) == [1, 1]


def test_a_follower_learns_who_leads_even_when_it_refuses_the_entries() -> None:
    """Fig. 2, AppendEntries: leaderId, so the follower can redirect clients."""
    state = server(1, current_term=2)
    replication.handle_append_entries(state, append_entries(2, term=2, prev=(5, 2), leader_id="n3"))
    assert state.leader_id == "n3"


# What breaks Fig. 3 is not acted upon


def test_a_second_leader_in_a_term_is_refused_and_changes_nothing() -> None:
    """Fig. 3, Election Safety."""
    state = leader(1, current_term=2)
    with pytest.raises(SafetyViolation, match="Election Safety"):
        replication.handle_append_entries(state, append_entries(2, term=2, prev=(1, 1), leader_id="n2"))
    assert (state.role, state.leader_id, terms_of(state.log)) == (Role.LEADER, "n1", [1])


@pytest.mark.parametrize("current_term", [1, 3])
def test_entries_that_contradict_committed_ones_are_refused_and_change_nothing(current_term: int) -> None:
    """Fig. 3, Leader Completeness: a committed entry is in the logs of all later leaders."""
    state = server(1, 1, 1, current_term=current_term, commit_index=2)
    with pytest.raises(SafetyViolation, match="Leader Completeness"):
        replication.handle_append_entries(state, append_entries(3, 3, term=3, prev=(1, 1), leader_id="n2"))
    assert (state.current_term, terms_of(state.log)) == (current_term, [1, 1, 1])


def test_the_very_first_entry_is_protected_once_it_is_committed() -> None:
    """Fig. 3, Leader Completeness."""
    state = server(1, current_term=1, commit_index=1)
    with pytest.raises(SafetyViolation, match="Leader Completeness"):
        replication.handle_append_entries(state, append_entries(3, term=3, leader_id="n2"))


def test_entries_that_replace_uncommitted_ones_are_no_violation() -> None:
    """§5.3: conflicting entries that are not committed are overwritten."""
    state = server(1, 1, 1, current_term=1, commit_index=2)
    assert replication.handle_append_entries(state, append_entries(3, term=3, prev=(2, 1), leader_id="n2")).success
    assert terms_of(state.log) == [1, 1, 3]


def test_a_deposed_leaders_contradiction_is_just_stale() -> None:
    """§5.1: it is rejected for its term."""
    state = server(1, 3, current_term=3, commit_index=2)
    assert not replication.handle_append_entries(state, append_entries(2, term=2, prev=(1, 1))).success
    assert terms_of(state.log) == [1, 3]


# The leader (Fig. 2, Leaders)


def test_a_leader_appends_a_command_with_its_term_at_the_next_index() -> None:
    """Fig. 2, Leaders 2."""
    state = leader(1, 2, current_term=4)
    entry = replication.append_command(state, b"x")
    assert (entry.index, entry.term, entry.command) == (3, 4, b"x")
    assert terms_of(state.log) == [1, 2, 4]


def test_a_leader_sends_a_follower_the_entries_from_its_next_index_on() -> None:
    """Fig. 2, Leaders 3."""
    state = leader(1, 1, 2, 2, commit_index=2)
    state.next_index["n2"] = 3
    assert replication.has_entries_for(state, "n2")
    request = replication.append_entries_request(state, "n2", max_entries=10, max_bytes=10_000)
    assert (request.term, request.leader_id, request.leader_commit) == (2, "n1", 2)
    assert (request.prev_log_index, request.prev_log_term) == (2, 1)
    assert request.entries == entries_of(2, 2, first_index=3)


def test_a_leader_sends_an_empty_append_entries_as_a_heartbeat_when_there_is_nothing_new() -> None:
    """Fig. 2, Leaders 1 and 3."""
    state = leader(1, 1)
    assert not replication.has_entries_for(state, "n2")
    request = replication.append_entries_request(state, "n2", max_entries=10, max_bytes=10_000)
    assert (request.entries, request.prev_log_index, request.prev_log_term) == ((), 2, 1)


def test_only_a_leader_has_entries_for_others() -> None:
    """§5.1: followers issue no requests."""
    assert not replication.has_entries_for(server(1), "n2")


def test_a_leader_has_entries_for_a_follower_from_the_first_that_it_has_not_sent() -> None:
    """Fig. 2, Leaders 3: if last log index >= nextIndex for a follower."""
    state = leader(1, 1, current_term=1)
    assert not replication.has_entries_for(state, "n2")
    replication.append_command(state, b"x")
    assert replication.has_entries_for(state, "n2")


def test_entries_beyond_the_end_of_the_log_conflict_with_nothing() -> None:
    """§5.3: only an existing entry can conflict."""
    assert replication.first_conflict(log_of(1, 1), entries_of(1, 2, first_index=2)) == 0
    assert replication.first_conflict(log_of(1, 1), entries_of(2, 2, first_index=2)) == 2


def test_a_message_carries_a_limited_number_of_entries() -> None:
    """§5.3: the rest goes with the next one."""
    state = leader(1, 1, 1, 1)
    state.next_index["n2"] = 2
    request = replication.append_entries_request(state, "n2", max_entries=2, max_bytes=10_000)
    assert [entry.index for entry in request.entries] == [2, 3]


def test_a_message_carries_a_limited_number_of_bytes_but_always_one_entry() -> None:
    """§5.3: or a large entry could never be replicated."""
    state = leader(1, 1, 1, 1)
    state.next_index["n2"] = 1
    size = len(state.log.entry_at(1).line)
    for max_bytes, indexes in ((2 * size, [1, 2]), (2 * size - 1, [1]), (1, [1])):
        request = replication.append_entries_request(state, "n2", max_entries=10, max_bytes=max_bytes)
        assert [entry.index for entry in request.entries] == indexes


def test_after_a_success_the_leader_knows_how_far_the_follower_matches() -> None:
    """Fig. 2, Leaders 4: update next_index and match_index."""
    state = leader(1, 1, 1, current_term=1)
    state.next_index["n2"] = 2
    request = replication.append_entries_request(state, "n2", max_entries=1, max_bytes=10_000)
    replication.handle_append_entries_reply(state, "n2", request, AppendEntriesReply(1, True))
    assert (state.match_index["n2"], state.next_index["n2"]) == (2, 3)
    assert (state.match_index["n3"], state.next_index["n3"]) == (0, 4)


def test_a_late_success_takes_neither_next_index_nor_match_index_back() -> None:
    """§5.5: replies may come late or twice."""
    state = leader(1, 1, 1, current_term=1)
    late = replication.append_entries_request(state, "n2", max_entries=1, max_bytes=10_000)
    replication.append_command(state, b"x")
    state.next_index["n2"], state.match_index["n2"] = 5, 4
    replication.handle_append_entries_reply(state, "n2", late, AppendEntriesReply(1, True))
    assert (state.match_index["n2"], state.next_index["n2"]) == (4, 5)
    state.match_index["n2"] = 0
    replication.handle_append_entries_reply(state, "n2", late, AppendEntriesReply(1, True))
    assert (state.match_index["n2"], state.next_index["n2"]) == (3, 5)


def test_a_leader_never_deletes_or_overwrites_its_own_entries() -> None:
    """Fig. 3, Leader Append-Only: whatever its followers answer."""
    state = leader(1, 1, 2, current_term=3)
    replication.append_command(state, b"x")
    replies = AppendEntriesReply(3, False, 1, 1), AppendEntriesReply(3, False, None, 1), AppendEntriesReply(3, True)
    for reply in replies:
        request = replication.append_entries_request(state, "n2", max_entries=10, max_bytes=10_000)
        replication.handle_append_entries_reply(state, "n2", request, reply)
        assert terms_of(state.log) == [1, 1, 2, 3]


def test_the_log_takes_only_the_next_index() -> None:
    """§5.3: entries are numbered sequentially."""
    log = log_of(1, 1)
    with pytest.raises(ValueError, match="index 3"):
        log.append(entries_of(1, first_index=4)[0])
    with pytest.raises(IndexError):
        log.entry_at(3)
    with pytest.raises(IndexError):
        log.entry_at(0)
