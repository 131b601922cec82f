"""What the node's tests hand in for network, disk and state machine: each does what the test tells it, when told (§5)."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, Callable, Optional, TypeVar

from raft_threads.events import BecameLeader, EventKinds
from raft_threads.log import LogEntry
from raft_threads.messages import AppendEntries, AppendEntriesReply, Reply, Request, RequestVote, RequestVoteReply
from raft_threads.node import Node
from raft_threads.recorder import EventRecorder
from raft_threads.runtime import Runtime
from raft_threads.storage import SavedState, StorageError
from raft_threads.timing import Timing
from raft_threads.transport import HandleRequest, PeerDidNotAnswer

# How long a test waits for what must happen. Far more than it takes, for busy machines.
PATIENCE = 20.0
THREE = ("n1", "n2", "n3")
# Nothing happens by itself while a test runs: no election, no heartbeat, no second try.
STILL = Timing(60.0, 120.0, 50.0)
# A server that tries again soon, but does not time out by itself.
RETRYING = Timing(60.0, 120.0, 0.01)

Script = Callable[[Request], Reply]
T = TypeVar("T")


class Journal:
    """What the doubles of one node saw, in order."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.lines: list[tuple[Any, ...]] = []

    def note(self, *line: Any) -> None:
        """Add a line."""
        with self.changed:
            self.lines.append(line)
            self.changed.notify_all()

    def wait_until(self, holds: Callable[[], T], what: str) -> T:
        """Return what `holds` returns once that is true; it is asked again after each change."""
        with self.changed:
            result = self.changed.wait_for(holds, PATIENCE)
            assert result, f"not within {PATIENCE:g} s: {what}"
            return result

    def wait_for(self, *line: Any) -> int:
        """Wait for a line that begins so; return its place."""

        def found() -> list[int]:
            return [place for place, seen in enumerate(self.lines) if seen[: len(line)] == line]

        return self.wait_until(found, f"the journal has {line}")[0]


class MemoryStorage:
    """A disk in memory, which outlives its node. Its writes can be held, and made to fail."""

    def __init__(self, *, current_term: int = 0, voted_for: Optional[str] = None, terms: Sequence[int] = ()) -> None:
        self.journal = Journal()
        self.term_and_vote = (current_term, voted_for)
        self.entries = [LogEntry(index, term, command=b"old %d" % index) for index, term in enumerate(terms, 1)]
        self.entry_writes = 0
        self.writes_waiting = 0
        self.is_closed = False
        self._held = False
        self._failure: Optional[str] = None

    def load(self) -> SavedState:
        """Return what was saved."""
        return SavedState(*self.term_and_vote, list(self.entries))

    def save_term_and_vote(self, current_term: int, voted_for: Optional[str]) -> None:
        """Save term and vote, when the test lets us."""
        self._wait_for_the_test()
        self.term_and_vote = (current_term, voted_for)
        self.journal.note("saved term and vote", current_term, voted_for)

    def save_entries(self, entries: Sequence[LogEntry]) -> None:
        """Save entries, when the test lets us."""
        if not entries:
            return
        self._wait_for_the_test()
        first_index = entries[0].index
        assert first_index <= len(self.entries) + 1, "a gap in the saved log"
        self.entries[first_index - 1:] = entries
        self.entry_writes += 1
        self.journal.note("saved entries", *[entry.index for entry in entries])

    def close(self) -> None:
        """Note that the node has let go of the disk."""
        self.is_closed = True

    def _wait_for_the_test(self) -> None:
        changed = self.journal.changed
        with changed:
            self.writes_waiting += 1
            assert self.writes_waiting == 1, "two threads write at the same time"
            changed.notify_all()
            assert changed.wait_for(lambda: not self._held, PATIENCE), "the test never released the disk"
            self.writes_waiting -= 1
            if self._failure is not None:
                raise StorageError(self._failure)

    def hold(self) -> None:
        """Let every write from now on wait."""
        with self.journal.changed:
            self._held = True

    def release(self) -> None:
        """Let writes go through again."""
        with self.journal.changed:
            self._held = False
            self.journal.changed.notify_all()

    def fail(self, message: str) -> None:
        """Let every write fail from now on, also one that is held."""
        with self.journal.changed:
            self._failure = message

    def wait_until_a_write_waits(self) -> None:
        """Return once a write is being held."""
        self.journal.wait_until(lambda: self._held and self.writes_waiting > 0, "a write begins")


