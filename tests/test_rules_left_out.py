"""Without a rule its tests fail, and a run of the simulator loses what the rule is for; with it, the same run does not.

What is left out, and what replaces it, is `raft_threads/companion/breaks*.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

import pytest

from raft_threads.companion.breaking import Break, first_loss, run
from raft_threads.companion.breaks import BREAKS, broken
from raft_threads.companion.figure_3 import LINEARIZABILITY, LIVENESS
from raft_threads.companion.rules import RULES, resolve
from raft_threads.replication import advance_commit_index
from raft_threads.server_invariants import (
    ELECTION_SAFETY,
    LEADER_APPEND_ONLY,
    LEADER_COMPLETENESS,
    LOG_MATCHING,
    PERSISTENCE,
    STATE_MACHINE_SAFETY,
)

ROOT = Path(__file__).resolve().parent.parent
PROPERTIES = {
    ELECTION_SAFETY,
    LEADER_APPEND_ONLY,
    LOG_MATCHING,
    LEADER_COMPLETENESS,
    STATE_MACHINE_SAFETY,
    LIVENESS,
    LINEARIZABILITY,
    PERSISTENCE,
}
SHOWN = {name: each for name, each in BREAKS.items() if each.schedule is not None}


@pytest.fixture(name="first_red", scope="module")
def first_red_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], dict[str, Optional[str]]]]:
    """In another process, while this one plays schedules: by rule, the test that fails first without it."""
    output = tmp_path_factory.mktemp("red") / "red.json"
    tests = sorted({test for rule in RULES.values() for test in rule.tests})
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "red_tests", "-p", "no:cacheprovider", "-o", "timeout=5"]
        + ["--tb=no", "--red-tests", str(output), *tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def result() -> dict[str, Optional[str]]:
        printed, _ = process.communicate(timeout=50)
        assert output.exists(), printed
        red: dict[str, Optional[str]] = json.loads(output.read_text())
        return red

    yield result
    process.kill()
    process.wait()


def test_every_rule_has_a_break_that_says_what_is_lost_or_why_nothing_is() -> None:
    """In the order of the book."""
    assert list(BREAKS) == list(RULES)
    for each in BREAKS.values():
        assert each.does.endswith((".", ".)"))
        if each.schedule is None:
            assert each.untold.endswith(".") and not each.loses
        else:
            assert each.loses in PROPERTIES and not each.untold
            assert each.schedule.play.__doc__


@pytest.mark.parametrize("each", SHOWN.values(), ids=SHOWN)
def test_without_the_rule_its_property_is_lost_and_with_it_the_same_run_ends_well(
    each: Break, first_red: object
) -> None:
    """Fig. 3 and the rest, on whole servers. While these run, `first_red` runs in the background."""
    assert each.schedule is not None
    outcome = first_loss(each.schedule, each.swaps)
    assert outcome.lost is not None, f"{each.schedule.seeds} seeds\n{outcome.picture}"
    assert outcome.lost.property == each.loses, outcome.lost
    sound = run(each.schedule, seed=outcome.seed)
    assert sound.lost is None, f"{sound.lost}\n{sound.picture}"
    assert sound.ending.endswith(".")


def test_without_a_rule_a_test_that_names_it_fails(first_red: Callable[[], dict[str, Optional[str]]]) -> None:
    """For all of them; and the score."""
    red = first_red()
    untested = [name for name, test in red.items() if test is None]
    print(
        f"{len(RULES)} rules: without {len(RULES) - len(untested)} of them a test fails, "
        f"without {len(SHOWN)} the simulator shows the damage; {len(BREAKS) - len(SHOWN)} cannot be told there"
    )
    assert list(red) == list(RULES) and not untested


def test_a_rule_is_left_out_for_a_while_only() -> None:
    """What was there before is there again, also after a failure."""
    for name in BREAKS:
        with pytest.raises(KeyError), broken(name):
            raise KeyError
    with broken("F2.Leaders.4"):
        assert resolve("raft_threads.replication.advance_commit_index") is not advance_commit_index
    assert resolve("raft_threads.replication.advance_commit_index") is advance_commit_index
