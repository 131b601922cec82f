"""Space-time diagrams: what they show, that nothing hides anything else, and the command that draws them (§5)."""

from __future__ import annotations

import io
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Optional
from xml.etree import ElementTree

import pytest
from test_rules_have_no_threads import imports_of
from traces import ASK, DONE, HEARTBEAT, NO, REFUSED, WRITE, YES, Script

from raft_threads import events, surroundings
from raft_threads.__main__ import main
from raft_threads.demo.cli import main as demo_main
from raft_threads.diagram_command import summary
from raft_threads.diagrams.layout import LANE_WIDTH, Layout, fitted, lay_out, text_width
from raft_threads.diagrams.run import Run
from raft_threads.diagrams.space_time import MOST_ROWS, SpaceTime, Window, draw_up
from raft_threads.diagrams.svg import draw_svg
from raft_threads.diagrams.text import draw_text
from raft_threads.diagrams.words import command_text, duration_text
from raft_threads.log import LogEntry
from raft_threads.messages import AppendEntries, Reply, Request
from raft_threads.state import Role
from raft_threads.trace import TraceWriter, read_trace

TALK: list[tuple[Request, Reply]] = [(ASK, YES), (ASK, NO), (WRITE, DONE), (WRITE, REFUSED), (HEARTBEAT, DONE)]
ROOT = Path(__file__).resolve().parent.parent
SVG = "{http://www.w3.org/2000/svg}"


def small() -> Script:
    """An election, a write that reaches one of two followers, and a crash."""
    script = Script()
    script.start()
    script.elect("n1")
    script.event(events.EntriesAppended, "n1", {"last_log_index": 1, "last_log_term": 1}, entries=WRITE.entries)
    script.send("n1", "n2", WRITE)
    script.send("n1", "n3", WRITE)
    script.receive("n1", "n2", WRITE, leader_id="n1", last_log_index=1, last_log_term=1)
    script.event(events.EntriesAppended, "n2", entries=WRITE.entries)
    script.answer("n1", "n2", WRITE, DONE)
    script.give_up("n1", "n3", WRITE, "the connection is cut")
    script.hear("n1", "n2", WRITE, DONE, commit_index=1)
    script.event(events.CommitAdvanced, "n1", previous=0)
    script.event(events.Applied, "n1", {"last_applied": 1}, entry=WRITE.entries[0], result=b'{"ok":true}')
    script.exchange("n1", "n2", HEARTBEAT, DONE)
    script.around(surroundings.Crashed, server="n1")
    return script


def busy(seed: int, servers: int, steps: int) -> Script:
    """A long run of everything that can happen, at random."""
    dice = random.Random(seed)
    script = Script(*(f"n{number}" for number in range(1, servers + 1)))
    script.start()
    for _ in range(steps):
        one, other = dice.sample(script.servers, 2)
        step = dice.randrange(12)
        if step < 5:
            script.exchange(one, other, *dice.choice(TALK))
        elif step == 5:
            script.elect(one, term=1 + dice.randrange(12_000))
        elif step == 6:
            script.send(one, other, WRITE)
            script.give_up(one, other, WRITE)
        elif step == 7:
            script.event(events.EntriesAppended, one, entries=WRITE.entries)
            script.event(events.CommitAdvanced, one, {"commit_index": 5}, previous=2)
        elif step == 8:
            script.around(surroundings.LinksCut, links=((one, other),))
        elif step == 9:
            script.around(surroundings.LinksHealed, links=((one, other),))
        elif step == 10:
            script.around(surroundings.Stalled, server=one, thread=f"{one}/disk", duration=0.01)
            script.around(surroundings.DiskFault, server=one, fault="wrote half of what it should have, and said so")
        else:
            script.pass_time(dice.choice([1, 100, 10_000]))
    return script


def parsed(picture: SpaceTime, title: str = "a run") -> ElementTree.Element:
    """Return the drawing as an XML tree."""
    return ElementTree.fromstring(draw_svg(picture, title))


def groups(tree: ElementTree.Element, *classes: str) -> list[ElementTree.Element]:
    """Return the groups with a title that have all these classes; the legend's samples have no title."""
    found = [group for group in tree.iter(f"{SVG}g") if set(classes) <= set(group.get("class", "").split())]
    return [group for group in found if group.find(f"{SVG}title") is not None]


def title_of(group: ElementTree.Element) -> str:
    """Return what is told to whoever points at the group."""
    return group.findtext(f"{SVG}title") or ""


