"""One Raft server: the threaded shell around the rules (§5). The paper says "server"; `Node` is our word for it.

Threads wait on the conditions of one lock (`monitor.py`) until there is something to do, ask a rule what, let go of
the lock for what blocks (network, disk, state machine), take it again, look whether they still are in the term and
role they were in, and hand the outcome to a rule. `docs/threads.md` draws it. The threads stand in modules of their
own: `election_thread.py`, `peer_thread.py`, `apply_thread.py`, `snapshot_thread.py`; here are their start and end, and
what callers may ask. `request_handlers.py` answers other servers.

Time, threads, chance, network, disk and state machine are handed in. No module of the node imports `threading`,
`time` or `random`, so that a simulator can run the very same code.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Callable, Optional, Union

from raft_threads import operations, reads, replication
from raft_threads.apply_thread import ApplyThread
from raft_threads.client_messages import ServerStatus
from raft_threads.configuration import Configuration, Members
from raft_threads.election_thread import ElectionThread
from raft_threads.entry_format import MAX_COMMAND_BYTES
from raft_threads.events import Observer, Restarted, glimpse
from raft_threads.log import COMMAND, REGISTER, SESSION_COMMAND, Log, LogEntry, SnapshotMetadata
from raft_threads.monitor import Monitor
from raft_threads.options import Options
from raft_threads.peer_thread import MAX_ENTRIES_PER_MESSAGE, PeerThread
from raft_threads.proposals import CommandFailed, OutcomeUnknown, Proposal, WaitingRead
from raft_threads.request_handlers import RequestHandlers
from raft_threads.runtime import Runtime
from raft_threads.sessions import MAX_SESSIONS, Sessions, session_command
from raft_threads.snapshot_thread import SnapshotThread
from raft_threads.snapshot_transfer import MAX_CHUNK_BYTES
from raft_threads.state import Role, State
from raft_threads.state_machine import StateMachine
from raft_threads.storage import Storage, snapshot_size
from raft_threads.timing import Timing
from raft_threads.transport import RequestRefused, Transport

logger = logging.getLogger(__name__)


class Node:
    """One server of a Raft cluster.

    Callers use the public methods; each takes the lock itself. Of the other methods, those named `..._main` are threads
    and take the lock; for the rest the docstring says whether it is called with the lock held.
    """

    def __init__(
        self,
        server: str,
        configuration: Union[Configuration, Sequence[str]],
        *,
        transport: Transport,
        storage: Storage,
        state_machine: StateMachine,
        timing: Timing = Timing(),
        options: Options = Options(),
        runtime: Runtime = Runtime(),
        observers: Sequence[Observer] = (),
        max_entries_per_message: int = MAX_ENTRIES_PER_MESSAGE,
        max_chunk_bytes: int = MAX_CHUNK_BYTES,
        max_sessions: int = MAX_SESSIONS,
    ) -> None:
        """Make server `server` out of what `storage` holds. Raises StorageError.

        `configuration` is what a new cluster begins with: the same on all its servers, or their ids if no addresses are
        needed. It is blank on a server that waits to be added (§6). What `storage` knows of a later one counts more.
        """
        if not isinstance(configuration, Configuration):
            configuration = Configuration.of(configuration)
        if configuration.servers and server not in configuration:
            names = ", ".join(configuration.servers)
            raise ValueError(f"server {server} is not among the servers of the cluster: {names}")
        saved = storage.load()
        self._repairs = saved.notes
        start = saved.start or SnapshotMetadata(configuration=configuration)
        self._state = State(
            id=server,
            servers=(),
            current_term=saved.current_term,
            voted_for=saved.voted_for,
            log=Log(saved.entries, start),
            commit_index=start.last_included_index,
            saved_term_and_vote=(saved.current_term, saved.voted_for),
        )
        self._storage = storage
        self._transport = transport
        self._max_entries_per_message = max_entries_per_message
        self._max_chunk_bytes = max_chunk_bytes
        self._monitor = Monitor(self._state, storage, timing, options, runtime, observers)
        if saved.start is not None:
            self._monitor.snapshot_bytes = snapshot_size(storage)
        self._lock = self._monitor.lock
        self._machine = Sessions(state_machine, max_sessions)
        self._threads: list[Any] = []

    # Start and end

    def start(self) -> None:
        """Start as a follower (§5.2), with threads of our own. Called once."""
        monitor = self._monitor
        for repair in self._repairs:
            logger.warning("%s: %s", self._state.id, repair)
        with self._lock:
            log = self._state.log
            monitor.narrator.tell(Restarted, entries=tuple(log.all_entries()), start=log.start)
            monitor.restart_election_timer()
            self._transport.use_addresses(self._state.configuration.addresses)
            self._start_thread("election-timer", ElectionThread(monitor).main)
            self._start_thread("disk", self._disk_main)
            self._start_thread("apply", ApplyThread(monitor, self._storage, self._machine).main)
            self._start_thread("snapshot", SnapshotThread(monitor, self._storage).main)
            for peer in monitor.links:
                self._start_peer(peer)
            monitor.start_peer = self._start_peer
        self._transport.start(RequestHandlers(monitor, self._storage).handle)

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

    # For checks, demonstrations and tests

    @property
    def state(self) -> State:
        """The state itself, for checks: look at it only with the lock held, as an observer does, or while all stand."""
        return self._state

    @property
    def failure(self) -> Optional[Exception]:
        """Why the node stopped by itself, None if it has not; to be looked at as `state` is."""
        return self._monitor.failure

    @property
    def present_status(self) -> ServerStatus:
        """How this server is now; to be looked at as `state` is."""
        state = self._state
        return ServerStatus(
            id=state.id,
            role=state.role.value,
            term=state.current_term,
            leader=state.leader_id,
            commit_index=state.commit_index,
            last_applied=state.last_applied,
            last_log_index=state.log.last_index,
            snapshot_index=state.log.start.last_included_index,
            snapshot_bytes=self._monitor.snapshot_bytes,
            log_bytes=state.log.size_bytes,
            disk_writes=self._monitor.disk.writes,
            requests_answered=self._monitor.requests_answered,
        )

    def log_entries(self) -> list[LogEntry]:
        """Return a copy of the log, from the snapshot on: for demonstrations and tests."""
        with self._lock:
            return self._state.log.all_entries()

    def expire_election_timer(self) -> None:
        """Behave as if the election timeout elapsed now: for demonstrations and tests. A leader has no such timer.

        The others hear the candidate even if they hear from a leader, as in a leadership transfer (§6; Diss. §3.10).
        """
        with self._lock:
            self._monitor.stand_for_election_at_once()

    # For clients (§8)

    def propose(self, command: bytes, timeout: float) -> bytes:
        """Have `command` replicated and applied; return what the state machine answered (§5.3).

        Waits `timeout` seconds at most. Raises NotLeader and CommandFailed when the command was surely not executed,
        OutcomeUnknown when it may have been, ValueError when it is larger than MAX_COMMAND_BYTES.
        """
        check_size(command)
        return self._propose(COMMAND, command, timeout)[1]

    def submit(self, command: bytes) -> Proposal:
        """Append `command` to the log and return at once: the proposal's `wait` tells what comes of it, as `propose`.

        Raises NotLeader and ValueError. One thread can have many commands under way like this.
        """
        check_size(command)
        with self._lock:
            return self._append(COMMAND, (command,))[0]

    def propose_many(self, commands: Sequence[bytes], timeout: float) -> list[bytes]:
        """Have `commands` replicated and applied, in this order; return what the state machine answered to each.

        Others' commands may come in between. Raises as `propose`; OutcomeUnknown, too, when only some were executed.
        """
        for command in commands:
            check_size(command)
        deadline = self._monitor.now() + timeout
        with self._lock:
            proposals = self._append(COMMAND, commands)
        results: list[bytes] = []
        try:
            for proposal in proposals:
                results.append(self._result_of(proposal, deadline - self._monitor.now()))
        except CommandFailed as error:
            if not results:
                raise
            raise OutcomeUnknown(f"only the first {len(results)} commands were surely executed: {error}") from error
        finally:
            with self._lock:
                for proposal in proposals[len(results):]:
                    self._monitor.proposals.discard(proposal)
        return results

    def register_client(self, timeout: float) -> int:
        """Open a session; return its id (§8). Raises as `propose`."""
        return self._propose(REGISTER, b"", timeout)[0]

    def propose_in_session(
        self, client_id: int, sequence: int, first_unanswered: int, command: bytes, timeout: float
    ) -> bytes:
        """Have `command` executed once, however often it is proposed; return the first answer (§8).

        `sequence` is its number in the session `client_id`. The client has answers to all before `first_unanswered`,
        which need not be remembered any more. Raises SessionExpired, and otherwise as `propose`.
        """
        check_size(command)
        body = session_command(client_id, sequence, first_unanswered, command)
        return self._propose(SESSION_COMMAND, body, timeout)[1]

    def read(self, query: bytes, timeout: float) -> bytes:
        """Answer `query` by the state machine, without writing to the log, and never with stale data (§8).

        Waits `timeout` seconds at most. Raises NotLeader, CommandFailed when no majority answers in time, ValueError.
        """
        check_size(query)
        monitor = self._monitor
        with self._lock:
            self._monitor.refuse_unless_leader()
            index, read_round = reads.read_index(self._state), reads.begin_read(self._state)
            read = WaitingRead(query, index, read_round, monitor.runtime)
            monitor.reads.append(read)
            monitor.wake_peer_threads()
            monitor.to_apply.notify()
        answer = read.wait(timeout)
        if answer is None:
            with self._lock:
                if read in monitor.reads:
                    monitor.reads.remove(read)
            answer = read.wait(0)
        if answer is None:
            raise CommandFailed(f"no majority confirmed that this server leads, within {timeout:g} s")
        return answer

    # For operators

    def status(self) -> ServerStatus:
        """Return how this server is now."""
        with self._lock:
            return self.present_status

    def refuse_unless_leader(self) -> None:
        """Raise NotLeader, which says where to ask, unless this server leads."""
        with self._lock:
            self._monitor.refuse_unless_leader()

    def members(self) -> Configuration:
        """Return the configuration in force on this server (§6)."""
        with self._lock:
            return self._state.configuration

    def change_members(self, new_members: Members, timeout: float) -> Configuration:
        """Change the cluster to `new_members` (§6); return its configuration when the change is committed.

        Waits `timeout` seconds at most. Raises NotLeader; CommandFailed, which says why, when the cluster stays as it
        is; OutcomeUnknown when the change was begun and may yet be completed.
        """
        return operations.change_members(self._monitor, self._transport, new_members, timeout)

    def transfer_leadership(self, target: Optional[str], timeout: float) -> str:
        """Hand leadership over to `target`, or to who has most of our log (Diss. §3.10); return to whom.

        Waits `timeout` seconds at most, and an election timeout at most. Raises NotLeader; CommandFailed, which says
        why, when this server goes on as leader.
        """
        return operations.transfer_leadership(self._monitor, target, timeout)

    def take_snapshot(self, timeout: float) -> SnapshotMetadata:
        """Compact the log now (§7); return what the newest snapshot says of it, once it is durable.

        Waits `timeout` seconds at most. Raises OutcomeUnknown when it takes longer.
        """
        return operations.take_snapshot(self._monitor, timeout)

    # Commands (Fig. 2, "Leaders")

    def _propose(self, kind: str, body: bytes, timeout: float) -> tuple[int, bytes]:
        """Append an entry and wait until it is applied; return its index and the result. Called without the lock."""
        with self._lock:
            (proposal,) = self._append(kind, (body,))
        return proposal.index, self._result_of(proposal, timeout)

    def _result_of(self, proposal: Proposal, timeout: float) -> bytes:
        """Wait until a proposal's entry is applied; return the result. Called without the lock."""
        result = proposal.wait(timeout)
        if result is None:
            with self._lock:
                self._monitor.proposals.discard(proposal)
            result = proposal.wait(0)
        if result is None:
            raise OutcomeUnknown(f"the command was not committed within {timeout:g} s")
        return result

    def _append(self, kind: str, bodies: Sequence[bytes]) -> list[Proposal]:
        """Append clients' commands to the log, if this is the leader. Called with the lock held."""
        self._monitor.refuse_unless_leader()
        state, monitor = self._state, self._monitor
        before = glimpse(state)
        proposals = [Proposal(replication.append_command(state, body, kind), monitor.runtime) for body in bodies]
        for proposal in proposals:
            monitor.proposals.add(proposal)
        monitor.react(before)
        return proposals

    # Threads

    def _disk_main(self) -> None:
        """Save what the leader appends, in parallel with replication (Diss. §10.2.1)."""
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

    def _start_peer(self, peer: str) -> None:
        """Called with the lock held, and a link to the peer there."""
        self._transport.use_addresses(self._state.configuration.addresses)
        sender = PeerThread(
            self._monitor, self._transport, self._storage, peer, self._max_entries_per_message, self._max_chunk_bytes
        )
        self._start_thread(f"peer-{peer}", sender.main)

    def _start_thread(self, name: str, main: Callable[[], None]) -> None:
        thread = self._monitor.runtime.threading.Thread(
            target=self._run, args=(main,), name=f"{self._state.id}/{name}"
        )
        thread.start()
        self._threads = [*(each for each in self._threads if each.is_alive()), thread]

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


def check_size(command: bytes) -> None:
    """Raise ValueError for what is too large for a command."""
    if len(command) > MAX_COMMAND_BYTES:
        raise ValueError(f"a command has at most {MAX_COMMAND_BYTES} bytes, not {len(command)}")
