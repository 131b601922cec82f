"""Who can win an election, and who votes for whom (§5.2, §5.4.1)."""

from __future__ import annotations

import random
from copy import deepcopy

from raft_threads import election
from raft_threads.companion.quiz.answers import Servers
from raft_threads.companion.quiz.history import History, Stand, draw_history, save
from raft_threads.companion.quiz.pictures import draw_states, draw_terms
from raft_threads.companion.quiz.question import Block, Question, Rule
from raft_threads.state import Role, State

SERVERS = ("S1", "S2", "S3", "S4", "S5")
WEIGHTS = {"stand": 3, "command": 2, "send": 2, "one": 4}
STEPS = 14
MOST_ENTRIES = 6
RESTRICTION = Rule(election.is_at_least_as_up_to_date, "§5.4.1")


def who_can_win(dice: random.Random) -> Question:
    """Ask which of five servers could be the next leader."""
    while True:
        history = draw_history(dice, SERVERS, STEPS, WEIGHTS)
        votes = {server: votes_for(history, server) for server in SERVERS}
        winners = [server for server in SERVERS if wins(history, server)]
        longest = max(map(len, history.terms().values()))
        if longest <= MOST_ENTRIES and len(winners) < len(SERVERS) and len(set(history.terms().values())) >= 3:
            break
    logs = history.terms()
    lines = [
        f"{server}: its last entry is {describe_last(history.states[server])}; votes of "
        f"{', '.join(votes[server])}: {len(votes[server])} of 5" for server in SERVERS
    ]
    return Question(
        [
            "Five servers, all up and connected. Nobody leads, and none has voted in the coming term.",
            draw_terms(logs),
            "Which of them can win the coming election, if it is the only one to stand?",
        ],
        Servers(SERVERS, frozenset(map(SERVERS.index, winners))),
        [
            "A voter compares last terms first, then lengths, and denies its vote to whoever's log is worse:",
            lines,
        ],
        [RESTRICTION, Rule(election.become_leader_if_elected, "§5.2")],
    )


def stand_alone(history: History, candidate: str) -> dict[str, State]:
    """Return copies of all servers after `candidate` has stood in a term that nobody has voted in."""
    states = deepcopy(history.states)
    state = states[candidate]
    state.role = Role.FOLLOWER
    state.current_term = max(each.current_term for each in states.values())
    trial = History(history.servers)
    trial.states = states
    trial.play(Stand(candidate, tuple(server for server in history.servers if server != candidate)))
    return trial.states


def votes_for(history: History, candidate: str) -> list[str]:
    """Return who would vote for `candidate`, itself included: each is asked alone, so that it cannot be too late."""
    states = deepcopy(history.states)
    state = states[candidate]
    state.current_term = max(each.current_term for each in states.values())
    election.begin_election(state)
    request = election.vote_request(state)
    others = [server for server in history.servers if server != candidate]
    granting = [each for each in others if election.handle_request_vote(states[each], request).vote_granted]
    return sorted([candidate, *granting])


def wins(history: History, candidate: str) -> bool:
    """Return whether `candidate` leads when it has stood alone."""
    return stand_alone(history, candidate)[candidate].role is Role.LEADER


def describe_last(state: State) -> str:
    """Return index and term of a log's last entry in words."""
    return f"{state.log.last_index}, of term {state.log.last_term}" if state.log.last_index else "none"


def who_votes(dice: random.Random) -> Question:
    """Ask who votes for a candidate, when some have voted already and some are in other terms."""
    while True:
        history = draw_history(dice, SERVERS, STEPS - 4, WEIGHTS)
        first, second = dice.sample(SERVERS, 2)
        others = [server for server in SERVERS if server not in (first, second)]
        history.play(Stand(first, tuple(dice.sample(others, 1))))
        before = deepcopy(history.states)
        candidate = history.states[second]
        longest = max(state.log.last_index for state in before.values())
        newest = max(state.current_term for state in before.values())
        if candidate.role is not Role.LEADER and longest <= MOST_ENTRIES and candidate.current_term >= newest - 1:
            return ask_who_votes(history, before, candidate)


def ask_who_votes(history: History, before: dict[str, State], candidate: State) -> Question:
    """Have `candidate` stand, ask all others, and ask who said yes; `before` is how they were until then."""
    election.begin_election(candidate)
    save(candidate)
    request = election.vote_request(candidate)
    granting, reasons = [], []
    for server in sorted({*SERVERS} - {candidate.id}):
        reply = election.handle_request_vote(history.states[server], request)
        said = "votes for it" if reply.vote_granted else "does not"
        reasons.append(f"{server} {said}: {reason(before[server], candidate)}")
        granting += [server] if reply.vote_granted else []
    elected = "" if candidate.configuration.is_majority({candidate.id, *granting}) else "not "
    outcome = f"With its own vote {candidate.id} has {1 + len(granting)} of 5, and is {elected}elected."
    why: list[Block] = [reasons, outcome]
    return Question(
        [
            "Five servers; each row tells the server's current_term and voted_for as well. Nobody has heard from a "
            "leader lately.",
            draw_states(before.values(), [term_and_vote(state) for state in before.values()]),
            f"The election timeout of {candidate.id} elapses, and it stands for term {request.term}. Which other "
            "servers vote for it?",
        ],
        Servers(SERVERS, frozenset(map(SERVERS.index, granting))),
        why,
        [
            Rule(election.grants_vote, "Fig. 2, RequestVote RPC"),
            Rule(election.has_not_voted_for_another, "§5.2"),
            RESTRICTION,
        ],
    )


def term_and_vote(state: State) -> str:
    """Return a server's name and its other persistent state (Fig. 2)."""
    return f"{state.id}  term {state.current_term}, voted for {state.voted_for or 'nobody'}"


def reason(voter: State, candidate: State) -> str:
    """Return which rule decides what `voter`, who was asked in this state, answers."""
    state, request = deepcopy(voter), election.vote_request(candidate)
    if election.is_stale(state, request.term):
        return f"term {request.term} is older than its own, {state.current_term}"
    election.adopt_newer_term(state, request.term)
    if not election.has_not_voted_for_another(state, request.candidate_id):
        return f"its vote in term {request.term} went to {state.voted_for}"
    if election.is_at_least_as_up_to_date(state.log, request.last_log_index, request.last_log_term):
        return f"its last entry is {describe_last(state)}, the candidate's {describe_last(candidate)}"
    return f"its log is better: its last entry is {describe_last(state)}, the candidate's {describe_last(candidate)}"
