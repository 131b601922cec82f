"""Fig. 2, as far as Fig. 3 rests on it: votes, commitment, persistence, messages, and the state of each server."""

from __future__ import annotations

from typing import Any

import pytest
from drawing import FIVE, candidate, entries_of, leader, server
from telling import Telling, broken, committed, fig_8_until_c, with_leader

from raft_threads import events
from raft_threads.invariants import InvariantViolation, check_state
from raft_threads.messages import AppendEntries, AppendEntriesReply, RequestVote, RequestVoteReply
from raft_threads.state import Role, State

# Voting (§5.2, §5.4.1)


def test_two_votes_in_a_term_are_found() -> None:
    """Each server will vote for at most one candidate in a given term."""
    told = Telling()
    told.start()
    told.campaign("n1", 1)
    told.campaign("n3", 1)
    told.vote("n2", "n1")
    with broken("One Vote per Term", "n2"):
        told.vote("n2", "n3")


def test_a_vote_promised_to_two_candidates_is_found() -> None:
    """By what was said: in its own eyes the server voted once."""
    told = Telling()
    told.start()
    told.campaign("n1", 1)
    told.vote("n2", "n1")
    with broken("One Vote per Term", "n1", "n2", "n3"):
        told.tell(
            events.ReplySent, "n2", peer="n3", message=RequestVote(1, "n3", 0, 0), reply=RequestVoteReply(1, True)
        )


def test_a_vote_for_an_older_log_is_found() -> None:
    """The later last term wins; with the same last term, the longer log does."""
    for older in (entries_of(1, 1, 1), entries_of(2)):
        told = Telling()
        for name, log in (("n1", older), ("n2", entries_of(1, 2)), ("n3", older)):
            told.restart(name, log, term=2)
        told.campaign("n1", 3)
        told.vote("n3", "n1")
        with broken("Election Restriction", "n1", "n2", at=(2, len(older))):
            told.vote("n2", "n1")


# Commitment (§5.3, §5.4.2)


def test_commitment_by_counting_in_an_older_term_is_found() -> None:
    """Fig. 8 (c): a majority has entry 2, which is of an older term."""
    told = fig_8_until_c()
    with broken("Commitment", "n1", at=(2,)):
        told.commit("n1", 2)


def test_commitment_without_a_majority_is_found() -> None:
    """Two of five."""
    told = Telling(FIVE)
    told.start()
    told.elect("n1", 1, "n2", "n3")
    told.append("n1")
    told.replicate("n1", "n2")
    with broken("Commitment", "n1", "n2", at=(1,)):
        told.commit("n1", 1)


def test_what_was_acknowledged_to_an_earlier_leader_does_not_count() -> None:
    """n2 had two entries; it may have lost one of them since (§5.3)."""
    told = Telling(FIVE)
    told.start()
    told.elect("n1", 1, "n2", "n3")
    told.append("n1", 2)
    told.replicate("n1", "n2")
    told.elect("n1", 2, "n2", "n3")
    told.append("n1")
    told.replicate("n1", "n3")
    believes = leader(1, 1, 2, servers=FIVE)
    believes.match_index["n3"] = 3
    told.invariants.check_match_index(believes)
    believes.match_index["n2"] = 2
    with broken("Commitment", "n1", "n2", at=(2,)):
        told.invariants.check_match_index(believes)


def test_a_follower_that_knows_more_than_all_leaders_is_found() -> None:
    """It heard so from nobody who could know."""
    told = with_leader()
    told.append("n1")
    told.replicate("n1", "n2")
    told.tell(events.MessageReceived, "n2", peer="n1", message=AppendEntries(1, "n1", 1, 1, (), 1))
    with broken("Commitment", "n2", at=(1,)):
        told.commit("n2", 1)


def test_commitment_beyond_the_last_new_entry_is_found() -> None:
    """Fig. 2, AppendEntries rule 5: entry 2 of n2 was not in the message that it heard."""
    told = with_leader()
    told.append("n1", 2)
    told.replicate("n1", "n2", "n3")
    told.commit("n1", 2)
    told.tell(events.MessageReceived, "n2", peer="n1", message=AppendEntries(1, "n1", 1, 1, (), 2))
    with broken("Commitment", "n2", at=(2, 1)):
        told.commit("n2", 2)


def test_commitment_from_another_index_than_before_is_found() -> None:
    """Entry 1 was committed already."""
    told = committed()
    told.append("n1")
    told.replicate("n1", "n2")
    with broken("Commitment", "n1", at=(0, 2)):
        told.tell(events.CommitAdvanced, "n1", {"commit_index": 2}, previous=0)


# Persistence (Fig. 2, "Persistent state"; §5.5)


