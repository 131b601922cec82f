"""§5.6: broadcast time << election timeout, drawn at random (§5.2)."""

from __future__ import annotations

import random

import pytest

from raft_threads.timing import Timing, election_timeout_elapsed, randomized_election_timeout


def test_election_timeouts_are_drawn_from_a_fixed_interval() -> None:
    """§5.2: e.g. 150-300 ms, which is our default too."""
    timing = Timing()
    assert randomized_election_timeout(timing, 0.0) == pytest.approx(0.150)
    assert randomized_election_timeout(timing, 1.0) == pytest.approx(0.300)


def test_election_timeouts_seldom_collide() -> None:
    """§5.2: so that in most cases a single server times out."""
    dice = random.Random("timeouts")
    timeouts = sorted(randomized_election_timeout(Timing(), dice.random()) for _ in range(100))
    assert all(0.150 <= timeout <= 0.300 for timeout in timeouts)
    assert len(set(timeouts)) == 100
    assert timeouts[-1] - timeouts[0] > 0.1


def test_an_election_is_due_when_its_time_has_come_and_not_before() -> None:
    """§5.2: the election timeout elapses."""
    assert not election_timeout_elapsed(now=9.9, deadline=10.0)
    assert election_timeout_elapsed(now=10.0, deadline=10.0)


@pytest.mark.parametrize(
    "shortest, longest, heartbeat",
    [(0.0, 0.3, 0.05), (0.3, 0.15, 0.05), (0.15, 0.3, 0.15), (0.15, 0.3, 0.0), (-1, 1, 0.1), (0.15, float("inf"), 0.05)]
    + [(float("nan"), 0.3, 0.05), (0.15, 0.3, float("nan"))],
)
def test_times_that_cannot_work_together_are_refused(shortest: float, longest: float, heartbeat: float) -> None:
    """§5.6: a heartbeat must come before the shortest election timeout elapses."""
    with pytest.raises(ValueError, match="must be"):
        Timing(shortest, longest, heartbeat)


def test_a_range_of_one_value_is_allowed() -> None:
    """Fig. 16 measures 150-150 ms: no randomness at all."""
    assert randomized_election_timeout(Timing(0.15, 0.15), 0.7) == 0.15


def test_a_request_is_given_up_before_the_shortest_election_timeout_is_over() -> None:
    """§5.1, §5.6: a retry must still come in time; and half a second is enough for any network."""
    assert Timing().rpc_timeout <= 0.150
    assert Timing(3, 6, 2).rpc_timeout <= 0.5
