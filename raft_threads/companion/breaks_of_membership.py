"""Without the rules of §6: changes of the cluster."""

from __future__ import annotations

from typing import Any

from raft_threads import election, replication
from raft_threads.companion.breaking import Break, Schedule, Swap
from raft_threads.companion.breaks_of_logs import carries
from raft_threads.companion.directing import PAPER, begin, leads, let_pass, must, must_stay, restart, stand, when, win
from raft_threads.companion.figure_3 import LIVENESS
from raft_threads.configuration import Configuration, Members
from raft_threads.events import EntriesAppended
from raft_threads.log import NO_OP
from raft_threads.membership import append_configuration, follow_configuration
from raft_threads.messages import AppendEntries, AppendEntriesReply, RequestVote
from raft_threads.server_invariants import ELECTION_SAFETY, LEADER_COMPLETENESS
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role, State

_append_entries_request = replication.append_entries_request

FIVE = ("n1", "n2", "n3", "n4", "n5")
THREE_OF_FIVE = {"bootstrap": ["n1", "n2", "n3"]}


def uses(cluster: SimulatedCluster, server: str, *servers: str) -> bool:
    """Return whether `server` uses the configuration of `servers`, and not a joint one."""
    configuration = cluster.state(server).configuration
    return not configuration.is_joint and set(configuration.servers) == set(servers)


# From C_old to C_new by way of C_old,new


def go_directly_to_the_new_configuration(state: State) -> None:
    """Append C_new once the new servers have caught up."""
    catch_up = state.catch_up
    if catch_up is not None and catch_up.caught_up.issuperset(learner.id for learner in catch_up.learners):
        state.catch_up = None
        append_configuration(state, Configuration(catch_up.new_members))


def leave_at_once(state: State) -> None:
    """Append C_new as soon as C_old,new is in the log."""
    new_members = state.configuration.new_members
    if state.role is Role.LEADER and new_members is not None:
        append_configuration(state, Configuration(new_members))
        replication.advance_commit_index(state)


def count_both_sets_as_one(self: Configuration) -> tuple[Members, ...]:
    """Take the servers of both sets together."""
    together = {member.id: member for members in (self.members, self.new_members or ()) for member in members}
    return (tuple(together.values()),)


def keep_quiet_about(cluster: SimulatedCluster, follower: str, index: int, to: str) -> None:
    """Hold what `follower` answers to AppendEntries, once it has an entry with that index."""

    def has_it(event: Any) -> bool:
        return isinstance(event, EntriesAppended) and event.server == follower and event.entries[-1].index >= index

    def hold() -> None:
        cluster.network.hold(follower, to, lambda message: isinstance(message, AppendEntriesReply))

    when(cluster, has_it, hold)


def two_halves(cluster: SimulatedCluster) -> str:
    """Fig. 10: n1 n2 n3 become n1 to n5, and only n3 n4 n5 know it yet; n1 and n4 stand in the same term."""
    begin(cluster, "n3")
    for follower in ("n1", "n2"):
        cluster.network.hold("n3", follower, lambda message: carries(2, message))
    for follower in ("n4", "n5"):
        keep_quiet_about(cluster, follower, 2, to="n3")
    cluster.begin_change(*FIVE, via="n3")
    cluster.run_until(
        lambda: min(cluster.state(each).log.last_index for each in ("n4", "n5")) > 1, "n4 and n5 have a configuration"
    )
    cluster.partition(["n1", "n2"], ["n3", "n4", "n5"])
    stand(cluster, "n1")
    stand(cluster, "n4")
    assert leads(cluster, "n1") and not leads(cluster, "n4")
    return "n1 was elected by C_old; n4 uses C_old,new, and lacked a majority of C_old."


# All of the log, to all servers of both


def send_entries_to_the_old_servers_only(
    state: State, peer: str, max_entries: int, max_bytes: int
) -> AppendEntries:
    """In joint consensus, send heartbeats to the servers of C_new."""
    configuration = state.configuration
    if configuration.is_joint and peer not in {member.id for member in configuration.members}:
        max_entries = 0
    return _append_entries_request(state, peer, max_entries, max_bytes)


