"""Logs as the paper's figures draw them: a row of boxes for each server, below a row of indexes (Fig. 6, 7, 8, 12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from raft_threads.log import LogEntry
from raft_threads.short_text import command_text
from raft_threads.simulation.cluster import SimulatedCluster

HEADING = "log index"
SNAPSHOT = "snapshot"


class Row(NamedTuple):
    """One log: its `entries`, which follow on a snapshot up to `snapshot_index`, and what stands beside them."""

    title: str
    entries: Sequence[LogEntry]
    snapshot_index: int = 0
    note: str = ""

    @property
    def last_index(self) -> int:
        """The index of the last entry, be it in the snapshot."""
        return self.snapshot_index + len(self.entries)


def row_of(cluster: SimulatedCluster, server: str, title: str = "", note: str = "") -> Row:
    """Return the log of `server` as it is now; of one that is down, what its disk holds."""
    start = cluster.state(server).log.start if server in cluster.running else cluster.disks[server].start()
    snapshot_index = 0 if start is None else start.last_included_index
    return Row(title or server, cluster.log_of(server), snapshot_index, note)


def rows_of(cluster: SimulatedCluster) -> list[Row]:
    """Return the logs of all servers, with who leads or is down, and how much each knows to be committed."""
    return [row_of(cluster, server, note=condition_of(cluster, server)) for server in cluster.servers]


def condition_of(cluster: SimulatedCluster, server: str) -> str:
    """Return what a server is, in which term, and what it knows to be committed."""
    if server not in cluster.running:
        return f"is down; its disk says term {cluster.disks[server].term_and_vote[0]}"
    state = cluster.state(server)
    return f"{state.role.value}, term {state.current_term}, commit_index {state.commit_index}"


# Boxes with a term in each (Fig. 7, Fig. 8)


def draw_terms(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a picture of `rows`, with nothing but its term in an entry's box."""
    title = max(len(HEADING), *(len(row.title) for row in rows))
    columns = max(row.last_index for row in rows)
    lines = [f"{HEADING:<{title}}  " + "".join(f" {index:^3}" for index in range(1, columns + 1))]
    for row in rows:
        boxes = boxes_of(row, [str(entry.term) for entry in row.entries], 3, SNAPSHOT)
        lines.append(f"{row.title:<{title}}  {boxes:<{4 * columns + 1}}  {row.note}")
    return [line.rstrip() for line in lines]


def boxes_of(row: Row, texts: Sequence[str], width: int, snapshot: str) -> str:
    """Return a line of boxes, each `width` wide; what the snapshot has replaced is one box, with `snapshot` in it."""
    boxes = [f"{text:^{width}}" for text in texts]
    if row.snapshot_index:
        room = row.snapshot_index * (width + 1) - 1
        boxes.insert(0, snapshot.center(room) if len(snapshot) <= room else "=" * room)
    return "|" + "|".join(boxes) + "|" if boxes else ""


# Boxes with a term and a command in each (Fig. 6, Fig. 12)


def draw_commands(rows: Sequence[Row], committed: int = 0) -> list[str]:
    """Return the lines of a picture of `rows`, with term and command in an entry's box.

    Below, an arrow spans the entries up to `committed`, if there are any.
    """
    title = max(len(HEADING), *(len(row.title) for row in rows))
    columns = max(row.last_index for row in rows)
    width = 2 + max(len(command_text(entry)) for row in rows for entry in row.entries)
    lines = [f"{HEADING:<{title}}  " + "".join(f" {index:^{width}}" for index in range(1, columns + 1))]
    reached = 0
    for row in rows:
        lines.append(" " * (title + 2) + border(max(row.last_index, reached), width))
        lines.append(f"{row.title:<{title}}  " + boxes_of(row, [str(e.term) for e in row.entries], width, SNAPSHOT))
        span = f"1 to {row.snapshot_index}"
        lines.append(
            f"{row.note:<{title}}  " + boxes_of(row, [command_text(e) for e in row.entries], width, span)
        )
        reached = row.last_index
    lines.append(" " * (title + 2) + border(reached, width))
    if committed:
        lines.append(" " * (title + 2) + span_of_committed(committed * (width + 1) + 1))
    return [line.rstrip() for line in lines]


def border(boxes: int, width: int) -> str:
    """Return the line above or below so many boxes."""
    return "+" + ("-" * width + "+") * boxes if boxes else ""


def span_of_committed(width: int) -> str:
    """Return an arrow of `width` columns that says what it spans, if there is room."""
    text = " committed " if width >= 20 else ""
    return "<" + text.center(width - 2, "-") + ">"
