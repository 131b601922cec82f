"""What a server does for its clients and operators (§5.1, §6, §8): their commands, and where the leader is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from raft_threads.addresses import Address
from raft_threads.client_messages import (
    Command,
    CommandResult,
    Outcome,
    Query,
    Refusal,
    Register,
    Registered,
    StatusRequest,
)
from raft_threads.node import Node
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown, SessionExpired
from raft_threads.transport import RequestRefused
from raft_threads.wire import Message


class ClientService:
    """Answers the requests of clients; in the thread that reads them, so each waits for its own command only."""

    def __init__(self, node: Node, addresses: Mapping[str, Address]) -> None:
        """Serve `node`; `addresses` say where clients find the others."""
        self._node = node
        self._addresses = addresses
        self._answers: dict[type[Any], Callable[[Any], Message]] = {
            StatusRequest: lambda request: node.status(),
            Command: self._execute,
            Register: lambda request: Registered(node.register_client(request.timeout)),
            Query: lambda request: CommandResult(node.read(request.query, request.timeout)),
        }

    def handle(self, request: Message) -> Message:
        """Return the answer to `request`. Raises RequestRefused for what clients do not send."""
        answer = self._answers.get(type(request))
        if answer is None:
            raise RequestRefused("clients send commands and ask for the status, nothing else")
        try:
            return answer(request)
        except NotLeader as error:
            address = self._addresses.get(error.leader_id or "")
            return Refusal(Outcome.NOT_LEADER, str(error), error.leader_id, str(address) if address else None)
        except CommandFailed as error:
            return Refusal(Outcome.FAILED, str(error))
        except OutcomeUnknown as error:
            return Refusal(Outcome.UNKNOWN, str(error))
        except SessionExpired as error:
            return Refusal(Outcome.SESSION_EXPIRED, str(error))

    def _execute(self, request: Command) -> Message:
        """Have a client's command applied, once if it is in a session (§8)."""
        if request.client_id is None or request.sequence is None or request.first_unanswered is None:
            return CommandResult(self._node.propose(request.command, request.timeout))
        return CommandResult(
            self._node.propose_in_session(
                request.client_id, request.sequence, request.first_unanswered, request.command, request.timeout
            )
        )
