"""What an operator means by add, remove and set: from the servers that a cluster has to those it is to have (§6).

All that can be known before the change begins is checked here. Raises CommandFailed with a line that says what is
wrong; nothing has changed then.
"""

from __future__ import annotations

from collections.abc import Iterable

from raft_threads.addresses import parse_cluster
from raft_threads.client_messages import Change, ChangeMembers
from raft_threads.configuration import MAX_SERVERS, Configuration, Member, Members
from raft_threads.proposals import CommandFailed

CHANGE_UNDER_WAY = "another change of the cluster is under way; wait until it is over"


def new_members(request: ChangeMembers, configuration: Configuration) -> Members:
    """Return the servers that the cluster is to have after `request`, if it has those of `configuration` now."""
    if configuration.is_joint:
        raise CommandFailed(CHANGE_UNDER_WAY)
    if not request.members:
        raise CommandFailed("name at least one server")
    if request.change is Change.REMOVE:
        return without(configuration.members, request.members)
    named = parse_members(request.members)
    return named if request.change is Change.SET else with_added(configuration.members, named)


def parse_members(texts: Iterable[str]) -> Members:
    """Return the servers in `texts`, each `id=host:port`."""
    try:
        addresses = parse_cluster(",".join(texts))
    except ValueError as error:
        raise CommandFailed(str(error)) from error
    return tuple(Member(server, str(address)) for server, address in addresses.items())


def with_added(present: Members, added: Members) -> Members:
    """Return `present` and `added` servers."""
    for member in added:
        if member.id in {each.id for each in present}:
            raise CommandFailed(f"server {member.id} is in the cluster already")
        if member.address in {each.address for each in present}:
            raise CommandFailed(f"a server of the cluster is at {member.address} already")
    if len(present) + len(added) > MAX_SERVERS:
        raise CommandFailed(f"a cluster has at most {MAX_SERVERS} servers")
    return (*present, *added)


def without(present: Members, removed: Iterable[str]) -> Members:
    """Return `present` servers without those whose ids are `removed`."""
    gone: set[str] = set()
    for name in removed:
        if name in gone:
            raise CommandFailed(f"server {name} is named twice")
        gone.add(name)
    unknown = sorted(gone - {member.id for member in present})
    if unknown:
        servers = ", ".join(member.id for member in present)
        raise CommandFailed(f"server {unknown[0]} is not in the cluster, which has {servers}")
    left = tuple(member for member in present if member.id not in gone)
    if not left:
        raise CommandFailed("a cluster needs at least one server; the last one cannot be removed")
    return left


def format_members(members: Members) -> tuple[str, ...]:
    """Return each server as `id=host:port`, or as its id alone if it needs no address."""
    return tuple(f"{member.id}={member.address}" if member.address else member.id for member in members)
