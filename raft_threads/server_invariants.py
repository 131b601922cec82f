"""What must hold of one server by itself: how its state may change (Fig. 2, Fig. 4), and that it keeps its promises.

What leaves a server binds it, across crashes too: "updated on stable storage before responding to RPCs" (Fig. 2).
`invariants.py` compares the servers with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from raft_threads.events import Glimpse, glimpse
from raft_threads.log import LogEntry
from raft_threads.messages import AppendEntries, Request, RequestVote
from raft_threads.state import Role, State

# The properties of Fig. 3.
ELECTION_SAFETY = "Election Safety"
LEADER_APPEND_ONLY = "Leader Append-Only"
LOG_MATCHING = "Log Matching"
LEADER_COMPLETENESS = "Leader Completeness"
STATE_MACHINE_SAFETY = "State Machine Safety"
# What they rest on: §5.2; §5.4.1; §5.3 and §5.4.2; Fig. 2's State box; Fig. 2 and Fig. 4; Fig. 2's RPC boxes.
ONE_VOTE = "One Vote per Term"
ELECTION_RESTRICTION = "Election Restriction"
COMMITMENT = "Commitment"
PERSISTENCE = "Persistence"
SERVER_STATE = "Server State"
MESSAGES = "Messages"

NEW_SERVER = Glimpse(0, Role.FOLLOWER, None, None, 0, 0, 0, 0)


class InvariantViolation(Exception):
    """A property that Raft guarantees does not hold.

    `property` is its name, `detail` what is wrong in one line, `servers` whom and `indexes` which entries it concerns.
    """

    def __init__(self, property: str, detail: str, servers: Sequence[str], indexes: Sequence[int] = ()) -> None:
        super().__init__(property, detail, servers, indexes)
        self.property = property
        self.detail = detail
        self.servers = tuple(servers)
        self.indexes = tuple(indexes)

    def __str__(self) -> str:
        return f"{self.property}: {self.detail}"


class WatchedServer:
    """One server, as its events tell of it."""

    def __init__(self, server: str) -> None:
        self.id = server
        self.state = NEW_SERVER
        self.started = False
        # What its events add up to. `state` is ahead of these while the events of one step are told.
        self.log: list[LogEntry] = []
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

    def delete_from(self, index: int) -> None:
        """Forget the entry at `index` and all that follow it, and that they were promised: a leader wanted it so."""
        del self.log[index - 1:]
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
        self.commit_index = 0
        self.last_applied = 0
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


# How the state of a server may change


def check_step(server: str, before: Glimpse, now: Glimpse) -> None:
    """Raise InvariantViolation unless a running `server` can get from the state `before` to `now`, in some steps."""
    for name, was, is_now in (
        ("term", before.term, now.term),
        ("commit_index", before.commit_index, now.commit_index),
        ("last_applied", before.last_applied, now.last_applied),
    ):
        if is_now < was:
            raise InvariantViolation(SERVER_STATE, f"the {name} of {server} falls from {was} to {is_now}", [server])
    if now.term == before.term:
        check_step_within_a_term(server, before, now)
    check_moment(server, now)


def check_step_within_a_term(server: str, before: Glimpse, now: Glimpse) -> None:
    """Check that vote and leader are set once in a term (§5.2), and that only a candidate's role changes (Fig. 4)."""
    if before.voted_for is not None and now.voted_for != before.voted_for:
        raise InvariantViolation(
            ONE_VOTE,
            f"{server} changes its vote of term {now.term} from {before.voted_for} to {now.voted_for}",
            [server],
        )
    if before.leader_id is not None and now.leader_id != before.leader_id:
        raise InvariantViolation(
            ELECTION_SAFETY,
            f"{server} knew {before.leader_id} as leader of term {now.term}, and now {now.leader_id}",
            [server, before.leader_id, *filter(None, [now.leader_id])],
        )
    if before.role is not Role.CANDIDATE and now.role is not before.role:
        raise InvariantViolation(
            SERVER_STATE,
            f"{server} turns from {before.role.value} to {now.role.value} within term {now.term}",
            [server],
        )


