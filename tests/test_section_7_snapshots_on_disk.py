"""Snapshots in a server's directory (§7, Fig. 12, 13): format, what counts and when, what is refused."""

from __future__ import annotations

import errno
import json
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

import pytest
from drawing import entries_of
from snapshots import (
    CURRENT_TERM,
    files_in,
    indexes,
    lay_out,
    log_from,
    metadata_of,
    opened,
    records_in,
    records_of,
    send_snapshot,
    snapshot_of,
    take_snapshot,
)

from raft_threads.configuration import Configuration
from raft_threads.durable_files import sync_file
from raft_threads.entry_format import BadLine, add_checksum, check_and_strip
from raft_threads.file_storage import FileStorage
from raft_threads.log import SnapshotMetadata
from raft_threads.snapshot_format import check_snapshot, read_metadata, read_records
from raft_threads.storage import BadSnapshot, StorageError

# The file


def test_a_snapshot_is_a_header_a_line_for_each_record_and_a_line_that_counts_them() -> None:
    """Fig. 12: last included index and term, the configuration there, the state machine's state."""
    lines = snapshot_of(2, 1).splitlines(keepends=True)
    header, first, second, end = map(check_and_strip, lines)
    assert json.loads(header) == {
        "format": 1,
        "last_included_index": 2,
        "last_included_term": 1,
        "configuration": {"servers": {"n1": "", "n2": "", "n3": ""}},
    }
    assert (first, end) == (b" key 0%0Avalue %25 %0D\xff 2", b"end 2")
    assert read_metadata(lines[0]) == metadata_of(2, 1)
    assert list(read_records(lines[1:])) == list(records_of(2))


@pytest.mark.parametrize("configuration", [Configuration(), Configuration.of(["n1"])], ids=["blank", "of one"])
def test_a_snapshot_may_have_no_records_and_any_configuration(tmp_path: Path, configuration: Configuration) -> None:
    """§7: an empty store. A blank configuration is that of a server that waits to be added."""
    lay_out(tmp_path, entries_of(1))
    storage, _ = opened(tmp_path)
    storage.write_snapshot(SnapshotMetadata(1, 1, configuration), [])
    assert storage.adopt_written()
    assert records_in(storage) == []
    storage.close()
    storage, saved = opened(tmp_path)
    storage.close()
    assert saved.start == SnapshotMetadata(1, 1, configuration)


def test_a_snapshot_that_is_cut_short_anywhere_is_known_as_such() -> None:
    """docs/storage-format.md: the last line tells how many records there are."""
    whole = snapshot_of(3, 1)
    assert check_snapshot(whole.splitlines(keepends=True)) == metadata_of(3, 1)
    for length in range(len(whole)):
        with pytest.raises(BadLine, match="line"):
            check_snapshot(whole[:length].splitlines(keepends=True))


def test_a_snapshot_with_any_byte_changed_or_a_line_removed_doubled_or_added_is_known_as_such() -> None:
    """docs/storage-format.md: a checksum for each line, and a count."""
    whole = snapshot_of(3, 1)
    spoiled = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:] for at in range(len(whole))]
    lines = whole.splitlines(keepends=True)
    spoiled += [b"".join(lines[:at] + lines[at + 1:]) for at in range(len(lines))]
    spoiled += [b"".join(lines[:at] + lines[at - 1:]) for at in range(1, len(lines) + 1)]
    spoiled += [whole + add_checksum(b" more"), whole + b"\n"]
    for data in spoiled:
        with pytest.raises(BadLine):
            check_snapshot(data.splitlines(keepends=True))


@pytest.mark.parametrize(
    "changes",
    [{"format": 2}, {"last_included_index": 0}, {"last_included_term": True}, {"last_included_index": "5"},
     {"configuration": None}, {"configuration": {"servers": []}}],
    ids=str,
)
def test_a_header_that_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    """It may come from another server."""
    header = json.loads(check_and_strip(snapshot_of(3, 1).splitlines(keepends=True)[0]))
    with pytest.raises(BadLine):
        read_metadata(add_checksum(json.dumps({**header, **changes}).encode()))


# Our own


def test_a_snapshot_that_was_written_counts_once_it_is_adopted(tmp_path: Path) -> None:
    """§7: the log goes only when the snapshot is complete."""
    lay_out(tmp_path, entries_of(1, 1, 1, 2))
    storage, saved = opened(tmp_path)
    assert saved.start is None
    storage.write_snapshot(metadata_of(3, 1), records_of(3))
    with pytest.raises(ValueError, match="there is no snapshot"):
        storage.open_snapshot()
    assert storage.adopt_written()
    assert records_in(storage) == list(records_of(3))
    storage.replace_log(log_from(4, 2))
    storage.save_entries(log_from(5, 2))
    storage.close()
    storage, saved = opened(tmp_path)
    assert (saved.start, indexes(saved.entries), list(saved.notes)) == (metadata_of(3, 1), [4, 5], [])
    assert records_in(storage) == list(records_of(3))
    storage.close()


