"""Our servers with one choice made otherwise: what each is worth (Diss. §10). Only the benchmark ever runs these.

`python -m raft_threads.bench.choices CHOICE serve ...` replaces a function or two, and runs the server.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

from raft_threads import connection, log_file, monitor, peer_thread, replication, rpc_server, wire
from raft_threads.entry_format import format_entry
from raft_threads.log import LogEntry
from raft_threads.messages import AppendEntries
from raft_threads.state import State

FEW_ENTRIES = 8


class Choice(NamedTuple):
    """What is replaced, and what our servers do otherwise."""

    make: Callable[[], None]
    instead: str


def no_fsync() -> None:
    """Trust that no machine ever fails."""
    setattr(os, "fsync", lambda descriptor: None)


def an_fsync_for_each_entry() -> None:
    """No group commit."""
    append = log_file.LogFile.append

    def append_one_by_one(self: log_file.LogFile, entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            append(self, [entry])

    setattr(log_file.LogFile, "append", append_one_by_one)


def the_leader_writes_first() -> None:
    """Entries are sent only once the leader's own disk holds them."""
    save = monitor.Monitor.save

    def save_and_wake(self: monitor.Monitor) -> None:
        save(self)
        self.wake_peer_threads()

    def has_saved_entries_for(state: State, peer: str) -> bool:
        return has_entries_for(state, peer) and state.log.is_saved()

    has_entries_for = replication.has_entries_for
    setattr(monitor.Monitor, "save", save_and_wake)
    setattr(replication, "has_entries_for", has_saved_entries_for)


def few_entries_in_a_message() -> None:
    """Batches of eight at most."""
    begin = peer_thread.PeerThread.__init__

    def begin_with_few(self: Any, *arguments: Any) -> None:
        begin(self, *arguments)
        self._max_entries = FEW_ENTRIES

    setattr(peer_thread.PeerThread, "__init__", begin_with_few)


def two_sends_with_nagle() -> None:
    """Header and body in two calls, and Nagle's algorithm on: it holds the second back until the first is confirmed."""

    def send_in_two(self: socket.socket, message: wire.Message) -> None:
        header, newline, body = wire.encode(message).partition(b"\n")
        self.sendall(header + newline)
        self.sendall(body)

    def exchange(self: Any, message: wire.Message, timeout: float) -> wire.Message:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        try:
            self._socket.settimeout(timeout)
            send_in_two(self._socket, message)
            return wire.read_message(self._stream)
        except (OSError, ValueError, wire.BadMessage, wire.ConnectionEnded) as error:
            self.close()
            raise connection.ConnectionLost(str(error)) from error

    setattr(connection.Connection, "exchange", exchange)
    setattr(rpc_server.Conversation, "disable_nagle_algorithm", False)
    setattr(rpc_server.Conversation, "_send", lambda self, message: send_in_two(self.connection, message))


def one_condition_for_all() -> None:
    """Every thread of a server waits on the same condition, and every change wakes them all."""
    shared: dict[int, threading.Condition] = {}

    class NotifiesAll(threading.Condition):
        def notify(self, n: int = 1) -> None:
            super().notify(len(self._waiters))  # type: ignore[attr-defined]

    def condition(lock: Any = None) -> threading.Condition:
        return NotifiesAll() if lock is None else shared.setdefault(id(lock), NotifiesAll(lock))

    setattr(threading, "Condition", condition)


def entries_encoded_for_each_message() -> None:
    """Each entry is made into bytes again for every follower, instead of once for all of them and the disk."""

    def lines_of(message: wire.Message) -> list[bytes]:
        if isinstance(message, AppendEntries):
            return [format_entry(each.index, each.term, each.kind, each.command) for each in message.entries]
        return original(message)

    original = wire._lines_of
    setattr(wire, "_lines_of", lines_of)


CHOICES = {
    "no-fsync": Choice(no_fsync, "no fsync at all (not safe)"),
    "no-group-commit": Choice(an_fsync_for_each_entry, "an fsync for each entry"),
    "leader-writes-first": Choice(the_leader_writes_first, "the leader's fsync before it replicates"),
    "small-messages": Choice(few_entries_in_a_message, f"at most {FEW_ENTRIES} entries in a message"),
    "nagle": Choice(two_sends_with_nagle, "Nagle's algorithm on, header and body in two sends"),
    "one-condition": Choice(one_condition_for_all, "one condition variable for all threads"),
    "encode-again": Choice(entries_encoded_for_each_message, "entries encoded anew for each follower"),
}

if __name__ == "__main__":
    from raft_threads.__main__ import main

    CHOICES[sys.argv[1]].make()
    sys.exit(main(sys.argv[2:]))
