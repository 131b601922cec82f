"""Recorded histories of clients: the format, what is refused, `check-history` as people and scripts see it (§8)."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any, Callable

import pytest
from processes import ROOT, run

from raft_threads import history_command
from raft_threads.__main__ import main
from raft_threads.histories import NAMES, TYPES, BadHistory, History, Operation
from raft_threads.linearizability import Verdict

PAGE = ROOT / "docs" / "histories.md"


def event(type: str, f: str, value: Any = None, process: Any = 1, **more: Any) -> str:
    """Return a line of a history."""
    return json.dumps({"process": process, "type": type, "f": f, "key": "x", "value": value, **more})


def operations_of(*lines: str) -> list[Operation]:
    """Return the operations in these lines."""
    return History.from_lines(lines).operations()


# What is recorded


def test_a_history_is_written_and_read_again() -> None:
    """Key, values of all kinds, times, and what is pending."""
    history = History()
    history.invoke("a", "put", "x", "1", time=0.5)
    history.invoke(2, "cas", None, (None, True))
    history.ok("a", "put", "x", "1", time=0.75)
    history.info(2, "cas", None, (None, True))
    history.invoke(2, "get", "x")
    assert History.from_lines(history.to_lines()).operations() == history.operations()
    assert History.from_lines(history.to_lines()).to_lines() == history.to_lines()
    assert json.loads(history.to_lines()[0]) == {
        "process": "a", "type": "invoke", "f": "put", "key": "x", "value": "1", "time": 0.5
    }  # fmt: skip


def test_an_operation_knows_its_lines_its_times_and_its_result() -> None:
    """Blank lines are skipped, but they count."""
    lines = [event("invoke", "get", time=1), "", event("ok", "get", "v", time=2.5, node="n3")]
    (read,) = operations_of(*lines)
    assert read == Operation(1, "read", "x", None, 1, 1, 3, 2.5, "v")


def test_a_failed_cas_read_another_value_and_any_other_failure_did_nothing() -> None:
    """A `fail`."""
    assert [operation.result for operation in operations_of(event("invoke", "cas", [1, 2]), event("fail", "cas"))] == [
        False
    ]
    for f, value in (("read", None), ("write", 1), ("append", "1"), ("delete", None)):
        assert operations_of(event("invoke", f, value), event("fail", f)) == []


@pytest.mark.parametrize("end", [[], [event("info", "write")]], ids=["pending", "info"])
def test_an_operation_without_an_answer_stays_open(end: list[str]) -> None:
    """It may take effect at any later time, or never."""
    (operation,) = operations_of(event("invoke", "write", 1), *end)
    assert operation.returned is None


def test_a_read_without_an_answer_tells_nothing() -> None:
    """It is dropped."""
    assert operations_of(event("invoke", "read"), event("info", "read"), event("invoke", "get")) == []


def test_a_process_may_go_on_after_info() -> None:
    """The earlier operation stays open for ever."""
    first, second = operations_of(
        event("invoke", "write", 1), event("info", "write"), event("invoke", "write", 2), event("ok", "write")
    )
    assert (first.returned, second.returned) == (None, 4)


def test_read_is_get_and_write_is_put_and_no_key_is_null() -> None:
    """Names differ between recorders."""
    lines = [event("invoke", "put", 1), event("ok", "write"), event("invoke", "get"), event("ok", "read", 1)]
    assert [operation.f for operation in operations_of(*lines)] == ["write", "read"]
    without_key = '{"process": 1, "type": "invoke", "f": "write", "value": 1}'
    (operation,) = operations_of(without_key, event("ok", "put", key=None))
    assert operation.key is None and operation.returned == 2


# What is refused


@pytest.mark.parametrize(
    "line, complaint",
    [
        ("{", "not JSON: Expecting property name"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "not JSON"),
        ('{"process": 1, "f": "read"}', '"type" must be one of invoke, ok, fail, info'),
        (event("done", "read"), '"type" must be one of'),
        (event("invoke", "increment"), '"f" must be one of read, get,'),
        ('{"process": 1, "type": "invoke", "f": ["read"]}', '"f" must be one of'),
        (event("invoke", "read", process=None), '"process" must be'),
        (event("invoke", "read", process=True), '"process" must be'),
        (event("invoke", "read", key=1.5), '"key" must be'),
        (event("invoke", "read", key=False), '"key" must be'),
        (event("invoke", "read", time="noon"), '"time" must be'),
        (event("invoke", "write", [1]), 'the "value" of a write must be'),
        (event("invoke", "write", float("nan")), 'the "value" of a write must be'),
        ('{"process": 1, "type": "invoke", "f": "write"}', 'the "value" of a write must be'),
        (event("invoke", "append", 1), 'the "value" of an append must be text'),
        (event("invoke", "cas", 1), r'the "value" of a cas must be \[expected, new\]'),
        (event("invoke", "cas", [1, 2, 3]), r'the "value" of a cas must be \[expected, new\]'),
        (event("invoke", "cas", [1, {}]), r'the "value" of a cas must be \[expected, new\]'),
        (event("ok", "read", 1), "ok for process 1, which has nothing pending"),
        (event("info", "read", process="p"), "info for process 'p', which has nothing pending"),
    ],
)
def test_a_line_that_makes_no_sense_is_refused(line: str, complaint: str) -> None:
    """With its number, in one line."""
    with pytest.raises(BadHistory, match=f"^line 3: {complaint}") as refused:
        operations_of(event("invoke", "read", process=2), "", line)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "line, complaint",
    [
        (event("invoke", "read"), 'process 1 invokes read, and delete of key "x" from line 1 is pending'),
        (event("ok", "read", 1), 'ok for read of key "x", and delete of key "x" from line 1 is pending'),
        (event("fail", "delete", key="y"), 'fail for delete of key "y", and delete of key "x"'),
        (event("ok", "delete", key=None), 'ok for delete of key null, and delete of key "x"'),
        (event("ok", "delete", "yes"), 'the "value" of a delete that is ok must be true, false or null'),
        (event("ok", "delete", 1), 'the "value" of a delete that is ok must be true, false or null'),
    ],
)
def test_an_answer_that_does_not_belong_to_what_is_pending_is_refused(line: str, complaint: str) -> None:
    """A process has one operation at a time."""
    with pytest.raises(BadHistory, match=f"^line 2: {complaint}"):
        operations_of(event("invoke", "delete"), line)


def test_a_read_without_a_value_is_refused_rather_than_taken_for_absent() -> None:
    """Null must be said."""
    with pytest.raises(BadHistory, match='line 2: the "value" of a read that is ok'):
        operations_of(event("invoke", "read"), '{"process": 1, "type": "ok", "f": "read", "key": "x"}')


def test_what_is_refused_while_recording_is_not_recorded() -> None:
    """So that the history stays good."""
    history = History()
    history.invoke(1, "get", "x")
    mistakes: list[Callable[[], None]] = [
        lambda: history.ok(1, "get", "y", "1"),
        lambda: history.ok(1, "get", "x", [1]),
        lambda: history.invoke(1, "get", "x"),
        lambda: history.invoke(2, "append", "x", 1),
        lambda: history.fail(2, "get", "x"),
    ]
    for mistake in mistakes:
        with pytest.raises(BadHistory, match="line 2: "):
            mistake()
    history.ok(1, "get", "x", "1")
    assert len(history.to_lines()) == 2 and len(history.operations()) == 1


# The command


GOOD = [event("invoke", "put", "1"), event("ok", "put"), event("invoke", "get"), event("ok", "get", "1")]
BAD = [*GOOD[:3], event("ok", "get", "2")]


def checked(capsys: pytest.CaptureFixture[str], file: Path, *lines: str) -> tuple[int, str, str]:
    """Write `lines` to `file` and check it in this process; return exit code, standard output and error."""
    file.write_text("".join(line + "\n" for line in lines))
    code = main(["check-history", str(file)])
    return (code, *capsys.readouterr())


def without_time(text: str) -> str:
    """Return `text` with no time that the check took."""
    return re.sub(r"checked in \d+\.\d+ s", "checked in ... s", text)


def test_a_linearizable_history_is_exit_code_0_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With what was in it."""
    code, out, err = checked(capsys, tmp_path / "h", *GOOD, event("invoke", "put", "3", key=None))
    assert (code, err) == (0, "")
    assert without_time(out) == "linearizable: 3 operations on 2 keys, 1 of them without an answer; checked in ... s\n"


