"""What a server does for its clients (§5.1, §8): proposes their commands, and says where the leader is."""

from __future__ import annotations

from collections.abc import Mapping

from raft_threads.addresses import Address
from raft_threads.client_messages import Command, CommandResult, Outcome, Refusal, StatusRequest
from raft_threads.node import Node
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown
from raft_threads.transport import RequestRefused
from raft_threads.wire import Message


class ClientService:
    """Answers the requests of clients; in the thread that reads them, so each waits for its own command only."""

    def __init__(self, node: Node, addresses: Mapping[str, Address]) -> None:
        """Serve `node`; `addresses` say where clients find the others."""
        self._node = node
        self._addresses = addresses

    def handle(self, request: Message) -> Message:
        """Return the answer to `request`. Raises RequestRefused for what clients do not send."""
        if isinstance(request, StatusRequest):
            return self._node.status()
        if isinstance(request, Command):
            return self._execute(request)
        raise RequestRefused("clients send commands and ask for the status, nothing else")

    def _execute(self, request: Command) -> Message:
        """Have a client's command applied; say what is known of it when that does not come to pass (§8)."""
        try:
            return CommandResult(self._node.propose(request.command, request.timeout))
        except NotLeader as error:
            address = self._addresses.get(error.leader_id or "")
            return Refusal(Outcome.NOT_LEADER, str(error), error.leader_id, str(address) if address else None)
        except CommandFailed as error:
            return Refusal(Outcome.FAILED, str(error))
        except OutcomeUnknown as error:
            return Refusal(Outcome.UNKNOWN, str(error))