def words_in(tree: ElementTree.Element) -> list[str]:
    """Return all text in the drawing."""
    return [text.text or "" for text in tree.iter(f"{SVG}text")]


# What is shown


def test_a_lane_tells_role_and_term_from_row_to_row() -> None:
    """Fig. 4: follower, candidate, leader; and down, before the start and after a crash."""
    picture = draw_up(small().run())
    lane = [(stretch.role, stretch.term) for stretch in picture.lanes["n1"]]
    assert lane == [
        (None, 0),
        (Role.FOLLOWER, 0),
        (Role.CANDIDATE, 1),
        (Role.LEADER, 1),
        (None, 1),
    ]
    assert [stretch.new_term for stretch in picture.lanes["n1"]] == [False, True, True, False, False]
    assert [(stretch.role, stretch.term) for stretch in picture.lanes["n2"]][1:] == [
        (Role.FOLLOWER, 0),
        (Role.FOLLOWER, 1),
    ]


def test_a_server_that_is_down_stays_down_whatever_it_still_says() -> None:
    """Threads that end may tell of a message after the node has stopped; only Restarted brings it back."""
    script = Script("n1", "n2")
    script.start()
    script.event(events.Stopped, "n1", failure=None)
    script.answer("n2", "n1", WRITE, DONE)
    script.around(surroundings.Crashed, server="n1")
    assert draw_up(script.run()).lanes["n1"][-1].role is None
    script.event(events.Restarted, "n1", entries=())
    picture = draw_up(script.run())
    assert [stretch.role for stretch in picture.lanes["n1"]] == [None, Role.FOLLOWER, None, Role.FOLLOWER]
    assert [mark.label for mark in picture.marks if mark.server == "n1"] == ["starts", "crashes", "starts"]


def test_each_message_is_an_arrow_with_its_kind_and_fate() -> None:
    """Two RPCs, their replies, one that is lost, and a heartbeat."""
    picture = draw_up(small().run())
    told = [(arrow.kind, arrow.reply, arrow.sender, arrow.receiver, arrow.fate) for arrow in picture.arrows]
    assert told == [
        ("vote", False, "n1", "n2", "received"),
        ("vote", True, "n2", "n1", "received"),
        ("append", False, "n1", "n2", "received"),
        ("append", False, "n1", "n3", "lost"),
        ("append", True, "n2", "n1", "received"),
        ("heartbeat", False, "n1", "n2", "received"),
        ("heartbeat", True, "n2", "n1", "received"),
    ]


def test_a_heartbeat_is_of_no_effect_only_if_nothing_changed() -> None:
    """One that tells of a commit or of a leader is not, nor is a refusal; what is applied meanwhile does not count."""
    script = Script()
    script.exchange("n1", "n2", HEARTBEAT, DONE)  # the first thing known of both
    script.exchange("n1", "n2", HEARTBEAT, DONE)
    script.event(events.Applied, "n2", {"last_applied": 1}, entry=WRITE.entries[0], result=b"")
    script.send("n1", "n2", HEARTBEAT)
    script.event(events.ElectionTimerSet, "n2", {"commit_index": 1}, timeout=0.2)
    script.receive("n1", "n2", HEARTBEAT)
    script.exchange("n1", "n2", HEARTBEAT, REFUSED)
    script.exchange("n1", "n2", WRITE, DONE)
    quiet = [arrow.quiet for arrow in draw_up(script.run()).arrows if arrow.kind == "heartbeat"]
    assert quiet == [False, True, True, True, False, True, False]


def test_what_is_lost_as_it_was_lost_before_is_of_no_effect() -> None:
    """§5.5: a cut-off leader repeats itself for ever."""
    script = Script()
    for request in (WRITE, WRITE, WRITE, ASK, WRITE):
        script.send("n1", "n2", request)
        script.give_up("n1", "n2", request)
    assert [arrow.quiet for arrow in draw_up(script.run()).arrows] == [False, True, True, False, False]
    script = Script()
    script.send("n1", "n2", WRITE)
    script.receive("n1", "n2", WRITE)
    script.give_up("n1", "n2", WRITE)
    script.send("n1", "n2", WRITE)
    script.give_up("n1", "n2", WRITE)
    assert [arrow.quiet for arrow in draw_up(script.run()).arrows] == [False, False]


