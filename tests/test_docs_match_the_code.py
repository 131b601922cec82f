"""What the README and docs/ say of the code is so: formats, conditions, what continuous integration runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

from raft_threads import file_storage, wire
from raft_threads.entry_format import check_and_strip
from raft_threads.log import LogEntry
from raft_threads.log_format import entries_after, read_log
from raft_threads.snapshot_format import check_snapshot

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_readmes_test_command_is_what_ci_runs_word_for_word() -> None:
    """`.ci/run` calls the README's second command."""
    commands = re.findall(r"```\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert commands[0] == "python3 run_demo.py"
    assert commands[1] in (ROOT / ".ci" / "run").read_text().splitlines()


def test_every_condition_in_the_threads_page_exists() -> None:
    """The conditions in the page's table are attributes that the code makes."""
    page = (ROOT / "docs" / "threads.md").read_text()
    code = (ROOT / "raft_threads" / "monitor.py").read_text() + (ROOT / "raft_threads" / "disk.py").read_text()
    named = set(re.findall(r"^\| `(?:Monitor|Disk)\.(\w+)", page, re.MULTILINE))
    made = set(re.findall(r"self\.(\w+)[^=\n]*= .*[cC]ondition\(", code))
    assert named == made


def test_the_wire_page_lists_every_message_with_its_fields() -> None:
    """Each message type of the wire format stands in a table, and so does each of its fields."""
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", (ROOT / "docs" / "wire-format.md").read_text(), re.MULTILINE)
    fields_of = {name: set(re.findall(r"`(\w+)`", cells.split("|")[0])) for name, cells in rows}
    for name, layout in wire._LAYOUT.values():
        assert fields_of.get(name, set()) - {"add", "remove", "set"} == set(layout), name


def test_the_storage_pages_samples_are_files_that_a_server_would_read() -> None:
    """The sample files on the page pass the checks that real ones must pass, and belong together."""
    page = (ROOT / "docs" / "storage-format.md").read_text()
    samples = [
        (name, [line.encode() + b"\n" for line in lines.splitlines()])
        for name, lines in re.findall(r"^\$ cat (\w+)\n((?:[0-9a-f]{8} .*\n)+)", page, re.MULTILINE)
    ]
    assert [name for name, _ in samples] == ["server", "term_and_vote", "log", "snapshot", "log"]
    server, term_and_vote, log, snapshot, cut_log = (lines for _, lines in samples)
    assert json.loads(check_and_strip(server[0]))["format"] == file_storage.FORMAT
    current_term = json.loads(check_and_strip(term_and_vote[0]))["current_term"]
    whole, cut = read_log(log, current_term), read_log(cut_log, current_term)
    assert whole.damage is None and cut.damage is None
    metadata = check_snapshot(snapshot)
    assert entries_after(None, whole) == whole.entries and len(whole.entries) == metadata.last_included_index
    assert entries_after(metadata, cut) == cut.entries and cut.prev_log_index == metadata.last_included_index


def test_the_wire_pages_sample_entry_is_whole() -> None:
    """The sample AppendEntries carries an entry whose checksum fits."""
    page = (ROOT / "docs" / "wire-format.md").read_text()
    (sample,) = re.findall(r"^([0-9a-f]{8} .*)$", page, re.MULTILINE)
    assert LogEntry.from_line(sample.encode() + b"\n").index == 12


def test_the_debugger_configurations_are_valid() -> None:
    """`.vscode/launch.json` is JSON and starts programs that exist."""
    launch = json.loads((ROOT / ".vscode" / "launch.json").read_text())
    programs = [entry["program"] for entry in launch["configurations"] if "program" in entry]
    assert programs
    for program in programs:
        assert (ROOT / program.replace("${workspaceFolder}/", "")).exists()


def test_no_page_or_module_speaks_of_files_that_users_do_not_have() -> None:
    """The project stands alone in a fresh clone."""
    for path in [*PAGES, *(ROOT / "raft_threads").rglob("*.py"), *(ROOT / "tests").glob("*.py")]:
        assert "../" + "shared" not in path.read_text(), path
