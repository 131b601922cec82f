"""Leadership transfer (Diss. §3.10): a leader hands over to a server of its choice. It happens only on command.

The leader takes no more commands, brings the target's log up to its own, and tells it to stand for election at once.
Every function works on plain state, never blocks, and is called with the lock held.
"""

from __future__ import annotations

from typing import Optional

from raft_threads import election
from raft_threads.messages import TimeoutNow, TimeoutNowReply
from raft_threads.state import Role, State


class TransferRefused(Exception):
    """Leadership cannot be handed over so. The text says why in one line."""


def begin_transfer(state: State, target: Optional[str]) -> str:
    """Begin to hand over to `target`, or to who has most of our log; return to whom. Raises TransferRefused."""
    target = target or most_up_to_date_follower(state)
    refuse_impossible_transfer(state, target)
    state.transfer_target = target
    state.target_told = False
    return target


def most_up_to_date_follower(state: State) -> str:
    """Return the follower that stores most of our log, of those in the configuration. Raises TransferRefused."""
    followers = [server for server in state.configuration.servers if server != state.id]
    if not followers:
        raise TransferRefused("there is no other server to hand over to")
    return max(followers, key=lambda server: state.match_index[server])


def refuse_impossible_transfer(state: State, target: str) -> None:
    """Raise TransferRefused when `target` cannot be elected, leads already, or another transfer is under way."""
    if target == state.id:
        raise TransferRefused(f"{target} is the leader already")
    if target not in state.configuration:
        servers = ", ".join(state.configuration.servers)
        raise TransferRefused(f"{target} is not one of the cluster's servers: {servers}")
    if state.transfer_target is not None:
        raise TransferRefused(f"leadership is being handed over to {state.transfer_target}")


def takes_commands(state: State) -> bool:
    """Return whether we lead and are not handing over: then the target could never catch up."""
    return state.role is Role.LEADER and state.transfer_target is None


def timeout_now_is_due(state: State, peer: str) -> bool:
    """Return whether `peer` is to take over, stores all of our log, and has not been told."""
    return (
        state.role is Role.LEADER
        and state.transfer_target == peer
        and not state.target_told
        and state.match_index[peer] == state.log.last_index
    )


def timeout_now_request(state: State) -> TimeoutNow:
    """Return the request that makes the target stand."""
    return TimeoutNow(term=state.current_term, leader_id=state.id)


def handle_timeout_now(state: State, request: TimeoutNow) -> TimeoutNowReply:
    """Answer a leader that hands over to us; see `is_to_stand`."""
    election.adopt_newer_term(state, request.term)
    return TimeoutNowReply(term=state.current_term)


def is_to_stand(state: State, request: TimeoutNow) -> bool:
    """Return whether `request` is of the present term, and we may stand."""
    return not election.is_stale(state, request.term) and election.may_stand(state)


def handle_timeout_now_reply(state: State, peer: str, request: TimeoutNow, reply: TimeoutNowReply) -> None:
    """Note that the target has been told."""
    election.adopt_newer_term(state, reply.term)
    if state.transfer_target == peer and state.current_term == request.term:
        state.target_told = True


def give_up_transfer(state: State) -> None:
    """Go on as leader: the target did not take over in time."""
    state.transfer_target = None
