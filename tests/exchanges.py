"""Servers without threads that exchange messages: plain states, and the rules called in the order of a figure."""

from __future__ import annotations

from collections.abc import Iterable

from raft_threads import election, membership, replication
from raft_threads.configuration import Configuration, Member, Members, format_configuration
from raft_threads.log import CONFIGURATION, Log, LogEntry, SnapshotMetadata
from raft_threads.messages import AppendEntriesReply
from raft_threads.state import Role, State

Cluster = dict[str, State]


def members(*servers: str) -> Members:
    """Return `servers` as members that are found without addresses."""
    return tuple(Member(server) for server in servers)


def joint(old: Iterable[str], new: Iterable[str]) -> Configuration:
    """Return C_old,new of these servers."""
    return Configuration(members(*old), members(*new))


def configuration_entry(index: int, term: int, configuration: Configuration) -> LogEntry:
    """Return the entry that puts `configuration` into the log."""
    return LogEntry(index, term, CONFIGURATION, format_configuration(configuration))


def snapshot_up_to(index: int, term: int, configuration: Configuration) -> SnapshotMetadata:
    """Return what a snapshot says of the log that ends with this entry."""
    return SnapshotMetadata(index, term, configuration)


def begin_cluster(*servers: str, waiting: Iterable[str] = ()) -> Cluster:
    """Return a new cluster of `servers`, and with it servers that are `waiting` to be added."""
    cluster = {name: State(name, servers) for name in servers}
    cluster.update({name: State(name, ()) for name in waiting})
    return cluster


def save(*states: State) -> None:
    """Have the disks of `states` take all that they should hold."""
    for state in states:
        state.saved_term_and_vote = state.term_and_vote
        state.log.saved_start_index = state.log.start.last_included_index
        state.log.mark_saved(state.log.last_index, state.log.last_term)
        replication.record_own_disk(state)


def restart(cluster: Cluster, name: str) -> None:
    """Restart a server with what its disk holds: Fig. 2's persistent state."""
    old = cluster[name]
    log = Log([entry for entry in old.log.all_entries() if entry.index <= old.log.saved_index], old.log.start)
    cluster[name] = State(name, (), *old.saved_term_and_vote, log, commit_index=log.start.last_included_index)
    cluster[name].saved_term_and_vote = old.saved_term_and_vote


def stand(cluster: Cluster, name: str, *voters: str) -> bool:
    """Have a server's election timeout elapse, if it may stand, and let it ask `voters`; return whether it wins."""
    state = cluster[name]
    if not election.may_stand(state):
        return False
    election.begin_election(state)
    save(state)
    election.become_leader_if_elected(state)
    for voter in voters:
        request = election.vote_request(state)
        reply = election.handle_request_vote(cluster[voter], request)
        save(cluster[voter])
        election.handle_request_vote_reply(state, voter, request, reply)
    save(state)
    return state.role is Role.LEADER


def send(cluster: Cluster, leading: str, follower: str) -> AppendEntriesReply:
    """Have one AppendEntries go to `follower`, and its answer come back."""
    request = replication.append_entries_request(cluster[leading], follower, max_entries=100, max_bytes=100_000)
    reply = replication.handle_append_entries(cluster[follower], request)
    save(cluster[follower])
    replication.handle_append_entries_reply(cluster[leading], follower, request, reply)
    return reply


def replicate(cluster: Cluster, leading: str, *followers: str) -> None:
    """Have the leader, whose disk is quick, bring `followers` up to its log as it is now."""
    save(cluster[leading])
    for follower in followers:
        while cluster[leading].role is Role.LEADER:
            if send(cluster, leading, follower).success and not replication.has_entries_for(cluster[leading], follower):
                break


def begin_change(cluster: Cluster, leading: str, *new_servers: str) -> None:
    """Have the leader begin a change, and those that are new catch up at once; then C_old,new is in its log."""
    state = cluster[leading]
    membership.begin_change(state, members(*new_servers), now=0.0)
    assert state.catch_up is not None
    for learner in [member.id for member in state.catch_up.learners]:
        replicate(cluster, leading, learner)
        membership.record_catch_up(state, learner, now=0.0, election_timeout=0.15)
    membership.begin_joint_consensus_if_caught_up(state)
    save(state)


def configurations_in(log: Log) -> list[Configuration]:
    """Return the configuration that the log begins with, and those of its entries."""
    indexes = [entry.index for entry in log.all_entries() if entry.kind == CONFIGURATION]
    return [log.start.configuration, *(log.configuration_at(index) for index in indexes)]
