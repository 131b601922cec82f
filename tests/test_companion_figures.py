"""The companion's figures: what is drawn is what the servers hold, and it is what the paper's figures show."""

from __future__ import annotations

import re

import pytest
from played_figures import Moment, played

from raft_threads.companion.figures.command import FIGURES
from raft_threads.companion.sheet import MARGIN, WIDTH

FIGURE_7 = {
    "leader": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6],
    "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
    "b": [1, 1, 1, 4],
    "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    "e": [1, 1, 1, 4, 4, 4, 4],
    "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}


def scene(name: str, title: str) -> Moment:
    """Return the one scene of a figure whose title begins so."""
    (found,) = [moment for moment in played(name) if moment.title.startswith(title)]
    return found


def boxes(terms: list[int]) -> str:
    """Return a log as it is to be drawn."""
    return "".join(f"| {term} " for term in terms) + "|"


def rows(moment: Moment) -> list[str]:
    """Return the boxes that are drawn, a line for each log."""
    return re.findall(r"\|(?: \d \|)+", moment.text())


# All of them


@pytest.mark.parametrize("name", FIGURES)
def test_the_play_comes_by_every_breakpoint_that_a_scene_names(name: str) -> None:
    """Issue 6: the file and breakpoint for each step. Its function is called since the scene before it."""
    for moment in played(name):
        assert moment.stops
        assert moment.passed_by == [], moment.title


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_fits_on_a_terminal(name: str) -> None:
    """80 columns, whatever the logs hold; but a breakpoint is in one line, so that it can be copied."""
    for moment in played(name):
        assert moment.picture
        assert max(len(f"{MARGIN}{line}") for line in moment.picture) <= WIDTH == 80, moment.text()
        assert len(f"-- {moment.title}") <= WIDTH
        assert all("\n" not in stop.command() for stop in moment.stops)


@pytest.mark.parametrize("name", FIGURES)
def test_leaders_do_without_their_no_op_only_where_the_figure_says_so(name: str) -> None:
    """§8: the paper's boxes in Fig. 6, 7, 8 and 12 are older than that; everywhere else our servers are as always."""
    entries = [text for moment in played(name) for server in moment.servers.values() for text in server.commands]
    assert ("no-op" in entries) != ("no-op" in FIGURES[name].apart)


# §2


def test_figure_1_follows_a_command_from_the_client_through_log_and_state_machine_and_back() -> None:
    """Fig. 1: an arrow has its number when it was taken, and not before."""
    appended, executed, answered = played("figure-1")
    arrows = [re.findall(r"-(\d)-|\| +(\d) +\|\n", moment.text()) for moment in (appended, executed, answered)]
    assert [{a or b for a, b in found} for found in arrows] == [{"1", "2"}, {"1", "2", "3"}, {"1", "2", "3", "4"}]
    log = ["no-op", "x=3", "y=1", "y=9"]
    assert [server.commands for server in appended.servers.values()] == [log, log[:3], log[:3]]
    assert [server.items["y"] for server in appended.servers.values()] == ["1", "1", "1"]
    assert [server.items["y"] for server in executed.servers.values()] == ["9", "1", "1"]
    assert [server.items for server in answered.servers.values()] == [{"x": "3", "y": "9"}] * 3
    assert answered.text().count("| no-op | x=3 | y=1 | y=9 |") == answered.text().count("state machine: x=3 y=9") == 3
    assert "| ok: true" in answered.text() and "| ok: true" not in executed.text()
    listed = re.findall(r"ms  (\d)  (.*)", answered.text())
    kinds = {"the client sends": "1", "append": "2", "a majority": "2", "executes": "3", "is told": "4"}
    assert len(listed) == 9
    assert all(number == next(kinds[kind] for kind in kinds if kind in what) for number, what in listed), listed


# §5.1


def test_figure_4_counts_every_arrow_of_the_figure() -> None:
    """Fig. 4: each has been taken at the end; the numbers in the diagram are those of the list below it."""
    names = ["starts up", "times out, starts election", "times out, new election", "receives votes from majority of"]
    names += ["discovers current leader or new term", "discovers server with higher term"]
    listed = "\n".join(moment.text() for moment in played("figure-4"))
    counts = [len(re.findall(rf"ms  S\d {name}", listed)) for name in names]
    assert counts == [3, 3, 2, 2, 1, 1]
    last = played("figure-4")[-1]
    assert re.findall(r"- (\d) -", last.text()) == [str(counts[position]) for position in (1, 3, 4, 5)]
    assert [line.split()[0] for line in last.picture[1:3]] == [str(counts[0]), "|"]
    assert last.picture[2].split()[-1] == str(counts[2])
    assert [server.role for server in last.servers.values()] == ["follower", "leader", "follower"]


