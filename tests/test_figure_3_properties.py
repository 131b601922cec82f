"""Fig. 3: runs that break nothing, and for each property the smallest things that break it. All are hand-made."""

from __future__ import annotations

import pickle
from itertools import count

import pytest
from drawing import FIVE, entries_of
from telling import Telling, broken, committed, fig_8_until_c, with_leader

from raft_threads import events
from raft_threads.invariant_watch import InvariantWatch
from raft_threads.invariants import InvariantViolation
from raft_threads.kv import KeyValueStore
from raft_threads.local_cluster import LocalCluster
from raft_threads.log import COMMAND, LogEntry
from raft_threads.messages import AppendEntries, RequestVoteReply
from raft_threads.state import Role

# Runs that break nothing


def test_fig_8_d_breaks_nothing() -> None:
    """An entry on a majority is overwritten: it was never committed."""
    told = fig_8_until_c()
    told.restart("n1")
    told.elect("n5", 5, "n2", "n3", "n4")
    told.replicate("n5", "n1", "n2", "n3", "n4")
    told.append("n5")
    told.replicate("n5", "n1", "n2")
    told.commit("n5", 3)
    told.replicate("n5", "n1", "n2", "n3", "n4")
    for name in FIVE:
        for index in (1, 2, 3):
            told.apply(name, index)


def test_fig_8_e_breaks_nothing() -> None:
    """Here it is committed, with one of the leader's own term."""
    told = fig_8_until_c()
    told.replicate("n1", "n2", "n3")
    told.commit("n1", 3)
    told.elect("n2", 5, "n3", "n4")
    told.append("n2")
    told.replicate("n2", "n1", "n3", "n4", "n5")


def test_an_old_leader_may_learn_late_that_its_entry_is_committed() -> None:
    """The acknowledgements count although a newer leader has been elected meanwhile: it has the entry."""
    told = with_leader()
    told.append("n1")
    told.replicate("n1", "n2")
    told.elect("n2", 2, "n3")
    told.append("n2")
    told.commit("n1", 1)


def test_what_one_server_deletes_may_be_committed_later_by_others() -> None:
    """n5 hears a late message of an old leader, while the entry that it deletes survives elsewhere."""
    told = Telling(FIVE)
    told.start()
    told.elect("n4", 1, "n2", "n3")
    told.append("n4")
    told.replicate("n4", "n5")
    told.elect("n1", 2, "n2", "n3")
    told.append("n1")
    late = told.send("n1", "n5")
    told.elect("n4", 3, "n2", "n3")
    told.append("n4")
    told.replicate("n4", "n2", "n3")
    told.commit("n4", 2)
    told.accept("n5", late)
    told.replicate("n4", "n5", "n1")


def test_after_a_restart_entries_are_applied_again_from_the_first_on() -> None:
    """The state machine is volatile here; the results are the same again."""
    told = committed()
    told.apply("n1", 1)
    told.restart("n1")
    told.elect("n2", 2, "n3")
    told.append("n2")
    told.replicate("n2", "n1")
    told.commit("n2", 2)
    told.replicate("n2", "n1")
    told.apply("n1", 1)
    told.apply("n1", 2)


def test_entries_that_were_deleted_may_be_back_after_a_crash() -> None:
    """The disk need not have got as far as the deletion; and what was promised of them holds no more."""
    for after_the_crash in (entries_of(1, 1), entries_of(), entries_of(2)):
        told = Telling(FIVE)
        told.start()
        told.elect("n1", 1, "n2", "n3")
        told.append("n1", 2)
        told.replicate("n1", "n2")
        told.elect("n5", 2, "n3", "n4")
        told.append("n5")
        told.take("n2", told.send("n5", "n2"))
        told.restart("n2", after_the_crash)


def test_what_was_never_told_to_anybody_may_be_lost() -> None:
    """A candidacy that nobody was asked about, an entry that was not acknowledged (Fig. 2)."""
    told = with_leader()
    told.append("n1")
    told.take("n3", told.send("n1", "n3"))
    told.restart("n3", [])
    told.tell(events.BecameCandidate, "n3", {"term": 7, "role": Role.CANDIDATE, "voted_for": "n3", "leader_id": None})
    told.restart("n3", term=1, voted_for=None)
    told.restart("n1", [])