def a_change_has_to_end(cluster: SimulatedCluster) -> str:
    """n1 n2 n3 become n1 n4 n5; all are up and connected."""
    begin(cluster, "n1")
    cluster.begin_change("n1", "n4", "n5", via="n1")
    must(cluster, lambda: uses(cluster, "n4", "n1", "n4", "n5"), "C_new is in force on n4", 0.03)
    return "C_old,new was committed, and then C_new."


def stand_only_as_a_server_of_the_new_configuration(state: State) -> bool:
    """In joint consensus, leave leadership to the servers of C_new."""
    configuration = state.configuration
    members = configuration.members if configuration.new_members is None else configuration.new_members
    return state.role is not Role.LEADER and state.id in {member.id for member in members}


def only_an_old_server_can_lead(cluster: SimulatedCluster) -> str:
    """n1 hands over to n2: only n1 has C_old,new when it crashes, and it starts again."""
    win(cluster, "n1")
    cluster.network.hold("n1", "n2", lambda message: carries(2, message))
    cluster.begin_change("n2", via="n1")
    cluster.run_until(lambda: bool(cluster.network.held("n1", "n2")), "C_old,new is sent to n2, and will be lost")
    cluster.run_for(0.01)
    cluster.crash("n1")
    let_pass(cluster, "n1", "n2")
    restart(cluster, "n1")
    cluster.time_out("n1")
    must(cluster, lambda: uses(cluster, "n2", "n2"), "somebody is elected, and the change goes on", 0.5)
    return "n1 was elected once more, and ended the change."


# In the log, and in force at once


def keep_the_configuration_to_ourselves(state: State, configuration: Configuration) -> None:
    """Use the configuration, and put a no-op into the log."""
    entry = state.log.append_new(state.current_term, NO_OP, b"")
    state.log._configurations.append((entry.index, configuration))
    follow_configuration(state)


def use_what_is_committed(self: State) -> Configuration:
    """Return the latest configuration that is known to be committed."""
    return self.log.configuration_at(max(self.commit_index, self.log.start.last_included_index))


def two_old_servers_restart(cluster: SimulatedCluster) -> str:
    """n1 n2 n3 have become n1 to n5. n1 and n2 start again, cut off; n3 n4 n5 commit an entry; n1 stands."""
    begin(cluster, "n3")
    cluster.change_members(*FIVE)
    cluster.run_until(lambda: min(cluster.state(each).commit_index for each in FIVE) >= 3, "all know C_new")
    return part_and_stand(cluster)


def part_and_stand(cluster: SimulatedCluster) -> str:
    """Have n1 and n2 start again without the others, and n1 stand."""
    for server in ("n1", "n2"):
        cluster.crash(server)
    cluster.partition(["n1", "n2"], ["n3", "n4", "n5"])
    cluster.put("x", "1", via="n3")
    restart(cluster, "n1", "n2")
    assert not any(stand(cluster, "n1") for _ in range(2)), "two of five are no majority"
    return "n1 knew that it takes three of five, and was not elected."


# New servers


