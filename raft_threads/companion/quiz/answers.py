"""What may be typed as an answer, and which is right: letters, servers, or a number. Much is understood."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Protocol

Answer = frozenset[int]
LETTERS = "abcdefghij"
NONE = frozenset({"none", "nothing", "nobody", "no", "-"})
FILLING = frozenset({"and", "or", "index", "entry", "up", "to", "it", "is"})


class Answers(Protocol):
    """A way to answer. An answer is a set of positions in a list, or the one number that was asked for."""

    @property
    def right(self) -> Answer:
        """The right answer."""

    @property
    def hint(self) -> str:
        """What to type."""

    def understand(self, text: str) -> Optional[Answer]:
        """Return the answer in `text`, None if there is none."""

    def said(self, answer: Answer) -> str:
        """Return how `answer` is typed."""


def words_in(text: str) -> list[str]:
    """Return the words and numbers in `text`, without those that only fill."""
    words = re.findall(r"[a-z]+|[0-9]{1,9}", text.lower()) or re.findall("-", text)
    return [word for word in words if word not in FILLING]


@dataclass(frozen=True)
class Choice:
    """One of `options`, or `several` of them; each option is a few lines, lettered from a."""

    options: Sequence[Sequence[str]]
    right: Answer
    several: bool = False

    @property
    def hint(self) -> str:
        """What to type."""
        return "letters, like a c; or none" if self.several else "a letter"

    def understand(self, text: str) -> Optional[Answer]:
        """Return which options are meant: `a c`, `1 3`, `ac`, `1,3`, `none`, `all`, or the words of an option."""
        for position, option in enumerate(self.options):
            if text.strip().lower() == option[0].lower():
                return frozenset({position})
        words = words_in(text)
        if self.several and words == ["all"]:
            return frozenset(range(len(self.options)))
        if self.several and len(words) == 1 and words[0] in {*NONE, "0"}:
            return frozenset()
        signs = [sign for word in words for sign in ([word] if word.isdigit() else word)]
        positions = [int(sign) - 1 if sign.isdigit() else LETTERS.find(sign) for sign in signs]
        if not positions or not all(0 <= position < len(self.options) for position in positions):
            return None
        return frozenset(positions) if self.several or len(set(positions)) == 1 else None

    def said(self, answer: Answer) -> str:
        """Return the letters."""
        return " ".join(LETTERS[position] for position in sorted(answer)) or "none"


@dataclass(frozen=True)
class Servers:
    """Some of the servers `names`, S1 and so on; perhaps none."""

    names: Sequence[str]
    right: Answer

    @property
    def hint(self) -> str:
        """What to type."""
        return "servers, like S1 S3; or none"

    def understand(self, text: str) -> Optional[Answer]:
        """Return the positions of the servers that are meant: `S1 S3`, `1,3`, `s1s3`, `none`, `all`."""
        words = [word for word in words_in(text) if word != "s"]
        if words == ["all"]:
            return frozenset(range(len(self.names)))
        if len(words) == 1 and words[0] in {*NONE, "0"}:
            return frozenset()
        known = {name.lower().lstrip("s"): position for position, name in enumerate(self.names)}
        if not words or not all(word in known for word in words):
            return None
        return frozenset(known[word] for word in words)

    def said(self, answer: Answer) -> str:
        """Return the servers' names."""
        return " ".join(self.names[position] for position in sorted(answer)) or "none"


@dataclass(frozen=True)
class Number:
    """A number, 0 or more."""

    number: int

    @property
    def right(self) -> Answer:
        """The number alone."""
        return frozenset({self.number})

    @property
    def hint(self) -> str:
        """What to type."""
        return "a number"

    def understand(self, text: str) -> Optional[Answer]:
        """Return the number: `3`, `index 3`, `none` for 0."""
        words = words_in(text)
        if len(words) == 1 and words[0] in NONE:
            return frozenset({0})
        return frozenset({int(words[0])}) if len(words) == 1 and words[0].isdigit() else None

    def said(self, answer: Answer) -> str:
        """Return the number."""
        return " ".join(map(str, answer))
