"""A whole server (§2, Fig. 1): made whole or not at all; and how it answers clients and operators (§6, §7, §8)."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Optional

import pytest
from raw_sockets import free_addresses

from raft_threads.addresses import Address
from raft_threads.client_messages import (
    Change,
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
    ServerStatus,
    StatusRequest,
    TakeSnapshot,
    TransferLeadership,
    Welcome,
)
from raft_threads.client_service import ClientService
from raft_threads.configuration import Configuration, Member, Members
from raft_threads.file_storage import FileStorage
from raft_threads.log import SnapshotMetadata
from raft_threads.member_changes import CHANGE_UNDER_WAY
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown, SessionExpired
from raft_threads.rpc_server import CannotListen
from raft_threads.server import KeyValueServer
from raft_threads.storage import StorageError
from raft_threads.transport import RequestRefused
from raft_threads.wire import Message

ADDRESSES = {"n1": Address("127.0.0.1", 3300), "n2": Address("::1", 3301)}
N1, N4 = Member("n1", "127.0.0.1:3300"), Member("n4", "127.0.0.1:3303")


class ScriptedNode:
    """A node that does what it is asked, or raises what the test says; keeps what it was asked."""

    def __init__(self, failure: Optional[Exception] = None, configuration: Configuration = Configuration()) -> None:
        self.asked: list[object] = []
        self.failure = failure
        self.configuration = configuration

    def _do(self, *request: object) -> None:
        self.asked.append(request)
        if self.failure is not None:
            raise self.failure

    def propose(self, command: bytes, timeout: float) -> bytes:
        """Execute a command."""
        self._do("propose", command, timeout)
        return b"done"

    def propose_in_session(self, client: int, sequence: int, first: int, command: bytes, timeout: float) -> bytes:
        """Execute a command once."""
        self._do("propose_in_session", client, sequence, first, command, timeout)
        return b"once"

    def register_client(self, timeout: float) -> int:
        """Open a session."""
        self._do("register_client", timeout)
        return 12

    def read(self, query: bytes, timeout: float) -> bytes:
        """Answer a query."""
        self._do("read", query, timeout)
        return b"read"

    def refuse_unless_leader(self) -> None:
        """Lead, if anything."""
        if isinstance(self.failure, NotLeader):
            raise self.failure

    def members(self) -> Configuration:
        """Tell the configuration."""
        return self.configuration

    def change_members(self, new_members: Members, timeout: float) -> Configuration:
        """Be quick about it."""
        self._do("change_members", new_members, timeout)
        return Configuration(new_members)

    def transfer_leadership(self, target: Optional[str], timeout: float) -> str:
        """Hand over."""
        self._do("transfer_leadership", target, timeout)
        return target or "n2"

    def take_snapshot(self, timeout: float) -> SnapshotMetadata:
        """Compact the log."""
        self._do("take_snapshot", timeout)
        return SnapshotMetadata(last_included_index=7, last_included_term=2)

    def status(self) -> ServerStatus:
        """Be a follower."""
        return ServerStatus("n1", "follower", 3, "n2", 4, 4, 5)


def answer_of(node: ScriptedNode, request: Message) -> Message:
    """Return what clients and operators of `node` are answered."""
    behind: Any = node
    return ClientService(behind, ADDRESSES).handle(request)


@pytest.mark.parametrize(
    "request_, asked, answer",
    [
        (Command(b"x", 1.0), ("propose", b"x", 1.0), CommandResult(b"done")),
        (Command(b"x", 1.0, 12, 7, 6), ("propose_in_session", 12, 7, 6, b"x", 1.0), CommandResult(b"once")),
        (Register(1.0), ("register_client", 1.0), Registered(12)),
        (Query(b"x", 1.0), ("read", b"x", 1.0), CommandResult(b"read")),
        (TakeSnapshot(1.0), ("take_snapshot", 1.0), Done("a snapshot replaces the log up to entry 7")),
        (TransferLeadership(None, 1.0), ("transfer_leadership", None, 1.0), Done("leadership was handed over to n2")),
        (
            ChangeMembers(Change.ADD, ("n4=127.0.0.1:3303",), 1.0),
            ("change_members", (N1, N4), 1.0),
            MembersReply(("n1=127.0.0.1:3300", "n4=127.0.0.1:3303")),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_request_of_a_client_or_operator_is_one_call_of_the_node(
    request_: Message, asked: object, answer: Message
) -> None:
    """§6, §7, §8; Diss. §3.10."""
    node = ScriptedNode(configuration=Configuration((N1,)))
    assert answer_of(node, request_) == answer
    assert node.asked == [asked]


@pytest.mark.parametrize(
    "failure, answer",
    [
        (NotLeader("n2"), Refusal(Outcome.NOT_LEADER, "this server is not the leader; n2 is", "n2", "[::1]:3301")),
        (NotLeader("n9"), Refusal(Outcome.NOT_LEADER, "this server is not the leader; n9 is", "n9", None)),
        (NotLeader(None), Refusal(Outcome.NOT_LEADER, "this server is not the leader; nobody known is", None, None)),
        (CommandFailed("replaced"), Refusal(Outcome.FAILED, "replaced")),
        (OutcomeUnknown("too late"), Refusal(Outcome.UNKNOWN, "too late")),
        (SessionExpired("who?"), Refusal(Outcome.SESSION_EXPIRED, "who?")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_client_is_told_what_is_known_of_its_command(failure: Exception, answer: object) -> None:
    """§5.1, §8: surely not executed, and where the leader is; surely not; nobody knows; the session is gone."""
    assert answer_of(ScriptedNode(failure), Command(b"x", 1.0, 12, 7, 6)) == answer


def test_the_configuration_in_force_knows_best_where_the_leader_is() -> None:
    """§6: a server that was added later, or has moved since we were started."""
    node = ScriptedNode(NotLeader("n4"), Configuration((N1,), (N1, N4)))
    assert answer_of(node, Register(1.0)) == Refusal(
        Outcome.NOT_LEADER, "this server is not the leader; n4 is", "n4", "127.0.0.1:3303"
    )


def test_members_are_those_of_both_sets_during_a_change() -> None:
    """§6: C_old,new."""
    node = ScriptedNode(configuration=Configuration((N1,), (N1, N4)))
    both = MembersReply(("n1=127.0.0.1:3300",), ("n1=127.0.0.1:3300", "n4=127.0.0.1:3303"))
    assert answer_of(node, MembersRequest()) == both


@pytest.mark.parametrize("request_", [MembersRequest(), ChangeMembers(Change.REMOVE, ("n9",), 1.0)])
def test_what_the_cluster_is_only_the_leader_knows(request_: Message) -> None:
    """§6: a follower may lag behind, and a server that waits to be added knows of no cluster at all."""
    answer = answer_of(ScriptedNode(NotLeader("n2")), request_)
    assert isinstance(answer, Refusal) and (answer.outcome, answer.leader_id) == (Outcome.NOT_LEADER, "n2")


def test_a_change_that_makes_no_sense_is_refused_before_it_begins() -> None:
    """§6: the cluster stays as it is."""
    node = ScriptedNode(configuration=Configuration((N1,)))
    answer = answer_of(node, ChangeMembers(Change.REMOVE, ("n9",), 1.0))
    assert answer == Refusal(Outcome.FAILED, "server n9 is not in the cluster, which has n1")
    assert node.asked == []


def test_a_second_change_is_refused_while_the_first_is_under_way() -> None:
    """§6. Else it would begin with the same configuration, and undo the first: here n4 would be gone again."""
    second = ChangeMembers(Change.ADD, ("n5=127.0.0.1:3304",), 1.0)
    answers: list[Message] = []

    class SlowNode(ScriptedNode):
        """A node to which another operator comes meanwhile."""

        def change_members(self, new_members: Members, timeout: float) -> Configuration:
            """Let the other one have a word."""
            if not answers:
                answers.append(service.handle(second))
            self.configuration = super().change_members(new_members, timeout)
            return self.configuration

    node: Any = SlowNode(configuration=Configuration((N1,)))
    service = ClientService(node, ADDRESSES)
    service.handle(ChangeMembers(Change.ADD, ("n4=127.0.0.1:3303",), 1.0))
    assert answers == [Refusal(Outcome.FAILED, CHANGE_UNDER_WAY)]
    assert service.handle(second) == MembersReply(
        ("n1=127.0.0.1:3300", "n4=127.0.0.1:3303", "n5=127.0.0.1:3304")
    )


def test_any_server_says_how_it_is() -> None:
    """Not only the leader."""
    assert answer_of(ScriptedNode(), StatusRequest()) == ServerStatus("n1", "follower", 3, "n2", 4, 4, 5)


@pytest.mark.parametrize("numbers", [(12, None, None), (12, 7, None), (None, 7, 6), (12, None, 6), (None, None, 6)])
def test_a_command_with_half_of_a_session_is_refused_not_executed(numbers: tuple[Optional[int], ...]) -> None:
    """Its client believes that it may be sent twice."""
    node = ScriptedNode()
    with pytest.raises(RequestRefused, match="has a client_id, a sequence and a first_unanswered"):
        answer_of(node, Command(b"x", 1.0, *numbers))
    assert node.asked == []


def test_what_clients_do_not_send_is_refused() -> None:
    """It is a message, but no request; or a request that no client of ours would make."""
    with pytest.raises(RequestRefused):
        answer_of(ScriptedNode(), Welcome("raft", "n1"))
    with pytest.raises(RequestRefused, match="at most 1 byte"):
        answer_of(ScriptedNode(ValueError("a command has at most 1 byte")), Command(b"xx", 1.0))


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
