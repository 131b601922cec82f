"""The quiz's answers worked out in another way: from what a question shows, by counting, or from the paper (§9.1)."""

from __future__ import annotations

import random
import re
from functools import lru_cache
from itertools import combinations

import pytest
from asked import committed_in, lines_of, logs_in, numbers_after, question_about, right_answer, text_of, values_in

from raft_threads.companion.quiz import about_breaks, about_elections, about_logs
from raft_threads.companion.quiz.about_safety import lose
from raft_threads.companion.quiz.answers import Choice
from raft_threads.companion.quiz.breaks import COUNTS_OLD_TERMS, LOSING, NO_DELETION, Break, left_out
from raft_threads.companion.quiz.history import History, Restart, Send, Stand, Step, draw_step
from raft_threads.companion.quiz.pictures import log_of
from raft_threads.companion.quiz.properties import Properties
from raft_threads.configuration import Configuration
from raft_threads.server_invariants import (
    ELECTION_SAFETY,
    LEADER_COMPLETENESS,
    LOG_MATCHING,
    STATE_MACHINE_SAFETY,
)

Terms = tuple[int, ...]
Cluster = tuple[tuple[int, bool, Terms], ...]

FIGURE_7 = {
    "S1": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6),
    "S2": (1, 1, 1, 4, 4, 5, 5, 6, 6),
    "S3": (1, 1, 1, 4),
    "S4": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
    "S5": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
    "S6": (1, 1, 1, 4, 4, 4, 4),
    "S7": (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
}
FIGURE_6 = [
    (1, 1, 1, 2, 3, 3, 3, 3), (1, 1, 1, 2, 3), (1, 1, 1, 2, 3, 3, 3, 3), (1, 1), (1, 1, 1, 2, 3, 3, 3)
]


def good(log: list[int]) -> tuple[int, int]:
    """§5.4.1: what logs are compared by."""
    return (log[-1] if log else 0, len(log))


# Which logs can occur


def sound_steps(cluster: Cluster, most_terms: int, most_entries: int) -> set[Cluster]:
    """All that may happen next to three servers, by a few lines that know nothing of our rules."""
    after = set()

    def changed(**servers: tuple[int, bool, Terms]) -> None:
        after.add(tuple(sorted(servers.get(f"s{position}", each) for position, each in enumerate(cluster))))

    for one, (term, leads, log) in enumerate(cluster):
        for other, (others_term, others_leads, others_log) in enumerate(cluster):
            if one == other:
                continue
            if good(list(log)) >= good(list(others_log)) and len(log) < most_entries:
                for new in range(max(term, others_term) + 1, most_terms + 1):
                    changed(**{f"s{one}": (new, True, (*log, new)), f"s{other}": (new, False, others_log)})
            if leads and (others_term < term or not others_leads) and others_term <= term:
                agreed = next((n for n in range(len(log)) if others_log[n:n + 1] != log[n:n + 1]), len(log))
                for last in range(agreed + 1, len(log) + 1):
                    changed(**{f"s{other}": (term, False, log[:last])})
        if leads and len(log) < most_entries:
            changed(**{f"s{one}": (term, True, (*log, term))})
    return after


@lru_cache(maxsize=None)
def occurring(most_terms: int, most_entries: int) -> set[tuple[Terms, ...]]:
    """All logs that three servers can have at one moment, with terms and entries up to these."""
    cluster: Cluster = ((0, False, ()),) * 3
    seen, waiting = {cluster}, [cluster]
    while waiting:
        for following in sound_steps(waiting.pop(), most_terms, most_entries) - seen:
            seen.add(following)
            waiting.append(following)
    return {tuple(sorted(log for _, _, log in each)) for each in seen}


def test_the_logs_that_can_occur_are_found_by_a_search_without_our_rules_as_well() -> None:
    """§5.3, §5.4.1: 436 sets of logs for three servers; and more room for terms brings no others."""
    possible = set(about_logs.possible_logs())
    assert possible == occurring(3, 3) and len(possible) == 436
    assert possible == {logs for logs in occurring(4, 3) if max((0, *sum(logs, ()))) <= 3}
    assert not possible & set(about_logs.impossible_logs())


