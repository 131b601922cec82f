"""What a snapshot that arrives does to a follower's log (§7, Fig. 12; Fig. 13, "Receiver implementation")."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import NamedTuple, Optional

from raft_threads import compaction, election
from raft_threads.companion.quiz.answers import LETTERS, Choice
from raft_threads.companion.quiz.breaks import (
    ALWAYS_DISCARDS,
    NEVER_DISCARDS,
    OLD_SNAPSHOTS_ARE_NEW,
    STALE_IS_NEW,
    Break,
    left_out,
)
from raft_threads.companion.quiz.history import ACCIDENTS, save, terms_of
from raft_threads.companion.quiz.pictures import LEGEND, draw_states, log_of, row_of
from raft_threads.companion.quiz.question import Block, Question, Rule
from raft_threads.configuration import Configuration
from raft_threads.log import SnapshotMetadata
from raft_threads.messages import InstallSnapshot
from raft_threads.state import State

SERVERS = ("S1", "S2", "S3")
# Some come in pairs: without the second one, a server that makes the first mistake might do the right thing.
MISTAKES: tuple[tuple[Break, ...], ...] = (
    (ALWAYS_DISCARDS,), (NEVER_DISCARDS,), (STALE_IS_NEW,),
    (OLD_SNAPSHOTS_ARE_NEW, ALWAYS_DISCARDS), (STALE_IS_NEW, ALWAYS_DISCARDS), (STALE_IS_NEW, NEVER_DISCARDS),
)
MOST_OPTIONS = 4
HANDLER = Rule(compaction.handle_install_snapshot, "Fig. 13")
CASES = STALE, KNOWN, KEPT, DISCARDED = (
    Rule(election.is_stale, "§5.1"),
    Rule(compaction.is_known_already, "§7"),
    Rule(compaction.has_its_last_entry, "Fig. 13, rule 6"),
    Rule(compaction.install_snapshot, "Fig. 13, rule 7"),
)


class Outcome(NamedTuple):
    """What the log looks like afterwards."""

    snapshot_index: int
    terms: tuple[int, ...]
    commit_index: int

    def told(self) -> str:
        """Return the outcome in a line."""
        replaced = f"replaces entries 1 to {self.snapshot_index}" if self.snapshot_index else "is not used"
        after = f"after them: {row_of(self.terms)}" if self.snapshot_index else f"the log: {row_of(self.terms)}"
        return f"the snapshot {replaced}; {after}; commit_index is {self.commit_index}"


def what_a_snapshot_does(dice: random.Random) -> Question:
    """Ask what becomes of a follower's log when a whole snapshot has come; each rule decides as often as the others."""
    wanted = dice.choice(CASES)
    while True:
        state, request = draw_follower(dice), draw_request(dice)
        if not agrees_with_what_is_committed(state, request) or case_of(state, request) != wanted:
            continue
        right = outcome_of(state, request)
        wrong = wrong_outcomes(state, request, right)
        if wrong:
            return ask(dice, state, request, right, wrong)


def draw_follower(dice: random.Random) -> State:
    """Return some follower, S2, that knows some of its log to be committed."""
    terms = sorted(dice.choices(range(1, 4), k=dice.randint(1, 6)))
    state = State("S2", SERVERS, terms[-1] + dice.randint(0, 2), None, log_of(terms))
    state.commit_index = dice.randint(0, min(2, len(terms)))
    save(state)
    return state


def draw_request(dice: random.Random) -> InstallSnapshot:
    """Return a snapshot that comes in one chunk."""
    index, term = dice.randint(1, 6), dice.randint(1, 4)
    return InstallSnapshot(max(term, dice.randint(2, 6)), "S1", index, min(term, index + 1), 0, b"state", True)


def agrees_with_what_is_committed(state: State, request: InstallSnapshot) -> bool:
    """Return whether a sound leader may have such a snapshot: in it is all that the follower knows to be committed."""
    index, term = request.last_included_index, request.last_included_term
    if index <= state.commit_index:
        return state.log.term_at(index) == term
    return (state.log.term_at(state.commit_index) or 0) <= term


def outcome_of(follower: State, request: InstallSnapshot, *broken: Break) -> Outcome:
    """Return what becomes of the follower, perhaps with a rule left out. The shell's part is to store the bytes."""
    state = deepcopy(follower)
    with left_out(*broken):
        receive(state, request)
    return Outcome(state.log.start.last_included_index, terms_of(state.log), state.commit_index)


