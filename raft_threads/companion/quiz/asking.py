"""Asks on a terminal or a pipe, says whether an answer is right and why, and keeps the score."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Optional, TextIO

from raft_threads.companion.quiz.answers import LETTERS, Answer, Choice
from raft_threads.companion.quiz.question import Block, Question
from raft_threads.companion.quiz.topics import TOPICS
from raft_threads.companion.sheet import MARGIN, Sheet

ENDS = frozenset({"q", "quit", "exit"})


class Ended(Exception):
    """Nobody answers any more: the input is at its end, or the player wants it so."""


def draw_question(seed: object, number: int, topic: str) -> Question:
    """Return question `number` of the quiz `seed`: the same each time."""
    return TOPICS[topic].make(random.Random(f"{seed} {number} {topic}"))


def topics_for(seed: object, topics: Sequence[str]) -> Iterator[str]:
    """Yield topics for ever; each of `topics` comes once before any comes again."""
    dice = random.Random(f"{seed} topics")
    while True:
        yield from dice.sample(topics, len(topics))


class Quiz:
    """Asks `questions` questions of `topics`, reading answers from `keys` and writing to `out`."""

    def __init__(self, seed: object, questions: int, topics: Sequence[str], keys: TextIO, out: TextIO) -> None:
        self._seed = seed
        self._questions = questions
        self._topics = topics
        self._keys = keys
        self._sheet = Sheet(out)
        self.answered = 0
        self.right = 0

    def run(self) -> None:
        """Ask all questions. Raises Ended when the answers end before."""
        self._sheet.paragraph(
            f"Seed {self._seed}: the same seed asks the same. Type ? if you do not know, and q to end. All answers are "
            "worked out by the rules of this project."
        )
        for number, topic in zip(range(1, self._questions + 1), topics_for(self._seed, self._topics)):
            question = draw_question(self._seed, number, topic)
            about = TOPICS[topic]
            self._sheet.line()
            self._sheet.line(f"== Question {number} of {self._questions}: {about.asks}  [{about.sections}]")
            self._ask(question)

    def score(self) -> str:
        """Return the score so far in a line."""
        return f"{self.right} of {self.answered} right."

    def _ask(self, question: Question) -> None:
        self._show(question.asked)
        if isinstance(question.answers, Choice):
            self._show([options_of(question.answers)])
        answer = self._answer_to(question)
        self.answered += 1
        is_right = answer == question.answers.right
        self.right += is_right
        said = question.answers.said(question.answers.right)
        self._sheet.line()
        self._sheet.paragraph(("Right: " if is_right else "It is " if answer is None else "Wrong. It is ") + f"{said}.")
        self._show(question.why)
        self._show([["Read:"]])
        for rule in question.rules:  # in one line each, however long: the places are to be copied
            self._sheet.line(f"{MARGIN}  {rule.place()}")

    def _answer_to(self, question: Question) -> Optional[Answer]:
        """Return the answer, None for somebody who does not know; ask until it can be understood."""
        while True:
            self._sheet.prompt(f"Your answer ({question.answers.hint}):")
            text = self._keys.readline()
            if not self._keys.isatty():
                self._sheet.line(text.strip())
            if not text or text.strip().lower() in ENDS:
                raise Ended
            if text.strip() == "?":
                return None
            answer = question.answers.understand(text)
            if answer is not None:
                return answer
            self._sheet.paragraph(f"That is no answer here. Type {question.answers.hint}, or ? or q.")

    def _show(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            self._sheet.line()
            if isinstance(block, str):
                self._sheet.paragraph(block)
            else:
                self._sheet.lines(block)


def options_of(answers: Choice) -> list[str]:
    """Return the options with their letters; those of several lines are set apart."""
    lines: list[str] = []
    for letter, option in zip(LETTERS, answers.options):
        if lines and len(option) > 1:
            lines.append("")
        lines += [f"{letter if first else ' '}  {line}" for first, line in zip((True, *(False,) * len(option)), option)]
    return lines