@pytest.mark.parametrize(
    "disk, gave_back",
    [({"term": 0, "voted_for": None}, "term"), ({"voted_for": None}, "no vote"), ({"voted_for": "n3"}, "another vote")],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_disk_that_forgets_a_vote_is_found(disk: dict[str, Any], gave_back: str) -> None:
    """n2 told n1 that it has its vote in term 1."""
    told = with_leader()
    with broken("Persistence", "n2"):
        told.restart("n2", **disk)


def test_a_disk_that_forgets_a_candidates_vote_for_itself_is_found() -> None:
    """It has asked for votes."""
    told = Telling()
    told.start()
    told.campaign("n1", 1)
    with broken("Persistence", "n1"):
        told.restart("n1", voted_for=None)


def test_a_disk_that_forgets_an_acknowledged_entry_is_found() -> None:
    """Or gives back another one instead."""
    for instead in (entries_of(), entries_of(1)):
        told = Telling()
        told.start(1)
        told.elect("n1", 2, "n2")
        told.append("n1")
        told.replicate("n1", "n2")
        with broken("Persistence", "n2", at=(2,)):
            told.restart("n2", instead)


def test_a_leader_that_counted_its_disk_too_early_is_found() -> None:
    """Diss. §10.2.1: it needed itself for the majority."""
    told = committed()
    with broken("Persistence", "n1", at=(1,)):
        told.restart("n1", [])


def test_a_leader_whose_disk_was_not_needed_for_the_majority_may_lose_what_it_has_committed() -> None:
    """Diss. §10.2.1: its disk may be the slowest."""
    told = with_leader()
    told.append("n1")
    told.replicate("n1", "n2", "n3")
    told.commit("n1", 1)
    told.restart("n1", [])


def test_an_acknowledgement_of_what_is_not_in_the_log_is_found() -> None:
    """n3 has nothing."""
    told = with_leader()
    told.append("n1")
    message = told.send("n1", "n3")
    with broken("Persistence", "n3", at=(1,)):
        told.tell(
            events.ReplySent, "n3", {"term": 1}, peer="n1", message=message, reply=AppendEntriesReply(1, True)
        )


# The state of a server (Fig. 2, Fig. 4)


@pytest.mark.parametrize(
    "server, now",
    [
        ("n1", {"term": 0}),
        ("n1", {"commit_index": 0}),
        ("n1", {"commit_index": 2}),
        ("n1", {"last_applied": 2}),
        ("n1", {"role": Role.FOLLOWER}),
        ("n3", {"last_log_term": 9}),
        ("n3", {"leader_id": "n3"}),
        ("n3", {"role": Role.CANDIDATE, "voted_for": "n3"}),
        ("n3", {"role": Role.LEADER, "voted_for": "n3", "leader_id": "n3"}),
        ("n3", {"term": 2, "role": Role.LEADER, "voted_for": "n3", "leader_id": "n2"}),
        ("n3", {"term": 2, "role": Role.LEADER, "voted_for": "n1", "leader_id": "n3"}),
        ("n3", {"term": 2, "role": Role.CANDIDATE, "voted_for": "n1"}),
        ("n3", {"term": 2, "role": Role.CANDIDATE, "voted_for": "n3", "leader_id": "n1"}),
    ],
    ids=str,
)
def test_a_state_that_a_server_cannot_get_into_is_found(server: str, now: dict[str, Any]) -> None:
    """n1 leads term 1 and has applied its one entry; n3 has heard of nothing."""
    told = committed()
    told.apply("n1", 1)
    with pytest.raises(InvariantViolation) as found:
        told.tell(events.ElectionTimerSet, server, now, timeout=1.0)
    assert (found.value.property, found.value.servers) == ("Server State", (server,))


def test_last_applied_that_falls_is_found() -> None:
    """It increases monotonically (Fig. 2), until a crash."""
    told = committed()
    told.apply("n1", 1)
    with broken("Server State", "n1"):
        told.tell(events.ElectionTimerSet, "n1", {"last_applied": 0}, timeout=1.0)
    told = committed()
    told.apply("n2", 1)
    told.restart("n2")


# Messages (Fig. 2)


@pytest.mark.parametrize(
    "request_vote",
    [RequestVote(2, "n3", 1, 1), RequestVote(3, "n1", 1, 1), RequestVote(3, "n3", 2, 1), RequestVote(3, "n3", 1, 2)],
    ids=str,
)
def test_a_vote_request_that_is_not_the_candidates_is_found(request_vote: RequestVote) -> None:
    """n3 asks in term 3, and has one entry, of term 1."""
    told = Telling()
    told.start(1)
    told.campaign("n3", 3)
    with broken("Messages", "n3"):
        told.tell(events.MessageSent, "n3", peer="n2", message=request_vote)


def test_a_vote_request_of_a_follower_is_found() -> None:
    """Candidates ask."""
    told = Telling()
    told.start(1)
    with broken("Messages", "n3"):
        told.tell(events.MessageSent, "n3", peer="n2", message=RequestVote(1, "n3", 1, 1))


@pytest.mark.parametrize(
    "sender, message, at",
    [
        pytest.param("n2", AppendEntries(1, "n2", 1, 1, (), 0), (), id="a follower's"),
        pytest.param("n1", AppendEntries(0, "n1", 1, 1, (), 0), (), id="of an older term"),
        pytest.param("n1", AppendEntries(1, "n2", 1, 1, (), 0), (), id="in another's name"),
        pytest.param("n1", AppendEntries(1, "n1", 1, 2, (), 0), (1,), id="another prev_log_term"),
        pytest.param("n1", AppendEntries(1, "n1", 2, 1, (), 0), (2,), id="after the end of the log"),
        pytest.param("n1", AppendEntries(1, "n1", 0, 0, entries_of(2), 0), (0, 1), id="another entry"),
        pytest.param("n1", AppendEntries(1, "n1", 1, 1, entries_of(1, first_index=2), 0), (1, 2), id="one too many"),
        pytest.param("n1", AppendEntries(1, "n1", 1, 1, (), 2), (2,), id="a higher leader_commit"),
    ],
)
def test_entries_that_are_not_the_leaders_are_found(sender: str, message: AppendEntries, at: tuple[int, ...]) -> None:
    """n1 leads term 1, and has one entry, which is committed."""
    told = committed()
    with broken("Messages", sender, at=at):
        told.tell(events.MessageSent, sender, peer="n3", message=message)


def test_agreement_to_a_request_of_an_older_term_is_found() -> None:
    """§5.1: a request with a stale term number is rejected."""
    told = committed()
    late = told.send("n1", "n2")
    with broken("Messages", "n2"):
        told.tell(
            events.ReplySent,
            "n2",
            {"term": 2, "voted_for": None, "leader_id": None},
            peer="n1",
            message=late,
            reply=AppendEntriesReply(2, True),
        )


def test_an_answer_of_another_term_than_the_servers_is_found() -> None:
    """Not even a refusal may be that."""
    told = committed()
    with broken("Messages", "n2"):
        told.tell(
            events.ReplySent, "n2", peer="n3", message=RequestVote(2, "n3", 0, 0), reply=RequestVoteReply(2, False)
        )


# What no event carries


def leading(**changes: Any) -> State:
    """A leader of term 2 with three entries, of which its disk holds two, and n2 and n3 one."""
    state = leader(1, 1, 2)
    state.log.saved_index = 2
    state.match_index = {"n1": 2, "n2": 1, "n3": 1}
    state.next_index = {"n2": 4, "n3": 2}
    for name, value in changes.items():
        setattr(state, name, value)
    return state


@pytest.mark.parametrize(
    "state",
    [server(1, 1), candidate(1, current_term=2), leading(), leader(1, 1, 2, servers=FIVE), leader(servers=("n1",))],
    ids=["follower", "candidate", "leader", "new leader", "alone"],
)
def test_a_state_as_it_should_be_passes(state: State) -> None:
    """Fig. 2's State box."""
    check_state(state)


def voted(**votes: bool) -> State:
    """Return a candidate with these votes."""
    state = candidate(1, current_term=2)
    state.votes = votes
    return state


def with_saved(index: int) -> State:
    """Return a follower with two entries whose disk is said to hold `index`."""
    state = server(1, 1)
    state.log.saved_index = index
    return state


@pytest.mark.parametrize(
    "property, state",
    [
        pytest.param("Server State", leading(last_applied=1), id="applied before committed"),
        pytest.param("Server State", leading(match_index={"n1": 2, "n2": 1}), id="no match_index of n3"),
        pytest.param("Server State", leading(next_index={"n1": 4, "n2": 4, "n3": 2}), id="next_index of itself"),
        pytest.param("Server State", leading(match_index={"n1": 3, "n2": 1, "n3": 1}), id="ahead of its disk"),
        pytest.param("Server State", leading(match_index={"n1": 2, "n2": 1, "n3": 2}), id="match_index = next_index"),
        pytest.param("Server State", leading(next_index={"n2": 5, "n3": 2}), id="next_index beyond the log"),
        pytest.param("Server State", leading(match_index={"n1": 2, "n2": 1, "n3": -1}), id="a negative match_index"),
        pytest.param("Commitment", leading(match_index={"n1": 2, "n2": 3, "n3": 3}, next_index={"n2": 4, "n3": 4}),
                     id="not committed"),
        pytest.param("Server State", leading(votes={"n1": True}), id="a leader that counts votes"),
        pytest.param("Server State", leading(saved_term_and_vote=(3, "n1")), id="a disk ahead in term"),
        pytest.param("Server State", leading(saved_term_and_vote=(2, "n2")), id="another vote on disk"),
        pytest.param("Server State", with_saved(3), id="a disk ahead of the log"),
        pytest.param("Server State", voted(n2=True), id="a candidate without its own vote"),
        pytest.param("Server State", voted(n1=True, n9=True), id="a stranger's vote"),
    ],
)
def test_a_state_as_it_should_not_be_is_found(property: str, state: State) -> None:
    """Each differs in one thing from one that passes."""
    with pytest.raises(InvariantViolation) as found:
        check_state(state)
    assert (found.value.property, found.value.servers[0]) == (property, "n1")


@pytest.mark.parametrize("name", ["next_index", "match_index"])
def test_a_follower_with_a_leaders_state_is_found(name: str) -> None:
    """Volatile state on leaders (Fig. 2)."""
    state = server(1)
    setattr(state, name, {"n2": 1})
    with broken("Server State", "n1"):
        check_state(state)
