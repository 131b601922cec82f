"""Servers without threads, and what happens to them step by step: plain states, and the rules called on them (Fig. 2).

A step tells what it did in a sentence. The same steps played again do the same.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Callable, Optional, Protocol

from raft_threads import election, replication
from raft_threads.log import Log, LogEntry
from raft_threads.messages import AppendEntries, RequestVote
from raft_threads.state import Role, SafetyViolation, State

MAX_BYTES = 100_000
# Of those that a better log decides; else there would be hardly anything but those.
SHARE_OF_HOPELESS_ELECTIONS_LEFT_OUT = 0.7


class Step(Protocol):
    """Something that may happen to servers."""

    def play(self, history: History) -> Optional[str]:
        """Have it happen; return what happened in a sentence, None if nothing can or does."""


@dataclass
class History:
    """What has happened to `servers` so far, in sentences, and how they are now."""

    servers: Sequence[str]
    states: dict[str, State] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    # Each AppendEntries that was sent, with its receiver: a network may bring it again.
    sent: list[tuple[str, AppendEntries]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for server in self.servers:
            self.states[server] = State(server, self.servers)

    def play(self, step: Step) -> bool:
        """Play `step`, and have all servers apply what they know to be committed; return whether it could be."""
        sentence = step.play(self)
        if sentence is None:
            return False
        self.told.append(sentence)
        for state in self.states.values():
            replication.record_applied(state, max(state.last_applied, state.commit_index))
        return True

    def leaders(self) -> list[State]:
        """Return those who take themselves for leaders."""
        return [state for state in self.states.values() if leads(state)]

    def terms(self) -> dict[str, tuple[int, ...]]:
        """Return the row of terms in each log."""
        return {server: terms_of(state.log) for server, state in self.states.items()}


def terms_of(log: Log) -> tuple[int, ...]:
    """Return the terms of a log's entries, as Fig. 7 writes them."""
    return tuple(entry.term for entry in log.all_entries())


def leads(state: State) -> bool:
    """Return whether a server takes itself for the leader."""
    return state.role is Role.LEADER


def save(state: State) -> None:
    """Have the disk take all that it should hold; a leader counts itself then."""
    state.saved_term_and_vote = state.term_and_vote
    state.log.saved_start_index = state.log.start.last_included_index
    state.log.mark_saved(state.log.last_index, state.log.last_term)
    replication.record_own_disk(state)


def disk_of(state: State) -> tuple[int, Optional[str], list[LogEntry]]:
    """Return what is there after a crash: term, vote and log (Fig. 2, "Persistent state")."""
    return state.current_term, state.voted_for, state.log.all_entries()


@dataclass(frozen=True)
class Stand:
    """`candidate` stands for election, and asks `voters` (§5.2)."""

    candidate: str
    voters: tuple[str, ...]

    def play(self, history: History) -> Optional[str]:
        """A leader does not stand."""
        state = history.states[self.candidate]
        if leads(state):
            return None
        election.begin_election(state)
        save(state)
        election.become_leader_if_elected(state)
        term, answers = state.current_term, []
        for voter in self.voters:
            request = election.vote_request(state)
            if election.awaits_vote_of(state, voter):
                answers.append(self.ask(history, voter, request))
        save(state)
        outcome = f"It leads term {term}." if leads(state) else "It does not lead."
        return f"{self.candidate} stands for term {term}: {', '.join(answers)}. {outcome}"

    def ask(self, history: History, voter: str, request: RequestVote) -> str:
        """Ask one voter; return what it says."""
        reply = election.handle_request_vote(history.states[voter], request)
        save(history.states[voter])
        election.handle_request_vote_reply(history.states[self.candidate], voter, request, reply)
        if reply.vote_granted:
            return f"{voter} votes for it"
        return f"{voter} does not" + (f", being in term {reply.term}" if reply.term > request.term else "")


@dataclass(frozen=True)
class Command:
    """A client gives `leader` a command, which it appends to its log (§5.3)."""

    leader: str

    def play(self, history: History) -> Optional[str]:
        """Only a leader takes it."""
        state = history.states[self.leader]
        if not leads(state):
            return None
        entry = replication.append_command(state, b"%s's" % self.leader.encode())
        save(state)
        return f"{self.leader} takes a command: its entry {entry.index}."


