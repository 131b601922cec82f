"""Everything that can happen to a few servers, within bounds: each situation, and the shortest way to it (Fig. 3).

A step is an election that is won, a command that a leader takes, or entries that a follower takes over. Each is worked
out by the rules themselves, once for each case and then remembered. Votes in vain, lost messages and crashes lead to no
other logs: whoever could do something after them could do it before. Servers have no names here, so situations that
differ by names only count as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from itertools import combinations
from typing import Callable, NamedTuple, Optional

from raft_threads import election, replication
from raft_threads.companion.quiz.breaks import Break, left_out
from raft_threads.companion.quiz.history import MAX_BYTES, terms_of
from raft_threads.companion.quiz.pictures import log_of
from raft_threads.state import Role, State

Terms = tuple[int, ...]

ELECTED = "is elected for term {number} by {others}, and opens it with an entry"


class Server(NamedTuple):
    """What counts of a server: that it leads, if it does, and the terms in its log."""

    current_term: int
    leads: bool
    log: Terms


Situation = tuple[Server, ...]


class Bounds(NamedTuple):
    """How far to go: terms and entries in a log."""

    terms: int
    entries: int


class Step(NamedTuple):
    """What one server did, and the others that took part; `number` is a term or an index."""

    verb: str
    server: int
    others: tuple[int, ...]
    number: int

    def told(self) -> str:
        """Return the step as a sentence."""
        others = " and ".join(f"S{other + 1}" for other in self.others)
        return f"S{self.server + 1} {self.verb.format(others=others, number=self.number)}."


class Reached(NamedTuple):
    """A situation, and how it came about: from which other one, by which step."""

    situation: Situation
    before: Optional[Situation]
    step: Optional[Step]


def nameless(situation: Situation) -> Situation:
    """Return what is the same for all situations that differ by names only."""
    return tuple(sorted(situation))


def logs_of(situation: Situation) -> tuple[Terms, ...]:
    """Return the logs in it, in an order that does not depend on names."""
    return tuple(sorted(server.log for server in situation))


def state_of(server: Server, name: str, names: tuple[str, ...]) -> State:
    """Return the state behind `server`; its vote of this term is gone, whoever had it."""
    state = State(name, names, server.current_term, name, log_of(server.log))
    if server.leads:
        state.role = Role.CANDIDATE
        election.become_leader(state)
        state.log.delete_from(state.log.last_index)
    return state


def seen(state: State) -> Server:
    """Return what counts of `state`."""
    return Server(state.current_term, state.role is Role.LEADER, terms_of(state.log))


def elect(candidate: Server, voters: tuple[Server, ...], term: int) -> Optional[Situation]:
    """Return what becomes of the candidate and the voters if it stands for `term`; None if it does not win.

    It may have stood for the terms before in vain. There are as many servers as make the voters just enough.
    """
    names = tuple(f"S{number}" for number in range(2 * len(voters) + 1))
    state = state_of(candidate._replace(current_term=term - 1, leads=False), names[0], names)
    election.begin_election(state)
    after = []
    for voter, name in zip(voters, names[1:]):
        voting = state_of(voter, name, names)
        request = election.vote_request(state)
        reply = election.handle_request_vote(voting, request)
        election.handle_request_vote_reply(state, name, request, reply)
        after.append(seen(voting))
    return (seen(state), *after) if state.role is Role.LEADER else None


def take_command(leader: Server) -> Server:
    """Return what becomes of a leader that takes a command."""
    state = state_of(leader, "S1", ("S1",))
    replication.append_command(state, b"")
    return seen(state)


def send(leader: Server, follower: Server, first: int, last: int) -> Optional[Server]:
    """Return what becomes of a follower that is sent the entries `first` to `last`; None if it does not take them."""
    leading, following = (state_of(each, name, ("S1", "S2")) for each, name in ((leader, "S1"), (follower, "S2")))
    leading.next_index["S2"] = first
    request = replication.append_entries_request(leading, "S2", last - first + 1, MAX_BYTES)
    return seen(following) if replication.handle_append_entries(following, request).success else None


class Explorer:
    """Finds what can happen to servers, in the order of how many steps it takes."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._elect = lru_cache(maxsize=None)(elect)
        self._send = lru_cache(maxsize=None)(send)
        self._take_command = lru_cache(maxsize=None)(take_command)
        self.reached: dict[Situation, Reached] = {}

    def explore(self, start: Situation, most: Optional[int] = None) -> Iterator[Situation]:
        """Yield situation after situation, nameless, until there are no more, or `most`; `start` comes first."""
        waiting = [nameless(start)]
        self.reached = {nameless(start): Reached(start, None, None)}
        while waiting:
            later: list[Situation] = []
            for key in waiting:
                yield key
                for step, situation in self._steps_from(self.reached[key].situation):
                    name = nameless(situation)
                    if name not in self.reached and (most is None or len(self.reached) < most):
                        self.reached[name] = Reached(situation, key, step)
                        later.append(name)
            waiting = later

    def way_to(self, key: Situation) -> list[str]:
        """Return how a situation came about, a sentence for each step."""
        reached, told = self.reached[key], []
        while reached.before is not None and reached.step is not None:
            told.append(reached.step.told())
            reached = self.reached[reached.before]
        return told[::-1]

    def _steps_from(self, situation: Situation) -> Iterator[tuple[Step, Situation]]:
        for position, server in enumerate(situation):
            if len(server.log) < self._bounds.entries:
                yield from self._elections(situation, position)
            if server.leads:
                yield from self._doings_of_a_leader(situation, position)

    def _elections(self, situation: Situation, position: int) -> Iterator[tuple[Step, Situation]]:
        others = [other for other in range(len(situation)) if other != position]
        for voters in combinations(others, len(situation) // 2):
            newest = max(situation[each].current_term for each in (position, *voters))
            for term in range(newest + 1, self._bounds.terms + 1):
                after = self._elect(situation[position], tuple(situation[each] for each in voters), term)
                if after is not None:
                    step = Step(ELECTED, position, voters, term)
                    yield step, replaced(situation, (position, *voters), after)

    def _doings_of_a_leader(self, situation: Situation, position: int) -> Iterator[tuple[Step, Situation]]:
        leader = situation[position]
        if len(leader.log) < self._bounds.entries:
            step = Step("takes a command: entry {number}", position, (), len(leader.log) + 1)
            yield step, replaced(situation, (position,), (self._take_command(leader),))
        for other, follower in enumerate(situation):
            if other == position:
                continue
            for first in range(len(leader.log), 0, -1):
                for last in range(first, len(leader.log) + 1):
                    after = self._send(leader, follower, first, last)
                    if after is not None:
                        step = Step("sends {others} its entries up to {number}", position, (other,), last)
                        yield step, replaced(situation, (other,), (after,))


def replaced(situation: Situation, positions: tuple[int, ...], servers: tuple[Server, ...]) -> Situation:
    """Return `situation` with other servers at these positions."""
    changed = dict(zip(positions, servers))
    return tuple(changed.get(position, server) for position, server in enumerate(situation))


def new_cluster(servers: int) -> Situation:
    """Return so many servers to which nothing has happened."""
    return (Server(0, False, ()),) * servers


@lru_cache(maxsize=None)
def all_that_can_happen(servers: int, bounds: Bounds, broken: Optional[Break] = None) -> Explorer:
    """Return all that can happen to a new cluster, with a rule left out if one is named."""
    explorer = Explorer(bounds)
    with ExitStack() as stack:
        if broken is not None:
            stack.enter_context(left_out(broken))
        for _ in explorer.explore(new_cluster(servers)):
            pass
    return explorer


def first_where(
    explorer: Explorer, start: Situation, holds: Callable[[Situation], bool], most: int
) -> Optional[Situation]:
    """Return the nearest situation from `start` on in which something `holds`; None if none of the first `most` is."""
    return next((situation for situation in explorer.explore(start, most) if holds(situation)), None)
