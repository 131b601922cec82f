"""Fig. 5: time is divided into terms, and each begins with an election (§5.1, §5.2)."""

from __future__ import annotations

from typing import Optional

from raft_threads import election
from raft_threads.companion.figures.scene import Figure, Scene, Scenes, Stop
from raft_threads.companion.figures.timeline import Span, Track, draw_timeline
from raft_threads.companion.figures.words import FIVE
from raft_threads.events import BecameCandidate, BecameLeader, Event, Restarted, VoteGranted
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.network import Weather
from raft_threads.simulation.policies import MILLISECOND
from raft_threads.timing import Timing

# As in §9.3: messages take so long that an election can be seen beside the time that follows it.
BROADCAST_NS = 15 * MILLISECOND
ELECTION, NORMAL = "#", "="
COLUMNS = 62


class Play:
    """The cluster, and when servers have crashed, which they cannot tell themselves."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.cluster = cluster
        self.crashes: list[tuple[float, str]] = []

    def crash(self, server: str) -> None:
        """Crash `server`."""
        self.crashes.append((self.cluster.now, server))
        self.cluster.crash(server)


def play() -> Scenes:
    """Two terms with a leader that crashes, one without a leader, and one more; timeouts are the paper's."""
    with SimulatedCluster(FIVE, timing=Timing(0.150, 0.300, 0.050), seed=1) as cluster:
        cluster.network.weather = Weather(BROADCAST_NS, BROADCAST_NS)
        play = Play(cluster)
        first, second = play_two_terms(play)
        yield Scene(
            f"{first} leads term 1 and crashes, {second} leads term 2",
            draw(play),
            "A term begins when the first server loses patience, becomes a candidate and counts its term up; the "
            "others come to know of it by messages, each at its own time. Once elected, one leader serves to the "
            "end of the term.",
            [Stop(election.begin_election), Stop(election.adopt_newer_term, "term > state.current_term")],
            cluster,
        )
        candidates = play_split_vote(play, second)
        yield Scene(
            "Term 3 ends without a leader",
            draw(play),
            f"{second} has crashed, and {' and '.join(candidates)} stand at the same time. Each gets two of five "
            "votes; nobody has a majority, and a vote is not taken back. (It is arranged here that both time out at "
            "once, and which of them each voter hears first.)",
            [Stop(election.has_not_voted_for_another, "state.voted_for not in (None, candidate_id)")],
            cluster,
        )
        cluster.wait_for_leader()
        cluster.run_for(0.3)
        (elected,) = cluster.stream.events(BecameLeader)[2:]
        yield Scene(
            f"Term {elected.state.term}: random timeouts decide",
            draw(play),
            f"{elected.server} was the first whose election timeout elapsed again, and had the votes before anybody "
            "else stood.",
            [Stop(election.become_leader)],
            cluster,
        )


def play_two_terms(play: Play) -> tuple[str, str]:
    """Return who leads term 1, and crashes, and who leads term 2."""
    cluster = play.cluster
    first = cluster.wait_for_leader()
    cluster.run_for(0.35)
    play.crash(first)
    second = cluster.wait_for_leader()
    cluster.run_for(0.15)
    cluster.restart(first)
    cluster.run_for(0.25)
    return first, second


def play_split_vote(play: Play, leader: str) -> list[str]:
    """The leader crashes, and two stand at once; of the other two each hears from one candidate first."""
    cluster = play.cluster
    play.crash(leader)
    one, other, voter, another_voter = cluster.running
    cluster.network.hold(one, another_voter)
    cluster.network.hold(other, voter)
    mark = cluster.stream.mark()
    cluster.time_out(one)
    cluster.time_out(other)
    cluster.run_until(lambda: len(cluster.stream.events(VoteGranted, since=mark)) == 2, "both have a vote")
    cluster.network.release(one, another_voter)
    cluster.network.release(other, voter)
    cluster.run_until(
        lambda: all(len(cluster.state(each).votes) == 4 for each in (one, other)), "both have heard from all"
    )
    return [one, other]


def draw(play: Play) -> list[str]:
    """Return the figure: the terms along the time; below, which term each server took it to be."""
    cluster = play.cluster
    blocks, labels = [], []
    for term, begin, elected, end in terms(cluster):
        labels.append(Span(begin, end, " ", f"term {term}" if elected is not None else f"t{term}"))
        blocks.append(Span(begin, elected if elected is not None else end, ELECTION))
        if elected is not None:
            blocks.append(Span(elected, end, NORMAL))
    tracks = [Track("", labels), Track("terms", blocks), Track("", [])]
    tracks += [Track(server, spans_of(play, server)) for server in FIVE]
    legend = [
        f"{ELECTION} election   {NORMAL} normal operation",
        "1, 2, ... the term that a server is in   . it is down",
    ]
    return [*legend, "", *draw_timeline(tracks, 0.0, cluster.now, COLUMNS)]


def terms(cluster: SimulatedCluster) -> list[tuple[int, float, Optional[float], float]]:
    """Return each term, when it began, when a leader was elected (None: never), and when it ended (seconds)."""
    begins: dict[int, float] = {}
    for event in cluster.stream.events(BecameCandidate):
        begins.setdefault(event.state.term, event.when)
    elected = {event.state.term: event.when for event in cluster.stream.events(BecameLeader)}
    ends = [*list(begins.values())[1:], cluster.now]
    return [(term, begin, elected.get(term), end) for (term, begin), end in zip(begins.items(), ends)]


def spans_of(play: Play, server: str) -> list[Span]:
    """Return since when `server` was in which term, and when it was down."""
    cluster, spans = play.cluster, []
    term = 0
    for event in cluster.stream.events(Event, server):
        if event.state.term != term or isinstance(event, Restarted):
            term = event.state.term
            spans.append(Span(event.when, cluster.now, str(term)))
    spans += [Span(when, cluster.now, ".") for when, crashed in play.crashes if crashed == server]
    return sorted(spans, key=lambda span: span.begin)


FIGURE = Figure(
    "Time is divided into terms, and each term begins with an election",
    "§5.1, §5.2",
    "terms along the time, elections, a split vote and a term without leader (§5.1)",
    play,
    "§5.1, §5.2; raft_threads/election.py, `adopt_newer_term` and `begin_election`.",
)
