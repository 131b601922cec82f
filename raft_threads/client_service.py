"""What a server does for its clients and operators (§5.1, §6, §8): their commands, and where the leader is."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Callable, Optional

from raft_threads.addresses import Address
from raft_threads.client_messages import (
    ChangeMembers,
    Command,
    CommandResult,
    Done,
    MembersReply,
    MembersRequest,
    Outcome,
    Query,
    Refusal,
    Register,
    Registered,
    StatusRequest,
    TakeSnapshot,
    TransferLeadership,
)
from raft_threads.configuration import Configuration
from raft_threads.member_changes import CHANGE_UNDER_WAY, format_members, new_members
from raft_threads.node import Node
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown, SessionExpired
from raft_threads.transport import RequestRefused
from raft_threads.wire import Message

_OUTCOMES: dict[type[Exception], Outcome] = {
    CommandFailed: Outcome.FAILED,
    OutcomeUnknown: Outcome.UNKNOWN,
    SessionExpired: Outcome.SESSION_EXPIRED,
}


class ClientService:
    """Answers the requests of clients; in the thread that reads them, so each waits for its own command only."""

    def __init__(self, node: Node, addresses: Mapping[str, Address]) -> None:
        """Serve `node`; `addresses` say where clients find servers of which the configuration does not tell."""
        self._node = node
        self._addresses = addresses
        # Held from looking at the configuration until the change made of it is over: two changes that begin with the
        # same configuration would undo each other. Nobody ever waits for it.
        self._changing = threading.Lock()
        self._answers: dict[type[Any], Callable[[Any], Message]] = {
            StatusRequest: lambda request: node.status(),
            Command: self._execute,
            Register: lambda request: Registered(node.register_client(request.timeout)),
            Query: lambda request: CommandResult(node.read(request.query, request.timeout)),
            MembersRequest: self._tell_members,
            ChangeMembers: self._change_members,
            TransferLeadership: self._transfer,
            TakeSnapshot: self._take_snapshot,
        }

    def handle(self, request: Message) -> Message:
        """Return the answer to `request`. Raises RequestRefused for what clients do not send."""
        answer = self._answers.get(type(request))
        if answer is None:
            raise RequestRefused("this is nothing that clients send")
        try:
            return answer(request)
        except NotLeader as error:
            return Refusal(Outcome.NOT_LEADER, str(error), error.leader_id, self._address_of(error.leader_id))
        except (CommandFailed, OutcomeUnknown, SessionExpired) as error:
            return Refusal(_OUTCOMES[type(error)], str(error))
        except ValueError as error:
            raise RequestRefused(str(error)) from error

    def _address_of(self, server: Optional[str]) -> Optional[str]:
        """Return where a server is: the configuration in force knows best, as servers may move (§6)."""
        known = self._node.members().addresses.get(server or "") or self._addresses.get(server or "")
        return str(known) if known else None

    def _execute(self, request: Command) -> Message:
        """Have a client's command applied, once if it is in a session (§8)."""
        if (request.client_id, request.sequence, request.first_unanswered) == (None, None, None):
            return CommandResult(self._node.propose(request.command, request.timeout))
        if request.client_id is None or request.sequence is None or request.first_unanswered is None:
            raise RequestRefused("a command in a session has a client_id, a sequence and a first_unanswered")
        return CommandResult(
            self._node.propose_in_session(
                request.client_id, request.sequence, request.first_unanswered, request.command, request.timeout
            )
        )

    def _tell_members(self, request: MembersRequest) -> Message:
        """Say which servers there are. Only a leader does: other servers may lag behind, or wait to be added (§6)."""
        self._node.refuse_unless_leader()
        return self._members(self._node.members())

    def _members(self, configuration: Configuration) -> MembersReply:
        coming = configuration.new_members
        return MembersReply(format_members(configuration.members), None if coming is None else format_members(coming))

    def _change_members(self, request: ChangeMembers) -> Message:
        """Change the cluster, and say what it is then (§6)."""
        self._node.refuse_unless_leader()
        if not self._changing.acquire(blocking=False):
            raise CommandFailed(CHANGE_UNDER_WAY)
        try:
            members = new_members(request, self._node.members())
            return self._members(self._node.change_members(members, request.timeout))
        finally:
            self._changing.release()

    def _transfer(self, request: TransferLeadership) -> Message:
        """Hand leadership over (Diss. §3.10)."""
        return Done(f"leadership was handed over to {self._node.transfer_leadership(request.target, request.timeout)}")

    def _take_snapshot(self, request: TakeSnapshot) -> Message:
        """Compact the log (§7)."""
        index = self._node.take_snapshot(request.timeout).last_included_index
        return Done(f"a snapshot replaces the log up to entry {index}" if index else "there is nothing to compact yet")
