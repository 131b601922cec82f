"""Fig. 6: five logs, eight entries, of which seven are committed."""

from __future__ import annotations

from drawing import FIVE, leader, server, terms_of

from raft_threads import replication
from raft_threads.messages import AppendEntriesReply

LEADER = (1, 1, 1, 2, 3, 3, 3, 3)
FOLLOWERS = {"n2": (1, 1, 1, 2, 3), "n3": LEADER, "n4": (1, 1), "n5": (1, 1, 1, 2, 3, 3, 3)}


def test_the_entry_at_index_7_is_committed_and_the_one_at_index_8_is_not() -> None:
    """Fig. 6: three of five servers store entry 7, two store entry 8."""
    leading = leader(*LEADER, servers=FIVE, current_term=3)
    for peer, terms in FOLLOWERS.items():
        follower = server(*terms, id=peer, servers=FIVE, current_term=3)
        leading.next_index[peer] = len(terms) + 1
        request = replication.append_entries_request(leading, peer, max_entries=0, max_bytes=0)
        reply = replication.handle_append_entries(follower, request)
        assert reply == AppendEntriesReply(3, True)
        replication.handle_append_entries_reply(leading, peer, request, reply)
    assert leading.match_index == {"n1": 8, "n2": 5, "n3": 8, "n4": 2, "n5": 7}
    assert leading.commit_index == 7


def test_a_follower_learns_how_far_the_log_is_committed_and_applies_so_far() -> None:
    """Fig. 6, §5.3: the leader includes its commit index in every AppendEntries."""
    leading = leader(*LEADER, servers=FIVE, current_term=3, commit_index=7)
    for peer, terms in FOLLOWERS.items():
        follower = server(*terms, id=peer, servers=FIVE, current_term=3)
        leading.next_index[peer] = len(terms) + 1
        request = replication.append_entries_request(leading, peer, max_entries=100, max_bytes=100_000)
        replication.handle_append_entries(follower, request)
        assert terms_of(follower.log) == list(LEADER)
        assert [entry.index for entry in replication.entries_to_apply(follower, 100)] == [1, 2, 3, 4, 5, 6, 7]
