"""`python -m raft_threads check-history` as people and scripts see it (§8)."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
from processes import ROOT

from raft_threads.__main__ import main

PAGE = (ROOT / "docs" / "histories.md").read_text()
INVOKE = '{"process": 1, "type": "invoke", "f": "write", "key": "x", "value": 1}\n'
OK = INVOKE.replace("invoke", "ok")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run the command; return its exit code and what it wrote."""
    code = main(["check-history", *arguments])
    return (code, *capsys.readouterr())


def test_the_pages_history_is_not_linearizable_and_its_window_is_what_the_page_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/histories.md."""
    history, window = re.findall(r'```\n((?:\{|key "x").*?\n)```', PAGE, re.DOTALL)
    (tmp_path / "history.jsonl").write_text(history)
    code, out, err = said(capsys, str(tmp_path / "history.jsonl"))
    assert (code, err) == (1, "")
    assert out.startswith("not linearizable: 4 operations on 1 keys, 1 without an answer; ")
    assert out.endswith(window)


def test_without_its_last_read_the_pages_history_is_linearizable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The write that may have happened did."""
    (history, _) = re.findall(r'```\n((?:\{|key "x").*?\n)```', PAGE, re.DOTALL)
    (tmp_path / "history.jsonl").write_text("".join(history.splitlines(keepends=True)[:-2]))
    code, out, _ = said(capsys, str(tmp_path / "history.jsonl"))
    assert code == 0 and out.startswith("linearizable: 3 operations")


def test_a_history_may_come_from_standard_input(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `-`, for pipes."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(INVOKE + OK))
    assert said(capsys, "-")[0] == 0


@pytest.mark.parametrize(
    "content, words",
    [
        ("{\n", "line 1: not JSON"),
        (INVOKE + INVOKE, "line 2: process 1 invokes write"),
        (OK, "line 1: ok for process 1, which has nothing pending"),
        (INVOKE.replace("write", "increment"), 'line 1: "f" must be one of'),
        (INVOKE.replace("invoke", "maybe"), 'line 1: "type" must be one of'),
    ],
)
def test_what_is_no_history_is_one_clear_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, words: str
) -> None:
    """It names the line."""
    file = tmp_path / "history.jsonl"
    file.write_text(content)
    code, out, err = said(capsys, str(file))
    assert (code, out) == (2, "")
    assert err.startswith(f"raft-threads check-history: {file}: {words}") and err.count("\n") == 1


def test_a_file_that_cannot_be_read_is_one_clear_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No such file, a directory, bytes that are no text."""
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("missing", ".", "bytes"):
        code, out, err = said(capsys, str(tmp_path / name))
        assert (code, out) == (2, "")
        assert err.startswith("raft-threads check-history: ") and err.count("\n") == 1


@pytest.mark.parametrize("timeout", ["0", "-1", "x", "inf"])
def test_a_wrong_timeout_is_refused(capsys: pytest.CaptureFixture[str], timeout: str) -> None:
    """Exit code 2."""
    with pytest.raises(SystemExit) as end:
        main(["check-history", "-", "--timeout", timeout])
    assert end.value.code == 2
    assert "check-history: error: " in capsys.readouterr().err