def test_figure_5_draws_two_terms_with_leaders_one_without_and_one_with() -> None:
    """Fig. 5: each term begins with an election; some elections fail."""
    last = played("figure-5")[-1]
    labels = [line for line in last.picture if "term 1" in line]
    assert labels[0].split() == ["term", "1", "term", "2", "t3", "term", "4"]
    (blocks,) = [line for line in last.picture if line.startswith("terms")]
    assert re.fullmatch(r"terms +#+=+#+=+#{6,}=+", blocks)
    assert [server.term for server in last.servers.values() if server.role != "down"] == [4] * 4
    (leader,) = [name for name, server in last.servers.items() if server.role == "leader"]
    assert {server.voted_for for server in last.servers.values() if server.role != "down"} == {leader}
    assert last.look.startswith(f"{leader} was the first")


def test_figure_5_draws_the_term_of_each_server_at_each_time() -> None:
    """Fig. 5: "The transitions between terms may be observed at different times on different servers."."""
    for moment in played("figure-5"):
        for name, server in moment.servers.items():
            (row,) = [line for line in moment.picture if line.startswith(name)]
            assert row[-1] == ("." if server.role == "down" else str(server.term)), row
    drawn = {line[:2]: re.sub(r"(.)\1+", r"\1", line.split()[1]) for line in moment.picture if line.startswith("S")}
    assert (drawn["S1"], drawn["S4"]) == ("01234", "012.")
    assert re.fullmatch(r"01\.1?234", drawn["S3"])


def test_the_split_vote_of_figure_5_gives_two_votes_to_each_candidate() -> None:
    """§5.2, the third outcome: nobody has a majority of five servers."""
    split = played("figure-5")[1]
    votes = [server.voted_for for server in split.servers.values() if server.term == 3]
    candidates = [name for name, server in split.servers.items() if server.role == "candidate"]
    assert len(candidates) == 2 and sorted(votes, key=str) == sorted(candidates * 2)


# §5.3


def test_figure_6_has_the_logs_of_the_paper() -> None:
    """Fig. 6: terms, commands, and seven committed entries."""
    moment = scene("figure-6", "The logs")
    commands = ["x=3", "y=1", "y=9", "x=2", "x=0", "y=7", "x=5", "x=4"]
    terms = [1, 1, 1, 2, 3, 3, 3, 3]
    lengths = [8, 5, 8, 2, 7]
    assert moment.terms() == [terms[:length] for length in lengths]
    assert [server.commands for server in moment.servers.values()] == [commands[:length] for length in lengths]
    assert moment.commit_indexes()[0] == 7
    drawn = [re.findall(r"\S+", line.partition("|")[2].replace("|", " ")) for line in moment.picture if "|" in line]
    for length, numbers, texts in zip(lengths, drawn[::2], drawn[1::2]):
        assert [int(number) for number in numbers] == terms[:length] and texts == commands[:length]
    committed = moment.picture[-1]
    assert committed.index("<") == moment.picture[1].index("+")
    assert moment.picture[0][committed.index(">") - 3] == "7", "the arrow ends below entry 7"


def test_figure_6_goes_on_to_commit_entry_8_with_s5() -> None:
    """§5.3: once it is on a majority."""
    moment = scene("figure-6", "What comes next")
    assert [len(terms) for terms in moment.terms()] == [8, 5, 8, 2, 8]
    assert [server.last_applied for server in moment.servers.values()][::2] == [8, 8, 8]


def test_figure_7_has_the_logs_of_the_paper_when_the_leader_of_term_8_comes_to_power() -> None:
    """Fig. 7: (a) to (f), exactly, and the election restriction at work (§5.4.1)."""
    moment = scene("figure-7", "The figure")
    assert {name: server.terms for name, server in moment.servers.items()} == FIGURE_7
    assert rows(moment) == [boxes(terms) for terms in FIGURE_7.values()]
    leader = moment.servers["leader"]
    assert (leader.role, leader.term) == ("leader", 8) and "leads term 8" in moment.text()
    voters = {name for name, server in moment.servers.items() if server.voted_for == "leader"}
    assert voters == {"leader", "a", "b", "e", "f"} and moment.text().count("voted for it") == 4


def test_figure_7_is_repaired_with_one_refusal_for_each_term_in_conflict() -> None:
    """§5.3, the last page; then the first entry of term 8 replaces what (c) and (d) have too much."""
    found = scene("figure-7", "What the leader does: it finds")
    assert re.findall(r"refused (\w+)", found.text()) == ["once", "once", "never", "never", "twice", "twice"]
    assert found.terms()[3:5] == [FIGURE_7["c"], FIGURE_7["d"]]
    last = scene("figure-7", "What the leader does: its first")
    assert last.terms() == [[*FIGURE_7["leader"], 8]] * 7
    assert rows(last) == [boxes([*FIGURE_7["leader"], 8])] * 7
    assert re.findall(r"^\((.)\).*deleted (.*)", last.text(), re.MULTILINE) == [
        ("c", "11 to 11"), ("d", "11 to 12"), ("e", "6 to 7"), ("f", "4 to 11"),
    ]


