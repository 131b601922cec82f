"""§8: a leader opens its term with a blank entry, to find out what is committed."""

from __future__ import annotations

from drawing import candidate, server

from raft_threads import election, replication
from raft_threads.log import NO_OP
from raft_threads.messages import AppendEntriesReply


def test_a_new_leader_appends_a_no_op_of_its_term() -> None:
    """§8: at the start of its term; and it is the first thing that followers are sent."""
    state = candidate(1, 2, current_term=3)
    state.votes["n2"] = True
    election.become_leader_if_elected(state)
    entry = state.log.entry_at(3)
    assert (entry.term, entry.kind, entry.command) == (3, NO_OP, b"")
    assert replication.append_entries_request(state, "n2", 10, 10_000).entries == (entry,)


def test_the_no_op_commits_what_earlier_leaders_left_behind() -> None:
    """§5.4.2, §8."""
    state = candidate(1, 2, current_term=3)
    state.votes["n2"] = True
    election.become_leader_if_elected(state)
    state.log.mark_saved(3, 3)
    replication.record_own_disk(state)
    request = replication.append_entries_request(state, "n2", 10, 10_000)
    assert state.commit_index == 0
    replication.handle_append_entries_reply(state, "n2", request, AppendEntriesReply(3, True))
    assert state.commit_index == 3


def test_a_follower_takes_the_no_op_like_any_entry() -> None:
    """§8: it is replicated, and applied as nothing."""
    leading = candidate(1, current_term=2)
    leading.votes["n2"] = True
    election.become_leader_if_elected(leading)
    follower = server(1, id="n2", current_term=2)
    request = replication.append_entries_request(leading, "n2", 10, 10_000)
    assert replication.handle_append_entries(follower, request).success
    assert follower.log.entry_at(2) == leading.log.entry_at(2)