def test_a_partition_is_told_by_its_parts_and_other_cuts_link_by_link() -> None:
    """Clean cuts have parts, whatever steps led to them."""
    script = Script("n1", "n2", "n3", "n4")
    script.start()
    script.around(surroundings.LinksCut, links=(("n1", "n3"), ("n3", "n1"), ("n2", "n3"), ("n3", "n2")))
    script.send("n1", "n2", ASK)
    script.around(surroundings.LinksCut, links=(("n3", "n4"), ("n4", "n3")))
    script.send("n1", "n2", ASK)
    script.around(surroundings.LinksHealed, links=(("n3", "n4"), ("n3", "n1")))
    script.send("n1", "n2", ASK)
    script.around(surroundings.LinksHealed, links=(("n1", "n3"), ("n4", "n3"), ("n2", "n3"), ("n3", "n2")))
    first, second, third = draw_up(script.run()).bands
    assert (first.label, first.groups) == ("cut: n1–n3, n2–n3", ())
    assert (second.label, second.groups) == ("cut: n1 n2 n4 | n3", (("n1", "n2", "n4"), ("n3",)))
    assert (third.label, third.groups) == ("cut: n2–n3, n1→n3, n4→n3", ())
    assert first.last == second.first and second.last == third.first < third.last


def test_a_cut_that_lasts_until_the_end_is_drawn_to_the_end() -> None:
    """And one that began before the window, from its beginning."""
    script = Script("n1", "n2")
    script.start()
    script.around(surroundings.LinksCut, links=(("n1", "n2"),))
    for _ in range(3):
        script.exchange("n1", "n2", HEARTBEAT, DONE)
    (band,) = draw_up(script.run()).bands
    assert (band.first, band.last) == (2, 14)
    (band,) = draw_up(script.run(), Window(0.006, 0.008)).bands
    assert (band.first, band.last) == (0, 2)


def test_a_stall_lasts_as_long_as_it_says() -> None:
    """From its record to the last one within its duration."""
    script = Script("n1", "n2")
    script.start()
    script.around(surroundings.Stalled, server="n1", thread="n1/disk", duration=0.0025)
    for _ in range(2):
        script.exchange("n1", "n2", HEARTBEAT, DONE)
    (pause,) = draw_up(script.run()).pauses
    assert (pause.server, pause.first, pause.last) == ("n1", 2, 4)


def test_a_window_knows_what_came_before_and_shows_messages_that_cross_its_edges() -> None:
    """--from, --to."""
    run = small().run()
    seconds = run.seconds
    received = next(journey.received for journey in run.journeys if journey.message == WRITE)
    assert received is not None
    picture = draw_up(run, Window(seconds[received], seconds[received + 1]))
    assert len(picture.rows) == 2
    assert [picture.lanes[name][0].role for name in ("n1", "n2")] == [Role.LEADER, Role.FOLLOWER]
    assert [(arrow.first, arrow.last, arrow.fate) for arrow in picture.arrows] == [(None, 0, "received")]
    picture = draw_up(run, Window(seconds[received - 2], seconds[received - 1]))
    leaving = [(arrow.first, arrow.last, arrow.fate) for arrow in picture.arrows]
    assert leaving == [(0, None, "under way"), (1, None, "lost")]
    assert draw_up(run, Window(1e6)).rows == []


def test_time_never_goes_back_where_clocks_differ() -> None:
    """The order of the lines counts."""
    script = Script("n1", "n2")
    script.start()
    script.pass_time(100)
    script.event(events.ElectionTimedOut, "n1")
    script.pass_time(-60)
    script.event(events.ElectionTimedOut, "n2")
    assert script.run().seconds == pytest.approx([0.0, 0.001, 0.102, 0.102])


# The drawing


@pytest.mark.parametrize("script", [small(), busy(1, 5, 60), busy(2, 10, 120)], ids=["small", "five", "ten"])
def test_the_drawing_is_xml_with_a_lane_for_each_server_and_an_arrow_for_each_message(script: Script) -> None:
    """No script in it, and nothing from elsewhere."""
    run = script.run()
    tree = parsed(draw_up(run))
    for server in script.servers:
        assert server in words_in(tree)
        assert any(title_of(stretch).startswith(f"{server} is ") for stretch in groups(tree, "stretch"))
    arrows = groups(tree, "message")
    assert len(arrows) == len(run.journeys)
    assert {arrow.tag for arrow in tree.iter()} <= {
        SVG + name for name in "svg title style defs marker pattern path rect text g circle".split()
    }
    assert "http" not in draw_svg(draw_up(run), "").replace("http://www.w3.org/2000/svg", "")


