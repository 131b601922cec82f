"""Joint consensus: what a majority is while the cluster changes from C_old to C_new (§6, Fig. 10 and 11)."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

from raft_threads import election, replication
from raft_threads.companion.quiz.answers import LETTERS, Choice, Number
from raft_threads.companion.quiz.history import save
from raft_threads.companion.quiz.question import Question, Rule
from raft_threads.configuration import Configuration, Member, format_configuration
from raft_threads.log import CONFIGURATION, Log, LogEntry
from raft_threads.state import Role, State

SERVERS = ("S1", "S2", "S3", "S4", "S5", "S6")
OPTIONS = 5
COMMANDS = 4
MAJORITY = Rule(Configuration.is_majority, "§6")
COUNTED = Rule(Configuration.reached_by_majority, "§6")


def what_decides_in_joint_consensus(dice: random.Random) -> Question:
    """Ask for the majorities, or for what they have stored."""
    return dice.choice((who_elects, what_is_committed))(dice)


def draw_configuration(dice: random.Random) -> Configuration:
    """Return some C_old,new with S1 in both."""
    old = ["S1", *sorted(dice.sample(SERVERS[1:], 2))]
    new = ["S1", *sorted(dice.sample(SERVERS[1:], dice.choice((2, 2, 3, 4))))]
    if sorted(old) == sorted(new):
        return draw_configuration(dice)
    return Configuration(members(old), members(new))


def members(servers: Sequence[str]) -> tuple[Member, ...]:
    """Return `servers` as members that are found without addresses."""
    return tuple(map(Member, servers))


def draw_candidate(configuration: Configuration) -> State:
    """Return S1 as a candidate whose log ends with C_old,new."""
    entry = LogEntry(1, 1, CONFIGURATION, format_configuration(configuration))
    state = State("S1", ["S1"], 1, None, Log([entry]))
    election.begin_election(state)
    save(state)
    return state


def described(configuration: Configuration) -> list[str]:
    """Return the two sets in two lines."""
    assert configuration.new_members is not None
    old, new = (" ".join(each.id for each in group) for group in (configuration.members, configuration.new_members))
    return [f"C_old = {old}", f"C_new = {new}"]


def shares(configuration: Configuration, agreeing: Collection[str]) -> str:
    """Return how many of each set agree."""
    assert configuration.new_members is not None
    told = [
        f"{sum(member.id in agreeing for member in group)} of {len(group)} in {name}"
        for name, group in (("C_old", configuration.members), ("C_new", configuration.new_members))
    ]
    return " and ".join(told)


def is_elected(configuration: Configuration, voters: Collection[str]) -> bool:
    """Return whether S1 leads once these servers, itself among them, have voted for it."""
    state = draw_candidate(configuration)
    state.votes.update(dict.fromkeys(voters, True))
    election.become_leader_if_elected(state)
    return state.role is Role.LEADER


def who_elects(dice: random.Random) -> Question:
    """Ask which sets of votes elect S1."""
    configuration = draw_configuration(dice)
    others = [server for server in configuration.servers if server != "S1"]
    sets: list[list[str]] = []
    while len(sets) < min(OPTIONS, 2 ** len(others) - 2):
        voters = ["S1", *sorted(dice.sample(others, dice.randint(1, len(others))))]
        if voters not in sets:
            sets.append(voters)
    right = frozenset(position for position, voters in enumerate(sets) if is_elected(configuration, voters))
    lines = [
        f"{letter}  {' '.join(voters)}: {shares(configuration, voters)}, "
        f"{'elected' if position in right else 'not elected'}"
        for position, (letter, voters) in enumerate(zip(LETTERS, sets))
    ]
    return Question(
        [
            "The latest entry in the log of S1 is C_old,new, committed or not:",
            described(configuration),
            "S1 stands for election. Which of these sets of votes make it the leader?",
        ],
        Choice([[" ".join(voters)] for voters in sets], right, several=True),
        ["Agreement needs a majority of C_old and a majority of C_new; who is in both counts in both:", lines],
        [MAJORITY, Rule(election.become_leader_if_elected, "§5.2, §6")],
    )


def what_is_committed(dice: random.Random) -> Question:
    """Ask for the commit_index of a leader that is in the midst of a change."""
    configuration = draw_configuration(dice)
    state = draw_candidate(configuration)
    state.votes = dict.fromkeys(configuration.servers, True)
    election.become_leader_if_elected(state)
    for _ in range(COMMANDS):
        replication.append_command(state, b"x")
    save(state)
    first = state.log.first_index_of_term(state.current_term)
    assert first is not None
    for server in configuration.servers:
        if server != "S1":
            replication.record_match(state, server, dice.choice((0, *range(first, state.log.last_index + 1))))
    replication.advance_commit_index(state)
    known = [f"{server}={state.match_index[server]}" for server in configuration.servers]
    stored_by = {
        index: [server for server, match in state.match_index.items() if match >= index]
        for index in range(first, state.log.last_index + 1)
    }
    steps = [f"entry {index}: stored by {shares(configuration, servers)}" for index, servers in stored_by.items()]
    return Question(
        [
            f"S1 leads term {state.current_term} and has brought C_old,new into its log; it is entry 1. "
            f"Entries {first} to {state.log.last_index} are of its own term.",
            [*described(configuration), "", "match_index  " + "  ".join(known)],
            "How far can S1 commit while C_old,new is in force? (0: nothing)",
        ],
        Number(state.commit_index),
        ["An entry is committed once a majority of C_old and a majority of C_new store it:", steps],
        [COUNTED, Rule(replication.advance_commit_index, "§5.3, §6")],
    )
