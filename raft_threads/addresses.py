"""Where servers are: `n1=127.0.0.1:3300,n2=[::1]:3301` and the like (§5.1: the cluster's servers are fixed)."""

from __future__ import annotations

import re
from typing import NamedTuple


class Address(NamedTuple):
    """A host name or IP address, and a TCP port. `str()` gives it back as it is written: `[::1]:3300`."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_ADDRESS = re.compile(r"(?:\[(?P<bracketed>[^\]]+)\]|(?P<plain>[^\[\]:]+)):(?P<port>[0-9]{1,5})")
# As long as a name may be in a message and in a configuration (docs/wire-format.md).
_LONGEST_ADDRESS = 255
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def parse_address(text: str) -> Address:
    """Return the address in `text`, `host:port` or `[ipv6]:port`. Raises ValueError when it is neither."""
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 65536:
        raise ValueError(f"{text!r} is not an address; write host:port, or [host]:port for IPv6")
    if len(text) > _LONGEST_ADDRESS or not text.isprintable():
        raise ValueError(f"an address has at most {_LONGEST_ADDRESS} printable characters, unlike {text[:30]!r}...")
    return Address(match["bracketed"] or match["plain"], int(match["port"]))


def parse_cluster(text: str) -> dict[str, Address]:
    """Return the servers in `text`, `id=host:port` separated by commas, in that order.

    Raises ValueError when it is malformed, or an id or an address stands there twice.
    """
    cluster: dict[str, Address] = {}
    for part in text.split(","):
        server, equals, address = part.strip().partition("=")
        if not equals or not _ID.fullmatch(server):
            raise ValueError(f"{part.strip()!r} is not a server; write id=host:port, with commas between servers")
        if server in cluster:
            raise ValueError(f"server {server} is named twice")
        cluster[server] = parse_address(address)
        if len(set(cluster.values())) < len(cluster):
            raise ValueError(f"address {address} is given to two servers")
    return cluster


def format_cluster(cluster: dict[str, Address]) -> str:
    """Return `cluster` as `parse_cluster` reads it."""
    return ",".join(f"{server}={address}" for server, address in cluster.items())
