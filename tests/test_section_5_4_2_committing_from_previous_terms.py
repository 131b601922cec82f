"""§5.4.2: only entries of the leader's own term are committed by counting; Fig. 8 shows why."""

from __future__ import annotations

from drawing import leader

from raft_threads import replication


def test_an_entry_of_an_earlier_term_is_not_committed_by_counting_replicas() -> None:
    """§5.4.2; Fig. 2, Leaders 6: log[N].term == currentTerm."""
    state = leader(1, 2, current_term=4)
    state.match_index = {"n1": 2, "n2": 2, "n3": 2}
    replication.advance_commit_index(state)
    assert state.commit_index == 0


def test_an_entry_of_the_leaders_term_commits_all_that_come_before_it() -> None:
    """§5.4.2: indirectly, because of the Log Matching Property."""
    state = leader(1, 2, 4, current_term=4)
    state.match_index = {"n1": 3, "n2": 3, "n3": 0}
    replication.advance_commit_index(state)
    assert state.commit_index == 3


def test_the_commit_index_of_a_leader_never_goes_back() -> None:
    """Fig. 2, Leaders 6: N > commitIndex; a new leader knows of no matches yet, but of commits."""
    state = leader(1, 1, current_term=1, commit_index=2)
    state.match_index = {"n1": 1, "n2": 1, "n3": 1}
    replication.advance_commit_index(state)
    assert state.commit_index == 2
