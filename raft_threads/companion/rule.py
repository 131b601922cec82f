"""What the rule book says of a rule (Fig. 2, Fig. 13, §6, §7, §8)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """One rule of the paper.

    `id` is where it stands: `F2.Leaders.4` is the fourth bullet for leaders in Fig. 2, `F2.Leaders.3.1` the first one
    below its third; `F13.6` is step 6 of Fig. 13; `S6.4` is the fourth rule that §6 gives in its text. `read` is the
    section to read with it. `says` is the rule and `why` its reason, each in a sentence or two. `function` is the code
    that is the rule, by its dotted name. `tests` are pytest's node ids, without parameters.
    """

    id: str
    read: str
    says: str
    why: str
    function: str
    tests: tuple[str, ...]

    @property
    def group(self) -> str:
        """Return the part of the paper that the rule stands in, as the id has it: `F2.Leaders`, `F13`, `S6`."""
        return ".".join(part for part in self.id.split(".") if not part.isdigit())


def tests_in(file: str, *names: str) -> tuple[str, ...]:
    """Return the node ids of the tests `names` in `tests/<file>.py`."""
    return tuple(f"tests/{file}.py::{name}" for name in names)
