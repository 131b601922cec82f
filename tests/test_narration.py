"""What the demo says of events, and what it leaves out (docs/demo.md)."""

from __future__ import annotations

import io
import re

import pytest

from raft_threads import events
from raft_threads.configuration import Configuration
from raft_threads.demo.narration import Narration
from raft_threads.demo.stage import Stage
from raft_threads.events import Event, glimpse
from raft_threads.log import COMMAND, CONFIGURATION, SESSION_COMMAND, LogEntry, SnapshotMetadata
from raft_threads.messages import AppendEntries, InstallSnapshot, TimeoutNow
from raft_threads.sessions import session_command
from raft_threads.state import State

NOW = glimpse(State("n1", ("n1", "n2", "n3"), 3))


def told(*observed: Event) -> list[str]:
    """Return what is said of the events `observed`, without the times."""
    out = io.StringIO()
    stage = Stage("fast", out)
    narration = Narration(stage, closely=False)
    for event in observed:
        narration.observe(event)
    stage.open()
    stage.close()
    return re.findall(r"\d\d:\d\d:\d\d  (.*)\n", out.getvalue())


def applied(index: int, kind: str, body: bytes, result: bytes = b"1") -> events.Applied:
    """Return that n1 applied an entry."""
    return events.Applied("n1", 0.0, NOW, LogEntry(index, 3, kind, body), result)


def test_of_entries_only_commands_are_told() -> None:
    """A reader who sees a configuration in force needs no echo when it is applied."""
    configuration = applied(1, CONFIGURATION, b'{"servers":{"n1":""}}', b"")
    assert told(configuration, applied(2, COMMAND, b"something")) == ["n1  applies entry 2: something"]


def test_a_command_that_comes_again_in_its_session_is_told_as_such_until_the_server_restarts() -> None:
    """§8: after a restart the server executes its log anew."""
    second, same = (applied(index, SESSION_COMMAND, session_command(1, 2, 2, b"inc")) for index in (5, 7))
    third = applied(8, SESSION_COMMAND, session_command(1, 3, 3, b"inc"))
    restarted = events.Restarted("n1", 0.0, NOW, (), SnapshotMetadata())
    lines = told(second, same, third, restarted, second)
    again = "applies entry 7: #2 inc again; the first answer counts"
    assert [line[4:] for line in lines if "starts" not in line] == [
        "applies entry 5: #2 inc", again, "applies entry 8: #3 inc", "applies entry 5: #2 inc"
    ]


def test_a_candidate_that_is_disregarded_is_told_of_once_a_term() -> None:
    """§6: it asks again with every heartbeat interval."""
    terms = (4, 4, 4, 5, 5)
    lines = told(*(events.RequestVoteDisregarded("n1", 0.0, NOW, "n3", term) for term in terms))
    assert lines == [f"n1  disregards n3, which asks for a vote in term {term}" for term in (4, 5)]


def test_who_is_told_to_stand_has_not_heard_of_no_leader() -> None:
    """Diss. §3.10; and the next time it has."""
    timed_out = events.ElectionTimedOut("n1", 0.0, NOW)
    assert told(events.MessageReceived("n1", 0.0, NOW, "n2", TimeoutNow(3, "n2")), timed_out, timed_out) == [
        "n1  is told by n2 to stand for election at once", "n1  has heard of no leader and times out"
    ]


def test_of_messages_chunks_are_told_and_heartbeats_are_not() -> None:
    """§7, Fig. 13."""
    chunk = InstallSnapshot(3, "n2", 20, 3, 100, b"12345", False)
    heartbeat = AppendEntries(3, "n2", 0, 0, (), 0)
    lines = told(*(events.MessageReceived("n1", 0.0, NOW, "n2", each) for each in (heartbeat, chunk)))
    assert lines == ["n1  receives bytes 101 to 105 of the snapshot of n2"]


@pytest.mark.parametrize(
    "configuration, index, text",
    [
        (Configuration.of(["n1"]), 7, "n1  uses C_new = n1, by entry 7"),
        (Configuration.of(["n1"]), 0, "n1  uses C_new = n1, as the snapshot says"),
        (
            Configuration(Configuration.of(["n1"]).members, Configuration.of(["n1", "n2"]).members), 6,
            "n1  uses C_old,new = n1 and n1 n2, by entry 6",
        ),
    ],
)
def test_configurations_have_the_papers_names(configuration: Configuration, index: int, text: str) -> None:
    """§6, Fig. 11."""
    assert told(events.ConfigurationChanged("n1", 0.0, NOW, index, configuration)) == [text]
