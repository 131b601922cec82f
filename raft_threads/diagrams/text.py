"""Draw a space-time diagram as text: a column for each server, a line for each event, for the terminal and for grep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable, Optional

from raft_threads import events, surroundings
from raft_threads.diagrams.run import Run, server_of
from raft_threads.diagrams.space_time import Window, cuts, text_of_cut
from raft_threads.diagrams.words import entries_text, label_of, line_of_message
from raft_threads.events import Event
from raft_threads.journeys import Journey
from raft_threads.short_text import printable, shortened
from raft_threads.state import Role

LETTERS = {Role.FOLLOWER: "F", Role.CANDIDATE: "C", Role.LEADER: "L"}

# From so many lines on, messages of no effect share one.
MANY = 3
# What is said of records that have no label beside a lane; of those with neither, nothing is said.
_SENTENCES: dict[type[Any], Callable[[Any], str]] = {
    events.Applied: lambda e: f"applies {entries_text((e.entry,))}",
    events.LeaderRecognized: lambda e: f"follows {e.leader}",
    events.VoteReceived: lambda e: f"{'has the vote' if e.granted else 'does not have the vote'} of {e.voter}",
    events.MessageDropped: lambda e: f"has no answer of {e.peer}: {e.reason}",
    events.PeerUnreachable: lambda e: f"cannot reach {e.peer} any more",
    events.PeerReachable: lambda e: f"reaches {e.peer} again",
    surroundings.MessageLost: lambda e: f"{e.sender}->{e.receiver} message {e.message_id} is lost: {e.reason}",
    surroundings.MessageDuplicated: lambda e: f"{e.sender}->{e.receiver} message {e.message_id} is duplicated",
}
_MESSAGES = (events.MessageSent, events.MessageReceived, events.ReplySent, events.ReplyReceived)


def draw_text(run: Run, window: Window = Window(), width: Optional[int] = None) -> list[str]:
    """Return the lines of a diagram of `window`, each cut to `width` characters if that is given."""
    lines = [printable(line) for line in _Table(run, window).lines()]
    return lines if width is None else [shortened(line, width) for line in lines]


class _Table:
    """Goes through the records, and knows which servers run."""

    def __init__(self, run: Run, window: Window) -> None:
        self._run = run
        self._window = window
        highest = max((record.state.term for record in run.records if isinstance(record, Event)), default=0)
        self._widths = {server: max(len(server), 1 + len(str(highest))) for server in run.servers}
        self._running: set[str] = set()
        self._stopped: set[str] = set()
        self._network = {position: text_of_cut(cut, run.servers) if cut else "healed" for position, cut in cuts(run)}
        self._journeys: dict[int, Journey] = {}
        for journey in run.journeys:
            for position in (None if journey.again else journey.sent, journey.received):
                if position is not None:
                    self._journeys[position] = journey
        # Where a message is given up; the line of its sending says so already.
        self._given_up = {journey.lost for journey in run.journeys}

    def lines(self) -> Iterator[str]:
        """Return the heading, and a line for each record, or for several of no effect that follow each other."""
        names = "  ".join(server.ljust(width) for server, width in self._widths.items())
        yield f"  seconds  {names}".rstrip()
        quiet: list[tuple[Journey, str]] = []
        place = ""
        for position, record in enumerate(self._run.records):
            self._note_what_runs(record)
            text = self._text(position, record) if self._window.holds(self._run.seconds[position]) else None
            if text is None:
                continue
            line = self._line(self._run.seconds[position], record, text)
            if position in self._journeys and self._run.is_quiet(self._journeys[position]):
                place = place if quiet else self._line(self._run.seconds[position], None, "")
                quiet.append((self._journeys[position], line))
                continue
            yield from _of_no_effect(quiet, place)
            quiet = []
            yield line
        yield from _of_no_effect(quiet, place)

    def _note_what_runs(self, record: Any) -> None:
        server = server_of(record)
        if server is None:
            return
        if isinstance(record, (events.Stopped, surroundings.Crashed)):
            self._stopped.add(server)
        elif isinstance(record, events.Restarted):
            self._stopped.discard(server)
        self._running = self._running - {server} if server in self._stopped else self._running | {server}

    def _line(self, second: float, record: Any, text: str) -> str:
        acting = None if record is None else server_of(record)
        cells = []
        for server, width in self._widths.items():
            cell = "|" if server in self._running else ""
            if server == acting and server in self._running and isinstance(record, Event):
                cell = f"{LETTERS[record.state.role]}{record.state.term}"
            cells.append(cell.ljust(width))
        return f"{second:9.6f}  {'  '.join(cells)}  {text}"

    def _text(self, position: int, record: Any) -> Optional[str]:
        """Return what is said of `record`; None for those that would only repeat what others say."""
        if position in self._network:
            return f"~~~ {self._network[position]} ~~~"
        if isinstance(record, _MESSAGES):
            return f"{record.server} {self._arrow(position, record)}"
        if isinstance(record, (events.MessageDropped, surroundings.MessageLost)) and position in self._given_up:
            return None
        label, sentence = label_of(record), _SENTENCES.get(type(record))
        said = sentence(record) if sentence is not None else label.text if label is not None else None
        server = server_of(record)
        return said if said is None or server is None else f"{server} {said}"

    def _arrow(self, position: int, record: Any) -> str:
        if isinstance(record, (events.MessageSent, events.ReplySent)):
            journey = self._journeys[position]
            lost = "" if journey.lost is None else f"  LOST: {journey.reason}"
            return f"->{journey.receiver} {line_of_message(journey.reply or journey.message)}{lost}"
        journey = self._journeys[position]
        again = "  AGAIN" if journey.again else ""
        return f"<-{journey.sender} {line_of_message(journey.reply or journey.message)}{again}"


def _of_no_effect(quiet: list[tuple[Journey, str]], place: str) -> list[str]:
    """Return the lines for messages that change nothing: one for all of them, after `place`, if they are many."""
    if len(quiet) < MANY:
        return [line for _, line in quiet]
    return [f"{place}... {len({journey for journey, _ in quiet})} messages of no effect"]
