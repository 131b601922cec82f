"""Stand-ins for a node's surroundings, which a test holds in its hand: network, disk, state machine."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable, Optional

from raft_threads.entry_format import BadLine
from raft_threads.events import Event
from raft_threads.log import LogEntry, SnapshotMetadata
from raft_threads.messages import (
    AppendEntries,
    AppendEntriesReply,
    Reply,
    Request,
    RequestVote,
    RequestVoteReply,
)
from raft_threads.node import Node
from raft_threads.recorder import EventRecorder
from raft_threads.runtime import Runtime
from raft_threads.simulation.disk import SnapshotInMemory
from raft_threads.snapshot_format import check_snapshot, snapshot_lines
from raft_threads.storage import BadSnapshot, SavedState, StorageError
from raft_threads.timing import Timing
from raft_threads.transport import HandleRequest, PeerDidNotAnswer

PATIENCE = 10.0
# For tests that decide themselves who times out: nobody does by chance.
NEVER = Timing(1000.0, 2000.0, 0.02)


class Gate:
    """Lets threads through, or holds them until it is opened."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._open = True
        self._held = 0

    def close(self) -> None:
        """Hold whoever comes from now on."""
        with self._condition:
            self._open = False

    def open(self) -> None:
        """Let everybody through."""
        with self._condition:
            self._open = True
            self._condition.notify_all()

    def pass_through(self) -> None:
        """Called by the one who may be held."""
        with self._condition:
            self._held += 1
            self._condition.notify_all()
            while not self._open:
                assert self._condition.wait(PATIENCE), "nobody opened the gate"
            self._held -= 1

    def wait_until_held(self) -> None:
        """Return once somebody is held."""
        with self._condition:
            while not self._held:
                assert self._condition.wait(PATIENCE), "nobody came to the gate"


class MemoryStorage:
    """A disk that writes when its gate lets it, fails when told to, and remembers every write."""

    def __init__(self, saved: Optional[SavedState] = None) -> None:
        self.saved = saved or SavedState(0, None, [])
        start = self.saved.start
        # The snapshot that counts (without records if it was there from the beginning), and those that do not yet.
        self.snapshot = b"".join(snapshot_lines(start, [])) if start is not None else b""
        self.written = self.received = b""
        self.gate = Gate()
        self.fails = False
        self.writes: list[Any] = []
        self.closed = False

    def load(self) -> SavedState:
        return self.saved

    def save_term_and_vote(self, current_term: int, voted_for: Optional[str]) -> None:
        self._write((current_term, voted_for))

    def save_entries(self, entries: Sequence[LogEntry]) -> None:
        if entries:
            self._write([(entry.index, entry.term) for entry in entries])

    def replace_log(self, entries: Sequence[LogEntry]) -> None:
        self._write(("log", [(entry.index, entry.term) for entry in entries]))

    def write_snapshot(self, metadata: SnapshotMetadata, records: Iterable[bytes]) -> None:
        written = b"".join(snapshot_lines(metadata, records))
        self._write(("written", metadata.last_included_index))
        self.written = written

    def adopt_written(self) -> bool:
        return self._adopt(self.written) is not None

    def store_chunk(self, offset: int, data: bytes) -> None:
        if offset > len(self.received):
            raise ValueError(f"a gap before byte {offset}")
        self._write(("chunk", offset, len(data)))
        self.received = self.received[:offset] + data

    def adopt_received(self) -> Optional[SnapshotMetadata]:
        received, self.received = self.received, b""
        try:
            check_snapshot(io.BytesIO(received))
        except BadLine as error:
            raise BadSnapshot(str(error)) from error
        return self._adopt(received)

    def open_snapshot(self) -> SnapshotInMemory:
        return SnapshotInMemory(self.snapshot)

    def _adopt(self, snapshot: bytes) -> Optional[SnapshotMetadata]:
        metadata = SnapshotInMemory(snapshot).metadata
        index = metadata.last_included_index
        if self.snapshot and self.open_snapshot().metadata.last_included_index >= index:
            return None
        self._write(("snapshot", index))
        self.snapshot = snapshot
        return metadata

    def _write(self, what: Any) -> None:
        self.gate.pass_through()
        if self.fails:
            raise StorageError("the disk is broken")
        self.writes.append(what)

    def close(self) -> None:
        self.closed = True


