"""Fig. 12: a server replaces the committed entries in its log with a snapshot (§7)."""

from __future__ import annotations

import io

from raft_threads import compaction
from raft_threads.companion.figures.boxes import HEADING, Row, border, boxes_of, draw_commands, row_of
from raft_threads.companion.figures.scene import Figure, Scene, Scenes, Stop
from raft_threads.companion.figures.words import (
    NO_OP_LEFT_OUT,
    assignments,
    bring_up,
    give,
    items_text,
    without_the_no_op,
)
from raft_threads.kv import KeyValueStore
from raft_threads.log import SnapshotMetadata
from raft_threads.sessions import Sessions
from raft_threads.short_text import command_text, configuration_text
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.snapshot_format import read_metadata, read_records

SERVERS = ("S1", "S2", "S3")
# How wide the box of an entry is.
BOX = 5


def play() -> Scenes:
    """S1 has seven entries, five of them committed, and takes a snapshot; then it crashes and starts from that."""
    with without_the_no_op(), SimulatedCluster(SERVERS) as cluster:
        play_three_terms(cluster)
        before = row_of(cluster, "S1", "before")
        yield Scene(
            "Before: S1 has seven entries, of which five are committed",
            draw_before(cluster, before),
            "S1 leads, and nobody else has entries 6 and 7 yet. What the five committed entries have come to is in the "
            f"state machine: {items_text(cluster, 'S1')}.",
            [Stop(compaction.has_something_to_compact)],
            cluster,
        )
        cluster.take_snapshot("S1")
        yield Scene(
            "After: a snapshot has taken the place of entries 1 to 5",
            [*draw_before(cluster, before), "", *draw_after(cluster)],
            "The values that were overwritten are gone. The last included index and term are what the consistency "
            "check of entry 6 needs; the configuration that was the latest then is kept, too (§7). The log was cut "
            "only when the snapshot was safe on disk.",
            [Stop(compaction.snapshot_metadata), Stop(compaction.discard_what_it_replaces)],
            cluster,
        )
        cluster.crash("S1")
        cluster.restart("S1")
        cluster.run_until(lambda: cluster.state("S1").last_applied == 5, "S1 has its state from the snapshot")
        yield Scene(
            "What it is good for: S1 crashes, and starts again",
            [*draw_after(cluster), "", f"state machine of S1: {items_text(cluster, 'S1')}"],
            "No entry had to be applied again: the state machine took what the snapshot holds. The entries after it "
            "are there as before, and it is still for a leader to say whether they are committed.",
            [Stop(compaction.must_reset_state_machine), Stop(compaction.record_reset)],
            cluster,
        )


def play_three_terms(cluster: SimulatedCluster) -> None:
    """Three entries of term 1 and one of term 2; of the three of term 3, the first one is committed."""
    cluster.elect("S1")
    give(cluster, "S1", "x=3", "y=1", "y=9")
    bring_up(cluster, "S1", "S2", "S3")
    cluster.elect("S2")
    give(cluster, "S2", "x=2")
    bring_up(cluster, "S2", "S1", "S3")
    cluster.elect("S1")
    give(cluster, "S1", "x=0")
    cluster.wait_until_applied_everywhere()
    cluster.isolate("S1")
    give(cluster, "S1", "y=7", "x=5")
    bring_up(cluster, "S1")


def read_snapshot(cluster: SimulatedCluster) -> tuple[SnapshotMetadata, dict[str, str]]:
    """Return what the snapshot on the disk of S1 says of the log, and the state that is in it."""
    lines = io.BytesIO(cluster.disks["S1"].snapshot)
    metadata = read_metadata(lines.readline())
    store = KeyValueStore()
    Sessions(store).restore(read_records(lines))
    return metadata, store.items


def draw_before(cluster: SimulatedCluster, before: Row) -> list[str]:
    """Return the upper half of the figure: the log before the snapshot."""
    return draw_commands([before], cluster.state("S1").commit_index)


def draw_after(cluster: SimulatedCluster) -> list[str]:
    """Return the lower half: the snapshot as it is on disk, as wide as what it replaces, and the entries after it."""
    metadata, state = read_snapshot(cluster)
    row = row_of(cluster, "S1")
    texts = [
        "snapshot",
        f"last included index: {metadata.last_included_index}",
        f"last included term: {metadata.last_included_term}",
        f"configuration: {configuration_text(metadata.configuration)}",
        "state machine state:",
        f"  {assignments(state)}",
    ]
    width = (BOX + 1) * metadata.last_included_index - 1
    outline = "+" + "-" * width + "+"
    left = [outline, *(f"| {text:<{width - 2}} |" for text in texts), outline]
    # The snapshot's right wall is the first entry's left wall.
    edge, after = border(len(row.entries), BOX), Row("", row.entries)
    right = ["", "", edge, boxes_of(after, [str(entry.term) for entry in row.entries], BOX, "")]
    right += [boxes_of(after, [command_text(entry) for entry in row.entries], BOX, ""), edge, "", ""]
    lines = [line[:-1] + beside if beside else line for line, beside in zip(left, right)]
    return [f"{'after' if number == 1 else '':<{len(HEADING)}}  {line}" for number, line in enumerate(lines)]


FIGURE = Figure(
    "A server replaces the committed entries in its log with a snapshot",
    "§7",
    "the log before and after, what the snapshot holds, and a start from it (§7)",
    play,
    "§7 up to Fig. 13; raft_threads/compaction.py, raft_threads/snapshot_thread.py, docs/storage-format.md.",
    NO_OP_LEFT_OUT,
)