# Election Safety (§5.2)


def test_a_second_leader_of_a_term_is_found() -> None:
    """At most one leader can be elected in a given term."""
    told = with_leader()
    told.campaign("n3", 1)
    with broken("Election Safety", "n1", "n3"):
        told.win("n3")


def test_a_leader_without_a_majority_is_found() -> None:
    """Two of five."""
    told = Telling(FIVE)
    told.start()
    with broken("Election Safety", "n1"):
        told.elect("n1", 1, "n2")


def test_votes_of_an_earlier_candidacy_do_not_count() -> None:
    """Two votes, in two terms."""
    told = Telling(FIVE)
    told.start()
    told.campaign("n1", 1)
    told.vote("n2", "n1")
    told.campaign("n1", 2)
    told.vote("n3", "n1")
    with broken("Election Safety", "n1"):
        told.win("n1")


def test_a_vote_that_nobody_gave_is_found() -> None:
    """Nor one that was given in an earlier term."""
    told = Telling()
    told.start()
    told.campaign("n1", 1)
    told.vote("n2", "n1")
    told.campaign("n1", 2)
    told.tell(events.VoteReceived, "n1", voter="n2", granted=False)
    with broken("Election Safety", "n1", "n2"):
        told.tell(events.VoteReceived, "n1", voter="n2", granted=True)


def test_entries_from_somebody_who_was_not_elected_are_found() -> None:
    """It takes itself for a leader."""
    told = Telling()
    told.start()
    told.campaign("n1", 1)
    message = AppendEntries(1, "n1", 0, 0, (), 0)
    with broken("Election Safety", "n1"):
        told.tell(events.MessageSent, "n1", {"role": Role.LEADER, "leader_id": "n1"}, peer="n2", message=message)


def test_following_somebody_who_was_not_elected_is_found() -> None:
    """The leader of term 1 is n1."""
    told = with_leader()
    with broken("Election Safety", "n2", "n3"):
        told.tell(events.LeaderRecognized, "n3", {"term": 1, "leader_id": "n2"}, leader="n2")


def test_another_leader_in_the_same_term_is_found() -> None:
    """Known to one server alone."""
    told = committed()
    with broken("Election Safety", "n1", "n2", "n3"):
        told.tell(events.ElectionTimerSet, "n2", {"leader_id": "n3"}, timeout=1.0)


# Leader Append-Only (§5.3)


def test_a_leader_that_deletes_is_found() -> None:
    """A leader never deletes entries in its log."""
    told = with_leader(1, 1)
    del told.logs["n1"][1:]
    with broken("Leader Append-Only", "n1", at=(2,)):
        told.tell(events.EntriesDeleted, "n1", first_index=2, last_index=2)


def test_a_leader_that_overwrites_is_found() -> None:
    """Nor does it overwrite them."""
    told = with_leader(1, 1)
    told.logs["n1"][1:] = entries_of(2, first_index=2)
    with broken("Leader Append-Only", "n1", at=(2,)):
        told.tell(events.EntriesAppended, "n1", entries=entries_of(2, first_index=2))


def test_a_leader_that_loses_entries_without_a_word_is_found() -> None:
    """Its state tells."""
    told = with_leader(1, 1)
    del told.logs["n1"][1:]
    with broken("Leader Append-Only", "n1", at=(1, 2)):
        told.tell(events.MessageSent, "n1", peer="n2", message=AppendEntries(2, "n1", 1, 1, (), 0))


# Log Matching (§5.3)


def append_at_n3(told: Telling, *entries: LogEntry) -> None:
    """n3 is told to have appended `entries`."""
    told.logs["n3"] += entries
    told.tell(events.EntriesAppended, "n3", {"term": 9}, entries=entries)


def test_another_command_at_the_same_index_and_term_is_found() -> None:
    """They store the same command."""
    told = with_leader()
    told.append("n1")
    with broken("Log Matching", "n1", "n3", at=(1,)):
        append_at_n3(told, LogEntry(1, 1, COMMAND, b"another"))


def test_another_entry_before_the_same_one_is_found() -> None:
    """The logs are identical in all preceding entries."""
    told = Telling()
    for name, log in (("n1", entries_of(1)), ("n2", entries_of(1)), ("n3", entries_of(2))):
        told.restart(name, log, term=2)
    told.elect("n1", 3, "n2")
    told.append("n1")
    with broken("Log Matching", "n1", "n3", at=(2,)):
        append_at_n3(told, *entries_of(3, first_index=2))


