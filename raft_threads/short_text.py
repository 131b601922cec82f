"""What an entry does, in a few characters: for pictures of logs, for the demo, for diagrams."""

from __future__ import annotations

import json

from raft_threads.log import COMMAND, LogEntry

LONGEST_COMMAND = 12


def command_text(entry: LogEntry) -> str:
    """Return what an entry does, in a few characters: a command of the key-value store as `x=1`, others as they are."""
    if entry.kind != COMMAND:
        return "no-op"
    try:
        command = json.loads(entry.command)
        operation, key, value = command["op"], command["key"], command.get("value")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return shortened(printable(entry.command.decode("utf-8", "backslashreplace")), LONGEST_COMMAND)
    forms = {"put": f"{key}={value}", "append": f"{key}+={value}", "cas": f"{key}:={value}?", "delete": f"del {key}"}
    return shortened(printable(forms.get(operation, f"{operation} {key}")), LONGEST_COMMAND)


def printable(text: str) -> str:
    """Return `text` in one line that a terminal can show: what it cannot is written as Python does, as `\\n`."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def shortened(text: str, length: int) -> str:
    """Return `text`, cut to `length` characters if it is longer."""
    return text if len(text) <= length else text[: max(0, length - 1)] + "…"
