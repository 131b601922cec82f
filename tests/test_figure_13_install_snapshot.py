"""Fig. 13: the InstallSnapshot RPC, each rule of its receiver, and what becomes of chunks that are lost or late."""

from __future__ import annotations

from typing import Optional

import pytest
from drawing import THREE, append_entries, candidate, entries_of, leader, server
from exchanges import configuration_entry, joint, save, snapshot_up_to

from raft_threads import compaction, election, replication
from raft_threads.configuration import Configuration
from raft_threads.log import Log, SnapshotMetadata
from raft_threads.messages import InstallSnapshot, InstallSnapshotReply
from raft_threads.state import IncomingSnapshot, Role, SafetyViolation, State

C3 = Configuration.of(THREE)
CHUNKS = (b"first", b"second", b"last")


def chunk(
    number: int, term: int = 3, leader_id: str = "n1", last_included_index: int = 5, last_included_term: int = 2
) -> InstallSnapshot:
    """Return the InstallSnapshot with CHUNKS[number]."""
    return InstallSnapshot(
        term=term,
        leader_id=leader_id,
        last_included_index=last_included_index,
        last_included_term=last_included_term,
        offset=sum(map(len, CHUNKS[:number])),
        data=CHUNKS[number],
        done=number == len(CHUNKS) - 1,
    )


def receive(state: State, request: InstallSnapshot) -> InstallSnapshotReply:
    """Do what the shell does with a request, at once: the rules, with a disk that takes any chunk."""
    reply = compaction.handle_install_snapshot(state, request)
    if compaction.wants_chunk(state, request):
        compaction.record_chunk(state, request)
        if not request.done:
            return InstallSnapshotReply(state.current_term, compaction.bytes_stored(state, request))
        compaction.stop_receiving(state, request)
        compaction.install_snapshot(
            state, SnapshotMetadata(request.last_included_index, request.last_included_term, C3)
        )
        reply = InstallSnapshotReply(state.current_term)
    save(state)
    return reply


def follower(*terms: int, commit_index: int = 0) -> State:
    """Return the follower n2 in term 3, with a log of these terms."""
    return server(*terms, id="n2", current_term=3, commit_index=commit_index)


# The request, as all RPCs (§5.1)


def test_the_request_has_what_the_figure_says() -> None:
    """Fig. 13, arguments."""
    state = leader(1, current_term=3)
    assert compaction.install_snapshot_request(state, snapshot_up_to(5, 2, C3), 5, b"second", False) == chunk(1)


@pytest.mark.parametrize(
    "state", [server(1, current_term=2), candidate(1, id="n2", current_term=2)], ids=["follower", "candidate"]
)
def test_a_newer_term_is_adopted_and_its_leader_followed(state: State) -> None:
    """§5.1; Fig. 13: leader_id, so that the follower can redirect clients."""
    compaction.handle_install_snapshot(state, chunk(0))
    assert (state.current_term, state.role, state.leader_id) == (3, Role.FOLLOWER, "n1")


def test_a_candidate_gives_up_its_election_when_the_leader_of_its_term_sends_a_snapshot() -> None:
    """§5.2: it recognizes the leader as legitimate."""
    state = candidate(1, id="n2", current_term=3)
    assert receive(state, chunk(0)) == InstallSnapshotReply(3, 5)
    assert (state.role, state.leader_id, state.voted_for) == (Role.FOLLOWER, "n1", "n2")


def test_each_chunk_restarts_the_election_timer() -> None:
    """Fig. 13: this gives the follower a sign of life with each chunk."""
    assert election.restarts_election_timer(InstallSnapshotReply(3, 5), request_term=3)
    assert election.restarts_election_timer(InstallSnapshotReply(3), request_term=3)
    assert not election.restarts_election_timer(InstallSnapshotReply(4, 0), request_term=3)


def test_a_snapshot_from_a_second_leader_of_our_term_is_refused() -> None:
    """Fig. 3, Election Safety."""
    with pytest.raises(SafetyViolation, match="Election Safety"):
        compaction.handle_install_snapshot(leader(1, id="n2", current_term=3), chunk(0))


def test_a_leader_answers_a_deposed_one_with_its_term_and_follows_a_newer_one() -> None:
    """§5.1: only within its own term there cannot be another."""
    state = leader(1, id="n2", current_term=3)
    assert receive(state, chunk(0, term=2)) == InstallSnapshotReply(3, 0)
    assert receive(state, chunk(0, term=4)) == InstallSnapshotReply(4, 5)
    assert (state.role, state.leader_id, state.current_term) == (Role.FOLLOWER, "n1", 4)


