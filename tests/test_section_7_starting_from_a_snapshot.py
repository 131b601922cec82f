"""Starting from a snapshot and the log that follows it (§7; Fig. 13, rules 6 and 7): repair, damage, loss."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

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
    refusal,
    snapshot_of,
)

from raft_threads.entry_format import add_checksum
from raft_threads.log import LogEntry
from raft_threads.storage import StorageError

# The log after a snapshot


def test_a_log_that_begins_after_a_snapshot_is_written_as_any_other(tmp_path: Path) -> None:
    """§5.3: entries are appended, and replaced by a leader's, also the first one; also again after a restart."""
    lay_out(tmp_path, (), snapshot_of(10, 2), prev=(10, 2))
    storage, _ = opened(tmp_path)
    storage.save_entries(log_from(11, 2, 2, 2))
    storage.save_entries(log_from(13, 3, 3))
    storage.close()
    storage, saved = opened(tmp_path)
    assert list(saved.entries) == list(log_from(11, 2, 2, 3, 3))
    storage.save_entries(log_from(11, 4))
    storage.save_entries(log_from(12, 4))
    for index in (10, 14):
        with pytest.raises(ValueError, match=f"entry {index}"):
            storage.save_entries(log_from(index, 4))
    with pytest.raises(ValueError, match="cannot follow"):
        storage.replace_log(log_from(12, 4))
    storage.close()
    assert (tmp_path / "log").read_bytes().startswith(add_checksum(b"10 2 snapshot ") + log_from(11, 4)[0].line)
    storage, saved = opened(tmp_path)
    storage.close()
    assert list(saved.entries) == list(log_from(11, 4, 4))


def test_a_torn_record_after_a_snapshot_is_cut_off_and_reported(tmp_path: Path) -> None:
    """docs/storage-format.md: as in a log without one; the line's number is that in the file."""
    for kept in (log_from(11), log_from(11, 2)):
        (torn,) = log_from(11 + len(kept), 2)
        for length in range(1, len(torn.line)):
            lay_out(tmp_path, kept, snapshot_of(10, 2), prev=(10, 2))
            with open(tmp_path / "log", "ab") as log:
                log.write(torn.line[:length])
            storage, saved = opened(tmp_path)
            assert list(saved.entries) == list(kept)
            assert len(saved.notes) == 1 and f"line {2 + len(kept)}: cut off a torn record" in saved.notes[0]
            storage.save_entries([torn])
            storage.close()
            assert (tmp_path / "log").read_bytes().endswith(torn.line)


@pytest.mark.parametrize(
    "entries, prev, kept",
    [
        (log_from(1, 1, 1, 1, 2, 2, 2, 3), (0, 0), [6, 7]),
        (log_from(4, 2, 2, 2), (3, 1), [6]),
        (log_from(1, 1, 1, 1, 2, 2), (0, 0), []),
        (log_from(1, 1, 1), (0, 0), []),
        ((), (0, 0), []),
        ((), (3, 1), []),
        (log_from(1, 1, 1, 1, 1, 1, 1, 1), (0, 0), []),
        (log_from(1, 1, 1, 3, 3, 3, 3), (0, 0), []),
    ],
    ids=[
        "it reaches beyond", "it had been cut before", "it ends there", "it ends before", "it is empty",
        "it had been cut and is empty", "an older entry stands there", "a newer entry stands there",
    ],
)
def test_a_log_that_a_crash_left_behind_its_snapshot_is_cut_at_the_start(
    tmp_path: Path, entries: Sequence[LogEntry], prev: tuple[int, int], kept: list[int]
) -> None:
    """Fig. 13, rules 6 and 7: what follows the snapshot's last entry stays, if the log has that entry."""
    lay_out(tmp_path, entries, snapshot_of(5, 2), prev)
    storage, saved = opened(tmp_path)
    assert (saved.start, indexes(saved.entries)) == (metadata_of(5, 2), kept)
    assert len(saved.notes) == 1 and f"removed {len(entries) - len(kept)} entries" in saved.notes[0]
    storage.save_entries(log_from(6 + len(kept), 5))
    storage.close()
    storage, saved = opened(tmp_path)
    storage.close()
    assert (saved.start, indexes(saved.entries)) == (metadata_of(5, 2), [*kept, 6 + len(kept)])
    assert list(saved.notes) == []


# Damage and loss


