"""Scenarios of what comes after §5: membership (§6), snapshots (§7), clients (§8)."""

from __future__ import annotations

import random

from raft_threads import events, kv
from raft_threads.demo.show import Show
from raft_threads.local_cluster import LocalCluster
from raft_threads.options import Options

THRESHOLD = 2000  # bytes of log
ROUNDS = 2


def membership(show: Show) -> None:
    """A cluster grows from three servers to five, and then loses its leader and a server that it cannot reach."""
    stage = show.stage
    newcomers = [f"n{show.servers + 1}", f"n{show.servers + 2}"]
    stage.scene(f"A cluster of {show.servers}, and two servers that wait to be added", "§6")
    cluster = show.start_cluster(show.timing, newcomers=newcomers)
    leader = cluster.wait_for_leader()
    cluster.put("x", "1", leader)
    for server in newcomers:
        cluster.restart(server)
    stage.scene(f"{' and '.join(newcomers)} are added", "§6, Fig. 11")
    stage.say(
        "The leader sends them the log first; they do not vote yet. Then it appends C_old,new, in force at once on "
        "every server that has it: nothing is decided without majorities of both the old and the new servers. Once it "
        "is committed, it appends C_new."
    )
    cluster.change_members(*show.names, *newcomers)
    cluster.put("x", "2")
    cluster.wait_until_applied_everywhere()
    show.draw(cluster)
    values = {server.store.items["x"] for server in cluster.running.values()}
    stage.check(f"all {len(cluster.running)} have applied the same", values == {"2"})
    leader = remove_the_leader(show, cluster)
    keep_out_a_removed_server(show, cluster, leader)
    show.check_everything(cluster)


def remove_the_leader(show: Show, cluster: LocalCluster) -> str:
    """A leader manages the change that removes it. Return the next one."""
    stage = show.stage
    old = cluster.wait_for_leader()
    others = [server for server in cluster.servers if server != old]
    stage.scene(f"The leader itself, {old}, is removed", "§6, the second issue")
    stage.say(f"{old} replicates C_new without counting itself, and steps down when it is committed.")
    mark = cluster.recorder.mark()
    cluster.change_members(*others)
    cluster.recorder.wait_for(events.SteppedDown, lambda event: event.server == old, mark)
    new = cluster.wait_for_leader(others)
    cluster.put("x", "3", new)
    stage.check(f"{new} leads, and {old} is in its configuration no more", old not in cluster.node(new).members())
    stage.note(old, "is switched off: nobody needs it now")
    cluster.crash(old)
    return new


def keep_out_a_removed_server(show: Show, cluster: LocalCluster, leader: str) -> None:
    """A server that does not know that it was removed calls for elections, and nobody listens."""
    stage = show.stage
    members = [server for server in cluster.running]
    removed = next(server for server in members if server != leader)
    stage.scene(f"{removed} is cut off, and removed meanwhile", "§6, the third issue")
    stage.say(
        f"{removed} does not hear of that. It times out again and again; when it is back, it asks the others for votes "
        "in ever newer terms. They hear from their leader, and disregard it."
    )
    cluster.partition({removed}, [server for server in members if server != removed])
    cluster.change_members(*(server for server in members if server != removed))
    term = cluster.node(leader).status().term
    mark = cluster.recorder.mark()
    cluster.heal()
    cluster.recorder.wait_for(events.RequestVoteDisregarded, lambda event: event.candidate == removed, mark)
    cluster.put("x", "4", leader)
    status = cluster.node(leader).status()
    stage.check(f"{leader} leads term {term} as before", (status.role, status.term) == ("leader", term))
    cluster.crash(removed)