def test_a_snapshot_that_contradicts_a_committed_entry_is_refused() -> None:
    """Fig. 3, Leader Completeness; nothing has changed then."""
    state = follower(1, 1, 1, 1, 1, commit_index=5)
    state.current_term = 2
    with pytest.raises(SafetyViolation, match="committed entry 5"):
        compaction.handle_install_snapshot(state, chunk(0))
    assert (state.current_term, state.incoming, state.log.last_index) == (2, None, 5)


# Rule 1: reply immediately if term < currentTerm


def test_a_chunk_of_a_deposed_leader_is_refused() -> None:
    """Fig. 13, rule 1."""
    state = follower(1)
    assert compaction.handle_install_snapshot(state, chunk(0, term=2)) == InstallSnapshotReply(3, 0)
    assert not compaction.wants_chunk(state, chunk(0, term=2))
    assert (state.incoming, state.leader_id) == (None, None)


def test_a_late_chunk_of_a_deposed_leader_is_not_wanted_although_it_is_the_next_one() -> None:
    """Fig. 13, rule 1: the first chunks came while it led."""
    state = follower(1)
    receive(state, chunk(0))
    election.adopt_newer_term(state, 4)
    assert compaction.handle_install_snapshot(state, chunk(1)) == InstallSnapshotReply(4, 0)
    assert not compaction.wants_chunk(state, chunk(1))


# Rules 2 to 4: the chunks


def test_the_first_chunk_creates_a_new_snapshot() -> None:
    """Fig. 13, rule 2."""
    state = follower(1)
    assert compaction.handle_install_snapshot(state, chunk(0)) == InstallSnapshotReply(3, 0)
    assert state.incoming == IncomingSnapshot(3, "n1", 5, 2)
    assert compaction.wants_chunk(state, chunk(0))


def test_chunks_are_stored_one_after_the_other() -> None:
    """Fig. 13, rules 3 and 4: write data at the given offset, reply and wait for more."""
    state = follower(1)
    assert receive(state, chunk(0)) == InstallSnapshotReply(3, 5)
    assert receive(state, chunk(1)) == InstallSnapshotReply(3, 11)
    assert state.log.last_index == 1, "nothing is installed before the last chunk"
    assert receive(state, chunk(2)) == InstallSnapshotReply(3)
    assert (state.log.start.last_included_index, state.incoming) == (5, None)


def test_a_snapshot_of_a_single_chunk_is_installed_at_once() -> None:
    """Fig. 13: the first chunk may be the last one; and it may be empty."""
    for data in (b"all", b""):
        state = follower(1)
        assert receive(state, InstallSnapshot(3, "n1", 5, 2, 0, data, done=True)) == InstallSnapshotReply(3)
        assert state.log.start == SnapshotMetadata(5, 2, C3)


def test_a_chunk_after_a_gap_is_not_stored_and_the_leader_is_told_where_to_go_on() -> None:
    """§5.5: a chunk was lost."""
    state = follower(1)
    receive(state, chunk(0))
    assert receive(state, chunk(2)) == InstallSnapshotReply(3, 5)
    assert state.log.last_index == 1
    assert receive(state, chunk(1)) == InstallSnapshotReply(3, 11)


@pytest.mark.parametrize("number", [0, 1])
def test_a_chunk_that_comes_again_changes_nothing(number: int) -> None:
    """§5.5: its answer was lost, or it was delayed. The first one does not begin the snapshot anew, either."""
    state = follower(1)
    receive(state, chunk(0))
    receive(state, chunk(1))
    assert receive(state, chunk(number)) == InstallSnapshotReply(3, 11)
    assert receive(state, chunk(2)) == InstallSnapshotReply(3)


def test_a_follower_that_has_restarted_asks_for_the_snapshot_from_its_beginning() -> None:
    """§5.5: what had come is forgotten."""
    state = follower(1)
    assert receive(state, chunk(1)) == InstallSnapshotReply(3, 0)
    assert state.incoming is None
    assert receive(state, chunk(0)) == InstallSnapshotReply(3, 5)


