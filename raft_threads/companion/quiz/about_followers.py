"""What a follower answers to an AppendEntries, and how its log is afterwards (Fig. 2, "Receiver implementation")."""

from __future__ import annotations

import random
from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple, Optional

from raft_threads import election, replication
from raft_threads.companion.quiz.answers import LETTERS, Choice
from raft_threads.companion.quiz.breaks import (
    ALWAYS_DELETES,
    COMMITS_WHAT_THE_LEADER_HAS,
    NEVER_COMMITS,
    NO_CONSISTENCY_CHECK,
    NO_DELETION,
    STALE_IS_NEW,
    Break,
    left_out,
)
from raft_threads.companion.quiz.history import ACCIDENTS, MAX_BYTES, draw_history, terms_of
from raft_threads.companion.quiz.pictures import LEGEND, draw_states, row_of
from raft_threads.companion.quiz.question import Block, Question, Rule
from raft_threads.messages import AppendEntries
from raft_threads.state import State

SERVERS = ("S1", "S2", "S3")
WEIGHTS = {"stand": 4, "command": 4, "send": 2, "one": 3}
STEPS = 13
MOST_ENTRIES = 7
MISTAKES = (
    NO_CONSISTENCY_CHECK, NO_DELETION, ALWAYS_DELETES, STALE_IS_NEW, COMMITS_WHAT_THE_LEADER_HAS, NEVER_COMMITS,
)
FEWEST_OPTIONS, MOST_OPTIONS = 3, 5
STALE, REFUSED, TAKEN = "an older term", "no match", "taken"


class Outcome(NamedTuple):
    """What the follower answers, and what it holds then."""

    success: bool
    terms: tuple[int, ...]
    commit_index: int

    def told(self) -> str:
        """Return the outcome in a line."""
        success = str(self.success).lower()
        return f"success = {success}; its log is {row_of(self.terms)}; commit_index is {self.commit_index}"


def what_a_follower_does(dice: random.Random) -> Question:
    """Ask what becomes of one AppendEntries; each of the three ways that there are is as likely."""
    wanted = dice.choice((STALE, REFUSED, TAKEN))
    while True:
        history = draw_history(dice, SERVERS, STEPS, WEIGHTS)
        leaders = [state for state in history.leaders() if state.log.last_index <= MOST_ENTRIES]
        if not leaders:
            continue
        leading = dice.choice(leaders)
        following = history.states[dice.choice([server for server in SERVERS if server != leading.id])]
        request = draw_request(dice, leading, following)
        if following.log.last_index > MOST_ENTRIES or case_of(following, request) != wanted:
            continue
        right = outcome_of(following, request)
        wrong = wrong_outcomes(following, request)
        assert right is not None
        if 1 + len(wrong) >= FEWEST_OPTIONS:
            return ask(dice, leading, following, request, right, wrong)


def draw_request(dice: random.Random, leading: State, following: State) -> AppendEntries:
    """Return some AppendEntries that `leading` may send: it may be a late one, or one that it sends again."""
    sender = deepcopy(leading)
    sender.next_index[following.id] = dice.randint(1, leading.log.last_index + 1)
    return replication.append_entries_request(sender, following.id, dice.choice((1, 2, 9)), MAX_BYTES)


def case_of(following: State, request: AppendEntries) -> str:
    """Return which way the follower will go, asking its rules."""
    if election.is_stale(following, request.term):
        return STALE
    matches = replication.matches_previous_entry(following.log, request.prev_log_index, request.prev_log_term)
    return TAKEN if matches else REFUSED


def outcome_of(following: State, request: AppendEntries, broken: Sequence[Break] = ()) -> Optional[Outcome]:
    """Return what the follower does with the request, with some rule left out; None if it is at a loss then."""
    state = deepcopy(following)
    with left_out(*broken):
        try:
            reply = replication.handle_append_entries(state, request)
        except ACCIDENTS:
            return None
    return Outcome(reply.success, terms_of(state.log), state.commit_index)