def test_log_matching_holds_wherever_logs_can_occur() -> None:
    """Fig. 3."""
    for logs in about_logs.possible_logs():
        for one, other in combinations(logs, 2):
            for index in range(min(len(one), len(other))):
                assert one[index] != other[index] or one[:index] == other[:index], logs


def test_whatever_cannot_occur_has_a_reason_and_only_that() -> None:
    """The reasons are those of §5.2, §5.3 and §5.4.1, and each of them is needed."""
    dice = random.Random(1)
    reasons = {
        about_logs.reason_for(logs)[2] for logs in dice.sample(about_logs.impossible_logs(), 100)
    }
    assert reasons == {
        about_logs.CONSISTENCY_CHECK, about_logs.ONE_VOTE, about_logs.RESTRICTION, about_logs.LEADERS_TERM
    }
    assert all(about_logs.reason_for(logs)[2] is None for logs in dice.sample(list(about_logs.possible_logs()), 100))


@pytest.mark.parametrize("number", range(8))
def test_a_picture_of_logs_is_right_if_the_search_has_them(number: int) -> None:
    """The options as they are drawn."""
    question = question_about("logs", number)
    assert isinstance(question.answers, Choice)
    pictures = [logs_in(option) for option in question.answers.options]
    rows = [tuple(sorted(tuple(row) for row in picture.values())) for picture in pictures]
    found = {position for position, logs in enumerate(rows) if logs in occurring(3, 3)}
    assert question.answers.right == found


# Which entries are safe


@pytest.mark.parametrize(
    "logs, prefix, is_lost",
    [
        ([(1, 2, 4), (1, 2), (1, 2), (1,), (1, 3)], (1, 2), True),  # Fig. 8 (c): on a majority, and still
        ([(1, 2, 4), (1, 2), (1, 2), (1,), (1, 3)], (1,), False),
        ([(1, 2, 4), (1, 2, 4), (1, 2, 4), (1,), (1, 3)], (1, 2, 4), False),  # (e)
        ([(1, 3), (1, 3), (1, 3), (1, 3), (1, 3)], (1, 3), False),  # (d)
        (FIGURE_6, (1, 1, 1, 2, 3, 3, 3), False),
        (FIGURE_6, (1, 1, 1, 2, 3, 3, 3, 3), True),
    ],
)
def test_the_figures_entries_are_lost_or_safe_as_the_paper_says(
    logs: list[Terms], prefix: Terms, is_lost: bool
) -> None:
    """§5.4.2, Fig. 8; Fig. 6: entries up to 7 are committed."""
    assert (lose(logs, prefix) is not None) == is_lost


@pytest.mark.parametrize("number", range(3))
def test_safe_entries_are_on_a_majority_and_the_next_can_be_overwritten(number: int) -> None:
    """§5.4.1: somebody without it can win at once, or with the log of a second one."""
    question = question_about("safe", number)
    logs = [tuple(log) for log in logs_in(lines_of(question.asked)).values()]
    safe = int(right_answer(question))
    (prefix,) = {log[:safe] for log in logs if sum(each[:safe] == log[:safe] for each in logs) >= 3} or {()}
    electable = [log for log in logs if sum(good(list(log)) >= good(list(each)) for each in logs) >= 3]
    assert len(prefix) == safe and all(log[:safe] == prefix for log in electable)
    assert len({log[:safe + 1] for log in electable} | {()}) > 1
    drawn = committed_in(lines_of(question.why))
    agreeing = {f"S{n}": sum(log[:i] == prefix[:i] for i in range(1, safe + 1)) for n, log in enumerate(logs, 1)}
    assert drawn == agreeing


# Elections


