"""What a question of the quiz shows, read back from its text: for other ways to work out the answer."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from raft_threads.companion.quiz.asking import draw_question
from raft_threads.companion.quiz.question import Block, Question


def lines_of(blocks: Iterable[Block]) -> list[str]:
    """Return all lines, as they stand."""
    return [line for block in blocks for line in ([block] if isinstance(block, str) else block)]


def text_of(question: Question) -> str:
    """Return what is asked, as one text."""
    return "\n".join(lines_of(question.asked))


def logs_in(lines: Iterable[str]) -> dict[str, list[int]]:
    """Return the rows of terms in a picture, by server."""
    rows = [re.match(r"(S\d)\b([^([]*)(.*)", line) for line in lines]
    return {row[1]: [int(term) for term in re.findall(r"[([](\d+) *[)\]]", row[3])] for row in rows if row}


def committed_in(lines: Iterable[str]) -> dict[str, int]:
    """Return how many boxes of each row are drawn as committed."""
    rows = [re.match(r"(S\d)\b([^([]*)(.*)", line) for line in lines]
    return {row[1]: row[3].count("[") for row in rows if row}


def numbers_after(word: str, text: str) -> list[int]:
    """Return the numbers that follow `word` in `text`."""
    return [int(number) for number in re.findall(rf"{word} (\d+)", text)]


def values_in(line: str) -> dict[str, int]:
    """Return what `S1=2 S2=0` says."""
    return {server: int(value) for server, value in re.findall(r"(S\d)=(\d+)", line)}


def right_answer(question: Question) -> str:
    """Return the right answer as it is typed."""
    return question.answers.said(question.answers.right)


@lru_cache(maxsize=None)
def question_about(topic: str, number: int) -> Question:
    """Return some question about `topic`, the same for all tests."""
    return draw_question("a test's", number, topic)
