"""Fig. 11: the timeline of a configuration change, drawn from when its entries were created and committed (§6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Optional

from raft_threads import election, membership
from raft_threads.companion.figures.configurations import legend, tracks_of_servers
from raft_threads.companion.figures.scene import Figure, Scene, Scenes, Stop
from raft_threads.companion.figures.timeline import Span, Track, draw_timeline
from raft_threads.companion.figures.words import FIVE
from raft_threads.configuration import parse_configuration
from raft_threads.events import (
    BecameLeader,
    CommitAdvanced,
    ConfigurationChanged,
    EntriesAppended,
    Event,
    EventKinds,
    SteppedDown,
)
from raft_threads.log import CONFIGURATION
from raft_threads.messages import AppendEntries
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role, State
from raft_threads.wire import Message

OLD, NEW = ("S1", "S2", "S3"), ("S3", "S4", "S5")
PAUSE = 0.080
COLUMNS = 50
CREATED, LATEST_COMMITTED, CAN_DECIDE = "- ", "=", "#"


class Moment(NamedTuple):
    """Who could decide alone from `when` on (seconds): the servers of C_old, those of C_new."""

    when: float
    old: bool
    new: bool


class Deciders:
    """An observer that looks after each event which servers can decide alone. Nobody moves meanwhile."""

    kinds: Optional[EventKinds] = frozenset(
        {BecameLeader, CommitAdvanced, ConfigurationChanged, EntriesAppended, SteppedDown}
    )

    def __init__(self) -> None:
        self.cluster: Optional[SimulatedCluster] = None
        self.moments: list[Moment] = []

    def observe(self, event: Event) -> None:
        """Note who could decide alone now."""
        if self.cluster is not None:
            old, new = can_decide_alone(self.cluster, OLD), can_decide_alone(self.cluster, NEW)
            self.moments.append(Moment(self.cluster.now, old, new))

    def spans(self, end: float, of_new: bool) -> list[Span]:
        """Return from when to when the servers of C_old could decide alone, or those of C_new."""
        ends = [moment.when for moment in self.moments[1:]] + [end]
        return [
            Span(moment.when, until, CAN_DECIDE)
            for moment, until in zip(self.moments, ends)
            if (moment.new if of_new else moment.old)
        ]


def can_decide_alone(cluster: SimulatedCluster, members: Sequence[str]) -> bool:
    """Return whether `members` are enough for a leader to commit, or could elect one, if nobody else answered."""
    states = [cluster.state(server) for server in cluster.servers]
    able = [state for state in states if state.id in members]
    commit = any(state.role is Role.LEADER and state.configuration.is_majority(members) for state in states)
    return commit or any(candidate.configuration.is_majority(would_vote_for(candidate, able)) for candidate in able)


def would_vote_for(candidate: State, voters: Sequence[State]) -> set[str]:
    """Return whose log is no better than the candidate's (§5.4.1)."""
    last_index, last_term = candidate.log.last_index, candidate.log.last_term
    return {each.id for each in voters if election.is_at_least_as_up_to_date(each.log, last_index, last_term)}


def play() -> Scenes:
    """S1 leads the change from S1, S2, S3 to S3, S4, S5, to which it does not belong; some messages are held back."""
    deciders = Deciders()
    with SimulatedCluster(FIVE, bootstrap=OLD, observers=[deciders]) as cluster:
        deciders.cluster = cluster
        cluster.elect("S1")
        cluster.wait_until_applied_everywhere(OLD)
        cluster.run_for(PAUSE)
        create_old_new(cluster)
        yield Scene(
            "The leader creates C_old,new, and sends it to all servers of both",
            draw(cluster, deciders),
            "Each server goes by C_old,new as soon as that is in its log. A majority of C_new has it; of C_old only S1 "
            "has, so S2 and S3 could still elect a leader by themselves.",
            [Stop(membership.begin_joint_consensus_if_caught_up, "state.catch_up and state.catch_up.caught_up")],
            cluster,
        )
        commit_old_new(cluster)
        yield Scene(
            "C_old,new is committed, and the leader creates C_new",
            draw(cluster, deciders),
            "It took a majority of C_old and one of C_new. Once S2 and S3 have it, C_old alone decides nothing any "
            "more; once the leader has created C_new, that alone does. There is no time when both could.",
            [Stop(membership.leave_joint_consensus_if_committed, "latest_configuration_is_committed(state)")],
            cluster,
        )
        commit_new(cluster)
        yield Scene(
            "C_new is committed: S1, which is not in it, has stepped down, and S4 leads",
            draw(cluster, deciders),
            "S1 has led to the end of the change without counting itself (§6, the second issue). S2 has not been told "
            "of C_new; it does not matter any more.",
            [Stop(membership.step_down_if_removed, "state.id not in state.configuration")],
            cluster,
        )


