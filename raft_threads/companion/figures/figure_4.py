"""Fig. 4: server states, and the transitions between them as they happen (§5.1)."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, Optional

from raft_threads import election, replication
from raft_threads.companion.figures.scene import Figure, Scene, Scenes, Stop
from raft_threads.events import BecameCandidate, BecameLeader, Event, Restarted, SteppedDown
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role
from raft_threads.timing import Timing

SERVERS = ("S1", "S2", "S3")
FOLLOWER, CANDIDATE, LEADER = Role.FOLLOWER, Role.CANDIDATE, Role.LEADER

# The arrows of the figure: from which state (None: from nothing) to which, and what stands beside them.
ARROWS = {
    (None, FOLLOWER): "starts up",
    (FOLLOWER, CANDIDATE): "times out, starts election",
    (CANDIDATE, CANDIDATE): "times out, new election",
    (CANDIDATE, LEADER): "receives votes from majority of servers",
    (CANDIDATE, FOLLOWER): "discovers current leader or new term",
    (LEADER, FOLLOWER): "discovers server with higher term",
}
# A number stands in the middle of each arrow, or above it.
DIAGRAM = """\
  starts up                    times out,
   {starts:^5}                    new election
     |                         {stands_again:^9}
     |                         .-------.
     v         times out,      v       |     receives votes from
+----------+ starts election +-----------+ majority of servers +--------+
|          | {stands:-^14}> |           | {wins:-^18}> |        |
| follower |                 | candidate |                     | leader |
|          | <{gives_up:-^14} |           |                     |        |
+----------+    discovers    +-----------+                     +--------+
     ^       current leader                                         |
     |        or new term                                           |
     '{steps_down:-^62}'
                   discovers server with higher term"""
NAMES = ("starts", "stands", "stands_again", "wins", "gives_up", "steps_down")


class Transition(NamedTuple):
    """What `server` did at `when` (seconds), and the term that it was in then; `came_from` is None at a start."""

    when: float
    server: str
    came_from: Optional[Role]
    went_to: Role
    term: int


def play() -> Scenes:
    """An election, a server that is cut off and stands in vain, and what its newer term does to the others."""
    with SimulatedCluster(SERVERS, timing=Timing(0.150, 0.300, 0.050)) as cluster:
        leader = cluster.wait_for_leader()
        yield Scene(
            f"The servers start, and {leader} is elected",
            draw(cluster, 0),
            "Every server starts as a follower. The first whose election timeout elapses becomes a candidate, and with "
            "the votes of a majority leader. The numbers in the arrows say how often each was taken.",
            [Stop(election.begin_election), Stop(election.become_leader)],
            cluster,
        )
        mark = cluster.stream.mark()
        lonely = next(server for server in SERVERS if server != leader)
        cluster.isolate(lonely)
        cluster.put("x", "1", via=leader)
        cluster.run_until(lambda: len(cluster.stream.events(BecameCandidate, lonely)) == 3, f"{lonely} stands thrice")
        yield Scene(
            f"{lonely} is cut off, and stands for election again and again",
            draw(cluster, mark),
            "Nobody answers it, so its timeout elapses once more, and the next election begins, with a newer term.",
            [Stop(election.begin_election, "state.role is Role.CANDIDATE")],
            cluster,
        )
        mark = cluster.stream.mark()
        cluster.heal()
        cluster.run_until(lambda: all_follow_another(cluster, leader), "there is a leader of a newer term")
        yield Scene(
            f"{lonely} is back, and its newer term goes round",
            draw(cluster, mark),
            f"{leader} learns of the newer term and steps down; so there has to be an election once more. A candidate "
            "that hears of a newer term, or from a leader of its own, gives up.",
            [
                Stop(election.adopt_newer_term, "term > state.current_term and state.votes"),
                Stop(replication.recognize_leader),
            ],
            cluster,
        )


def all_follow_another(cluster: SimulatedCluster, leader: str) -> bool:
    """Return whether all servers are in one term, and know who leads it: not `leader`."""
    states = [cluster.state(server) for server in SERVERS]
    known = {(state.current_term, state.leader_id) for state in states}
    return len(known) == 1 and states[0].leader_id not in (leader, None)


def transitions(cluster: SimulatedCluster, since: int = 0) -> list[Transition]:
    """Return the transitions in the order in which they happened, from position `since` of the events on."""
    roles: dict[str, Role] = {}
    found = []
    earlier = len(cluster.stream.events(Event)) - len(cluster.stream.events(Event, since=since))
    for position, event in enumerate(cluster.stream.events(Event)):
        if isinstance(event, (Restarted, BecameCandidate, BecameLeader, SteppedDown)):
            came_from = None if isinstance(event, Restarted) else roles[event.server]
            roles[event.server] = event.state.role
            if position >= earlier:
                found.append(Transition(event.when, event.server, came_from, event.state.role, event.state.term))
    return found


def draw(cluster: SimulatedCluster, mark: int) -> list[str]:
    """Return the figure, with how often each arrow was taken; below, the transitions since `mark`."""
    counts = Counter((each.came_from, each.went_to) for each in transitions(cluster))
    numbers = {name: f" {counts[arrow]} " for name, arrow in zip(NAMES, ARROWS)}
    lines = [*DIAGRAM.format_map(numbers).splitlines(), ""]
    for each in transitions(cluster, mark):
        what = ARROWS[each.came_from, each.went_to]
        lines.append(f"{each.when * 1000:5.0f} ms  {each.server} {what}: {each.went_to.value}, term {each.term}")
    return [line.rstrip() for line in lines]


FIGURE = Figure(
    "Server states",
    "§5.1",
    "the states of a server, and how often each arrow was taken (§5.1)",
    play,
    "§5.1, §5.2; raft_threads/election.py. Its `become_follower` is every arrow to the left.",
)
