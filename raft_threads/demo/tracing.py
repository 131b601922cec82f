"""A trace of real servers: many threads tell of what happens, and they take turns to write it down (§5)."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from raft_threads.diagram_command import NothingToDraw, write_svg
from raft_threads.diagrams.run import Run
from raft_threads.events import EventKinds
from raft_threads.surroundings import Record
from raft_threads.trace import BadTrace, TraceWriter, Writable, read_trace


class SharedTrace:
    """An observer that any number of nodes share; what is done to the servers is told to `observe` too.

    Nodes tell of events under their own locks, several at once. The order in which they get this lock is the order of
    the trace. It contradicts nothing that the servers can know: a message is told of before it is sent, and again once
    it has come.
    """

    kinds: Optional[EventKinds] = None

    def __init__(self, file: Writable, metadata: Mapping[str, Any]) -> None:
        """Prepare to write to `file`, under a header with `metadata`."""
        self._file = file
        self._metadata = metadata
        self._lock = threading.Lock()  # guards the two below, and the file
        self._writer: Optional[TraceWriter] = None
        self.failure: Optional[OSError] = None

    def begin(self, servers: Sequence[str]) -> None:
        """Write the header, before the first event. Raises OSError when that is impossible."""
        with self._lock:
            self._writer = TraceWriter(self._file, servers, self._metadata)

    def observe(self, event: Record) -> None:
        """Write down what happened. A full disk ends the trace, and not the servers."""
        with self._lock:
            if self._writer is None:
                return
            try:
                self._writer.observe(event)
            except OSError as error:
                self._writer, self.failure = None, error


class Recording:
    """The files that the command line asks for: a trace of the run, a diagram of it, or both."""

    def __init__(self, trace_path: Optional[Path], diagram_path: Optional[Path], metadata: Mapping[str, Any]) -> None:
        """Open the files, before anything is played. Raises OSError, with all files as they were, when it cannot."""
        for path in (trace_path, diagram_path):
            if path is not None:
                open(path, "a").close()
        self._diagram_path = diagram_path
        self._title = str(metadata["scenario"])
        self._file: io.TextIOBase = io.StringIO()
        if trace_path is not None:
            self._file = open(trace_path, "w+", encoding="ascii", newline="\n")
        self.trace = SharedTrace(self._file, metadata)

    def finish(self) -> list[str]:
        """Draw the diagram and close the files, once all servers have stopped; return what is to be said of it."""
        said = [] if self.trace.failure is None else [f"The trace is not complete: {self.trace.failure.strerror}"]
        try:
            with self._file:
                if self._diagram_path is not None:
                    self._file.seek(0)
                    run = Run(read_trace(self._file))
                    said.append(f"Diagram: {self._diagram_path}, {write_svg(run, self._diagram_path, self._title)}")
        except (BadTrace, NothingToDraw) as error:
            said.append(f"There is nothing to draw: {error}")
        except OSError as error:
            said.append(f"The trace or the diagram could not be written: {error.strerror}")
        return said