def test_an_arrow_leads_from_the_sender_at_its_time_to_the_receiver_at_a_later_one() -> None:
    """Lane to lane, downwards."""
    picture = draw_up(small().run())
    layout = lay_out(picture)
    tree = parsed(picture)
    vote = next(each for each in groups(tree, "message", "vote") if "reply" not in each.get("class", ""))
    x1, y1, x2, y2 = line_of(vote)
    arrow = picture.arrows[0]
    assert arrow.first is not None and arrow.last is not None
    assert (x1, x2) == (layout.x_of("n1") + LANE_WIDTH / 2, layout.x_of("n2") - LANE_WIDTH / 2)
    assert (y1, y2) == pytest.approx((layout.rows[arrow.first], layout.rows[arrow.last]), abs=0.1)
    assert y2 > y1


def line_of(message: ElementTree.Element) -> tuple[float, ...]:
    """Return where a message's line begins and ends."""
    (path,) = [path for path in message.findall(f"{SVG}path") if path.get("class") == "line"]
    return tuple(float(number) for number in re.findall(r"[-\d.]+", path.get("d", "")))


def test_a_lost_message_ends_in_a_cross_before_it_reaches_the_lane() -> None:
    """And no other does."""
    picture = draw_up(busy(3, 4, 80).run())
    layout = lay_out(picture)
    tree = parsed(picture)
    crossed = [each for each in groups(tree, "message") if each.find(f"{SVG}path[@class='cross']") is not None]
    assert len(crossed) == sum(arrow.fate == "lost" for arrow in picture.arrows) > 3
    lanes = [layout.x_of(server) for server in picture.servers]
    for each in crossed:
        assert "lost" in each.get("class", "").split()
        assert min(abs(line_of(each)[2] - lane) for lane in lanes) > LANE_WIDTH


def test_pointing_at_a_message_tells_all_of_it() -> None:
    """Every field, every entry, when it was sent, and what became of it."""
    request = AppendEntries(7, "n1", 4, 6, (LogEntry(5, 7, "command", b"abc"), LogEntry(6, 7, "noop", b"")), 3)
    script = Script()
    script.exchange("n1", "n2", request, REFUSED)
    sent, reply = (title_of(each) for each in groups(parsed(draw_up(script.run())), "message"))
    assert sent.splitlines() == [
        "AppendEntries from n1 to n2",
        "term: 7",
        "leader_id: n1",
        "prev_log_index: 4",
        "prev_log_term: 6",
        "entries: 2",
        "  5 (term 7) abc",
        "  6 (term 7) no-op",
        "leader_commit: 3",
        "sent at 0.000000 s, received at 0.001000 s, after 1 ms",
    ]
    assert reply.splitlines() == [
        "AppendEntriesReply from n2 to n1",
        "term: 1",
        "success: False",
        "conflict_term: None",
        "conflict_index: 1",
        "in answer to AppendEntries(term 7, prev 4/6, [5/7 abc, 6/7 no-op], commit 3)",
        "sent at 0.002000 s, received at 0.003000 s, after 1 ms",
    ]


def test_pointing_at_a_mark_tells_the_servers_state() -> None:
    """Fig. 2's State box, after the step."""
    labels = groups(parsed(draw_up(small().run())), "label")
    (label,) = [each for each in labels if "commits" in "".join(each.itertext())]
    assert title_of(label).splitlines() == [
        "CommitAdvanced at 0.019000 s",
        "server: n1",
        "previous: 0",
        "state: term 1, role leader, voted_for n1, leader_id n1, commit_index 1, last_applied 0, last_log_index 1, "
        "last_log_term 1",
    ]


def test_votes_elections_commits_and_crashes_are_said_in_words() -> None:
    """Beside the lane of the server they happen to."""
    words = words_in(parsed(draw_up(small().run())))
    for text in (
        "starts",
        "times out",
        "candidate, term 1",
        "votes for n1",
        "leads term 1",
        "appends 1: x=1",
        "commits 1",
        "crashes",
    ):
        assert text in words


def test_everything_is_escaped_and_what_xml_cannot_hold_is_written_out() -> None:
    """Commands are bytes of anybody's making, and so are the texts of errors."""
    nasty = '<script>alert("1 & 2")</script>]]>'
    script = Script("n1", "n2")
    entry = LogEntry(1, 1, "command", nasty.encode() + b"\x00\xff\x1b")
    script.send("n1", "n2", AppendEntries(1, "n1", 0, 0, (entry,), 0))
    script.event(events.EntriesAppended, "n1", entries=(LogEntry(1, 1, "command", b"<&>\x07"),))
    script.event(events.Stopped, "n2", failure="\ud800 <b>")
    tree = parsed(draw_up(script.run()), title=nasty)
    assert nasty in words_in(tree)
    assert nasty + "\\x00\\xff\\x1b" in title_of(groups(tree, "message")[0])
    assert {"appends 1: <&>\\x07", "stops: \\ud800 <b>"} <= set(words_in(tree))