def receive(state: State, request: InstallSnapshot) -> None:
    """Do what a server does with a snapshot's only chunk: answer, store, and put it in the place of the log."""
    compaction.handle_install_snapshot(state, request)
    if compaction.wants_chunk(state, request):
        compaction.record_chunk(state, request)
        index, term = request.last_included_index, request.last_included_term
        compaction.install_snapshot(state, SnapshotMetadata(index, term, Configuration.of(SERVERS)))
        compaction.stop_receiving(state, request)


def wrong_outcomes(state: State, request: InstallSnapshot, right: Outcome) -> dict[Outcome, str]:
    """Return what servers would do that lack a rule, each with the mistake.

    A snapshot of what is committed already may as well take the place of those entries: that is no mistake.
    """
    wrong: dict[Outcome, str] = {}
    as_good = outcome_without(state, request, (OLD_SNAPSHOTS_ARE_NEW,))
    for broken in MISTAKES:
        outcome = outcome_without(state, request, broken)
        if outcome is not None and outcome not in (right, as_good):
            wrong.setdefault(outcome, f"comes of a mistake. {' '.join(each.said for each in broken)}")
    unchanged = Outcome(0, terms_of(state.log), state.commit_index)
    if unchanged != right:
        wrong.setdefault(unchanged, "would be so if nothing had come.")
    if request.last_included_index < right.commit_index:
        back = right._replace(commit_index=request.last_included_index)
        wrong.setdefault(back, "takes commit_index back, which only grows (Fig. 2).")
    return wrong


def outcome_without(state: State, request: InstallSnapshot, broken: tuple[Break, ...]) -> Optional[Outcome]:
    """Return the outcome with rules left out, None if the server is at a loss then."""
    try:
        return outcome_of(state, request, *broken)
    except ACCIDENTS:
        return None


def ask(
    dice: random.Random, state: State, request: InstallSnapshot, right: Outcome, wrong: dict[Outcome, str]
) -> Question:
    """Ask for the right outcome among others."""
    options = [right, *list(wrong)[:MOST_OPTIONS - 1]]
    dice.shuffle(options)
    after = deepcopy(state)
    receive(after, request)
    why: list[Block] = [reason(state, request)]
    why += [f"{letter} {wrong[outcome]}" for letter, outcome in zip(LETTERS, options) if outcome in wrong]
    why += [[*draw_states([after]), "[==] replaced by the snapshot"]]
    return Question(
        [
            [*draw_states([state]), LEGEND],
            f"The leader of term {request.term} sends S2 a snapshot, all of it in one chunk, with last_included_index "
            f"{request.last_included_index} and last_included_term {request.last_included_term}. What does S2 hold "
            "then?",
        ],
        Choice([[outcome.told()] for outcome in options], frozenset({options.index(right)})),
        why,
        [HANDLER, case_of(state, request)],
    )


def case_of(state: State, request: InstallSnapshot) -> Rule:
    """Return which of the receiver's rules decides, asking each of them."""
    if election.is_stale(state, request.term):
        return STALE
    if compaction.is_known_already(state, request):
        return KNOWN
    metadata = SnapshotMetadata(request.last_included_index, request.last_included_term)
    return KEPT if compaction.has_its_last_entry(state, metadata) else DISCARDED


def reason(state: State, request: InstallSnapshot) -> str:
    """Return why that rule decides."""
    index, term = request.last_included_index, request.last_included_term
    held = state.log.term_at(index)
    has = "none there" if held is None else f"one of term {held} there"
    return {
        STALE: f"Rule 1: term {request.term} is older than {state.current_term}.",
        KNOWN: f"S2 knows all up to {state.commit_index} to be committed, so the snapshot tells it nothing new. "
        f"(By the letter of rules 5 and 6 it would take the place of entries 1 to {index}, and the others stay: no "
        "harm either.)",
        KEPT: f"Rule 6: entry {index} of S2 is of term {term}, too. So what follows it is kept.",
        DISCARDED: f"Rule 7: the snapshot ends with entry {index} of term {term}; S2 has {has}. So its whole log goes.",
    }[case_of(state, request)]
