"""The thread that writes snapshots to disk (§7): commands are served meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raft_threads import compaction
from raft_threads.events import SnapshotTaken
from raft_threads.log import SnapshotMetadata
from raft_threads.storage import Storage, snapshot_size

if TYPE_CHECKING:
    from raft_threads.monitor import Monitor


@dataclass(frozen=True)
class Captured:
    """The state machine as it was when `metadata`'s entry was the last applied: to be read once."""

    metadata: SnapshotMetadata
    records: Iterator[bytes]


class SnapshotThread:
    """Writes what the applier has captured. `main` takes the lock."""

    def __init__(self, monitor: Monitor, storage: Storage) -> None:
        self._monitor = monitor
        self._storage = storage

    def main(self) -> None:
        """Wait for a capture; write it without the lock; when it is durable, forget the log that it replaces."""
        monitor = self._monitor
        with monitor.lock:
            while True:
                while not (monitor.stopping or monitor.captured is not None):
                    monitor.to_snapshot.wait()
                if monitor.stopping:
                    return
                assert monitor.captured is not None
                self._write(monitor.captured)

    def _write(self, captured: Captured) -> None:
        """Called with the lock held; lets go of it while the disk works."""
        monitor = self._monitor
        with monitor.stopping_if_the_disk_fails(), monitor.unlocked():
            self._storage.write_snapshot(captured.metadata, captured.records)
        monitor.save()  # the term first: no snapshot on disk is ahead of it
        with monitor.turn_at_disk():
            with monitor.unlocked():
                adopted = self._storage.adopt_written()
                size = snapshot_size(self._storage)
            if adopted:  # else a leader's snapshot, which reaches farther, came in between
                monitor.snapshot_bytes = size
                compaction.discard_what_it_replaces(monitor.state, captured.metadata)
        monitor.save()
        monitor.captured = None
        monitor.to_apply.notify()
        if adopted:
            monitor.narrator.tell(SnapshotTaken, metadata=captured.metadata, size_bytes=size)
        for waiting in monitor.waiting_for_snapshot:
            waiting.succeed(b"")
        monitor.waiting_for_snapshot.clear()
