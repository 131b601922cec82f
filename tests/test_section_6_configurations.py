"""§6: what a configuration decides, how it stands in the log, and which one is in force."""

from __future__ import annotations

from itertools import chain, combinations

import pytest
from drawing import FIVE, THREE, entries_of
from exchanges import configuration_entry, joint, snapshot_up_to

from raft_threads.configuration import Configuration, Member, format_configuration, parse_configuration
from raft_threads.entry_format import BadLine
from raft_threads.log import CONFIGURATION, Log, LogEntry
from raft_threads.state import State

OLD, NEW = ("n1", "n2", "n3"), ("n3", "n4", "n5")
C_OLD, C_OLD_NEW, C_NEW = Configuration.of(OLD), joint(OLD, NEW), Configuration.of(NEW)


def subsets_of(*servers: str) -> list[tuple[str, ...]]:
    """Return all sets that some of `servers` make."""
    return list(chain.from_iterable(combinations(servers, size) for size in range(len(servers) + 1)))


# What decides


def test_joint_consensus_requires_separate_majorities_of_both_configurations() -> None:
    """§6: a majority of all five, or of one set, is not enough."""
    assert not C_OLD_NEW.is_majority({"n1", "n2", "n4"})
    assert not C_OLD_NEW.is_majority({"n3", "n4", "n5"})
    assert not C_OLD_NEW.is_majority({"n1", "n2", "n3"})
    assert C_OLD_NEW.is_majority({"n1", "n3", "n4"})
    assert C_OLD_NEW.is_majority({"n1", "n2", "n4", "n5"})


def test_any_set_that_decides_in_joint_consensus_meets_any_that_decides_in_either_configuration() -> None:
    """§6, Fig. 11: so there is never a point at which two sets can decide without each other."""
    sets = subsets_of(*FIVE)
    for deciding in filter(C_OLD_NEW.is_majority, sets):
        for configuration in (C_OLD, C_OLD_NEW, C_NEW):
            assert all(set(deciding) & set(other) for other in sets if configuration.is_majority(other))


def test_servers_outside_of_a_configuration_count_for_nothing() -> None:
    """§6: non-voting members are not considered for majorities, nor is a leader that is being removed."""
    assert not C_NEW.is_majority({"n1", "n2", "n3"})
    assert not C_OLD.is_majority({"n1", "n4", "n5", "n6"})


def test_a_blank_configuration_decides_nothing() -> None:
    """§6: a server that waits to be added elects nobody, not even itself."""
    blank = Configuration()
    assert not blank.is_majority({"n1"})
    assert blank.servers == ()
    with pytest.raises(ValueError, match="nobody decides"):
        blank.reached_by_majority({"n1": 5})


@pytest.mark.parametrize(
    "stored, committed",
    [
        ({"n1": 9, "n2": 9, "n3": 1, "n4": 2, "n5": 9}, 2),
        ({"n1": 3, "n2": 1, "n3": 9, "n4": 9, "n5": 9}, 3),
        ({"n1": 7, "n2": 8, "n3": 9, "n4": 6}, 6),
        ({"n3": 9}, float("-inf")),
    ],
)
def test_what_a_majority_of_each_has_reached_is_the_less_of_the_two(stored: dict[str, float], committed: float) -> None:
    """§6: entry commitment requires separate majorities; who has not answered has reached nothing."""
    assert C_OLD_NEW.reached_by_majority(stored) == committed


def test_what_is_reached_by_a_majority_is_what_the_servers_at_it_decide() -> None:
    """§5.3, §6: two ways to count that must agree, with one server as with even sets."""
    for names in (("n1",), FIVE[:2], FIVE[:4], FIVE):
        configuration = Configuration.of(names)
        for present in subsets_of(*names):
            reached = configuration.reached_by_majority({name: 1 if name in present else 0 for name in names})
            assert (reached == 1) == configuration.is_majority(present)


# Who is in it


def test_entries_go_to_all_servers_of_both_configurations_each_once() -> None:
    """§6: log entries are replicated to all servers in both configurations."""
    assert C_OLD_NEW.servers == ("n1", "n2", "n3", "n4", "n5")
    assert "n1" in C_OLD_NEW and "n5" in C_OLD_NEW and "n6" not in C_OLD_NEW
    assert C_OLD_NEW.is_joint and not C_OLD.is_joint