@pytest.mark.parametrize(
    "entry, at",
    [
        pytest.param(entries_of(2, first_index=3), (3, 1), id="a gap"),
        pytest.param(entries_of(2, first_index=1), (1, 1), id="an index again"),
        pytest.param(entries_of(1, first_index=2), (2, 1), id="a smaller term"),
        pytest.param(entries_of(7, first_index=2), (2,), id="an entry that no leader created"),
    ],
)
def test_an_entry_that_cannot_be_next_is_found(entry: tuple[LogEntry, ...], at: tuple[int, ...]) -> None:
    """n3 has one entry, of term 2."""
    told = Telling()
    told.start(2)
    with broken("Log Matching", "n3", at=at):
        told.tell(
            events.EntriesAppended, "n3", {"term": 9, "last_log_index": entry[0].index}, entries=entry
        )


def test_a_leader_that_creates_an_entry_of_another_term_is_found() -> None:
    """Entries are of the term in which they were created."""
    told = with_leader(1)
    told.logs["n1"] += entries_of(1, first_index=2)
    with broken("Log Matching", "n1", at=(2,)):
        told.tell(events.EntriesAppended, "n1", entries=entries_of(1, first_index=2))


def test_the_deletion_of_what_is_not_there_is_found() -> None:
    """n2 has one entry."""
    told = with_leader(1)
    with broken("Log Matching", "n2", at=(1, 5)):
        told.tell(events.EntriesDeleted, "n2", first_index=1, last_index=5)


def test_a_disk_that_gives_back_what_no_leader_created_is_found() -> None:
    """Except at the first start, as nobody knows what was before."""
    told = Telling()
    told.start(1)
    with broken("Log Matching", "n1", at=(2,)):
        told.restart("n1", entries_of(1, 1))


def test_a_change_of_the_log_without_a_word_is_found() -> None:
    """The log has an entry that nobody spoke of."""
    told = with_leader()
    told.logs["n2"] += entries_of(1)
    with broken("Server State", "n2", at=(1, 0)):
        told.acknowledge("n2", AppendEntries(1, "n1", 0, 0, (), 0))


# Leader Completeness (§5.4)


def vote_in_spite_of_the_log(told: Telling, voter: str, candidate: str) -> None:
    """`voter` votes and does not tell that it has looked at the log."""
    request = told.vote_request(candidate)
    now = {"term": request.term, "role": Role.FOLLOWER, "voted_for": candidate, "leader_id": None}
    reply = RequestVoteReply(request.term, True)
    told.tell(events.ReplySent, voter, now, peer=candidate, message=request, reply=reply)
    told.tell(events.VoteReceived, candidate, voter=voter, granted=True)


def test_a_leader_without_a_committed_entry_is_found() -> None:
    """n3 has heard of nothing."""
    told = committed()
    told.campaign("n3", 2)
    vote_in_spite_of_the_log(told, "n2", "n3")
    with broken("Leader Completeness", "n3", at=(1,)):
        told.win("n3")


def test_a_leader_without_an_entry_that_is_found_to_be_committed_later_is_found() -> None:
    """n1 receives n2's acknowledgement only when n3 has been elected."""
    told = with_leader()
    told.append("n1")
    told.replicate("n1", "n2")
    told.campaign("n3", 2)
    vote_in_spite_of_the_log(told, "n2", "n3")
    told.win("n3")
    with broken("Leader Completeness", "n3", at=(1,)):
        told.commit("n1", 1)


@pytest.mark.parametrize("does_it_know", [True, False])
def test_the_deletion_of_a_committed_entry_is_found(does_it_know: bool) -> None:
    """Whether or not the follower has heard that it is committed."""
    told = with_leader()
    told.append("n1")
    told.replicate("n1", "n2")
    told.commit("n1", 1)
    if does_it_know:
        told.replicate("n1", "n2")
    told.logs["n2"] = list(entries_of(2))
    with broken("Leader Completeness", "n2", at=(1,)):
        told.tell(
            events.EntriesDeleted, "n2", {"term": 2, "leader_id": "n3", "voted_for": None}, first_index=1, last_index=1
        )