def test_the_same_trace_gives_the_same_drawing() -> None:
    """To the byte, whatever order sets have today."""
    file = io.StringIO()
    script = busy(4, 6, 60)
    writer = TraceWriter(file, script.servers)
    for record in script.records:
        writer.observe(record)
    drawings = {draw_svg(draw_up(Run(read_trace(io.StringIO(file.getvalue())))), "a run") for _ in range(2)}
    assert drawings == {draw_svg(draw_up(script.run()), "a run")}


# The layout


@pytest.mark.parametrize("servers, seed", [(3, 5), (5, 6), (7, 7), (10, 8)])
def test_no_two_texts_overlap_and_none_reaches_into_the_next_lane(servers: int, seed: int) -> None:
    """Names, labels, terms, times and cuts, at random; 10 servers and more than 500 moments among them."""
    picture = draw_up(busy(seed, servers, 200).run())
    assert len(picture.rows) > 500
    layout = lay_out(picture)
    texts = layout.all_texts()
    assert len(texts) > 200
    ordered = sorted(texts, key=lambda text: text.box.top)
    for text, other in combinations_nearby(ordered):
        assert not text.box.overlaps(other.box), f"seed {seed}: {text} and {other}"
    for mark, label in layout.labels:
        assert layout.x_of(mark.server) + LANE_WIDTH / 2 < label.box.left
        assert label.box.right < layout.x_of(mark.server) + layout.pitch - LANE_WIDTH / 2
    assert max(text.box.right for text in texts) <= layout.width
    assert max(text.box.bottom for text in texts) <= layout.height


def test_terms_that_change_quickly_and_wide_ones_find_room_too() -> None:
    """On their lane, and beside the axis."""
    script = Script("n1", "n2")
    for term in range(12_345_678, 12_345_690):
        script.receive("n2", "n1", HEARTBEAT, term=term)
    layout = lay_out(draw_up(script.run()))
    assert len(layout.terms) == 12
    for text, other in combinations_nearby(sorted(layout.all_texts(), key=lambda text: text.box.top)):
        assert not text.box.overlaps(other.box), f"{text} and {other}"


def combinations_nearby(ordered: list[Any]) -> list[tuple[Any, Any]]:
    """Return the pairs of texts that are near enough to each other to touch."""
    return [
        (text, other)
        for index, text in enumerate(ordered)
        for other in ordered[index + 1:index + 60]
        if other.box.top <= text.box.bottom
    ]


def test_rows_go_down_and_every_message_falls() -> None:
    """Time goes downwards, also where everything happens at once."""
    picture = draw_up(busy(9, 5, 150).run())
    layout = lay_out(picture)
    assert all(one < other for one, other in zip(layout.rows, layout.rows[1:]))
    for arrow in picture.arrows:
        if arrow.first is not None and arrow.last is not None:
            assert layout.rows[arrow.last] - layout.rows[arrow.first] >= 3


def test_a_quiet_phase_takes_little_room_and_a_long_wait_hardly_more_than_a_short_one() -> None:
    """So that what matters is not buried."""

    def height(request: Any, pause: int) -> float:
        script = Script("n1", "n2")
        script.exchange("n1", "n2", HEARTBEAT, DONE)
        for _ in range(100):
            script.exchange("n1", "n2", request, DONE)
            script.pass_time(pause)
        return lay_out(draw_up(script.run())).height

    assert height(HEARTBEAT, 50) < height(WRITE, 50) / 2
    assert height(WRITE, 5000) < 2 * height(WRITE, 50)


def test_the_axis_tells_the_true_time() -> None:
    """A tick stands at a moment and names it."""
    picture = draw_up(busy(10, 5, 100).run())
    layout = lay_out(picture)
    times = {f"{row.second:.3f}": y for y, row in zip(layout.rows, picture.rows)}
    assert len(layout.ticks) > 10
    for tick in layout.ticks:
        assert tick.text in times
    assert Counter(tick.text for tick in layout.ticks).most_common(1)[0][1] == 1


def test_names_are_repeated_so_that_one_is_always_on_the_screen() -> None:
    """A lane may be many screens long."""
    layout: Layout = lay_out(draw_up(busy(11, 5, 200).run()))
    assert len(layout.headings) > 2
    assert max(lower - upper for upper, lower in zip(layout.headings, layout.headings[1:])) < 1000