@pytest.mark.parametrize(
    "entries, snapshot, prev, words",
    [
        (log_from(11, 3), b"", (10, 3), "line 1: the log follows on entry 10, but the snapshot is missing"),
        ((), b"", (10, 3), "line 1: the log follows on entry 10, but the snapshot is missing"),
        (log_from(11, 3), snapshot_of(5, 2), (10, 3), "line 1: .* but the snapshot reaches only to entry 5"),
        (log_from(6, 3), snapshot_of(5, 2), (5, 3), "line 1: .* follows on entry 5 of term 3, the snapshot has term 2"),
        (log_from(11, 3), snapshot_of(10, 3), (0, 0), "line 1 is damaged .its index is 11 where 1 is due"),
        (log_from(11, 3), snapshot_of(10, 3), (10, CURRENT_TERM + 1), "line 1 is damaged .it follows on entry 10 of"),
        ((), snapshot_of(10, CURRENT_TERM + 1), (0, 0), "snapshot is damaged .its last entry is of term 10"),
    ],
)
def test_a_log_and_a_snapshot_that_do_not_belong_together_are_refused(
    tmp_path: Path, entries: Sequence[LogEntry], snapshot: bytes, prev: tuple[int, int], words: str
) -> None:
    """docs/storage-format.md: entries that were acknowledged are missing, or the saved term is."""
    lay_out(tmp_path, entries, snapshot, prev)
    with pytest.raises(StorageError, match=words):
        opened(tmp_path)
    assert "restore the directory" in refusal(tmp_path)
    assert "add the server again" in refusal(tmp_path)


def test_a_damaged_snapshot_is_refused_with_file_and_line(tmp_path: Path) -> None:
    """docs/storage-format.md: the log does not have what it held."""
    lines = snapshot_of(5, 2).splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        spoiled = b"".join([*lines[:number - 1], line[:-2] + b"?\n", *lines[number:]])
        lay_out(tmp_path, log_from(6, 2), spoiled, prev=(5, 2))
        words = refusal(tmp_path)
        assert f"{tmp_path / 'snapshot'} is damaged (line {number} " in words.replace(":", "")
        assert "remove the server from the cluster, empty the directory, and add the server again" in words


def test_a_snapshot_that_is_damaged_after_the_start_is_noticed_when_it_is_read(tmp_path: Path) -> None:
    """Its reader gives no record of a damaged line."""
    lay_out(tmp_path, log_from(6, 2), snapshot_of(5, 2), prev=(5, 2))
    storage, _ = opened(tmp_path)
    (tmp_path / "snapshot").write_bytes(snapshot_of(5, 2).replace(b"key 4", b"key 5"))
    with pytest.raises(StorageError, match="line 6: the checksum does not fit"):
        records_in(storage)
    (tmp_path / "snapshot").write_bytes(b"nonsense")
    with pytest.raises(StorageError, match="line 1"):
        storage.open_snapshot()
    storage.close()


def test_a_snapshot_in_a_directory_that_is_nobodys_is_refused(tmp_path: Path) -> None:
    """docs/storage-format.md: `server` is written last, when a new directory is made."""
    (tmp_path / "snapshot").write_bytes(snapshot_of(5, 2))
    with pytest.raises(StorageError, match="snapshot exists but .* choose an empty --data-dir"):
        opened(tmp_path)


def test_what_a_crash_left_half_done_is_removed(tmp_path: Path) -> None:
    """docs/storage-format.md: it never counted, and may be large."""
    lay_out(tmp_path, log_from(6, 2), snapshot_of(5, 2), prev=(5, 2))
    before = files_in(tmp_path)
    for name in ("snapshot.written", "snapshot.received", "log.new", "term_and_vote.new", "server.new"):
        (tmp_path / name).write_bytes(b"half of a li")
    storage, saved = opened(tmp_path)
    storage.close()
    assert files_in(tmp_path) == before
    assert indexes(saved.entries) == [6] and list(saved.notes) == []


# Formats


def server_file(number: int) -> bytes:
    return add_checksum(json.dumps({"format": number, "cluster": "raft", "id": "n1"}).encode())


def test_a_directory_of_format_1_is_read_and_becomes_one_of_format_2(tmp_path: Path) -> None:
    """docs/storage-format.md: a program that knows only format 1 would take a log after a snapshot for a torn one."""
    lay_out(tmp_path, entries_of(1, 2))
    (tmp_path / "server").write_bytes(server_file(1))
    storage, saved = opened(tmp_path)
    storage.close()
    assert (saved.start, indexes(saved.entries)) == (None, [1, 2])
    assert (tmp_path / "server").read_bytes() == server_file(2)


def test_a_directory_of_a_later_format_is_refused(tmp_path: Path) -> None:
    """Nobody knows what stands in it."""
    lay_out(tmp_path, entries_of(1, 2))
    (tmp_path / "server").write_bytes(server_file(3))
    assert "(format 3)" in refusal(tmp_path)


