"""Which configuration each server went by, from when to when, out of the events: for Fig. 10 and Fig. 11 (§6)."""

from __future__ import annotations

from collections.abc import Sequence

from raft_threads.companion.figures.timeline import Span, Track
from raft_threads.configuration import Configuration
from raft_threads.events import ConfigurationChanged
from raft_threads.simulation.cluster import SimulatedCluster

C_OLD_SIGN, C_OLD_NEW_SIGN, C_NEW_SIGN = "o", "b", "n"


def legend(old: Sequence[str], new: Sequence[str]) -> list[str]:
    """Return what the signs mean in a change from `old` to `new`."""
    return [
        f"C_old = {' '.join(old)}   C_new = {' '.join(new)}",
        f"{C_OLD_SIGN} goes by C_old   {C_OLD_NEW_SIGN} goes by C_old,new: both   {C_NEW_SIGN} goes by C_new",
    ]


def tracks_of_servers(cluster: SimulatedCluster, notes: dict[str, str]) -> list[Track]:
    """Return a line for each server: under which configuration it makes decisions; nothing before it has one."""
    return [Track(server, spans_of(cluster, server), notes.get(server, "")) for server in cluster.servers]


def spans_of(cluster: SimulatedCluster, server: str) -> list[Span]:
    """Return since when, and until when, `server` went by which configuration."""
    spans = []
    if server not in cluster.newcomers:
        spans.append(Span(0.0, cluster.now, C_OLD_SIGN))
    for event in cluster.stream.events(ConfigurationChanged, server):
        spans.append(Span(event.when, cluster.now, sign_of(cluster, event.configuration)))
    return spans


def sign_of(cluster: SimulatedCluster, configuration: Configuration) -> str:
    """Return what stands for `configuration`."""
    if configuration.is_joint:
        return C_OLD_NEW_SIGN
    return C_OLD_SIGN if configuration == cluster.bootstrap else C_NEW_SIGN