class Call:
    """A request that a node has sent; it waits for the answer that the test gives."""

    def __init__(self, peer: str, request: Any) -> None:
        self.peer = peer
        self.request = request
        self.thread = threading.current_thread()
        self._done = threading.Event()
        self._reply: Optional[Reply] = None

    def answer(self, reply: Reply) -> None:
        """Let the call return `reply`."""
        self._reply = reply
        self._done.set()

    def agree(self) -> None:
        """Answer as a peer that has nothing against it."""
        self.answer(agree(self.request))

    def lose(self) -> None:
        """Let the call fail: request or reply got lost."""
        self._done.set()

    def wait(self) -> Reply:
        """Return the answer; called by the node's thread."""
        assert self._done.wait(PATIENCE), "the test never answered"
        if self._reply is None:
            raise PeerDidNotAnswer("lost")
        return self._reply


class ScriptedTransport:
    """A network in which a peer answers as `scripts` say, or else when and what the test wants."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.scripts: dict[str, Script] = {}
        self.handle: Optional[HandleRequest] = None
        self._calls: list[Call] = []
        self._closed = False

    def start(self, handle_request: HandleRequest) -> None:
        """Remember who answers requests."""
        self.handle = handle_request

    def call(self, peer: str, request: Request, timeout: float) -> Reply:
        """Note the request; answer by script, or wait for the test. A script may raise."""
        call = Call(peer, request)
        with self.journal.changed:
            if self._closed:
                raise PeerDidNotAnswer("closed")
            script = self.scripts.get(peer)
            self.journal.lines.append(("sent", peer, type(request), request))
            if script is None:
                self._calls.append(call)
            self.journal.changed.notify_all()
        return call.wait() if script is None else script(request)

    def close(self) -> None:
        """End all calls."""
        with self.journal.changed:
            self._closed = True
            calls = list(self._calls)
        for call in calls:
            call.lose()

    def next_call(self, kind: type[Request], peer: str) -> Call:
        """Wait for a request of `kind` to `peer`, and take it: it waits for the test's answer."""

        def found() -> Optional[Call]:
            return next((call for call in self._calls if call.peer == peer and isinstance(call.request, kind)), None)

        call = self.journal.wait_until(found, f"{kind.__name__} to {peer}")
        assert call is not None
        with self.journal.changed:
            self._calls.remove(call)
        return call

    def sent(self, kind: type[Request], peer: Optional[str] = None) -> list[Any]:
        """Return all requests of `kind` so far (to `peer`)."""
        with self.journal.changed:
            lines = [line for line in self.journal.lines if line[0] == "sent"]
        return [line[3] for line in lines if line[2] is kind and peer in (None, line[1])]


def agree(request: Request) -> Reply:
    """Return the answer of a peer that has nothing against `request`."""
    if isinstance(request, RequestVote):
        return RequestVoteReply(request.term, True)
    return AppendEntriesReply(request.term, True)


def silent(request: Request) -> Reply:
    """Be a peer that is down."""
    raise PeerDidNotAnswer("nobody there")