@pytest.mark.parametrize("number", range(8))
def test_who_can_win_is_found_by_comparing_all_logs(number: int) -> None:
    """§5.4.1."""
    question = question_about("election", number)
    logs = logs_in(lines_of(question.asked))
    winners = [one for one in logs if sum(good(logs[one]) >= good(logs[other]) for other in logs) >= 3]
    assert right_answer(question) == " ".join(winners)


def test_in_figure_7_a_b_e_and_f_vote_for_the_leader() -> None:
    """Fig. 7: with its own vote it has five of seven; (c) and (d) have better logs."""
    history = History(list(FIGURE_7))
    for server, terms in FIGURE_7.items():
        history.states[server].log = log_of(terms)
        history.states[server].log.begin_with(Configuration.of(FIGURE_7))
        history.states[server].current_term = 7
    assert about_elections.votes_for(history, "S1") == ["S1", "S2", "S3", "S6", "S7"]
    assert [server for server in FIGURE_7 if about_elections.wins(history, server)] == ["S1", "S2", "S4", "S5"]


@pytest.mark.parametrize("number", range(12))
def test_who_votes_is_found_from_terms_votes_and_logs(number: int) -> None:
    """Fig. 2, RequestVote RPC, receiver 1 and 2."""
    question = question_about("votes", number)
    text, logs = text_of(question), logs_in(lines_of(question.asked))
    votes = {s: (int(term), vote) for s, term, vote in re.findall(r"(S\d)  term (\d+), voted for (\w+)", text)}
    ((candidate, term),) = re.findall(r"timeout of (S\d) elapses, and it stands for term (\d+)", text)
    granting = [
        voter
        for voter, (voters_term, vote) in votes.items()
        if voter != candidate
        and (voters_term < int(term) or (voters_term == int(term) and vote == "nobody"))
        and good(logs[candidate]) >= good(logs[voter])
    ]
    assert right_answer(question) == (" ".join(granting) or "none")


# Logs


@pytest.mark.parametrize("number", range(15))
def test_a_followers_answer_is_found_by_the_letter_of_figure_2(number: int) -> None:
    """Fig. 2, AppendEntries RPC, receiver 1 to 5, with one deviation: commit_index never goes back."""
    question = question_about("follower", number)
    assert isinstance(question.answers, Choice)
    text = text_of(question)
    ((follower, current, committed),) = re.findall(r"(S\d) is in term (\d+), with commit_index (\d+)", text)
    log = logs_in(lines_of(question.asked))[follower]
    (term, prev_index, prev_term, leader_commit) = (
        numbers_after(name, text)[-1] for name in ("term", "prev_log_index", "prev_log_term", "leader_commit")
    )
    entries = [int(each) for each in re.findall(r"\d+", re.findall(r"entries \[(.*)\]", text)[0])]
    term = numbers_after("\nterm", text)[0]
    commit, length = int(committed), len(log)
    success = term >= int(current) and (prev_index == 0 or log[prev_index - 1:prev_index] == [prev_term])
    if success:
        for index, new in enumerate(entries, prev_index + 1):
            if index <= len(log) and log[index - 1] != new:
                del log[index - 1:]
            if index > len(log):
                log.append(new)
        commit = max(commit, min(leader_commit, prev_index + len(entries)))
        why = " ".join(lines_of(question.why))
        assert ("there is nothing to append" in why) == (prev_index + len(entries) <= length and "goes" not in why)
    row = " ".join(map(str, log)) or "empty"
    (right,) = question.answers.right
    expected = f"success = {str(success).lower()}; its log is {row}; commit_index is {commit}"
    assert question.answers.options[right] == [expected]


