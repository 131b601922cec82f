"""A leader that does not hear from a majority steps down (Diss. §6.2). An extension, off by default.

A leader that is cut off cannot commit anything, and does not know that it was replaced. If it steps down, its clients
look for another one instead of waiting. The same question answers whether a leader's own heartbeats keep it from voting
for others (§6). Every function works on plain state, never blocks, and is called with the lock held.
"""

from __future__ import annotations

from collections.abc import Mapping

from raft_threads import election
from raft_threads.state import Role, State


def hears_from_majority(state: State, answered_at: Mapping[str, float], since: float) -> bool:
    """Return whether a majority, we included, has answered at `since` (monotonic seconds) or later."""
    answered = {peer for peer, when in answered_at.items() if when >= since}
    return state.configuration.is_majority(answered | {state.id})


def last_contact_with_majority(state: State, answered_at: Mapping[str, float], now: float) -> float:
    """Return since when (monotonic seconds) no majority has answered; `now` if we need nobody else's answer."""
    return state.configuration.reached_by_majority({**answered_at, state.id: now})


def step_down_without_majority(state: State) -> None:
    """Return to follower state; clients are told that there is no leader (Diss. §6.2)."""
    if state.role is Role.LEADER:
        election.become_follower(state)
        state.leader_id = None
