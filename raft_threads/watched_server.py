"""One server as its events tell of it: what it does to its log, what it says, and that it keeps its promises (Fig. 2).

What leaves a server binds it, across crashes too: "updated on stable storage before responding to RPCs".
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Optional

from raft_threads.configuration import Configuration, parse_configuration
from raft_threads.events import Glimpse
from raft_threads.log import CONFIGURATION, LogEntry, SnapshotMetadata
from raft_threads.messages import AppendEntries, Request, RequestVote
from raft_threads.server_invariants import (
    COMMITMENT,
    ELECTION_RESTRICTION,
    LEADER_APPEND_ONLY,
    LOG_MATCHING,
    MESSAGES,
    ONE_VOTE,
    PERSISTENCE,
    SERVER_STATE,
    InvariantViolation,
    check_step,
)
from raft_threads.state import Role

NEW_SERVER = Glimpse(0, Role.FOLLOWER, None, None, 0, 0, 0, 0)


def is_majority(configuration: Configuration, agreeing: Collection[str]) -> bool:
    """Return whether `agreeing` are a majority of each set (§6). Not asked of what is checked: that may be wrong."""
    sets = [configuration.members, *([] if configuration.new_members is None else [configuration.new_members])]
    return all(len([each for each in members if each.id in agreeing]) > len(members) / 2 for members in sets)


class WatchedServer:
    """One server, as its events tell of it."""

    def __init__(self, server: str) -> None:
        self.id = server
        self.state = NEW_SERVER
        self.started = False
        # What its events add up to. `state` is ahead of these while the events of one step are told.
        # The log is all that there ever was, although the server itself forgets what a snapshot has replaced (§7).
        self.log: list[LogEntry] = []
        self.start = SnapshotMetadata()
        self.configurations: list[tuple[int, Configuration]] = []
        self.lost_contact = False
        self.commit_index = 0
        self.last_applied = 0
        self.heard: Optional[Request] = None
        self.voters: set[str] = set()
        # What it has promised: the term that it has reached, whom it voted for in each term, and the last entry that
        # it said to be on its disk. With that entry, all before it are promised (Log Matching).
        self.promised_term = 0
        self.promised_votes: dict[int, str] = {}
        self.promised_index = 0

    @property
    def last_term(self) -> int:
        """The term of the last entry; 0 when the log is empty."""
        return self.log[-1].term if self.log else 0

    def term_at(self, index: int) -> int:
        """Return the term of the entry at `index`: 0 for index 0, -1, which no entry has, where there is none."""
        if index == 0:
            return 0
        return self.log[index - 1].term if 1 <= index <= len(self.log) else -1

    @property
    def configuration_index(self) -> int:
        """The index of the latest configuration in its log, or of the snapshot that holds it; 0 at the start."""
        return self.configurations[-1][0] if self.configurations else self.start.last_included_index

    @property
    def configuration(self) -> Configuration:
        """The configuration in force (§6)."""
        return self.configurations[-1][1] if self.configurations else self.start.configuration

    def begin_after(self, start: SnapshotMetadata) -> None:
        """Have the log begin after a snapshot, or with the configuration that the server was started with."""
        self.start = start
        later = [entry for entry in self.log[start.last_included_index:] if entry.kind == CONFIGURATION]
        self.configurations = [(entry.index, parse_configuration(entry.command)) for entry in later]

    def append(self, entry: LogEntry) -> None:
        """Append `entry`, whose configuration is in force from then on if it has one (§6)."""
        self.log.append(entry)
        if entry.kind == CONFIGURATION:
            self.configurations.append((entry.index, parse_configuration(entry.command)))

    def step_to(self, now: Glimpse) -> None:
        """Go on to the state `now`. Raises InvariantViolation when no step leads there."""
        check_step(self.id, self.state, now)
        self.state = now

    def check_log_is_told(self) -> None:
        """Check that the events have told of all that happened to the log: to be called when a step is over."""
        state = self.state
        if state.last_log_index == len(self.log) and state.last_log_term == self.last_term:
            return
        shrank = state.role is Role.LEADER and state.last_log_index <= len(self.log)
        raise InvariantViolation(
            LEADER_APPEND_ONLY if shrank else SERVER_STATE,
            f"the log of {self.id} ends with entry {state.last_log_index} of term {state.last_log_term}; "
            f"by all that was told it ends with entry {len(self.log)} of term {self.last_term}",
            [self.id],
            [state.last_log_index, len(self.log)],
        )

    def check_is_next(self, entry: LogEntry) -> None:
        """Check that `entry` may come after the last one of the log: the next index, no smaller term (§5.3, Fig. 6)."""
        if entry.index == len(self.log) + 1 and self.last_term <= entry.term <= self.state.term:
            return
        overwrites = self.state.role is Role.LEADER and entry.index <= len(self.log)
        raise InvariantViolation(
            LEADER_APPEND_ONLY if overwrites else LOG_MATCHING,
            f"{self.id}, in term {self.state.term}, puts entry {entry.index} of term {entry.term} "
            f"after entry {len(self.log)} of term {self.last_term}",
            [self.id],
            [entry.index, len(self.log)],
        )

    def check_election_restriction(self, candidate: str) -> None:
        """Check that the candidate just heard, which gets our vote, has a log as up-to-date as ours (§5.4.1)."""
        request = self.heard
        assert isinstance(request, RequestVote), "a vote is granted to whoever was just heard"
        if (request.last_log_term, request.last_log_index) < (self.last_term, len(self.log)):
            raise InvariantViolation(
                ELECTION_RESTRICTION,
                f"{self.id}, whose last entry is {len(self.log)} of term {self.last_term}, votes for "
                f"{candidate}, whose last entry is {request.last_log_index} of term {request.last_log_term}",
                [self.id, candidate],
                [len(self.log), request.last_log_index],
            )

    def check_was_told_of_commitment(self, index: int) -> None:
        """Check that a follower commits no more than what it just heard allows: AppendEntries, rule 5 (Fig. 2).

        That is the smaller of leader_commit and the index of the last new entry: beyond, it may have others' leftovers.
        """
        allowed, request = 0, self.heard
        if isinstance(request, AppendEntries):
            allowed = min(request.leader_commit, request.prev_log_index + len(request.entries))
        allowed = max(allowed, self.start.last_included_index)
        if index > allowed:
            raise InvariantViolation(
                COMMITMENT,
                f"{self.id} takes entries up to {index} for committed; what it heard allows that up to {allowed}",
                [self.id],
                [index, allowed],
            )

    def delete_from(self, index: int) -> None:
        """Forget the entry at `index` and all that follow it, and that they were promised: a leader wanted it so."""
        del self.log[index - 1:]
        self.configurations = [each for each in self.configurations if each[0] < index]
        self.promised_index = min(self.promised_index, index - 1)

    # Promises (Fig. 2, "Persistent state on all servers")

    def promise_vote(self, term: int, candidate: str) -> None:
        """Note that this server told `candidate` that it has its vote."""
        earlier = self.promised_votes.setdefault(term, candidate)
        if earlier != candidate:
            raise InvariantViolation(
                ONE_VOTE,
                f"{self.id} voted in term {term} for {earlier} and for {candidate}",
                [self.id, earlier, candidate],
            )

    def promise_entries(self, index: int, term: int) -> None:
        """Note that this server told a leader that its disk holds the entry at `index`, of `term`."""
        if self.term_at(index) != term:
            raise InvariantViolation(
                PERSISTENCE,
                f"{self.id} acknowledges entry {index} of term {term}, which it does not hold",
                [self.id],
                [index],
            )
        self.promised_index = max(self.promised_index, index)

    def check_promises_kept(self, now: Glimpse, entries: Sequence[LogEntry]) -> None:
        """Check that the disk gave back what was promised before a crash: `now` and `entries`."""
        if now.term < self.promised_term:
            raise InvariantViolation(
                PERSISTENCE,
                f"{self.id} restarts in term {now.term}; it has been in term {self.promised_term}",
                [self.id],
            )
        vote = self.promised_votes.get(now.term, now.voted_for)
        if vote != now.voted_for:
            raise InvariantViolation(
                PERSISTENCE,
                f"{self.id} restarts with its vote of term {now.term} for {now.voted_for}; it voted for {vote}",
                [self.id],
            )
        index = self.promised_index
        if index and (len(entries) < index or entries[index - 1].term != self.term_at(index)):
            raise InvariantViolation(
                PERSISTENCE,
                f"{self.id} restarts without entry {index} of term {self.term_at(index)}, which it has acknowledged",
                [self.id],
                [index],
            )

    def restart(self, now: Glimpse, entries: Sequence[LogEntry]) -> int:
        """Begin anew; return up to which index the log is what it was. The rest is left for the caller to append."""
        self.state = now
        self.started = True
        self.commit_index = now.last_included_index
        self.last_applied = 0
        self.lost_contact = False
        self.heard = None
        self.voters = set()
        kept = 0
        while kept < min(len(self.log), len(entries)) and self.log[kept] == entries[kept]:
            kept += 1
        del self.log[kept:]
        return kept


# What a server says (Fig. 2, the RPC boxes)


def check_request_vote(candidate: WatchedServer, request: RequestVote) -> None:
    """Check that a RequestVote says of the candidate what is so."""
    state = candidate.state
    last = (state.last_log_index, state.last_log_term)
    if (
        state.role is not Role.CANDIDATE
        or (request.term, request.candidate_id) != (state.term, candidate.id)
        or (request.last_log_index, request.last_log_term) != last
    ):
        raise InvariantViolation(
            MESSAGES,
            f"{candidate.id}, {state.role.value} in term {state.term} with last entry {last}, sends {request}",
            [candidate.id],
            [request.last_log_index],
        )


def check_append_entries(leader: WatchedServer, request: AppendEntries) -> None:
    """Check that an AppendEntries says of the leader what is so, and that its entries are those of the leader's log."""
    if leader.state.role is not Role.LEADER or (request.term, request.leader_id) != (leader.state.term, leader.id):
        raise InvariantViolation(
            MESSAGES,
            f"{leader.id}, {leader.state.role.value} in term {leader.state.term}, sends AppendEntries "
            f"as {request.leader_id} in term {request.term}",
            [leader.id],
        )
    previous, last = request.prev_log_index, request.prev_log_index + len(request.entries)
    if leader.term_at(previous) != request.prev_log_term or leader.log[previous:last] != list(request.entries):
        raise InvariantViolation(
            MESSAGES,
            f"{leader.id} sends entries after {previous} up to {last} that are not those of its log",
            [leader.id],
            [previous, last],
        )
    if request.leader_commit > leader.commit_index:
        raise InvariantViolation(
            MESSAGES,
            f"{leader.id} says that entry {request.leader_commit} is committed, and knows it of {leader.commit_index}",
            [leader.id],
            [request.leader_commit],
        )


def check_reply_is_of_the_term(server: WatchedServer, request_term: int, reply_term: int) -> None:
    """Check that a vote or a success answers a request of the same term: to an older one, both are refused (§5.1)."""
    if request_term != reply_term:
        raise InvariantViolation(
            MESSAGES, f"{server.id} agrees in term {reply_term} to a request of term {request_term}", [server.id]
        )
