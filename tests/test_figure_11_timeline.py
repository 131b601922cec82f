"""Fig. 11: the timeline of a configuration change, and who can make decisions at each point of it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import pytest
from exchanges import (
    Cluster,
    begin_change,
    begin_cluster,
    configuration_entry,
    configurations_in,
    joint,
    members,
    replicate,
    restart,
    save,
    snapshot_up_to,
    stand,
)

from raft_threads import compaction, election, membership, replication
from raft_threads.configuration import Configuration
from raft_threads.log import Log
from raft_threads.messages import AppendEntries
from raft_threads.state import Role, State

OLD, NEW = ("S1", "S2", "S3"), ("S3", "S4", "S5")
ALL = ("S1", "S2", "S3", "S4", "S5")
C_OLD, C_OLD_NEW, C_NEW = Configuration.of(OLD), joint(OLD, NEW), Configuration.of(NEW)


def until_old_new_is_created() -> Cluster:
    """S1 leads C_old, and has C_old,new in its log. The new servers have all that comes before."""
    cluster = begin_cluster(*OLD, waiting=("S4", "S5"))
    assert stand(cluster, "S1", "S2", "S3")
    replicate(cluster, "S1", "S2", "S3")
    begin_change(cluster, "S1", *NEW)
    return cluster


def until_old_new_is_committed() -> Cluster:
    """C_old,new is stored by S1, S2 and S4, S5; and S1 knows that it is committed."""
    cluster = until_old_new_is_created()
    replicate(cluster, "S1", "S2", "S4", "S5")
    assert membership.latest_configuration_is_committed(cluster["S1"])
    return cluster


def until_new_is_created() -> Cluster:
    """S1, which is not in C_new, has it in its log."""
    cluster = until_old_new_is_committed()
    membership.advance_change(cluster["S1"])
    save(cluster["S1"])
    assert cluster["S1"].configuration == C_NEW
    return cluster


# The timeline


def test_the_leader_first_creates_c_old_new() -> None:
    """Fig. 11, the first dashed line; §6: it stores the configuration for joint consensus as a log entry."""
    leading = until_old_new_is_created()["S1"]
    assert configurations_in(leading.log) == [C_OLD, C_OLD_NEW]
    assert (leading.log.configuration_index, leading.commit_index) == (2, 1)


def test_c_old_new_is_in_force_on_each_server_before_it_is_committed() -> None:
    """§6: once a server adds the entry to its log, it uses that configuration for all future decisions."""
    cluster = until_old_new_is_created()
    replicate(cluster, "S1", "S2", "S4")
    assert [cluster[name].configuration for name in ("S1", "S2", "S4")] == [C_OLD_NEW] * 3
    assert cluster["S3"].configuration == C_OLD
    assert cluster["S5"].configuration == Configuration(), "it has never been told of any"
    assert cluster["S2"].commit_index == cluster["S4"].commit_index == 1


def test_c_old_new_is_not_committed_by_c_old_alone() -> None:
    """§6: the leader uses the rules of C_old,new to determine when the entry for C_old,new is committed."""
    cluster = until_old_new_is_created()
    replicate(cluster, "S1", "S2", "S3")
    assert cluster["S1"].commit_index == 1
    replicate(cluster, "S1", "S5")
    assert cluster["S1"].commit_index == 2


def test_c_old_new_is_not_committed_by_c_new_alone() -> None:
    """§6: separate majorities from both configurations."""
    cluster = until_old_new_is_created()
    replicate(cluster, "S1", "S4", "S5")
    assert cluster["S1"].commit_index == 1
    replicate(cluster, "S1", "S2")
    assert cluster["S1"].commit_index == 2


def test_the_leader_creates_c_new_once_c_old_new_is_committed_and_once_only() -> None:
    """Fig. 11, the second dashed line; §6: it is now safe to create an entry describing C_new."""
    cluster = until_old_new_is_created()
    membership.advance_change(cluster["S1"])
    assert configurations_in(cluster["S1"].log) == [C_OLD, C_OLD_NEW]
    replicate(cluster, "S1", "S2", "S4", "S5")
    for _ in range(2):
        membership.advance_change(cluster["S1"])
        assert configurations_in(cluster["S1"].log) == [C_OLD, C_OLD_NEW, C_NEW]


def test_a_follower_that_learns_that_c_old_new_is_committed_creates_nothing() -> None:
    """§6: it is the leader's to create a log entry describing C_new."""
    cluster = until_old_new_is_committed()
    replicate(cluster, "S1", "S2")
    assert cluster["S2"].commit_index == 2
    membership.advance_change(cluster["S2"])
    assert cluster["S2"].log.last_index == 2


