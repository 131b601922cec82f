"""What a crash or a power failure may leave of a directory, at each step of the programs that write to it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest

Files = dict[str, bytes]


class Killed(Exception):
    """The server is killed here: nothing of it runs any more."""


class PowerFailures:
    """Watches what is done to a directory, and collects what it may hold if the power fails between two steps.

    What was not synced may be on the disk or not: the content of a file since its last sync, and the names since the
    directory's. A server that is killed leaves all of both.
    """

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self._directory = directory
        # Each file ever seen, by its inode: kept open, so that no other file gets its number.
        self._open_files: dict[int, int] = {}
        # What is there at first is durable.
        self._synced_names = self._names()
        self._synced_contents = {inode: self._content(inode) for inode in self._synced_names.values()}
        # What may be left, and what the test says had been promised by then.
        self.left: list[tuple[Files, Any]] = []
        self.promised: Any = None
        # After how many more steps to kill the server; what may be left is collected from then on.
        self.steps_to_live: Optional[int] = None
        for name in ("replace", "unlink", "ftruncate", "pwrite"):
            self._watch(name, patch)

    def sync(self, descriptor: int) -> None:
        """Sync what is open as `descriptor`: the `sync` of a `FileStorage`."""
        self._note()
        inode = os.fstat(descriptor).st_ino
        if inode == self._directory.stat().st_ino:
            self._synced_names = self._names()
        elif inode in self._open_files:
            self._synced_contents[inode] = self._content(inode)
        self._note()

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in self._open_files.values():
            os.close(descriptor)

    def _watch(self, name: str, patch: pytest.MonkeyPatch) -> None:
        function = getattr(os, name)

        def watched(*arguments: Any, **more: Any) -> Any:
            self._note()
            if name == "pwrite":
                self._write_a_part(function, *arguments)
            result = function(*arguments, **more)
            self._note()
            return result

        patch.setattr(os, name, watched)

    def _write_a_part(self, pwrite: Any, descriptor: int, data: Any, offset: int) -> None:
        pwrite(descriptor, data[:len(data) // 2], offset)
        self._note()

    def _names(self) -> dict[str, int]:
        names: dict[str, int] = {}
        for path in self._directory.iterdir():
            names[path.name] = inode = path.stat().st_ino
            if inode not in self._open_files:
                self._open_files[inode] = os.open(path, os.O_RDONLY)
        return names

    def _content(self, inode: int) -> bytes:
        descriptor = self._open_files[inode]
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)

    def _note(self) -> None:
        self._names()  # which opens new files
        if self.steps_to_live is None:
            self._note_what_is_left()
        elif self.steps_to_live == 0:
            self.steps_to_live = None
            raise Killed
        else:
            self.steps_to_live -= 1

    def _note_what_is_left(self) -> None:
        for names in self._possible_names():
            for only_synced in (False, True):
                files = {
                    name: self._synced_contents.get(inode, b"") if only_synced else self._content(inode)
                    for name, inode in names.items()
                }
                if (files, self.promised) not in self.left:
                    self.left.append((files, self.promised))

    def _possible_names(self) -> Iterator[dict[str, int]]:
        """Return the names that the directory may have: each one that changed since the last sync as before or after.
        """
        before, after = self._synced_names, self._names()
        changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
        for choice in itertools.product((before, after), repeat=len(changed)):
            names = dict(after)
            for name, side in zip(changed, choice):
                names.pop(name, None)
                if name in side:
                    names[name] = side[name]
            yield names


def laid_out(directory: Path, files: Files) -> Path:
    """Make `directory` hold `files`."""
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory
