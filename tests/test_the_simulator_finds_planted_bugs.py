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


@pytest.fixture(name="hunts", scope="module")
def all_hunts() -> Iterator[dict[str, Future[Result]]]:
    """A search for each bug, on both cores at once."""
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        yield {name: pool.submit(hunt, name) for name in BUGS}


@pytest.mark.parametrize("name", BUGS)
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
