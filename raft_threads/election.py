"""Leader election (§5.1, §5.2) and the election restriction (§5.4.1), a function a rule.

Read it beside Fig. 2: the RequestVote box and the rules for all servers, followers and candidates. Every function works
on plain state, never blocks, and is called with the lock held.
"""

from __future__ import annotations

from raft_threads.log import NO_OP, Log
from raft_threads.messages import AppendEntriesReply, InstallSnapshotReply, Reply, RequestVote, RequestVoteReply
from raft_threads.state import Role, State

# Terms (§5.1; Fig. 2, "All Servers")


def adopt_newer_term(state: State, term: int) -> None:
    """If an RPC request or reply carries a newer term, adopt it and become a follower (§5.1)."""
    if term > state.current_term:
        state.current_term = term
        state.voted_for = None
        state.leader_id = None
        become_follower(state)


def become_follower(state: State) -> None:
    """Return to follower state (Fig. 4). The vote stays: within one term it is never taken back (§5.2)."""
    state.role = Role.FOLLOWER
    state.votes = {}
    state.next_index = {}
    state.match_index = {}
    state.catch_up = None
    state.acknowledged_round = {}
    state.transfer_target = None
    state.pre_votes = None


def is_stale(state: State, term: int) -> bool:
    """Return whether `term` is older than ours; such a request is refused (§5.1)."""
    return term < state.current_term


# The voter (Fig. 2, "RequestVote RPC: Receiver implementation")


def disregards(request: RequestVote, hears_from_leader: bool) -> bool:
    """Return whether to disregard a RequestVote: neither its term counts nor is there a vote (§6).

    `hears_from_leader` says whether we have heard from a current leader within the minimum election timeout. Servers
    that were removed do not know it; without this rule they could depose one leader after the other. A candidate that
    the leader itself has told to stand is heard all the same (Diss. §3.10).
    """
    return hears_from_leader and not request.told_to_stand


def disregarding_reply(state: State) -> RequestVoteReply:
    """Return the answer to a RequestVote that is disregarded; it is of our own term, so it counts for nobody (§6)."""
    return RequestVoteReply(term=state.current_term, vote_granted=False)


def handle_request_vote(state: State, request: RequestVote) -> RequestVoteReply:
    """Answer a candidate (Fig. 2). The new term and vote must be on disk before the reply is sent."""
    adopt_newer_term(state, request.term)
    vote_granted = grants_vote(state, request)
    if vote_granted:
        state.voted_for = request.candidate_id
    return RequestVoteReply(term=state.current_term, vote_granted=vote_granted)


def grants_vote(state: State, request: RequestVote) -> bool:
    """Return whether the candidate gets our vote: rules 1 and 2 of the receiver (Fig. 2)."""
    return (
        not is_stale(state, request.term)
        and has_not_voted_for_another(state, request.candidate_id)
        and is_at_least_as_up_to_date(state.log, request.last_log_index, request.last_log_term)
    )


def has_not_voted_for_another(state: State, candidate_id: str) -> bool:
    """Return whether our vote of this term is still free, or already the candidate's (§5.2)."""
    return state.voted_for is None or state.voted_for == candidate_id


def is_at_least_as_up_to_date(log: Log, last_log_index: int, last_log_term: int) -> bool:
    """Return whether a candidate's log, known by its last entry, is at least as up-to-date as ours (§5.4.1).

    The later last term wins; with the same last term, the longer log does.
    """
    return (last_log_term, last_log_index) >= (log.last_term, log.last_index)


def restarts_election_timer(reply: Reply, request_term: int) -> bool:
    """Return whether a request that we answered so counts as hearing from a leader or candidate (Fig. 2, "Followers").

    An AppendEntries counts when it is from the current leader, even if its entries do not fit our log, and so does each
    chunk of a snapshot (Fig. 13). A RequestVote counts only when we granted it.
    """
    if isinstance(reply, (AppendEntriesReply, InstallSnapshotReply)):
        return reply.term == request_term
    return isinstance(reply, RequestVoteReply) and reply.vote_granted


# The candidate (Fig. 2, "Candidates")


def begin_election(state: State, told_to_stand: bool = False) -> None:
    """Start an election: a new term, candidate state, a vote for ourselves (§5.2).

    `told_to_stand` says whether a leader wants it so (Diss. §3.10); otherwise the election timeout has elapsed.

    The shell then saves term and vote, restarts the election timer, and sends RequestVote to all other servers.
    """
    state.current_term += 1
    state.role = Role.CANDIDATE
    state.leader_id = None
    state.voted_for = state.id
    state.votes = {state.id: True}
    state.pre_votes = None
    state.told_to_stand = told_to_stand


def may_stand(state: State) -> bool:
    """Return whether we may start elections: only as a server of the cluster, and not as leader (§6).

    Who is not in the configuration in force counts all the same while that is not known to be committed, if it was in
    the one before: it may be the only one that has C_new, and then nobody else can be elected (Diss. §4.2.2).
    """
    log = state.log
    may_be_rolled_back = log.configuration_index > state.commit_index
    return state.role is not Role.LEADER and (
        state.id in log.configuration
        or (may_be_rolled_back and state.id in log.configuration_at(log.configuration_index - 1))
    )


def vote_request(state: State) -> RequestVote:
    """Return the RequestVote that a candidate sends to every other server (Fig. 2)."""
    return RequestVote(
        term=state.current_term,
        candidate_id=state.id,
        last_log_index=state.log.last_index,
        last_log_term=state.log.last_term,
        told_to_stand=state.told_to_stand,
    )


def awaits_vote_of(state: State, peer: str) -> bool:
    """Return whether we must (still) ask `peer` for its vote; unanswered requests are retried (§5.1, §5.5)."""
    return state.role is Role.CANDIDATE and peer not in state.votes


def handle_request_vote_reply(state: State, peer: str, request: RequestVote, reply: RequestVoteReply) -> None:
    """Count `peer`'s answer to `request`, if it still matters (§5.2)."""
    adopt_newer_term(state, reply.term)
    if answers_our_candidacy(state, request, reply):
        state.votes.setdefault(peer, reply.vote_granted)
        become_leader_if_elected(state)


def answers_our_candidacy(state: State, request: RequestVote, reply: RequestVoteReply) -> bool:
    """Return whether the reply belongs to the election we are in now, and not to an earlier one (§5.2)."""
    return state.role is Role.CANDIDATE and state.current_term == request.term == reply.term


def become_leader_if_elected(state: State) -> None:
    """Become leader once a majority of the configuration in force has voted for us in this term (§5.2, §6)."""
    voters = {server for server, granted in state.votes.items() if granted}
    if state.role is Role.CANDIDATE and state.configuration.is_majority(voters):
        become_leader(state)


def become_leader(state: State) -> None:
    """Take up leadership: reinitialize next_index and match_index (Fig. 2), and open the term with a no-op (§8)."""
    state.role = Role.LEADER
    state.leader_id = state.id
    state.votes = {}
    state.incoming = None
    state.next_index = {peer: state.log.last_index + 1 for peer in state.peers}
    state.match_index = {peer: 0 for peer in state.peers}
    state.match_index[state.id] = state.log.saved_index
    append_no_op(state)


def append_no_op(state: State) -> None:
    """Append a blank entry of our term: committing it commits all that came before (§5.4.2, §8)."""
    state.log.append_new(state.current_term, NO_OP, b"")
