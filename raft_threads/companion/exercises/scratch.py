"""Scratch copies: the project's files in a directory of their own, with the functions of an exercise emptied."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from raft_threads.companion.exercises.emptying import emptied, function_named, source_of
from raft_threads.companion.exercises.exercise import Exercise

PROJECT = Path(__file__).resolve().parents[3]
NOTE = "exercise.json"
# What is copied; what is not there is left out, but for the first two.
NEEDED = ("raft_threads", "tests")
FILES = ("run_demo.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "docs", ".vscode")


class ExerciseError(Exception):
    """What was asked for cannot be done; the text says in one line why, and what to do."""


def make_scratch(name: str, exercise: Exercise, directory: Path) -> None:
    """Make a scratch copy for `exercise`. Raises ExerciseError, and OSError when files cannot be written."""
    refuse_unless_project()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ExerciseError(f"{directory} is there and not empty; name a directory that is new or empty")
    if any(PROJECT / part in (directory.resolve(), *directory.resolve().parents) for part in (*NEEDED, *FILES)):
        raise ExerciseError(f"{directory} is inside what is to be copied; name a directory elsewhere")
    directory.mkdir(parents=True, exist_ok=True)
    for part in (*NEEDED, *FILES):
        copy(PROJECT / part, directory / part)
    empty(exercise, directory)
    note = {"exercise": name, "project": str(PROJECT)}
    (directory / NOTE).write_text(json.dumps(note) + "\n", encoding="utf-8")


def refuse_unless_project() -> None:
    """Raise ExerciseError when this is no whole project: a scratch copy, or the installed package alone."""
    if (PROJECT / NOTE).exists():
        raise ExerciseError(f"this is a scratch copy itself; ask the project it was made from, {origin(PROJECT)}")
    if not all((PROJECT / part).is_dir() for part in NEEDED):
        raise ExerciseError(f"there are no tests in {PROJECT}; exercises need all of the project, not only the package")


def copy(source: Path, target: Path) -> None:
    """Copy a file, or a directory without what Python has left there."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*_cache"))
    elif source.exists():
        shutil.copy2(source, target)


def empty(exercise: Exercise, directory: Path) -> None:
    """Empty the functions of `exercise` in `directory`."""
    for path in dict.fromkeys(target.path for target in exercise.functions):
        names = [target.name for target in exercise.functions if target.path == path]
        text = (directory / path).read_text(encoding="utf-8")
        (directory / path).write_text(emptied(text, names), encoding="utf-8")


def exercise_in(directory: Path) -> str:
    """Return which exercise a directory is a scratch copy for. Raises ExerciseError when it is none."""
    try:
        return str(json.loads((directory / NOTE).read_text(encoding="utf-8"))["exercise"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExerciseError(f"{directory} is no scratch copy: it has no {NOTE} that names an exercise") from error


def origin(directory: Path) -> Path:
    """Return where the project is that a scratch copy was made from; it is there itself if it is no copy."""
    try:
        return Path(json.loads((directory / NOTE).read_text(encoding="utf-8"))["project"])
    except FileNotFoundError:
        return directory


def places(exercise: Exercise, directory: Path) -> list[str]:
    """Return where the functions of `exercise` are in `directory`, in order: name, file, line."""
    texts = {path: (directory / path).read_text(encoding="utf-8") for path, _ in exercise.functions}
    width = max(len(target.name) for target in exercise.functions)
    return [
        f"{target.name:{width}}  {target.path}:{function_named(texts[target.path], target.name).lineno}"
        for target in exercise.functions
    ]


def solution(exercise: Exercise) -> list[str]:
    """Return the functions of `exercise` as the project has them. Raises ExerciseError in a scratch copy."""
    refuse_unless_project()
    lines = []
    for target, place in zip(exercise.functions, places(exercise, PROJECT)):
        text = (PROJECT / target.path).read_text(encoding="utf-8")
        lines += [f"# {place.split()[-1]}", *source_of(text, target.name).splitlines(), ""]
    return lines[:-1]
