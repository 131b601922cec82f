"""Shorter scenarios, one subject each: replication, a leader's crash, a partition, a split vote (§5.2, §5.3, §5.5)."""

from __future__ import annotations

import random

from raft_threads import events
from raft_threads.demo.show import PATIENT_TIMING, Show
from raft_threads.local_cluster import LocalCluster
from raft_threads.state import Role
from raft_threads.timing import Timing

# Until the split is healed and explained, nobody is to time out again.
SPLIT_VOTE_TIMING = Timing(2.0, 4.0, 0.25)


def replication(show: Show) -> None:
    """A follower that was cut off gets what it missed."""
    stage = show.stage
    leader, follower = random.Random(show.seed).sample(show.names, 2)
    stage.scene(f"{leader} is elected, and replicates a command", "§5.3")
    stage.say("An entry is committed once a majority has it on disk. The followers learn of that a little later.")
    cluster = show.start_cluster(PATIENT_TIMING, closely=True)
    cluster.elect(leader)
    cluster.put("x", "1", leader)
    cluster.wait_until_applied_everywhere()
    show.draw(cluster)
    stage.scene(f"{follower} is cut off; a majority is enough", "§5.3")
    cluster.partition({follower}, [server for server in cluster.servers if server != follower])
    for number in range(2, 5):
        cluster.put("x", str(number), leader)
    cluster.wait_until_applied_everywhere(server for server in cluster.servers if server != follower)
    show.draw(cluster)
    status = cluster.node(leader).status()
    stage.check(f"{leader} committed all without {follower}", status.commit_index == status.last_log_index)
    stage.scene("The connection is back: the leader sends what is missing", "§5.3, §5.5")
    stage.say(
        f"{leader} has sent them again and again, with the index and term of the entry before them. {follower} finds "
        "that entry in its log, and appends what is new."
    )
    cluster.heal()
    cluster.wait_until_applied_everywhere()
    show.draw(cluster)
    show.check_everything(cluster)


def leader_crash(show: Show) -> None:
    """The leader crashes; another takes over with everything that was committed."""
    stage = show.stage
    stage.scene("A leader is elected and commits a command", "§5.2, §5.3")
    cluster = show.start_cluster(show.timing)
    leader = cluster.wait_for_leader()
    cluster.put("x", "1", leader)
    cluster.wait_until_applied_everywhere()
    stage.scene(f"{leader} crashes", "§5.2, §5.4.1")
    stage.say(
        "Heartbeats stop. Whoever times out first asks for votes, and only a server with all committed entries "
        "can win."
    )
    cluster.crash(leader)
    stage.note(leader, "has crashed")
    successor = cluster.wait_for_leader(cluster.running)
    stage.check(f"{successor} has what {leader} had committed", cluster.get("x", successor) == "1")
    cluster.put("x", "2", successor)
    show.draw(cluster)
    stage.scene(f"{leader} restarts as a follower, from its disk", "§5.5")
    cluster.restart(leader)
    cluster.wait_until_applied_everywhere()
    show.draw(cluster)
    show.check_everything(cluster)


def partition(show: Show) -> None:
    """Two parts, of which only the larger one can do anything."""
    stage = show.stage
    stage.scene("A leader is elected", "§5.2")
    cluster = show.start_cluster(show.timing)
    leader = cluster.wait_for_leader()
    cluster.wait_until_applied_everywhere()
    minority = {leader, *[server for server in cluster.servers if server != leader][: (show.servers - 1) // 2 - 1]}
    majority = [server for server in cluster.servers if server not in minority]
    stage.scene(f"The network splits: {' '.join(sorted(minority))} | {' '.join(majority)}", "§5.2, §5.3")
    stage.say("The old leader keeps the smaller part and can commit nothing there. The larger one elects its own.")
    before = cluster.node(leader).status().commit_index
    cluster.partition(minority, majority)
    cluster.wait_for_leader_of(majority)
    for number in range(1, 4):
        cluster.put("x", str(number))
    cluster.wait_until_applied_everywhere(majority)
    show.draw(cluster)
    status = cluster.node(leader).status()
    if status.role == Role.LEADER.value:  # on a busy machine its own part may have deposed it
        stage.note(leader, f"still believes that it leads, in term {status.term}")
    stage.check(f"{leader} has committed nothing new", status.commit_index == before)
    stage.scene("The network is whole again", "§5.1, §5.3")
    cluster.heal()
    cluster.wait_until_applied_everywhere()
    show.draw(cluster)
    show.check_everything(cluster)


def split_vote(show: Show) -> None:
    """Two candidates at once, half of the votes each; then the random timeouts decide."""
    stage = show.stage
    first, second = show.names[:2]
    stage.scene(f"{first} and {second} time out at the same moment", "§5.2")
    stage.say(
        "Each votes for itself and asks the others. Each can reach just one half of the servers here, so that the "
        "votes are split: nobody has a majority, and the term ends without a leader."
    )
    cluster = show.start_cluster(SPLIT_VOTE_TIMING if stage.pace == "human" else show.timing)
    if show.servers % 2:
        cluster.crash(show.names[-1])
        stage.note(show.names[-1], "is switched off: the number of voters is even")
    voters = list(cluster.running)
    cluster.partition(voters[::2], voters[1::2])
    time_out_together(cluster, first, second)
    stage.check("half of the votes elected nobody", not cluster.leaders_by_term())
    cluster.heal()  # before the reader gets time to read: their timers run
    stage.scene("Everybody can reach everybody again", "§5.2")
    stage.say("All wait for a new random time. The first one whose time is up asks for votes in a new term.")
    leader = cluster.wait_for_leader_of(voters)
    stage.note(leader, f"leads; it took {cluster.node(leader).status().term} terms")
    if show.servers % 2:
        cluster.restart(show.names[-1])
    show.check_everything(cluster)


def time_out_together(cluster: LocalCluster, first: str, second: str) -> None:
    """Force two elections, and wait until both candidates have had the answers they can get."""
    mark = cluster.recorder.mark()
    halves = (len(cluster.running) // 2 - 1) * 2
    for server in (first, second):
        cluster.node(server).expire_election_timer()
    for server in (first, second):
        cluster.recorder.wait_for(events.BecameCandidate, lambda event: event.server == server, mark)  # noqa: B023
    cluster.recorder.wait_until(
        lambda: len(cluster.recorder.events(events.VoteReceived, since=mark)) >= halves, "the votes are in"
    )
