"""Files that are written after minutes of work, and options that name them."""

from __future__ import annotations

import argparse
from pathlib import Path


def refuse_unwritable(parser: argparse.ArgumentParser, option: str, path: Path) -> None:
    """Exit with 2 if `path`, which `option` names, cannot be written: now, and not when all is done.

    Leaves no file behind that was not there.
    """
    is_new = not path.exists()
    try:
        open(path, "a").close()
        if is_new:
            path.unlink()
    except OSError as error:
        parser.error(f"cannot write {path}: {error.strerror}; name another file with {option}")
