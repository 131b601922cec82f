"""Without a rule its tests fail, and a run of the simulator loses what the rule is for; with it, the same run does not.

What is left out, and what replaces it, is `raft_threads/companion/breaks*.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable, NamedTuple

import pytest
from beforehand import Beforehand
from red_tests import Verdict

from raft_threads.companion.breaking import first_loss, run
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


def run_their_tests() -> dict[str, Verdict]:
    """Have the tests of all rules run in another process; return what they do."""
    tests = sorted({test for rule in RULES.values() for test in rule.tests})
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "red.json"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "red_tests", "-p", "no:cacheprovider", "-o", "timeout=20"]
            + ["--tb=no", "--red-tests", str(output), *tests],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=50,
        )
        assert output.exists(), done.stdout
        return {rule: Verdict(*found) for rule, found in json.loads(output.read_text()).items()}


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


class Damage(NamedTuple):
    """What is lost without a rule, and how the same run ends with it; and all logs at the end of each."""

    lost: str
    logs: str
    ending: str
    sound_logs: str


def damage_without(rule: str) -> Damage:
    """Play a rule's schedule without the rule, and with it."""
    left_out = BREAKS[rule]
    assert left_out.schedule is not None
    outcome = first_loss(left_out.schedule, left_out.swaps)
    sound = run(left_out.schedule, seed=outcome.seed)
    ending = sound.ending if sound.lost is None else str(sound.lost)
    return Damage(str(outcome.lost), outcome.picture, ending, sound.picture)


@pytest.fixture(name="damaged", scope="module")
def rules_whose_damage_was_seen() -> set[str]:
    """Return a set, which is filled as schedules are played."""
    return set()


@pytest.mark.parametrize(
    "rule", [pytest.param(rule, marks=pytest.mark.beforehand(damage_without, rule)) for rule in SHOWN]
)
def test_without_the_rule_its_property_is_lost_and_with_it_the_same_run_ends_well(
    rule: str, beforehand: Beforehand, damaged: set[str]
) -> None:
    """Fig. 3 and the rest, on whole servers."""
    damage = beforehand(damage_without, rule)
    assert damage.lost.startswith(f"{BREAKS[rule].loses}: "), f"{damage.lost}\n{damage.logs}"
    assert damage.ending.endswith("."), f"{damage.ending}\n{damage.sound_logs}"
    damaged.add(rule)


@pytest.mark.beforehand(run_their_tests, waits=True)
def test_without_a_rule_a_test_that_names_it_fails(
    beforehand: Beforehand, damaged: set[str], record_property: Callable[[str, object], None]
) -> None:
    """For all of them; and the score. The first test of each comes by the function at which one is told to stop."""
    tested = beforehand(run_their_tests)
    untested = [name for name, each in tested.items() if each.red is None]
    record_property(
        "score",
        f"{len(RULES)} rules: without {len(RULES) - len(untested)} of them a test that names it fails; "
        f"without {len(damaged)} of {len(SHOWN)} the simulator has shown the damage; "
        f"{len(BREAKS) - len(SHOWN)} cannot be told there: {', '.join(name for name in BREAKS if name not in SHOWN)}",
    )
    assert list(tested) == list(RULES) and not untested
    assert not [name for name, each in tested.items() if not each.first_reaches]


def test_a_rule_is_left_out_for_a_while_only() -> None:
    """What was there before is there again, also after a failure."""
    for name in BREAKS:
        with pytest.raises(KeyError), broken(name):
            raise KeyError
    with broken("F2.Leaders.4"):
        assert resolve("raft_threads.replication.advance_commit_index") is not advance_commit_index
    assert resolve("raft_threads.replication.advance_commit_index") is advance_commit_index
