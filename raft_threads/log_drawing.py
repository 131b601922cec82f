"""Logs on a terminal, as Fig. 6 and Fig. 7 draw them: a row of boxes for each server."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

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


class Row(NamedTuple):
    """One log: its `entries`, which follow on a snapshot up to `snapshot_index`, and how much is known as committed."""

    title: str
    entries: Sequence[LogEntry]
    commit_index: int = 0
    snapshot_index: int = 0


def draw_logs(cluster: Drawable) -> list[str]:
    """Return the lines of a picture of all running servers' logs; the oldest entries are left out if there are many.

    A box holds an entry's term and command. `[ ]` is an entry that the server knows to be committed, `( )` one that
    it does not; `[==]` one that its snapshot has replaced (§7, Fig. 12).
    """
    rows = [
        Row(row_title(status), cluster.log_of(status.id), status.commit_index, status.snapshot_index)
        for status in cluster.statuses()
    ]
    return draw_rows(rows) + [f"{server} is down" for server in cluster.servers if server not in cluster.running]


def draw_rows(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a picture of `rows`, the index of each entry above them."""
    logs = [(row, {entry.index: entry for entry in row.entries}) for row in rows]
    last = max((max([row.snapshot_index, *log]) for row, log in logs), default=0)
    columns = range(max(1, last - MOST_COLUMNS + 1), last + 1)
    width = {
        index: max([len(str(index)), *(len(box_text(log[index])) for _, log in logs if index in log)])
        for index in columns
    }
    title = max([len("index"), *(len(row.title) for row in rows)])
    lines = ["index".ljust(title) + "  " + " ".join(f" {str(index):<{width[index]}} " for index in columns)]
    for row, log in logs:
        boxes = [f"[{'=' * width[index]}]" for index in columns if index <= row.snapshot_index]
        boxes += [draw_box(log[index], width[index], row) for index in columns if index in log]
        lines.append(row.title.ljust(title) + "  " + " ".join(boxes))
    return [line.rstrip() for line in lines]


def row_title(status: ServerStatus) -> str:
    """Return what stands before a server's row."""
    return f"{status.id} {status.role}, term {status.term}"


def draw_box(entry: LogEntry, width: int, row: Row) -> str:
    """Return one entry in brackets, which tell whether its server knows it to be committed."""
    committed = entry.index <= row.commit_index
    return f"{'[' if committed else '('}{box_text(entry):<{width}}{']' if committed else ')'}"


def box_text(entry: LogEntry) -> str:
    """Return an entry's term and command, short; without a command its term alone, as in Fig. 7 and Fig. 8."""
    return f"{entry.term} {command_text(entry)}".rstrip()
