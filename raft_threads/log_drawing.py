"""Logs on a terminal, as Fig. 6 and Fig. 7 draw them: a row of boxes for each server."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from raft_threads.client_messages import ServerStatus
from raft_threads.log import LogEntry
from raft_threads.short_text import command_text

MOST_COLUMNS = 8


class Drawable(Protocol):
    """What is drawn: a cluster of this process, real or simulated."""

    @property
    def servers(self) -> Sequence[str]:
        """All servers, in order."""

    @property
    def running(self) -> Collection[str]:
        """Those that are not down."""

    def statuses(self) -> list[ServerStatus]:
        """Return how the running servers are, in order."""

    def log_of(self, server: str) -> list[LogEntry]:
        """Return a running server's log."""


def draw_logs(cluster: Drawable) -> list[str]:
    """Return the lines of a picture of all running servers' logs; the oldest entries are left out if there are many.

    A box holds an entry's term and command. `[ ]` is an entry that the server knows to be committed, `( )` one that
    it does not; `[==]` one that its snapshot has replaced (§7, Fig. 12).
    """
    views = [(status, {entry.index: entry for entry in cluster.log_of(status.id)}) for status in cluster.statuses()]
    last = max((max([status.snapshot_index, *log]) for status, log in views), default=0)
    first = max(1, last - MOST_COLUMNS + 1)
    columns = range(first, last + 1)
    width = {
        index: max([len(str(index)), *(len(box_text(log[index])) for _, log in views if index in log)])
        for index in columns
    }
    title = max([len(row_title(status)) for status, _ in views] + [0])
    lines = ["index".ljust(title) + "  " + " ".join(f" {str(index):<{width[index]}} " for index in columns)]
    for status, log in views:
        boxes = [f"[{'=' * width[index]}]" for index in columns if index <= status.snapshot_index]
        boxes += [draw_box(log[index], width[index], status) for index in columns if index in log]
        lines.append(row_title(status).ljust(title) + "  " + " ".join(boxes))
    lines += [f"{server} is down" for server in cluster.servers if server not in cluster.running]
    return [line.rstrip() for line in lines]


def row_title(status: ServerStatus) -> str:
    """Return what stands before a server's row."""
    return f"{status.id} {status.role}, term {status.term}"


def draw_box(entry: LogEntry, width: int, status: ServerStatus) -> str:
    """Return one entry in brackets, which tell whether its server knows it to be committed."""
    committed = entry.index <= status.commit_index
    return f"{'[' if committed else '('}{box_text(entry):<{width}}{']' if committed else ')'}"


def box_text(entry: LogEntry) -> str:
    """Return an entry's term and command, short."""
    return f"{entry.term} {command_text(entry)}"
