"""When a leader commits (§5.3, §5.4.2; Fig. 8): commit_index from match_index."""

from __future__ import annotations

import random
from copy import deepcopy

from raft_threads import election, replication
from raft_threads.companion.quiz.answers import Number
from raft_threads.companion.quiz.history import MAX_BYTES, save
from raft_threads.companion.quiz.pictures import LEGEND, draw_states, log_of
from raft_threads.companion.quiz.question import Block, Question, Rule
from raft_threads.messages import AppendEntriesReply
from raft_threads.state import Role, State

SERVERS = ("S1", "S2", "S3", "S4", "S5")


def how_far_a_leader_commits(dice: random.Random) -> Question:
    """Ask for commit_index after an answer has come."""
    state = draw_leader(dice)
    follower = dice.choice(SERVERS[1:])
    before = deepcopy(state)
    state.next_index[follower] = dice.randint(state.match_index[follower] + 1, state.log.last_index)
    request = replication.append_entries_request(state, follower, dice.choice((1, 9)), MAX_BYTES)
    stored = replication.last_new_index(request)
    replication.handle_append_entries_reply(state, follower, request, AppendEntriesReply(state.current_term, True))
    return Question(
        [
            f"S1 leads term {state.current_term}, with commit_index {before.commit_index}.",
            [*draw_states([before]), LEGEND, "", matches(before)],
            f"Now {follower} answers that it stores all up to {stored}. What is S1's commit_index then?",
        ],
        Number(state.commit_index),
        [*reason(before, state), [*draw_states([state]), "", matches(state)]],
        [
            Rule(replication.advance_commit_index, "§5.3, §5.4.2"),
            Rule(replication.index_stored_on_majority, "Fig. 2, Leaders"),
        ],
    )


def draw_leader(dice: random.Random) -> State:
    """Return some leader of five, whose disk is quick, with some of its followers' answers in."""
    old_terms = sorted(dice.choices(range(1, 4), k=dice.randint(1, 4)))
    state = State("S1", SERVERS, old_terms[-1] + dice.randint(0, 1), "S1", log_of(old_terms))
    state.role = Role.FOLLOWER
    election.begin_election(state)
    state.commit_index = dice.randint(0, len(old_terms) - 1)
    state.votes = dict.fromkeys(SERVERS, True)
    election.become_leader_if_elected(state)
    for _ in range(dice.randint(0, 2)):
        replication.append_command(state, b"x")
    save(state)
    for follower in SERVERS[1:]:
        state.match_index[follower] = dice.randint(0, state.log.last_index - 1)
        state.next_index[follower] = state.match_index[follower] + 1
    replication.advance_commit_index(state)
    return state


def matches(state: State) -> str:
    """Return match_index in a line."""
    return "match_index  " + "  ".join(f"{server}={state.match_index[server]}" for server in SERVERS)


def reason(before: State, after: State) -> list[Block]:
    """Return how the rule has come to its result."""
    stored = replication.index_stored_on_majority(after)
    term = after.log.term_at(stored)
    counted = f"The highest index that three of five store is {stored}"
    if after.commit_index > before.commit_index:
        return [f"{counted}, and that entry is of the leader's own term {term}: it is committed, and all before it."]
    if stored <= before.commit_index:
        return [f"{counted}, and that was known to be committed before."]
    return [
        f"{counted}, but that entry is of term {term}, not {after.current_term}: entries of earlier terms are not "
        "committed by counting (Fig. 8), only together with one of the leader's own."
    ]
