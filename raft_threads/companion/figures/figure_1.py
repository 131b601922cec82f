"""Fig. 1: replicated state machines, and the way of one command through them (§2)."""

from __future__ import annotations

from typing import Any, Optional

from raft_threads import kv, replication
from raft_threads.client_messages import Command
from raft_threads.companion.figures.boxes import Row, boxes_of
from raft_threads.companion.figures.scene import Figure, Scene, Scenes, Stop
from raft_threads.companion.figures.words import items_text
from raft_threads.events import Applied, CommitAdvanced, EntriesAppended, MessageSent
from raft_threads.kv import KeyValueStore
from raft_threads.messages import AppendEntries
from raft_threads.node import Node
from raft_threads.short_text import command_text
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.network import Exchange, math_ns
from raft_threads.wire import encode

LEADER, FOLLOWERS = "S1", ("S2", "S3")
PATIENCE = 5.0  # seconds
# How wide the boxes of the client and of the leader are inside.
CLIENT_WIDTH, SERVER_WIDTH = 8, 50


class Client:
    """A client that sends y=9 to the leader: when it did, and what it has been told."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.mark = cluster.stream.mark()
        self.sent_at = cluster.now
        self.answered_at: Optional[float] = None
        self.answer: dict[str, Any] = {}
        self._cluster = cluster
        request = Command(kv.put_command("y", "9"), PATIENCE)
        self._exchange = Exchange(cluster.network, "client", LEADER, encode(request), request)

    def wait(self) -> None:
        """Wait for the answer."""
        self.answer = kv.decode_result(self._exchange.wait(math_ns(PATIENCE)).result)
        self.answered_at = self._cluster.now


def play() -> Scenes:
    """Send a command to the leader of three servers, and follow it to the answer."""
    with SimulatedCluster((LEADER, *FOLLOWERS)) as cluster:
        cluster.elect(LEADER)
        cluster.put("x", "3")
        cluster.put("y", "1")
        cluster.wait_until_applied_everywhere()
        client = Client(cluster)
        cluster.run_until(lambda: len(messages_with_it(cluster, client)) == 2, "the leader sends the entry to both")
        yield Scene(
            "1 and 2: the leader's consensus module appends a client's command to its log",
            draw(cluster, client),
            "The consensus module is what this project is about. It keeps the log the same on all servers; the state "
            "machine is a key-value store here. The entry is on its way to S2 and S3, and nobody has executed it yet. "
            "(Entry 1 is the leader's no-op, §8.)",
            [Stop(Node.propose), Stop(replication.append_command)],
            cluster,
        )
        cluster.run_until_event(Applied, lambda event: event.server == LEADER, client.mark)
        yield Scene(
            "3: once a majority has the entry, the leader's state machine executes it",
            draw(cluster, client),
            "Only now does a state machine see the command. Those of S2 and S3 will as soon as the leader has told "
            "them that it is committed.",
            [
                Stop(replication.append_new_entries, "entries"),
                Stop(replication.advance_commit_index),
                Stop(KeyValueStore.apply),
            ],
            cluster,
        )
        client.wait()
        cluster.wait_until_applied_everywhere()
        yield Scene(
            "4: the client gets the state machine's answer",
            draw(cluster, client),
            "All three have executed the same commands in the same order, and hold the same. Should S1 crash now, "
            "another one takes over, with all that clients were told.",
            [Stop(replication.follow_leader_commit, "leader_commit > state.commit_index"), Stop(KeyValueStore.apply)],
            cluster,
        )


# What the events say of the command


def messages_with_it(cluster: SimulatedCluster, client: Client) -> list[MessageSent]:
    """Return the messages with which the leader has sent the entry to others."""
    sent = cluster.stream.events(MessageSent, LEADER, client.mark)
    return [event for event in sent if isinstance(event.message, AppendEntries) and event.message.entries]


def steps(cluster: SimulatedCluster, client: Client) -> list[tuple[float, int, str]]:
    """Return the figure's steps as far as they have happened: when (seconds), number, what."""
    found, events = [(client.sent_at, 1, f"the client sends y=9 to {LEADER}")], cluster.stream.events
    for appended in events(EntriesAppended, since=client.mark):
        found.append((appended.when, 2, f"{appended.server} appends entry {appended.entries[0].index}"))
    for advanced in events(CommitAdvanced, LEADER, client.mark):
        found.append((advanced.when, 2, f"{LEADER} knows that a majority has it"))
    for applied in events(Applied, since=client.mark):
        found.append((applied.when, 3, f"the state machine of {applied.server} executes {command_text(applied.entry)}"))
    if client.answered_at is not None:
        found.append((client.answered_at, 4, f"the client is told: {told(client)}"))
    return sorted(found)


def told(client: Client) -> str:
    """Return the state machine's answer, as far as there is one."""
    return ", ".join(f"{name}: {str(value).lower()}" for name, value in client.answer.items())


# Drawing


def draw(cluster: SimulatedCluster, client: Client) -> list[str]:
    """Return the figure, in which an arrow has its number once it was taken; below, what happened when."""
    found = steps(cluster, client)
    taken = {number: str(number) if number in {each[1] for each in found} else " " for number in (1, 2, 3, 4)}
    state = cluster.state(LEADER)
    leader = [
        f"consensus module -{taken[2]}-> log",
        f"{f'{state.role.value}, term {state.current_term}':<22}{log_text(cluster, LEADER)}",
        f"commit_index {state.commit_index:<11}|",
        f"{'':24}{taken[3]}",
        f"{'':24}v",
        f"{'':22}state machine: {items_text(cluster, LEADER)}",
    ]
    arrows = [f"-{taken[1]}->", "", "", "", "", f"<-{taken[4]}-"]
    edge = f"+{'-' * (CLIENT_WIDTH + 2)}+     +{'-' * (SERVER_WIDTH + 2)}+"
    lines = [f"  {'client':<{CLIENT_WIDTH + 8}}{LEADER}", edge]
    for said, link, text in zip(["y=9", "", "", "", "", told(client)], arrows, leader):
        lines.append(f"| {said:<{CLIENT_WIDTH}} |{link:^5}| {text:<{SERVER_WIDTH}} |")
    lines.append(edge)
    for follower in FOLLOWERS:
        log, items = log_text(cluster, follower), items_text(cluster, follower)
        lines.append(f"  {'':<{CLIENT_WIDTH + 8}}{follower}  log {log:<28} state machine: {items}")
    return [*lines, "", *(f"{when * 1000:7.1f} ms  {number}  {what}" for when, number, what in found)]


def log_text(cluster: SimulatedCluster, server: str) -> str:
    """Return a log as a row of boxes with commands."""
    entries = cluster.log_of(server)
    return boxes_of(Row("", entries), [f" {command_text(entry)} " for entry in entries], 0, "")


FIGURE = Figure(
    "Replicated state machines",
    "§2",
    "the way of a client's command through log and state machines, and back (§2)",
    play,
    "§2; raft_threads/server.py, raft_threads/node.py, raft_threads/kv.py; and the map in README.md.",
)
