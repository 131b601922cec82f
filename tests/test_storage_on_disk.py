"""Stable storage (Fig. 2, persistent state): what is written, when it is durable, what is refused at the start."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest
from drawing import entries_of

from raft_threads.durable_files import sync_file
from raft_threads.file_storage import FileStorage
from raft_threads.log import COMMAND, LogEntry
from raft_threads.storage import SavedState, StorageError

ROOT = Path(__file__).resolve().parent.parent


def opened(directory: Path, sync: Callable[[int], None] = sync_file) -> tuple[FileStorage, SavedState]:
    """Open the directory as server n1 of cluster raft, and load it."""
    storage = FileStorage(directory, "raft", "n1", sync)
    try:
        return storage, storage.load()
    except StorageError:
        storage.close()
        raise


def written(directory: Path, *terms: int, current_term: int = 9) -> None:
    """Make a directory with a log of these terms."""
    storage, _ = opened(directory)
    storage.save_term_and_vote(current_term, "n2")
    storage.save_entries(entries_of(*terms))
    storage.close()


def terms_in(directory: Path) -> list[int]:
    """Return the terms of the saved log."""
    storage, saved = opened(directory)
    storage.close()
    return [entry.term for entry in saved.entries]


def test_a_new_server_finds_term_0_no_vote_and_an_empty_log(tmp_path: Path) -> None:
    """Fig. 2, State: initialized to 0 on first boot; the directory is made."""
    storage, saved = opened(tmp_path / "deep" / "n1")
    storage.close()
    assert (saved.current_term, saved.voted_for, list(saved.entries), list(saved.notes)) == (0, None, [], [])
    assert sorted(path.name for path in (tmp_path / "deep" / "n1").iterdir()) == [
        "lock", "log", "server", "term_and_vote",
    ]


def test_what_was_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    """§5.5."""
    written(tmp_path, 1, 1, 3, current_term=4)
    storage, saved = opened(tmp_path)
    storage.close()
    assert (saved.current_term, saved.voted_for) == (4, "n2")
    assert tuple(saved.entries) == entries_of(1, 1, 3)


def test_entries_that_conflict_are_replaced_on_disk(tmp_path: Path) -> None:
    """§5.3: from the first new one on; also again after a restart."""
    written(tmp_path, 1, 2, 2, 2)
    storage, _ = opened(tmp_path)
    storage.save_entries(entries_of(3, first_index=3))
    storage.save_entries(entries_of(3, 4, first_index=4))
    storage.close()
    assert terms_in(tmp_path) == [1, 2, 3, 3, 4]


def test_entries_of_any_length_may_be_replaced_again_and_again(tmp_path: Path) -> None:
    """§5.3: where an entry begins in the file depends on those that took the place of others."""
    storage, _ = opened(tmp_path)
    storage.save_term_and_vote(9, None)
    kept: list[LogEntry] = []
    for term, first_index, lengths in ((1, 1, (50, 5, 70)), (2, 2, (1, 300, 20)), (3, 3, (9, 4)), (4, 2, (30, 2, 1))):
        new = [LogEntry(index, term, COMMAND, b"x" * length) for index, length in enumerate(lengths, first_index)]
        storage.save_entries(new)
        kept[first_index - 1:] = new
    storage.close()
    storage, saved = opened(tmp_path)
    storage.close()
    assert list(saved.entries) == kept


def test_entries_that_would_leave_a_gap_are_refused(tmp_path: Path) -> None:
    """§5.3: indexes are consecutive."""
    storage, _ = opened(tmp_path)
    with pytest.raises(ValueError, match="gap"):
        storage.save_entries(entries_of(1, first_index=2))
    storage.close()


class NotedSyncs(list[str]):
    """What was synced: each file with its size at that moment, or the directory and what it held of new files."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def sync(self, descriptor: int) -> None:
        """Take note, and sync."""
        inode = os.fstat(descriptor).st_ino
        for path in (self._directory, *self._directory.iterdir()):
            if path.stat().st_ino == inode:
                self.append(f"{path.name} {path.stat().st_size if path.is_file() else self._unnamed()}")
        sync_file(descriptor)

    def _unnamed(self) -> str:
        return " ".join(["directory", *(path.name for path in self._directory.glob("*.new"))])


def test_what_a_killed_server_wrote_is_synced_before_it_counts_as_saved(tmp_path: Path) -> None:
    """Fig. 2: after kill -9 a record may be in the page cache only, and the next answer promises that it is durable."""
    storage, _ = opened(tmp_path)
    storage.save_term_and_vote(1, None)
    storage.save_entries(entries_of(1))
    storage.close()
    synced = NotedSyncs(tmp_path)
    storage, _ = opened(tmp_path, synced.sync)
    assert synced == [f"log {len(entries_of(1)[0].line)}", f"{tmp_path.name} directory"]
    storage.close()


