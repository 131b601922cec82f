"""Notes on exceptions: what a traceback alone does not tell."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)


def add_note(error: BaseException, note: str) -> None:
    """Have `note` shown below `error`. Before Python 3.11 only pytest shows notes; so it is logged as well."""
    if hasattr(error, "add_note"):
        error.add_note(note)
    else:
        error.__notes__ = [*getattr(error, "__notes__", []), note]
        logger.error("%s: %s", type(error).__name__, note)