def test_c_new_is_committed_by_a_majority_of_c_new() -> None:
    """Fig. 11; §6: under the rules of C_new; the old configuration is irrelevant then."""
    cluster = until_new_is_created()
    replicate(cluster, "S1", "S3")
    assert cluster["S1"].commit_index == 2
    replicate(cluster, "S1", "S4")
    assert cluster["S1"].commit_index == 3


def test_what_only_c_old_was_lacking_is_committed_as_soon_as_c_new_is_in_force() -> None:
    """§6: nobody has to answer anew for what a majority of C_new stores already."""
    cluster = until_old_new_is_created()
    leading, late = cluster["S1"], cluster["S2"]
    request = replication.append_entries_request(leading, "S2", max_entries=9, max_bytes=10_000)
    late_reply = replication.handle_append_entries(late, request)
    replication.append_command(leading, b"x")
    replicate(cluster, "S1", "S4", "S5")
    replication.handle_append_entries_reply(leading, "S2", request, late_reply)
    assert leading.commit_index == 2
    membership.advance_change(leading)
    assert (leading.commit_index, leading.log.last_index) == (3, 4)


def test_the_cluster_serves_clients_throughout_the_change() -> None:
    """§6: joint consensus allows the cluster to continue servicing client requests."""
    cluster = until_old_new_is_created()
    replication.append_command(cluster["S1"], b"during C_old,new")
    replicate(cluster, "S1", "S2", "S4", "S3")
    assert cluster["S1"].commit_index == 3
    membership.advance_change(cluster["S1"])
    replication.append_command(cluster["S1"], b"during C_new")
    replicate(cluster, "S1", "S3", "S4")
    assert cluster["S1"].commit_index == 5


# Who can be elected


def winners(cluster: Cluster) -> dict[str, list[set[str]]]:
    """Return, by candidate, the sets of servers that elect it when all have crashed and only they talk.

    Larger sets are left out if a part of them does.
    """
    found: dict[str, list[set[str]]] = {}
    for name in cluster:
        others = [other for other in cluster if other != name]
        for size in range(len(others) + 1):
            for voters in combinations(others, size):
                enough = any(elected <= {name, *voters} for elected in found.get(name, []))
                if not enough and stand(after_a_crash_of_all(cluster), name, *voters):
                    found.setdefault(name, []).append({name, *voters})
    return found


def after_a_crash_of_all(cluster: Cluster) -> Cluster:
    """Return what the servers of `cluster` would be after a restart, in the newest term of any."""
    again = dict(cluster)
    for name in again:
        restart(again, name)
        again[name].current_term = max(state.current_term for state in cluster.values())
        again[name].voted_for = None
    return again