def test_a_text_is_cut_to_its_room() -> None:
    """With an ellipsis."""
    assert fitted("short", 100) == "short"
    cut = fitted("a very long text that does not fit", 60)
    assert cut.endswith("…") and text_width(cut) <= 60


# The words


@pytest.mark.parametrize(
    "command, text",
    [
        (b'{"op":"put","key":"x","value":"1"}', "x=1"),
        (b'{"op":"append","key":"x","value":"1"}', "x+=1"),
        (b'{"op":"cas","key":"x","expected":null,"value":"1"}', "x:=1?"),
        (b'{"op":"delete","key":"x"}', "del x"),
        (b'{"op":"get","key":"x"}', "get x"),
        (b'{"op":"put","key":"a long key","value":"1"}', "a long key=1"),
        (b'{"op":"put","key":"a longer key","value":"1"}', "a longer ke…"),
        (b'{"op":"put","key":"\\n","value":"1"}', "\\n=1"),
        (b"not JSON\n", "not JSON\\n"),
        (b"[1]", "[1]"),
        (b"\xff", "\\xff"),
        (b"", ""),
        (b"[" * 100_000, "[[[[[[[[[[[…"),
    ],
)
def test_a_command_is_told_in_a_few_characters(command: bytes, text: str) -> None:
    """Commands of the key-value store by what they do; others as they are."""
    assert command_text(LogEntry(1, 1, "command", command)) == text


def test_a_duration_is_told_in_a_unit_that_suits_it() -> None:
    """Three digits are enough."""
    assert [duration_text(s) for s in (2.0, 0.0123456, 0.00085, 0.0)] == ["2 s", "12.3 ms", "850 µs", "0 µs"]


# The text


def test_the_text_has_a_column_for_each_server_and_a_line_for_each_event() -> None:
    """Role letters and terms, arrows, what is lost, and heartbeats of no effect in one line."""
    script = small()
    script.around(surroundings.LinksCut, links=(("n2", "n3"), ("n3", "n2")))
    script.event(events.ElectionTimerSet, "n2", timeout=0.2)
    lost = "LOST: the connection is cut"
    assert draw_text(script.run()) == [
        "  seconds  n1  n2  n3",
        " 0.000000  F0          n1 starts",
        " 0.001000  |   F0      n2 starts",
        " 0.002000  |   |   F0  n3 starts",
        " 0.003000  F0  |   |   n1 times out",
        " 0.004000  C1  |   |   n1 candidate, term 1",
        " 0.005000  C1  |   |   n1 ->n2 RequestVote(term 1, last 0/0)",
        " 0.006000  |   F1  |   n2 <-n1 RequestVote(term 1, last 0/0)",
        " 0.007000  |   F1  |   n2 votes for n1",
        " 0.008000  |   F1  |   n2 ->n1 RequestVoteReply(term 1, granted)",
        " 0.009000  L1  |   |   n1 <-n2 RequestVoteReply(term 1, granted)",
        " 0.010000  L1  |   |   n1 leads term 1",
        " 0.011000  L1  |   |   n1 appends 1: x=1",
        " 0.012000  L1  |   |   n1 ->n2 AppendEntries(term 1, prev 0/0, [1/1 x=1], commit 0)",
        f" 0.013000  L1  |   |   n1 ->n3 AppendEntries(term 1, prev 0/0, [1/1 x=1], commit 0)  {lost}",
        " 0.014000  |   F1  |   n2 <-n1 AppendEntries(term 1, prev 0/0, [1/1 x=1], commit 0)",
        " 0.015000  |   F1  |   n2 appends 1: x=1",
        " 0.016000  |   F1  |   n2 ->n1 AppendEntriesReply(term 1, success)",
        " 0.018000  L1  |   |   n1 <-n2 AppendEntriesReply(term 1, success)",
        " 0.019000  L1  |   |   n1 commits 1",
        " 0.020000  L1  |   |   n1 applies 1: x=1",
        " 0.021000  |   |   |   ... 2 messages of no effect",
        " 0.025000      |   |   n1 crashes",
        " 0.026000      |   |   ~~~ cut: n2–n3 ~~~",
    ]


