"""What an operator means by add, remove and set (§6): the new servers, or a line that says what is wrong."""

from __future__ import annotations

import pytest

from raft_threads.client_messages import Change, ChangeMembers
from raft_threads.configuration import (
    MAX_SERVERS,
    Configuration,
    Member,
    Members,
    format_configuration,
    parse_configuration,
)
from raft_threads.member_changes import CHANGE_UNDER_WAY, format_members, new_members
from raft_threads.proposals import CommandFailed


def members(*servers: int) -> Members:
    """Return servers at port 3300 and following."""
    return tuple(Member(f"n{server}", f"127.0.0.1:{3299 + server}") for server in servers)


def change(change: Change, *texts: str) -> ChangeMembers:
    """Return a request to change a cluster."""
    return ChangeMembers(change, texts, 1.0)


THREE = Configuration(members(1, 2, 3))


@pytest.mark.parametrize(
    "request_, wanted",
    [
        (change(Change.ADD, "n4=127.0.0.1:3303"), (1, 2, 3, 4)),
        (change(Change.ADD, "n4=127.0.0.1:3303", "n5=127.0.0.1:3304"), (1, 2, 3, 4, 5)),
        (change(Change.REMOVE, "n2"), (1, 3)),
        (change(Change.REMOVE, "n3", "n1"), (2,)),
        (change(Change.SET, "n3=127.0.0.1:3302", "n4=127.0.0.1:3303"), (3, 4)),
    ],
)
def test_servers_are_added_removed_or_set(request_: ChangeMembers, wanted: tuple[int, ...]) -> None:
    """§6: from C_old to C_new, arbitrary ones, as joint consensus permits."""
    assert new_members(request_, THREE) == members(*wanted)


def test_to_set_a_server_to_another_address_moves_it() -> None:
    """As when a machine is replaced and its disk is kept."""
    moved = new_members(change(Change.SET, "n1=[::1]:4000"), Configuration(members(1)))
    assert moved == (Member("n1", "[::1]:4000"),)


@pytest.mark.parametrize(
    "request_, complaint",
    [
        (change(Change.ADD), "name at least one server"),
        (change(Change.REMOVE), "name at least one server"),
        (change(Change.SET), "name at least one server"),
        (change(Change.ADD, "n2=127.0.0.1:4000"), "server n2 is in the cluster already"),
        (change(Change.ADD, "n4=127.0.0.1:3300"), "a server of the cluster is at 127.0.0.1:3300 already"),
        (change(Change.ADD, "n4=h:1", "n4=h:2"), "server n4 is named twice"),
        (change(Change.ADD, "n4=h:1", "n5=h:1"), "address h:1 is given to two servers"),
        (change(Change.SET, "n1=h:1", "n1=h:2"), "server n1 is named twice"),
        (change(Change.ADD, "n4"), "'n4' is not a server; write id=host:port"),
        (change(Change.ADD, ""), "'' is not a server; write id=host:port"),
        (change(Change.ADD, "n4=h"), "'h' is not an address; write host:port"),
        (change(Change.ADD, "n4=h:0"), "'h:0' is not an address; write host:port"),
        (change(Change.ADD, "a/b=h:1"), "'a/b=h:1' is not a server"),
        (change(Change.ADD, "n4=" + "h" * 300 + ":1"), "an address has at most 255 printable characters"),
        (change(Change.REMOVE, "n9"), "server n9 is not in the cluster, which has n1, n2, n3"),
        (change(Change.REMOVE, "n1=127.0.0.1:3300"), "server n1=127.0.0.1:3300 is not in the cluster"),
        (change(Change.REMOVE, "n1", "n1"), "server n1 is named twice"),
        (change(Change.REMOVE, "n1", "n2", "n3"), "the last one cannot be removed"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_makes_no_sense_is_refused_in_one_line(request_: ChangeMembers, complaint: str) -> None:
    """Before anything has changed."""
    with pytest.raises(CommandFailed) as refused:
        new_members(request_, THREE)
    assert complaint in str(refused.value) and "\n" not in str(refused.value)


def test_during_a_change_there_is_no_other() -> None:
    """§6: C_old,new is of two sets, not of three."""
    with pytest.raises(CommandFailed, match=CHANGE_UNDER_WAY):
        new_members(change(Change.REMOVE, "n1"), Configuration(members(1, 2), members(1, 2, 3)))


def test_no_cluster_grows_beyond_what_a_configuration_holds() -> None:
    """Else the entry could be written into the log, and never be read again."""
    full = Configuration(tuple(Member(f"n{n}", f"h{n}:1") for n in range(MAX_SERVERS)))
    with pytest.raises(CommandFailed, match=f"at most {MAX_SERVERS}"):
        new_members(change(Change.ADD, "one-more=h:1"), full)
    longest = new_members(change(Change.ADD, "i" * 64 + "=" + "h" * 250 + ":3300"), THREE)
    assert parse_configuration(format_configuration(Configuration(longest))).members == longest


def test_members_are_told_as_they_are_named() -> None:
    """What `members list` shows can be typed after `members set`."""
    texts = format_members(THREE.members)
    assert texts == ("n1=127.0.0.1:3300", "n2=127.0.0.1:3301", "n3=127.0.0.1:3302")
    assert new_members(change(Change.SET, *texts), THREE) == THREE.members
    assert format_members((Member("n1"),)) == ("n1",)
