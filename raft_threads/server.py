"""A whole server: a node with its sockets, its files and the key-value store (§2, Fig. 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Callable, Optional

from raft_threads.addresses import Address
from raft_threads.client_service import ClientService
from raft_threads.configuration import Configuration, Member
from raft_threads.durable_files import sync_file
from raft_threads.events import Observer
from raft_threads.file_storage import FileStorage
from raft_threads.kv import KeyValueStore
from raft_threads.node import Node
from raft_threads.options import Options
from raft_threads.runtime import Runtime
from raft_threads.tcp_transport import TcpTransport
from raft_threads.timing import Timing
from raft_threads.transport import Transport
from raft_threads.wire import Message


class KeyValueServer:
    """One server of a replicated key-value store, as `serve` and the demo run it."""

    def __init__(
        self,
        server: str,
        addresses: Mapping[str, Address],
        data_dir: Path,
        *,
        cluster: str = "raft",
        timing: Timing = Timing(),
        options: Options = Options(),
        join: bool = False,
        runtime: Runtime = Runtime(),
        observers: Sequence[Observer] = (),
        sync: Callable[[int], None] = sync_file,
        wrap_transport: Callable[[Transport], Transport] = lambda transport: transport,
    ) -> None:
        """Open the directory and the port. Raises StorageError or CannotListen, with nothing left open.

        `addresses` are those of the servers that the cluster begins with. With `join` they need only have our own: this
        server waits to be added to a cluster (§6).

        `wrap_transport` may put something between node and network, as the demo does to cut connections.
        """
        self.id = server
        self.store = KeyValueStore()
        storage = FileStorage(data_dir, cluster, server, sync)
        transport: Optional[TcpTransport] = None
        try:
            transport = TcpTransport(server, cluster, addresses, self._handle_client)
            self.node = Node(
                server,
                Configuration() if join else configuration_at(addresses),
                transport=wrap_transport(transport),
                storage=storage,
                state_machine=self.store,
                timing=timing,
                options=options,
                runtime=runtime,
                observers=observers,
            )
            self._clients = ClientService(self.node, addresses)
        except Exception:
            if transport is not None:
                transport.close()
            storage.close()
            raise

    def start(self) -> None:
        """Start serving."""
        self.node.start()

    def stop(self) -> None:
        """Stop serving; see Node.stop."""
        self.node.stop()

    def _handle_client(self, request: Message) -> Message:
        return self._clients.handle(request)


def configuration_at(addresses: Mapping[str, Address]) -> Configuration:
    """Return the configuration of the servers at `addresses` (§6)."""
    return Configuration(tuple(Member(server, str(address)) for server, address in addresses.items()))
