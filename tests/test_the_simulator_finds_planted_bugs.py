"""Whatever a server could do wrong shows within a few seeds; what is sound passes all (Fig. 3, §8)."""

from __future__ import annotations

import pytest
from beforehand import Beforehand
from planted_bugs import BUGS, hunt

from raft_threads.simulation.run import Plan, run
from raft_threads.simulation.sweep import Summary

# For each bug, what it may be found by: the first of these that is met ends a run.
SIGNS = {
    "S6.4": {"Election Safety", "Commitment"},
    "S6.6": {"Election Safety", "Commitment", "Server State"},
    "S6.1": {"Membership"},
    "snapshot_forgets_the_sessions": {"State Machine Safety"},
    "S8.5": {"NotLinearizable"},
    "S8.8": {"NotLinearizable"},
    "S7.1": {"Snapshots", "State Machine Safety"},
    "reply_of_an_old_term_is_believed": {"Commitment"},
    "F2.State.2": {"Persistence"},
    "F2.RequestVote.2.1": {"One Vote per Term", "Election Safety"},
    "F2.RequestVote.2.2": {"Election Restriction"},
    "F2.Leaders.4": {"Commitment"},
    "F2.AppendEntries.4": {"Server State", "Persistence"},
    "F2.AppendEntries.2": {"ValueError", "Log Matching"},
    "F2.AppendEntries.5": {"Server State"},
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
    "name", [pytest.param(name, marks=pytest.mark.beforehand(hunt, name)) for name in BUGS]
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
