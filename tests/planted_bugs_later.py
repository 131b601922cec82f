"""Mistakes in what comes after §5: membership (§6), snapshots (§7), clients (§8).

One more is found by a scripted schedule, as random ones hardly ever come by: discarding the log although the snapshot
agrees with it (Fig. 13, rule 6), in `test_section_7_snapshots_on_servers.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

import pytest

from raft_threads import compaction, membership, reads, sessions
from raft_threads.configuration import Configuration, Members
from raft_threads.log import SnapshotMetadata
from raft_threads.state import Role, State


def joint_consensus_counts_as_one_majority(patch: pytest.MonkeyPatch) -> None:
    """§6: C_old,new needs separate majorities; here one of all servers together is enough."""

    def sets(self: Configuration) -> tuple[Members, ...]:
        together = {member.id: member for members in (self.members, self.new_members or ()) for member in members}
        return (tuple(together.values()),)

    patch.setattr(Configuration, "_sets", sets)


def configuration_acts_only_when_committed(patch: pytest.MonkeyPatch) -> None:
    """§6: a server always uses the latest configuration in its log, whether it is committed or not."""

    def configuration(self: State) -> Configuration:
        return self.log.configuration_at(max(self.commit_index, self.log.start.last_included_index))

    patch.setattr(State, "configuration", property(configuration))


def change_goes_directly_to_the_new_configuration(patch: pytest.MonkeyPatch) -> None:
    """§6, Fig. 10: without joint consensus."""

    def begin(state: State) -> None:
        catch_up = state.catch_up
        if catch_up is not None and catch_up.caught_up.issuperset(learner.id for learner in catch_up.learners):
            state.catch_up = None
            membership.append_configuration(state, Configuration(catch_up.new_members))

    patch.setattr(membership, "begin_joint_consensus_if_caught_up", begin)


def snapshot_forgets_the_sessions(patch: pytest.MonkeyPatch) -> None:
    """§8, Diss. §6.3: the table of sessions is part of the state."""

    def capture(self: Any) -> Iterator[bytes]:
        return (record for record in original(self) if record.startswith(b"state "))

    original = sessions.Sessions.capture
    patch.setattr(sessions.Sessions, "capture", capture)


def command_sent_again_is_executed_again(patch: pytest.MonkeyPatch) -> None:
    """§8: the servers should remember the answer."""
    patch.setattr(sessions, "remembered_reply", lambda session, sequence: None)


def read_without_a_round_of_heartbeats(patch: pytest.MonkeyPatch) -> None:
    """§8: who takes itself for the leader may have been deposed."""
    patch.setattr(reads, "leadership_is_confirmed", lambda state, read_round: state.role is Role.LEADER)


def snapshot_covers_what_was_not_applied(patch: pytest.MonkeyPatch) -> None:
    """§7: the last included entry is the last one that the state machine had applied."""

    def metadata(state: State) -> SnapshotMetadata:
        return state.log.position_of(state.commit_index)

    patch.setattr(compaction, "snapshot_metadata", metadata)


LATER_BUGS: list[Callable[[pytest.MonkeyPatch], None]] = [
    joint_consensus_counts_as_one_majority,
    configuration_acts_only_when_committed,
    change_goes_directly_to_the_new_configuration,
    snapshot_forgets_the_sessions,
    command_sent_again_is_executed_again,
    read_without_a_round_of_heartbeats,
    snapshot_covers_what_was_not_applied,
]
