"""`cluster.show()`: the whole cluster on one screen, as whoever debugs sees it (Fig. 2, Fig. 6)."""

from __future__ import annotations

import pytest
from simulated import SimulatedRuns

from raft_threads.messages import RequestVote
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.disk import DiskMood


def shown(cluster: SimulatedCluster, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Return the parts of what `show` prints, each as its lines: time, logs, states, threads, messages."""
    cluster.show()
    return [part.splitlines() for part in capsys.readouterr().out.rstrip("\n").split("\n\n")]


def test_logs_come_first_then_the_rest_of_figure_2(
    cluster: SimulatedCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """A leader's row ends with its indexes; of a server that is down there is what its disk holds."""
    cluster.elect("n1")
    cluster.crash("n3")
    cluster.put("x", "1", via="n1")
    cluster.run_for(1)
    (time,), logs, states, *_ = shown(cluster, capsys)
    assert time == f"{cluster.now:.6f} s, seed 0"
    assert [" ".join(line.split()) for line in logs] == [
        "index 1 2",
        "n1 leader, term 1 [1 no-op] [1 x=1]",
        "n2 follower, term 1 [1 no-op] [1 x=1]",
        "n3 down, term 1 (1 no-op)" if cluster.terms_of("n3") else "n3 down, term 1",
        "[ ] known to be committed ( ) not known to be",
    ]
    assert [line.split() for line in states] == [
        ["role", "current_term", "voted_for", "commit_index", "last_applied"],
        ["n1", "leader", "1", "n1", "2", "2", "next_index", "n2=3", f"n3={cluster.state('n1').next_index['n3']}"]
        + ["match_index", "n1=2", "n2=2", f"n3={cluster.state('n1').match_index['n3']}"],
        ["n2", "follower", "1", "n1", "2", "2"],
        ["n3", "down", "1", "n1"],
    ]


def test_a_candidates_votes_and_what_is_not_saved_yet(
    cluster: SimulatedCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """It votes for itself, and may not say so before that is on disk (Fig. 2)."""
    cluster.disks["n2"].mood = DiskMood(10**9, 10**9)
    cluster.network.hold("n2", "n1")
    cluster.network.hold("n2", "n3")
    cluster.run_until(lambda: cluster.stream.is_up("n2"), "n2 is up")
    cluster.time_out("n2")
    cluster.run_for(0.5)
    states = shown(cluster, capsys)[2]
    assert states[2].split() == "n2 candidate 1 n2 0 0 votes n2=yes term and vote are not saved yet".split()
    cluster.run_for(1)
    states = shown(cluster, capsys)[2]
    assert states[2].split() == "n2 candidate 1 n2 0 0 votes n2=yes".split()


def test_each_thread_has_a_line_unless_it_has_nothing_to_do(
    cluster: SimulatedCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the place in our own code that it has come to; the idle threads of a server share a line."""
    cluster.elect("n1")
    cluster.network.hold("n1", "n2")
    cluster.put("x", "1", via="n1")
    cluster.run_for(0.01)
    threads = shown(cluster, capsys)[3]
    begin = threads.index("waiting for something to do:")
    busy = {line.split()[0]: line for line in threads[:begin]}
    assert busy["main"].split()[1:2] == ["runs"] and "test_show.py:" in busy["main"]
    assert "waits for the answer of n2" in busy["n1/peer-n2"] and "peer_thread.py:" in busy["n1/peer-n2"]
    assert "n2/ apply, disk, election-timer, peer-n1, peer-n3, rpc-from-n1, snapshot" in threads[begin + 1 :]
    named = [*busy, *(f"{line.split('/')[0]}/{name}" for line in threads[begin + 1 :] for name in line[4:].split(", "))]
    assert sorted(named) == sorted(task.name for task in cluster.scheduler.tasks)


def test_messages_under_way_held_back_and_cut_off(
    cluster: SimulatedCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each whole, in a line."""
    cluster.network.hold("n1", "n3", lambda message: isinstance(message, RequestVote))
    cluster.run_until(lambda: cluster.stream.is_up("n1"), "n1 is up")
    cluster.time_out("n1")
    cluster.run_until(lambda: cluster.network.held("n1", "n3"), "a message is held back")
    cluster.run_until(lambda: cluster.network.under_way(), "a message is under way")
    cluster.cut_one_way([("n3", "n2")])
    messages = shown(cluster, capsys)[4]
    request = "RequestVote(term 1, last 0/0)"
    assert messages == [
        f"n1 -> n2  {request}, arrives at {cluster.network.under_way()[0][0] / 1e9:.6f} s",
        f"n1 -> n3  {request}, held back",
        "cut: n3→n2",
    ]


def test_a_server_that_has_stopped_says_why(simulated: SimulatedRuns, capsys: pytest.CaptureFixture[str]) -> None:
    """Its disk failed, and it stopped for good."""
    cluster = simulated(3)
    cluster.elect("n1")
    cluster.disks["n3"].mood = DiskMood(failing=True)
    cluster.put("x", "1", via="n1")
    cluster.run_for(1)
    states = shown(cluster, capsys)[2]
    assert states[3].endswith("has stopped: cannot write to the disk of n3: fsync failed")