def test_two_messages_of_no_effect_are_shown_and_arrivals_out_of_order_told() -> None:
    """A line that says less than those it stands for would be no gain."""
    script = Script("n1", "n2")
    script.exchange("n1", "n2", HEARTBEAT, DONE)
    script.send("n1", "n2", HEARTBEAT)
    script.receive("n1", "n2", HEARTBEAT)
    script.receive("n1", "n2", HEARTBEAT)
    script.event(events.LeaderRecognized, "n2", leader="n1")
    lines = draw_text(script.run(), Window(0.0035))
    assert [line[19:] for line in lines[1:]] == ["... 2 messages of no effect", "n2 follows n1"]
    lines = draw_text(script.run(), Window(0.0055))
    assert [line[19:] for line in lines[1:]] == [
        "n2 <-n1 AppendEntries(term 1, prev 0/0, [], commit 0)  AGAIN",
        "n2 follows n1",
    ]


def test_lines_of_text_are_cut_to_the_width_and_never_broken() -> None:
    """--width; and commands with newlines stay on their line."""
    script = Script("n1", "n2")
    script.event(events.EntriesAppended, "n1", entries=(LogEntry(1, 1, "command", b"a\nb\x1b[2J"),))
    script.send("n1", "n2", WRITE)
    whole, cut = draw_text(script.run()), draw_text(script.run(), width=40)
    assert len(whole) == len(cut) == 3
    assert whole[1].endswith("appends 1: a\\nb\\x1b[2J")
    assert [len(line) <= 40 for line in cut] == [True] * 3 and cut[2].endswith("…")


# The command


def traced(directory: Path, script: Script, **metadata: Any) -> Path:
    """Write a script's trace to a file."""
    path = directory / "run.trace"
    with open(path, "w", encoding="ascii", newline="\n") as file:
        writer = TraceWriter(file, script.servers, metadata)
        for record in script.records:
            writer.observe(record)
    return path


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[Optional[int], str, str]:
    """Run `raft-threads diagram`; return its exit code and what it wrote."""
    try:
        code: Any = main(["diagram", *map(str, arguments)])
    except SystemExit as left:
        code = left.code
    return (code, *capsys.readouterr())


def test_the_command_draws_beside_the_trace_or_where_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/trace-format.md: -o."""
    trace = traced(tmp_path, small(), seed=7, profile={"nested": 1})
    assert said(capsys, trace) == (0, f"{tmp_path}/run.svg: 0.000 to 0.025 s\n", "")
    words = words_in(ElementTree.parse(tmp_path / "run.svg").getroot())
    assert {"run.trace", "seed 7, 0.000 to 0.025 s"} <= set(words)
    assert said(capsys, trace, "-o", tmp_path / "other", "--from", "0.005", "--to", "0.010")[0] == 0
    assert "candidate, term 1" not in (tmp_path / "other").read_text()


def test_the_command_writes_text_to_standard_output_or_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/trace-format.md: --text; whole lines, where there is no terminal."""
    trace = traced(tmp_path, small())
    code, output, errors = said(capsys, trace, "--text")
    assert (code, errors) == (0, "")
    assert output.splitlines() == draw_text(small().run())
    assert said(capsys, trace, "--text", "-o", tmp_path / "run.txt", "--width", "30") == (0, "", "")
    assert (tmp_path / "run.txt").read_text().splitlines() == draw_text(small().run(), width=30)


