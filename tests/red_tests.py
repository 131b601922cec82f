"""A pytest plugin for another process: leaves out one rule after the other, and runs the tests that name it.

    python -m pytest -p red_tests --red-tests OUT.json tests/...::... ...

For each rule it writes down which of its tests fails first when the rule is left out, and passes again with it; None if
none does. And whether the first of its tests comes by the rule's function, where `run_demo.py rule` sets a breakpoint.
"""

from __future__ import annotations

import inspect
import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Optional
from unittest import mock

import pytest
from simulated import SimulatedRuns

from raft_threads.companion.breaks import broken
from raft_threads.companion.rules import RULES, resolve
from raft_threads.companion.source import function_of


class Verdict(NamedTuple):
    """What the tests of a rule do: which one fails just without it, and whether the first one comes by its function."""

    red: Optional[str]
    first_reaches: bool


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
        found = {
            rule.id: Verdict(self._first_red(rule.id, tests), self._reaches(rule.function, tests[rule.tests[0]]))
            for rule in RULES.values()
        }
        self._output.write_text(json.dumps(found))
        return True

    def _reaches(self, function: str, items: Sequence[pytest.Item]) -> bool:
        """Return whether a test calls a function, in whichever thread."""
        code = inspect.unwrap(function_of(resolve(function))).__code__
        reached = False

        def look(frame: FrameType, event: str, _: Any) -> None:
            nonlocal reached
            reached = reached or frame.f_code is code

        threading.setprofile(look)
        sys.setprofile(look)
        try:
            failed = [item.nodeid for item in items if self._fails(item)]
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        return reached and not failed

    def _first_red(self, rule: str, tests: dict[str, list[pytest.Item]]) -> Optional[str]:
        for test in RULES[rule].tests:
            with broken(rule):
                red = [item for item in tests[test] if self._fails(item)]
            if red and not any(self._fails(item) for item in red):
                return test
        return None

    def _fails(self, item: pytest.Item) -> bool:
        """Run a test, which may have run before."""
        assert isinstance(item, pytest.Function)
        item._initrequest()
        self._failed = False
        item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
        return self._failed
