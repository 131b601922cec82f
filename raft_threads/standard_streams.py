"""What a program does without a terminal: its output cannot be written, its reader has gone, or there is none."""

from __future__ import annotations

import errno
import os
import sys
from typing import Callable

FAILED = 1
# A disk is full, or broken; errors in writing do not name the file.
_CANNOT_BE_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def run_and_flush(program: str, run: Callable[[], int], reader_has_gone: int) -> int:
    """Return the exit code that `run` returns, `reader_has_gone` when nobody reads its output any more (as after
    `| head`), and 1 when that cannot be written, which `program` complains of in a line.
    """
    stand_in_for_closed_streams()
    try:
        try:
            return run()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        forget_the_rest()
        return reader_has_gone
    except OSError as error:
        if error.errno not in _CANNOT_BE_WRITTEN:
            raise
        forget_the_rest()
        print(f"{program}: {complaint_about(error)}", file=sys.stderr)
        return FAILED


def complaint_about(error: OSError) -> str:
    """Return what to say of a file, or of the output. That a reader has gone is no complaint: raises `error` again."""
    if isinstance(error, BrokenPipeError):
        raise error
    return f"{error.filename or 'cannot write'}: {error.strerror or error}"


def stand_in_for_closed_streams() -> None:
    """Where a stream was closed by who started us, have an empty one: `<&-`, `>&-`, `2>&-`."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")


def forget_the_rest() -> None:
    """Drop what is not written yet; else the interpreter tries again at its end, and complains."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
