"""Fig. 10: switching directly from one configuration to another is unsafe (§6). Played without the rule, then with it.

The rule is `begin_joint_consensus_if_caught_up`, which appends C_old,new. What stands for it here appends C_new.
"""

from __future__ import annotations

from unittest import mock

from raft_threads import election, invariants, membership
from raft_threads.companion.figures.configurations import legend, tracks_of_servers
from raft_threads.companion.figures.scene import Figure, Scene, Scenes, Stop
from raft_threads.companion.figures.timeline import draw_timeline
from raft_threads.companion.figures.words import FIVE, stand
from raft_threads.configuration import Configuration
from raft_threads.invariants import InvariantViolation
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.run_quietly import unlogged
from raft_threads.state import Role, State

OLD = ("S1", "S2", "S3")
TERM = 2


def play() -> Scenes:
    """Add S4 and S5 to three servers without C_old,new, then with it; in both, S1 and S5 stand for the same term."""
    yield from play_without_the_rule()
    yield from play_with_the_rule()


def play_without_the_rule() -> Scenes:
    """C_new directly: two leaders in one term."""
    unchecked = mock.patch.object(invariants, "check_new_configuration", lambda leader, entry: None)
    directly = mock.patch.object(membership, "begin_joint_consensus_if_caught_up", switch_directly)
    with unchecked, directly, SimulatedCluster(FIVE, bootstrap=OLD) as cluster:
        add_two_servers(cluster)
        yield Scene(
            "Without the rule: S3, which leads term 1, appends C_new at once",
            draw(cluster, {}),
            "S4 and S5 have C_new, S1 and S2 have not heard of it yet: servers switch at different times.",
            [Stop(switch_directly, "state.catch_up")],
            cluster,
        )
        found = stand_in_one_term(cluster)
        yield Scene(
            f"Without the rule: two leaders in term {TERM}",
            [*draw(cluster, parts(cluster)), "", "The simulator ends this run:", f"  {found}"],
            "S1 and S2 are a majority of C_old, as far as they know. S3, S4 and S5 are one of C_new. Nobody has voted "
            "twice, and yet there are two leaders, which can commit different entries at the same index.",
            [Stop(election.handle_request_vote_reply, "reply.vote_granted"), Stop(election.become_leader)],
            cluster,
        )


def play_with_the_rule() -> Scenes:
    """C_old,new first: the same votes elect one leader."""
    with SimulatedCluster(FIVE, bootstrap=OLD) as cluster:
        add_two_servers(cluster)
        found = stand_in_one_term(cluster)
        assert found is None, found
        yield Scene(
            f"With the rule: the same votes elect one leader in term {TERM}",
            draw(cluster, parts(cluster)),
            "S3, S4 and S5 know of C_old,new: who has it needs a majority of C_new and one of C_old as well. S5 has "
            "the first, and of C_old only S3. S1 and S2 still go by C_old, and elect S1; it had to be one of the two.",
            [
                Stop(membership.begin_joint_consensus_if_caught_up, "state.catch_up"),
                Stop(election.handle_request_vote_reply, "state.configuration.is_joint"),
            ],
            cluster,
        )


def switch_directly(state: State) -> None:
    """What the figure warns of: append C_new, once the new servers have caught up, without C_old,new before it."""
    catch_up = state.catch_up
    if catch_up is not None and len(catch_up.caught_up) == len(catch_up.learners):
        state.catch_up = None
        membership.append_configuration(state, Configuration(catch_up.new_members))


def add_two_servers(cluster: SimulatedCluster) -> None:
    """S3 leads S1 and S2, and begins to add S4 and S5; what it appends for that reaches only those two."""
    cluster.elect("S3")
    cluster.wait_until_applied_everywhere(OLD)
    cluster.run_for(0.020)
    cluster.partition(("S1", "S2"), ("S3", "S4", "S5"))
    cluster.begin_change(*FIVE, via="S3")
    cluster.run_until(
        lambda: all("S5" in cluster.state(server).configuration for server in ("S4", "S5")),
        "S4 and S5 know of the change",
    )
    cluster.run_for(0.040)


def stand_in_one_term(cluster: SimulatedCluster) -> object:
    """S5 stands and asks S3 and S4, S1 stands and asks S2; return what the simulator finds wrong with it, or None."""
    try:
        with unlogged():
            stand(cluster, "S5", "S3", "S4")
            cluster.run_for(0.020)
            stand(cluster, "S1", "S2")
    except InvariantViolation as violation:
        return violation
    return None


def parts(cluster: SimulatedCluster) -> dict[str, str]:
    """Return what each server does in the term that both stand for."""
    said = {}
    for server in FIVE:
        state = cluster.state(server)
        voters = ", ".join(each for each in FIVE if cluster.state(each).voted_for == server)
        if state.role is Role.FOLLOWER:
            said[server] = f"votes for {state.voted_for}"
        else:
            said[server] = f"{state.role.value}, term {state.current_term}, votes of {voters}"
    return said


def draw(cluster: SimulatedCluster, notes: dict[str, str]) -> list[str]:
    """Return the figure: along the time, which configuration each server goes by."""
    tracks = tracks_of_servers(cluster, notes)
    return [*legend(OLD, FIVE), "", *draw_timeline(tracks, 0.0, cluster.now, columns=33)]


FIGURE = Figure(
    "Switching directly from one configuration to another is unsafe",
    "§6",
    "two disjoint majorities when C_old,new is left out, and none with it (§6)",
    play,
    "§6 up to Fig. 11; `is_majority` in raft_threads/configuration.py, which counts the votes, and "
    "`begin_joint_consensus_if_caught_up` in raft_threads/membership.py.",
    "In the first half, servers append C_new where they should append C_old,new, and the simulator's own check that "
    "they do not is off. The second half runs as always.",
)
