"""The story: an election, replication, a leader cut off, its return, a crash and a restart (§5.2 to §5.5)."""

from __future__ import annotations

import threading
from typing import Optional

from raft_threads import events, kv
from raft_threads.demo.show import Show
from raft_threads.local_cluster import PATIENCE, LocalCluster
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown


def story(show: Show) -> None:
    """Three servers, and what happens to them."""
    stage = show.stage
    stage.scene("The servers start; one times out and wins the election", "§5.1, §5.2")
    stage.say(
        "Every server starts as a follower, and waits for a random time to hear from a leader. The first to lose "
        "patience asks the others for their votes."
    )
    cluster = show.start_cluster(show.timing)
    first = cluster.wait_for_leader_of(cluster.servers)
    replicate_commands(show, cluster, first)
    second, waiting = cut_off_the_leader(show, cluster, first)
    let_it_return(show, cluster, first, second, waiting)
    crash_and_restart(show, cluster)
    stage.scene("The end: is everything as it should be?", "Fig. 3")
    show.check_everything(cluster)
    lost = [server for server in cluster.running if "lost" in cluster.running[server].store.items]
    stage.check("nobody applied what the leader could not commit while it was cut off", not lost)
    stage.line()
    stage.line("   Next: run_demo.py --list names more scenarios, among them a shell to try things out in.")


def replicate_commands(show: Show, cluster: LocalCluster, leader: str) -> None:
    """Commands of clients become entries, committed once a majority has them."""
    show.stage.scene("Commands are replicated, committed and applied", "§5.3")
    show.stage.say(
        f"Clients send their commands to {leader}. It appends each to its log and sends it to the others. Once a "
        "majority has it on disk it is committed, and every server applies it to its key-value store, in log order."
    )
    for key, value in (("x", "1"), ("y", "2")):
        cluster.put(key, value)
    cluster.wait_until_applied_everywhere()
    show.draw(cluster)


class WaitingClient:
    """A client's command that is under way in a thread of its own, while the story goes on."""

    def __init__(self, cluster: LocalCluster, server: str, command: bytes) -> None:
        self.outcome: Optional[str] = None
        self._node = cluster.node(server)
        self._command = command
        self._thread = threading.Thread(target=self._run, name=f"demo/client-of-{server}")
        self._thread.start()

    def _run(self) -> None:
        try:
            self._node.propose(self._command, PATIENCE)
            self.outcome = "executed"
        except (CommandFailed, NotLeader) as error:
            self.outcome = f"surely not executed: {error}"
        except OutcomeUnknown as error:
            self.outcome = f"may have been executed: {error}"

    def wait(self) -> str:
        """Return what the client was told in the end."""
        self._thread.join()
        return self.outcome or "no answer"


def cut_off_the_leader(show: Show, cluster: LocalCluster, old: str) -> tuple[str, WaitingClient]:
    """The leader goes on taking commands that it cannot commit; the others elect another."""
    stage = show.stage
    others = [server for server in cluster.servers if server != old]
    stage.scene(f"The leader {old} is cut off, and the others elect another", "§5.2, §5.4.1")
    stage.say(
        f"{old} does not know yet that it leads nobody any more: it takes a client's command, which reaches no "
        "majority. The others hear no heartbeats; one of them times out."
    )
    cluster.partition({old}, others)
    mark = cluster.recorder.mark()
    waiting = WaitingClient(cluster, old, kv.put_command("lost", "1"))
    cluster.recorder.wait_for(events.EntriesAppended, lambda event: event.server == old, mark)
    new = cluster.wait_for_leader_of(others)
    stage.say(f"{new} leads a majority, so its commands are committed while {old} waits.")
    cluster.put("x", "3")
    cluster.wait_until_applied_everywhere(others)
    show.draw(cluster)
    return new, waiting


def let_it_return(show: Show, cluster: LocalCluster, old: str, new: str, waiting: WaitingClient) -> None:
    """The old leader steps down, and its uncommitted entry is replaced."""
    stage = show.stage
    stage.scene(f"{old} returns, and its conflicting entry is replaced", "§5.1, §5.3")
    stage.say(
        f"{old} learns of a newer term and steps down. {new}'s AppendEntries does not fit {old}'s log; it goes back to "
        "where they agree, and what conflicts is overwritten."
    )
    mark = cluster.recorder.mark()
    cluster.heal()
    cluster.recorder.wait_for(events.EntriesDeleted, lambda event: event.server == old, mark)
    cluster.wait_until_applied_everywhere()
    outcome = waiting.wait()
    stage.say(f"The client that waited at {old} hears: {outcome}.")
    stage.check("that client was told that its command was not executed", outcome.startswith("surely not"))
    show.draw(cluster)


def crash_and_restart(show: Show, cluster: LocalCluster) -> None:
    """A crashed server goes on from its disk, and is brought up to date."""
    stage = show.stage
    leader = cluster.wait_for_leader()
    stage.scene(f"The leader {leader} crashes, and starts again from its disk", "§5.5, Fig. 2")
    stage.say("Nothing is saved at the end; all that the others were told of was on disk before they were told.")
    cluster.crash(leader)
    stage.note(leader, "has crashed")
    others = list(cluster.running)
    cluster.put("z", "4")
    cluster.wait_until_applied_everywhere(others)
    show.draw(cluster)
    cluster.restart(leader)
    cluster.wait_until_applied_everywhere()
    show.draw(cluster)