def test_a_change_that_removes_everybody_but_adds_nobody_is_a_joint_one_all_the_same() -> None:
    """§6: C_new may be contained in C_old."""
    shrinking = joint(THREE, ("n1",))
    assert shrinking.is_joint
    assert shrinking.is_majority({"n1", "n2"})
    assert not shrinking.is_majority({"n2", "n3"})


def test_during_a_change_a_server_is_reached_where_the_new_configuration_says() -> None:
    """§6: a change can move a server to another address."""
    configuration = Configuration((Member("n1", "a:1"), Member("n2", "b:2")), (Member("n1", "c:3"),))
    assert configuration.addresses == {"n1": "c:3", "n2": "b:2"}


# How it stands in the log


@pytest.mark.parametrize(
    "configuration",
    [Configuration(), C_OLD, C_OLD_NEW, Configuration((Member("n1", "127.0.0.1:3300"),), (Member("ü", "[::1]:1"),))],
    ids=["blank", "old", "joint", "addresses"],
)
def test_a_configuration_is_read_as_it_was_written(configuration: Configuration) -> None:
    """§6: configurations are stored and communicated using special entries in the replicated log."""
    assert parse_configuration(format_configuration(configuration)) == configuration


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"new_servers":{}}',
        b'{"servers":[]}',
        b'{"servers":null}',
        b'{"servers":{},"new_servers":null}',
        b'{"servers":{},"learners":{}}',
        b'{"servers":{"":"a:1"}}',
        b'{"servers":{"n1":1}}',
        b'{"servers":{"n\\n1":"a:1"}}',
        b'{"servers":{"n1":"a\\u0000"}}',
        b'{"servers":{"%s":""}}' % (b"n" * 256),
        b'{"servers":{"n1":"%s"}}' % (b"a" * 256),
        b'{"servers":{%s}}' % b",".join(b'"n%d":""' % number for number in range(1001)),
    ],
)
def test_what_is_no_configuration_is_refused(data: bytes) -> None:
    """§6: it comes from a socket or a disk."""
    with pytest.raises(BadLine):
        parse_configuration(data)
    entry = LogEntry(1, 1, CONFIGURATION, data)
    with pytest.raises(BadLine):
        LogEntry.from_line(entry.line)


def test_the_largest_configuration_is_not_refused() -> None:
    """§6: the limits are meant to be reached."""
    configuration = Configuration.of(f"{'n' * 250}{number:05}" for number in range(1000))
    assert parse_configuration(format_configuration(configuration)) == configuration


# Which one is in force


def test_the_latest_configuration_in_the_log_is_in_force_committed_or_not() -> None:
    """§6: a server uses it as soon as it adds the entry to its log."""
    state = State("n1", OLD, 1)
    assert (state.configuration, state.log.configuration_index) == (C_OLD, 0)
    state.log.append(configuration_entry(1, 1, C_OLD_NEW))
    assert (state.configuration, state.log.configuration_index) == (C_OLD_NEW, 1)
    state.log.append(configuration_entry(2, 1, C_NEW))
    assert (state.configuration, state.log.configuration_index) == (C_NEW, 2)
    assert state.commit_index == 0
    assert state.peers == ["n3", "n4", "n5"]


def test_the_configuration_is_found_again_in_the_log_after_a_restart() -> None:
    """§6; Fig. 2, persistent state: the log is where it is kept."""
    entries = [*entries_of(1), configuration_entry(2, 1, C_OLD_NEW), *entries_of(1, first_index=3)]
    log = Log(entries, snapshot_up_to(0, 0, C_OLD))
    assert (log.configuration, log.configuration_index) == (C_OLD_NEW, 2)
    assert [log.configuration_at(index) for index in (0, 1, 2, 3)] == [C_OLD, C_OLD, C_OLD_NEW, C_OLD_NEW]


def test_the_servers_a_cluster_was_started_with_count_only_without_a_later_configuration() -> None:
    """§6, §7: a snapshot, or a log that was begun with another configuration, knows better."""
    assert State("n1", THREE).configuration == Configuration.of(THREE)
    log = Log([], snapshot_up_to(5, 1, C_NEW))
    assert State("n3", THREE, log=log).configuration == C_NEW
    assert State("n3", THREE, log=Log([], snapshot_up_to(0, 0, C_NEW))).configuration == C_NEW
