"""Linearizable reads without writing to the log (§8; Diss. §6.4), a function a rule.

Nobody who was deposed may answer: after a read has arrived, a majority must still answer us as leader. And nobody may
answer with less than was committed when the read arrived. Neither needs a clock. Every function works on plain state,
never blocks, and is called with the lock held.
"""

from __future__ import annotations

from raft_threads.state import Role, State


def begin_read(state: State) -> int:
    """Begin a read; return the number of the round of heartbeats that it needs, which has not been sent yet (§8).

    All reads that wait when a heartbeat leaves are confirmed by its answer: that of a later round counts for them too.
    """
    state.read_round += 1
    return state.read_round


def read_index(state: State) -> int:
    """Return the index up to which must be applied before a read that arrives now is answered (§8).

    That is our commit_index, once an entry of our term is committed. Before that we may not know of all that earlier
    leaders have committed; but all of that is before the first entry of our own term: the no-op, if there is one yet.
    """
    if state.log.term_at(state.commit_index) == state.current_term:
        return state.commit_index
    return state.log.first_index_of_term(state.current_term) or state.log.last_index + 1


def owes_heartbeat(state: State, peer: str) -> bool:
    """Return whether we lead, and some read waits for a round of heartbeats that `peer` has not answered (§8)."""
    return state.role is Role.LEADER and state.acknowledged_round.get(peer, 0) < state.read_round


def record_heartbeat_answer(state: State, peer: str, read_round: int) -> None:
    """Note that `peer` still takes us for the leader: it has answered what we sent when `read_round` was the newest."""
    state.acknowledged_round[peer] = max(read_round, state.acknowledged_round.get(peer, 0))


def leadership_is_confirmed(state: State, read_round: int) -> bool:
    """Return whether a majority has answered heartbeats of `read_round` or later: no newer leader was there then (§8).

    We are one of those, if we are in the configuration at all.
    """
    answered = {peer for peer, newest in state.acknowledged_round.items() if newest >= read_round}
    return state.role is Role.LEADER and state.configuration.is_majority(answered | {state.id})


def may_be_answered(state: State, index: int, read_round: int) -> bool:
    """Return whether a read that needs all up to `index` applied, and `read_round` confirmed, can be answered."""
    return state.last_applied >= index and leadership_is_confirmed(state, read_round)
