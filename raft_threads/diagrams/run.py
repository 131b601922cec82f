"""What a diagram needs to know of a whole run, beyond its records: times, journeys, and what changed nothing (§5.2)."""

from __future__ import annotations

from typing import Optional

from raft_threads.diagrams.words import is_heartbeat, is_refusal
from raft_threads.events import ElectionTimerSet, Event, Glimpse, MessageReceived, ReplyReceived
from raft_threads.journeys import Journey, find_journeys
from raft_threads.surroundings import Record, Surrounding
from raft_threads.trace import Header, Trace


class Run:
    """A trace, with what follows from all of it. Positions are those of its records, the first being 0."""

    def __init__(self, trace: Trace) -> None:
        self.header: Header = trace.header
        self.records: list[Record] = trace.records
        self.seconds = _seconds_since_the_start(trace.records)
        self.journeys: list[Journey] = find_journeys(trace.records)
        self._lost_again = _lost_again(self.journeys)
        self._idle = _receipts_that_change_nothing(trace.records)

    @property
    def servers(self) -> list[str]:
        """The cluster's servers, in the header's order, and any other that the records speak of."""
        names = dict.fromkeys(self.header.servers)
        for record in self.records:
            name = server_of(record)
            if name is not None:
                names.setdefault(name)
        for journey in self.journeys:
            names.setdefault(journey.sender)
            names.setdefault(journey.receiver)
        return list(names)

    def second_of(self, position: int) -> float:
        """Return when a record was made, in seconds since the first one."""
        return self.seconds[position]

    def is_quiet(self, journey: Journey) -> bool:
        """Return whether a message is of no effect: a heartbeat that changes nothing, or the answer to one.

        Most messages are. So is one that is lost just as it was lost before.
        """
        if journey in self._lost_again:
            return True
        if not is_heartbeat(journey.message) or (journey.reply is not None and is_refusal(journey.reply)):
            return False
        return journey.received is None or journey.received in self._idle


def server_of(record: Record) -> Optional[str]:
    """Return the server that `record` is about, None if it is about several."""
    if isinstance(record, (Event, Surrounding)):
        name: Optional[str] = getattr(record, "server", None)
        return name
    return None


def _seconds_since_the_start(records: list[Record]) -> list[float]:
    """Return the time of each record. It never goes back: servers' clocks may differ, and the trace's order counts."""
    seconds: list[float] = []
    latest = 0.0
    for record in records:
        latest = max(latest, record.when - records[0].when)
        seconds.append(latest)
    return seconds


def _receipts_that_change_nothing(records: list[Record]) -> set[int]:
    """Return the positions where a message was handled and the state of its receiver stayed as it was.

    An election timer is set in the midst of a step, so that its record shows the change before the message's does.
    """
    idle: set[int] = set()
    states: dict[str, Glimpse] = {}
    for position, record in enumerate(records):
        if not isinstance(record, Event) or isinstance(record, ElectionTimerSet):
            continue
        if isinstance(record, (MessageReceived, ReplyReceived)) and states.get(record.server) == record.state:
            idle.add(position)
        states[record.server] = record.state
    return idle



def _lost_again(journeys: list[Journey]) -> set[Journey]:
    """Return the messages that repeat the one before them between the same servers, when both were lost."""
    repeats: set[Journey] = set()
    before: dict[tuple[str, str], Journey] = {}
    for journey in journeys:
        previous = before.get((journey.sender, journey.receiver))
        before[journey.sender, journey.receiver] = journey
        if previous is not None and journey.lost is not None and previous.lost is not None:
            if (journey.message, journey.reply) == (previous.message, previous.reply):
                repeats.add(journey)
    return repeats