def count_new_servers_too(state: State) -> int:
    """Return the highest index that as many servers store as make a majority, whichever these are."""
    stored = sorted(state.match_index.values(), reverse=True)
    return stored[len(state.configuration.members) // 2]


def a_learner_stores_an_entry(cluster: SimulatedCluster) -> str:
    """n1's entry 2 does not reach n2 and n3; it reaches n4, which is about to be added. Then n1 and n4 are cut off."""
    begin(cluster, "n1")
    for follower in ("n2", "n3"):
        cluster.network.hold("n1", follower, lambda message: carries(2, message))
    cluster.propose(b"x", via="n1")
    cluster.begin_change("n1", "n2", "n3", "n4", via="n1")
    cluster.run_until(lambda: cluster.state("n4").log.last_index >= 2, "n4 stores entry 2")
    cluster.run_for(0.01)
    cluster.partition(["n1", "n4"], ["n2", "n3"])
    win(cluster, "n2")
    return "n4 did not count, so entry 2 was not committed."


def begin_without_waiting(state: State) -> None:
    """Append C_old,new at once."""
    catch_up = state.catch_up
    if catch_up is not None:
        state.catch_up = None
        append_configuration(state, Configuration(state.configuration.members, catch_up.new_members))


def new_servers_are_down(cluster: SimulatedCluster) -> str:
    """n3 and n4 are to be added to n1 and n2, and are down; a client asks for something."""
    begin(cluster, "n1")
    for learner in ("n3", "n4"):
        cluster.crash(learner)
    cluster.begin_change("n1", "n2", "n3", "n4", via="n1")
    cluster.run_until(lambda: len(cluster.state("n1").peers) == 3, "n1 begins to replicate to n3 and n4")
    cluster.propose(b"x", via="n1")
    index = cluster.state("n1").log.last_index
    must(cluster, lambda: cluster.state("n1").commit_index >= index, "n1 and n2 commit the command", 0.3)
    return "The change had not begun, and n1 and n2 committed the command."


# The leader's own part


def step_down_before_it_is_committed(state: State) -> None:
    """Step down as soon as a configuration without us is in force."""
    if state.role is Role.LEADER and state.id not in state.configuration:
        election.become_follower(state)
        state.leader_id = None


def a_leader_hands_over(cluster: SimulatedCluster) -> str:
    """n1, alone so far, is to be replaced by n2; all are up and connected."""
    cluster.wait_for_leader()
    cluster.begin_change("n2", via="n1")
    must(cluster, lambda: uses(cluster, "n2", "n2"), "n2 has C_new", 0.5)
    return "n1 led until n2 had stored C_new, and stepped down then."


def count_the_leader_too(state: State) -> int:
    """Return the highest index that as many servers store as make a majority, the leader always among them."""
    configuration = state.configuration
    stored = []
    for members in filter(None, (configuration.members, configuration.new_members)):
        counted = {member.id for member in members} | {state.id}
        stored.append(sorted((state.match_index[each] for each in counted), reverse=True)[len(members) // 2])
    return min(stored)


def a_removed_leader_commits(cluster: SimulatedCluster) -> str:
    """n1 n2 n3 become n2 n3 n4. n1 leads that; its entry 4, after C_new, reaches n2 alone. n3 and n4 go on."""
    begin(cluster, "n1")
    network = cluster.network
    network.hold("n1", "n2", lambda message: carries(3, message))
    for follower in ("n3", "n4"):
        keep_quiet_about(cluster, follower, 3, to="n1")
    cluster.begin_change("n2", "n3", "n4", via="n1")
    cluster.run_until(
        lambda: cluster.state("n3").log.last_index >= 3 <= cluster.state("n4").log.last_index, "n3 and n4 have C_new"
    )
    cluster.cut_one_way([(one, other) for one in ("n1", "n2") for other in ("n3", "n4")])
    cluster.propose(b"x", via="n1")
    cluster.run_until(lambda: any(carries(4, message) for message in network.held("n1", "n2")), "n1 tries again")
    network.release("n1", "n2", len(network.held("n1", "n2")) - 1)
    cluster.run_for(0.01)
    cluster.partition(["n1", "n2"], ["n3", "n4"])
    win(cluster, "n3")
    return "n1 did not count itself, so neither C_new nor what followed was committed by n1 and n2."


def listen_to_every_candidate(request: RequestVote, hears_from_leader: bool) -> bool:
    """Take every candidate seriously."""
    return False


def a_server_does_not_know_that_it_was_removed(cluster: SimulatedCluster) -> str:
    """One of four servers is cut off while it is removed, and comes back; it gets no heartbeats, and times out."""
    leader = cluster.wait_for_leader()
    removed = next(server for server in cluster.servers if server != leader)
    cluster.isolate(removed)
    cluster.change_members(*(server for server in cluster.servers if server != removed))
    term = cluster.state(leader).current_term
    cluster.heal()
    must_stay(
        cluster,
        lambda: leads(cluster, leader) and cluster.state(leader).current_term == term,
        f"everybody hears from {leader}, the leader of term {term}, and {removed}, which was removed, deposes it",
        1.0,
    )
    return f"Nobody listened to {removed}, and {leader} went on leading term {term}."


BREAKS = (
    Break(
        "S6.1",
        "The leader goes directly from C_old to C_new.",
        (
            Swap(
                "raft_threads.membership.begin_joint_consensus_if_caught_up", go_directly_to_the_new_configuration
            ),
        ),
        ELECTION_SAFETY,
        Schedule(two_halves, FIVE, THREE_OF_FIVE),
    ),
    Break(
        "S6.2",
        "In joint consensus, the servers of C_new get no entries.",
        (Swap("raft_threads.replication.append_entries_request", send_entries_to_the_old_servers_only),),
        LIVENESS,
        Schedule(a_change_has_to_end, FIVE, THREE_OF_FIVE),
    ),
    Break(
        "S6.3",
        "In joint consensus, only servers of C_new stand for election.",
        (Swap("raft_threads.election.may_stand", stand_only_as_a_server_of_the_new_configuration),),
        LIVENESS,
        Schedule(only_an_old_server_can_lead, ("n1", "n2"), {"bootstrap": ["n1"]}),
    ),
    Break(
        "S6.4",
        "In joint consensus, a majority of all servers together decides.",
        (Swap("raft_threads.configuration.Configuration._sets", count_both_sets_as_one),),
        ELECTION_SAFETY,
        Schedule(two_halves, FIVE, THREE_OF_FIVE),
    ),
    Break(
        "S6.5",
        "The leader keeps the new configuration to itself.",
        (Swap("raft_threads.membership.append_configuration", keep_the_configuration_to_ourselves),),
        LEADER_COMPLETENESS,
        Schedule(two_old_servers_restart, FIVE, THREE_OF_FIVE),
    ),
    Break(
        "S6.6",
        "A server uses the latest configuration that it knows to be committed.",
        (Swap("raft_threads.state.State.configuration", use_what_is_committed),),
        LEADER_COMPLETENESS,
        Schedule(two_old_servers_restart, FIVE, THREE_OF_FIVE),
    ),
    Break(
        "S6.7",
        "The leader appends C_new right after C_old,new.",
        (Swap("raft_threads.membership.leave_joint_consensus_if_committed", leave_at_once),),
        ELECTION_SAFETY,
        Schedule(two_halves, FIVE, THREE_OF_FIVE),
    ),
    Break(
        "S6.8",
        "New servers count for majorities while they catch up.",
        (Swap("raft_threads.replication.index_stored_on_majority", count_new_servers_too),),
        LEADER_COMPLETENESS,
        Schedule(a_learner_stores_an_entry, FIVE[:4], THREE_OF_FIVE),
    ),
    Break(
        "S6.9",
        "The change begins at once, and new servers have to catch up during joint consensus.",
        (Swap("raft_threads.membership.begin_joint_consensus_if_caught_up", begin_without_waiting),),
        LIVENESS,
        Schedule(new_servers_are_down, FIVE[:4], {"bootstrap": ["n1", "n2"]}),
    ),
    Break(
        "S6.10",
        "A leader that is not in C_new steps down when C_new is in its log.",
        (Swap("raft_threads.membership.step_down_if_removed", step_down_before_it_is_committed),),
        LIVENESS,
        Schedule(a_leader_hands_over, ("n1", "n2"), {"bootstrap": ["n1"], "timing": PAPER}),
    ),
    Break(
        "S6.11",
        "A leader counts itself, whether it is in the configuration or not.",
        (Swap("raft_threads.replication.index_stored_on_majority", count_the_leader_too),),
        LEADER_COMPLETENESS,
        Schedule(a_removed_leader_commits, FIVE[:4], THREE_OF_FIVE),
    ),
    Break(
        "S6.12",
        "Every candidate is listened to.",
        (Swap("raft_threads.election.disregards", listen_to_every_candidate),),
        LIVENESS,
        Schedule(a_server_does_not_know_that_it_was_removed, FIVE[:4], {"timing": PAPER}),
    ),
)
