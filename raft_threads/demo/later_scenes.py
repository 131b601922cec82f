"""Scenarios of what comes after §5: membership (§6) and snapshots (§7)."""

from __future__ import annotations

import random
from typing import Callable

from raft_threads import events
from raft_threads.demo.narration import configuration_text
from raft_threads.demo.show import PATIENT_TIMING, Show
from raft_threads.free_ports import listed
from raft_threads.local_cluster import LocalCluster
from raft_threads.messages import InstallSnapshot
from raft_threads.options import Options
from raft_threads.recorder import EventRecorder

# Large enough that a snapshot needs some chunks, and that the log is compacted every few commands.
KEYS = 60
VALUE_CHARACTERS = 10_000
THRESHOLD = 200_000
WRITES = 150


def membership(show: Show) -> None:
    """A cluster grows from three servers to five, and then loses its leader and a server that it cannot reach."""
    stage = show.stage
    stage.scene(f"A cluster of {show.servers}", "§6")
    cluster = show.start_cluster(show.steady_timing)
    cluster.elect(random.Random(show.seed).choice(show.names))
    cluster.put("x", "1")
    add_two(show, cluster)
    leader = remove_the_leader(show, cluster)
    keep_out_a_removed_server(show, cluster, leader)
    show.check_everything(cluster)


def add_two(show: Show, cluster: LocalCluster) -> None:
    """Two servers catch up, and are part of the cluster by C_old,new and C_new (Fig. 11)."""
    stage = show.stage
    newcomers = [f"n{show.servers + 1}", f"n{show.servers + 2}"]
    stage.scene(f"{listed(newcomers)} start, and are added", "§6, Fig. 11")
    stage.say(
        "They know of no cluster, and wait. The leader sends them the log first; they do not vote yet. Then it appends "
        "C_old,new, which each server uses as soon as it has it: nothing is decided without majorities of both the old "
        "and the new servers. Once that is committed, the leader appends C_new."
    )
    for server in newcomers:
        cluster.join(server)
    mark = cluster.recorder.mark()
    cluster.add(*newcomers)
    cluster.put("x", "2")
    cluster.wait_until_applied_everywhere()
    show.draw(cluster)
    check_steps(show, cluster, newcomers, mark)


def check_steps(show: Show, cluster: LocalCluster, newcomers: list[str], mark: int) -> None:
    """Check that the servers told of the three steps in the order that §6 demands."""
    caught_up = {event.learner: event.when for event in cluster.recorder.events(events.CatchUpRoundEnded, since=mark)}
    used = cluster.recorder.events(events.ConfigurationChanged, since=mark)
    joint = [event for event in used if event.configuration.is_joint][:1]
    new = [event for event in used if not event.configuration.is_joint][:1]
    show.stage.check(
        f"{listed(newcomers)} had the log before there was any C_old,new",
        all(server in caught_up and caught_up[server] <= first.when for first in joint for server in newcomers),
    )
    show.stage.check(
        "C_old,new was committed before there was any C_new",
        bool(joint and new) and joint[0].index <= new[0].state.commit_index < new[0].index,
    )


def remove_the_leader(show: Show, cluster: LocalCluster) -> str:
    """A leader manages the change that removes it. Return the next one."""
    stage = show.stage
    old = cluster.wait_for_leader()
    others = [server for server in cluster.members() if server != old]
    stage.scene(f"The leader itself, {old}, is removed", "§6, the second issue")
    stage.say(
        f"{old} replicates C_new, and does not count itself. When C_new is committed it steps down; one of the others "
        "times out, as no heartbeats come any more."
    )
    mark = cluster.recorder.mark()
    cluster.remove(old)
    stepped_down = cluster.recorder.wait_for(events.SteppedDown, lambda event: event.server == old, mark)
    used = cluster.recorder.events(events.ConfigurationChanged, old, since=mark)[-1]
    stage.check(
        f"{old} stepped down when entry {used.index}, {configuration_text(used.configuration)}, was committed",
        old not in used.configuration and stepped_down.state.commit_index >= used.index,
    )
    new = cluster.wait_for_leader(others)
    cluster.put("x", "3")
    cluster.crash(old)
    stage.note(old, "is switched off: nobody needs it now")
    return new


def keep_out_a_removed_server(show: Show, cluster: LocalCluster, leader: str) -> None:
    """A server that does not know that it was removed calls for elections, and nobody listens."""
    stage = show.stage
    removed = next(server for server in cluster.running if server != leader)
    stage.scene(f"{removed} is cut off, and removed meanwhile", "§6, the third issue")
    stage.say(
        f"{removed} does not hear of that. When it is back, nobody sends it heartbeats: it times out again and again, "
        "and asks for votes in ever newer terms. The others hear from their leader, and disregard it."
    )
    cluster.partition({removed}, [server for server in cluster.running if server != removed])
    cluster.remove(removed)
    term = cluster.node(leader).status().term
    mark = cluster.recorder.mark()
    cluster.heal()
    for server in [server for server in cluster.running if server != removed]:
        cluster.recorder.wait_for(
            events.RequestVoteDisregarded,
            lambda event: (event.server, event.candidate) == (server, removed),  # noqa: B023
            mark,
        )
    cluster.put("x", "4")
    show.say_if_it_leads_as_before(cluster, leader, term)
    votes = [event for event in cluster.recorder.events(events.VoteGranted, since=mark) if event.candidate == removed]
    stage.check(f"all others disregarded {removed}, and nobody voted for it", not votes)
    cluster.crash(removed)
    stage.note(removed, "is switched off")