# §5.4


@pytest.mark.parametrize(
    "picture, logs, leader",
    [
        ("(a)", [[1, 2], [1, 2], [1], [1], [1]], ("S1", 2)),
        ("(b)", [[1, 2], [1, 2], [1], [1], [1, 3]], ("S5", 3)),
        ("(c)", [[1, 2, 4], [1, 2], [1, 2], [1], [1, 3]], ("S1", 4)),
        ("(d)", [[1, 3], [1, 3], [1, 3], [1, 3], [1, 3]], ("S5", 5)),
        ("(e) instead", [[1, 2, 4], [1, 2, 4], [1, 2, 4], [1], [1, 3]], ("S1", 4)),
    ],
    ids=["a", "b", "c", "d", "e"],
)
def test_figure_8_has_the_logs_of_the_paper(
    picture: str, logs: list[list[int]], leader: tuple[str, int]
) -> None:
    """Fig. 8: each picture, exactly, and who leads in it."""
    moment = scene("figure-8", picture)
    assert moment.terms() == logs
    assert rows(moment) == [boxes(terms) for terms in logs]
    assert [(name, each.term) for name, each in moment.servers.items() if each.role == "leader"] == [leader]


def test_figure_8_commits_nothing_but_entry_1_until_e() -> None:
    """§5.4.2: entry 2 is on a majority in (c), and S1 has not committed it; in (e) it has."""
    moments = played("figure-8")
    assert [max(moment.commit_indexes()) for moment in moments[:4]] == [1, 1, 1, 1]
    assert scene("figure-8", "(e) instead").commit_indexes()[0] == 3
    refused = scene("figure-8", "(e), and then")
    assert "votes for S5 in term 5: S2 no, S3 no, S4 yes, S5 yes" in refused.text()
    assert refused.servers["S5"].role == "candidate"


def test_in_figure_9_the_voter_in_both_majorities_refuses() -> None:
    """Fig. 9, §5.4.3: S3 has accepted the entry, and S5 asks it; only who has the entry is elected."""
    committed, refused, elected = played("figure-9")
    assert committed.terms() == [[1, 2], [1, 2], [1, 2], [1], [1]] and committed.commit_indexes()[0] == 2
    assert committed.text().count("accepted entry 2") == 3
    assert [server.voted_for for server in refused.servers.values()][2:] == [None, "S5", "S5"]
    assert (refused.servers["S5"].role, refused.servers["S3"].term) == ("candidate", 3)
    assert "refuses S5 (last term 1)" in refused.text()
    assert elected.servers["S5"].role == "leader" and elected.servers["S5"].terms[:2] == [1, 2]
    for moment in (committed, refused, elected):
        has_it = {name for name, server in moment.servers.items() if 2 in server.terms}
        assert set(re.findall(r"^(S\d).*accepted entry 2", moment.text(), re.MULTILINE)) == has_it
    for moment in (refused, elected):
        told = dict(re.findall(r"^(S\d).* votes for (S\d)", moment.text(), re.MULTILINE))
        term = moment.servers["S5"].term
        votes = {name: server.voted_for for name, server in moment.servers.items() if server.term == term}
        assert told == {name: vote for name, vote in votes.items() if name != "S5" and vote is not None}


# §6


def test_figure_10_has_two_leaders_in_one_term_without_the_rule_and_one_with_it() -> None:
    """Fig. 10: by disjoint majorities of C_old and of C_new; with C_old,new the same votes elect S1 alone."""
    _, without, with_it = played("figure-10")
    leaders = [
        [(name, server.term) for name, server in moment.servers.items() if server.role == "leader"]
        for moment in (without, with_it)
    ]
    assert leaders == [[("S1", 2), ("S5", 2)], [("S1", 2)]]
    votes = ["S1", "S1", "S5", "S5", "S5"]
    for moment in (without, with_it):
        assert [server.voted_for for server in moment.servers.values()] == votes
        drawn = re.findall(r"^(S\d).*, term (\d), votes of (.*)", moment.text(), re.MULTILINE)
        assert drawn == [("S1", "2", "S1, S2"), ("S5", "2", "S3, S4, S5")]
    assert "Election Safety: S5 and S1 were both elected in term 2" in without.text()
    assert list(without.joint.values()) == [False] * 5
    assert list(with_it.joint.values()) == [False, False, True, True, True]
    assert re.findall(r"^S\d +(\S+)", with_it.text(), re.MULTILINE)[2].strip("o").strip("b") == ""


