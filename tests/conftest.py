"""Lets test modules import the helpers beside them, and the package without installing it; simulated clusters."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Optional

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from beforehand import Beforehand, perform  # noqa: E402
from simulated import SimulatedRuns  # noqa: E402

from raft_threads.simulation.cluster import SimulatedCluster  # noqa: E402

RUNS = pytest.StashKey[SimulatedRuns]()
DIRECTORIES = pytest.StashKey[pytest.TempPathFactory]()
BEFOREHAND = pytest.StashKey[Beforehand]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin what tests want done beforehand; not for a test alone, which a debugger may want to follow."""
    wanted = [calls for item in session.items if (calls := wanted_by(item))]
    begins = len(wanted) > 1 and not session.config.option.collectonly
    calls = list(chain.from_iterable(wanted)) if begins else []
    # Those who wait begin with the last test, as the first will come to its turn soon.
    session.stash[BEFOREHAND] = Beforehand(
        [call for call, waits in calls if not waits], [call for call, waits in reversed(calls) if waits]
    )


def wanted_by(item: pytest.Item) -> list[tuple[tuple[Any, ...], bool]]:
    """Return the calls that are to be made beforehand for a test, and whether they mostly wait."""
    marks = [(mark.args, bool(mark.kwargs)) for mark in item.iter_markers("beforehand")]
    return [*marks, ((perform, item), True)] if item.get_closest_marker("alongside") else marks


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Optional[bool]:
    """Have a test that may run beside the others end as it has ended there."""
    if pyfuncitem.get_closest_marker("alongside") is None:
        return None
    pyfuncitem.session.stash[BEFOREHAND](perform, pyfuncitem)
    return True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Give up what was not asked for."""
    if BEFOREHAND in session.stash:
        session.stash[BEFOREHAND].close()


@pytest.fixture(scope="session", autouse=True)
def bytecode_is_kept_for_all_interpreters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests start a hundred of them. Where none may be left beside the modules, it is kept until the end."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.dont_write_bytecode:
            patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
            patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        yield


@pytest.fixture(name="beforehand", scope="session")
def what_was_done_beforehand(request: pytest.FixtureRequest) -> Beforehand:
    """Call it as `beforehand(function, *arguments)` for what the function returns."""
    return request.session.stash[BEFOREHAND]


@pytest.fixture(name="simulated")
def simulated_runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedRuns]:
    """Call it for a simulated cluster: `simulated(servers=5, timing=Timing(), seed=7)`."""
    with SimulatedRuns(request.node.name) as runs:
        request.node.stash[RUNS] = runs
        request.node.stash[DIRECTORIES] = tmp_path_factory
        yield runs


@pytest.fixture(name="cluster")
def simulated_cluster_of_three(simulated: SimulatedRuns) -> SimulatedCluster:
    """Return n1, n2 and n3 in virtual time. Who is not told to time out does not."""
    return simulated(3)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """When a test fails, leave its simulated runs behind, and tell in its report where."""
    outcome = yield
    report = outcome.get_result()
    runs = item.stash.get(RUNS, None)
    if report.failed and runs is not None:
        directory = item.stash[DIRECTORIES].mktemp("simulated")
        report.sections.append(("Simulated runs", runs.leave_behind(directory)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests have counted, also when all is well: their `score`."""
    reports = chain(terminalreporter.getreports("passed"), terminalreporter.getreports("failed"))
    for name, value in chain.from_iterable(report.user_properties for report in reports):
        if name == "score":
            terminalreporter.write_line(value)
