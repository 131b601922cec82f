"""Words for schedules, beside those of `SimulatedCluster`: who stands and may lose, what must happen, what must not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Callable, Optional

from raft_threads.companion.figure_3 import LINEARIZABILITY, LIVENESS, Lost
from raft_threads.messages import AppendEntries, InstallSnapshot, RequestVote
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role
from raft_threads.timing import Timing
from raft_threads.wire import Message

# Nobody times out by chance, and a request without an answer is soon given up: what schedules run with unless they say
# otherwise. The other is the paper's, for those in which servers time out by themselves.
QUICK = Timing(0.060, 3600.0, 0.050)
PAPER = Timing(0.150, 0.300, 0.050)


def leads(cluster: SimulatedCluster, server: str) -> bool:
    """Return whether a server takes itself for the leader."""
    return cluster.state(server).role is Role.LEADER


def stand(cluster: SimulatedCluster, server: str, seconds: float = 0.02) -> bool:
    """Have `server` stand for election once; return whether it leads within so many virtual seconds."""
    cluster.time_out(server)
    with suppress(TimeoutError):
        cluster.run_until(lambda: leads(cluster, server), f"{server} leads", timeout=seconds)
    return leads(cluster, server)


def win(cluster: SimulatedCluster, server: str) -> None:
    """Have `server` stand until it leads: others may have given away their votes of the first terms."""
    assert any(stand(cluster, server) for _ in range(5)), f"{server} is not elected\n{cluster.picture()}"


def begin(cluster: SimulatedCluster, leader: str) -> None:
    """Have `leader` elected, and its first entry stored by everybody and committed."""
    win(cluster, leader)
    servers = cluster.bootstrap.servers
    cluster.run_until(
        lambda: all(cluster.state(server).log.last_index == 1 for server in servers)
        and cluster.state(leader).last_applied == 1,
        "all store the first entry",
    )


def restart(cluster: SimulatedCluster, *servers: str) -> None:
    """Start servers from what their disks hold, and wait until they are up."""
    for server in servers:
        cluster.restart(server)
    cluster.run_until(lambda: all(map(cluster.stream.is_up, servers)), f"{', '.join(servers)} are up")


def must(cluster: SimulatedCluster, holds: Callable[[], bool], what: str, seconds: float = 1.0) -> None:
    """Let the cluster run until `holds()`. Raises Lost, liveness, if it does not within so many virtual seconds.

    `what` completes a sentence: "within 1 s it never comes to this: ...".
    """
    try:
        cluster.run_until(holds, what, timeout=seconds)
    except TimeoutError as error:
        raise Lost(LIVENESS, f"within {seconds:g} s it does not come to this: {what}") from error


def must_stay(cluster: SimulatedCluster, holds: Callable[[], bool], what: str, seconds: float = 2.0) -> None:
    """Let the cluster run for so many virtual seconds. Raises Lost, liveness, if `holds()` becomes false: `what`."""
    with suppress(TimeoutError):
        cluster.run_until(lambda: not holds(), what, timeout=seconds)
        raise Lost(LIVENESS, what)


def check_read(value: Optional[str], expected: str, known: str = "x was set to 1") -> None:
    """Raise Lost, linearizability, unless a client has read from x what it must, since something is `known`."""
    if value != expected:
        raise Lost(LINEARIZABILITY, f"{known}, and then a client read {'nothing' if value is None else value}")


def terms(cluster: SimulatedCluster) -> list[int]:
    """Return the terms of the running servers."""
    return [cluster.state(server).current_term for server in cluster.running]


def hold(cluster: SimulatedCluster, sender: str, receivers: Sequence[str], which: Callable[[Message], bool]) -> None:
    """Keep messages from `sender` to each of `receivers` until they are released."""
    for receiver in receivers:
        cluster.network.hold(sender, receiver, which)


def when(cluster: SimulatedCluster, matches: Callable[[Any], bool], react: Callable[[], None]) -> None:
    """Have `react` called right after the next event that `matches`."""
    cluster.stream.reactions.append((matches, lambda event: react()))


def let_pass(cluster: SimulatedCluster, sender: str, receiver: str) -> None:
    """Hold no more messages there; those that are held stay so, as if they were lost."""
    cluster.network.hold(sender, receiver, lambda message: False)


def is_append(message: Message) -> bool:
    """Say whether a message is an AppendEntries."""
    return isinstance(message, AppendEntries)


def is_vote_request(message: Message) -> bool:
    """Say whether a message is a RequestVote."""
    return isinstance(message, RequestVote)


def is_chunk(message: Message) -> bool:
    """Say whether a message carries a part of a snapshot."""
    return isinstance(message, InstallSnapshot)
