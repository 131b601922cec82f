"""A whole server (§2, Fig. 1): made whole or not at all; and what it tells its clients of their commands (§8)."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Union

import pytest
from raw_sockets import free_addresses

from raft_threads.configuration import Configuration
from raft_threads.addresses import Address
from raft_threads.client_messages import (
    Command,
    CommandResult,
    Outcome,
    Refusal,
    ServerStatus,
    StatusRequest,
    Welcome,
)
from raft_threads.client_service import ClientService
from raft_threads.file_storage import FileStorage
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown
from raft_threads.rpc_server import CannotListen
from raft_threads.server import KeyValueServer
from raft_threads.storage import StorageError
from raft_threads.transport import RequestRefused

ADDRESSES = {"n1": Address("127.0.0.1", 3300), "n2": Address("::1", 3301)}


class ScriptedNode:
    """A node that does with each command as the test says."""

    def __init__(self, outcome: Union[bytes, Exception]) -> None:
        self._outcome = outcome

    def propose(self, command: bytes, timeout: float) -> bytes:
        """Execute a command, or raise."""
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def members(self) -> Configuration:
        """Know where the others are from the start only."""
        return Configuration()

    def status(self) -> ServerStatus:
        """Be a follower."""
        return ServerStatus("n1", "follower", 3, "n2", 4, 4, 5)


def service(outcome: Union[bytes, Exception] = b"done") -> ClientService:
    """Return what serves clients in front of such a node."""
    node: Any = ScriptedNode(outcome)
    return ClientService(node, ADDRESSES)


@pytest.mark.parametrize(
    "outcome, answer",
    [
        (b"done", CommandResult(b"done")),
        (NotLeader("n2"), Refusal(Outcome.NOT_LEADER, "this server is not the leader; n2 is", "n2", "[::1]:3301")),
        (NotLeader("n9"), Refusal(Outcome.NOT_LEADER, "this server is not the leader; n9 is", "n9", None)),
        (NotLeader(None), Refusal(Outcome.NOT_LEADER, "this server is not the leader; nobody known is", None, None)),
        (CommandFailed("replaced"), Refusal(Outcome.FAILED, "replaced")),
        (OutcomeUnknown("too late"), Refusal(Outcome.UNKNOWN, "too late")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_client_is_told_what_is_known_of_its_command(outcome: Union[bytes, Exception], answer: object) -> None:
    """§5.1, §8: executed; surely not, and where the leader is; surely not; nobody knows."""
    assert service(outcome).handle(Command(b"x", 1.0)) == answer


def test_any_server_says_how_it_is() -> None:
    """Not only the leader."""
    assert service().handle(StatusRequest()) == ServerStatus("n1", "follower", 3, "n2", 4, 4, 5)


def test_what_clients_do_not_send_is_refused() -> None:
    """It is a message, but no request."""
    with pytest.raises(RequestRefused):
        service().handle(Welcome("raft", "n1"))


def test_a_server_that_gets_no_port_lets_go_of_its_directory(tmp_path: Path) -> None:
    """It can be started again, elsewhere, by the same process."""
    addresses = free_addresses("n1")
    with socket.create_server(addresses["n1"]):
        with pytest.raises(CannotListen):
            KeyValueServer("n1", addresses, tmp_path)
    FileStorage(tmp_path, "raft", "n1").close()


def test_a_server_that_cannot_read_its_directory_lets_go_of_its_port(tmp_path: Path) -> None:
    """The same, the other way round."""
    addresses = free_addresses("n1")
    KeyValueServer("n1", addresses, tmp_path).stop()
    (tmp_path / "term_and_vote").unlink()
    for _ in range(2):
        with pytest.raises(StorageError, match="term_and_vote is missing"):
            KeyValueServer("n1", addresses, tmp_path)
    with socket.create_server(addresses["n1"]):
        pass