def create_old_new(cluster: SimulatedCluster) -> None:
    """S1 appends C_old,new once S4 and S5 have caught up; it reaches those two, and neither S2 nor S3 yet."""
    cluster.network.hold("S1", "S2")
    cluster.network.hold("S1", "S3")
    cluster.begin_change(*NEW, via="S1")
    cluster.run_until(
        lambda: all(cluster.state(server).configuration.is_joint for server in ("S4", "S5")), "S4 and S5 have C_old,new"
    )
    cluster.run_for(PAUSE)


def commit_old_new(cluster: SimulatedCluster) -> None:
    """C_old,new reaches S2 and S3; of C_new, which S1 then creates, nothing arrives yet."""
    for server in NEW:
        cluster.network.release("S1", server)
        cluster.network.hold("S1", server, carries_c_new)
    cluster.network.release("S1", "S2")
    cluster.run_until(lambda: not cluster.state("S1").configuration.is_joint, "S1 creates C_new")
    cluster.run_for(PAUSE)


def commit_new(cluster: SimulatedCluster) -> None:
    """C_new reaches its servers; S1 steps down, and S4 is elected."""
    for server in NEW:
        cluster.network.release("S1", server)
    cluster.run_until_event(SteppedDown, lambda event: event.server == "S1")
    cluster.run_for(PAUSE / 2)
    cluster.elect("S4")
    cluster.run_for(PAUSE / 2)


def carries_c_new(message: Message) -> bool:
    """Say whether a message brings C_new."""
    return isinstance(message, AppendEntries) and any(
        entry.kind == CONFIGURATION and not parse_configuration(entry.command).is_joint for entry in message.entries
    )


def draw(cluster: SimulatedCluster, deciders: Deciders) -> list[str]:
    """Return the figure, as far as it has come; below, what each server goes by, and what happened when."""
    tracks = [
        *tracks_of_configurations(cluster),
        Track("", []),
        Track("C_old decides alone", deciders.spans(cluster.now, of_new=False)),
        Track("C_new decides alone", deciders.spans(cluster.now, of_new=True)),
        Track("", []),
        *tracks_of_servers(cluster, {}),
    ]
    return [
        "- - created, not committed   === the latest one that is committed",
        "### can decide alone",
        *legend(OLD, NEW),
        "",
        *draw_timeline(tracks, 0.0, cluster.now, COLUMNS),
        "",
        *(f"{when * 1000:5.0f} ms  {what}" for when, what in told(cluster)),
    ]


def tracks_of_configurations(cluster: SimulatedCluster) -> list[Track]:
    """Return the figure's three lines: dashed from an entry's creation on, solid while it is the latest committed."""
    created = {event.configuration.is_joint: event for event in reversed(created_by_s1(cluster))}
    committed = {is_joint: committed_at(cluster, event.index) for is_joint, event in created.items()}
    until = {"C_old": committed.get(True), "C_old,new": committed.get(False), "C_new": None}
    tracks = [Track("C_old", [Span(0.0, until["C_old"] or cluster.now, LATEST_COMMITTED)])]
    for is_joint, name in ((True, "C_old,new"), (False, "C_new")):
        spans = []
        if is_joint in created:
            spans.append(Span(created[is_joint].when, committed[is_joint] or cluster.now, CREATED))
        if (since := committed.get(is_joint)) is not None:
            spans.append(Span(since, until[name] or cluster.now, LATEST_COMMITTED))
        tracks.insert(0, Track(name, spans))
    return tracks


def created_by_s1(cluster: SimulatedCluster) -> list[ConfigurationChanged]:
    """Return the configurations that the leader of the change has created."""
    return cluster.stream.events(ConfigurationChanged, "S1")


def committed_at(cluster: SimulatedCluster, index: int) -> Optional[float]:
    """Return when the leader of the change committed the entry `index` (seconds), None if it has not."""
    commits = cluster.stream.events(CommitAdvanced, "S1")
    return next((commit.when for commit in commits if commit.state.commit_index >= index), None)


def told(cluster: SimulatedCluster) -> list[tuple[float, str]]:
    """Return what happened, and when (seconds)."""
    story = []
    for event in created_by_s1(cluster):
        name = "C_old,new" if event.configuration.is_joint else "C_new"
        story.append((event.when, f"S1 creates {name} as entry {event.index}"))
        when = committed_at(cluster, event.index)
        if when is not None:
            story.append((when, f"S1 commits {name}"))
    story += [(event.when, "S1 steps down") for event in cluster.stream.events(SteppedDown, "S1")]
    story += [(event.when, "S4 is elected") for event in cluster.stream.events(BecameLeader, "S4")]
    return sorted(story, key=lambda each: each[0])


FIGURE = Figure(
    "The timeline of a configuration change",
    "§6",
    "C_old,new and C_new created and committed, and who can decide alone (§6)",
    play,
    "§6 from Fig. 11 on; raft_threads/membership.py from `begin_joint_consensus_if_caught_up` on.",
)
