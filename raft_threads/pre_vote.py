"""Pre-Vote (Diss. §9.6): ask whether we would be elected, before a new term is begun. An extension, off by default.

A server that was cut off times out again and again, and comes back with a term that deposes the leader although nobody
needs a new one. With Pre-Vote its term does not grow while a majority would not vote for it. Every function works on
plain state, never blocks, and is called with the lock held.
"""

from __future__ import annotations

from raft_threads import election
from raft_threads.messages import PreVote, PreVoteReply
from raft_threads.state import Role, State


def begin_pre_vote(state: State) -> None:
    """Ask all other servers whether they would vote for us; a candidate gives up its election first.

    Neither term nor vote changes.
    """
    if state.role is Role.CANDIDATE:
        election.become_follower(state)
    state.pre_votes = {state.id: True}


def pre_vote_request(state: State) -> PreVote:
    """Return the PreVote for every other server: what our RequestVote would be."""
    return PreVote(
        term=state.current_term + 1,
        candidate_id=state.id,
        last_log_index=state.log.last_index,
        last_log_term=state.log.last_term,
    )


def awaits_pre_vote_of(state: State, peer: str) -> bool:
    """Return whether we must (still) ask `peer`."""
    return state.pre_votes is not None and peer not in state.pre_votes


def handle_pre_vote(state: State, request: PreVote, hears_from_leader: bool) -> PreVoteReply:
    """Say whether we would vote for the candidate. Nothing changes, so nothing has to be saved."""
    return PreVoteReply(term=state.current_term, vote_granted=would_grant_vote(state, request, hears_from_leader))


def would_grant_vote(state: State, request: PreVote, hears_from_leader: bool) -> bool:
    """Return whether we hear from no leader, and the candidate would have a newer term and an up-to-date log."""
    return (
        not hears_from_leader
        and request.term > state.current_term
        and election.is_at_least_as_up_to_date(state.log, request.last_log_index, request.last_log_term)
    )


def handle_pre_vote_reply(state: State, peer: str, request: PreVote, reply: PreVoteReply) -> None:
    """Count `peer`'s answer, if we are still asking the same."""
    election.adopt_newer_term(state, reply.term)
    if state.pre_votes is not None and request.term == state.current_term + 1:
        state.pre_votes.setdefault(peer, reply.vote_granted)


def would_be_elected(state: State) -> bool:
    """Return whether a majority would vote for us: now the election may begin."""
    if state.pre_votes is None:
        return False
    return state.configuration.is_majority({server for server, granted in state.pre_votes.items() if granted})
