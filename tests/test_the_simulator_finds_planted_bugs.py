"""Whatever a server could do wrong shows within a few seeds; what is sound passes all (Fig. 3, §8)."""

from __future__ import annotations

import pytest
from beforehand import Beforehand
from planted_bugs import BUGS, hunt

from raft_threads.simulation.run import Plan, run
from raft_threads.simulation.sweep import Summary

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


# By profile, number of servers, and number of seeds.
SWEEPS = {
    (profile, servers, seeds): [Plan(seed, servers, 1.0, profile) for seed in range(seeds)]
    for profile, servers, seeds in (("hostile", 3, 30), ("mixed", 3, 40), ("mixed", 5, 12))
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.beforehand(hunt, name)) for name in [bug.__name__ for bug in BUGS]]
)
def test_a_planted_bug_is_found_and_named(name: str, beforehand: Beforehand) -> None:
    """The report says which property is lost, when and where, and how to see it again."""
    result = beforehand(hunt, name)
    plan = result.plan
    assert result.failure in SIGNS[name], result.report
    assert f"--seed {plan.seed} --servers 3 --seconds 3 --profile {plan.profile}" in result.report


@pytest.mark.parametrize(
    "plans",
    [
        pytest.param(plans, id="-".join(map(str, sweep)), marks=[pytest.mark.beforehand(run, plan) for plan in plans])
        for sweep, plans in SWEEPS.items()
    ],
)
def test_sound_servers_pass_every_seed(plans: list[Plan], beforehand: Beforehand) -> None:
    """Fig. 3 after every event, progress afterwards, and linearizable answers; here for some eighty seeds."""
    summary = Summary()
    for plan in plans:
        summary.add(beforehand(run, plan))
    assert not summary.failures, summary.failures[0].report
    assert summary.seeds == len(plans)
    counts = summary.counts
    assert counts["BecameLeader"] > len(plans) and counts["Crashed"] > 0 and counts["LinksCut"] > 0
