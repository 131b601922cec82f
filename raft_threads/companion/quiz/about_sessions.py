"""Commands that are sent again: what a session makes of them (§8; Diss. §6.3)."""

from __future__ import annotations

import random
from typing import Optional

from raft_threads import kv, sessions
from raft_threads.companion.quiz.answers import Number
from raft_threads.companion.quiz.question import Block, Question, Rule
from raft_threads.kv import KeyValueStore
from raft_threads.log import COMMAND, REGISTER, SESSION_COMMAND, LogEntry
from raft_threads.sessions import Sessions, session_command

FEWEST, MOST = 4, 7
TERM = 1
CLIENTS = ("A", "B")


class Client:
    """A client that numbers its commands, and may send each of them again."""

    def __init__(self, name: str, client_id: int) -> None:
        self.name = name
        self.id = client_id
        self.sent: list[tuple[int, int, int]] = []

    def draw_command(self, dice: random.Random) -> tuple[int, int, int]:
        """Return a number, how much to add, and the first number without an answer: of a new command or an old one."""
        if not self.sent or dice.random() < 0.5:
            sequence = 1 + max((number for number, _, _ in self.sent), default=0)
            self.sent.append((sequence, dice.randint(1, 4), dice.choice((1, sequence))))
            return self.sent[-1]
        return dice.choice(self.sent)


def what_is_the_counter(dice: random.Random) -> Question:
    """Ask for the value of a counter after a log with repeated commands."""
    entries, lines = draw_log(dice)
    values, results = apply_all(entries)
    table = [f"{line:44}{result}" for line, result in zip(lines, results)]
    why: list[Block] = ["Each entry, and what the servers answer when they apply it:", table]
    return Question(
        [
            "Clients A and B increment the counter x, which is absent at first (0). This is the log, all of it "
            "committed; an answer may get lost, and a client sends the command again then. 'first open' is the first "
            "number to which the client has no answer yet.",
            lines,
            "What is x when all of it is applied?",
        ],
        Number(values[-1]),
        why,
        [
            Rule(sessions.remembered_reply, "§8"),
            Rule(sessions.can_be_executed, "Diss. §6.3"),
            Rule(Sessions.apply, "§8"),
        ],
    )


def draw_log(dice: random.Random) -> tuple[list[LogEntry], list[str]]:
    """Return a log in which clients open sessions and use them, and now and then do without; and it in words."""
    entries = [LogEntry(index, TERM, REGISTER) for index in (1, 2)]
    lines = [f"{index}  client {name} opens a session" for index, name in enumerate(CLIENTS, 1)]
    clients = [Client(name, index) for index, name in enumerate(CLIENTS, 1)]
    repeated = False
    while len(entries) < 2 + FEWEST or (not repeated and len(entries) < 2 + MOST):
        index, client = len(entries) + 1, dice.choice(clients)
        if dice.random() < 0.2:
            by = dice.randint(1, 4)
            entries.append(LogEntry(index, TERM, COMMAND, kv.increment_command("x", by)))
            lines.append(f"{index}  without a session: x+{by}")
            continue
        known = len(client.sent)
        sequence, by, first = client.draw_command(dice)
        repeated = repeated or len(client.sent) == known
        body = session_command(client.id, sequence, first, kv.increment_command("x", by))
        entries.append(LogEntry(index, TERM, SESSION_COMMAND, body))
        lines.append(f"{index}  client {client.name} #{sequence}: x+{by}  (first open: #{first})")
    return entries, lines


def apply_all(entries: list[LogEntry]) -> tuple[list[int], list[str]]:
    """Return the counter after each entry, and what is answered."""
    store = KeyValueStore()
    layer = Sessions(store)
    values, told = [], []
    before = 0
    for entry in entries:
        reply = layer.apply(entry)
        values.append(int(store.items.get("x", "0")))
        told.append(result_of(entry, reply, values[-1] != before))
        before = values[-1]
    return values, told


def result_of(entry: LogEntry, reply: Optional[bytes], executed: bool) -> str:
    """Return in words what applying an entry did."""
    if entry.kind == REGISTER:
        return f"its id is {entry.index}"
    if reply is None:
        return "not executed: the client has its answer"
    value = kv.decode_result(reply)["value"]
    return f"executed: {value}" if executed else f"not executed again: the answer is remembered, {value}"
