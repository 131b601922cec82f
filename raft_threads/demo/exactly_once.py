"""`exactly-once`: a client counts, and cannot know whether the lost leader has counted already (§8; Diss. §6.3)."""

from __future__ import annotations

import threading
from typing import Optional

from raft_threads import events
from raft_threads.client import Client, ClientError, MayHaveHappened
from raft_threads.demo.show import Show
from raft_threads.demo.stage import Stage
from raft_threads.local_cluster import PATIENCE, LocalCluster
from raft_threads.state import Role

LOST_ANSWERS = 2


class Counter:
    """A program that increments a counter, and does it again whenever it does not know whether that was done."""

    def __init__(self, stage: Stage, cluster: LocalCluster, key: str, sessions: bool) -> None:
        self.key = key
        self.told: list[Optional[int]] = []
        self._stage = stage
        self._client = Client(
            cluster.addresses, cluster_name=cluster.directory.name, timeout=PATIENCE, sessions=sessions
        )
        self._thread: Optional[threading.Thread] = None

    def begin(self) -> None:
        """Increment once, in a thread of its own. It is a daemon: who interrupts the demo need not wait for it."""
        self._thread = threading.Thread(target=self._increment, name=f"demo/client-of-{self.key}", daemon=True)
        self._thread.start()

    def _increment(self) -> None:
        while True:
            try:
                self.told.append(self._client.increment(self.key))
                return
            except MayHaveHappened as error:
                self._stage.aside(f"The client does not know, and increments {self.key} again: {error}")
            except ClientError as error:
                self._stage.aside(f"The client gives up: {error}")
                self.told.append(None)
                return

    def wait(self) -> None:
        """Wait until the increment is over."""
        assert self._thread is not None
        self._thread.join()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


def exactly_once(show: Show) -> None:
    """A counter, and answers that are lost: without a session, and in one."""
    stage = show.stage
    increments = 1 + LOST_ANSWERS
    stage.scene(f"A client increments a counter {increments} times; {LOST_ANSWERS} answers are lost", "§8")
    stage.say(
        "Below, the leader sends the command to all, hears no answers, and crashes. The client does not know whether "
        "it was executed, and sends it again. The next leader has it in its log already: both are committed."
    )
    cluster = show.start_cluster(show.timing)
    told = count(show, cluster, "m", sessions=False)
    counted = cluster.read("m")
    stage.check(f"without a session, {increments} increments count as {counted}", counted != str(increments))
    stage.scene("The same in a session", "§8; Diss. §6.3")
    stage.say(
        "The client opens a session, and numbers its commands: #2 stays #2 however often it is sent. All servers "
        "remember the answers. Again two entries are committed, and the second one is not executed."
    )
    told = count(show, cluster, "n", sessions=True)
    counted = cluster.read("n")
    stage.check(f"in a session, {increments} increments count as {counted}", counted == str(increments))
    stage.check("the client was told 1, 2 and 3", told == list(range(1, increments + 1)))
    show.check_everything(cluster)


def count(show: Show, cluster: LocalCluster, key: str, sessions: bool) -> list[Optional[int]]:
    """Increment `key` once undisturbed, and then while leaders crash; return what the client was told."""
    counter = Counter(show.stage, cluster, key, sessions)
    show.cleanup.callback(counter.close)
    counter.begin()
    counter.wait()
    with show.leaving_out(lambda event: isinstance(event, events.Applied) and event.state.role is not Role.LEADER):
        for _ in range(LOST_ANSWERS):
            lose_the_answer(show, cluster, counter)
        cluster.wait_until_applied_everywhere()
    show.draw(cluster)
    return counter.told


def lose_the_answer(show: Show, cluster: LocalCluster, counter: Counter) -> None:
    """Have the leader crash when all others have the client's command, and it does not know that."""
    stage = show.stage
    cluster.wait_until_applied_everywhere()
    leader = cluster.wait_for_leader()
    followers = [server for server in cluster.running if server != leader]
    for server in followers:
        cluster.network.cut_one_way(server, leader)
    mark = cluster.recorder.mark()
    counter.begin()
    for server in followers:
        cluster.recorder.wait_for(events.EntriesAppended, lambda event: event.server == server, mark)  # noqa: B023
    stage.note(leader, "crashes; all others have the client's command, and the client has no answer")
    cluster.crash(leader)
    cluster.heal()
    counter.wait()
    cluster.restart(leader)
