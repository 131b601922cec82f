"""One Raft server: the threaded shell around the rules (§5). The paper says "server"; `Node` is our word for it.

Threads wait on the conditions of one lock (`monitor.py`) until there is something to do, ask a rule what, let go of
the lock for what blocks (network, disk, state machine), take it again, look whether they still are in the term and
role they were in, and hand the outcome to a rule. `docs/threads.md` draws it.

Time, threads, chance, network, disk and state machine are handed in. No module of the node imports `threading`,
`time` or `random`, so that a simulator can run the very same code.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Callable, Optional, Protocol

from raft_threads import election, replication
from raft_threads.client_messages import ServerStatus
from raft_threads.entry_format import MAX_COMMAND_BYTES
from raft_threads.events import (
    Applied,
    ElectionTimedOut,
    EntriesDeleted,
    Glimpse,
    Observer,
    ReplySent,
    Restarted,
    glimpse,
)
from raft_threads.log import COMMAND, Log, LogEntry
from raft_threads.messages import AppendEntries, AppendEntriesReply, Reply, Request, RequestVote, RequestVoteReply
from raft_threads.monitor import Monitor
from raft_threads.peer_thread import MAX_ENTRIES_PER_MESSAGE, PeerThread
from raft_threads.proposals import NotLeader, OutcomeUnknown, Proposal, settle
from raft_threads.runtime import Runtime
from raft_threads.state import Role, SafetyViolation, State
from raft_threads.storage import Storage
from raft_threads.timing import Timing, election_timeout_elapsed
from raft_threads.transport import RequestRefused, Transport

logger = logging.getLogger(__name__)

# How many entries are applied between two looks at the lock.
MAX_ENTRIES_PER_APPLY = 1024


class StateMachine(Protocol):
    """What the log is for (§2). Deterministic: the same commands in the same order give the same results."""

    def apply(self, command: bytes) -> bytes:
        """Execute `command` and return its result. A command that makes no sense gets a result that says so."""


class Node:
    """One server of a Raft cluster.

    Callers use the public methods; each takes the lock itself. The transport calls `handle_request_vote` and
    `handle_append_entries`. Of the other methods, those named `..._main` are threads and take the lock; for the rest
    the docstring says whether it is called with the lock held.
    """

    def __init__(
        self,
        server: str,
        servers: Sequence[str],
        *,
        transport: Transport,
        storage: Storage,
        state_machine: StateMachine,
        timing: Timing = Timing(),
        runtime: Runtime = Runtime(),
        observers: Sequence[Observer] = (),
        max_entries_per_message: int = MAX_ENTRIES_PER_MESSAGE,
    ) -> None:
        """Make server `server` of the cluster `servers` out of what `storage` holds. Raises StorageError."""
        if server not in servers:
            raise ValueError(f"server {server} is not among the servers of the cluster: {', '.join(servers)}")
        self._transport = transport
        self._storage = storage
        self._state_machine = state_machine
        self._max_entries_per_message = max_entries_per_message
        saved = storage.load()
        self._repairs = saved.notes
        self._state = State(
            id=server,
            servers=tuple(servers),
            current_term=saved.current_term,
            voted_for=saved.voted_for,
            log=Log(saved.entries),
            saved_term_and_vote=(saved.current_term, saved.voted_for),
        )
        self._monitor = Monitor(self._state, storage, timing, runtime, observers)
        self._lock = self._monitor.lock
        self._threads: list[Any] = []

    # For callers

    def start(self) -> None:
        """Start as a follower (§5.2), with threads of our own. Called once."""
        for repair in self._repairs:
            logger.warning("%s: %s", self._state.id, repair)
        with self._lock:
            self._monitor.narrator.tell(Restarted, entries=tuple(self._state.log.all_entries()), start=self._state.log.start)
            self._monitor.restart_election_timer()
        self._start_thread("election-timer", self._election_timer_main)
        self._start_thread("disk", self._disk_main)
        self._start_thread("apply", self._apply_main)
        for peer in self._state.peers:
            sender = PeerThread(self._monitor, self._transport, peer, self._max_entries_per_message)
            self._start_thread(f"peer-{peer}", sender.main)
        self._transport.start(self._handle_request)

    def stop(self) -> None:
        """End all threads and let go of network and disk. Like a crash, it saves nothing that was not saved before."""
        with self._lock:
            self._monitor.begin_stopping(None)
        self._transport.close()
        for thread in self._threads:
            thread.join()
        self._storage.close()

    def wait_until_stopping(self) -> Optional[Exception]:
        """Wait until the node stops; return why if it had to, None if it was asked to. `stop` is still to be called."""
        with self._lock:
            while not self._monitor.stopping:
                self._monitor.stopping_began.wait()
            return self._monitor.failure

    @property
    def state(self) -> State:
        """The state itself, for checks: look at it only with the lock held, as an observer does, or while all stand."""
        return self._state

    @property
    def failure(self) -> Optional[Exception]:
        """Why the node stopped by itself, None if it has not; to be looked at as `state` is."""
        return self._monitor.failure

    def propose(self, command: bytes, timeout: float) -> bytes:
        """Have `command` replicated and applied; return what the state machine answered (§5.3).

        Waits `timeout` seconds at most. Raises NotLeader and CommandFailed when the command was surely not executed,
        OutcomeUnknown when it may have been, ValueError when it is larger than MAX_COMMAND_BYTES.
        """
        if len(command) > MAX_COMMAND_BYTES:
            raise ValueError(f"a command has at most {MAX_COMMAND_BYTES} bytes, not {len(command)}")
        with self._lock:
            proposal = self._append_command(command)
        result = proposal.wait(timeout)
        if result is None:
            with self._lock:
                self._monitor.proposals.discard(proposal)
            result = proposal.wait(0)
        if result is None:
            raise OutcomeUnknown(f"the command was not committed within {timeout:g} s")
        return result

    def status(self) -> ServerStatus:
        """Return how this server is now."""
        with self._lock:
            state = self._state
            return ServerStatus(
                id=state.id,
                role=state.role.value,
                term=state.current_term,
                leader=state.leader_id,
                commit_index=state.commit_index,
                last_applied=state.last_applied,
                last_log_index=state.log.last_index,
            )

    def log_entries(self) -> list[LogEntry]:
        """Return a copy of the whole log: for demonstrations and tests."""
        with self._lock:
            return self._state.log.all_entries()

    def expire_election_timer(self) -> None:
        """Behave as if the election timeout elapsed now: for demonstrations and tests. A leader has no such timer."""
        with self._lock:
            self._monitor.set_election_timer(0.0)
            self._monitor.election_due.notify()

    # For the transport: the two RPCs of Fig. 2

    def handle_request_vote(self, peer: str, request: RequestVote) -> Reply:
        """Answer a candidate (§5.2). Raises RequestRefused when this node stops, or `peer` is an impostor."""
        refuse_impostor(peer, request.candidate_id)
        with self._lock:
            self._refuse_if_stopping()
            before = glimpse(self._state)
            reply = election.handle_request_vote(self._state, request)
            self._after_request(peer, request, reply, before)
            self._monitor.save()  # persist before answering (Fig. 2)
            return self._answer(peer, request, reply)

    def handle_append_entries(self, peer: str, request: AppendEntries) -> Reply:
        """Answer a leader (§5.3). Raises RequestRefused as above, and for what contradicts Fig. 3."""
        refuse_impostor(peer, request.leader_id)
        with self._lock:
            self._refuse_if_stopping()
            before = glimpse(self._state)
            conflict = self._conflict_to_tell_of(request)
            try:
                reply = replication.handle_append_entries(self._state, request)
            except SafetyViolation as violation:
                logger.error("%s: refused a message of %s: %s", self._state.id, peer, violation)
                raise RequestRefused(str(violation)) from violation
            self._after_request(peer, request, reply, before, conflict)
            self._monitor.save()  # persist before answering (Fig. 2)
            return self._answer(peer, request, reply)

    def _handle_request(self, peer: str, request: Request) -> Reply:
        if isinstance(request, RequestVote):
            return self.handle_request_vote(peer, request)
        return self.handle_append_entries(peer, request)

    def _refuse_if_stopping(self) -> None:
        """Called with the lock held."""
        if self._monitor.stopping:
            raise RequestRefused("this server is stopping")

    def _conflict_to_tell_of(self, request: AppendEntries) -> int:
        """Return where `request` conflicts with our log, if an observer wants to know. Called with the lock held."""
        if not self._monitor.narrator.wants(EntriesDeleted):
            return 0
        return replication.first_conflict(self._state.log, request.entries)

    def _after_request(
        self, peer: str, request: Request, reply: Reply, before: Glimpse, conflict: Optional[int] = None
    ) -> None:
        """Restart the timer if that was a leader or our candidate; see to what changed. Called with the lock held."""
        if election.restarts_election_timer(reply, request.term):
            self._monitor.restart_election_timer()
        self._monitor.narrator.tell_of_request(peer, request, reply)
        self._monitor.react(before, conflict)

    def _answer(self, peer: str, request: Request, reply: Reply) -> Reply:
        """Return what leaves for `peer` now that our disk holds what it promises.

        A refusal instead of `reply`, if the disk took so long that we are in a newer term; which it must hold as well.
        Called with the lock held; lets go of it if the disk has to work for that.
        """
        while not self._state.term_and_vote_are_saved():
            self._monitor.save()
        term = self._state.current_term
        if reply.term != term:
            refused = isinstance(reply, RequestVoteReply)
            reply = RequestVoteReply(term, False) if refused else AppendEntriesReply(term, False)
        self._monitor.narrator.tell(ReplySent, peer=peer, message=request, reply=reply)
        return reply

    # Clients' commands (Fig. 2, "Leaders")

    def _append_command(self, command: bytes) -> Proposal:
        """Append a client's command to the log, if this is the leader. Called with the lock held."""
        monitor = self._monitor
        if monitor.stopping or self._state.role is not Role.LEADER:
            raise NotLeader(None if monitor.stopping else self._state.leader_id)
        before = glimpse(self._state)
        proposal = Proposal(replication.append_command(self._state, command), monitor.runtime)
        monitor.proposals.add(proposal)
        monitor.react(before)
        return proposal

    # The election timer (§5.2)

    def _election_timer_main(self) -> None:
        monitor = self._monitor
        with self._lock:
            while True:
                while not (monitor.stopping or self._election_is_due()):
                    monitor.election_due.wait(self._seconds_to_election())
                if monitor.stopping:
                    return
                self._start_election()

    def _election_is_due(self) -> bool:
        """Called with the lock held."""
        elapsed = election_timeout_elapsed(self._monitor.now(), self._monitor.election_deadline)
        return elapsed and self._state.role is not Role.LEADER

    def _seconds_to_election(self) -> Optional[float]:
        """Return how long the timer may sleep; None, for ever, while we lead. Called with the lock held."""
        if self._state.role is Role.LEADER:
            return None
        return max(0.0, self._monitor.election_deadline - self._monitor.now())

    def _start_election(self) -> None:
        """Become a candidate; ask for votes once term and vote are saved (Fig. 2).

        Called with the lock held; lets go of it while they are saved.
        """
        monitor = self._monitor
        before = glimpse(self._state)
        monitor.narrator.tell(ElectionTimedOut)
        election.begin_election(self._state)
        monitor.restart_election_timer()
        monitor.react(before)
        monitor.save()
        before = glimpse(self._state)
        election.become_leader_if_elected(self._state)  # a cluster of one needs nobody else's vote
        monitor.react(before)
        monitor.wake_peer_threads()

    # The leader's disk, in parallel with replication (Diss. §10.2.1)

    def _disk_main(self) -> None:
        with self._lock:
            while True:
                while not (self._monitor.stopping or self._leader_has_unsaved_entries()):
                    self._monitor.to_save.wait()
                if self._monitor.stopping:
                    return
                self._monitor.save()

    def _leader_has_unsaved_entries(self) -> bool:
        """Called with the lock held."""
        return self._state.role is Role.LEADER and not self._state.is_saved()

    # Applying committed entries (Fig. 2, "All Servers")

    def _apply_main(self) -> None:
        monitor, state = self._monitor, self._state
        while True:
            with self._lock:
                while not (monitor.stopping or state.commit_index > state.last_applied):
                    monitor.to_apply.wait()
                if monitor.stopping:
                    return
                entries = replication.entries_to_apply(state, MAX_ENTRIES_PER_APPLY)
            results = [self._state_machine.apply(entry.command) if entry.kind == COMMAND else b"" for entry in entries]
            with self._lock:
                settled = self._record_applied(entries, results)
            for proposal, entry, result in settled:
                settle(proposal, entry, result)

    def _record_applied(
        self, entries: Sequence[LogEntry], results: Sequence[bytes]
    ) -> list[tuple[Proposal, LogEntry, bytes]]:
        """Note what was applied; return who waits for it, to be woken without the lock. Called with the lock held."""
        settled = []
        for entry, result in zip(entries, results):
            replication.record_applied(self._state, entry.index)
            self._monitor.narrator.tell(Applied, entry=entry, result=result)
            settled += [(proposal, entry, result) for proposal in self._monitor.proposals.take(entry.index)]
        return settled

    # Threads

    def _start_thread(self, name: str, main: Callable[[], None]) -> None:
        thread = self._monitor.runtime.threading.Thread(
            target=self._run, args=(main,), name=f"{self._state.id}/{name}"
        )
        thread.start()
        self._threads.append(thread)

    def _run(self, main: Callable[[], None]) -> None:
        """Run a thread's loop. If it fails the whole node stops: a server with half its threads is worse than none."""
        try:
            main()
        except RequestRefused:
            logger.debug("%s: a thread ends because the disk failed", self._state.id)
        except Exception as error:
            logger.exception("%s: a thread failed", self._state.id)
            with self._lock:
                self._monitor.begin_stopping(error)


def refuse_impostor(peer: str, claimed: str) -> None:
    """Raise RequestRefused when `peer` sends in another server's name."""
    if peer != claimed:
        raise RequestRefused(f"{peer} sent a message in the name of {claimed}")
