"""Fig. 12: a server replaces the committed entries in its log with a snapshot, and goes on behind it."""

from __future__ import annotations

from drawing import THREE, server
from exchanges import configuration_entry, joint

from raft_threads import compaction, election, replication
from raft_threads.configuration import Configuration
from raft_threads.log import Log, SnapshotMetadata
from raft_threads.messages import RequestVote
from raft_threads.state import State

TERMS = (1, 1, 1, 2, 3, 3, 3)


def before() -> State:
    """Return the server at the top of the figure: seven entries, of which five are committed, and applied."""
    state = server(*TERMS, commit_index=5)
    state.last_applied = 5
    return state


def after() -> State:
    """Return the server at the bottom of the figure."""
    state = before()
    compaction.discard_what_it_replaces(state, compaction.snapshot_metadata(state))
    return state


def test_the_snapshot_says_which_entry_was_the_last_and_which_configuration_was_in_force() -> None:
    """Fig. 12: last included index 5, last included term 3; §7: and the latest configuration as of that index."""
    assert compaction.snapshot_metadata(before()) == SnapshotMetadata(5, 3, Configuration.of(THREE))


def test_the_snapshot_takes_the_place_of_the_committed_entries() -> None:
    """Fig. 12: indexes 1 through 5 are gone; entries 6 and 7 stay where they are."""
    state = after()
    assert [(entry.index, entry.term) for entry in state.log.all_entries()] == [(6, 3), (7, 3)]
    assert (state.log.start.last_included_index, state.log.start.last_included_term) == (5, 3)
    assert state.log.size_bytes == sum(len(entry.line) for entry in state.log.all_entries())


def test_nothing_else_changes() -> None:
    """§7: consensus has already been reached when snapshotting, so no decisions conflict."""
    state, old = after(), before()
    assert (state.commit_index, state.last_applied, state.term_and_vote) == (5, 5, old.term_and_vote)
    assert (state.log.last_index, state.log.last_term) == (7, 3)
    assert state.configuration == old.configuration
    assert not compaction.must_reset_state_machine(state)


def test_the_entries_that_follow_are_committed_and_applied_as_ever() -> None:
    """§7: snapshot and log together are the whole history."""
    state = after()
    state.commit_index = 7
    assert [entry.index for entry in replication.entries_to_apply(state, 9)] == [6, 7]


def test_a_server_without_and_one_with_a_snapshot_vote_alike() -> None:
    """§7, §5.4.1: each server takes snapshots independently, and nobody else can tell."""
    for index in range(9):
        for term in range(5):
            request = RequestVote(9, "n2", index, term)
            assert election.handle_request_vote(after(), request) == election.handle_request_vote(before(), request)


def test_a_configuration_after_the_last_included_entry_is_not_in_the_snapshot_and_stays_in_force() -> None:
    """§6, §7: the latest configuration in the log as of last included index."""
    changing = joint(THREE, ("n1",))
    log = Log([*before().log.entries_between(1, 5), configuration_entry(6, 3, changing)])
    log.begin_with(Configuration.of(THREE))
    state = State("n1", (), 3, log=log, commit_index=5, last_applied=5)
    metadata = compaction.snapshot_metadata(state)
    assert metadata.configuration == Configuration.of(THREE)
    compaction.discard_what_it_replaces(state, metadata)
    assert (state.configuration, state.log.configuration_index) == (changing, 6)
    state.log.delete_from(6)
    assert (state.configuration, state.log.configuration_index) == (Configuration.of(THREE), 5)


def test_a_configuration_that_is_included_is_found_in_the_snapshot() -> None:
    """§6, §7: to enable cluster membership changes; joint consensus as well."""
    changing = joint(THREE, ("n1",))
    log = Log([configuration_entry(1, 1, changing), *server(*TERMS).log.entries_between(2, 7)])
    state = State("n1", (), 3, log=log, commit_index=5, last_applied=5)
    compaction.discard_what_it_replaces(state, compaction.snapshot_metadata(state))
    assert (state.configuration, state.log.configuration_index) == (changing, 5)
    again = State("n1", THREE, 3, log=Log(state.log.all_entries(), state.log.start))
    assert again.configuration == changing, "after a restart too"
