"""Pages in Markdown, taken apart for tests: links, headings, names in backticks, boxes."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Callable, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
NAME = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"


class Answer(NamedTuple):
    """Code that a reader types into Python, and what the page says is printed."""

    code: str
    output: str


class Stop(NamedTuple):
    """A command that stops in a test, and the lines that are typed there: an import and a breakpoint."""

    command: str
    lines: list[str]


class Page:
    """One page."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.relative_to(ROOT).as_posix()
        self.text = path.read_text(encoding="utf-8")
        self.boxes = re.findall(r"^```(\w*)\n(.*?)^```$", self.text, re.DOTALL | re.MULTILINE)
        self.prose = re.sub(r"^```.*?^```$", "", self.text, flags=re.DOTALL | re.MULTILINE)

    def links(self) -> list[tuple[Path, str]]:
        """Return where the links lead that stay in the project: a file, and a heading in it or nothing."""
        targets = re.findall(r"\]\(([^)]+)\)", self.prose)
        local = [target.partition("#") for target in targets if not target.startswith("https://")]
        return [((self.path.parent / path).resolve() if path else self.path, heading) for path, _, heading in local]

    def anchors(self) -> set[str]:
        """Return what the headings are called in links."""
        headings = re.findall(r"^#+ (.*)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    def names_of_files(self) -> list[tuple[Path, str]]:
        """Return the names that stand right behind a module, be it a link or not, each with that module."""
        links = re.findall(rf"\]\(([^)]+\.py)\)((?:,?\s+`{NAME}`)+)", self.prose)
        plain = re.findall(rf"`(\w+\.py)`(?: \|)?((?:,?\s+`(?!\w+\.py`){NAME}`)+)", self.prose)
        found = [((self.path.parent / path).resolve(), names) for path, names in links]
        found += [(path, names) for module, names in plain for path in (ROOT / "raft_threads").rglob(module)]
        return [(path, name) for path, names in found for name in re.findall(rf"`({NAME})`", names)]

    def spans(self) -> list[str]:
        """Return everything in backticks outside of boxes."""
        return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", self.prose)]

    def shell_lines(self) -> list[str]:
        """Return the lines of all boxes that are typed into a shell and start Python, or set a variable for that."""
        typed = re.compile(r"(?!-> )(?:.*[ ;&|])?(?:python3|python|\.venv/bin/python) |[A-Z]+=\S+$")
        lines = [line for language, box in self.boxes if not language for line in box.splitlines()]
        return [line for line in (re.sub(r"^\$ ", "", line) for line in lines) if typed.match(line)]

    def commands(self) -> list[str]:
        """Return the commands in the prose."""
        return [span for span in self.spans() if re.match(r"(?:python3?|\.venv/bin/python|run_demo\.py) ", span)]

    def answers(self) -> list[Answer]:
        """Return each box of Python with the box after it."""
        return [
            Answer(code, output)
            for (language, code), (_, output) in zip(self.boxes, [*self.boxes[1:], ("", "")])
            if language == "python"
        ]

    def stops(self) -> list[Stop]:
        """Return each box of pdb with the command in the box before it."""
        return [
            Stop(command.strip(), box.splitlines())
            for (_, command), (language, box) in zip(self.boxes, self.boxes[1:])
            if language == "pdb"
        ]


def chosen_tests(file: str, word: str) -> list[Callable[..., None]]:
    """Return the tests that `python -m pytest FILE -k WORD` runs."""
    module = importlib.import_module(Path(file).stem)
    assert (ROOT / file).samefile(str(module.__file__))
    return [test for name, test in vars(module).items() if name.startswith("test_") and word in name]


PAGES = [Page(path) for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))]
INDEX = Page(ROOT / "docs" / "companion" / "README.md")
