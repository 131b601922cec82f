"""Which logs can occur (§5.3, §5.4.1; Fig. 7): decided by trying out everything that can happen to three servers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations, product
from typing import Optional

from raft_threads import election, replication
from raft_threads.companion.quiz.answers import LETTERS, Choice
from raft_threads.companion.quiz.breaks import ANY_LOG
from raft_threads.companion.quiz.exploring import Bounds, Situation, Terms, all_that_can_happen, logs_of
from raft_threads.companion.quiz.pictures import draw_terms, row_of
from raft_threads.companion.quiz.question import Block, Question, Rule

SERVERS = ("S1", "S2", "S3")
BOUNDS = Bounds(terms=3, entries=3)
OPTIONS = 4
# Pictures with fewer entries than that are too easy.
FEWEST_ENTRIES = 4

Logs = tuple[Terms, ...]

CONSISTENCY_CHECK = Rule(replication.matches_previous_entry, "§5.3")
ONE_VOTE = Rule(election.has_not_voted_for_another, "§5.2")
RESTRICTION = Rule(election.is_at_least_as_up_to_date, "§5.4.1")
LEADERS_TERM = Rule(replication.append_command, "§5.3")


def which_logs_occur(dice: random.Random) -> Question:
    """Ask which of four pictures can be seen."""
    occurring, impossible = possible_logs(), impossible_logs()
    pictures: list[Logs] = []
    while len(pictures) < OPTIONS:
        logs = dice.choice(sorted(dice.choice((occurring, impossible))))
        named = tuple(dice.sample(logs, len(logs)))
        if sum(map(len, logs)) >= FEWEST_ENTRIES and logs not in map(in_order, pictures):
            pictures.append(named)
    right = frozenset(position for position, logs in enumerate(pictures) if in_order(logs) in occurring)
    answers = Choice([draw_terms(dict(zip(SERVERS, logs))) for logs in pictures], right, several=True)
    reasons = [reason_for(logs) for logs in pictures]
    why: list[Block] = []
    for letter, (text, way, _) in zip(LETTERS, reasons):
        why.append(f"{letter} {text}")
        if way:
            why.append([f"   {line}" for line in way])
    rules = list(dict.fromkeys(rule for _, _, rule in reasons if rule is not None)) or [RESTRICTION]
    return Question(
        [
            "Three servers, and nothing but sound steps: elections, commands, AppendEntries, lost messages, crashes. "
            "A box is an entry with its term; each leader opens its term with an entry (its no-op, §8).",
            "Which of these can be their logs at one moment?",
        ],
        answers,
        why,
        rules,
    )


def in_order(logs: Logs) -> Logs:
    """Return the logs in the order that does not depend on names."""
    return tuple(sorted(logs))


@lru_cache(maxsize=None)
def possible_logs() -> dict[Logs, Situation]:
    """Return all logs that three servers can have within the bounds, and a situation in which they have them."""
    explorer = all_that_can_happen(len(SERVERS), BOUNDS)
    found: dict[Logs, Situation] = {}
    for situation in explorer.reached:
        found.setdefault(logs_of(situation), situation)
    return found


@lru_cache(maxsize=None)
def impossible_logs() -> list[Logs]:
    """Return the other logs within the bounds; those with terms out of order are few, as they are easy to see."""
    logs = [log for length in range(BOUNDS.entries + 1) for log in product(range(1, BOUNDS.terms + 1), repeat=length)]
    sound = sorted(log for log in logs if not goes_back(log))
    unsound = [tuple(sorted((*pair, log))) for pair, log in zip(combinations(sound, 2), filter(goes_back, logs))]
    found = [
        tuple(sorted((one, two, three)))
        for position, one in enumerate(sound)
        for two, three in combinations(sound[position:], 2)
    ]
    return unsound + [each for each in found if each not in possible_logs()]


def reason_for(logs: Logs) -> tuple[str, Sequence[str], Optional[Rule]]:
    """Return why servers can or cannot have these logs: in words, how it comes about, the rule that prevents it."""
    explorer, found = all_that_can_happen(len(SERVERS), BOUNDS), possible_logs()
    if in_order(logs) in found:
        situation = found[in_order(logs)]
        names = names_in(logs, explorer.reached[situation].situation)
        return "can occur:", [renamed(line, names) for line in explorer.way_to(situation)], None
    for log in logs:
        if goes_back(log):
            text = f"cannot: a leader appends entries of its own term, so no log can be {row_of(log)}."
            return text, [], LEADERS_TERM
    for one, other in combinations(zip(SERVERS, logs), 2):
        clash = clash_of(one, other)
        if clash is not None:
            return f"cannot: {clash[0]}", [], clash[1]
    return because_of_the_restriction(logs)


def goes_back(log: Terms) -> bool:
    """Return whether terms decrease somewhere."""
    return list(log) != sorted(log)


def clash_of(one: tuple[str, Terms], other: tuple[str, Terms]) -> Optional[tuple[str, Rule]]:
    """Return why two servers cannot have such logs at a time: whoever led a term had one log before it."""
    (first, log), (second, another) = one, other
    for term in sorted(set(log) & set(another)):
        before, otherwise = log[:log.index(term)], another[:another.index(term)]
        if before == otherwise:
            continue
        for index in range(min(len(log), len(another)), 0, -1):
            if log[index - 1] == another[index - 1] == term:
                return (
                    f"{first} and {second} both have an entry {index} of term {term}, so all before it must be the "
                    "same (Log Matching): a follower takes entries only where the one before them matches.",
                    CONSISTENCY_CHECK,
                )
        return (
            f"in the log of {first} term {term} begins with entry {len(before) + 1}, in that of {second} with entry "
            f"{len(otherwise) + 1}; that takes two leaders in term {term}, and each server has one vote.",
            ONE_VOTE,
        )
    return None


def because_of_the_restriction(logs: Logs) -> tuple[str, Sequence[str], Optional[Rule]]:
    """Return that only the election restriction prevents it, with what would happen otherwise."""
    reckless = all_that_can_happen(len(SERVERS), BOUNDS, ANY_LOG)
    situation = next(each for each in reckless.reached if logs_of(each) == in_order(logs))
    tried = len(all_that_can_happen(len(SERVERS), BOUNDS).reached)
    names = names_in(logs, reckless.reached[situation].situation)
    return (
        f"cannot: it is not among all {tried} situations that there are within these bounds. Only the election "
        "restriction is in the way; with voters that do not compare logs it would come about:",
        [renamed(line, names) for line in reckless.way_to(situation)],
        RESTRICTION,
    )


def names_in(logs: Logs, situation: Situation) -> dict[str, str]:
    """Return who in the picture is which server of the situation."""
    free = list(zip(SERVERS, logs))
    names = {}
    for server, found in zip(SERVERS, situation):
        same = next(each for each in free if each[1] == found.log)
        free.remove(same)
        names[server] = same[0]
    return names


def renamed(line: str, names: dict[str, str]) -> str:
    """Return a sentence with other names for the servers."""
    for server in names:
        line = line.replace(server, f"<{server}>")
    for server, name in names.items():
        line = line.replace(f"<{server}>", name)
    return line
