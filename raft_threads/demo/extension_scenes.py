"""Scenarios of the dissertation's extensions: each without it and with it (Diss. §3.10, §6.2, §9.6)."""

from __future__ import annotations

from raft_threads import events
from raft_threads.demo.show import Show
from raft_threads.local_cluster import LocalCluster
from raft_threads.options import Options
from raft_threads.state import Role

TIMEOUTS = 3


def pre_vote(show: Show) -> None:
    """A server that was cut off comes back: it deposes the leader, or it does not."""
    stage = show.stage
    stage.scene("Without Pre-Vote: a server that was cut off comes back", "§5.1; Diss. §9.6")
    stage.say(
        "It timed out again and again, so its term is ahead. When it hears from the leader again, it refuses, and the "
        "leader has to step down although nobody needs another one."
    )
    cluster = show.start_cluster(show.timing)
    leader, cut_off, term = cut_off_a_follower(cluster)
    mark = cluster.recorder.mark()
    cluster.heal()
    deposed = cluster.recorder.wait_for(events.SteppedDown, lambda event: event.server == leader, mark)
    stage.check(f"{leader} was deposed, by term {deposed.state.term}", deposed.state.term > term)
    cluster.wait_for_leader()
    stage.scene("With Pre-Vote: it asks first whether it would be elected", "Diss. §9.6")
    stage.say("Nobody answers while it is cut off, so its term does not grow. Then the others hear from a leader.")
    cluster.restart_all(Options(pre_vote=True))
    leader, cut_off, term = cut_off_a_follower(cluster)
    cluster.heal()
    cluster.put("x", "2", leader)
    cluster.wait_until_applied_everywhere()
    status = cluster.node(leader).status()
    stage.check(f"{leader} leads term {term} as before", (status.role, status.term) == (Role.LEADER.value, term))
    show.check_everything(cluster)


def cut_off_a_follower(cluster: LocalCluster) -> tuple[str, str, int]:
    """Cut a follower off until it has timed out some times; return the leader, the follower, the leader's term."""
    leader = cluster.wait_for_leader()
    cluster.put("x", "1", leader)
    cluster.wait_until_applied_everywhere()
    cut_off = next(server for server in cluster.servers if server != leader)
    term = cluster.node(leader).status().term
    mark = cluster.recorder.mark()
    cluster.partition({cut_off}, [server for server in cluster.servers if server != cut_off])
    cluster.recorder.wait_until(
        lambda: len(cluster.recorder.events(events.ElectionTimedOut, cut_off, since=mark)) >= TIMEOUTS,
        f"{cut_off} times out {TIMEOUTS} times",
    )
    return leader, cut_off, term


def check_quorum(show: Show) -> None:
    """A leader without a majority goes on believing that it leads, or it steps down."""
    stage = show.stage
    stage.scene("A leader is cut off, and does not notice", "§8; Diss. §6.2")
    cluster = show.start_cluster(show.timing)
    old = cut_off_the_leader(cluster)
    stage.note(old, "still takes itself for the leader; its clients would wait in vain")
    stage.check(f"{old} has not noticed", cluster.node(old).status().role == Role.LEADER.value)
    cluster.heal()
    cluster.wait_until_applied_everywhere()
    stage.scene("A leader that counts who answers", "Diss. §6.2")
    stage.say("When no majority has answered for an election timeout it steps down, and its clients look elsewhere.")
    cluster.restart_all(Options(check_quorum=True))
    mark = cluster.recorder.mark()
    old = cut_off_the_leader(cluster)
    cluster.recorder.wait_for(events.LostContact, lambda event: event.server == old, mark)
    cluster.recorder.wait_until(lambda: cluster.node(old).status().role != Role.LEADER.value, f"{old} steps down")
    stage.check(f"{old} leads no more", cluster.node(old).status().role != Role.LEADER.value)
    cluster.heal()
    show.check_everything(cluster)


def cut_off_the_leader(cluster: LocalCluster) -> str:
    """Cut the leader off until the others have elected another one; return it."""
    leader = cluster.wait_for_leader()
    cluster.put("x", "1", leader)
    others = [server for server in cluster.servers if server != leader]
    cluster.partition({leader}, others)
    cluster.put("x", "2", cluster.wait_for_leader(others))
    return leader


def transfer(show: Show) -> None:
    """Leadership is handed over; how long is there no leader, compared with a crash?"""
    stage = show.stage
    stage.scene("Leadership is handed over", "Diss. §3.10")
    stage.say(
        "The leader takes no more commands, sends the target what it lacks, and tells it to stand for election. "
        "The others vote for it although they hear from a leader."
    )
    cluster = show.start_cluster(show.timing)
    leader = cluster.wait_for_leader()
    cluster.put("x", "1", leader)
    cluster.wait_until_applied_everywhere()
    target = next(server for server in cluster.servers if server != leader)
    mark = cluster.recorder.mark()
    cluster.transfer(target)
    began = cluster.recorder.wait_for(events.TransferBegan, since=mark)
    took_over = cluster.recorder.wait_for(events.BecameLeader, lambda event: event.server == target, mark)
    handed_over = took_over.when - began.when
    cluster.put("x", "2", target)
    cluster.wait_until_applied_everywhere()
    stage.scene(f"{target} crashes: now the others must notice that first", "§5.2")
    mark = cluster.recorder.mark()
    crashed_at = cluster.crash(target)
    stage.note(target, "has crashed")
    cluster.wait_for_leader(cluster.running)
    replaced = cluster.recorder.wait_for(events.BecameLeader, since=mark).when - crashed_at
    stage.say(f"There was no leader for {handed_over * 1000:.0f} ms then, and for {replaced * 1000:.0f} ms now.")
    stage.check("handing over took less than an election timeout", handed_over < show.timing.election_timeout_min)
    cluster.restart(target)
    show.check_everything(cluster)