def test_figure_11_draws_three_lines_and_nobody_can_decide_alone_while_the_other_can() -> None:
    """Fig. 11: dashed while an entry is not committed, solid while it is the latest that is; §6: never both."""
    created, committed, over = played("figure-11")
    line = {row[:19].strip(): row[21:] for row in over.picture if row[:1] == "C"}
    assert re.fullmatch(r"=+", line["C_old"])
    assert re.fullmatch(r" +(- )+-?=+", line["C_old,new"])
    assert re.fullmatch(r" +(- )+-?=+", line["C_new"])
    ends = [len(line["C_old"]), line["C_old,new"].index("=")]
    assert ends[0] == ends[1] and len(line["C_old,new"]) == line["C_new"].index("=")
    old, new = line["C_old decides alone"], line["C_new decides alone"]
    assert re.fullmatch(r"#+", old) and re.fullmatch(r" +#+", new)
    assert len(old) == line["C_old,new"].index("=") and new.index("#") == line["C_new"].index("-")
    assert [moment.servers["S1"].role for moment in (created, committed, over)] == ["leader", "leader", "follower"]
    assert [moment.servers["S1"].commit_index for moment in (created, committed, over)] == [1, 2, 3]
    assert over.servers["S4"].role == "leader"


# §7


def test_figure_12_has_the_log_and_the_snapshot_of_the_paper() -> None:
    """Fig. 12: seven entries, five of them committed; then last included index 5, term 3, x=0, y=9 and two entries."""
    before, after, restarted = played("figure-12")
    server = before.servers["S1"]
    assert server.terms == [1, 1, 1, 2, 3, 3, 3] and (server.commit_index, server.last_applied) == (5, 5)
    assert server.commands == ["x=3", "y=1", "y=9", "x=2", "x=0", "y=7", "x=5"]
    assert "| x=3 | y=1 | y=9 | x=2 | x=0 | y=7 | x=5 |" in before.text()
    for moment in (after, restarted):
        server = moment.servers["S1"]
        assert (server.snapshot_index, server.terms, server.commands) == (5, [3, 3], ["y=7", "x=5"])
        assert server.items == {"x": "0", "y": "9"} and (server.commit_index, server.last_applied) == (5, 5)
        for text in ("last included index: 5", "last included term: 3", "configuration: S1 S2 S3", "  x=0 y=9"):
            assert text in moment.text()
        assert "|  3  |  3  |" in moment.text() and "| y=7 | x=5 |" in moment.text()
    assert restarted.servers["S1"].role == "follower"


def test_figure_13_shows_the_chunks_as_they_were_sent() -> None:
    """Fig. 13: the arguments by the figure's names; each chunk begins where the one before it ended."""
    arguments, results = chunks_in(scene("figure-13", "S1 sends its snapshot"))
    assert [*arguments] == [
        "InstallSnapshot RPC", "term", "leaderId", "lastIncludedIndex", "lastIncludedTerm", "offset", "data[]", "done"
    ]
    assert arguments["lastIncludedIndex"] == ["5", "5", "5"] and arguments["lastIncludedTerm"] == ["2", "2", "2"]
    assert (arguments["term"], arguments["leaderId"]) == (["2", "2", "2"], ["S1", "S1", "S1"])
    assert arguments["offset"] == ["0", "100", "200"] and arguments["done"] == ["false", "false", "true"]
    *full, last = [int(size.split()[0]) for size in arguments["data[]"]]
    assert full == [100, 100] and 0 < last < 100
    assert results == {"term": ["2", "2", "2"], "bytes_stored": ["100", "200", "all"]}
    arguments, results = chunks_in(scene("figure-13", "A chunk of a leader"))
    assert arguments["term"] == ["1"] and results == {"term": ["2"], "bytes_stored": ["0"]}


def chunks_in(moment: Moment) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the arguments and the results that are drawn, by name: a value for each chunk."""
    lines = [re.split(r" {2,}", line.strip()) for line in moment.picture]
    results = lines.index(["Results"])
    end = lines.index([""])
    return (
        {name: values for name, *values in lines[:results]}, {name: values for name, *values in lines[results + 1:end]}
    )


def test_figure_13_plays_a_log_that_is_discarded_one_whose_tail_is_kept_and_a_refusal() -> None:
    """Fig. 13, rules 7, 6 and 1."""
    discarded = scene("figure-13", "S1 sends its snapshot").servers["S3"]
    assert (discarded.snapshot_index, discarded.terms) == (5, [])
    assert discarded.items == {"x": "9", "y": "9", "z": "9"}
    kept = scene("figure-13", "The snapshot describes a prefix").servers["S3"]
    assert (kept.snapshot_index, kept.terms, kept.commands) == (3, [1], ["x=2"])
    refused = scene("figure-13", "A chunk of a leader")
    assert refused.servers["S3"].snapshot_index == 0 and refused.servers["S1"].role == "follower"
    assert [server.term for server in refused.servers.values()] == [2, 2, 2]
