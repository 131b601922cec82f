"""§5.3: after a failed consistency check the leader backs up, a whole term at a time (the section's last page)."""

from __future__ import annotations

import random

import pytest
from drawing import leader, log_of, server, terms_of

from raft_threads import replication
from raft_threads.messages import AppendEntriesReply
from raft_threads.state import State


def round_trip(leading: State, follower: State, max_entries: int = 100) -> bool:
    """Send one AppendEntries and hand back the reply; return whether the follower accepted."""
    request = replication.append_entries_request(leading, follower.id, max_entries, max_bytes=100_000)
    reply = replication.handle_append_entries(follower, request)
    replication.handle_append_entries_reply(leading, follower.id, request, reply)
    return reply.success


def repair(leading: State, follower: State) -> int:
    """Exchange messages until the follower's log equals the leader's; return how many refusals it took."""
    refusals = 0
    for _ in range(100):
        if not round_trip(leading, follower):
            refusals += 1
        elif not replication.has_entries_for(leading, follower.id):
            return refusals
    raise AssertionError("the logs never became equal")


def test_a_follower_tells_the_term_in_conflict_and_its_first_index() -> None:
    """§5.3: the term of the conflicting entry and the first index it stores for that term."""
    state = server(1, 1, 2, 2, 2, current_term=4)
    assert replication.refusal_with_conflict(state, 5) == AppendEntriesReply(4, False, 2, 3)


def test_a_follower_whose_log_is_too_short_tells_where_it_ends() -> None:
    """§5.3: there is no conflicting entry; the next to send is the one after its last."""
    state = server(1, 1, current_term=4)
    assert replication.refusal_with_conflict(state, 7) == AppendEntriesReply(4, False, None, 3)


def test_the_leader_bypasses_a_term_that_it_does_not_have() -> None:
    """§5.3: all of the conflicting entries in that term."""
    reply = AppendEntriesReply(5, False, conflict_term=2, conflict_index=3)
    assert replication.index_to_try_next(log_of(1, 1, 4, 4, 4), 5, reply) == 3


def test_the_leader_tries_its_own_last_entry_of_the_term_in_conflict() -> None:
    """§5.3: up to there the logs may agree, and what agrees need not be sent again."""
    reply = AppendEntriesReply(5, False, conflict_term=2, conflict_index=2)
    assert replication.index_to_try_next(log_of(1, 2, 2, 4, 4, 4), 6, reply) == 4


def test_a_term_in_conflict_that_begins_in_the_leaders_log_only_later_is_bypassed() -> None:
    """§5.3: next_index only ever goes down."""
    reply = AppendEntriesReply(5, False, conflict_term=3, conflict_index=2)
    assert replication.index_to_try_next(log_of(1, 1, 1, 3, 3), 3, reply) == 2


@pytest.mark.parametrize("conflict_index", [None, 0, 9])
def test_a_refusal_without_a_useful_hint_still_moves_next_index_down_by_one(conflict_index: int) -> None:
    """Fig. 2, Leaders 5: decrement next_index and retry; and never below 1."""
    reply = AppendEntriesReply(5, False, None, conflict_index)
    assert replication.index_to_try_next(log_of(1, 1, 1), 3, reply) == (1 if conflict_index == 0 else 3)


def test_the_leader_retries_with_earlier_entries_until_the_follower_agrees() -> None:
    """Fig. 2, Leaders 5."""
    leading, follower = leader(1, 1, 1, 4, 4), server(1, id="n2", current_term=1)
    assert repair(leading, follower) == 1
    assert terms_of(follower.log) == terms_of(leading.log)
    assert (leading.match_index["n2"], leading.next_index["n2"]) == (5, 6)


def test_one_round_trip_bypasses_each_term_in_conflict() -> None:
    """§5.3: one AppendEntries for each term with conflicting entries."""
    follower = server(1, 2, 2, 3, 3, 3, 5, 5, id="n2", current_term=5)
    leading = leader(1, 1, 1, 1, 1, 1, 1, 1, 6, current_term=6)
    assert repair(leading, follower) <= 3 + 1
    assert terms_of(follower.log) == terms_of(leading.log)


