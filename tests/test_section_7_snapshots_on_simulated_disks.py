"""A simulated disk does with snapshots what a directory does (§7): the same bytes, and no more survives a crash."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Callable

import pytest
from bare_simulation import simulation
from snapshots import (
    CURRENT_TERM,
    indexes,
    log_from,
    metadata_of,
    records_in,
    records_of,
    send_snapshot,
    snapshot_of,
    take_snapshot,
)
from storage_lives import LIFE, Promised, check, live

from raft_threads.entry_format import BadLine
from raft_threads.log_format import read_log
from raft_threads.simulation.disk import DiskMood, DiskOfOneBoot, SimulatedDisk
from raft_threads.simulation.policies import CALM, MILLISECOND, Policy, Tendencies
from raft_threads.simulation.scheduler import Scheduler
from raft_threads.storage import BadSnapshot, StorageError


def new_disk(seed: int = 1) -> SimulatedDisk:
    """Return an empty disk whose server has this thread only."""
    return SimulatedDisk(Scheduler(Policy(CALM, random.Random(1))), "n1", random.Random(seed))


def opened_disk() -> DiskOfOneBoot:
    """Return the storage of a new server that has saved its term."""
    storage = new_disk().open()
    storage.load()
    storage.save_term_and_vote(CURRENT_TERM, None)
    return storage


def test_a_server_lives_on_a_simulated_disk_as_on_a_real_one() -> None:
    """The same steps are promised, and found after a crash."""
    disk = new_disk()
    promises: list[Promised] = []
    live(disk.open(), promises.append)
    assert len(promises) == len(LIFE) + 1
    disk.crash()
    storage = disk.open()
    check(storage, storage.load(), promises[-1])


def test_a_crash_at_any_time_loses_nothing_that_was_promised() -> None:
    """§5.5: renames have happened or not, and what was not synced is lost. Whoever crashes again is repaired again."""
    starts: set[int] = set()
    for seed in range(150):
        with simulation(seed) as world:
            disk = SimulatedDisk(world.scheduler, "n1", random.Random(seed))
            disk.mood = DiskMood(0, 5 * MILLISECOND)
            promises: list[Promised] = []
            living = world.mortal.Thread(target=live, args=(disk.open(), promises.append), name="n1")
            living.start()
            world.time.sleep(random.Random(f"{seed} end").uniform(0, 0.07))
            world.scheduler.kill(world.group)
            disk.crash()
            storage = disk.open()
            saved = storage.load()
            assert disk.entries() == list(saved.entries)
            check(storage, saved, promises[-1] if promises else Promised())
            starts.add(saved.start.last_included_index if saved.start is not None else 0)
    assert starts == {0, 4, 6, 10, 11, 12}


def killed_during(step: Callable[[DiskOfOneBoot], object], seed: int) -> tuple[bool, list[int]]:
    """Return whether there is a snapshot, and which entries the log holds, if the server crashes in `step`'s midst.

    It had entries 1 to 3, and a snapshot up to 2 that was written, but did not count yet.
    """
    with simulation(seed) as world:
        disk = SimulatedDisk(world.scheduler, "n1", random.Random(seed))
        storage = disk.open()
        storage.save_term_and_vote(CURRENT_TERM, None)
        storage.save_entries(log_from(1, 1, 1, 1))
        storage.write_snapshot(metadata_of(2, 1), records_of(2))
        disk.mood = DiskMood(MILLISECOND, MILLISECOND)
        world.mortal.Thread(target=step, args=(storage,)).start()
        world.time.sleep(0.0005)
        world.scheduler.kill(world.group)
        disk.crash()
        return disk.start() is not None, indexes(read_log(disk.lines, CURRENT_TERM).entries)


def test_a_rename_that_a_crash_interrupts_has_happened_or_not() -> None:
    """docs/storage-format.md: of a snapshot that is adopted, and of a log that is replaced."""
    adopted = [killed_during(lambda storage: storage.adopt_written(), seed) for seed in range(20)]
    assert sorted(set(map(str, adopted))) == ["(False, [1, 2, 3])", "(True, [1, 2, 3])"]
    replaced = [killed_during(lambda storage: storage.replace_log(log_from(1, 1)), seed) for seed in range(20)]
    assert sorted(set(map(str, replaced))) == ["(False, [1, 2, 3])", "(False, [1])"]


def test_a_log_left_behind_its_snapshot_is_cut_at_the_start() -> None:
    """Fig. 13, rule 6: a crash came after the snapshot was saved."""
    disk = new_disk()
    storage = disk.open()
    storage.save_term_and_vote(CURRENT_TERM, None)
    storage.save_entries(log_from(1, 1, 1, 1))
    storage.write_snapshot(metadata_of(2, 1), records_of(2))
    assert storage.adopt_written()
    assert indexes(disk.entries()) == [3], "as whoever looks at the disk sees it"
    storage = disk.open()
    saved = storage.load()
    assert (saved.start, indexes(saved.entries)) == (metadata_of(2, 1), [3])
    storage.save_entries(log_from(4, 1))
    storage.save_entries(log_from(3, 2, 2))
    assert disk.open().load().entries == list(log_from(3, 2, 2))
    for index in (2, 6):
        with pytest.raises(ValueError, match="gap"):
            storage.save_entries(log_from(index, 2))
    with pytest.raises(ValueError, match="cannot follow"):
        storage.replace_log(log_from(4, 2))


def test_a_lost_snapshot_is_noticed() -> None:
    """No crash of a simulated disk loses one; a bug could."""
    disk = new_disk()
    storage = disk.open()
    storage.save_term_and_vote(CURRENT_TERM, None)
    take_snapshot(storage, 3, 1, [])
    disk.snapshot = b""
    with pytest.raises(BadLine, match="the snapshot is missing"):
        disk.open().load()


def test_snapshots_are_the_same_bytes_as_real_ones() -> None:
    """docs/storage-format.md; chunks carry them as they are."""
    storage = opened_disk()
    with pytest.raises(ValueError, match="there is no snapshot"):
        storage.open_snapshot()
    take_snapshot(storage, 3, 1, [])
    reader = storage.open_snapshot()
    assert reader.read(0, 10**6) == snapshot_of(3, 1)
    assert (reader.metadata, reader.size_bytes) == (metadata_of(3, 1), len(snapshot_of(3, 1)))
    assert send_snapshot(storage, snapshot_of(5, 2)) == metadata_of(5, 2)
    assert (list(reader.records()), records_in(storage)) == (list(records_of(3)), list(records_of(5)))
    assert send_snapshot(storage, snapshot_of(5, 2)) is None


def test_what_is_not_whole_or_was_not_written_is_not_adopted() -> None:
    """As FileStorage does."""
    storage = opened_disk()
    with pytest.raises(ValueError, match="no snapshot was written"):
        storage.adopt_written()
    with pytest.raises(ValueError, match="gap"):
        storage.store_chunk(5, b"later")
    with pytest.raises(BadSnapshot, match="line 1"):
        storage.adopt_received()
    for data, words in ((snapshot_of(3, 1)[:-1], "cut short"), (snapshot_of(3, CURRENT_TERM + 1), "saved term")):
        with pytest.raises(BadSnapshot, match=words):
            send_snapshot(storage, data)
    storage.write_snapshot(metadata_of(3, CURRENT_TERM + 1), [])
    with pytest.raises(ValueError, match="saved term"):
        storage.adopt_written()


@pytest.mark.parametrize("seed", range(5))
def test_entries_are_saved_while_a_snapshot_is_written(seed: int) -> None:
    """§7: other threads run between its records."""
    with simulation(seed, Tendencies(preempt=0.3)) as world:
        disk = SimulatedDisk(world.scheduler, "n1", random.Random(seed))
        storage = disk.open()
        storage.save_term_and_vote(CURRENT_TERM, None)
        seen: list[int] = []

        def records() -> Iterator[bytes]:
            for record in records_of(200):
                seen.append(len(disk.lines))
                yield record

        def save() -> None:
            for index in range(1, 31):
                storage.save_entries(log_from(index, 1))

        def write() -> None:
            storage.write_snapshot(metadata_of(200, 1), records())

        threads = [world.threading.Thread(target=each) for each in (save, write)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert storage.adopt_written()
        assert len(set(seen)) > 5 and len(disk.lines) == 30


def test_two_snapshots_written_at_once_are_a_bug() -> None:
    """There is one thread that writes them, and one file."""
    with simulation() as world:
        disk = SimulatedDisk(world.scheduler, "n1", random.Random(1))
        disk.mood = DiskMood(MILLISECOND, MILLISECOND)
        storage = disk.open()
        writer = world.threading.Thread(target=lambda: storage.write_snapshot(metadata_of(2, 1), []))
        writer.start()
        world.time.sleep(0.0005)
        with pytest.raises(AssertionError, match="two threads of n1 write snapshots at once"):
            storage.write_snapshot(metadata_of(3, 1), [])


@pytest.mark.parametrize(
    "mood, words", [(DiskMood(full=True), "the disk is full"), (DiskMood(failing=True), "fsync failed")]
)
def test_a_full_or_broken_disk_takes_no_snapshot_and_fails_for_good(mood: DiskMood, words: str) -> None:
    """As with entries; the thread that failed writes no more, and another one may."""
    disk = new_disk()
    storage = disk.open()
    storage.save_term_and_vote(CURRENT_TERM, None)
    disk.mood = mood
    with pytest.raises(StorageError, match=words):
        storage.write_snapshot(metadata_of(3, 1), records_of(3))
    with pytest.raises(StorageError, match=words):
        storage.save_entries(log_from(1, 1))
    assert (disk.writers, disk.snapshot_writers) == (0, 0)
    disk.mood = DiskMood()
    with pytest.raises(StorageError, match=words):
        storage.save_entries(log_from(1, 1))
    disk.crash()
    take_snapshot(disk.open(), 3, 1, [])
