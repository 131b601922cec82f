"""Asks on a terminal or a pipe, says whether an answer is right and why, and keeps the score."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Iterator, Sequence
from typing import Optional, TextIO

from raft_threads.companion.quiz.answers import LETTERS, Answer, Choice
from raft_threads.companion.quiz.question import Block, Question
from raft_threads.companion.quiz.topics import TOPICS

WIDTH = 100
MARGIN = "   "
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
        self._out = out
        self.answered = 0
        self.right = 0

    def run(self) -> None:
        """Ask all questions. Raises Ended when the answers end before."""
        self._paragraph(
            f"Seed {self._seed}: the same seed asks the same. Type ? if you do not know, and q to end. All answers are "
            "worked out by the rules of this project."
        )
        for number, topic in zip(range(1, self._questions + 1), topics_for(self._seed, self._topics)):
            question = draw_question(self._seed, number, topic)
            about = TOPICS[topic]
            self._line()
            self._line(f"== Question {number} of {self._questions}: {about.asks}  [{about.sections}]")
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
        self._line()
        self._paragraph(("Right: " if is_right else "It is " if answer is None else "Wrong. It is ") + f"{said}.")
        self._show(question.why)
        self._show([["Read:", *(f"  {rule.place()}" for rule in question.rules)]])

    def _answer_to(self, question: Question) -> Optional[Answer]:
        """Return the answer, None for somebody who does not know; ask until it can be understood."""
        while True:
            self._out.write(f"\n{MARGIN}Your answer ({question.answers.hint}): ")
            self._out.flush()
            text = self._keys.readline()
            if not self._keys.isatty():
                self._line(text.strip())
            if not text or text.strip().lower() in ENDS:
                raise Ended
            if text.strip() == "?":
                return None
            answer = question.answers.understand(text)
            if answer is not None:
                return answer
            self._paragraph(f"That is no answer here. Type {question.answers.hint}, or ? or q.")

    def _show(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            self._line()
            if isinstance(block, str):
                self._paragraph(block)
            else:
                for line in block:
                    self._line(MARGIN + line)

    def _paragraph(self, text: str) -> None:
        for line in textwrap.wrap(text, WIDTH - len(MARGIN), break_long_words=False, break_on_hyphens=False):
            self._line(MARGIN + line)

    def _line(self, text: str = "") -> None:
        self._out.write(text.rstrip() + "\n")


def options_of(answers: Choice) -> list[str]:
    """Return the options with their letters; those of several lines are set apart."""
    lines: list[str] = []
    for letter, option in zip(LETTERS, answers.options):
        if lines and len(option) > 1:
            lines.append("")
        lines += [f"{letter if first else ' '}  {line}" for first, line in zip((True, *(False,) * len(option)), option)]
    return lines
