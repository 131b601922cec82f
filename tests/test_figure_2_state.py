"""Fig. 2, the "State" box: what a server starts with, and what it must save."""

from __future__ import annotations

from drawing import entries_of, log_of, server, terms_of

from raft_threads.log import Log
from raft_threads.state import Role, State


def test_a_new_server_is_a_follower_in_term_0_without_a_vote_or_a_log() -> None:
    """Fig. 2, State: everything is initialized to 0, null or empty (§5.2: servers begin as followers)."""
    state = State(id="n1", servers=("n1", "n2", "n3"))
    assert (state.current_term, state.voted_for, state.log.last_index) == (0, None, 0)
    assert (state.commit_index, state.last_applied) == (0, 0)
    assert (state.next_index, state.match_index) == ({}, {})
    assert state.role is Role.FOLLOWER


def test_entries_that_were_saved_are_neither_committed_nor_applied_after_a_restart() -> None:
    """Fig. 2, State: commitIndex and lastApplied are volatile, and are initialized to 0 whatever the disk holds."""
    state = State(id="n1", servers=("n1", "n2", "n3"), current_term=2, log=log_of(1, 2))
    assert (state.log.last_index, state.commit_index, state.last_applied) == (2, 0, 0)


def test_the_first_index_is_1_and_index_0_means_before_the_first_entry() -> None:
    """Fig. 2, State: first index is 1."""
    log = log_of(5, 6)
    assert log.entry_at(1).term == 5
    assert (log.term_at(0), log.term_at(1), log.term_at(2), log.term_at(3)) == (0, 5, 6, None)
    assert (log.last_index, log.last_term) == (2, 6)


def test_an_empty_log_ends_at_index_0_of_term_0() -> None:
    """Fig. 2: so the consistency check succeeds at the beginning of every log."""
    assert (Log().last_index, Log().last_term) == (0, 0)


def test_a_negative_index_is_no_entry() -> None:
    """§5.3: indexes identify positions; Python's negative ones must not."""
    assert log_of(1, 2).term_at(-1) is None


def test_a_majority_is_more_than_half_of_the_full_cluster() -> None:
    """§5.2: also when the number of servers is even."""
    for servers, majority in ((1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4)):
        names = [f"n{i}" for i in range(1, servers + 1)]
        state = State(id="n1", servers=names)
        assert state.configuration.is_majority(names[:majority])
        assert not state.configuration.is_majority(names[:majority - 1])


def test_a_changed_term_vote_or_log_is_unsaved_until_the_disk_has_it() -> None:
    """Fig. 2, State: persistent state is updated on stable storage before responding."""
    state = server(1)
    assert state.is_saved()
    state.current_term = 2
    assert not state.term_and_vote_are_saved()
    state.saved_term_and_vote = (2, None)
    state.voted_for = "n2"
    assert not state.is_saved()
    state.saved_term_and_vote = (2, "n2")
    assert state.is_saved()
    state.log.append_new(2, "command", b"x")
    assert not state.is_saved()
    state.log.mark_saved(2, 2)
    assert state.is_saved()


def test_entries_deleted_while_the_disk_was_busy_are_not_taken_for_saved() -> None:
    """Fig. 2, State: what the disk wrote is not what the log holds any more."""
    log = log_of(1)
    log.append(entries_of(1, first_index=2)[0])
    log.append(entries_of(1, first_index=3)[0])
    log.delete_from(2)
    log.append(entries_of(2, first_index=2)[0])
    log.mark_saved(3, 1)
    assert log.saved_index == 1
    log.mark_saved(2, 1)
    assert log.saved_index == 1
    log.mark_saved(2, 2)
    assert log.saved_index == 2


def test_deleting_saved_entries_makes_what_replaces_them_unsaved() -> None:
    """§5.3: the new entries at the same indexes must be written."""
    log = log_of(1, 1, 1)
    log.delete_from(2)
    for entry in entries_of(2, 2, first_index=2):
        log.append(entry)
    assert [entry.term for entry in log.unsaved_entries()] == [2, 2]
    assert terms_of(log) == [1, 2, 2]


def test_deleting_entries_that_were_not_saved_yet_makes_none_of_them_saved() -> None:
    """Fig. 2, State: what replaces them, and what comes before them, is still to be written."""
    log = log_of(1)
    for entry in entries_of(1, 1, 1, first_index=2):
        log.append(entry)
    log.delete_from(4)
    assert (log.saved_index, [entry.index for entry in log.unsaved_entries()]) == (1, [2, 3])


def test_a_late_notice_of_the_disk_never_makes_saved_entries_unsaved() -> None:
    """Log Matching (Fig. 3): what is saved further on includes what is before."""
    log = log_of(1, 1, 1)
    log.mark_saved(2, 1)
    assert log.saved_index == 3
