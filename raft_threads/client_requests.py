"""How a client gets a request answered by the leader (§8): whom it asks, when it asks again, what it knows at the end.

A request without an answer is the hard case: it may be in the leader's log. Whether it can be asked again depends on
what it would do a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Callable, Optional, TypeVar

from raft_threads.addresses import Address, parse_address
from raft_threads.client_connections import LeaderConnections
from raft_threads.client_messages import ErrorReply, Hello, Outcome, Refusal
from raft_threads.connection import CannotConnect, Connection, ConnectionLost
from raft_threads.runtime import Runtime
from raft_threads.wire import Message

CONNECT_TIMEOUT = 1.0
# A server that does not answer in this time what may be asked again is left for another one.
ATTEMPT_TIMEOUT = 1.0
# How much longer than the server we wait, so that its own "time is up" still reaches us.
GRACE = 0.25
FIRST_BACKOFF = 0.02
LONGEST_BACKOFF = 0.5

M = TypeVar("M")
# Makes the request, given for how many seconds the server may work on it.
MakeRequest = Callable[[float], Message]


class ClientError(Exception):
    """A command has no result. The text says why in one line."""


class SurelyFailed(ClientError):
    """The command was not executed and never will be; it may be tried again."""


class MayHaveHappened(ClientError):
    """The command may have been executed, or may be later, or never. Read before trying again."""


class SessionLost(Exception):
    """No server knows the session any more. `doubt` says why an earlier attempt may have been executed in it."""

    def __init__(self, reason: str, doubt: Optional[str]) -> None:
        super().__init__(reason)
        self.doubt = doubt


class Repeating(Enum):
    """What it would do to ask again, when a request may have been carried out already."""

    HARMLESS = "nothing that matters"  # a read
    SAFE = "nothing, as the session knows the answer"  # §8
    WRONG = "carry it out twice"


class Deadline:
    """Until when a caller waits for a result."""

    def __init__(self, timeout: float, runtime: Runtime) -> None:
        """Let `timeout` seconds begin now."""
        self.timeout = timeout
        self._time = runtime.time
        self._end = self._time.monotonic() + timeout

    def remaining(self) -> float:
        """Return how many seconds are left, none or less when the time is up."""
        left: float = self._end - self._time.monotonic()
        return left


class LeaderRequests:
    """Asks whoever leads. Shared by all threads that use one client."""

    def __init__(self, cluster: Mapping[str, Address], hello: Hello, runtime: Runtime) -> None:
        """Know of the servers in `cluster`, and introduce us with `hello`."""
        self._cluster = cluster
        self._connections = LeaderConnections(cluster.values(), hello, runtime)
        self._time = runtime.time
        self._random = runtime.random

    def ask(
        self,
        kind: type[M],
        make: MakeRequest,
        deadline: Deadline,
        repeating: Repeating = Repeating.WRONG,
        final: bool = False,
    ) -> M:
        """Return the leader's answer, which is of `kind`. Raises SurelyFailed, MayHaveHappened or SessionLost.

        A request that surely came to nothing is sent again until the time is up; one that is in doubt only if that is
        not wrong. If refusals are `final`, a leader's no is the answer.
        """
        doubt: Optional[str] = None
        hint: Optional[Address] = None
        failures = 0
        while True:
            try:
                return self._attempt(kind, make, hint, deadline, repeating)
            except _NotDone as reason:
                if final and reason.by_leader:
                    raise SurelyFailed(str(reason)) from reason
                hint, problem = reason.hint, str(reason)
            except _InDoubt as reason:
                if repeating is Repeating.WRONG:
                    raise MayHaveHappened(str(reason)) from reason
                hint, problem = None, str(reason)
                if repeating is Repeating.SAFE:
                    doubt = problem
            except _NotUnderstood as reason:
                raise failed(str(reason), doubt) from reason
            except _SessionUnknown as reason:
                raise SessionLost(str(reason), doubt) from reason
            failures += 1
            self.back_off(failures, deadline, problem, doubt)

    def back_off(self, failures: int, deadline: Deadline, problem: str, doubt: Optional[str] = None) -> None:
        """Wait before the next round of questions, longer each time, and not in step with other clients.

        Raises SurelyFailed, or MayHaveHappened if there is a `doubt`, when there is no time for that.
        """
        rounds, place_in_round = divmod(failures, self._connections.round_length())
        pause = 0.0
        if place_in_round == 0 and rounds > 0:
            pause = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(rounds, 10)) * (0.5 + self._random.random() / 2)
        if pause >= deadline.remaining():
            raise failed(f"no leader took the command within {deadline.timeout:g} s; last answer: {problem}", doubt)
        self._time.sleep(pause)

    def close(self) -> None:
        """Close all connections; those on which somebody waits for an answer, once it is there."""
        self._connections.close()

    def _attempt(
        self, kind: type[M], make: MakeRequest, hint: Optional[Address], deadline: Deadline, repeating: Repeating
    ) -> M:
        """Ask one server. Raises one of the exceptions below when there is no answer."""
        try:
            address, connection = self._connections.take(hint, max(0.01, min(CONNECT_TIMEOUT, deadline.remaining())))
        except CannotConnect as error:
            raise _NotDone(str(error)) from error
        patience = max(0.01, deadline.remaining())
        if repeating is not Repeating.WRONG:
            patience = min(patience, ATTEMPT_TIMEOUT)
        try:
            answer = connection.exchange(make(patience), patience + GRACE)
        except ConnectionLost as error:
            self._connections.did_not_lead(address, connection)
            raise _InDoubt(f"the server did not answer any more: {error}") from error
        if isinstance(answer, kind):
            self._connections.answered(address, connection)
            return answer
        raise self._meaning(answer, address, connection)

    def _meaning(self, answer: Message, address: Address, connection: Connection) -> Exception:
        """Return what to raise for an answer that is none, and look for the leader elsewhere if need be (§8)."""
        if isinstance(answer, Refusal) and answer.outcome is Outcome.SESSION_EXPIRED:
            self._connections.answered(address, connection)
            return _SessionUnknown(answer.message)
        # Who failed, or does not know, may be a leader that has lost its majority: others may have a newer one.
        self._connections.did_not_lead(address, connection)
        if isinstance(answer, ErrorReply):
            return _NotUnderstood(answer.message)
        if not isinstance(answer, Refusal):
            return _InDoubt("the server answered nonsense")
        if answer.outcome is Outcome.UNKNOWN:
            return _InDoubt(answer.message)
        return _NotDone(answer.message, self._hint_in(answer), answer.outcome is Outcome.FAILED)

    def _hint_in(self, refusal: Refusal) -> Optional[Address]:
        """Return where the leader is, as we know it or as the server says: it may have been added later (§6)."""
        told: Optional[Address] = None
        try:
            if refusal.leader_address is not None:
                told = parse_address(refusal.leader_address)
                self._connections.learn(told)
        except ValueError:
            pass  # as good as no hint
        return self._cluster.get(refusal.leader_id or "", told)


def failed(text: str, doubt: Optional[str]) -> ClientError:
    """Return what is known of a command that got no result: whether there is a `doubt` of an earlier attempt."""
    if doubt is None:
        return SurelyFailed(text)
    return MayHaveHappened(f"{text}; an earlier attempt is in doubt: {doubt}")


class _NotDone(Exception):
    """It was surely not done: ask again, at `hint` if that is known. `by_leader` if it was the leader who said no."""

    def __init__(self, reason: str, hint: Optional[Address] = None, by_leader: bool = False) -> None:
        super().__init__(reason)
        self.hint = hint
        self.by_leader = by_leader


class _InDoubt(Exception):
    """Nobody knows whether it was done."""


class _NotUnderstood(Exception):
    """It was surely not done now, and asking again would not help."""


class _SessionUnknown(Exception):
    """It was surely not done now, as the server does not know the session."""
