"""A process for a test to kill: it saves entries and takes snapshots for ever, and tells what is durable."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from snapshots import CURRENT_TERM, log_from, metadata_of, opened, records_of, send_snapshot, snapshot_of  # noqa: E402

from raft_threads.file_storage import FileStorage  # noqa: E402


def tell(step: str, snapshot_index: int, last_index: int) -> None:
    """Say what the disk holds now."""
    print(step, snapshot_index, last_index, flush=True)


def write_for_ever(storage: FileStorage, snapshot_index: int, last_index: int) -> None:
    """Save two entries, replace all but one by a snapshot, which is our own or a leader's in turns."""
    for turn in itertools.count():
        storage.save_entries(log_from(last_index + 1, 1, 1))
        last_index += 2
        tell("saved", snapshot_index, last_index)
        if turn % 2:
            storage.write_snapshot(metadata_of(last_index - 1, 1), records_of(last_index - 1))
            tell("written", snapshot_index, last_index)
            storage.adopt_written()
        else:
            send_snapshot(storage, snapshot_of(last_index - 1, 1))
        snapshot_index = last_index - 1
        tell("adopted", snapshot_index, last_index)
        storage.replace_log(log_from(last_index, 1))
        tell("cut", snapshot_index, last_index)


def main() -> None:
    """Go on from what the directory holds."""
    storage, saved = opened(Path(sys.argv[1]))
    storage.save_term_and_vote(CURRENT_TERM, None)
    start = saved.start.last_included_index if saved.start is not None else 0
    write_for_ever(storage, start, start + len(saved.entries))


main()
