"""Files that survive a crash (Fig. 2, "Persistent state"): written, synced, and renamed into place as a whole."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Callable

# Small pieces are gathered until they are worth a system call.
BUFFER_BYTES = 1024 * 1024


def sync_file(descriptor: int) -> None:
    """Wait until the file's data is on the disk itself. On macOS fsync alone stops at the drive's cache."""
    full_sync = getattr(fcntl, "F_FULLFSYNC", None)
    if full_sync is not None:
        fcntl.fcntl(descriptor, full_sync)
    else:
        os.fsync(descriptor)


class Directory:
    """A server's data directory. Every method may raise OSError."""

    def __init__(self, path: Path, sync: Callable[[int], None]) -> None:
        """Use `path`; `sync` waits until a file descriptor's data is durable."""
        self.path = path
        self.sync_file = sync

    def __truediv__(self, name: str) -> str:
        """Return the path of the file `name`."""
        return str(self.path / name)

    def make(self) -> None:
        """Make the directory if need be, and what is missing above it. Durably, or all that it holds could be lost."""
        self._make(self.path)

    def _make(self, path: Path) -> None:
        if not path.is_dir():
            self._make(path.parent)
            path.mkdir(exist_ok=True)
            self._sync(path.parent)

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write a new file `name` and sync it. `pieces` are taken one by one; its name is not durable yet."""
        with open(self / name, "wb", BUFFER_BYTES) as file:
            file.writelines(pieces)
            file.flush()
            self.sync_file(file.fileno())

    def rename(self, name: str, new_name: str) -> None:
        """Let the file `name`, which is synced, take the place of `new_name`, durably."""
        os.replace(self / name, self / new_name)
        self.sync()

    def replace(self, name: str, pieces: Iterable[bytes]) -> None:
        """Replace the content of the file `name`: after a crash it has the old one or the new one."""
        self.write(name + ".new", pieces)
        self.rename(name + ".new", name)

    def remove(self, name: str) -> None:
        """Remove the file `name`, if it is there."""
        if os.path.exists(self / name):
            os.unlink(self / name)

    def sync(self) -> None:
        """Make durable which files there are."""
        self._sync(self.path)

    def _sync(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            self.sync_file(descriptor)
        finally:
            os.close(descriptor)


def write_fully(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`; one system call may take only a part."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def reason(error: OSError) -> str:
    """Return in a few words what the operating system complained of."""
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    return error.strerror or str(error)