def wrong_outcomes(following: State, request: AppendEntries) -> dict[Outcome, str]:
    """Return what servers would do that lack a rule, each with the mistake; the right outcome is not among them."""
    right = outcome_of(following, request)
    wrong: dict[Outcome, str] = {}
    for broken in MISTAKES:
        outcome = outcome_of(following, request, [broken])
        if outcome is not None and outcome != right:
            wrong.setdefault(outcome, f"comes of a mistake. {broken.said}")
    assert right is not None
    if not right.success:
        cut = right._replace(terms=right.terms[:max(following.commit_index, request.prev_log_index - 1)])
        wrong.setdefault(cut, "deletes, which only a real conflict with a new entry may do (rule 3).")
        wrong.setdefault(right._replace(success=True), "would have the leader believe that the entries are stored.")
        wrong.pop(right, None)
    return wrong


def ask(
    dice: random.Random,
    leading: State,
    following: State,
    request: AppendEntries,
    right: Outcome,
    wrong: dict[Outcome, str],
) -> Question:
    """Ask for the right outcome among others."""
    options = [right, *list(wrong)[:MOST_OPTIONS - 1]]
    dice.shuffle(options)
    after = deepcopy(following)
    replication.handle_append_entries(after, request)
    why: list[Block] = [reason(following, request)]
    why += [f"{letter} {wrong[outcome]}" for letter, outcome in zip(LETTERS, options) if outcome in wrong]
    why += [draw_states([leading, after])]
    return Question(
        [
            f"{following.id} is in term {following.current_term}, with commit_index {following.commit_index}. "
            f"{leading.id} believes to lead term {leading.current_term}:",
            [*draw_states([leading, following]), LEGEND],
            f"This AppendEntries of {leading.id} reaches {following.id}:",
            [
                f"term {request.term}   prev_log_index {request.prev_log_index}   "
                f"prev_log_term {request.prev_log_term}   "
                f"entries [{', '.join(str(entry.term) for entry in request.entries)}]   "
                f"leader_commit {request.leader_commit}"
            ],
            f"What does {following.id} answer, and what does it hold then?",
        ],
        Choice([[outcome.told()] for outcome in options], frozenset({options.index(right)})),
        why,
        rules_for(following, request),
    )


def reason(following: State, request: AppendEntries) -> str:
    """Return which of the receiver's rules decide, asking each of them."""
    log, index = following.log, request.prev_log_index
    case = case_of(following, request)
    if case == STALE:
        return f"Rule 1: term {request.term} is older than {following.current_term}. Nothing else counts."
    if case == REFUSED:
        held = log.term_at(index)
        return (
            f"Rule 2: the entry before the new ones is {index}, of term {request.prev_log_term}; {following.id} has "
            f"{'none there' if held is None else f'one of term {held} there'}. It refuses, and deletes nothing."
        )
    conflict = replication.first_conflict(log, request.entries)
    last_new = replication.last_new_index(request)
    kept = f"no entry conflicts, so nothing is deleted, and what is there stays: {row_of(terms_of(log))}"
    deleted = f"entry {conflict} conflicts, so it goes, and all that follow it"
    missing = bool(conflict) or last_new > log.last_index
    return (
        f"Rule 2 holds: {f'entry {index} matches' if index else 'there is no entry before the new ones'}. "
        f"Rule 3: {deleted if conflict else kept}. "
        f"Rule 4: {'what is not there yet is appended' if missing else 'there is nothing to append'}. "
        f"Rule 5: commit_index is min({request.leader_commit}, {last_new}), as the message brings the log up to "
        f"{last_new}, and never less than it was, {following.commit_index}."
    )


def rules_for(following: State, request: AppendEntries) -> list[Rule]:
    """Return the rules that decide."""
    decisive = {
        STALE: [Rule(election.is_stale, "§5.1")],
        REFUSED: [Rule(replication.matches_previous_entry, "§5.3")],
        TAKEN: [
            Rule(replication.delete_conflicting_entries, "§5.3"), Rule(replication.follow_leader_commit, "§5.3")
        ],
    }
    handler = Rule(replication.handle_append_entries, "Fig. 2, AppendEntries RPC")
    return [handler, *decisive[case_of(following, request)]]