class RecordingStateMachine:
    """Keeps the commands it applied. Applying can be held."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.applied: list[bytes] = []
        self.may_apply = threading.Event()
        self.may_apply.set()

    def apply(self, command: bytes) -> bytes:
        """Remember `command`."""
        self.journal.note("applying", command)
        assert self.may_apply.wait(PATIENCE), "the test never let the state machine go on"
        self.applied.append(command)
        return b"did " + command


class InThread:
    """A call in a thread of its own, because it blocks."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._function = function
        self._arguments = arguments
        self._result: Any = None
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, name="test/in-thread", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = self._function(*self._arguments)
        except BaseException as error:
            self._error = error

    def is_waiting(self) -> bool:
        """Return whether the call has not returned."""
        return self._thread.is_alive()

    def result(self, timeout: float = PATIENCE) -> Any:
        """Return what the call returned, or raise what it raised."""
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the call does not return"
        if self._error is not None:
            raise self._error
        return self._result


class Dice:
    """A `random` that throws what the test wrote down; the last number for ever."""

    def __init__(self, *throws: float) -> None:
        self._throws = list(throws)

    def random(self) -> float:
        """Return the next throw."""
        return self._throws.pop(0) if len(self._throws) > 1 else self._throws[0]


class Bench:
    """One node between doubles. A context manager: starts it; stops it and looks that nothing is left running."""

    def __init__(
        self,
        servers: Sequence[str] = THREE,
        *,
        timing: Timing = STILL,
        storage: Optional[MemoryStorage] = None,
        dice: Optional[Dice] = None,
        kinds: Optional[EventKinds] = None,
    ) -> None:
        self.storage = storage or MemoryStorage()
        self.storage.is_closed = False
        self.journal = self.storage.journal
        self.transport = ScriptedTransport(self.journal)
        self.machine = RecordingStateMachine()
        self.recorder = EventRecorder(kinds)
        self.peers = [server for server in servers if server != "n1"]
        self.node = Node(
            "n1",
            servers,
            transport=self.transport,
            storage=self.storage,
            state_machine=self.machine,
            timing=timing,
            runtime=Runtime(random=dice or Dice(0.5)),
            observers=[self.recorder],
        )

    def __enter__(self) -> Bench:
        self.node.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.storage.release()
        self.machine.may_apply.set()
        self.node.stop()
        assert_no_thread_of("n1")

    def start_election(self) -> None:
        """Let the election timeout elapse (§5.2)."""
        self.node.expire_election_timer()

    def elect(self) -> int:
        """Make the node leader with everybody's vote; return its term."""
        self.start_election()
        calls = [self.transport.next_call(RequestVote, peer) for peer in self.peers]
        for call in calls:
            call.agree()
        return self.recorder.wait_for(BecameLeader, timeout=PATIENCE).state.term

    def elect_and_commit_no_op(self) -> int:
        """Make the node leader and let everybody store its no-op (§8); return its term."""
        term = self.elect()
        for peer in self.peers:
            self.transport.next_call(AppendEntries, peer).agree()
        self.wait_until(lambda: self.node.status().last_applied == self.node.status().last_log_index, "no-op applied")
        return term

    def propose(self, command: bytes, timeout: float = PATIENCE) -> InThread:
        """Let a client propose `command`."""
        return InThread(self.node.propose, command, timeout)

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until `holds()`, which may look at the node."""
        self.recorder.wait_until(holds, what, PATIENCE)


def append_entries(
    term: int, *entries: LogEntry, leader: str = "n2", prev: tuple[int, int] = (0, 0), commit: int = 0
) -> AppendEntries:
    """Return an AppendEntries of `leader` with `entries` after the entry `prev`, which is (index, term)."""
    return AppendEntries(term, leader, *prev, entries, commit)


def threads_of(server: str) -> list[str]:
    """Return the names of the threads of one server, or of all servers whose id begins so."""
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith(f"{server}/"))


def assert_no_thread_of(*servers: str) -> None:
    """Fail if a thread of one of the servers is left."""
    for server in servers:
        assert threads_of(server) == []


def seconds_to(action: Callable[[], Any]) -> float:
    """Return how long `action` took."""
    began = time.monotonic()
    action()
    return time.monotonic() - began