def test_a_new_directory_is_durable_with_all_that_had_to_be_made_above_it(tmp_path: Path) -> None:
    """Fig. 2: a power failure must not take the directory away from under what was saved in it."""
    synced: list[Path] = []

    def sync(descriptor: int) -> None:
        inode = os.fstat(descriptor).st_ino
        synced.extend(path for path in (tmp_path, *tmp_path.rglob("*")) if path.stat().st_ino == inode)

    opened(tmp_path / "deep" / "n1", sync)[0].close()
    assert synced[:2] == [tmp_path, tmp_path / "deep"]
    synced.clear()
    opened(tmp_path / "deep" / "n1", sync)[0].close()
    assert tmp_path / "deep" not in synced, "once is enough"


def test_everything_is_durable_before_a_save_returns(tmp_path: Path) -> None:
    """Fig. 2: the file is synced after it is written; the directory, after a rename; a truncation, by itself."""
    synced = NotedSyncs(tmp_path)
    storage, _ = opened(tmp_path, synced.sync)
    synced.clear()
    storage.save_term_and_vote(9, None)
    size = (tmp_path / "term_and_vote").stat().st_size
    assert synced == [f"term_and_vote.new {size}", f"{tmp_path.name} directory"]
    synced.clear()
    first, second = entries_of(1, 1)
    storage.save_entries([first, second])
    assert synced == [f"log {len(first.line + second.line)}"]
    synced.clear()
    (replacement,) = entries_of(2, first_index=2)
    storage.save_entries([replacement])
    assert synced == [f"log {len(first.line)}", f"log {len(first.line + replacement.line)}"]
    storage.close()


# A write that was interrupted


def test_a_record_torn_at_any_byte_is_cut_off_and_reported(tmp_path: Path) -> None:
    """docs/storage-format.md: the record was not acknowledged; what comes before it was."""
    written(tmp_path, 1, 1, 2)
    whole = (tmp_path / "log").read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    for length in range(start + 1, len(whole)):
        (tmp_path / "log").write_bytes(whole[:length])
        storage, saved = opened(tmp_path)
        assert [entry.term for entry in saved.entries] == [1, 1]
        assert len(saved.notes) == 1 and "line 3" in saved.notes[0] and "torn" in saved.notes[0]
        storage.save_entries(entries_of(3, first_index=3))
        storage.close()
        assert terms_in(tmp_path) == [1, 1, 3]


@pytest.mark.parametrize("tail", [b"\0" * 4096, b"garbage", b"deadbeef 4 2 command x\n", b"\n", b"half\nanother half"])
def test_a_tail_without_any_whole_record_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    """docs/storage-format.md: whatever an interrupted write of several records left."""
    written(tmp_path, 1, 1, 2)
    whole = (tmp_path / "log").read_bytes()
    (tmp_path / "log").write_bytes(whole + tail)
    assert terms_in(tmp_path) == [1, 1, 2]
    assert (tmp_path / "log").read_bytes() == whole, "and it is gone"


@pytest.mark.parametrize("name", ["server.new", "term_and_vote.new"])
def test_what_a_crash_left_half_written_beside_the_real_file_is_ignored(tmp_path: Path, name: str) -> None:
    """docs/storage-format.md: they are renamed only when they are whole."""
    written(tmp_path, 1)
    (tmp_path / name).write_bytes(b"half of a li" * 50)
    assert terms_in(tmp_path) == [1]
    written(tmp_path, 1, 2, current_term=10)
    assert terms_in(tmp_path) == [1, 2]


# Damage to what was durable


def refusal(directory: Path) -> str:
    """Return with what words the directory is refused: one line."""
    with pytest.raises(StorageError) as error:
        opened(directory)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_damaged_record_before_the_end_is_refused_with_file_and_line_and_nothing_is_changed(tmp_path: Path) -> None:
    """docs/storage-format.md: an acknowledged entry would be lost."""
    written(tmp_path, 1, 1, 2)
    lines = (tmp_path / "log").read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"command", b"commanb")
    (tmp_path / "log").write_bytes(b"".join(lines))
    before = (tmp_path / "log").read_bytes()
    assert f"{tmp_path / 'log'} line 2 is damaged" in refusal(tmp_path)
    assert (tmp_path / "log").read_bytes() == before


@pytest.mark.parametrize(
    "last", [entries_of(2, first_index=9)[0], entries_of(1, first_index=3)[0], entries_of(10, first_index=3)[0]],
    ids=["a gap", "a falling term", "a term beyond current_term"],
)
def test_a_whole_record_that_cannot_stand_there_is_refused(tmp_path: Path, last: object) -> None:
    """docs/storage-format.md: it was not torn, so it is not cut off."""
    written(tmp_path, 1, 2)
    with open(tmp_path / "log", "ab") as log:
        log.write(last.line)  # type: ignore[attr-defined]
    assert "line 3" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content", [None, b"", b"00000000 {}\n", b"247c436d {\"current_term\": 2, \"voted_for\": \"n1\"}\n"]
)
def test_a_missing_or_damaged_term_and_vote_is_refused(tmp_path: Path, content: object) -> None:
    """§5.2: a server that forgot its vote could vote twice."""
    written(tmp_path, 1)
    (tmp_path / "term_and_vote").unlink()
    if isinstance(content, bytes):
        (tmp_path / "term_and_vote").write_bytes(content)
    assert "term_and_vote" in refusal(tmp_path)


