"""Scenarios of the dissertation's extensions: each without it and with it (Diss. §3.10, §6.2, §9.6)."""

from __future__ import annotations

import random
import time

from raft_threads import events, kv
from raft_threads.demo.show import Show
from raft_threads.local_cluster import LocalCluster
from raft_threads.options import Options
from raft_threads.proposals import CommandFailed, NotLeader
from raft_threads.state import Role

# How often a server times out while it is cut off, by pace.
TIMEOUTS = {"human": 3, "fast": 1}


def pre_vote(show: Show) -> None:
    """A server that was cut off comes back: it deposes the leader, or it does not."""
    stage = show.stage
    stage.scene("Without Pre-Vote: a server that was cut off comes back", "§5.1; Diss. §9.6")
    stage.say(
        "While it is cut off it times out again and again, so that its term is ahead. When the leader's heartbeats "
        "reach it again, it refuses them. The leader hears of the newer term and steps down, although nobody needs "
        "another one."
    )
    cluster = show.start_cluster(show.steady_timing)
    cluster.elect(random.Random(show.seed).choice(show.names))
    leader, term, cut_off = cut_off_a_follower(show, cluster)
    newer = cluster.node(cut_off).status().term
    mark = cluster.recorder.mark()
    cluster.heal()
    cluster.recorder.wait_for(events.SteppedDown, lambda event: event.server == leader, mark)
    stage.check(f"{cut_off} came back in term {newer}, and {leader} leads term {term} no more", newer > term)
    stage.scene("With Pre-Vote: it asks first whether it would be elected", "Diss. §9.6")
    stage.say(
        "While it is cut off nobody answers, so that its term does not grow. When it is back, nobody would vote for "
        "it, as all hear from the leader; and it follows that one."
    )
    cluster.restart_all(Options(pre_vote=True))
    leader, term, cut_off = cut_off_a_follower(show, cluster)
    same = cluster.node(cut_off).status().term
    cluster.heal()
    cluster.put("x", "2")
    cluster.wait_until_applied_everywhere()
    show.say_if_it_leads_as_before(cluster, leader, term)
    stage.check(f"{cut_off} came back in term {same}, in which {leader} leads", same == term)
    show.check_everything(cluster)


def cut_off_a_follower(show: Show, cluster: LocalCluster) -> tuple[str, int, str]:
    """Cut a follower off until it has timed out some times; return the leader, its term, and the follower."""
    cluster.put("x", "1")
    cluster.wait_until_applied_everywhere()
    leader = cluster.wait_for_leader()
    cut_off = next(server for server in cluster.servers if server != leader)
    timeouts = TIMEOUTS[show.stage.pace]
    term = cluster.node(leader).status().term
    mark = cluster.recorder.mark()
    cluster.partition({cut_off}, [server for server in cluster.servers if server != cut_off])
    show.stage.note(cut_off, "is cut off")
    cluster.recorder.wait_until(
        lambda: len(cluster.recorder.events(events.ElectionTimedOut, cut_off, since=mark)) >= timeouts,
        f"{cut_off} times out {timeouts} times",
    )
    show.stage.note(cut_off, "can be reached again")
    return leader, term, cut_off


def check_quorum(show: Show) -> None:
    """A leader without a majority goes on believing that it leads, or it steps down."""
    stage = show.stage
    patience = 2 * show.steady_timing.election_timeout_max
    stage.scene("A leader is cut off, and does not notice", "§8; Diss. §6.2")
    stage.say(
        "Somebody reads there. It must not answer before a majority has confirmed that it leads (§8). So it never "
        f"gives a stale answer, but the client waits in vain, for all of the {patience:g} s that it has."
    )
    cluster = show.start_cluster(show.steady_timing)
    old = cut_off_the_leader(show, cluster)
    refusal = read_in_vain(show, cluster, old, patience)
    new = cluster.wait_for_leader(server for server in cluster.servers if server != old)
    stage.note(new, f"has been leading for long, in term {cluster.node(new).status().term}")
    stage.check("the client was not sent elsewhere", isinstance(refusal, CommandFailed))
    stage.check(f"{old} takes itself for the leader", cluster.node(old).status().role == Role.LEADER.value)
    cluster.heal()
    cluster.wait_until_applied_everywhere()
    stage.scene("A leader that counts who answers", "Diss. §6.2")
    stage.say("When no majority has answered for an election timeout it steps down, and its clients look elsewhere.")
    cluster.restart_all(Options(check_quorum=True))
    old = cut_off_the_leader(show, cluster)
    refusal = read_in_vain(show, cluster, old, patience)
    stage.check("the client was sent elsewhere", isinstance(refusal, NotLeader))
    stage.check(f"{old} leads no more", cluster.node(old).status().role != Role.LEADER.value)
    cluster.heal()
    show.check_everything(cluster)


def cut_off_the_leader(show: Show, cluster: LocalCluster) -> str:
    """Have a server elected, and cut it off from all others; return it."""
    cluster.elect(random.Random(show.seed).choice(show.names))
    cluster.put("x", "1")
    leader = cluster.wait_for_leader()
    cluster.partition({leader}, [server for server in cluster.servers if server != leader])
    show.stage.note(leader, "is cut off")
    return leader


def read_in_vain(show: Show, cluster: LocalCluster, server: str, patience: float) -> Exception:
    """Read at a leader that is cut off, for `patience` seconds at most; return what the client is told."""
    began = time.monotonic()
    try:
        cluster.node(server).read(kv.get_command("x"), patience)
    except (CommandFailed, NotLeader) as refusal:
        show.stage.note(server, f"tells the client after {time.monotonic() - began:.2f} s: {refusal}")
        return refusal
    raise AssertionError(f"{server} answered a read without a majority")


def transfer(show: Show) -> None:
    """Leadership is handed over; how long is there no leader, compared with a crash?"""
    stage = show.stage
    stage.scene("Leadership is handed over", "Diss. §3.10")
    stage.say(
        "The leader takes no more commands, sends the target what it lacks, and tells it to stand for election at "
        "once. The others vote for it although they hear from a leader."
    )
    leader, target = random.Random(show.seed).sample(show.names, 2)
    cluster = show.start_cluster(show.steady_timing)
    cluster.elect(leader)
    cluster.put("x", "1")
    cluster.wait_until_applied_everywhere()
    mark = cluster.recorder.mark()
    cluster.transfer(target)
    began = cluster.recorder.wait_for(events.TransferBegan, since=mark)
    took_over = cluster.recorder.wait_for(events.BecameLeader, lambda event: event.server == target, mark)
    handed_over = took_over.when - began.when
    cluster.put("x", "2")
    cluster.wait_until_applied_everywhere()
    stage.scene(f"{target} crashes: now the others must notice that first", "§5.2")
    mark = cluster.recorder.mark()
    crashed_at = cluster.crash(target)
    stage.note(target, "has crashed")
    cluster.wait_for_leader(cluster.running)
    replaced = cluster.recorder.wait_for(events.BecameLeader, since=mark).when - crashed_at
    stage.say(f"There was no leader for {handed_over * 1000:.0f} ms then, and for {replaced * 1000:.0f} ms now.")
    stage.check("handing over was quicker", handed_over < replaced)
    cluster.restart(target)
    show.check_everything(cluster)
