"""Fig. 9: a majority that has accepted an entry and one that elects a later leader have a voter in common (§5.4.3)."""

from __future__ import annotations

from raft_threads import election, replication
from raft_threads.companion.figures.boxes import draw_terms, row_of
from raft_threads.companion.figures.scene import Figure, Scene, Scenes, Stop
from raft_threads.companion.figures.words import FIVE, bring_up, stand
from raft_threads.events import VoteDenied, VoteGranted
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role


def play() -> Scenes:
    """S1 commits an entry of term T with S2 and S3; S5 stands for term U with S3 and S4, in vain; then it gets it."""
    with SimulatedCluster(FIVE) as cluster:
        play_term_t(cluster)
        term_t = cluster.state("S1").current_term
        yield Scene(
            f"S1, leader for term T = {term_t}, commits a new entry",
            draw(cluster, term_t, {}),
            "S1, S2 and S3 have entry 2, S1's no-op (§8), on disk: a majority, so S1 has committed it. S4 and S5 have "
            "not heard of it.",
            [Stop(replication.advance_commit_index, "index_stored_on_majority(state) == 2")],
            cluster,
        )
        mark = cluster.stream.mark()
        cluster.connect_only("S3", "S4", "S5")
        stand(cluster, "S5", "S3", "S4")
        term_u = cluster.state("S5").current_term
        yield Scene(
            f"S5 asks S3 and S4 for their votes in term U = {term_u}",
            draw(cluster, term_t, answers(cluster, mark)),
            "With its own vote they would be a majority. S3 is in both majorities, as some server always is, and it is "
            f"the voter that the proof turns on: the entry that it has accepted in term {term_t} is newer than all "
            "that S5 has. It refuses, and S5 does not lead.",
            [Stop(election.is_at_least_as_up_to_date, f"log.last_term == {term_t}")],
            cluster,
        )
        yield play_the_only_way(cluster, term_t)


def play_term_t(cluster: SimulatedCluster) -> None:
    """Entry 1 is on all servers; entry 2 is of term T, and is committed by S1, S2 and S3."""
    cluster.elect("S2")
    cluster.wait_until_applied_everywhere()
    cluster.elect("S1")
    cluster.connect_only("S1", "S2", "S3")
    bring_up(cluster, "S1", "S2", "S3")


def play_the_only_way(cluster: SimulatedCluster, term_t: int) -> Scene:
    """S3, which has the entry, leads first, and brings it to S4 and S5; then S5 can be elected."""
    cluster.elect("S3")
    bring_up(cluster, "S3", "S4", "S5")
    mark = cluster.stream.mark()
    cluster.elect("S5")
    return Scene(
        "The only way: first S5 gets the entry",
        draw(cluster, term_t, answers(cluster, mark)),
        "S4 and S5 have elected S3 meanwhile, and got its log. Now S3 votes for S5 as well, which has entry 2. A later "
        "leader without it there can never be (Leader Completeness, Fig. 3).",
        [Stop(election.is_at_least_as_up_to_date, "log.last_index == last_log_index == 3")],
        cluster,
    )


def answers(cluster: SimulatedCluster, mark: int) -> dict[str, str]:
    """Return how servers have voted in S5's term since `mark`, by their own words."""
    candidate = cluster.state("S5")
    said = {"S5": "leads" if candidate.role is Role.LEADER else "votes for itself"}
    for granted in cluster.stream.events(VoteGranted, since=mark):
        if granted.state.term == candidate.current_term:
            said[granted.server] = f"votes for {granted.candidate}"
    for denied in cluster.stream.events(VoteDenied, since=mark):
        if denied.state.term == candidate.current_term:
            said[denied.server] = f"refuses {denied.candidate} (last term {candidate.log.last_term})"
    return said


def draw(cluster: SimulatedCluster, term_t: int, said: dict[str, str]) -> list[str]:
    """Return all logs, who has accepted an entry of `term_t`, and what each has `said` to S5."""
    rows = []
    for server in FIVE:
        state = cluster.state(server)
        has_it = term_t in cluster.terms_of(server)
        note = f"{'accepted entry 2' if has_it else '':<18}{said.get(server, '')}"
        rows.append(row_of(cluster, server, f"{server} {state.role.value}, term {state.current_term}", note))
    return draw_terms(rows)


FIGURE = Figure(
    "The voter that a commitment and a later election have in common",
    "§5.4.3",
    "who lacks a committed entry stands, and the voter in both majorities refuses (§5.4.3)",
    play,
    "§5.4.3; `grants_vote` in raft_threads/election.py.",
)
