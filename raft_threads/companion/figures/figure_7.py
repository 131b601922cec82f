"""Fig. 7: what followers' logs may look like when a leader comes to power; all of it a history of elections (§5.3).

The paper tells how the log of (f) came about. The other five have such a history as well, and this is one of them.
"""

from __future__ import annotations

from collections import Counter

from raft_threads import election, replication
from raft_threads.companion.figures.boxes import draw_terms, row_of
from raft_threads.companion.figures.scene import Figure, Scene, Scenes, Stop
from raft_threads.companion.figures.words import NO_OP_LEFT_OUT, bring_up, give, without_the_no_op
from raft_threads.events import BecameLeader, EntriesDeleted, ReplyReceived
from raft_threads.messages import AppendEntriesReply
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role

# Seven servers: the leader of term 8 and the followers (a) to (f).
FOLLOWERS = ("a", "b", "c", "d", "e", "f")
EVERYBODY = ("leader", *FOLLOWERS)


def play() -> Scenes:
    """Play seven terms, the election of term 8 and what its leader does with the followers' logs."""
    with without_the_no_op(), SimulatedCluster(EVERYBODY) as cluster:
        yield from play_how_it_came_about(cluster)
        mark = cluster.stream.mark()
        for server in ("c", "d", "e", "f"):
            cluster.restart(server)
        cluster.heal()
        cluster.elect("leader")
        yield Scene(
            "The figure: the leader of term 8 comes to power",
            draw(cluster, votes(cluster)),
            "(a) and (b) lack entries, (c) and (d) have more than the leader, (e) and (f) both. The leader knows "
            "nothing of that: its next_index is 11 for each of them. (c) and (d) refused it their votes, since their "
            "logs are better than its own (§5.4.1); it was elected by the others.",
            [Stop(election.is_at_least_as_up_to_date, "log.last_term > last_log_term"), Stop(election.become_leader)],
            cluster,
        )
        yield from play_repair(cluster, mark)


def play_how_it_came_about(cluster: SimulatedCluster) -> Scenes:
    """Play terms 1 to 7."""
    stops = [Stop(election.begin_election), Stop(replication.append_new_entries, "entries")]
    play_terms_1_to_3(cluster)
    yield Scene(
        "How it came about: terms 1 to 3",
        draw(cluster, {}),
        "All agree in term 1. Then (f) leads term 2, takes three commands and crashes before anybody has them; it "
        "restarts, leads term 3, takes five more, and crashes again.",
        stops,
        cluster,
    )
    play_term_4(cluster)
    yield Scene(
        "How it came about: term 4",
        draw(cluster, {}),
        "(e) leads. Its first command reaches everybody but (f), its second not (b) either, its last two nobody.",
        stops,
        cluster,
    )
    play_terms_5_to_7(cluster)
    yield Scene(
        "How it came about: terms 5 to 7",
        draw(cluster, {}),
        "The leader at the top leads term 5, (c) leads term 6, (d) term 7. Each brings to the others only some of what "
        "it has before it crashes or loses its term.",
        stops,
        cluster,
    )


def play_terms_1_to_3(cluster: SimulatedCluster) -> None:
    """Three entries for all; then (f) leads terms 2 and 3 and reaches nobody; in between it crashes."""
    cluster.elect("leader")
    add(cluster, "leader", 3, *FOLLOWERS)
    cluster.elect("f")
    cluster.isolate("f")
    add(cluster, "f", 3)
    cluster.crash("f")
    cluster.heal()
    cluster.restart("f")
    cluster.elect("f")
    cluster.isolate("f")
    add(cluster, "f", 5)
    cluster.crash("f")


def play_term_4(cluster: SimulatedCluster) -> None:
    """(e) leads, and reaches ever fewer."""
    cluster.connect_only("leader", "a", "b", "c", "d", "e")
    cluster.elect("e")
    add(cluster, "e", 1, "leader", "a", "b", "c", "d")
    cluster.connect_only("leader", "a", "c", "d", "e")
    add(cluster, "e", 1, "leader", "a", "c", "d")
    cluster.isolate("e")
    add(cluster, "e", 2)
    cluster.crash("e")