@pytest.mark.parametrize("number", range(15))
def test_a_leaders_commit_index_is_found_by_trying_each_n(number: int) -> None:
    """Fig. 2, Leaders: the largest N > commitIndex that a majority stores, with log[N].term == currentTerm."""
    question = question_about("commit", number)
    text = text_of(question)
    log = logs_in(lines_of(question.asked))["S1"]
    match = values_in(text)
    ((follower, stored),) = re.findall(r"Now (S\d) answers that it stores all up to (\d+)", text)
    match[follower] = max(match[follower], int(stored))
    (before,) = numbers_after("with commit_index", text)
    (term,) = numbers_after("S1 leads term", text)
    committed = [
        n
        for n in range(before + 1, len(log) + 1)
        if sum(at >= n for at in match.values()) >= 3 and log[n - 1] == term
    ]
    assert int(right_answer(question)) == max([before, *committed])


@pytest.mark.parametrize("number", range(12))
def test_joint_majorities_are_found_by_counting_both_sets(number: int) -> None:
    """§6."""
    question = question_about("joint", number)
    text = text_of(question)
    sets = [set(servers.split()) for servers in re.findall(r"C_(?:old|new) = (.*)", text)]
    assert len(sets) == 2
    if isinstance(question.answers, Choice):
        options = [set(option[0].split()) for option in question.answers.options]
        agreeing = {n for n, voters in enumerate(options) if all(2 * len(voters & each) > len(each) for each in sets)}
        assert question.answers.right == agreeing
    else:
        match = values_in(text)
        ((first, last),) = re.findall(r"Entries (\d+) to (\d+) are of its own term", text)
        stored = {n: {server for server, at in match.items() if at >= n} for n in range(int(first), int(last) + 1)}
        counted = [n for n, servers in stored.items() if all(2 * len(servers & each) > len(each) for each in sets)]
        assert int(right_answer(question)) == max([0, *counted])


@pytest.mark.parametrize("number", range(12))
def test_what_a_snapshot_leaves_is_found_by_the_letter_of_figure_13(number: int) -> None:
    """Fig. 13, receiver 1, 6 and 7. What is committed already we do not install again; who does is not told wrong."""
    question = question_about("snapshot", number)
    assert isinstance(question.answers, Choice)
    text, lines = text_of(question), lines_of(question.asked)
    log, committed = logs_in(lines)["S2"], committed_in(lines)["S2"]
    (current,) = numbers_after("follower, term", text)
    (term,) = numbers_after("The leader of term", text)
    (index,), (last_term,) = numbers_after("last_included_index", text), numbers_after("last_included_term", text)
    kept = log[index:] if log[index - 1:index] == [last_term] else []
    row = " ".join(map(str, kept)) or "empty"
    unused = f"the snapshot is not used; the log: {' '.join(map(str, log))}; commit_index is {committed}"
    used = f"the snapshot replaces entries 1 to {index}; after them: {row}; commit_index is {max(index, committed)}"
    expected = unused if term < current or index <= committed else used
    (right,) = question.answers.right
    assert question.answers.options[right] == [expected]
    assert term < current or expected == used or [used] not in question.answers.options
    assert log[index - 1] == last_term if index <= committed else last_term >= max((0, *log[:committed]))


@pytest.mark.parametrize("number", range(12))
def test_a_counter_is_found_by_counting_each_numbered_command_once(number: int) -> None:
    """§8: and none whose answer the client has."""
    question = question_about("session", number)
    counter, steps, executed, opened = 0, 0, set(), {"A": 1, "B": 1}
    for line in lines_of(question.asked):
        step = re.search(r"x\+(\d)", line)
        numbered = re.search(r"client (\w) #(\d+): .*first open: #(\d+)", line)
        if numbered is not None:
            client, sequence, first = numbered[1], int(numbered[2]), int(numbered[3])
            opened[client] = max(opened[client], first)
            if (client, sequence) in executed or sequence < opened[client]:
                continue
            executed.add((client, sequence))
        counter += int(step[1]) if step is not None else 0
        steps += step is not None
    assert int(right_answer(question)) == counter
    assert sum("  executed: " in line for line in lines_of(question.why)) == steps


# What goes wrong without a rule