def snapshot(show: Show) -> None:
    """Logs stay short, and a follower that is far behind gets the leader's snapshot."""
    stage = show.stage
    stage.scene(f"The log is compacted whenever it has {THRESHOLD} bytes", "§7, Fig. 12")
    stage.say(
        "Each server by itself writes its state, as of the last applied entry, to disk. When that is durable, the "
        "entries before it are discarded. Commands are served meanwhile."
    )
    cluster = show.start_cluster(show.timing, options=Options(snapshot_threshold=THRESHOLD))
    leader = cluster.wait_for_leader()
    down = random.Random(show.seed).choice([server for server in cluster.servers if server != leader])
    cluster.put("x", "0", leader)
    cluster.crash(down)
    stage.note(down, "has crashed")
    with show.without_commands():
        for number in range(1, 101):
            cluster.put("x", str(number), leader)
    cluster.recorder.wait_for(events.SnapshotTaken, lambda event: event.server == leader)
    show_sizes(show, cluster)
    status = cluster.node(leader).status()
    stage.check(f"{status.last_log_index} entries, and a short log", status.log_bytes < 3 * THRESHOLD)
    stage.scene(f"{down} starts again; what it lacks has been discarded", "§7, Fig. 13")
    with show.without_commands():
        receive_the_snapshot(show, cluster, down)
    stage.scene(f"{down} is removed, loses its disk, and is added as a new server", "§6, §7")
    others = [server for server in cluster.servers if server != down]
    cluster.change_members(*others)
    cluster.crash(down)
    cluster.wipe(down)
    cluster.take_snapshot(cluster.wait_for_leader(others))
    mark = cluster.recorder.mark()
    cluster.restart(down)
    cluster.change_members(*cluster.servers)
    cluster.recorder.wait_for(events.SnapshotInstalled, lambda event: event.server == down, mark)
    cluster.wait_until_applied_everywhere()
    show_sizes(show, cluster)
    stage.check(f"{down} has everything", cluster.running[down].store.items == {"x": "100"})
    show.check_everything(cluster)


def receive_the_snapshot(show: Show, cluster: LocalCluster, server: str) -> None:
    """Start `server` again, which needs entries that are in the leader's snapshot only."""
    mark = cluster.recorder.mark()
    cluster.restart(server)
    installed = cluster.recorder.wait_for(events.SnapshotInstalled, lambda event: event.server == server, mark)
    cluster.wait_until_applied_everywhere()
    show_sizes(show, cluster)
    index = installed.metadata.last_included_index
    show.stage.check(
        f"{server} went on from a snapshot of {index} entries", cluster.running[server].store.items == {"x": "100"}
    )


def show_sizes(show: Show, cluster: LocalCluster) -> None:
    """Say how large logs and snapshots are."""
    for status in cluster.statuses():
        show.stage.note(
            status.id,
            f"entries up to {status.last_log_index}; snapshot up to {status.snapshot_index}, {status.snapshot_bytes} "
            f"bytes; log after it {status.log_bytes} bytes",
        )


def exactly_once(show: Show) -> None:
    """A counter, answers that are lost, and commands that are sent again: without a session and within one."""
    stage = show.stage
    stage.scene("A client increments a counter, and each answer is lost", "§8")
    stage.say(
        "The leader executes the command and crashes before the client hears of it. The client cannot know, and sends "
        "the command again, to the next leader."
    )
    cluster = show.start_cluster(show.timing)
    command = kv.increment_command("counter", 1)
    for _ in range(ROUNDS):
        leader = cluster.wait_for_leader()
        cluster.execute(command, leader)
        cluster.execute(command, lose_the_leader(show, cluster, leader))
    counted = cluster.read("counter")
    stage.check(f"without a session, {ROUNDS} increments count as {counted}", counted == str(2 * ROUNDS))
    stage.scene("The same within a session", "§8; Diss. §6.3")
    stage.say(
        "The client has registered, and numbers its commands. Every server remembers the answers, as the numbers are "
        "in the log: a command that comes again gets the first answer, and is not executed."
    )
    client_id = cluster.node(cluster.wait_for_leader()).register_client(10)
    answers = []
    command = kv.increment_command("counter in a session", 1)
    for sequence in range(1, ROUNDS + 1):
        leader = cluster.wait_for_leader()
        answers.append(cluster.node(leader).propose_in_session(client_id, sequence, sequence, command, 10))
        successor = lose_the_leader(show, cluster, leader)
        answers.append(cluster.node(successor).propose_in_session(client_id, sequence, sequence, command, 10))
    stage.check("both times the client was told the same", answers[::2] == answers[1::2])
    counted = cluster.read("counter in a session")
    stage.check(f"{ROUNDS} increments count as {counted}", counted == str(ROUNDS))
    show.check_everything(cluster)


def lose_the_leader(show: Show, cluster: LocalCluster, leader: str) -> str:
    """Crash the leader before it has answered, and start it again once there is another; return that one."""
    cluster.crash(leader)
    show.stage.note(leader, "has crashed; the client got no answer, and sends its command again")
    successor = cluster.wait_for_leader(cluster.running)
    cluster.restart(leader)
    cluster.wait_until_followed(successor, [leader])
    return successor
