"""What an entry does, in a few characters: for pictures of logs, for the demo, for diagrams."""

from __future__ import annotations

import json

from raft_threads.configuration import Configuration, parse_configuration
from raft_threads.log import CONFIGURATION, NO_OP, REGISTER, SESSION_COMMAND, LogEntry
from raft_threads.sessions import parse_session_command

LONGEST_COMMAND = 12


def command_text(entry: LogEntry) -> str:
    """Return what an entry does, in a few characters: a command of the key-value store as `x=1`, others as they are.

    In a session its number comes first, `#2 x=1` (§8). A configuration is told by its servers, `C n1 n2`, and C_old,new
    by both sets, `C n1+n1 n2` (§6).
    """
    if entry.kind in (NO_OP, REGISTER):
        return "no-op" if entry.kind == NO_OP else "register"
    if entry.kind == CONFIGURATION:
        return f"C {configuration_text(parse_configuration(entry.command))}"
    if entry.kind == SESSION_COMMAND and (numbered := parse_session_command(entry.command)) is not None:
        return shortened(f"#{numbered.sequence} {store_command_text(numbered.command)}", LONGEST_COMMAND)
    return shortened(store_command_text(entry.command), LONGEST_COMMAND)


def store_command_text(body: bytes) -> str:
    """Return what a command of the key-value store does; what is none, as it is."""
    try:
        command = json.loads(body)
        operation, key, value = command["op"], command["key"], command.get("value")
        forms = {
            "put": f"{key}={value}",
            "append": f"{key}+={value}",
            "cas": f"{key}:={value}?",
            "delete": f"del {key}",
            "increment": f"{key}{command.get('by', 0):+}",
        }
        return printable(forms.get(operation, f"{operation} {key}"))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return printable(body.decode("utf-8", "backslashreplace"))


def configuration_text(configuration: Configuration) -> str:
    """Return the servers of a configuration: `n1 n2`, and in joint consensus `n1 n2+n2 n3` (§6)."""
    sets = [configuration.members, *([configuration.new_members] if configuration.new_members is not None else [])]
    return "+".join(" ".join(member.id for member in members) or "nobody" for members in sets)


def printable(text: str) -> str:
    """Return `text` in one line that a terminal can show: what it cannot is written as Python does, as `\\n`."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def shortened(text: str, length: int) -> str:
    """Return `text`, cut to `length` characters if it is longer."""
    return text if len(text) <= length else text[: max(0, length - 1)] + "…"
