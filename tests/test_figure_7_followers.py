"""Fig. 7: six followers (a)-(f) that a new leader may find, and how each log becomes the leader's (§5.3)."""

from __future__ import annotations

import pytest
from drawing import leader, server, terms_of

from raft_threads import election, replication
from raft_threads.state import State

LEADER = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
FOLLOWERS = {
    "a": (1, 1, 1, 4, 4, 5, 5, 6, 6),
    "b": (1, 1, 1, 4),
    "c": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
    "d": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
    "e": (1, 1, 1, 4, 4, 4, 4),
    "f": (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
}
SERVERS = ("leader", *FOLLOWERS)
# How often each refuses before its log is found to match: once if it is too short, once for each term in conflict.
# (c) and (d) have what the leader asks about, and more.
REFUSALS = {"a": 1, "b": 1, "c": 0, "d": 0, "e": 2, "f": 2}


def new_leader() -> State:
    """Return the leader at the top of Fig. 7, in term 8 and before it appends anything."""
    return leader(*LEADER, id="leader", servers=SERVERS, current_term=8)


def repair(leading: State, follower: State) -> int:
    """Exchange AppendEntries until the leader has nothing more to send; return how often the follower refused."""
    refusals = 0
    while True:
        request = replication.append_entries_request(leading, follower.id, max_entries=100, max_bytes=100_000)
        reply = replication.handle_append_entries(follower, request)
        replication.handle_append_entries_reply(leading, follower.id, request, reply)
        refusals += not reply.success
        if reply.success and not replication.has_entries_for(leading, follower.id):
            return refusals


def test_a_new_leader_begins_with_index_11_for_everybody() -> None:
    """§5.3: next_index is the index just after the last one in its log, 11 in Fig. 7."""
    assert set(new_leader().next_index.values()) == {11}


@pytest.mark.parametrize("name", FOLLOWERS)
def test_each_followers_log_becomes_the_leaders(name: str) -> None:
    """Fig. 7, §5.3: missing entries are added, extraneous ones replaced once the leader has something of its own."""
    leading = new_leader()
    replication.append_command(leading, b"x")
    follower = server(*FOLLOWERS[name], id=name, servers=SERVERS, current_term=7)
    repair(leading, follower)
    assert terms_of(follower.log) == [*LEADER, 8]
    assert (leading.match_index[name], leading.next_index[name]) == (11, 12)


@pytest.mark.parametrize("name", FOLLOWERS)
def test_each_follower_refuses_once_for_each_term_in_conflict(name: str) -> None:
    """§5.3, last page: (f) has two terms in conflict, (e) one after it was too short, as (a) and (b) are."""
    follower = server(*FOLLOWERS[name], id=name, servers=SERVERS, current_term=7)
    assert repair(new_leader(), follower) == REFUSALS[name]


@pytest.mark.parametrize("name", ["c", "d"])
def test_extraneous_entries_stay_until_an_entry_conflicts(name: str) -> None:
    """Fig. 2, AppendEntries receiver 3: a heartbeat alone deletes nothing, and commits nothing of them."""
    follower = server(*FOLLOWERS[name], id=name, servers=SERVERS, current_term=7)
    leading = new_leader()
    leading.commit_index = 10
    repair(leading, follower)
    assert terms_of(follower.log) == list(FOLLOWERS[name])
    assert follower.commit_index == 10


@pytest.mark.parametrize(
    "name, votes", [("a", True), ("b", True), ("c", False), ("d", False), ("e", True), ("f", True)]
)
def test_the_leader_could_be_elected_by_a_b_e_and_f(name: str, votes: bool) -> None:
    """§5.4.1: those of which its log is at least as up-to-date; with itself, five of seven."""
    candidate = server(*LEADER, id="leader", servers=SERVERS, current_term=7)
    election.begin_election(candidate)
    voter = server(*FOLLOWERS[name], id=name, servers=SERVERS, current_term=7)
    assert election.handle_request_vote(voter, election.vote_request(candidate)).vote_granted == votes
