"""What must hold of configurations (§6) and snapshots (§7) in a running cluster, beside the properties of Fig. 3."""

from __future__ import annotations

from raft_threads.configuration import Configuration, parse_configuration
from raft_threads.known_entries import Committed
from raft_threads.log import CONFIGURATION, LogEntry, SnapshotMetadata
from raft_threads.server_invariants import MEMBERSHIP, PERSISTENCE, SNAPSHOTS, InvariantViolation
from raft_threads.watched_server import WatchedServer


def check_new_configuration(leader: WatchedServer, entry: LogEntry) -> None:
    """Check that a leader's new entry may change the configuration so: to C_old,new, and from there to C_new (§6)."""
    if entry.kind != CONFIGURATION:
        return
    before, after = leader.configuration, parse_configuration(entry.command)
    if leader.configuration_index > leader.commit_index:
        raise InvariantViolation(
            MEMBERSHIP,
            f"{leader.id} begins with configuration {entry.index} before that of entry {leader.configuration_index} "
            "is committed",
            [leader.id],
            [entry.index, leader.configuration_index],
        )
    to_joint = after.is_joint and not before.is_joint and after.members == before.members
    if not to_joint and (after.is_joint or after.members != before.new_members):
        raise InvariantViolation(
            MEMBERSHIP,
            f"{leader.id} goes directly from {describe(before)} to {describe(after)} with entry {entry.index}",
            [leader.id],
            [entry.index],
        )


def check_configuration_in_force(server: WatchedServer, index: int, configuration: Configuration) -> None:
    """Check that a server uses the latest configuration in its log, committed or not (§6)."""
    if (index, configuration) != (server.configuration_index, server.configuration):
        raise InvariantViolation(
            MEMBERSHIP,
            f"{server.id} uses {describe(configuration)} of entry {index}; the latest in its log is "
            f"{describe(server.configuration)} of entry {server.configuration_index}",
            [server.id],
            [index, server.configuration_index],
        )


def check_may_stop_leading(server: WatchedServer) -> None:
    """Check that a leader that steps down within its term was removed (§6), or hears from no majority (Diss. §6.2)."""
    is_removed = server.id not in server.configuration and server.configuration_index <= server.state.commit_index
    if not (is_removed or server.lost_contact):
        raise InvariantViolation(
            MEMBERSHIP,
            f"{server.id} leads term {server.state.term} and steps down, although it is in the configuration in force",
            [server.id],
        )


def check_snapshot(
    server: WatchedServer, metadata: SnapshotMetadata, committed: Committed, first: Configuration
) -> None:
    """Check that a snapshot replaces committed entries, and says of them what is so (§7, Fig. 12).

    `first` is the configuration that the cluster began with.
    """
    index = metadata.last_included_index
    if index == 0:
        return
    if index > committed.last_index or committed.term_at(index) != metadata.last_included_term:
        raise InvariantViolation(
            SNAPSHOTS,
            f"{server.id} has a snapshot up to entry {index} of term {metadata.last_included_term}, which is not "
            "known to be committed",
            [server.id],
            [index],
        )
    configuration = committed.configuration_at(index) or first
    if metadata.configuration != configuration:
        raise InvariantViolation(
            SNAPSHOTS,
            f"{server.id} has a snapshot up to entry {index} with {describe(metadata.configuration)}; "
            f"there it was {describe(configuration)}",
            [server.id],
            [index],
        )


def check_covers_only_what_was_applied(server: WatchedServer, metadata: SnapshotMetadata) -> None:
    """Check that a server's own snapshot is of a state that it has been in (§7)."""
    if metadata.last_included_index > server.last_applied:
        raise InvariantViolation(
            SNAPSHOTS,
            f"{server.id} has taken a snapshot up to entry {metadata.last_included_index} and applied "
            f"{server.last_applied}",
            [server.id],
            [metadata.last_included_index, server.last_applied],
        )


def check_keeps_what_follows(server: WatchedServer, metadata: SnapshotMetadata, retained: bool) -> None:
    """Check that the entries after a leader's snapshot are kept if the last included one agrees (Fig. 13, rule 6)."""
    agrees = server.term_at(metadata.last_included_index) == metadata.last_included_term
    if agrees and not retained and len(server.log) > metadata.last_included_index:
        raise InvariantViolation(
            PERSISTENCE,
            f"{server.id} discards its entries after {metadata.last_included_index} although the snapshot agrees with "
            "its log",
            [server.id],
            [metadata.last_included_index, len(server.log)],
        )
    if retained and not agrees:
        raise InvariantViolation(
            SNAPSHOTS,
            f"{server.id} keeps entries after {metadata.last_included_index}, where its log does not agree with the "
            "snapshot",
            [server.id],
            [metadata.last_included_index],
        )


def describe(configuration: Configuration) -> str:
    """Return a configuration in a few words."""
    old = ", ".join(member.id for member in configuration.members) or "nobody"
    if configuration.new_members is None:
        return old
    return f"{old} and {', '.join(member.id for member in configuration.new_members)}"
