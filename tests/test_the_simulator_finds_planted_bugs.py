"""Whatever a server could do wrong shows within a few seeds; what is sound passes all (Fig. 3, §8)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from planted_bugs import BUGS, hunt

from raft_threads.simulation.run import Plan, Result
from raft_threads.simulation.sweep import sweep

# For each bug, what it may be found by: the first of these that is met ends a run.
SIGNS = {
    "joint_consensus_counts_as_one_majority": {"Election Safety", "Commitment"},
    "configuration_acts_only_when_committed": {"Election Safety", "Commitment", "Server State"},
    "change_goes_directly_to_the_new_configuration": {"Membership"},
    "snapshot_forgets_the_sessions": {"State Machine Safety"},
    "command_sent_again_is_executed_again": {"NotLinearizable"},
    "read_without_a_round_of_heartbeats": {"NotLinearizable"},
    "snapshot_covers_what_was_not_applied": {"Snapshots", "State Machine Safety"},
    "reply_of_an_old_term_is_believed": {"Commitment"},
    "vote_is_not_persisted": {"Persistence"},
    "vote_is_granted_twice_in_a_term": {"One Vote per Term", "Election Safety"},
    "no_election_restriction": {"Election Restriction"},
    "commit_by_counting_in_an_older_term": {"Commitment"},
    "every_append_entries_truncates": {"Server State", "Persistence"},
    "no_consistency_check": {"ValueError", "Log Matching"},
    "commit_beyond_the_last_new_entry": {"Server State"},
    "followers_answer_before_fsync": {"Persistence"},
    "two_locks_in_opposite_orders": {"Deadlock"},
    "state_is_read_without_the_lock": {"WithoutTheLock"},
    "if_for_while_around_the_wait_for_the_disk": {"AssertionError"},
    "if_for_while_around_the_wait_for_something_to_send": {"Messages"},
    "if_for_while_around_the_wait_for_the_election_timeout": {"Election Timeout"},
    "commit_does_not_wake_the_applier": {"NoProgress"},
    "the_end_of_a_write_wakes_nobody": {"NoProgress"},
    "a_deposed_leader_does_not_wake_its_election_timer": {"NoProgress"},
}


@pytest.fixture(name="hunts", scope="module")
def all_hunts() -> Iterator[dict[str, Future[Result]]]:
    """A search for each bug, on both cores at once."""
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        yield {plant.__name__: pool.submit(hunt, plant.__name__) for plant in BUGS}


@pytest.mark.parametrize("name", [plant.__name__ for plant in BUGS])
def test_a_planted_bug_is_found_and_named(name: str, hunts: dict[str, Future[Result]]) -> None:
    """The report says which property is lost, when and where, and how to see it again."""
    result = hunts[name].result()
    plan = result.plan
    assert result.failure in SIGNS[name], result.report
    assert f"--seed {plan.seed} --servers 3 --seconds 3 --profile {plan.profile}" in result.report


@pytest.mark.parametrize("profile, servers, seeds", [("hostile", 3, 30), ("mixed", 3, 40), ("mixed", 5, 12)])
def test_sound_servers_pass_every_seed(profile: str, servers: int, seeds: int) -> None:
    """Fig. 3 after every event, progress afterwards, and linearizable answers; here for a few hundred seeds."""
    out = io.StringIO()
    plans = [Plan(seed, servers, 1.0, profile) for seed in range(seeds)]
    summary = sweep(plans, jobs=2, out=out, progress_to=io.StringIO())
    assert summary.failures == [], out.getvalue()
    assert summary.seeds == seeds
    assert summary.counts["BecameLeader"] > seeds and summary.counts["Crashed"] > 0 and summary.counts["LinksCut"] > 0
