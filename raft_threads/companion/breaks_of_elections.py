"""Without the rules of §5.1 and §5.2: RequestVote, and what Fig. 2 wants of all servers, followers and candidates."""

from __future__ import annotations

from typing import Optional

from raft_threads import election, replication
from raft_threads.companion.breaking import Break, Schedule, Swap
from raft_threads.companion.directing import (
    PAPER,
    begin,
    hold,
    is_append,
    is_vote_request,
    leads,
    let_pass,
    must,
    must_stay,
    stand,
    terms,
)
from raft_threads.companion.figure_3 import LIVENESS
from raft_threads.election_thread import ElectionThread
from raft_threads.events import ElectionTimedOut
from raft_threads.log import Log
from raft_threads.messages import Reply, Request, RequestVote
from raft_threads.monitor import Monitor
from raft_threads.request_handlers import RequestHandlers
from raft_threads.server_invariants import ELECTION_SAFETY, LEADER_COMPLETENESS
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role, State
from raft_threads.transport import RequestRefused

_due_at = ElectionThread._due_at
_begin_election = election.begin_election
_recognize_leader = replication.recognize_leader

# The voter


def vote_whatever_the_term(state: State, request: RequestVote) -> bool:
    """Rule 2 of the receiver alone."""
    return election.has_not_voted_for_another(state, request.candidate_id) and election.is_at_least_as_up_to_date(
        state.log, request.last_log_index, request.last_log_term
    )


def an_old_request_comes_late(cluster: SimulatedCluster) -> str:
    """n3's request of term 2 reaches n2 in term 3, just before n1 asks n2 for its vote of that term."""
    begin(cluster, "n2")
    for candidate in ("n1", "n3"):
        cluster.network.hold(candidate, "n2", is_vote_request)
    cluster.cut_one_way([("n1", "n3"), ("n3", "n1")])
    stand(cluster, "n3")
    cluster.crash("n3")
    stand(cluster, "n1")
    stand(cluster, "n1")
    cluster.run_until(lambda: len(cluster.network.held("n1", "n2")) == 2, "n1 asks n2 for its vote of term 3")
    assert cluster.state("n2").current_term == 3, "n1 has told n2, which was the leader of term 1"
    cluster.network.release("n3", "n2")
    cluster.run_for(0.01)
    cluster.network.release("n1", "n2")
    must(cluster, lambda: leads(cluster, "n1"), "n1, the only candidate of term 3, is elected", 0.1)
    return "n1 was elected in term 3, with the vote of n2."


def vote_for_anybody(state: State, request: RequestVote) -> bool:
    """Rule 1 of the receiver alone."""
    return not election.is_stale(state, request.term)


def vote_again(state: State, candidate_id: str) -> bool:
    """Forget that we have voted."""
    return True


def two_ask_one_voter(cluster: SimulatedCluster) -> str:
    """n1 is elected with the vote of n2; then n3, which has not heard of that, asks n2 in the same term."""
    cluster.connect_only("n1", "n2")
    hold(cluster, "n1", ["n2"], is_append)
    stand(cluster, "n1")
    cluster.connect_only("n2", "n3")
    stand(cluster, "n3")
    return "n2 had voted for n1 already, and n3 was not elected."


def any_log_will_do(log: Log, last_log_index: int, last_log_term: int) -> bool:
    """Take every log for as good as ours."""
    return True


def who_missed_an_entry_stands(cluster: SimulatedCluster) -> str:
    """n1 commits an entry with n2, and is cut off; n3, which does not have the entry, stands for election."""
    cluster.connect_only("n1", "n2")
    stand(cluster, "n1")
    cluster.run_until(lambda: cluster.state("n1").commit_index == 1, "n1 commits its first entry")
    cluster.connect_only("n2", "n3")
    stand(cluster, "n3")
    stand(cluster, "n3")
    return "n2 did not vote for n3, whose log is behind its own."


# All servers, followers


def adopt_the_term_and_stay_what_we_are(state: State, term: int) -> None:
    """Adopt a newer term; leaders stay leaders, and candidates candidates."""
    if term > state.current_term:
        state.current_term = term
        state.voted_for = None
        if state.role is not Role.LEADER:
            state.leader_id = None


def a_leader_hears_of_a_newer_term(cluster: SimulatedCluster) -> str:
    """n1 leads term 1; n2 stands in term 2, and n1 hears of it."""
    begin(cluster, "n1")
    hold(cluster, "n1", ["n2"], is_append)
    stand(cluster, "n2")
    return "n1 stepped down, and n2 leads term 2 alone."


def answer_nothing(self: RequestHandlers, peer: str, request: Request) -> Reply:
    """Leave every request without an answer."""
    raise RequestRefused("no answer")


