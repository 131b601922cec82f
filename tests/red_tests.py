"""A pytest plugin for another process: leaves out one rule after the other, and runs the tests that name it.

    python -m pytest -p red_tests --red-tests OUT.json tests/...::... ...

For each rule it writes down which of its tests fails first when the rule is left out; None if none does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional
from unittest import mock

import pytest
from simulated import SimulatedRuns

from raft_threads.companion.breaks import broken
from raft_threads.companion.rules import RULES


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that says where to write."""
    parser.addoption("--red-tests", type=Path, required=True)


def pytest_configure(config: pytest.Config) -> None:
    """Take the place of the loop that runs every test once."""
    # Nobody reads what these failures tell.
    mock.patch.object(SimulatedRuns, "leave_behind", lambda self, directory: "").start()
    config.pluginmanager.register(RedTests(config.getoption("--red-tests")))


class RedTests:
    """Runs the tests of each rule without the rule."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note whether the test that runs now fails."""
        self._failed = self._failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Go through the rules, instead of the tests."""
        tests: dict[str, list[pytest.Item]] = {}
        for item in session.items:
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
        red = {rule.id: self._first_red(rule.id, tests) for rule in RULES.values()}
        self._output.write_text(json.dumps(red))
        return True

    def _first_red(self, rule: str, tests: dict[str, list[pytest.Item]]) -> Optional[str]:
        with broken(rule):
            for test in RULES[rule].tests:
                if any(self._fails(item) for item in tests[test]):
                    return test
        return None

    def _fails(self, item: pytest.Item) -> bool:
        """Run a test, which may have run before."""
        assert isinstance(item, pytest.Function)
        item._initrequest()
        self._failed = False
        item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        return self._failed