@dataclass(frozen=True)
class Send:
    """`leader` sends `follower` at most so many `entries`, after as many refusals as it takes (§5.3)."""

    leader: str
    follower: str
    entries: int

    def play(self, history: History) -> Optional[str]:
        """Without anything to send it is a heartbeat."""
        leading, following = history.states[self.leader], history.states[self.follower]
        if not leads(leading):
            return None
        committed = leading.commit_index, following.commit_index
        for _ in range(leading.log.last_index + 2):
            request = replication.append_entries_request(leading, self.follower, self.entries, MAX_BYTES)
            history.sent.append((self.follower, request))
            reply = replication.handle_append_entries(following, request)
            save(following)
            replication.handle_append_entries_reply(leading, self.follower, request, reply)
            if reply.success:
                news = commitments((self.leader, self.follower), committed, (leading, following))
                return f"{self.leader} sends {self.follower} {contents_of(request)}{news}."
            if not leads(leading):
                return f"{self.leader} sends {self.follower} a message, hears of term {reply.term} and steps down."
        return f"{self.leader} sends {self.follower} messages, and each is refused."


def contents_of(request: AppendEntries) -> str:
    """Return which entries a message carries."""
    first, last = request.prev_log_index + 1, replication.last_new_index(request)
    if first > last:
        return "a heartbeat"
    return f"entry {first}" if first == last else f"entries {first} to {last}"


def commitments(names: Sequence[str], before: Sequence[int], states: Sequence[State]) -> str:
    """Return which servers know of more committed entries than `before`, if any."""
    news = [
        f"{name} now knows that all up to {state.commit_index} is committed"
        for name, index, state in zip(names, before, states)
        if state.commit_index > index
    ]
    return "".join(f"; {text}" for text in news)


@dataclass(frozen=True)
class Again:
    """The AppendEntries that was sent as number `position` arrives once more; nobody hears the answer (§5.5)."""

    position: int

    def play(self, history: History) -> Optional[str]:
        """There must have been so many."""
        if self.position >= len(history.sent):
            return None
        follower, request = history.sent[self.position]
        replication.handle_append_entries(history.states[follower], request)
        save(history.states[follower])
        return (
            f"A message that {request.leader_id} sent in term {request.term} reaches {follower} once more, "
            f"with {contents_of(request)}."
        )


@dataclass(frozen=True)
class Restart:
    """`server` crashes, and is back with what its disk holds (§5.5)."""

    server: str

    def play(self, history: History) -> Optional[str]:
        """Always possible."""
        term, vote, entries = disk_of(history.states[self.server])
        state = State(self.server, history.servers, term, vote, Log(entries))
        save(state)
        history.states[self.server] = state
        return f"{self.server} crashes and restarts."


def draw_step(dice: random.Random, history: History, weights: dict[str, int]) -> Step:
    """Return a step at random, of the kinds in `weights`: "stand", "command", "send", "one", "again", "restart"."""
    servers = list(history.servers)
    makers: dict[str, Callable[[], Step]] = {
        "stand": lambda: draw_election(dice, history),
        "command": lambda: Command(dice.choice(leaders)),
        "send": lambda: draw_send(dice, dice.choice(leaders), servers, 9),
        "one": lambda: draw_send(dice, dice.choice(leaders), servers, 1),
        "again": lambda: Again(dice.randrange(1 + len(history.sent))),
        "restart": lambda: Restart(dice.choice(servers)),
    }
    leaders = [state.id for state in history.leaders()]
    kinds = [kind for kind in weights if leaders or kind in ("stand", "again", "restart")]
    return makers[dice.choices(kinds, [weights[kind] for kind in kinds])[0]]()


def draw_election(dice: random.Random, history: History) -> Stand:
    """Return an election with so many voters that it may be won; mostly not one that terms or logs are sure to decide.
    """
    states = list(history.states.values())
    candidate, *voters = dice.sample(states, 1 + len(states) // 2)
    too_old = any(voter.current_term > candidate.current_term + 1 for voter in voters)
    worse = any(last_entry(voter) > last_entry(candidate) for voter in voters)
    if too_old or (worse and dice.random() < SHARE_OF_HOPELESS_ELECTIONS_LEFT_OUT):
        return draw_election(dice, history)
    return Stand(candidate.id, tuple(sorted(voter.id for voter in voters)))


def last_entry(state: State) -> tuple[int, int]:
    """Return the term and the index of a log's last entry."""
    return state.log.last_term, state.log.last_index


def draw_send(dice: random.Random, leader: str, servers: Sequence[str], entries: int) -> Send:
    """Return a message to some follower."""
    return Send(leader, dice.choice([server for server in servers if server != leader]), entries)


def draw_history(dice: random.Random, servers: Sequence[str], steps: int, weights: dict[str, int]) -> History:
    """Return sound servers to which so many steps have happened."""
    history = History(servers)
    while len(history.told) < steps:
        history.play(draw_step(dice, history, weights))
    return history


# What servers that lack a rule may run into, besides the properties of Fig. 3: they stop, or refuse to go on.
ACCIDENTS = (SafetyViolation, ValueError, IndexError, KeyError, AssertionError)