def snapshot(show: Show) -> None:
    """Logs stay short, and a follower that is far behind gets the leader's snapshot."""
    stage = show.stage
    stage.scene(f"The log is compacted whenever it has {kilobytes(THRESHOLD)}", "§7, Fig. 12")
    stage.say(
        f"A client writes {kilobytes(WRITES * VALUE_CHARACTERS)}, again and again to {KEYS} keys. Each server by "
        "itself writes its state, as of the last applied entry, to disk. When that is durable, the entries up to that "
        "one are discarded. Commands are served meanwhile."
    )
    leader, down = random.Random(show.seed).sample(show.names, 2)
    chunks = EventRecorder(frozenset({events.MessageReceived}))
    cluster = show.start_cluster(PATIENT_TIMING, options=Options(snapshot_threshold=THRESHOLD), observers=[chunks])
    cluster.elect(leader)
    cluster.wait_until_applied_everywhere()
    cluster.crash(down)
    stage.note(down, "has crashed")
    with show.leaving_out(lambda event: isinstance(event, events.Applied)):
        write_much(cluster)
        cluster.recorder.wait_until(
            lambda: all(status.log_bytes < THRESHOLD for status in cluster.statuses()), "the logs are compacted"
        )
        show_sizes(show, cluster)
        stage.check(
            f"no log is longer than {kilobytes(THRESHOLD)}, no snapshot larger than the state",
            all(
                status.log_bytes < THRESHOLD and 0 < status.snapshot_bytes < 1.1 * KEYS * VALUE_CHARACTERS
                for status in cluster.statuses()
            ),
        )
        stage.scene(f"{down} starts again; what it lacks has been discarded", "§7, Fig. 13")
        stage.say("The leader sends its snapshot, chunk by chunk, and then the entries that follow it.")
        receive_snapshot(show, cluster, down, chunks, lambda: cluster.restart(down))
        lose_the_disk(show, cluster, down, chunks)
    show.check_everything(cluster)


def write_much(cluster: LocalCluster) -> None:
    """Write more than the log may hold, at whoever leads."""
    for number in range(WRITES):
        cluster.put(f"k{number % KEYS}", f"{number} " + "." * VALUE_CHARACTERS)


def lose_the_disk(show: Show, cluster: LocalCluster, server: str, chunks: EventRecorder) -> None:
    """A server that lost its disk has forgotten its votes, too: it may only come back as a new one."""
    show.stage.scene(f"{server} is removed, loses its disk, and is added as a new server", "§6, §7")
    show.stage.say(
        f"Who has lost its disk has forgotten for whom it voted, and what it promised to keep: {server} must not come "
        "back as if nothing had happened. As a new server it catches up before it votes. The leader is asked for a "
        f"snapshot before that, in which {server} is no member any more."
    )
    cluster.remove(server)
    cluster.crash(server)
    cluster.wipe(server)
    cluster.take_snapshot(cluster.wait_for_leader())
    cluster.restart(server)
    receive_snapshot(show, cluster, server, chunks, lambda: cluster.add(server))


def receive_snapshot(
    show: Show, cluster: LocalCluster, server: str, received: EventRecorder, begin: Callable[[], object]
) -> None:
    """`begin` what makes the leader send its snapshot to `server`; look at what is `received`."""
    mark, received_mark = cluster.recorder.mark(), received.mark()
    begin()
    installed = cluster.recorder.wait_for(events.SnapshotInstalled, lambda event: event.server == server, mark)
    cluster.wait_until_applied_everywhere()
    show_sizes(show, cluster)
    index = installed.metadata.last_included_index
    messages = [event.message for event in received.events(events.MessageReceived, server, since=received_mark)]
    chunks = {
        each.offset for each in messages if isinstance(each, InstallSnapshot) and each.last_included_index == index
    }
    show.stage.check(f"{server} got a snapshot of entries 1 to {index}, in {len(chunks)} chunks", len(chunks) > 1)


def show_sizes(show: Show, cluster: LocalCluster) -> None:
    """Say how large logs and snapshots are."""
    for status in cluster.statuses():
        show.stage.note(
            status.id,
            f"entries 1 to {status.snapshot_index}: a snapshot of {kilobytes(status.snapshot_bytes)}; "
            f"entries to {status.last_log_index}: a log of {kilobytes(status.log_bytes)}",
        )


def kilobytes(size: int) -> str:
    """Return `size` bytes as text."""
    return f"{size / 1000:.0f} kB"
