"""Clients that wait: for commands to be applied (§5.3), for reads to be confirmed (§8), for operators' wishes."""

from __future__ import annotations

from typing import Any, Optional

from raft_threads.log import LogEntry
from raft_threads.runtime import Runtime


class NotLeader(Exception):
    """Only the leader takes commands (§5.1). The command was surely not executed; `leader_id` may know better."""

    def __init__(self, leader_id: Optional[str]) -> None:
        super().__init__(f"this server is not the leader; {leader_id or 'nobody known'} is")
        self.leader_id = leader_id


class CommandFailed(Exception):
    """The command was surely not executed, and never will be. The text says why."""


class SessionExpired(Exception):
    """The command was not executed now: its session is not known any more. Of earlier attempts nobody can tell."""


class OutcomeUnknown(Exception):
    """The command is in a log, but was not applied in time. It may have been executed, or may be later, or never."""


class WakeUp:
    """What one caller waits for, with a wake-up of its own.

    The wake-up is a lock, held from the start and released once by whoever has the outcome: cheaper than an Event or a
    Future, and it wakes this one thread only.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._result: Optional[bytes] = None
        self._failure: Optional[Exception] = None
        self._outcome_known: Any = runtime.threading.Lock()
        self._outcome_known.acquire()

    def succeed(self, result: bytes) -> None:
        """Hand over the result. Called once, instead of `fail`."""
        self._result = result
        self._outcome_known.release()

    def fail(self, failure: Exception) -> None:
        """Hand over why there will be no result. Called once, instead of `succeed`."""
        self._failure = failure
        self._outcome_known.release()

    def wait(self, timeout: float) -> Optional[bytes]:
        """Wait up to `timeout` seconds; return the result, None when time is up. Raises what `fail` was given."""
        if not self._outcome_known.acquire(timeout=max(0.0, timeout)):
            return None
        # Whoever waits again, because it looked away in between, finds the door open.
        self._outcome_known.release()
        if self._failure is not None:
            raise self._failure
        return self._result


class Proposal(WakeUp):
    """A command whose entry its caller waits for."""

    def __init__(self, entry: LogEntry, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.index = entry.index
        self.term = entry.term


class WaitingRead(WakeUp):
    """A read that waits until `index` is applied and the round of heartbeats `read_round` confirmed (§8)."""

    def __init__(self, query: bytes, index: int, read_round: int, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.query = query
        self.index = index
        self.read_round = read_round


class Proposals:
    """The waiting proposals of one node, by log index. Guarded by the node's lock."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[Proposal]] = {}

    def add(self, proposal: Proposal) -> None:
        """Keep `proposal` until its index is applied. There may be several at one index, of different terms."""
        self._waiting.setdefault(proposal.index, []).append(proposal)

    def discard(self, proposal: Proposal) -> None:
        """Forget `proposal`, if it is still here: nobody waits for it any more."""
        waiting = self._waiting.get(proposal.index, [])
        if proposal in waiting:
            waiting.remove(proposal)
            if not waiting:
                del self._waiting[proposal.index]

    def take(self, index: int) -> list[Proposal]:
        """Remove and return the proposals that wait for `index`."""
        return self._waiting.pop(index, [])

    def take_up_to(self, index: int) -> list[Proposal]:
        """Remove and return the proposals that wait for `index` or an earlier one."""
        passed = sorted(at for at in self._waiting if at <= index)
        return [proposal for at in passed for proposal in self._waiting.pop(at)]

    def take_all(self) -> list[Proposal]:
        """Remove and return all proposals."""
        everything = [proposal for waiting in self._waiting.values() for proposal in waiting]
        self._waiting.clear()
        return everything


def settle(proposal: Proposal, applied: LogEntry, result: Optional[bytes]) -> None:
    """Tell the one who waits what became of its command, now that `applied` is the committed entry at its index.

    Another term there means that another leader's entry was chosen: by State Machine Safety (Fig. 3) the command can
    then never be executed. That our log lost it earlier proves nothing: other logs may still hold it (Fig. 8).
    """
    if applied.term != proposal.term:
        proposal.fail(CommandFailed("another leader's entry took the place of the command in the log"))
    elif result is None:
        proposal.fail(SessionExpired("the client's session is not known any more; the command was not executed now"))
    else:
        proposal.succeed(result)