def test_a_long_run_is_drawn_from_its_beginning_and_the_rest_is_pointed_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/trace-format.md: 2,000 moments a picture, and the line says where it goes on."""
    script = Script("n1", "n2")
    script.start()
    for _ in range(MOST_ROWS // 4 + 5):
        script.exchange("n1", "n2", HEARTBEAT, DONE)
    picture = draw_up(script.run())
    assert (len(picture.rows), picture.moments) == (MOST_ROWS, MOST_ROWS + 22)
    said_so = f"0.000 to 1.999 s, the first {MOST_ROWS} of {MOST_ROWS + 22} moments; --from 1.999 shows what follows"
    assert summary(picture) == said_so
    trace = traced(tmp_path, script)
    assert said(capsys, trace)[1] == f"{tmp_path}/run.svg: {said_so}\n"
    assert said_so in words_in(ElementTree.parse(tmp_path / "run.svg").getroot())
    assert said(capsys, trace, "--from", "1.999")[1] == f"{tmp_path}/run.svg: 1.999 to 2.021 s\n"


@pytest.mark.parametrize(
    "arguments, code, complaint",
    [
        (("no.trace",), 1, "no.trace: No such file or directory"),
        (("..",), 1, "..: Is a directory"),
        (("damaged.trace",), 1, "damaged.trace:2: this is not JSON"),
        (("empty.trace",), 1, "the trace holds no event"),
        (("empty.trace", "--text"), 1, "the trace holds no event"),
        (("run.trace", "--from", "99"), 1, "the trace lasts 0.025 s, and nothing is to be seen"),
        (("run.trace", "--text", "--from", "99"), 1, "the trace lasts 0.025 s"),
        (("run.trace", "-o", "no/such.svg"), 1, "no/such.svg: No such file or directory"),
        ((), 2, "the following arguments are required: TRACE"),
        (("run.trace", "--from", "x"), 2, "'x' is not a number of seconds"),
        (("run.trace", "--from", "-1"), 2, "a run begins at 0 seconds"),
        (("run.trace", "--to", "nan"), 2, "a run begins at 0 seconds"),
        (("run.trace", "--from", "2", "--to", "1"), 2, "--from must not be later than --to"),
        (("run.trace", "--width", "80"), 2, "--width goes with --text"),
        (("run.trace", "--text", "--width", "3"), 2, "--width goes with --text, and is 20 at least"),
        (("run.trace", "-o", "run.trace"), 2, "run.trace is the trace itself; name another file with -o"),
        (("run.svg",), 2, "run.svg is the trace itself; name another file with -o"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_the_trace_stays_as_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    complaint: str,
) -> None:
    """Exit code 1 for what is in the files, 2 for arguments."""
    monkeypatch.chdir(tmp_path)
    trace = traced(tmp_path, small())
    header = trace.read_text().splitlines()[0] + "\n"
    (tmp_path / "damaged.trace").write_text(header + "{\n")
    (tmp_path / "empty.trace").write_text(header)
    before = trace.read_bytes()
    exit_code, output, errors = said(capsys, *arguments)
    assert (exit_code, output) == (code, "")
    last = errors.splitlines()[-1]
    assert complaint in last and last.startswith("raft-threads")
    assert code == 2 or len(errors.splitlines()) == 1
    assert trace.read_bytes() == before and not (tmp_path / "run.svg").exists()


# The demo


def demo(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Play a scenario to its end."""
    command = [sys.executable, str(ROOT / "run_demo.py"), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=50)


def test_the_demo_writes_down_and_draws_a_run_of_real_servers(tmp_path: Path) -> None:
    """docs/demo.md: --trace, --diagram; cuts, repairs and crashes are in it."""
    trace, drawing = tmp_path / "run.trace", tmp_path / "run.svg"
    commands = "put x 1\ncut 1 2\nheal\ncrash 2\nrestart 2\nquit\n"
    played = demo("shell", "--pace", "fast", "--seed", 3, "--trace", trace, "--diagram", drawing, stdin=commands)
    assert played.returncode == 0, played.stdout + played.stderr
    assert re.search(rf"^Diagram: {drawing}, 0\.000 to \d+\.\d+ s$", played.stdout, re.MULTILINE)
    header, records = read_trace(trace)
    assert header.servers == ("n1", "n2", "n3")
    assert header.metadata == {"scenario": "shell", "seed": 3, "pace": "fast"}
    around = [type(record).__name__ for record in records if isinstance(record, surroundings.Surrounding)]
    assert around == ["LinksCut", "LinksHealed", "Crashed"]
    run = Run(read_trace(trace))
    assert any(journey.received is not None for journey in run.journeys)
    assert [journey for journey in run.journeys if journey.sent is None] == []
    arrows = groups(ElementTree.parse(drawing).getroot(), "message")
    assert len(arrows) == len(run.journeys)


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (("processes", "--trace", "run.trace"), "processes cannot be traced: its servers are other processes"),
        (("--trace", "no/such/file"), "cannot write no/such/file: No such file or directory"),
        (("--trace", "run.trace", "--diagram", "."), "cannot write .: Is a directory"),
        (("--trace", "run", "--diagram", "./run"), "--trace and --diagram need different files"),
    ],
)
def test_the_demo_refuses_files_that_it_cannot_write_before_it_begins(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    complaint: str,
) -> None:
    """docs/demo.md: exit code 2, and files that exist stay as they are."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.trace").write_text("of yesterday")
    with pytest.raises(SystemExit, match="2"):
        demo_main([*arguments, "--pace", "fast"])
    output, errors = capsys.readouterr()
    assert (output, errors.splitlines()[-1]) == ("", f"run_demo.py: error: {complaint}")
    assert (tmp_path / "run.trace").read_text() == "of yesterday"


@pytest.mark.parametrize("module", ["run", "space_time", "layout", "words", "style", "svg", "text"])
def test_a_simulation_can_draw_its_own_runs(module: str) -> None:
    """The modules know no threads, no clock and no dice."""
    assert not imports_of(f"diagrams/{module}") & {"threading", "time", "random", "queue"}