def test_the_last_chunk_that_comes_again_finds_the_snapshot_installed() -> None:
    """§5.5: RPCs are idempotent."""
    state = follower(1)
    for number in (0, 1, 2):
        receive(state, chunk(number))
    state.log.append(entries_of(3, first_index=6)[0])
    for number in (2, 0, 1):
        assert receive(state, chunk(number)) == InstallSnapshotReply(3)
    assert (state.log.last_index, state.incoming) == (6, None)


# Rule 5: discard any partial snapshot with a smaller index


def test_a_newer_snapshot_of_the_same_leader_takes_the_place_of_one_that_is_half_here() -> None:
    """Fig. 13, rule 5: with a smaller index."""
    state = follower(1)
    receive(state, chunk(0))
    receive(state, chunk(1))
    assert receive(state, chunk(0, last_included_index=8)) == InstallSnapshotReply(3, 5)
    assert receive(state, chunk(2)) == InstallSnapshotReply(3, 0), "a late chunk of the one that was given up"
    assert receive(state, chunk(1, last_included_index=8)) == InstallSnapshotReply(3, 11)
    receive(state, chunk(2, last_included_index=8))
    assert state.log.start.last_included_index == 8


def test_a_late_first_chunk_of_an_earlier_snapshot_does_not_take_the_place_of_a_newer_one() -> None:
    """Fig. 13, rule 5: only a smaller index is discarded."""
    state = follower(1)
    receive(state, chunk(0, last_included_index=8))
    receive(state, chunk(1, last_included_index=8))
    assert receive(state, chunk(0)) == InstallSnapshotReply(3, 0)
    assert receive(state, chunk(2, last_included_index=8)) == InstallSnapshotReply(3)
    assert state.log.start.last_included_index == 8


@pytest.mark.parametrize("index", [4, 5, 8])
def test_a_new_leaders_snapshot_begins_anew_whatever_its_index(index: int) -> None:
    """Fig. 13: each leader sends its own; the bytes of two snapshots of the same entry need not be the same."""
    state = follower(1)
    receive(state, chunk(0))
    receive(state, chunk(1))
    assert receive(state, chunk(2, term=4, leader_id="n3", last_included_index=index)) == InstallSnapshotReply(4, 0)
    assert state.log.last_index == 1
    for number, stored in ((0, 5), (1, 11), (2, None)):
        reply = receive(state, chunk(number, term=4, leader_id="n3", last_included_index=index))
        assert reply == InstallSnapshotReply(4, stored)
    assert state.log.start.last_included_index == index


def test_a_server_that_becomes_leader_forgets_the_snapshot_that_was_half_here() -> None:
    """§7: it has all that is committed; nobody sends it anything any more."""
    state = follower(1, 2)
    receive(state, chunk(0))
    election.begin_election(state)
    election.become_leader(state)
    assert state.incoming is None
    compaction.stop_receiving(state, chunk(0))
    assert not compaction.wants_chunk(state, chunk(1)), "nor when the disk was busy with it meanwhile"


def test_who_is_putting_a_snapshot_in_its_place_asks_for_the_last_chunk_again() -> None:
    """Fig. 13: that may take longer than a leader waits for an answer; nothing begins anew because of it."""
    state = follower(1)
    for number in (0, 1):
        receive(state, chunk(number))
    compaction.record_chunk(state, chunk(2))
    reply = compaction.handle_install_snapshot(state, chunk(2))
    assert reply.bytes_stored == chunk(2).offset
    assert not compaction.wants_chunk(state, chunk(2))


def test_a_snapshot_that_is_damaged_has_to_come_again() -> None:
    """Fig. 13: after the last chunk the shell finds that it is not whole."""
    state = follower(1)
    for number in (0, 1):
        receive(state, chunk(number))
    compaction.record_chunk(state, chunk(2))
    compaction.stop_receiving(state, chunk(2))
    assert compaction.handle_install_snapshot(state, chunk(2)) == InstallSnapshotReply(3, 0)
    assert not compaction.wants_chunk(state, chunk(2))
    assert receive(state, chunk(0)) == InstallSnapshotReply(3, 5)


@pytest.mark.parametrize("commit_index", [5, 6])
def test_a_snapshot_of_what_is_committed_here_is_not_needed(commit_index: int) -> None:
    """§7: by retransmission or by mistake it describes a prefix of the log; the leader goes on after it."""
    state = follower(1, 1, 2, 2, 2, 2, commit_index=commit_index)
    assert receive(state, chunk(0)) == InstallSnapshotReply(3)
    assert (state.log.first_index, state.log.last_index, state.incoming) == (1, 6, None)


