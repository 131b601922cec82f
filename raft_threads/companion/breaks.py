"""How each rule is left out, by its id."""

from __future__ import annotations

from contextlib import AbstractContextManager

from raft_threads.companion import (
    breaks_of_clients,
    breaks_of_elections,
    breaks_of_logs,
    breaks_of_membership,
    breaks_of_snapshots,
    breaks_of_snapshots_sent,
    breaks_of_state,
)
from raft_threads.companion.breaking import Break, swapped
from raft_threads.companion.rules import RULES

_found = {
    each.rule: each
    for breaks in (
        breaks_of_state.BREAKS,
        breaks_of_elections.REQUEST_VOTE,
        breaks_of_elections.SERVERS,
        breaks_of_logs.APPEND_ENTRIES,
        breaks_of_logs.LEADERS,
        breaks_of_snapshots_sent.BREAKS,
        breaks_of_membership.BREAKS,
        breaks_of_snapshots.BREAKS,
        breaks_of_clients.BREAKS,
    )
    for each in breaks
}
# In the order of the book.
BREAKS: dict[str, Break] = {rule: _found[rule] for rule in RULES}


def broken(rule: str) -> AbstractContextManager[None]:
    """Leave a rule out, by its id, as long as the context is open: in all servers of this process."""
    return swapped(BREAKS[rule].swaps)
