"""A client's side of a session (§8; Diss. §6.3): its id, the numbers of its commands, and which of them are open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable, Optional

from raft_threads.client_requests import Deadline, SurelyFailed
from raft_threads.runtime import Runtime
from raft_threads.sessions import MAX_REPLIES_PER_SESSION


class ClientSession:
    """Shared by all threads that use one client, so that it may have several commands under way."""

    def __init__(self, runtime: Runtime) -> None:
        self._lock = runtime.threading.Lock()
        # Predicate: "the next number is not too far ahead of the first open command". Notified when one is over.
        self._window_moved = runtime.threading.Condition(self._lock)
        self._newest = 0
        self._open: set[int] = set()
        # Held while a session is being opened, so that two threads do not open two.
        self._opening = runtime.threading.Lock()
        self._client_id: Optional[int] = None

    def client_id(self, register: Callable[[], int]) -> int:
        """Return the id of the session; have `register` open one if there is none. It may block, and may raise."""
        with self._opening:
            if self._client_id is None:
                self._client_id = register()
            return self._client_id

    def expired(self, client_id: int) -> None:
        """Note that no server knows the session `client_id` any more: the next command needs a new one."""
        with self._opening:
            if self._client_id == client_id:
                self._client_id = None

    @contextmanager
    def command(self, deadline: Deadline) -> Iterator[int]:
        """Give a new command its number, which stays open in here: until then its answer must be remembered.

        Waits until `deadline` while too many are open. Raises SurelyFailed.
        """
        sequence = self._begin(deadline)
        try:
            yield sequence
        finally:
            with self._lock:
                self._open.discard(sequence)
                self._window_moved.notify_all()

    def _begin(self, deadline: Deadline) -> int:
        with self._lock:
            while self._open and self._newest + 1 >= min(self._open) + MAX_REPLIES_PER_SESSION:
                if deadline.remaining() <= 0:
                    raise SurelyFailed("too many commands are under way in one session")
                self._window_moved.wait(deadline.remaining())
            self._newest += 1
            self._open.add(self._newest)
            return self._newest

    def first_unanswered(self) -> int:
        """Return the number of the oldest command that is open; there is one. The servers may forget all before it."""
        with self._lock:
            return min(self._open)