@pytest.mark.parametrize("broken", LOSING, ids=lambda broken: str(broken.said))
def test_each_break_loses_a_property_and_the_rule_in_place_does_not(broken: Break) -> None:
    """Fig. 3; and no step can be left out."""
    servers = about_breaks.servers_of(broken)
    steps = about_breaks.shortest(about_breaks.find_loss(random.Random(1), broken), broken)
    loss = about_breaks.run(steps, servers, broken)
    assert loss is not None and loss.name != about_breaks.NOTHING
    assert broken.said in text_of(about_breaks.ask(broken, steps, loss))
    sound = about_breaks.run(steps, servers)
    assert sound is not None and sound.name == about_breaks.NOTHING
    for position in range(len(steps) - 1):
        fewer = about_breaks.run([*steps[:position], *steps[position + 1:]], servers, broken)
        assert fewer is None or fewer.name != loss.name


def test_what_loses_two_properties_at_once_is_not_asked_about() -> None:
    """Fig. 3: S1 takes entry 2 after another entry 1 than the leader's, and applies that: which is lost first?"""
    steps: list[Step] = [
        Stand("S1", ("S2",)), Stand("S2", ("S3",)), Send("S2", "S1", 9), Stand("S1", ("S2",)), Stand("S2", ("S3",)),
        Send("S2", "S1", 9),
    ]
    servers, history, properties = ["S1", "S2", "S3"], History(["S1", "S2", "S3"]), Properties()
    with left_out(NO_DELETION):
        lost = [list(properties.lost(history)) for step in steps if history.play(step)]
    assert lost == [[], [], [], [], [], [LOG_MATCHING, STATE_MACHINE_SAFETY]]
    assert about_breaks.run(steps, servers, NO_DELETION) is None


def test_figure_8_loses_leader_completeness_without_the_check_of_the_term() -> None:
    """Fig. 8 (a) to (d): S1 commits its entry 2 by counting, and S5 is elected without it.

    After its restart S1 has to hear of two more that store entry 2; in the figure it has not yet.
    """
    s1, s5 = "S1", "S5"
    steps: list[Step] = [
        Stand("S2", ("S1", "S3")), *(Send("S2", server, 1) for server in ("S1", "S3", "S4", "S5")),
        Stand(s1, ("S2", "S3")), Send(s1, "S2", 1), Restart(s1),
        Stand(s5, ("S3", "S4")), Stand(s5, ("S3", "S4")), Restart(s5),
        Stand(s1, ("S2", "S3")), Stand(s1, ("S2", "S3")), Send(s1, "S3", 1), Send(s1, "S4", 1),
        Stand(s5, ("S3", "S4")), Stand(s5, ("S2", "S3")),
    ]
    servers = ["S1", "S2", "S3", "S4", "S5"]
    loss, sound = about_breaks.run(steps, servers, COUNTS_OLD_TERMS), about_breaks.run(steps, servers)
    assert loss is not None and loss.name == LEADER_COMPLETENESS, loss
    assert sound is not None and sound.name == about_breaks.NOTHING


@pytest.mark.parametrize("seed", range(10))
def test_sound_servers_lose_nothing_whatever_happens(seed: int) -> None:
    """Fig. 3: crashes and repeated messages among it."""
    dice, history, properties = random.Random(seed), History(["S1", "S2", "S3"]), Properties()
    weights = {"stand": 4, "command": 2, "send": 3, "one": 3, "again": 2, "restart": 1}
    for _ in range(40):
        history.play(draw_step(dice, history, weights))
        assert properties.lost(history) == {}, history.told


def test_two_leaders_of_a_term_are_seen() -> None:
    """Fig. 3: the checks can fail."""
    history, properties = History(["S1", "S2", "S3"]), Properties()
    history.play(Stand("S1", ("S2",)))
    assert properties.lost(history) == {}
    history.states["S3"].current_term, history.states["S3"].role = 1, history.states["S1"].role
    assert list(properties.lost(history)) == [ELECTION_SAFETY]