# State Machine Safety (§5.4.3)


def test_another_entry_applied_at_the_same_index_is_found() -> None:
    """No other server will ever apply a different log entry for the same index."""
    told = committed()
    told.apply("n1", 1)
    with broken("State Machine Safety", "n1", "n2", at=(1,)):
        told.tell(
            events.Applied, "n2", {"last_applied": 1}, entry=LogEntry(1, 1, COMMAND, b"another"), result=b"done"
        )


def test_another_result_is_found() -> None:
    """The same commands give the same results (§2); also to the same server, after a crash."""
    told = committed()
    told.apply("n1", 1, b"1")
    with broken("State Machine Safety", "n1", "n2", at=(1,)):
        told.apply("n2", 1, b"2")


def test_an_entry_applied_out_of_order_is_found() -> None:
    """Entry 2 first; entry 1 twice; entry 1 while the state speaks of none."""
    told = with_leader()
    told.append("n1", 2)
    told.replicate("n1", "n2")
    told.commit("n1", 2)
    with broken("State Machine Safety", "n1", at=(2, 0)):
        told.apply("n1", 2)
    told = committed()
    told.apply("n1", 1)
    with broken("State Machine Safety", "n1", at=(1,)):
        told.apply("n1", 1)
    with broken("State Machine Safety", "n2", at=(1, 0)):
        told.tell(events.Applied, "n2", entry=told.logs["n2"][0], result=b"done")


def test_an_entry_applied_before_it_is_committed_is_found() -> None:
    """Nobody told that it was."""
    told = with_leader()
    told.append("n1")
    with broken("State Machine Safety", "n1", at=(1,)):
        told.tell(
            events.Applied, "n1", {"commit_index": 1, "last_applied": 1}, entry=told.logs["n1"][0], result=b"done"
        )


def test_an_entry_applied_that_is_not_in_the_log_is_found() -> None:
    """It is the server's own entry that is to be applied."""
    told = committed()
    with broken("State Machine Safety", "n1", at=(1,)):
        told.tell(events.Applied, "n1", {"last_applied": 1}, entry=LogEntry(1, 1, COMMAND, b"another"), result=b"")


def test_another_entry_taken_for_committed_is_found() -> None:
    """n3 has an entry of its own there; that of n1 is committed."""
    told = Telling()
    for name, log in (("n1", entries_of()), ("n2", entries_of()), ("n3", entries_of(5))):
        told.restart(name, log, term=5)
    told.elect("n1", 6, "n2")
    told.append("n1")
    told.replicate("n1", "n2")
    told.commit("n1", 1)
    told.tell(events.MessageReceived, "n3", peer="n1", message=AppendEntries(6, "n1", 1, 6, (), 1))
    with broken("State Machine Safety", "n3", at=(1,)):
        told.commit("n3", 1)


# Watching real servers


def test_the_watch_keeps_the_first_violation_and_lets_the_servers_go_on() -> None:
    """The server that tells may be innocent."""
    told = with_leader()
    watch = InvariantWatch(list(told.states))
    told.invariants = watch  # type: ignore[assignment]
    watch.check()
    for name in ("n3", "n2"):
        told.tell(events.BecameLeader, name, {"term": 5, "role": Role.LEADER, "voted_for": name, "leader_id": name})
    with broken("Election Safety", "n3"):
        watch.check()


def test_a_violation_on_real_servers_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state machine that is not deterministic (§2)."""
    numbers = count()
    monkeypatch.setattr(KeyValueStore, "apply", lambda store, command: b'{"ok":%d}' % next(numbers))
    with LocalCluster(first_port=0) as cluster:
        cluster.put("x", "1")
        cluster.wait_until_applied_everywhere()
        with pytest.raises(InvariantViolation, match="State Machine Safety: entry 2 .* another result"):
            cluster.check_figure_3()


def test_a_violation_can_be_handed_to_another_process() -> None:
    """With all that it says."""
    violation = InvariantViolation("Log Matching", "n1 and n2 differ at 3", ["n1", "n2"], [3])
    again = pickle.loads(pickle.dumps(violation))
    assert (str(again), again.servers, again.indexes) == (str(violation), ("n1", "n2"), (3,))
