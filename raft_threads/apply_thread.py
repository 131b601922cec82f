"""The thread that owns the state machine: applies what is committed (Fig. 2, "All Servers"), captures it for snapshots
(§7), takes a leader's snapshot in its place (Fig. 13, rule 8), and answers reads (§8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable, Optional

from raft_threads import compaction, reads, replication
from raft_threads.events import Applied, ReadServed, StateMachineReset
from raft_threads.log import LogEntry
from raft_threads.monitor import Monitor
from raft_threads.proposals import CommandFailed, OutcomeUnknown, Proposal, WaitingRead, settle
from raft_threads.sessions import Sessions
from raft_threads.snapshot_thread import Captured
from raft_threads.storage import SnapshotReader, Storage

# How many entries are applied between two looks at the lock.
MAX_ENTRIES_PER_APPLY = 1024


class ApplyThread:
    """Uses the state machine, without the lock. `main` takes the lock; the other methods say whether they hold it."""

    def __init__(self, monitor: Monitor, storage: Storage, machine: Sessions) -> None:
        self._monitor = monitor
        self._state = monitor.state
        self._storage = storage
        self._machine = machine

    def main(self) -> None:
        """Wait for something to do with the state machine, and do it."""
        monitor = self._monitor
        while True:
            with monitor.lock:
                work = self._next_work()
                while not (monitor.stopping or work is not None):
                    monitor.to_apply.wait()
                    work = self._next_work()
                if monitor.stopping or work is None:
                    return
            work()

    def _next_work(self) -> Optional[Callable[[], None]]:
        """Return what is to be done first, to be called without the lock; None if there is nothing. With the lock."""
        state = self._state
        if compaction.must_reset_state_machine(state):
            return self._reset
        if self._is_to_capture():
            return self._capture
        entries = replication.entries_to_apply(state, MAX_ENTRIES_PER_APPLY)
        answerable = self._take_answerable_reads()
        if entries or answerable:
            return lambda: self._apply(entries, answerable)
        return None

    # Applying (§5.3) and reading (§8)

    def _take_answerable_reads(self) -> list[WaitingRead]:
        """Remove and return the reads whose answer is certain, oldest first. Called with the lock held."""
        waiting, answerable = self._monitor.reads, []
        while waiting and reads.may_be_answered(self._state, waiting[0].index, waiting[0].read_round):
            answerable.append(waiting.popleft())
        return answerable

    def _apply(self, entries: Sequence[LogEntry], answerable: Sequence[WaitingRead]) -> None:
        """Answer reads, then apply entries and wake who waits for them. Called without the lock."""
        answers = [self._machine.query(read.query) for read in answerable]
        results = [self._machine.apply(entry) for entry in entries]
        with self._monitor.lock:
            for read in answerable:
                self._monitor.narrator.tell(ReadServed, read_index=read.index)
            settled = self._record_applied(entries, results)
        for read, answer in zip(answerable, answers):
            read.succeed(answer)
        for proposal, entry, result in settled:
            settle(proposal, entry, result)

    def _record_applied(
        self, entries: Sequence[LogEntry], results: Sequence[Optional[bytes]]
    ) -> list[tuple[Proposal, LogEntry, Optional[bytes]]]:
        """Note what was applied; return who waits for it, to be woken without the lock. Called with the lock held."""
        settled = []
        for entry, result in zip(entries, results):
            replication.record_applied(self._state, entry.index)
            self._monitor.narrator.tell(Applied, entry=entry, result=result)
            settled += [(proposal, entry, result) for proposal in self._monitor.proposals.take(entry.index)]
        return settled

    # Snapshots (§7)

    def _is_to_capture(self) -> bool:
        """Return whether a snapshot is due or asked for, and none is being written. Called with the lock held."""
        monitor = self._monitor
        if monitor.captured is not None or not compaction.has_something_to_compact(self._state):
            return False
        threshold = monitor.options.snapshot_threshold
        is_due = threshold is not None and compaction.snapshot_is_due(self._state, threshold)
        return is_due or bool(monitor.waiting_for_snapshot)

    def _capture(self) -> None:
        """Hand the state machine as it is now to the thread that writes snapshots. Called without the lock.

        Only this thread applies, so state machine and last_applied belong together although the lock is free.
        """
        records = self._machine.capture()
        with self._monitor.lock:
            if compaction.has_something_to_compact(self._state):  # a leader's snapshot may have come in between
                self._monitor.captured = Captured(compaction.snapshot_metadata(self._state), records)
                self._monitor.to_snapshot.notify()

    def _open_snapshot(self) -> SnapshotReader:
        """Return the snapshot that the log follows on. With the disk to oneself no newer one can come in between."""
        monitor = self._monitor
        with monitor.lock, monitor.turn_at_disk(), monitor.unlocked():
            return self._storage.open_snapshot()

    def _reset(self) -> None:
        """Have the state machine become what the snapshot says (Fig. 13, rule 8). Called without the lock."""
        reader = self._open_snapshot()
        try:
            self._machine.restore(reader.records())
        finally:
            reader.close()
        with self._monitor.lock:
            compaction.record_reset(self._state, reader.metadata)
            self._monitor.narrator.tell(StateMachineReset, metadata=reader.metadata)
            passed = self._monitor.proposals.take_up_to(reader.metadata.last_included_index)
        for proposal in passed:
            proposal.fail(_unknown_after_snapshot(proposal, reader.metadata.last_included_term))


def _unknown_after_snapshot(proposal: Proposal, last_included_term: int) -> Exception:
    """Return what to tell who waits for a command at an index that a leader's snapshot has passed over."""
    if last_included_term < proposal.term:
        return CommandFailed("another leader's entry took the place of the command in the log")
    return OutcomeUnknown("the result of the command is not known here: a snapshot took its place")