def test_a_written_snapshot_that_reaches_no_farther_is_thrown_away(tmp_path: Path) -> None:
    """Fig. 13: a leader's came in between, and holds all that ours does."""
    lay_out(tmp_path, entries_of(1, 1, 1, 2))
    storage, _ = opened(tmp_path)
    storage.write_snapshot(metadata_of(3, 1), records_of(3))
    assert send_snapshot(storage, snapshot_of(4, 2)) == metadata_of(4, 2)
    assert storage.adopt_written() is False
    assert records_in(storage) == list(records_of(4))
    assert not (tmp_path / "snapshot.written").exists()
    storage.close()


def test_what_was_not_written_cannot_be_adopted(tmp_path: Path) -> None:
    """Also not twice, nor when writing it failed, nor ahead of the saved term (§5.1)."""
    lay_out(tmp_path, entries_of(1, 1, 1))
    storage, _ = opened(tmp_path)
    take_snapshot(storage, 1, 1, log_from(2, 1, 1))

    def broken_records() -> Iterator[bytes]:
        yield b"one"
        raise KeyError("a state machine's error")

    with pytest.raises(ValueError, match="no snapshot was written"):
        storage.adopt_written()
    with pytest.raises(KeyError):
        storage.write_snapshot(metadata_of(2, 1), broken_records())
    with pytest.raises(ValueError, match="no snapshot was written"):
        storage.adopt_written()
    storage.write_snapshot(metadata_of(2, CURRENT_TERM + 1), [])
    with pytest.raises(ValueError, match="beyond the saved term"):
        storage.adopt_written()
    storage.save_term_and_vote(CURRENT_TERM + 1, None)
    take_snapshot(storage, 2, CURRENT_TERM + 1, [])
    storage.close()


def test_entries_are_saved_while_a_snapshot_is_written(tmp_path: Path) -> None:
    """§7: other commands are served meanwhile."""
    lay_out(tmp_path, entries_of(1, 1))
    storage, _ = opened(tmp_path)

    def records_while_others_write() -> Iterator[bytes]:
        for index in range(3, 6):
            storage.save_entries(log_from(index, 1))
            storage.save_term_and_vote(CURRENT_TERM, "n3")
            storage.store_chunk(0, b"chunk")
            yield b"record"

    storage.write_snapshot(metadata_of(2, 1), records_while_others_write())
    storage.adopt_written()
    storage.replace_log(log_from(3, 1, 1, 1))
    storage.close()
    storage, saved = opened(tmp_path)
    assert (saved.voted_for, indexes(saved.entries)) == ("n3", [3, 4, 5])
    assert records_in(storage) == [b"record"] * 3
    storage.close()


def test_a_snapshot_is_written_in_large_pieces_and_never_held_whole(tmp_path: Path) -> None:
    """§7: it may be larger than memory, and a system call for each record would take its time."""
    lay_out(tmp_path, entries_of(1))
    storage, _ = opened(tmp_path)
    sizes: set[int] = set()

    def many_records() -> Iterator[bytes]:
        for _ in range(10_000):
            sizes.add((tmp_path / "snapshot.written").stat().st_size)
            yield b"x" * 1000

    tracemalloc.start()
    storage.write_snapshot(metadata_of(1, 1), many_records())
    storage.adopt_written()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "snapshot").stat().st_size > 10_000_000
    assert peak < 3_000_000
    assert 5 < len(sizes) < 20
    storage.close()


# A leader's


@pytest.mark.parametrize("chunk_bytes", [1, 7, 64, 10_000])
def test_a_snapshot_that_is_read_in_chunks_arrives_as_it_was(tmp_path: Path, chunk_bytes: int) -> None:
    """Fig. 13: offset and data; the last chunk may be shorter."""
    lay_out(tmp_path / "n1", entries_of(1, 1), snapshot_of(2, 1))
    lay_out(tmp_path / "n2", ())
    ours, _ = opened(tmp_path / "n1")
    theirs, _ = opened(tmp_path / "n2")
    reader = ours.open_snapshot()
    assert (reader.metadata, reader.size_bytes) == (metadata_of(2, 1), len(snapshot_of(2, 1)))
    offset = 0
    while offset < reader.size_bytes:
        data = reader.read(offset, chunk_bytes)
        theirs.store_chunk(offset, data)
        offset += len(data)
    assert reader.read(offset, chunk_bytes) == b""
    assert theirs.adopt_received() == metadata_of(2, 1)
    assert records_in(theirs) == list(records_of(2))
    assert files_in(tmp_path / "n1")["snapshot"] == files_in(tmp_path / "n2")["snapshot"]
    reader.close()
    ours.close()
    theirs.close()