def subsets_of(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return all sets that some of `names` make."""
    names = list(names)
    return [some for size in range(len(names) + 1) for some in combinations(names, size)]


def check_that_no_two_leaders_can_be_elected(cluster: Cluster) -> None:
    """Whoever elects one leader and whoever elects another have a server in common, which votes once in a term."""
    elected = winners(cluster)
    assert elected, "the cluster would never have a leader again"
    sets = [each for found in elected.values() for each in found]
    assert all(one & other for one in sets for other in sets), elected
    committed = max(state.commit_index for state in cluster.values())
    assert all(cluster[winner].log.last_index >= committed for winner in elected), "Leader Completeness (Fig. 3)"


@pytest.mark.parametrize("reached", subsets_of(ALL[1:]), ids="-".join)
def test_while_c_old_new_spreads_no_two_leaders_can_be_elected_in_a_term(reached: tuple[str, ...]) -> None:
    """Fig. 11; §6: a new leader may be chosen under either C_old or C_old,new; C_new cannot decide."""
    cluster = until_old_new_is_created()
    replicate(cluster, "S1", *reached)
    check_that_no_two_leaders_can_be_elected(cluster)


@pytest.mark.parametrize("reached", subsets_of(ALL[2:]), ids="-".join)
def test_while_c_new_spreads_no_two_leaders_can_be_elected_in_a_term(reached: tuple[str, ...]) -> None:
    """Fig. 11; §6: there is no time when C_old and C_new can both make unilateral decisions."""
    cluster = until_new_is_created()
    replicate(cluster, "S1", *reached)
    check_that_no_two_leaders_can_be_elected(cluster)


def test_before_c_old_new_has_left_the_leader_c_old_elects_alone() -> None:
    """Fig. 11: C_old can make decisions alone; depending on whether the candidate has received C_old,new."""
    elected = winners(until_old_new_is_created())
    assert {"S2", "S3"} in elected["S2"] and {"S2", "S3"} in elected["S3"]
    assert all(C_OLD_NEW.is_majority(voters) for voters in elected["S1"]), "it has received C_old,new"
    assert "S4" not in elected and "S5" not in elected


def test_once_c_old_new_is_committed_nobody_is_elected_without_both() -> None:
    """§6: neither C_old nor C_new can make decisions without approval of the other."""
    for voters in (each for found in winners(until_old_new_is_committed()).values() for each in found):
        assert C_OLD_NEW.is_majority(voters), voters


def test_once_c_old_new_is_committed_only_servers_that_have_it_can_be_elected() -> None:
    """§6: the Leader Completeness Property ensures that."""
    assert set(winners(until_old_new_is_committed())) == {"S1", "S2", "S4", "S5"}


def test_once_c_new_is_committed_it_elects_alone() -> None:
    """Fig. 11: C_new can make decisions alone."""
    cluster = until_new_is_created()
    replicate(cluster, "S1", "S3", "S4", "S5")
    elected = winners(cluster)
    assert {"S3", "S4"} in elected["S3"] and {"S4", "S5"} in elected["S5"]
    assert "S2" not in elected


def test_any_server_from_either_configuration_may_serve_as_leader() -> None:
    """§6: S1 is only in C_old, S5 only in C_new."""
    cluster = until_old_new_is_created()
    replicate(cluster, "S1", *ALL[1:])
    assert set(winners(cluster)) == set(ALL)


# A leader that is not part of the new configuration (§6, the second issue)


def test_a_leader_outside_of_c_new_replicates_but_does_not_count_itself() -> None:
    """§6: it replicates log entries but does not count itself in majorities."""
    cluster = until_new_is_created()
    leading = cluster["S1"]
    assert leading.peers == ["S3", "S4", "S5"]
    replicate(cluster, "S1", "S4")
    assert leading.match_index["S1"] == leading.match_index["S4"] == 3
    assert leading.commit_index == 2, "of C_new only S4 stores it"


def test_a_leader_outside_of_c_new_steps_down_once_c_new_is_committed_and_not_before() -> None:
    """§6: until then it may be that only a server from C_old can be elected."""
    cluster = until_new_is_created()
    leading = cluster["S1"]
    membership.advance_change(leading)
    assert leading.role is Role.LEADER
    replicate(cluster, "S1", "S3", "S4")
    membership.advance_change(leading)
    assert (leading.role, leading.leader_id, leading.current_term) == (Role.FOLLOWER, None, 1)
    assert not election.may_stand(leading)


def test_a_follower_outside_of_c_new_goes_on_following_while_it_hears_from_the_leader() -> None:
    """§6: there is nothing to step down from."""
    log = Log([configuration_entry(1, 1, C_NEW)])
    state = State("S1", (), 1, log=log, commit_index=1)
    state.leader_id = "S3"
    membership.advance_change(state)
    assert state.leader_id == "S3"


def test_a_leader_that_stays_in_the_cluster_goes_on_leading() -> None:
    """§6: once C_new is committed the change is over."""
    cluster = begin_cluster(*OLD, waiting=("S4",))
    stand(cluster, "S1", "S2", "S3")
    replicate(cluster, "S1", "S2", "S3")
    begin_change(cluster, "S1", "S1", "S2", "S4")
    replicate(cluster, "S1", "S2", "S4")
    membership.advance_change(cluster["S1"])
    replicate(cluster, "S1", "S2", "S4")
    membership.advance_change(cluster["S1"])
    assert cluster["S1"].role is Role.LEADER
    assert cluster["S1"].configuration == Configuration.of(("S1", "S2", "S4"))
    assert not membership.change_is_under_way(cluster["S1"])


def test_the_only_server_that_has_c_new_is_elected_once_more_although_it_is_not_in_it() -> None:
    """§6, Diss. §4.2.2: it is still needed. Of S1 and S2, S1 is being removed, and crashes with C_new in its log.

    S2 needs the vote of S1, whose log is longer; so only S1 can be elected, with the vote of S2 alone.
    """
    cluster = begin_cluster("S1", "S2")
    stand(cluster, "S1", "S2")
    replicate(cluster, "S1", "S2")
    begin_change(cluster, "S1", "S2")
    replicate(cluster, "S1", "S2")
    membership.advance_change(cluster["S1"])
    save(cluster["S1"])
    restart(cluster, "S1")
    assert cluster["S1"].configuration == Configuration.of(("S2",))
    assert not stand(cluster, "S2", "S1")
    assert not stand(cluster, "S1"), "its own vote does not count"
    assert stand(cluster, "S1", "S2")
    replicate(cluster, "S1", "S2")
    membership.advance_change(cluster["S1"])
    assert cluster["S1"].role is Role.FOLLOWER
    assert cluster["S2"].configuration == Configuration.of(("S2",))
    assert stand(cluster, "S2")


# A new leader finishes the change


def test_a_new_leader_that_has_c_old_new_finishes_the_change() -> None:
    """§6: it commits C_old,new with the first entry of its own term (§5.4.2), and goes on from there."""
    cluster = until_old_new_is_created()
    replicate(cluster, "S1", "S2", "S4")
    assert stand(cluster, "S4", "S2", "S3", "S5")
    membership.advance_change(cluster["S4"])
    assert cluster["S4"].configuration == C_OLD_NEW, "it cannot know yet that it is committed"
    replicate(cluster, "S4", "S2", "S3", "S5")
    membership.advance_change(cluster["S4"])
    assert cluster["S4"].configuration == C_NEW
    replicate(cluster, "S4", "S3", "S5")
    assert not membership.change_is_under_way(cluster["S4"])


def test_a_new_leader_that_has_only_c_old_ends_the_change_by_replacing_it() -> None:
    """§6: a new leader may be chosen under C_old; then C_old,new is gone, from the old leader's log too."""
    cluster = until_old_new_is_created()
    replicate(cluster, "S1", "S4")
    assert stand(cluster, "S2", "S3")
    replicate(cluster, "S2", "S3", "S1")
    assert cluster["S2"].commit_index == 2
    assert cluster["S1"].configuration == C_OLD
    assert not membership.change_is_under_way(cluster["S2"])


def test_a_new_leader_begins_no_change_before_it_knows_that_the_latest_configuration_is_committed() -> None:
    """§6: two changes must not overlap; and a new leader knows of no commit before the one of its own term."""
    cluster = until_new_is_created()
    replicate(cluster, "S1", "S3", "S4")
    assert stand(cluster, "S3", "S4")
    with pytest.raises(membership.ChangeRefused, match="under way"):
        membership.begin_change(cluster["S3"], members("S3"), now=0.0)
    replicate(cluster, "S3", "S4")
    membership.begin_change(cluster["S3"], members("S3"), now=0.0)


def test_a_new_leader_whose_snapshot_ends_in_joint_consensus_goes_on_to_c_new() -> None:
    """§6, §7: what is in a snapshot is committed, so the next step is due at once."""
    state = State("S3", (), 4, "S3", Log([], snapshot_up_to(7, 3, C_OLD_NEW)), commit_index=7)
    election.begin_election(state)
    election.become_leader(state)
    membership.advance_change(state)
    assert configurations_in(state.log) == [C_OLD_NEW, C_NEW]
    assert set(state.match_index) == {"S3", "S4", "S5"}


# What is not committed may be rolled back


def overwrite(state: State, index: int, prev_term: int) -> None:
    """Have a leader of a newer term replace the entry at `index` by another one."""
    entries = Log([], snapshot_up_to(index - 1, prev_term, Configuration()))
    entries.append_new(9, "command", b"another leader's")
    request = AppendEntries(9, "S2", index - 1, prev_term, tuple(entries.all_entries()), 0)
    assert replication.handle_append_entries(state, request).success


def test_a_server_falls_back_to_the_configuration_that_the_cluster_began_with() -> None:
    """§6: the latest in its log, which has none any more."""
    log = Log([], snapshot_up_to(0, 0, C_OLD))
    log.append(configuration_entry(1, 1, C_OLD_NEW))
    state = State("S1", (), 1, log=log)
    overwrite(state, 1, 0)
    assert (state.configuration, state.log.configuration_index) == (C_OLD, 0)
    assert state.peers == ["S2", "S3"]


def test_a_server_falls_back_to_the_previous_configuration_in_its_log() -> None:
    """§6: C_new is replaced by another leader's entry, and C_old,new is in force again."""
    log = Log([], snapshot_up_to(0, 0, C_OLD))
    log.append(configuration_entry(1, 1, C_OLD_NEW))
    log.append(configuration_entry(2, 1, C_NEW))
    state = State("S1", (), 1, log=log)
    overwrite(state, 2, 1)
    assert (state.configuration, state.log.configuration_index) == (C_OLD_NEW, 1)


def test_a_server_falls_back_over_several_configurations_at_once() -> None:
    """§6: all that follows the conflict is deleted (§5.3)."""
    log = Log([], snapshot_up_to(0, 0, C_OLD))
    log.append(configuration_entry(1, 1, C_OLD_NEW))
    log.append(configuration_entry(2, 1, C_NEW))
    state = State("S1", (), 1, log=log)
    overwrite(state, 1, 0)
    assert state.configuration == C_OLD


def test_a_server_falls_back_to_the_configuration_in_its_snapshot() -> None:
    """§6, §7: the snapshot includes the latest configuration in the log as of its last included index."""
    log = Log([], snapshot_up_to(5, 1, C_OLD))
    log.append(configuration_entry(6, 1, C_OLD_NEW))
    state = State("S1", (), 1, log=log, commit_index=5)
    overwrite(state, 6, 1)
    assert (state.configuration, state.log.configuration_index) == (C_OLD, 5)


def test_a_new_server_whose_first_configuration_is_rolled_back_waits_again() -> None:
    """§6: it is not part of the cluster, and does not stand."""
    cluster = until_old_new_is_created()
    replicate(cluster, "S1", "S4")
    assert election.may_stand(cluster["S4"])
    overwrite(cluster["S4"], 2, 1)
    assert cluster["S4"].configuration == Configuration()
    assert not election.may_stand(cluster["S4"])


def test_entries_of_another_leader_after_an_agreeing_configuration_do_not_touch_it() -> None:
    """§6, §5.3: only a conflict deletes."""
    cluster = until_old_new_is_committed()
    overwrite(cluster["S2"], 3, 1)
    assert cluster["S2"].configuration == C_OLD_NEW
    assert not compaction.must_reset_state_machine(cluster["S2"])
