"""What operators ask a cluster for (§6, §7; Diss. §3.10): done, refused with a reason, or nobody knows."""

from __future__ import annotations

from typing import Callable

import pytest
from fake_cluster import Behaviour, FakeServer, SharedLog, answer, client_of, do_not_lead, lose_the_request
from raw_sockets import free_addresses

from raft_threads import rpc_server
from raft_threads.client import Client, MayHaveHappened, SurelyFailed
from raft_threads.client_messages import (
    Change,
    ChangeMembers,
    Done,
    ErrorReply,
    MembersReply,
    MembersRequest,
    Outcome,
    Refusal,
    Registered,
    TakeSnapshot,
    TransferLeadership,
)

SOON = 0.1
MEMBERS = MembersReply(("n1=127.0.0.1:3300",))
REFUSED = Refusal(Outcome.FAILED, "server n9 is not in the cluster, which has n1")
UNKNOWN = Refusal(Outcome.UNKNOWN, "the change has begun, and is not over yet")

REQUESTS: dict[str, Callable[[Client], object]] = {
    "change": lambda client: client.change_members(Change.REMOVE, ["n9"]),
    "transfer": lambda client: client.transfer("n9"),
}


@pytest.fixture(autouse=True)
def no_long_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shutdown waits for the poll interval."""
    monkeypatch.setattr(rpc_server, "POLL_INTERVAL", 0.01)


def server(*script: Behaviour) -> FakeServer:
    """Return a server that answers as `script` says."""
    return FakeServer(SharedLog(), *script)


def test_the_leader_is_found_for_operators_too() -> None:
    """§5.1, §6."""
    moved = answer(Done("leadership was handed over to n2"))
    with server(do_not_lead) as follower, server(answer(MEMBERS), answer(MEMBERS), moved) as leader:
        with client_of(follower.address, leader.address) as client:
            assert client.members() == MEMBERS
            assert client.change_members(Change.ADD, ["n4=h:1"]) == MEMBERS
            assert client.transfer() == "leadership was handed over to n2"
        assert leader.asked[0] == MembersRequest()
        assert isinstance(leader.asked[1], ChangeMembers) and isinstance(leader.asked[2], TransferLeadership)
        assert (leader.asked[1].change, leader.asked[1].members) == (Change.ADD, ("n4=h:1",))


@pytest.mark.parametrize("ask", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_leaders_no_is_final(ask: Callable[[Client], object]) -> None:
    """It says why; to ask again would change nothing."""
    with server(answer(REFUSED)) as leader, client_of(leader.address) as client:
        with pytest.raises(SurelyFailed, match="^server n9 is not in the cluster, which has n1$"):
            ask(client)
        assert len(leader.asked) == 1


@pytest.mark.parametrize("ask", REQUESTS.values(), ids=REQUESTS.keys())
@pytest.mark.parametrize("mishap", [lose_the_request, answer(UNKNOWN), answer(Registered(12))])
def test_what_is_in_doubt_is_not_asked_again(ask: Callable[[Client], object], mishap: Behaviour) -> None:
    """§6: the change may be under way; `members list` shows it. An answer to something else is as bad as none."""
    with server(mishap) as leader, client_of(leader.address) as client:
        with pytest.raises(MayHaveHappened):
            ask(client)
        assert len(leader.asked) == 1


def test_who_the_members_are_can_be_asked_again() -> None:
    """That changes nothing."""
    with server(lose_the_request, answer(UNKNOWN), answer(MEMBERS)) as leader, client_of(leader.address) as client:
        assert client.members() == MEMBERS


def test_nobody_to_ask_is_surely_not_done() -> None:
    """Neither the change nor the snapshot."""
    with client_of(*free_addresses("n1", "n2").values(), timeout=SOON) as client:
        for ask in REQUESTS.values():
            with pytest.raises(SurelyFailed, match="cannot connect"):
                ask(client)
        with pytest.raises(SurelyFailed, match="cannot connect"):
            client.members()
        with pytest.raises(SurelyFailed, match="cannot connect"):
            client.take_snapshot("n2")


def test_a_snapshot_is_taken_by_the_server_that_is_asked() -> None:
    """§7: each server takes snapshots independently."""
    with server(do_not_lead) as leader, server(answer(Done("a snapshot replaces the log up to entry 7"))) as other:
        with client_of(leader.address, other.address) as client:
            assert client.take_snapshot("n2") == "a snapshot replaces the log up to entry 7"
            with pytest.raises(ValueError, match="server n9 is not among n1, n2"):
                client.take_snapshot("n9")
        assert leader.asked == [] and isinstance(other.asked[0], TakeSnapshot)


@pytest.mark.parametrize(
    "behaviour, outcome",
    [
        (answer(ErrorReply("this is nothing that clients send")), SurelyFailed),
        (answer(Refusal(Outcome.FAILED, "the disk is full")), SurelyFailed),
        (answer(UNKNOWN), MayHaveHappened),
        (answer(MEMBERS), MayHaveHappened),
        (lose_the_request, MayHaveHappened),
    ],
)
def test_a_snapshot_without_a_good_answer_may_have_been_taken_or_not(
    behaviour: Behaviour, outcome: type[Exception]
) -> None:
    """As for commands."""
    with server(behaviour) as one, client_of(one.address) as client:
        with pytest.raises(outcome):
            client.take_snapshot("n1")