def play_terms_5_to_7(cluster: SimulatedCluster) -> None:
    """The leader of term 8 leads term 5 as well; (c) leads term 6, (d) term 7."""
    cluster.connect_only("leader", "a", "b", "c", "d")
    cluster.elect("leader")
    cluster.connect_only("leader", "a", "c", "d")
    add(cluster, "leader", 2, "a", "c", "d")
    cluster.elect("c")
    add(cluster, "c", 2, "leader", "a", "d")
    cluster.connect_only("leader", "c", "d")
    add(cluster, "c", 1, "leader", "d")
    cluster.isolate("c")
    add(cluster, "c", 1)
    cluster.crash("c")
    cluster.connect_only("leader", "a", "b", "d")
    cluster.elect("d")
    cluster.isolate("d")
    add(cluster, "d", 2)
    cluster.crash("d")


def add(cluster: SimulatedCluster, leader: str, count: int, *replicated_to: str) -> None:
    """Have `leader` take so many commands, and bring those servers that it reaches up to them."""
    give(cluster, leader, *["x=1"] * count)
    bring_up(cluster, leader, *replicated_to)


def play_repair(cluster: SimulatedCluster, mark: int) -> Scenes:
    """Let the leader bring all logs to agree with its own. `mark` is where the events of term 8 begin."""
    entries = cluster.state("leader").log.last_index
    cluster.run_until(
        lambda: all(cluster.state("leader").match_index[follower] == entries for follower in FOLLOWERS),
        "all followers have the leader's log",
    )
    yield Scene(
        "What the leader does: it finds where each log agrees with its own",
        draw(cluster, refusals(cluster, mark)),
        "Who lacks the leader's last entry refuses once for that; and for each term in which it is found to conflict, "
        "once more: the leader goes back past that term (§5.3, the last page). What (c) and (d) have beyond the "
        "leader's log is in nobody's way, and stays for now.",
        [
            Stop(replication.refusal_with_conflict),
            Stop(replication.index_to_try_next),
            Stop(replication.delete_conflicting_entries, "first_conflict(log, entries)"),
        ],
        cluster,
    )
    give(cluster, "leader", "x=8")
    bring_up(cluster, "leader", *FOLLOWERS)
    yield Scene(
        "What the leader does: its first own entry",
        draw(cluster, deletions(cluster, mark)),
        "The first command of term 8 takes index 11, and what (c) and (d) have there gives way. Now all logs are the "
        "same. The leader itself has deleted nothing: it never does (Leader Append-Only, Fig. 3).",
        [Stop(replication.delete_conflicting_entries, "first_conflict(log, entries) == 11")],
        cluster,
    )


def draw(cluster: SimulatedCluster, notes: dict[str, str]) -> list[str]:
    """Return the figure: the leader's log at the top, and `notes` beside the others'."""
    state = cluster.state("leader")
    leads = f"leads term {state.current_term}" if state.role is Role.LEADER else "leads later"
    rows = [row_of(cluster, "leader", "leader", leads)]
    for follower in FOLLOWERS:
        note = notes.get(follower, "" if follower in cluster.running else "is down")
        rows.append(row_of(cluster, follower, f"({follower})", note))
    return draw_terms(rows)


def votes(cluster: SimulatedCluster) -> dict[str, str]:
    """Return who has voted for the leader, as the servers know it themselves."""
    (elected,) = [event for event in cluster.stream.events(BecameLeader, "leader") if event.state.term == 8]
    voted = {follower: cluster.state(follower).voted_for == elected.server for follower in FOLLOWERS}
    return {follower: "voted for it" if yes else "did not vote" for follower, yes in voted.items()}


def refusals(cluster: SimulatedCluster, mark: int) -> dict[str, str]:
    """Return how often each follower has refused an AppendEntries since `mark`."""
    replies = [
        (event.peer, event.reply)
        for event in cluster.stream.events(ReplyReceived, "leader", mark)
        if isinstance(event.reply, AppendEntriesReply)
    ]
    counts = Counter(peer for peer, reply in replies if not reply.success)
    return {follower: f"refused {times(counts[follower])}" for follower in FOLLOWERS}


def deletions(cluster: SimulatedCluster, mark: int) -> dict[str, str]:
    """Return which entries each follower has deleted since `mark`."""
    return {
        event.server: f"deleted {event.first_index} to {event.last_index}"
        for event in cluster.stream.events(EntriesDeleted, since=mark)
    }


def times(count: int) -> str:
    """Return `never`, `once` or `twice`; beyond that, a number."""
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


FIGURE = Figure(
    "What followers' logs may look like when a leader comes to power",
    "§5.3",
    "the followers (a) to (f), by real elections, and how their logs are repaired (§5.3)",
    play,
    "§5.3 from Fig. 7 on; raft_threads/replication.py, `back_up_next_index` and what it calls.",
    NO_OP_LEFT_OUT,
)