def test_a_missing_log_is_refused(tmp_path: Path) -> None:
    """Fig. 2: what it held was acknowledged. The line names the file; the directory itself is there."""
    written(tmp_path, 1)
    (tmp_path / "log").unlink()
    assert f"{tmp_path / 'log'} is missing" in refusal(tmp_path)


def test_a_log_in_a_directory_that_is_nobodys_is_refused(tmp_path: Path) -> None:
    """docs/storage-format.md: `server` is written last, when a new directory is made."""
    (tmp_path / "log").write_text("my diary\n")
    assert "choose an empty --data-dir" in refusal(tmp_path)
    assert (tmp_path / "log").read_text() == "my diary\n"


def test_a_vote_in_a_directory_that_is_nobodys_is_refused(tmp_path: Path) -> None:
    """§5.2: a server whose `server` file was lost, and whose log is empty, must not forget its vote."""
    written(tmp_path)
    (tmp_path / "server").unlink()
    vote = (tmp_path / "term_and_vote").read_bytes()
    assert "term_and_vote exists but" in refusal(tmp_path)
    assert (tmp_path / "term_and_vote").read_bytes() == vote


@pytest.mark.parametrize("cluster, server", [("raft", "n2"), ("other", "n1")])
def test_another_servers_directory_is_refused(tmp_path: Path, cluster: str, server: str) -> None:
    """§5.2: its term and vote are not ours."""
    written(tmp_path, 1)
    with pytest.raises(StorageError, match="belongs to server n1 of cluster raft"):
        FileStorage(tmp_path, cluster, server)
    assert terms_in(tmp_path) == [1], "its own server can still have it"


# Directories that cannot be used


def test_two_servers_never_share_a_directory(tmp_path: Path) -> None:
    """Neither in one process nor in two; and it is free again when the first has ended."""
    storage, _ = opened(tmp_path)
    assert "in use by another server" in refusal(tmp_path)
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from raft_threads.file_storage import FileStorage
from raft_threads.storage import StorageError
try: FileStorage(Path({str(tmp_path)!r}), "raft", "n1")
except StorageError as error: print(error)
"""
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "in use by another server" in other.stdout
    descriptors = len(os.listdir("/dev/fd"))
    for _ in range(5):
        refusal(tmp_path)
    assert len(os.listdir("/dev/fd")) == descriptors, "a refusal leaves nothing open"
    storage.close()
    opened(tmp_path)[0].close()


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    """One line that says so."""
    (tmp_path / "n1").write_text("")
    assert "cannot use data directory" in refusal(tmp_path / "n1")


def test_a_directory_that_cannot_be_made_is_refused() -> None:
    """One line that says so; /proc takes no directories, not even from root."""
    assert "cannot use data directory" in refusal(Path("/proc/raft_threads/n1"))


# A disk that fails


def failing(code: int, after: int) -> Callable[[int], None]:
    """Return a sync that fails with `code` once, at the call after `after` good ones."""
    calls: list[int] = []

    def sync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == after + 1:
            raise OSError(code, os.strerror(code))

    return sync


SYNCS_OF_A_NEW_DIRECTORY = 6


@pytest.mark.parametrize("good_syncs", range(SYNCS_OF_A_NEW_DIRECTORY))
def test_a_first_start_that_fails_anywhere_can_be_repeated(tmp_path: Path, good_syncs: int) -> None:
    """docs/storage-format.md: `server` is written last, and until then nothing has been promised."""
    with pytest.raises(StorageError):
        opened(tmp_path, failing(errno.EIO, after=good_syncs))
    storage, saved = opened(tmp_path)
    storage.close()
    assert (saved.current_term, saved.voted_for, list(saved.entries)) == (0, None, [])


@pytest.mark.parametrize("code, words", [(errno.EIO, "Input/output error"), (errno.ENOSPC, "the disk is full")])
def test_after_a_failed_fsync_nothing_is_ever_saved_again(tmp_path: Path, code: int, words: str) -> None:
    """The kernel may report the next fsync as a success although the data is gone."""
    storage, _ = opened(tmp_path, failing(code, after=SYNCS_OF_A_NEW_DIRECTORY))
    for _ in range(2):
        with pytest.raises(StorageError, match=words):
            storage.save_entries(entries_of(1))
    with pytest.raises(StorageError, match=words):
        storage.save_term_and_vote(1, None)
    storage.close()


def test_a_write_that_fails_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Disk full, in the middle of a record; the next start cuts it off."""
    written(tmp_path, 1)
    storage, _ = opened(tmp_path)
    whole_write = os.pwrite

    def write_a_part(descriptor: int, data: bytes, offset: int) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole_write(descriptor, data[: len(data) // 2], offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", write_a_part)
        with pytest.raises(StorageError, match="the disk is full") as error:
            storage.save_entries(entries_of(2, first_index=2))
    assert "\n" not in str(error.value)
    storage.close()
    assert terms_in(tmp_path) == [1]


def test_closing_saves_nothing(tmp_path: Path) -> None:
    """§5.5: stopping and crashing leave the same files."""
    storage, _ = opened(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    storage.close()
    storage.close()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
