"""Cluster membership changes by joint consensus (§6), a function a rule.

A change has three steps, each begun by the leader when the one before it is done:

    catch up    new servers get the log, and do not vote yet (Diss. §4.2.1)
    C_old,new   is appended: from then on nothing is decided without majorities of both (Fig. 11)
    C_new       is appended once C_old,new is committed; once it is committed itself, the change is over

Every server uses the latest configuration in its log, so nothing here has to tell followers: `Log.configuration` does.
Every function works on plain state, never blocks, and is called with the lock held.
"""

from __future__ import annotations

from raft_threads import election, replication
from raft_threads.configuration import Configuration, Member, Members, format_configuration, parse_configuration
from raft_threads.entry_format import BadLine
from raft_threads.log import CONFIGURATION
from raft_threads.state import CatchUp, Role, State

# How many rounds new servers have to catch up: if even the last took longer than an election timeout, they are too slow
# for the cluster (Diss. §4.2.1).
MAX_ROUNDS = 10


class ChangeRefused(Exception):
    """The cluster cannot be changed so, or not now; nothing has changed. The text says why in one line."""


# Catching up (§6, the first issue; Diss. §4.2.1)


def begin_change(state: State, new_members: Members, now: float) -> None:
    """Begin to change the cluster to `new_members`, at `now` (monotonic seconds); only a leader does so.

    Raises ChangeRefused when that cannot be.
    """
    refuse_impossible_change(state, new_members)
    learners = new_servers(state.configuration, new_members)
    state.catch_up = CatchUp(new_members, learners)
    follow_configuration(state)
    for learner in learners:
        begin_round(state, learner.id, 1, now)


def refuse_impossible_change(state: State, new_members: Members) -> None:
    """Raise ChangeRefused for a change while another is under way, and for one that makes no cluster, or no change."""
    if change_is_under_way(state):
        raise ChangeRefused("another change of the cluster is under way; wait until it is over")
    if not new_members:
        raise ChangeRefused("a cluster needs at least one server")
    if len({member.id for member in new_members}) < len(new_members):
        raise ChangeRefused("a server is named twice")
    if sorted(new_members) == sorted(state.configuration.members):
        raise ChangeRefused("the cluster has these servers already")
    try:
        parse_configuration(format_configuration(Configuration(new_members)))
    except BadLine as error:  # other servers could not read it in the log, and would refuse it for ever
        raise ChangeRefused(str(error)) from error


def change_is_under_way(state: State) -> bool:
    """Return whether servers are catching up, or the latest configuration is a joint one or not yet committed (§6).

    A new leader only knows that it is committed once it has committed an entry of its own term.
    """
    return (
        state.catch_up is not None
        or state.configuration.is_joint
        or state.log.configuration_index > state.commit_index
    )


def new_servers(configuration: Configuration, new_members: Members) -> tuple[Member, ...]:
    """Return those of `new_members` that are not in `configuration`: they have to catch up."""
    return tuple(member for member in new_members if member.id not in configuration)


def begin_round(state: State, learner: str, number: int, now: float) -> None:
    """Begin a round: it ends when `learner` stores what the log holds now (Diss. §4.2.1)."""
    assert state.catch_up is not None
    state.catch_up.round_of[learner] = number
    state.catch_up.goal_of[learner] = state.log.last_index
    state.catch_up.began_at[learner] = now


def record_catch_up(state: State, learner: str, now: float, election_timeout: float) -> float:
    """Note how far `learner` has come; return how many seconds a round took that has just ended, else -1.

    A round shorter than an `election_timeout` (seconds) shows that the learner keeps up (Diss. §4.2.1). Raises
    ChangeRefused, and gives the change up, when the last round was not.
    """
    catch_up = state.catch_up
    if catch_up is None or learner not in catch_up.goal_of or learner in catch_up.caught_up:
        return -1
    if state.match_index[learner] < catch_up.goal_of[learner]:
        return -1
    seconds = now - catch_up.began_at[learner]
    number = catch_up.round_of[learner]
    if seconds < election_timeout:
        catch_up.caught_up.add(learner)
    elif number < MAX_ROUNDS:
        begin_round(state, learner, number + 1, now)
    else:
        give_up_change(state)
        raise ChangeRefused(f"{learner} does not keep up with the cluster, after {MAX_ROUNDS} rounds; nothing changed")
    return seconds


def give_up_change(state: State) -> None:
    """Stop replicating to the new servers; the cluster stays as it is (§6)."""
    state.catch_up = None
    follow_configuration(state)


# Joint consensus (§6, Fig. 11)


def begin_joint_consensus_if_caught_up(state: State) -> None:
    """Append C_old,new once all new servers have caught up; it is in force from now on (§6)."""
    catch_up = state.catch_up
    if catch_up is None or not catch_up.caught_up.issuperset(learner.id for learner in catch_up.learners):
        return
    state.catch_up = None
    append_configuration(state, Configuration(state.configuration.members, catch_up.new_members))


def advance_change(state: State) -> None:
    """Take the steps that a leader's commit_index has made possible: to C_new, and out of the way (§6)."""
    leave_joint_consensus_if_committed(state)
    step_down_if_removed(state)


def leave_joint_consensus_if_committed(state: State) -> None:
    """Append C_new once C_old,new is committed: neither C_old nor C_new can decide alone before that (§6).

    What C_old was still lacking may be on a majority of C_new already, so counting starts anew.
    """
    new_members = state.configuration.new_members
    if state.role is Role.LEADER and new_members is not None and latest_configuration_is_committed(state):
        append_configuration(state, Configuration(new_members))
        replication.advance_commit_index(state)


def step_down_if_removed(state: State) -> None:
    """Step down once C_new is committed and we are not in it (§6, the second issue)."""
    removed = state.id not in state.configuration
    if state.role is Role.LEADER and removed and latest_configuration_is_committed(state):
        election.become_follower(state)
        state.leader_id = None


def latest_configuration_is_committed(state: State) -> bool:
    """Return whether the configuration in force is known to be committed."""
    return state.log.configuration_index <= state.commit_index


def append_configuration(state: State, configuration: Configuration) -> None:
    """Append `configuration` to our log, and replicate to its servers from now on."""
    state.log.append_new(state.current_term, CONFIGURATION, format_configuration(configuration))
    follow_configuration(state)


def follow_configuration(state: State) -> None:
    """Have next_index and match_index for all servers that we now replicate to, and for no others (Fig. 2)."""
    for peer in state.peers:
        state.next_index.setdefault(peer, state.log.last_index + 1)
        state.match_index.setdefault(peer, 0)
    for gone in state.match_index.keys() - {state.id, *state.peers}:
        del state.next_index[gone], state.match_index[gone]
        state.acknowledged_round.pop(gone, None)
    if state.transfer_target not in state.peers:
        state.transfer_target = None  # who was removed cannot take over (Diss. §3.10)
