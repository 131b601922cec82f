"""Rules left out: each break puts something in the place of a rule's function, for as long as a question needs it.

Many of them are the rule book's. What is lost then is not written down here: the quiz runs the servers and looks
(`properties.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Callable, Optional
from unittest import mock

from raft_threads import compaction, election, replication
from raft_threads.companion.breaks_of_elections import any_log_will_do, vote_again
from raft_threads.companion.breaks_of_logs import (
    commit_by_counting,
    commit_what_the_leader_has_committed,
    delete_nothing,
    take_entries_behind_anything,
)
from raft_threads.companion.breaks_of_snapshots_sent import (
    disagree_with_every_snapshot,
    keep_what_follows_whatever_it_is,
)
from raft_threads.companion.quiz import history
from raft_threads.configuration import Configuration
from raft_threads.disk import Disk
from raft_threads.log import Log, LogEntry
from raft_threads.state import State


@dataclass(frozen=True, eq=False)
class Break:
    """A rule left out: where its function is found, what is there instead, and how to say so.

    `rule` is the function to read, where that is another one. `servers`, the `weights` of steps, and the elections that
    come first (candidate and voter, by position) tell in which histories the rule is missed; nobody knows where.
    """

    said: str
    sections: str
    owner: Any
    name: str
    instead: Any
    rule: Optional[Callable[..., Any]] = None
    servers: int = 3
    weights: dict[str, int] = field(default_factory=dict)
    opening: tuple[tuple[int, int], ...] = ()

    @property
    def function(self) -> Callable[..., Any]:
        """The function that is the rule."""
        found: Callable[..., Any] = getattr(self.owner, self.name) if self.rule is None else self.rule
        return found


@contextmanager
def left_out(*broken: Break) -> Iterator[None]:
    """Leave rules out while the context lasts; the servers must be of this thread alone."""
    with ExitStack() as stack:
        for each in broken:
            stack.enter_context(mock.patch.object(each.owner, each.name, each.instead))
        yield


def deletes_whatever_comes_after(log: Log, entries: Sequence[LogEntry]) -> None:
    """Delete everything from the first entry of the message on, whether it conflicts or not."""
    if entries:
        log.delete_from(entries[0].index)


def half_is_enough(self: Configuration, agreeing: Any) -> bool:
    """Count half of the servers as a majority."""
    return 2 * sum(member.id in agreeing for member in self.members) >= len(self.members)


def forgets_the_vote(state: State) -> tuple[int, Optional[str], list[LogEntry]]:
    """Come back with the term and the log, but without the vote."""
    return state.current_term, None, state.log.all_entries()


def forgets_the_last_entry(state: State) -> tuple[int, Optional[str], list[LogEntry]]:
    """Come back without the newest entry, which the disk had not got yet when the server answered for it."""
    return state.current_term, state.voted_for, state.log.all_entries()[:-1]


USUAL = {"stand": 4, "command": 2, "send": 4}

ANY_LOG = Break(
    "A voter does not compare logs: every candidate's counts as good enough.", "§5.4.1",
    election, "is_at_least_as_up_to_date", any_log_will_do, weights=USUAL,
)
VOTES_TWICE = Break(
    "A voter does not look whether it has voted in this term already.", "§5.2",
    election, "has_not_voted_for_another", vote_again, weights=USUAL,
)
HALF = Break(
    "Half of the servers count as a majority.", "§5.2",
    Configuration, "is_majority", half_is_enough, servers=4, weights=USUAL,
)
COUNTS_OLD_TERMS = Break(
    "A leader commits what a majority stores without a look at the entry's term.", "§5.4.2",
    replication, "advance_commit_index", commit_by_counting, weights={"stand": 4, "send": 1, "one": 4},
    opening=((0, 1), (1, 2), (0, 2)),
)
NO_CONSISTENCY_CHECK = Break(
    "A follower takes entries whatever it has at prev_log_index.", "§5.3",
    replication, "matches_previous_entry", take_entries_behind_anything, weights=USUAL,
)
NO_DELETION = Break(
    "A follower deletes nothing, and appends what is longer than its log.", "§5.3",
    replication, "delete_conflicting_entries", delete_nothing, weights=USUAL,
)
ALWAYS_DELETES = Break(
    "A follower deletes all that follows prev_log_index, whether it conflicts or not.", "§5.3",
    replication, "delete_conflicting_entries", deletes_whatever_comes_after,
    weights={"stand": 2, "command": 2, "send": 4, "again": 4},
)
STALE_IS_NEW = Break(
    "A server does not refuse requests of older terms.", "§5.1",
    election, "is_stale", lambda state, term: False, weights=USUAL,
)
FORGETS_VOTE = Break(
    "voted_for is not on the disk, so a restarted server does not know whom it voted for.", "Fig. 2, persistent state",
    history, "disk_of", forgets_the_vote, rule=Disk.save, weights={"stand": 4, "restart": 3},
)
FORGETS_ENTRY = Break(
    "A server answers before its newest entry is on the disk, and loses it in a crash.", "Fig. 2, persistent state",
    history, "disk_of", forgets_the_last_entry, rule=Disk.save, weights={**USUAL, "restart": 3},
)
# Those that may cost one of the properties of Fig. 3.
LOSING = (
    ANY_LOG, VOTES_TWICE, HALF, COUNTS_OLD_TERMS, NO_CONSISTENCY_CHECK, NO_DELETION, ALWAYS_DELETES, STALE_IS_NEW,
    FORGETS_VOTE, FORGETS_ENTRY,
)

# Those that a follower's next step shows already.
COMMITS_WHAT_THE_LEADER_HAS = Break(
    "A follower takes over leader_commit as it is.", "§5.3",
    replication, "follow_leader_commit", commit_what_the_leader_has_committed,
)
NEVER_COMMITS = Break(
    "A follower does not look at leader_commit.", "§5.3",
    replication, "follow_leader_commit", lambda state, leader_commit, last_new: None,
)
ALWAYS_DISCARDS = Break(
    "A snapshot that comes replaces the whole log.", "Fig. 13, rule 6",
    compaction, "has_its_last_entry", disagree_with_every_snapshot,
)
NEVER_DISCARDS = Break(
    "What follows a snapshot is kept, whether it agrees or not.", "Fig. 13, rule 7",
    compaction, "install_snapshot", keep_what_follows_whatever_it_is,
)
OLD_SNAPSHOTS_ARE_NEW = Break(
    "A follower does not look whether it knows already what a snapshot holds.", "§7",
    compaction, "is_known_already", lambda state, request: False,
)
