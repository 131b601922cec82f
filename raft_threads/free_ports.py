"""Ports on this machine for a demo's or a test's servers: the usual ones, or others that are free (§5.1)."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Callable, Optional

from raft_threads.addresses import Address
from raft_threads.rpc_server import CannotListen

HOST = "127.0.0.1"


def choose_addresses(servers: Sequence[str], first_port: int, say: Callable[[str], None]) -> dict[str, Address]:
    """Return an address for each server: `first_port` and those after it, or free ones if any of these is in use.

    All or none, because a single free port among busy ones may belong to a server of another demo that is crashed at
    the moment. `say` hears in one line what was replaced. A `first_port` of 0 asks for free ones at once.
    """
    usual = range(first_port, first_port + len(servers))
    busy = [port for port in usual if not is_free(port)] if first_port else []
    if first_port and not busy:
        return {server: Address(HOST, port) for server, port in zip(servers, usual)}
    others = free_ports(len(servers))
    if busy:
        say(f"Port {busy[0]} is in use; {listed(servers)} {'take' if len(servers) > 1 else 'takes'} {listed(others)}.")
    return {server: Address(HOST, port) for server, port in zip(servers, others)}


def is_free(port: int) -> bool:
    """Return whether nobody listens on `port`."""
    with _socket() as probe:
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return different ports that the system knows to be free. Raises CannotListen when there are not so many."""
    probes = [_socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
    except OSError as error:
        raise CannotListen(f"no port is free on {HOST}: {error}") from error
    finally:
        for probe in probes:
            probe.close()


def _socket() -> socket.socket:
    """Return a socket that may have a port as soon as nobody listens there, as the servers' own sockets may."""
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return probe


def keep_port(address: Address) -> Optional[socket.socket]:
    """Keep the port of a server that is down from those who look for any free one; return what is to be closed in the
    end, None when somebody has the port already.
    """
    keeper = _socket()
    try:
        keeper.bind(address)
    except OSError:
        keeper.close()
        return None
    return keeper


def listed(values: Sequence[object]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    texts = [str(value) for value in values]
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
