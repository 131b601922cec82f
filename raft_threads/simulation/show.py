"""A whole cluster on one screen: logs (Fig. 6), the other state (Fig. 2), threads, and messages on their way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from raft_threads.client_messages import ServerStatus
from raft_threads.diagrams.space_time import text_of_cut
from raft_threads.diagrams.words import line_of_message
from raft_threads.log_drawing import draw_logs
from raft_threads.messages import REPLY_TO
from raft_threads.simulation.reports import our_places, what_it_does
from raft_threads.simulation.scheduler import SECOND, Task
from raft_threads.state import Role, State

if TYPE_CHECKING:
    from raft_threads.simulation.cluster import SimulatedCluster

_RPCS = (*REPLY_TO.keys(), *REPLY_TO.values())
# What the threads of a server wait for between their tasks, without the server's name.
_SOMETHING_TO_DO = ("election_due", "wake-up for", "to_save", "to_apply", "to_snapshot", "a request")
_STATE = ("", "role", "current_term", "voted_for", "commit_index", "last_applied", "")


def everything(cluster: SimulatedCluster) -> list[str]:
    """Return the lines of the picture: what the paper draws first."""
    return [
        f"{cluster.now:.6f} s, seed {cluster.seed}",
        "",
        *logs(cluster),
        "[ ] known to be committed  ( ) not known to be",
        "",
        *states(cluster),
        "",
        *threads(cluster),
        "",
        *messages(cluster),
    ]


def logs(cluster: SimulatedCluster) -> list[str]:
    """Return all logs, drawn as in Fig. 6 to 8: of a server that is down, what its disk holds."""
    return draw_logs(WithDisks(cluster))


class WithDisks:
    """A cluster in whose pictures nobody is missing."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.servers = self.running = cluster.servers
        self.log_of = cluster.log_of
        self._cluster = cluster

    def statuses(self) -> list[ServerStatus]:
        """Return how the servers are, in order. Who is down knows nothing that is not on its disk."""
        up = {status.id: status for status in self._cluster.statuses()}
        return [up[server] if server in up else self._from_disk(server) for server in self.servers]

    def _from_disk(self, server: str) -> ServerStatus:
        disk, log = self._cluster.disks[server], self.log_of(server)
        start = disk.start()
        snapshot_index = 0 if start is None else start.last_included_index
        last_index = log[-1].index if log else snapshot_index
        return ServerStatus(server, "down", disk.term_and_vote[0], None, 0, 0, last_index, snapshot_index)


def states(cluster: SimulatedCluster) -> list[str]:
    """Return a row for each server: the State of Fig. 2 that is not its log; if it is down, what its disk holds."""
    rows: list[Sequence[str]] = [_STATE]
    for server in cluster.servers:
        if server in cluster.running:
            state = cluster.state(server)
            numbers = (state.current_term, state.voted_for, state.commit_index, state.last_applied)
            failure = cluster.node(server).failure
            stopped = [] if failure is None else [f"has stopped: {failure}"]
            rows.append((server, state.role.value, *map(str, numbers), "  ".join(remarks(state) + stopped)))
        else:
            rows.append((server, "down", *map(str, cluster.disks[server].term_and_vote), "", "", ""))
    return aligned(rows)


def remarks(state: State) -> list[str]:
    """Return what only some servers have: leaders their indexes, candidates their votes; and what is not saved yet."""
    said = []
    if state.role is Role.LEADER:
        said += [f"next_index {by_server(state.next_index)}", f"match_index {by_server(state.match_index)}"]
    if state.votes:
        votes = {voter: "yes" if granted else "no" for voter, granted in state.votes.items()}
        said.append(f"votes {by_server(votes)}")
    if not state.term_and_vote_are_saved():
        said.append("term and vote are not saved yet")
    if state.log.saved_index < state.log.last_index:
        said.append(f"entries from {state.log.saved_index + 1} on are not saved yet")
    return said


def by_server(values: dict[str, Any]) -> str:
    """Return `n1=2 n2=1`."""
    return " ".join(f"{server}={values[server]}" for server in sorted(values))


def threads(cluster: SimulatedCluster) -> list[str]:
    """Return what each thread does, and where: a line each; those of a server that have nothing to do share one."""
    scheduler = cluster.scheduler
    rows = []
    idle: dict[str, list[str]] = {}
    for task in sorted(scheduler.tasks, key=lambda task: (task.group is not None, task.name)):
        if has_nothing_to_do(task):
            server, _, thread = task.name.partition("/")
            idle.setdefault(server, []).append(thread)
        else:
            rows.append((task.name, what_it_does(scheduler, task), "".join(our_places(task)[:1]).partition(": ")[0]))
    waiting = [f"{server}/ {', '.join(names)}" for server, names in idle.items()]
    return [*aligned(rows), *(["waiting for something to do:", *waiting] if waiting else [])]


def has_nothing_to_do(task: Task) -> bool:
    """Return whether a server's thread waits in its own loop (`docs/threads.md`)."""
    what = task.why.partition("'s ")[2] or task.why
    return task.parked and what.startswith(_SOMETHING_TO_DO)


def messages(cluster: SimulatedCluster) -> list[str]:
    """Return the messages on their way, with their times of arrival, those held back, and the links that are cut."""
    network = cluster.network
    lines = [
        f"{sender} -> {receiver}  {text_of(message)}, arrives at {when_ns / SECOND:.6f} s"
        for when_ns, sender, receiver, message in network.under_way()
    ]
    for sender, receiver in network.links_held():
        lines += [f"{sender} -> {receiver}  {text_of(each)}, held back" for each in network.held(sender, receiver)]
    cut = frozenset(network.cut_links())
    return (lines or ["no message is on its way"]) + ([text_of_cut(cut, cluster.servers)] if cut else [])


def text_of(message: Any) -> str:
    """Return a message in a line; what clients say is named only."""
    return line_of_message(message) if isinstance(message, _RPCS) else f"{type(message).__name__} of a client"


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return `rows` as lines, with their columns below each other."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table]