def one_stands(cluster: SimulatedCluster) -> str:
    """All are up and connected; n1 stands for election."""
    cluster.time_out("n1")
    must(cluster, lambda: leads(cluster, "n1"), "n1, the only candidate, is elected", 0.1)
    return "n1 was elected."


def hear_of_nobody(reply: Reply, request_term: int) -> bool:
    """Let the election timeout elapse whoever is heard."""
    return False


def a_leader_is_heard(cluster: SimulatedCluster) -> str:
    """All are up and connected, and there is a leader that sends heartbeats."""
    leader = cluster.wait_for_leader()
    term = cluster.state(leader).current_term
    must_stay(
        cluster,
        lambda: leads(cluster, leader) and max(terms(cluster)) == term,
        f"{leader} leads term {term}, and is connected with everybody, and there is another election",
    )
    return f"{leader} went on leading term {term}."


# Candidates


def only_note_that_time_is_up(self: ElectionThread) -> None:
    """Begin to wait for the next election timeout, and start no election."""
    self._monitor.narrator.tell(ElectionTimedOut)
    self._monitor.restart_election_timer()


def there_is_no_leader_yet(cluster: SimulatedCluster) -> str:
    """All have just started, and wait for their election timeouts."""
    must(cluster, lambda: any(leads(cluster, server) for server in cluster.servers), "somebody is elected", 2.0)
    return f"{cluster.wait_for_leader()} was elected."


def stand_in_the_term_that_there_is(state: State, told_to_stand: bool = False) -> None:
    """Start an election without a new term; in term 0 there is none yet."""
    term = max(1, state.current_term)
    _begin_election(state, told_to_stand)
    state.current_term = term


def a_follower_stands_where_there_is_a_leader(cluster: SimulatedCluster) -> str:
    """n1 is elected with the vote of n2; then n2 stands, and n3 has not voted yet."""
    cluster.connect_only("n1", "n2")
    hold(cluster, "n1", ["n2"], is_append)
    stand(cluster, "n1")
    cluster.connect_only("n2", "n3")
    stand(cluster, "n2")
    return "n2 was elected in term 2; term 1 belongs to n1."


def stand_without_noting_our_vote(state: State, told_to_stand: bool = False) -> None:
    """Start an election in which we count ourselves, and stay free to vote for somebody else."""
    _begin_election(state, told_to_stand)
    state.voted_for = None


def two_stand_in_one_term(cluster: SimulatedCluster) -> str:
    """n1 and n2 stand in term 1. n3 votes for n1, which learns of that only after n2 has asked it for its own vote."""
    network = cluster.network
    network.hold("n1", "n2")
    network.hold("n3", "n1")
    stand(cluster, "n1")
    network.hold("n1", "n2", lambda message: is_append(message) or is_vote_request(message))
    network.hold("n2", "n1", is_append)
    stand(cluster, "n2")
    network.release("n3", "n1")
    cluster.run_for(0.1)
    return "n1 had voted for itself, so n2 did not get its vote; n1 leads term 1."


def draw_the_same_timeout_as_all(self: Monitor) -> None:
    """Wait as long as everybody else does."""
    self.set_election_timer(self.timing.election_timeout_min)


def ask_nobody(state: State, peer: str) -> bool:
    """Wait for votes without asking for them."""
    return False


def lead_with_any_vote(state: State) -> None:
    """Take our own vote for enough."""
    if state.role is Role.CANDIDATE:
        election.become_leader(state)


def two_time_out_together(cluster: SimulatedCluster) -> str:
    """n1 and n2 stand at the same time."""
    cluster.time_out("n1")
    cluster.time_out("n2")
    cluster.run_for(0.1)
    elected = [server for server in cluster.servers if leads(cluster, server)]
    return f"{' and '.join(elected) or 'Nobody'} was elected: it takes two votes of three."


def insist_on_our_election(state: State, leader_id: str) -> None:
    """As a candidate, do not listen to another one that has won."""
    if state.role is Role.CANDIDATE:
        raise RequestRefused("we stand for election ourselves")
    _recognize_leader(state, leader_id)


def one_of_two_wins(cluster: SimulatedCluster) -> str:
    """n3 stands, and its requests are lost; n1 stands in the same term, and n2 votes for n1. Now all is well."""
    hold(cluster, "n3", ["n1", "n2"], is_vote_request)
    stand(cluster, "n3")
    stand(cluster, "n1")
    for other in ("n1", "n2"):
        let_pass(cluster, "n3", other)
    must_stay(
        cluster,
        lambda: leads(cluster, "n1"),
        "n1 leads term 1, and is connected with everybody, and n3, which has lost, deposes it",
        1.0,
    )
    return "n3 followed n1, which went on leading term 1."


def wait_for_votes_for_ever(self: ElectionThread) -> Optional[float]:
    """As a candidate, wait for the outcome however long that takes."""
    return None if self._state.role is Role.CANDIDATE else _due_at(self)


