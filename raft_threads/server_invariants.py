"""What must hold of one server's state, at any moment and from one to the next (Fig. 2, "State"; Fig. 4).

`watched_server.py` follows what the server does and says, and `invariants.py` compares the servers with each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from raft_threads.events import Glimpse, glimpse
from raft_threads.state import Role, State

# The properties of Fig. 3.
ELECTION_SAFETY = "Election Safety"
LEADER_APPEND_ONLY = "Leader Append-Only"
LOG_MATCHING = "Log Matching"
LEADER_COMPLETENESS = "Leader Completeness"
STATE_MACHINE_SAFETY = "State Machine Safety"
# What they rest on: §5.2; §5.4.1; §5.3 and §5.4.2; §6; §7; Fig. 2's State box; Fig. 2 and Fig. 4; its RPC boxes.
ONE_VOTE = "One Vote per Term"
ELECTION_RESTRICTION = "Election Restriction"
COMMITMENT = "Commitment"
MEMBERSHIP = "Membership"
SNAPSHOTS = "Snapshots"
PERSISTENCE = "Persistence"
SERVER_STATE = "Server State"
MESSAGES = "Messages"


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


# How the state of a server may change


def check_step(server: str, before: Glimpse, now: Glimpse) -> None:
    """Raise InvariantViolation unless a running `server` can get from the state `before` to `now`, in some steps."""
    for name, was, is_now in (
        ("term", before.term, now.term),
        ("commit_index", before.commit_index, now.commit_index),
        ("last_applied", before.last_applied, now.last_applied),
        ("last_included_index", before.last_included_index, now.last_included_index),
    ):
        if is_now < was:
            raise InvariantViolation(SERVER_STATE, f"the {name} of {server} falls from {was} to {is_now}", [server])
    if now.term == before.term:
        check_step_within_a_term(server, before, now)
    check_moment(server, now)


def check_step_within_a_term(server: str, before: Glimpse, now: Glimpse) -> None:
    """Check that vote and leader are set once in a term (§5.2), and that only a candidate's role changes (Fig. 4).

    A leader may stop leading within its term: after it was removed (§6), or without a majority (Diss. §6.2).
    """
    stops_leading = before.role is Role.LEADER and now.role is Role.FOLLOWER and now.leader_id is None
    if before.voted_for is not None and now.voted_for != before.voted_for:
        raise InvariantViolation(
            ONE_VOTE,
            f"{server} changes its vote of term {now.term} from {before.voted_for} to {now.voted_for}",
            [server],
        )
    if before.leader_id is not None and now.leader_id != before.leader_id and not stops_leading:
        raise InvariantViolation(
            ELECTION_SAFETY,
            f"{server} knew {before.leader_id} as leader of term {now.term}, and now {now.leader_id}",
            [server, before.leader_id, *filter(None, [now.leader_id])],
        )
    if before.role is not Role.CANDIDATE and now.role is not before.role and not stops_leading:
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
    if now.last_included_index > now.commit_index:
        raise InvariantViolation(
            SERVER_STATE,
            f"{server} has a snapshot of {now.last_included_index} entries, and knows of {now.commit_index} committed",
            [server],
            [now.last_included_index, now.commit_index],
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
    check_what_belongs_to_roles(state)
    if state.role is not Role.CANDIDATE and state.votes:
        raise InvariantViolation(SERVER_STATE, f"{state.id} counts votes as {state.role.value}", [state.id])
    voters = {state.id, *state.peers}
    if state.role is Role.CANDIDATE and not (state.votes.get(state.id) and state.votes.keys() <= voters):
        raise InvariantViolation(
            SERVER_STATE, f"{state.id} counts the votes of {', '.join(state.votes) or 'nobody'}", [state.id]
        )


def check_what_belongs_to_roles(state: State) -> None:
    """Check that only leaders have what only leaders need (§6, §8; Diss. §3.10), and only others receive (§7)."""
    leaders_only = {
        "catch_up": state.catch_up is not None,
        "acknowledged_round": bool(state.acknowledged_round),
        "transfer_target": state.transfer_target is not None,
    }
    others_only = {"incoming": state.incoming is not None, "pre_votes": state.pre_votes is not None}
    for name, is_there in (others_only if state.role is Role.LEADER else leaders_only).items():
        if is_there:
            raise InvariantViolation(SERVER_STATE, f"{state.id} has {name} as {state.role.value}", [state.id])


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
    servers = {leader.id, *leader.peers}
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
    stored = int(leader.configuration.reached_by_majority(leader.match_index))
    if stored > leader.commit_index and leader.log.term_at(stored) == leader.current_term:
        raise InvariantViolation(
            COMMITMENT,
            f"{leader.id} has not committed entry {stored} of its term {leader.current_term}, which a majority stores",
            [leader.id],
            [stored],
        )
