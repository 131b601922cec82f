"""Where things stand in a diagram, so that nothing hides anything else, and the words that it uses."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from traces import DONE, HEARTBEAT, WRITE, Script, busy

from raft_threads.diagrams.layout import LANE_WIDTH, Layout, fitted, lay_out, text_width
from raft_threads.diagrams.space_time import draw_up
from raft_threads.diagrams.words import duration_text
from raft_threads.log import LogEntry
from raft_threads.short_text import command_text


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
        (b'{"op":"increment","key":"n","by":-2}', "n-2"),
    ],
)
def test_a_command_is_told_in_a_few_characters(command: bytes, text: str) -> None:
    """Commands of the key-value store by what they do; others as they are."""
    assert command_text(LogEntry(1, 1, "command", command)) == text


@pytest.mark.parametrize(
    "kind, body, text",
    [
        ("noop", b"", "no-op"),
        ("register", b"", "register"),
        ("session", b'9 2 1 {"op":"increment","key":"n","by":1}', "#2 n+1"),
        ("session", b"makes no sense", "makes no se…"),
        ("configuration", b'{"servers":{"n1":"","n2":""}}', "C n1 n2"),
        ("configuration", b'{"servers":{"n1":"","n2":""},"new_servers":{"n2":"","n3":""}}', "C n1 n2+n2 n3"),
    ],
)
def test_other_entries_are_told_by_what_they_are(kind: str, body: bytes, text: str) -> None:
    """§8: a command of a session with its number; §6: C_old,new by both sets."""
    assert command_text(LogEntry(1, 1, kind, body)) == text


def test_a_duration_is_told_in_a_unit_that_suits_it() -> None:
    """Three digits are enough."""
    assert [duration_text(s) for s in (2.0, 0.0123456, 0.00085, 0.0)] == ["2 s", "12.3 ms", "850 µs", "0 µs"]