def the_votes_are_split(cluster: SimulatedCluster) -> str:
    """Nobody hears anybody until all have voted for themselves; then the network is whole again."""
    cluster.partition(*([server] for server in cluster.servers))
    cluster.run_until(lambda: min(terms(cluster)) == 1, "all stand in term 1")
    cluster.heal()
    return there_is_no_leader_yet(cluster)


REQUEST_VOTE = (
    Break(
        "F2.RequestVote.1",
        "A candidate of an older term gets the vote of the present one.",
        (Swap("raft_threads.election.grants_vote", vote_whatever_the_term),),
        LIVENESS,
        Schedule(an_old_request_comes_late),
    ),
    Break(
        "F2.RequestVote.2",
        "Whoever asks gets the vote.",
        (Swap("raft_threads.election.grants_vote", vote_for_anybody),),
        ELECTION_SAFETY,
        Schedule(two_ask_one_voter),
    ),
    Break(
        "F2.RequestVote.2.1",
        "A server votes as often as it is asked.",
        (Swap("raft_threads.election.has_not_voted_for_another", vote_again),),
        ELECTION_SAFETY,
        Schedule(two_ask_one_voter),
    ),
    Break(
        "F2.RequestVote.2.2",
        "A voter does not look at the candidate's log.",
        (Swap("raft_threads.election.is_at_least_as_up_to_date", any_log_will_do),),
        LEADER_COMPLETENESS,
        Schedule(who_missed_an_entry_stands),
    ),
)

SERVERS = (
    Break(
        "F2.AllServers.2",
        "A newer term is adopted, and a leader goes on leading in it.",
        (Swap("raft_threads.election.adopt_newer_term", adopt_the_term_and_stay_what_we_are),),
        ELECTION_SAFETY,
        Schedule(a_leader_hears_of_a_newer_term),
    ),
    Break(
        "F2.Followers.1",
        "Nobody answers.",
        (Swap("raft_threads.request_handlers.RequestHandlers.handle", answer_nothing),),
        LIVENESS,
        Schedule(one_stands),
    ),
    Break(
        "F2.Followers.2",
        "Neither heartbeats nor votes restart the election timer.",
        (Swap("raft_threads.election.restarts_election_timer", hear_of_nobody),),
        LIVENESS,
        Schedule(a_leader_is_heard, settings={"timing": PAPER}),
    ),
    Break(
        "F2.Candidates.1",
        "When the election timeout elapses, nothing happens but that another one begins.",
        (Swap("raft_threads.election_thread.ElectionThread._start_election", only_note_that_time_is_up),),
        LIVENESS,
        Schedule(there_is_no_leader_yet, settings={"timing": PAPER}),
    ),
    Break(
        "F2.Candidates.1.1",
        "A candidate stands in the term that it is in.",
        (Swap("raft_threads.election.begin_election", stand_in_the_term_that_there_is),),
        ELECTION_SAFETY,
        Schedule(a_follower_stands_where_there_is_a_leader),
    ),
    Break(
        "F2.Candidates.1.2",
        "A candidate counts its own vote, and does not note that it gave it.",
        (Swap("raft_threads.election.begin_election", stand_without_noting_our_vote),),
        ELECTION_SAFETY,
        Schedule(two_stand_in_one_term),
    ),
    Break(
        "F2.Candidates.1.3",
        "All election timeouts are the same.",
        (Swap("raft_threads.monitor.Monitor.restart_election_timer", draw_the_same_timeout_as_all),),
        LIVENESS,
        Schedule(there_is_no_leader_yet, settings={"timing": PAPER}),
    ),
    Break(
        "F2.Candidates.1.4",
        "A candidate asks nobody.",
        (Swap("raft_threads.election.awaits_vote_of", ask_nobody),),
        LIVENESS,
        Schedule(one_stands),
    ),
    Break(
        "F2.Candidates.2",
        "A candidate's own vote is enough.",
        (Swap("raft_threads.election.become_leader_if_elected", lead_with_any_vote),),
        ELECTION_SAFETY,
        Schedule(two_time_out_together),
    ),
    Break(
        "F2.Candidates.3",
        "A candidate does not listen to the leader of its term, and goes on with its election.",
        (Swap("raft_threads.replication.recognize_leader", insist_on_our_election),),
        LIVENESS,
        Schedule(one_of_two_wins, settings={"timing": PAPER}),
    ),
    Break(
        "F2.Candidates.4",
        "A candidate waits for votes for ever.",
        (Swap("raft_threads.election_thread.ElectionThread._due_at", wait_for_votes_for_ever),),
        LIVENESS,
        Schedule(the_votes_are_split, settings={"timing": PAPER}),
    ),
)
