"""What an exercise is: functions to be written anew, in parts, and the tests that tell when a part is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Target(NamedTuple):
    """A function to be written: `path` from the project's directory, and its name, a method's with its class."""

    path: str
    name: str


@dataclass(frozen=True)
class Part:
    """A step of an exercise: what it is about, its functions, and its tests, as pytest takes them.

    The tests need nothing of later parts, and none of them passes without this one.
    """

    says: str
    functions: tuple[Target, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Exercise:
    """Something to write: its `parts` in order; then all tests of the rules, then those on servers in virtual time."""

    says: str
    sections: str
    parts: tuple[Part, ...]
    rule_tests: tuple[str, ...]
    server_tests: tuple[str, ...]

    @property
    def functions(self) -> tuple[Target, ...]:
        """All functions to be written, in order."""
        return tuple(target for part in self.parts for target in part.functions)

    def stages(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return what is to be run, one after the other: what it is, and the tests."""
        parts = [(part.says, part.tests) for part in self.parts]
        all_of_it = [("all tests of these rules", self.rule_tests), ("servers in virtual time", self.server_tests)]
        return [*parts, *((says, tests) for says, tests in all_of_it if tests)]


def functions(path: str, *names: str) -> tuple[Target, ...]:
    """Return functions of one file."""
    return tuple(Target(f"raft_threads/{path}", name) for name in names)


def tests(file: str, *names: str) -> tuple[str, ...]:
    """Return some tests of a file, all of them if no `names` are given."""
    path = f"tests/test_{file}.py"
    return tuple(f"{path}::test_{name}" for name in names) or (path,)
