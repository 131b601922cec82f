"""How every server of a cluster is, asked one by one (§5.1): what an operator looks at first. Also single requests."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Optional

from raft_threads.addresses import Address
from raft_threads.client_messages import Hello, ServerStatus, StatusRequest
from raft_threads.client_requests import CONNECT_TIMEOUT
from raft_threads.connection import CannotConnect, Connection, ConnectionLost
from raft_threads.wire import Message


@dataclass(frozen=True)
class ServerReport:
    """What `status` says of one server; the fields of a server that does not answer are None."""

    id: str
    address: str
    reachable: bool
    role: Optional[str] = None
    term: Optional[int] = None
    leader: Optional[str] = None
    commit_index: Optional[int] = None
    last_applied: Optional[int] = None
    last_log_index: Optional[int] = None
    snapshot_index: Optional[int] = None
    snapshot_bytes: Optional[int] = None
    log_bytes: Optional[int] = None
    disk_writes: Optional[int] = None
    requests_answered: Optional[int] = None


def ask_all_servers(cluster: Mapping[str, Address], hello: Hello, timeout: float) -> list[ServerReport]:
    """Ask every server of `cluster` how it is, all at once; each has `timeout` seconds."""
    with ThreadPoolExecutor(max_workers=len(cluster)) as pool:
        return list(pool.map(lambda name: report_of(name, cluster[name], hello, timeout), cluster))


def report_of(name: str, address: Address, hello: Hello, timeout: float) -> ServerReport:
    """Ask one server how it is."""
    try:
        status = ask_server(address, hello, StatusRequest(), timeout)
    except (CannotConnect, ConnectionLost):
        status = StatusRequest()
    if not isinstance(status, ServerStatus):
        return ServerReport(name, str(address), reachable=False)
    values = {**vars(status), "id": name}
    return ServerReport(address=str(address), reachable=True, **values)


def ask_server(address: Address, hello: Hello, request: Message, timeout: float) -> Message:
    """Return the answer of one server, which may take `timeout` seconds once it is reached.

    Raises CannotConnect and ConnectionLost.
    """
    connection = Connection(address, min(timeout, CONNECT_TIMEOUT))
    try:
        connection.introduce(hello, min(timeout, CONNECT_TIMEOUT))
        return connection.exchange(request, timeout)
    finally:
        connection.close()
