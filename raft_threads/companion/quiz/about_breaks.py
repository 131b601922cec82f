"""What goes wrong without a rule: which property of Fig. 3 is lost. Found by running servers without it (§5)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple, Optional

from raft_threads.companion.quiz.answers import Choice
from raft_threads.companion.quiz.breaks import LOSING, Break, left_out
from raft_threads.companion.quiz.history import ACCIDENTS, History, Stand, Step, draw_step
from raft_threads.companion.quiz.pictures import LEGEND, draw_states
from raft_threads.companion.quiz.properties import PROPERTIES, Properties
from raft_threads.companion.quiz.question import Block, Question, Rule

STEPS = 14
# What a rule's function may have to be shown.
MOST_LINES = 8
NOTHING = "none of them, so far"
# How often the last step is left out, and so nothing is lost yet.
SHARE_OF_HARMLESS = 0.15


class Loss(NamedTuple):
    """The property that was lost, in which way, and what happened up to there, step by step; or that none was."""

    name: str
    damage: str
    told: list[str]
    history: History


def what_goes_wrong(dice: random.Random) -> Question:
    """Ask which property is lost in a short history without some rule."""
    broken = dice.choice(LOSING)
    steps = shortest(find_loss(dice, broken), broken)
    if len(steps) > 2 and dice.random() < SHARE_OF_HARMLESS:
        steps = steps[:-1]
    return ask(broken, steps, run(steps, servers_of(broken), broken))


def servers_of(broken: Break) -> list[str]:
    """Return the servers of a break's histories."""
    return [f"S{number}" for number in range(1, broken.servers + 1)]


def find_loss(dice: random.Random, broken: Break) -> list[Step]:
    """Return steps that lose one property without the rule, by trying one history after the other."""
    while True:
        steps = draw_loss(dice, broken)
        if steps is not None:
            return steps


def draw_loss(dice: random.Random, broken: Break) -> Optional[list[Step]]:
    """Return steps at random up to the loss of a property; None if there is none, or if two go at the same time."""
    names = servers_of(broken)
    dice.shuffle(names)
    steps: list[Step] = [Stand(names[candidate], (names[voter],)) for candidate, voter in broken.opening]
    history, properties = History(servers_of(broken)), Properties()
    with left_out(broken):
        try:
            for count in range(STEPS):
                if count >= len(steps):
                    steps.append(draw_step(dice, history, broken.weights))
                lost = properties.lost(history) if history.play(steps[count]) else {}
                if lost:
                    return steps[:count + 1] if len(lost) == 1 else None
        except ACCIDENTS:
            pass  # a server noticed, and stopped: that is another story
    return None


def run(steps: Sequence[Step], servers: Sequence[str], *broken: Break) -> Optional[Loss]:
    """Return what the steps lead to; None if a server stops, two properties go at a time, or one before the last step.
    """
    history, properties = History(servers), Properties()
    told = []
    with left_out(*broken):
        try:
            for count, step in enumerate(steps, 1):
                told.append(history.told[-1] if history.play(step) else "This cannot happen.")
                lost = properties.lost(history)
                if lost:
                    ((name, damage), *others) = lost.items()
                    return Loss(name, damage, told, history) if count == len(steps) and not others else None
        except ACCIDENTS:
            return None
    return Loss(NOTHING, "All five properties hold so far", told, history)


def shortest(steps: list[Step], broken: Break) -> list[Step]:
    """Return the steps without those that it happens without as well."""
    wanted = run(steps, servers_of(broken), broken)
    for position in range(len(steps) - 2, -1, -1):
        fewer = [*steps[:position], *steps[position + 1:]]
        loss = run(fewer, servers_of(broken), broken)
        if loss is not None and wanted is not None and loss.name == wanted.name:
            return shortest(fewer, broken)
    return steps


def ask(broken: Break, steps: Sequence[Step], loss: Optional[Loss]) -> Question:
    """Ask what is lost."""
    assert loss is not None, "what was found happens again"
    options = (*PROPERTIES, NOTHING)
    why: list[Block] = [f"{loss.damage}.", [*draw_states(loss.history.states.values()), LEGEND]]
    rule = Rule(broken.function, broken.sections)
    code = [f"   {line}" for line in rule.lines()]
    return Question(
        [
            f"One rule is missing, {broken.function.__qualname__} ({broken.sections}):",
            *([code] if len(code) <= MOST_LINES else []),
            f"{broken.said} This happens:",
            numbered(loss.told),
            "Which property of Fig. 3 is lost first?",
        ],
        Choice([[name] for name in options], frozenset({options.index(loss.name)})),
        [*why, *with_the_rule(steps, servers_of(broken), loss)],
        [rule],
    )


def with_the_rule(steps: Sequence[Step], servers: Sequence[str], loss: Loss) -> list[Block]:
    """Return how the same steps go with the rule in place, which loses nothing."""
    sound = run(steps, servers)
    assert sound is not None and sound.name == NOTHING, sound
    picture = draw_states(sound.history.states.values())
    if sound.told == loss.told:
        return ["With the rule in place the same happens, and nothing is lost:", picture]
    return ["With the rule in place it goes so, and nothing is lost:", numbered(sound.told), picture]


def numbered(lines: Sequence[str]) -> list[str]:
    """Return `lines` with their numbers."""
    return [f"   {number}. {line}" for number, line in enumerate(lines, 1)]