def test_a_snapshot_that_ends_before_our_own_is_not_needed() -> None:
    """§7: what ours has replaced was committed."""
    state = State("n2", (), 3, log=Log([], snapshot_up_to(8, 2, C3)), commit_index=8)
    assert receive(state, chunk(0, last_included_term=1)) == InstallSnapshotReply(3)
    assert state.log.start.last_included_index == 8


def test_a_snapshot_is_not_wanted_any_more_when_its_entries_have_come_and_are_committed() -> None:
    """§7: AppendEntries of the same leader may have been under way as well."""
    state = follower(1, 1)
    receive(state, chunk(0))
    replication.handle_append_entries(state, append_entries(2, 2, 2, term=3, prev=(2, 1), leader_commit=5))
    assert receive(state, chunk(1)) == InstallSnapshotReply(3)


def test_a_snapshot_of_entries_that_are_not_known_to_be_committed_is_received() -> None:
    """§7: they may be another leader's."""
    state = follower(1, 1, 2, 2, 2, 2, commit_index=4)
    assert receive(state, chunk(0)) == InstallSnapshotReply(3, 5)


# Rules 6 to 8: what becomes of the log


def test_entries_after_the_snapshot_are_kept_when_its_last_entry_is_in_the_log() -> None:
    """Fig. 13, rule 6: an existing entry has the same index and term; §7: those are still valid."""
    state = follower(1, 1, 2, 2, 2, 2, 3, commit_index=2)
    assert compaction.install_snapshot(state, snapshot_up_to(5, 2, C3))
    assert [(entry.index, entry.term) for entry in state.log.all_entries()] == [(6, 2), (7, 3)]
    assert state.commit_index == 5


@pytest.mark.parametrize("terms", [(1, 1, 1, 1, 1, 1), (1, 2), (), (1, 1, 2, 2, 3, 3)])
def test_the_entire_log_is_discarded_when_it_lacks_the_snapshots_last_entry(terms: tuple[int, ...]) -> None:
    """Fig. 13, rule 7; §7: it may have uncommitted entries that conflict with the snapshot."""
    state = follower(*terms)
    assert not compaction.install_snapshot(state, snapshot_up_to(5, 2, C3))
    assert (state.log.first_index, state.log.last_index, state.log.last_term) == (6, 5, 2)
    assert state.commit_index == 5


def test_a_commit_index_beyond_the_snapshot_stays() -> None:
    """Fig. 2, State: it increases monotonically."""
    state = follower(1, 1, 2, 2, 2, 2, commit_index=6)
    compaction.install_snapshot(state, snapshot_up_to(5, 2, C3))
    assert state.commit_index == 6


def test_the_state_machine_is_reset_when_it_has_not_seen_all_of_the_snapshot() -> None:
    """Fig. 13, rule 8: reset the state machine using the snapshot's contents."""
    state = follower(1, 1, 2, 2, 2, 2, commit_index=3)
    state.last_applied = 3
    compaction.install_snapshot(state, snapshot_up_to(5, 2, C3))
    assert compaction.must_reset_state_machine(state)
    compaction.record_reset(state, state.log.start)
    assert (state.last_applied, compaction.must_reset_state_machine(state)) == (5, False)


@pytest.mark.parametrize("last_applied", [5, 6])
def test_the_state_machine_is_not_reset_when_it_has_seen_all_of_the_snapshot(last_applied: int) -> None:
    """Fig. 13, rule 8: it would go back."""
    state = follower(1, 1, 2, 2, 2, 2, commit_index=6)
    state.last_applied = last_applied
    compaction.install_snapshot(state, snapshot_up_to(5, 2, C3))
    assert not compaction.must_reset_state_machine(state)


def test_the_snapshots_configuration_is_loaded() -> None:
    """Fig. 13, rule 8: and load the snapshot's cluster configuration; that of a later entry that stays counts more."""
    changing = joint(THREE, ("n3", "n4"))
    state = State("n4", (), 3)
    compaction.install_snapshot(state, snapshot_up_to(5, 2, changing))
    assert (state.configuration, state.log.configuration_index) == (changing, 5)
    later = Log([*server(1, 1, 2, 2, 2).log.all_entries(), configuration_entry(6, 3, changing)])
    state = State("n2", THREE, 3, log=later)
    compaction.install_snapshot(state, snapshot_up_to(5, 2, C3))
    assert (state.configuration, state.log.configuration_index) == (changing, 6)


