"""Space-time diagrams: what they show of a run, and how it is drawn (§5)."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import pytest
from svg_trees import SVG, groups, parsed, title_of, words_in
from traces import ASK, DONE, HEARTBEAT, REFUSED, WRITE, Script, busy, small

from raft_threads import events, surroundings
from raft_threads.diagrams.layout import LANE_WIDTH, lay_out
from raft_threads.diagrams.run import Run
from raft_threads.diagrams.space_time import Window, draw_up
from raft_threads.diagrams.svg import draw_svg
from raft_threads.log import LogEntry, SnapshotMetadata
from raft_threads.messages import AppendEntries
from raft_threads.state import Role
from raft_threads.trace import TraceWriter, read_trace

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
    script.event(events.Restarted, "n1", entries=(), start=SnapshotMetadata())
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
        "last_log_term 1, last_included_index 0",
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
