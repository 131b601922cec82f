"""Who won which term, and with which log, as far as events have told: for the checks of Fig. 3 (§5.2, §5.4)."""

from __future__ import annotations

from typing import NamedTuple

from raft_threads.known_entries import Committed, KnownEntries
from raft_threads.server_invariants import ELECTION_SAFETY, LEADER_COMPLETENESS, InvariantViolation
from raft_threads.watched_server import WatchedServer, is_majority


class Election(NamedTuple):
    """Who won a term, and the last entry that the winner's log had then."""

    leader: str
    last_log_index: int
    last_log_term: int


class KnownElections:
    """All elections that were won, by term. Every method raises InvariantViolation when a property is lost."""

    def __init__(self, entries: KnownEntries, committed: Committed) -> None:
        self._entries = entries
        self._committed = committed
        self._won: dict[int, Election] = {}
        self._newest_term = 0

    def note_win(self, server: WatchedServer, term: int) -> None:
        """Election Safety, and Leader Completeness: `server` is elected; its vote for itself counts."""
        if term in self._won:
            other = self._won[term].leader
            raise InvariantViolation(
                ELECTION_SAFETY, f"{other} and {server.id} were both elected in term {term}", [other, server.id]
            )
        server.promise_vote(term, server.id)
        voters = {server.id, *server.voters}
        if not is_majority(server.configuration, voters):
            raise InvariantViolation(
                ELECTION_SAFETY,
                f"{server.id} leads term {term} with the votes of {', '.join(sorted(voters))} only",
                [server.id],
            )
        self._won[term] = Election(server.id, len(server.log), server.last_term)
        self._newest_term = max(term, self._newest_term)
        self._check_is_complete(term, self._committed.index_in_terms_up_to(term - 1))

    def was_won_by(self, server: str, term: int) -> bool:
        """Return whether `server` was elected in `term`."""
        return term in self._won and self._won[term].leader == server

    def check_leads(self, leader: str, term: int, what: str, *witnesses: str) -> None:
        """Check that `leader` was elected in `term`; `what` is what somebody does who thinks so."""
        if not self.was_won_by(leader, term):
            elected = self._won[term].leader if term in self._won else "nobody"
            raise InvariantViolation(
                ELECTION_SAFETY, f"{what} as leader of term {term}; elected was {elected}", [leader, *witnesses]
            )

    def check_later_leaders(self, term: int, index: int) -> None:
        """Leader Completeness, when an old leader learns of a commitment after newer leaders were elected."""
        if term < self._newest_term:
            for later in self._won:
                if later > term:
                    self._check_is_complete(later, index)

    def _check_is_complete(self, term: int, index: int) -> None:
        """Leader Completeness: check that the log of who won `term` had the committed entries up to `index` then.

        It is enough to look at one of them: with that entry, all before it are the same (Log Matching). What the
        winner's log had at an index follows from its last entry, as each entry has only one that it can follow.
        """
        if index == 0:
            return
        leader, last_index, last_term = self._won[term]
        wanted = self._committed.term_at(index)
        if self._entries.term_in_log(index, last_index, last_term) != wanted:
            raise InvariantViolation(
                LEADER_COMPLETENESS,
                f"{leader} leads term {term} without entry {index} of term {wanted}, committed in an earlier term",
                [leader],
                [index],
            )