def test_configurations_of_entries_that_are_discarded_are_not_in_force_any_more() -> None:
    """Fig. 13, rules 7 and 8; §6."""
    log = Log([*server(1).log.all_entries(), configuration_entry(2, 1, joint(THREE, ("n4",)))])
    state = State("n2", THREE, 3, log=log)
    assert not compaction.install_snapshot(state, snapshot_up_to(5, 2, C3))
    assert state.configuration == C3


def test_after_the_snapshot_the_log_goes_on_with_append_entries() -> None:
    """§7: the snapshot's last entry is the previous one of the next."""
    state = follower(1, 1, 1, 1, 1, 1)
    for number in (0, 1, 2):
        receive(state, chunk(number))
    assert replication.handle_append_entries(state, append_entries(3, term=3, prev=(5, 2), leader_commit=6)).success
    assert (state.log.last_index, state.commit_index) == (6, 6)


# The leader


@pytest.mark.parametrize("bytes_stored, matches", [(None, 5), (0, 0), (5, 0)])
def test_the_leader_goes_on_behind_the_snapshot_once_the_follower_has_it(
    bytes_stored: Optional[int], matches: int
) -> None:
    """§7: and commits, if that makes a majority."""
    state = leader(3, 3, 3, 3, 3, 3, current_term=3)
    state.match_index["n1"] = 6
    state.next_index["n2"] = 1
    request = compaction.install_snapshot_request(state, snapshot_up_to(5, 3, C3), 11, b"last", True)
    compaction.handle_install_snapshot_reply(state, "n2", request, InstallSnapshotReply(3, bytes_stored))
    assert (state.match_index["n2"], state.next_index["n2"], state.commit_index) == (matches, matches + 1, matches)


def test_a_late_answer_to_a_snapshot_takes_nothing_back() -> None:
    """Fig. 2, State: match_index increases monotonically."""
    state = leader(3, 3, 3, 3, 3, 3, current_term=3)
    replication.record_match(state, "n2", 6)
    request = compaction.install_snapshot_request(state, snapshot_up_to(5, 3, C3), 11, b"last", True)
    compaction.handle_install_snapshot_reply(state, "n2", request, InstallSnapshotReply(3))
    assert (state.match_index["n2"], state.next_index["n2"]) == (6, 7)


@pytest.mark.parametrize("request_term, reply_term", [(2, 2), (2, 3), (3, 2)])
def test_an_answer_of_an_earlier_term_tells_the_leader_nothing(request_term: int, reply_term: int) -> None:
    """§5.1: it was another leadership."""
    state = leader(2, 2, 3, current_term=3)
    request = chunk(2, term=request_term, last_included_index=2)
    compaction.handle_install_snapshot_reply(state, "n2", request, InstallSnapshotReply(reply_term))
    assert state.match_index["n2"] == 0


def test_a_leader_steps_down_when_the_answer_has_a_newer_term() -> None:
    """Fig. 13, results: current_term, for the leader to update itself."""
    state = leader(1, current_term=3)
    compaction.handle_install_snapshot_reply(state, "n2", chunk(0), InstallSnapshotReply(4, 0))
    assert (state.role, state.current_term) == (Role.FOLLOWER, 4)
    compaction.handle_install_snapshot_reply(state, "n2", chunk(0), InstallSnapshotReply(4))
    assert state.match_index == {}


# A whole transfer


@pytest.mark.parametrize("lost", range(6))
def test_a_snapshot_arrives_although_one_message_is_lost(lost: int) -> None:
    """§5.5: requests without an answer are sent again, from where the follower says. `lost` counts both directions."""
    leading = leader(1, 1, 2, 2, 2, current_term=3)
    leading.log.discard_up_to(snapshot_up_to(5, 2, C3))
    leading.next_index["n2"] = 2
    state, number, messages = follower(1, 1, 1), 0, 0
    for _ in range(8):
        if not compaction.needs_snapshot(leading, "n2"):
            break
        messages += 2
        if messages - 2 == lost:
            continue
        reply = receive(state, chunk(number))
        if messages - 1 == lost:
            continue
        compaction.handle_install_snapshot_reply(leading, "n2", chunk(number), reply)
        number = [0, 5, 11].index(reply.bytes_stored) if reply.bytes_stored is not None else 0
    assert (leading.match_index["n2"], state.log.last_index) == (5, 5)
    assert messages == 8
