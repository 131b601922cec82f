"""Cluster configurations (§6): which servers take part in consensus, and what a majority is.

A configuration is a set of servers: C_old, or C_new. During a change it is the joint consensus of two sets, C_old,new:
agreement then needs separate majorities of both. Configurations travel as entries of the log, as small JSON objects:

    {"servers":{"n1":"127.0.0.1:3300"},"new_servers":{"n1":"127.0.0.1:3300","n2":"127.0.0.1:3301"}}
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

from raft_threads.entry_format import BadLine

MAX_SERVERS = 1000
MAX_NAME_CHARACTERS = 255


class Member(NamedTuple):
    """A server of a configuration, and where it is reached: `host:port`, or nothing if no address is needed."""

    id: str
    address: str = ""


Members = tuple[Member, ...]


@dataclass(frozen=True)
class Configuration:
    """C_old or C_new: `members`. With `new_members` it is C_old,new, of which `members` are C_old.

    Without any members it is blank: that of a server that waits to be added to a cluster.
    """

    members: Members = ()
    new_members: Optional[Members] = None

    @classmethod
    def of(cls, servers: Iterable[str]) -> Configuration:
        """Return the configuration of `servers` that are found without addresses."""
        return cls(tuple(Member(server) for server in servers))

    @property
    def is_joint(self) -> bool:
        """Whether this is C_old,new."""
        return self.new_members is not None

    @property
    def servers(self) -> tuple[str, ...]:
        """The ids of all servers that the leader replicates to: in joint consensus those of both sets."""
        return tuple(dict.fromkeys(member.id for members in self._sets() for member in members))

    @property
    def addresses(self) -> dict[str, str]:
        """Where each server is reached; the newer set knows better."""
        return {member.id: member.address for members in self._sets() for member in members}

    def __contains__(self, server: object) -> bool:
        return server in self.servers

    def is_majority(self, agreeing: Collection[str]) -> bool:
        """Return whether the servers `agreeing` decide: more than half of the set, in C_old,new of each set (§6)."""
        return all(
            2 * sum(member.id in agreeing for member in members) > len(members) for members in self._sets()
        )

    def reached_by_majority(self, values: Mapping[str, float]) -> float:
        """Return the highest value that a majority has reached, of each set (§5.3, §6).

        Who has no value has not reached any. Raises ValueError for a blank configuration, which decides nothing.
        """
        return min(_median(members, values) for members in self._sets())

    def _sets(self) -> tuple[Members, ...]:
        return (self.members,) if self.new_members is None else (self.members, self.new_members)


def _median(members: Members, values: Mapping[str, float]) -> float:
    if not members:
        raise ValueError("nobody decides in a blank configuration")
    reached = sorted((values.get(member.id, float("-inf")) for member in members), reverse=True)
    return reached[len(members) // 2]


def format_configuration(configuration: Configuration) -> bytes:
    """Return `configuration` as it stands in a log entry."""
    value = {"servers": dict(configuration.members)}
    if configuration.new_members is not None:
        value["new_servers"] = dict(configuration.new_members)
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def parse_configuration(data: bytes) -> Configuration:
    """Return the configuration in `data`. Raises BadLine when there is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadLine("a configuration is a JSON object") from error
    if not isinstance(value, dict) or not {"servers"} <= value.keys() <= {"servers", "new_servers"}:
        raise BadLine('a configuration has "servers", and during a change "new_servers"')
    new = value.get("new_servers")
    return Configuration(_members(value["servers"]), None if "new_servers" not in value else _members(new))


def _members(value: Any) -> Members:
    if not isinstance(value, dict) or len(value) > MAX_SERVERS:
        raise BadLine("servers stand in a configuration as ids with addresses")
    for server, address in value.items():
        if not (_is_name(server) and server and _is_name(address)):
            raise BadLine("a server has an id and an address, both printable text")
    return tuple(Member(server, address) for server, address in value.items())


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME_CHARACTERS and value.isprintable()
