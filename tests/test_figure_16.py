"""Fig. 16 (§9.3), reproduced: what a trial is, what its seed decides, what is shown of it, and wrong arguments."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Optional

import pytest
from beforehand import Beforehand

from raft_threads.__main__ import main
from raft_threads.events import Event, EventKinds, MessageReceived
from raft_threads.figure_16 import command
from raft_threads.figure_16.graphs import GRAPHS, percent_by
from raft_threads.figure_16.lines import LINES, LOWER, UPPER
from raft_threads.figure_16.real import measure_real
from raft_threads.figure_16.results import Measured, Results, Sample, read_results, write_results
from raft_threads.figure_16.series import measure
from raft_threads.figure_16.simulated import (
    FOLLOWERS,
    LEADER,
    SERVERS,
    Conditions,
    give_logs_of_different_lengths,
    run_trial,
    send_to_all_at_once,
)
from raft_threads.figure_16.table import table
from raft_threads.figure_16.text_plot import text_plot
from raft_threads.messages import AppendEntries
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role

BY_NAME = {line.name: line for line in LINES}
WIDE = BY_NAME["150-300"]


def downtimes(name: str, trials: int) -> list[float]:
    """Return the times without a leader of some trials of a line, in seconds, the shortest first."""
    samples = [run_trial(BY_NAME[name], number, 0, Conditions()) for number in range(trials)]
    return sorted(math.inf if each.downtime is None else each.downtime for each in samples)


# A trial


def test_the_leader_crashes_when_all_have_just_been_sent_a_heartbeat_and_logs_differ() -> None:
    """§9.3: "the leader was crashed [...] after synchronizing", and "some servers were not eligible"."""
    heard: list[tuple[str, float]] = []

    class Ears:
        kinds: Optional[EventKinds] = None

        def observe(self, event: Event) -> None:
            if isinstance(event, MessageReceived) and isinstance(event.message, AppendEntries):
                heard.append((event.server, event.when))

    cluster = SimulatedCluster(SERVERS, seed="heartbeat", timing=WIDE.timing(), observers=[Ears()], remember=False)
    give_logs_of_different_lengths(cluster)
    with cluster:
        send_to_all_at_once(cluster, Conditions())
        assert cluster.state(LEADER).role is Role.LEADER
        cluster.run_for(WIDE.heartbeat_interval)
        assert {server for server, _ in heard} == set(FOLLOWERS)
        arrived = [when for _, when in heard]
        assert max(arrived) - min(arrived) <= 0.002, "only the network tells them apart"
        assert [cluster.state(server).log.last_index for server in SERVERS] == [6, 4, 3, 2, 1]


@pytest.mark.beforehand(downtimes, WIDE.name, 10)
@pytest.mark.beforehand(downtimes, "12-24", 10)
def test_nobody_leads_before_the_shortest_election_timeout_is_over(beforehand: Beforehand) -> None:
    """§9.3: the least is about half the shortest timeout, as the leader crashes within a heartbeat interval."""
    for line in (WIDE, BY_NAME["12-24"]):
        least = line.shortest / 1000 - line.heartbeat_interval
        assert all(least <= time for time in beforehand(downtimes, line.name, 10))


def without_randomness(limit: float) -> Sample:
    """Return what comes of so many seconds in which all have the same timeout."""
    return run_trial(BY_NAME["150-150"], 0, 0, Conditions(limit=limit))


@pytest.mark.beforehand(without_randomness, 3.0)
@pytest.mark.beforehand(downtimes, "150-155", 8)
@pytest.mark.beforehand(downtimes, "150-200", 8)
def test_without_randomness_votes_are_split_again_and_again(beforehand: Beforehand) -> None:
    """§9.3: with no randomness consistently longer than 10 seconds; a little of it is enough."""
    assert beforehand(without_randomness, 3.0).downtime is None
    assert beforehand(downtimes, "150-155", 8)[4] > 1.5 * beforehand(downtimes, "150-200", 8)[4]


def test_the_same_seed_gives_the_same_samples_in_any_number_of_processes() -> None:
    """Each trial has a cluster of its own."""
    lines = [WIDE, BY_NAME["12-24"]]
    runs = [measure(lines, 11, 3, Conditions(), jobs, io.StringIO()) for jobs in (1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != measure(lines, 11, 4, Conditions(), 1, io.StringIO())


def test_a_trial_ends_when_another_server_has_won_an_election() -> None:
    """Not the one that crashed."""
    sample = run_trial(WIDE, 0, 0, Conditions())
    assert sample.downtime is not None and sample.elections >= 1


def kill_one_leader() -> Results:
    """Measure one trial with real processes."""
    return measure_real([WIDE], 1, 10.0, io.StringIO())


@pytest.mark.beforehand(kill_one_leader, waits=True)
def test_real_processes_elect_another_leader_after_kill_9(beforehand: Beforehand) -> None:
    """§9.3 with real clocks, sockets and disks: one trial."""
    (measured,) = beforehand(kill_one_leader).measured
    (sample,) = measured.samples
    assert sample.downtime is not None and sample.downtime > 0.02 and sample.elections >= 1


# What is shown


def results_of(*downtimes_ms: float) -> Results:
    """Return results of one line; infinite for a trial without a leader."""
    samples = [Sample(None if math.isinf(ms) else ms / 1000, 2) for ms in downtimes_ms]
    return Results("made up", 20.0, [Measured(WIDE, samples)])


def test_the_table_shows_what_was_measured_above_what_the_paper_says() -> None:
    """§9.3: medians, means and the worst, beside the figures that the text gives."""
    text = table(results_of(100, 200, 300, 400)).splitlines()
    ours, papers = text[3].split(), text[4].split()
    assert ours == ["150-300", "4", "100", "200", "250", "400", "400", "2.0", "-"]
    assert papers[0] == "paper" and papers[-1] == "603"
    assert "513 ms at worst" in table(Results("", 20.0, [Measured(BY_NAME["150-200"], [Sample(0.1, 1)])]))


def test_a_trial_without_a_leader_counts_as_longer_than_it_lasted() -> None:
    """It is not left out of the statistics."""
    ours = table(results_of(100, math.inf)).splitlines()[3].split()
    assert ours[5:] == [">20000", ">20000", "2.0", "1"]


def test_a_graph_shows_which_part_of_the_trials_was_over_by_when() -> None:
    """Fig. 16's axes: cumulative percent over the time without a leader."""
    assert [percent_by([100.0, 200.0], at) for at in (99, 100, 150, 200)] == [0, 50, 50, 100]
    drawn = text_plot(GRAPHS[1], results_of(100, 200, 300, 400))
    assert "100% |" in drawn and "a 150-300 ms" in drawn and "ms without a leader" in drawn
    assert text_plot(GRAPHS[0], Results("", 20.0, [])) == ""


