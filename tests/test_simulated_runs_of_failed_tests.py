"""When a test of a scenario fails, its report names a trace and a diagram of what happened."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from simulated import SimulatedRuns

from raft_threads.trace import read_trace

TESTS = Path(__file__).resolve().parent
TWO_TESTS = """
def test_that_passes(cluster):
    cluster.put("x", "passed", cluster.elect("n1"))

def test_that_fails(simulated):
    cluster = simulated(["S1", "S2", "S3", "S4"])
    cluster.put("x", "failed", cluster.elect("S2"))
    assert cluster.state("S2").current_term == 7
"""


def test_a_failed_test_leaves_the_trace_and_the_diagram_of_its_run(tmp_path: Path) -> None:
    """And one that passes leaves nothing."""
    (tmp_path / "test_two.py").write_text(TWO_TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "conftest", f"--rootdir={tmp_path}", "-c", "/dev/null"]
    command += [f"--basetemp={tmp_path / 'left'}", str(tmp_path / "test_two.py")]
    pytest_run = subprocess.run(
        command, env={"PYTHONPATH": str(TESTS)}, capture_output=True, text=True, timeout=50, cwd=tmp_path
    )
    report = pytest_run.stdout
    assert "1 failed, 1 passed" in report, report + pytest_run.stderr
    (trace_name,) = re.findall(r"^trace: (.*)$", report, re.MULTILINE)
    (diagram_name,) = re.findall(r"^diagram: (.*)$", report, re.MULTILINE)
    assert str(tmp_path) in trace_name
    assert read_trace(trace_name).header.servers == ("S1", "S2", "S3", "S4")
    assert "test_that_fails" in Path(diagram_name).read_text()
    assert re.search(r"^S2 leader, term 1 .*\[1 x=failed", report, re.MULTILINE), report


def test_the_same_scenario_runs_alike_every_time(simulated: SimulatedRuns) -> None:
    """Nothing in it is left to chance that its seed does not decide."""
    fingerprints = set()
    for _ in range(2):
        cluster = simulated(5, seed="alike")
        cluster.put("x", "1", cluster.elect("n2"))
        cluster.run_for(1.0)
        fingerprints.add(cluster.scheduler.fingerprint)
    assert len(fingerprints) == 1


def test_a_picture_shows_what_the_disk_of_a_server_holds_that_is_down(simulated: SimulatedRuns) -> None:
    """Fig. 8 draws the logs of crashed servers too."""
    cluster = simulated(3)
    cluster.put("x", "1", cluster.elect("n1"))
    cluster.wait_until_applied_everywhere()
    cluster.crash("n3")
    assert cluster.picture().splitlines()[-1] == "n3 down, term 1      (1 no-op) (1 x=1)"