def check_moment(server: str, now: Glimpse) -> None:
    """Raise InvariantViolation unless `now` is a state that a server can be in."""
    if not now.last_applied <= now.commit_index <= now.last_log_index:
        raise InvariantViolation(
            SERVER_STATE,
            f"{server} has applied {now.last_applied} entries and knows {now.commit_index} to be committed, "
            f"of {now.last_log_index} in its log",
            [server],
            [now.last_applied, now.commit_index, now.last_log_index],
        )
    if now.last_log_term > now.term:
        raise InvariantViolation(
            SERVER_STATE,
            f"{server} is in term {now.term}, and its entry {now.last_log_index} is of term {now.last_log_term}",
            [server],
            [now.last_log_index],
        )
    if (now.role is Role.LEADER) != (now.leader_id == server):
        raise InvariantViolation(
            SERVER_STATE, f"{server} is {now.role.value} and takes {now.leader_id} for the leader", [server]
        )
    if now.role is not Role.FOLLOWER and now.voted_for != server:
        raise InvariantViolation(
            SERVER_STATE, f"{server} is {now.role.value} of term {now.term} and voted for {now.voted_for}", [server]
        )
    if now.role is Role.CANDIDATE and now.leader_id is not None:
        raise InvariantViolation(
            SERVER_STATE, f"{server} is candidate although it knows the leader {now.leader_id}", [server]
        )


# What no event carries


def check_state(state: State) -> None:
    """Raise InvariantViolation unless `state` is one that a server can be in. Called with the server's lock held.

    The cost is independent of the log's length, so it can follow every event.
    """
    check_moment(state.id, glimpse(state))
    check_disk(state)
    if state.role is Role.LEADER:
        check_followers_indexes(state)
        check_nothing_is_left_uncommitted(state)
    elif state.next_index or state.match_index:
        raise InvariantViolation(
            SERVER_STATE, f"{state.id} has next_index and match_index as {state.role.value}", [state.id]
        )
    if state.role is not Role.CANDIDATE and state.votes:
        raise InvariantViolation(SERVER_STATE, f"{state.id} counts votes as {state.role.value}", [state.id])
    if state.role is Role.CANDIDATE and not (state.votes.get(state.id) and state.votes.keys() <= set(state.servers)):
        raise InvariantViolation(
            SERVER_STATE, f"{state.id} counts the votes of {', '.join(state.votes) or 'nobody'}", [state.id]
        )


def check_disk(state: State) -> None:
    """Check that what the disk is said to hold is not ahead of what is in memory."""
    saved_term, saved_vote = state.saved_term_and_vote
    same_vote = saved_vote is None or saved_vote == state.voted_for
    if saved_term > state.current_term or (saved_term == state.current_term and not same_vote):
        raise InvariantViolation(
            SERVER_STATE,
            f"the disk of {state.id} holds term {saved_term} and vote {saved_vote}; "
            f"it is in term {state.current_term} with vote {state.voted_for}",
            [state.id],
        )
    if state.log.saved_index > state.log.last_index:
        raise InvariantViolation(
            SERVER_STATE,
            f"the disk of {state.id} holds {state.log.saved_index} entries, its log {state.log.last_index}",
            [state.id],
            [state.log.saved_index, state.log.last_index],
        )


def check_followers_indexes(leader: State) -> None:
    """Check a leader's next_index and match_index (Fig. 2); its own match_index is its disk's (Diss. §10.2.1)."""
    servers = set(leader.servers)
    if leader.match_index.keys() != servers or leader.next_index.keys() != servers - {leader.id}:
        raise InvariantViolation(
            SERVER_STATE,
            f"{leader.id} has match_index of {', '.join(sorted(leader.match_index)) or 'nobody'} "
            f"and next_index of {', '.join(sorted(leader.next_index)) or 'nobody'}",
            [leader.id],
        )
    own = leader.match_index[leader.id]
    if own > leader.log.saved_index:
        raise InvariantViolation(
            SERVER_STATE,
            f"{leader.id} counts itself up to entry {own}, its disk holds {leader.log.saved_index}",
            [leader.id],
            [own],
        )
    for peer, next_index in leader.next_index.items():
        match_index = leader.match_index[peer]
        if not 0 <= match_index < next_index <= leader.log.last_index + 1:
            raise InvariantViolation(
                SERVER_STATE,
                f"{leader.id} has match_index {match_index} and next_index {next_index} of {peer}, "
                f"and {leader.log.last_index} entries",
                [leader.id, peer],
                [match_index, next_index],
            )


def check_nothing_is_left_uncommitted(leader: State) -> None:
    """Check that the leader has committed what a majority stores, if that is of its own term (§5.3, §5.4.2)."""
    stored = sorted(leader.match_index.values(), reverse=True)[len(leader.servers) // 2]
    if stored > leader.commit_index and leader.log.term_at(stored) == leader.current_term:
        raise InvariantViolation(
            COMMITMENT,
            f"{leader.id} has not committed entry {stored} of its term {leader.current_term}, which a majority stores",
            [leader.id],
            [stored],
        )