def test_a_history_that_is_not_linearizable_is_exit_code_1_and_shows_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The window of operations that no order explains."""
    code, out, err = checked(capsys, tmp_path / "h", *BAD)
    assert (code, err) == (1, "")
    assert without_time(out).splitlines() == [
        "not linearizable: 2 operations on 1 key, 0 of them without an answer; checked in ... s",
        'key "x": no order explains this answer, whatever the other operation on it did:',
        '  lines 3-4  process 1  read -> "2"',
    ]


def test_a_file_that_is_not_a_history_is_exit_code_2_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On standard error."""
    file = tmp_path / "h"
    code, out, err = checked(capsys, file, *GOOD, "{}")
    assert (code, out) == (2, "")
    assert err == f'raft-threads check-history: {file}: line 5: "type" must be one of invoke, ok, fail, info\n'
    file.write_bytes(b"\xff\xfe")
    for name, complaint in ((file, "not UTF-8 text"), (tmp_path, "directory"), (tmp_path / "none", "No such file")):
        assert main(["check-history", str(name)]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.startswith(f"raft-threads check-history: {name}: ") and err.count("\n") == 1
        assert complaint in err


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As everywhere."""
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(GOOD)))
    assert main(["check-history", "-"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("no history"))
    assert main(["check-history", "-"]) == 2
    assert capsys.readouterr().err.startswith("raft-threads check-history: -: line 1: not JSON: ")


def test_an_undecided_history_is_exit_code_3_and_names_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the time was up."""
    monkeypatch.setattr(history_command, "check", lambda operations, timeout: Verdict((), ("x",)))
    code, out, err = checked(capsys, tmp_path / "h", *GOOD)
    assert (code, err) == (3, "")
    assert out.startswith("undecided: ")
    assert out.splitlines()[1:] == ['key "x": undecided after 60 s; try a longer --timeout']


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ([], "FILE"),
        (["h", "--timeout", "0"], "must be a positive number"),
        (["h", "--timeout", "inf"], "must be a positive number"),
        (["h", "--timeout", "soon"], "'soon' is not a number of seconds"),
    ],
)
def test_wrong_arguments_are_exit_code_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usage and one line, on standard error."""
    with pytest.raises(SystemExit) as ended:
        main(["check-history", *arguments])
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert complaint in err.splitlines()[-1]


def test_the_help_says_what_the_exit_codes_mean(capsys: pytest.CaptureFixture[str]) -> None:
    """And the main help names the command."""
    with pytest.raises(SystemExit) as ended:
        main(["check-history", "--help"])
    assert (ended.value.code, "0 linearizable; 1 not" in " ".join(capsys.readouterr().out.split())) == (0, True)
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "check-history" in capsys.readouterr().out


# The page


def test_the_pages_example_gives_what_the_page_says(tmp_path: Path) -> None:
    """docs/histories.md: file, command and output, as a user runs it."""
    history, session = re.findall(r"```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    command, expected = session.split("\n", 1)
    assert command == "$ python3 -m raft_threads check-history stale.jsonl"
    (tmp_path / "stale.jsonl").write_text(history)
    done = run("check-history", "stale.jsonl", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert without_time(done.stdout) == without_time(expected)


def test_the_page_lists_every_type_and_every_operation() -> None:
    """The tables' first columns."""
    first_cells = re.findall(r"^\| (`[^|]*) \|", PAGE.read_text(), re.MULTILINE)
    listed = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
    assert {*TYPES, *NAMES} <= listed
    assert listed - {*TYPES, *NAMES} == {"process", "type", "f", "key", "value", "time"}
