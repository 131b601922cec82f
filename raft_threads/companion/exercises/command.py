"""`run_demo.py exercise`: makes scratch copies, runs the tests that belong, shows solutions. `docs/exercises.md`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from raft_threads.companion.exercises.catalogue import EXERCISES
from raft_threads.companion.exercises.checking import check
from raft_threads.companion.exercises.emptying import NoSuchFunction
from raft_threads.companion.exercises.exercise import Exercise
from raft_threads.companion.exercises.modules import MODULES
from raft_threads.companion.exercises.rules import RULES
from raft_threads.companion.exercises.scratch import (
    PROJECT,
    ExerciseError,
    exercise_in,
    make_scratch,
    origin,
    places,
    solution,
)
from raft_threads.standard_streams import complaint_about

SHOWS = "rules to write anew in a scratch copy, with the tests that belong (docs/exercises.md)"
DONE, NOT_YET, WRONG, INTERRUPTED = 0, 1, 2, 130
CHECK, SOLUTION = "check", "solution"


def main(argv: Sequence[str]) -> int:
    """Do what `argv` asks for; return 0, 1 if some tests are not green yet, 2 if it cannot be, 130 if interrupted."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.list:
        print("\n".join(listed()))
        return DONE
    if arguments.what is None:
        parser.error("name an exercise, or check, or solution; --list names the exercises")
    try:
        return perform(arguments.what, arguments.where)
    except ExerciseError as error:
        complaint = str(error)
    except NoSuchFunction as error:
        complaint = f"the scratch copy has lost something: {error}"
    except OSError as error:
        complaint = complaint_about(error)
    except KeyboardInterrupt:
        print()
        return INTERRUPTED
    print(f"run_demo.py exercise: {complaint}", file=sys.stderr)
    return WRONG


def perform(what: str, where: str) -> int:
    """Check the copy in `where`, show the solution of the exercise `where`, or make a copy for the exercise `what`."""
    if what == CHECK:
        return check_copy(Path(where or "."))
    name = where if what == SOLUTION else what
    exercise = exercise_named(name)
    if what == SOLUTION:
        print("\n".join(solution(exercise)))
        return DONE
    if not where:
        raise ExerciseError(f"name a directory for the scratch copy, like: exercise {name} /tmp/{name}")
    directory = Path(where)
    make_scratch(name, exercise, directory)
    print("\n".join(how_to_go_on(name, exercise, directory)))
    return DONE


def exercise_named(name: str) -> Exercise:
    """Return the exercise. Raises ExerciseError when there is none of that name."""
    if name not in EXERCISES:
        raise ExerciseError(f"there is no exercise {name!r}; --list names them" if name else "name an exercise, too")
    return EXERCISES[name]


def check_copy(directory: Path) -> int:
    """Run the tests of the exercise that `directory` is a copy for."""
    name = exercise_in(directory)
    exercise = exercise_named(name)
    print(f"{name}: {exercise.says} ({exercise.sections})", flush=True)
    if not check(exercise, directory, sys.stdout):
        return NOT_YET
    print(f"\nAll green. Compare with ours: {program()} {SOLUTION} {name}")
    return DONE


def how_to_go_on(name: str, exercise: Exercise, directory: Path) -> list[str]:
    """Return what a learner is told who has a new scratch copy."""
    return [
        f"{directory} is a copy of the project in which these are to be written:",
        *(f"   {place}" for place in places(exercise, directory)),
        f"Read {exercise.sections}, and their docstrings. Then run the tests that belong, as often as you like:",
        f"   {program()} {CHECK} {directory}",
        "It begins with tests of the rule alone, and goes on as long as they are green. Our own version:",
        f"   {program()} {SOLUTION} {name}",
    ]


def program() -> str:
    """Return how this command is called from the directory in which it was called now."""
    project = origin(PROJECT)
    return f"python3 {'' if Path.cwd() == project else f'{project}/'}run_demo.py exercise"


def listed() -> list[str]:
    """Return all exercises, a line each, under two headings."""
    return [
        "One rule:",
        *(f"   {name:23}{exercise.says} ({exercise.sections})" for name, exercise in RULES.items()),
        "A whole module, in parts:",
        *(f"   {name:23}{exercise.says} ({exercise.sections})" for name, exercise in MODULES.items()),
    ]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(
        prog="run_demo.py exercise",
        usage="run_demo.py exercise --list | NAME DIR | check [DIR] | solution NAME",
        description="NAME DIR copies the project into DIR without the body of a rule; check runs the tests that "
        "belong; solution shows what the project has there.",
        epilog="Exit codes: 0 done, all green; 1 not all green yet; 2 it cannot be done, and why.",
    )
    parser.add_argument("--list", action="store_true", help="name the exercises")
    parser.add_argument("what", nargs="?", metavar="NAME", help=f"an exercise, or {CHECK}, or {SOLUTION}")
    parser.add_argument("where", nargs="?", default="", metavar="DIR", help="the directory of the scratch copy")
    return parser