def test_entries_that_both_have_are_not_sent_again() -> None:
    """§5.3: a long term that both have, and two more entries of it that only the follower has."""
    follower = server(*[1] * 50, id="n2", current_term=1)
    leading = leader(*[1] * 48, 2, 2, current_term=2)
    leading.next_index["n2"] = 51
    assert not round_trip(leading, follower)
    assert leading.next_index["n2"] == 49


def test_next_index_never_falls_below_the_first_entry() -> None:
    """§5.3: index 0 matches always; only a peer that talks nonsense refuses it."""
    state = leader(1, 1, current_term=2)
    state.next_index["n2"] = 1
    for reply in (AppendEntriesReply(2, False), AppendEntriesReply(2, False, None, 0)):
        request = replication.append_entries_request(state, "n2", max_entries=1, max_bytes=100)
        replication.handle_append_entries_reply(state, "n2", request, reply)
        assert state.next_index["n2"] == 1
        assert replication.index_to_try_next(state.log, 0, reply) == 1


def test_a_refusal_of_an_earlier_probe_is_ignored() -> None:
    """§5.3: next_index has moved since; a late refusal must not move it again."""
    leading = leader(1, 1, 1, 1)
    probe = replication.append_entries_request(leading, "n2", 10, 10_000)
    leading.next_index["n2"] = 2
    replication.handle_append_entries_reply(leading, "n2", probe, AppendEntriesReply(1, False, None, 1))
    assert leading.next_index["n2"] == 2


def test_a_refusal_of_what_is_known_to_match_is_ignored() -> None:
    """Fig. 2, State: match_index increases monotonically, and next_index stays beyond it."""
    leading = leader(1, 1, 1, 1)
    probe = replication.append_entries_request(leading, "n2", 10, 10_000)
    leading.match_index["n2"] = 4
    replication.handle_append_entries_reply(leading, "n2", probe, AppendEntriesReply(1, False, None, 1))
    assert (leading.match_index["n2"], leading.next_index["n2"]) == (4, 5)


def test_next_index_never_falls_to_what_is_known_to_match() -> None:
    """§5.3: even when a confused follower hints so."""
    leading = leader(1, 1, 1, 1)
    leading.match_index["n2"] = 2
    probe = replication.append_entries_request(leading, "n2", 10, 10_000)
    replication.handle_append_entries_reply(leading, "n2", probe, AppendEntriesReply(1, False, None, 1))
    assert leading.next_index["n2"] == 3


def legal_logs(dice: random.Random) -> tuple[list[int], list[int]]:
    """Return the terms of two logs that can exist together: each entry of a term follows the same entries before it.

    Terms have a leader each, which extends a copy of one of the logs so far; so equal (index, term) means equal prefix.
    """
    logs: list[list[int]] = [[] for _ in range(5)]
    for term in range(1, dice.randint(2, 9)):
        leads = dice.randrange(5)
        logs[leads] = logs[leads] + [term] * dice.randint(0, 4)
        for follower in range(5):
            if dice.random() < 0.3:
                logs[follower] = logs[leads][: dice.randint(0, len(logs[leads]))]
    best, other = dice.sample(range(5), 2)
    return logs[best], logs[other]


@pytest.mark.parametrize("seed", range(200))
def test_any_two_logs_that_can_exist_become_equal(seed: int) -> None:
    """§5.3: the leader forces the follower's log to duplicate its own, in a round trip for each term in conflict."""
    print(f"seed {seed}")
    theirs, ours = legal_logs(random.Random(f"logs {seed}"))
    term = max([0, *theirs, *ours]) + 1
    leading = leader(*theirs, term, current_term=term)
    follower = server(*ours, id="n2", current_term=term)
    refusals = repair(leading, follower)
    assert terms_of(follower.log) == [*theirs, term]
    assert refusals <= len(set(ours)) + 1