class ScriptedTransport:
    """A network in which the test plays the peers. Without a script, peers grant every vote and take every entry."""

    def __init__(self) -> None:
        self.answer: Callable[[str, Request], Reply] = agree
        self.gate = Gate()
        self._condition = threading.Condition()
        self._sent: list[tuple[str, Request]] = []
        self._deliver: Optional[HandleRequest] = None

    def start(self, handle_request: HandleRequest) -> None:
        self._deliver = handle_request

    def use_addresses(self, addresses: Mapping[str, str]) -> None:
        pass

    def call(self, peer: str, request: Request, timeout: float) -> Reply:
        with self._condition:
            self._sent.append((peer, request))
            self._condition.notify_all()
        self.gate.pass_through()
        return self.answer(peer, request)

    def close(self) -> None:
        self.gate.open()

    def deliver(self, peer: str, request: Request) -> Reply:
        """Bring a peer's request to the node; return its answer."""
        assert self._deliver is not None
        return self._deliver(peer, request)

    def sent(self) -> list[tuple[str, Request]]:
        """Return what the node has sent so far."""
        with self._condition:
            return list(self._sent)

    def wait_for(self, matches: Callable[[str, Any], bool], count: int = 1) -> None:
        """Return once the node has sent `count` requests that match."""
        deadline = time.monotonic() + PATIENCE
        with self._condition:
            while sum(matches(peer, request) for peer, request in self._sent) < count:
                remaining = deadline - time.monotonic()
                assert remaining > 0, f"not sent; sent were {self._sent[-10:]}"
                self._condition.wait(remaining)


def agree(peer: str, request: Request) -> Reply:
    """Answer as a peer that is of the same mind."""
    if isinstance(request, RequestVote):
        return RequestVoteReply(request.term, True)
    return AppendEntriesReply(request.term, True)


def silent(peer: str, request: Request) -> Reply:
    """Do not answer."""
    raise PeerDidNotAnswer("silence")


def votes_only(peer: str, request: Request) -> Reply:
    """Answer votes, and leave entries without an answer."""
    if isinstance(request, AppendEntries):
        raise PeerDidNotAnswer("silence")
    return agree(peer, request)


class RecordingMachine:
    """A state machine that answers with how many commands it has applied; its gate can hold it."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.applied: list[bytes] = []

    def apply(self, command: bytes) -> bytes:
        self.gate.pass_through()
        self.applied.append(command)
        return b"%d" % len(self.applied)

    def query(self, query: bytes) -> bytes:
        return b"%d" % len(self.applied)

    def capture(self) -> Iterator[bytes]:
        return iter(list(self.applied))

    def restore(self, records: Iterable[bytes]) -> None:
        self.applied = list(records)


class Bench:
    """A node among stand-ins. A context manager that starts and stops it."""

    def __init__(
        self,
        servers: Sequence[str] = ("n1", "n2", "n3"),
        saved: Optional[SavedState] = None,
        timing: Timing = NEVER,
        recorder: Optional[EventRecorder] = None,
        runtime: Runtime = Runtime(),
    ) -> None:
        self.transport = ScriptedTransport()
        self.storage = MemoryStorage(saved)
        self.machine = RecordingMachine()
        self.recorder = recorder or EventRecorder()
        self.node = Node(
            "n1",
            servers,
            transport=self.transport,
            storage=self.storage,
            state_machine=self.machine,
            timing=timing,
            runtime=runtime,
            observers=[self.recorder],
        )

    def __enter__(self) -> Bench:
        self.node.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for gate in (self.storage.gate, self.machine.gate, self.transport.gate):
            gate.open()
        self.node.stop()

    def lead(self) -> int:
        """Have the node elected, and its no-op saved, committed and applied; return its term."""
        self.node.expire_election_timer()
        self.recorder.wait_until(self._no_op_is_done, "leads")
        return self.node.status().term

    def _no_op_is_done(self) -> bool:
        status = self.node.status()
        no_op = [(status.last_log_index, status.term)]
        return status.last_applied == status.last_log_index > 0 and no_op in self.storage.writes

    def see(self, kind: type[Event], **fields: Any) -> Any:
        """Wait for an event of `kind` with these fields; return it."""
        return self.recorder.wait_for(
            kind, lambda event: all(getattr(event, name) == value for name, value in fields.items()), timeout=PATIENCE
        )


class Waits:
    """Watches a condition: which thread waits on it is up to the node, but a test can wait until one does."""

    def __init__(self, condition: Any) -> None:
        self._grew = threading.Condition()
        self._timeouts: list[Optional[float]] = []
        self._wait = condition.wait
        condition.wait = self._noted_wait

    def _noted_wait(self, timeout: Optional[float] = None) -> bool:
        with self._grew:
            self._timeouts.append(timeout)
            self._grew.notify_all()
        return bool(self._wait(timeout))

    def count(self) -> int:
        """Return how often somebody began to wait."""
        with self._grew:
            return len(self._timeouts)

    def wait_for(self, count: int) -> Optional[float]:
        """Return once somebody began to wait for the `count`th time, and for how long it wants to."""
        with self._grew:
            assert self._grew.wait_for(lambda: len(self._timeouts) >= count, PATIENCE), "nobody waits"
            return self._timeouts[count - 1]


class Background:
    """Runs something in a thread; `result()` waits for it and returns or raises what it did."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self._run = run
        self._value: Any = None
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._main, name="test/background")
        self._thread.start()

    def _main(self) -> None:
        try:
            self._value = self._run()
        except Exception as error:
            self._error = error

    def result(self) -> Any:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "it does not come to an end"
        if self._error is not None:
            raise self._error
        return self._value
