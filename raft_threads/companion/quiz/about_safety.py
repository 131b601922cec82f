"""Which entries are safe: what no future leader can be without (§5.3, §5.4; Fig. 6 and Fig. 8).

An entry is safe if a leader has committed it on the way here; Leader Completeness says so, and the figures show it. It
is not if there is a future that loses it: then that future is looked for, and played. Logs of which neither is found
are not asked about.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Optional

from raft_threads import replication
from raft_threads.companion.quiz.answers import Number
from raft_threads.companion.quiz.exploring import Bounds, Explorer, Server, Situation, Terms, first_where
from raft_threads.companion.quiz.history import History, draw_step
from raft_threads.companion.quiz.pictures import draw_terms
from raft_threads.companion.quiz.properties import Properties
from raft_threads.companion.quiz.question import Block, Question, Rule

SERVERS = ("S1", "S2", "S3", "S4", "S5")
STEPS = 16
MOST_ENTRIES = 6
WEIGHTS = {"stand": 3, "command": 2, "send": 3, "one": 4}
# How far to look for a future that loses an entry: situations, and terms. Where there is one, it is mostly near.
MOST_SITUATIONS = 120
MORE_TERMS = 2


def which_entries_are_safe(dice: random.Random) -> Question:
    """Ask up to which index entries may be applied, judged by the logs alone."""
    while True:
        history, terms = draw_logs_and_commitment(dice)
        logs = history.terms()
        if not 2 <= max(map(len, logs.values())) <= MOST_ENTRIES or len(set(logs.values())) < 3:
            continue
        losses = [lose(list(logs.values()), prefix) for prefix in prefixes(list(logs.values()), len(terms) + 1)]
        if losses and all(losses):
            return ask(history, terms, [loss for loss in losses if loss is not None][0])


def draw_logs_and_commitment(dice: random.Random) -> tuple[History, Terms]:
    """Return some history, and the terms of what leaders have committed in it."""
    history, properties = History(SERVERS), Properties()
    while len(history.told) < STEPS:
        if history.play(draw_step(dice, history, WEIGHTS)):
            assert not properties.lost(history), history.told
    return history, properties.committed_terms


def prefixes(logs: Sequence[Terms], length: int) -> list[Terms]:
    """Return what the logs begin with, up to so many entries; two logs that agree there have the same entries."""
    return sorted({log[:length] for log in logs if len(log) >= length})


def lose(logs: Sequence[Terms], prefix: Terms) -> Optional[list[str]]:
    """Return a future in which somebody leads whose log does not begin with `prefix`; None if none is found."""
    last_term = max(term for log in logs for term in (*log, 0))
    start: Situation = tuple(Server(last_term, False, log) for log in logs)
    explorer = Explorer(Bounds(last_term + MORE_TERMS, max(map(len, logs)) + MORE_TERMS))

    def is_lost(situation: Situation) -> bool:
        """Return whether somebody leads without it."""
        return any(server.leads and server.log[:len(prefix)] != prefix for server in situation)

    lost = first_where(explorer, start, is_lost, MOST_SITUATIONS)
    return None if lost is None else explorer.way_to(lost)


def ask(history: History, terms: Terms, loss: list[str]) -> Question:
    """Ask about the logs that `history` has led to; `loss` is a future without the entry after `terms`, the committed.
    """
    logs, committed = history.terms(), len(terms)
    why: list[Block] = []
    if committed:
        told = next(line for line in history.told if f"all up to {committed} is committed" in line)
        why.append(
            f"Entries up to {committed} were committed on the way here ({told.rstrip('.')}): an entry of the leader's "
            "own term was on a majority. Whoever is elected later needs a vote of that majority, and so has them."
        )
    why += [
        f"Entry {committed + 1} can still be lost, for instance so:",
        [f"   {line}" for line in loss],
        draw_terms(logs, terms),
    ]
    return Question(
        [
            "The logs of five servers. The rest of their state is not known; who was leader may be down, and anybody "
            "may stand for election.",
            draw_terms(logs),
            "Up to which index is it safe to apply entries: none of them can be lost any more, whatever happens? "
            "(0: none is safe)",
        ],
        Number(committed),
        why,
        [Rule(replication.advance_commit_index, "§5.3, §5.4.2"), Rule(replication.index_stored_on_majority, "§5.3")],
    )