def test_the_lines_are_those_of_the_papers_two_graphs() -> None:
    """Fig. 16."""
    assert [line.name for line in UPPER] == ["150-150", "150-151", "150-155", "150-175", "150-200", "150-300"]
    assert [line.name for line in LOWER] == ["12-24", "25-50", "50-100", "100-200", "150-300"]


# The command


def test_what_was_measured_can_be_kept_and_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json and --from."""
    kept = tmp_path / "kept.json"
    arguments = ["figure-16", "--trials", "2", "--lines", "12-24,150-300", "--jobs", "1"]
    assert main([*arguments, "--json", str(kept)]) == 0
    first = capsys.readouterr()
    assert "4 of 4 trials" in first.err
    assert main(["figure-16", "--from", str(kept)]) == 0
    assert capsys.readouterr().out == first.out
    write_results(read_results(kept), tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(kept.read_text())


def test_without_matplotlib_the_plot_says_how_to_get_it_and_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An optional extra."""
    monkeypatch.setattr(command, "matplotlib_is_there", lambda: False)
    assert main(["figure-16", "--trials", "1", "--plot", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and "pip install" in err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--trials", "0"],
        ["--lines", "1-2"],
        ["--limit", "0"],
        ["--jobs", "0"],
        ["--answer", "14-10"],
        ["--request", "x"],
        ["--request", "20"],
        ["--real", "--seed", "1"],
        ["--from", "x", "--trials", "1"],
        ["--json", "/no/such/file"],
    ],
)
def test_wrong_arguments_get_one_clear_error(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    with pytest.raises(SystemExit) as end:
        main(["figure-16", *wrong])
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("raft-threads figure-16: error: ")


@pytest.mark.parametrize("content", ["", "{}", '{"format": "raft_threads figure 16, 2"}'])
def test_a_file_that_holds_no_results_is_refused_in_one_line(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1."""
    path = tmp_path / "results.json"
    path.write_text(content)
    assert main(["figure-16", "--from", str(path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