def test_a_snapshot_that_is_open_stays_what_it_is_when_a_newer_one_replaces_it(tmp_path: Path) -> None:
    """Fig. 13: a transfer goes on with the file that it began with."""
    lay_out(tmp_path, entries_of(1, 1, 1), snapshot_of(2, 1))
    storage, _ = opened(tmp_path)
    reader = storage.open_snapshot()
    take_snapshot(storage, 3, 1, [])
    assert records_in(storage) == list(records_of(3))
    assert reader.read(0, 10**6) == snapshot_of(2, 1)
    assert list(reader.records()) == list(records_of(2))
    reader.close()
    storage.close()


def test_chunks_may_come_again_but_leave_no_gap(tmp_path: Path) -> None:
    """Fig. 13, rules 2 and 3: after a lost answer the same comes again; offset 0 begins a new snapshot."""
    lay_out(tmp_path, ())
    storage, _ = opened(tmp_path)
    data = snapshot_of(4, 2)
    with pytest.raises(ValueError, match="gap"):
        storage.store_chunk(10, data[10:])
    storage.store_chunk(0, b"of another snapshot, which is longer" * 100)
    storage.store_chunk(0, data[:20])
    storage.store_chunk(20, data[20:60])
    storage.store_chunk(20, data[20:60])
    with pytest.raises(ValueError, match="gap"):
        storage.store_chunk(61, data[61:])
    storage.store_chunk(60, data[60:])
    assert storage.adopt_received() == metadata_of(4, 2)
    with pytest.raises(ValueError, match="gap"):
        storage.store_chunk(10, data[10:])
    storage.close()


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "line 1"),
        (snapshot_of(4, 2)[:-1], "line 6: the line is cut short"),
        (snapshot_of(4, 2).replace(b"key 2", b"key 3"), "line 4: the checksum does not fit"),
        (snapshot_of(4, CURRENT_TERM + 1), "beyond the saved term"),
    ],
    ids=["empty", "cut short", "changed", "of a later term"],
)
def test_a_received_snapshot_that_is_damaged_changes_nothing(tmp_path: Path, data: bytes, words: str) -> None:
    """The one that counts stays, and the same one may come again."""
    lay_out(tmp_path, log_from(3, 1, 1), snapshot_of(2, 1), prev=(2, 1))
    storage, _ = opened(tmp_path)
    before = files_in(tmp_path)
    with pytest.raises(BadSnapshot, match="received"):
        storage.adopt_received()
    storage.store_chunk(0, data)
    with pytest.raises(BadSnapshot, match=words) as error:
        storage.adopt_received()
    assert "\n" not in str(error.value)
    assert files_in(tmp_path) == before
    assert send_snapshot(storage, snapshot_of(4, 2)) == metadata_of(4, 2)
    storage.close()


def test_a_received_snapshot_that_reaches_no_farther_than_ours_is_thrown_away(tmp_path: Path) -> None:
    """Fig. 13: ours is the newer one, or the same."""
    lay_out(tmp_path, (), snapshot_of(4, 2), prev=(4, 2))
    storage, _ = opened(tmp_path)
    before = files_in(tmp_path)
    assert send_snapshot(storage, snapshot_of(3, 2)) is None
    assert send_snapshot(storage, snapshot_of(4, 2)) is None
    assert files_in(tmp_path) == before
    storage.close()


# A disk that fails


@pytest.mark.parametrize(
    "step",
    [
        lambda storage: storage.write_snapshot(metadata_of(3, 1), records_of(3)),
        lambda storage: send_snapshot(storage, snapshot_of(3, 1)),
        lambda storage: storage.replace_log(log_from(3, 1)),
    ],
    ids=["write", "receive", "replace the log"],
)
def test_after_a_failed_fsync_nothing_is_ever_saved_again(
    tmp_path: Path, step: Callable[[FileStorage], Optional[object]]
) -> None:
    """As with entries: nobody knows what the disk holds."""
    lay_out(tmp_path, log_from(3, 1), snapshot_of(2, 1), prev=(2, 1))
    fails = False

    def sync(descriptor: int) -> None:
        if fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync_file(descriptor)

    storage, _ = opened(tmp_path, sync)
    fails = True
    with pytest.raises(StorageError, match="Input/output error"):
        step(storage)
    fails = False
    with pytest.raises(StorageError, match="Input/output error"):
        storage.save_entries(log_from(4, 1))
    with pytest.raises(StorageError, match="Input/output error"):
        storage.adopt_written()
    storage.close()
