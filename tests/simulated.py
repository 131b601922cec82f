"""Simulated clusters for tests of scenarios: each run is traced, and is left behind as a drawing when a test fails."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Union

from raft_threads.diagram_command import NothingToDraw, write_svg
from raft_threads.diagrams.run import Run
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.trace import TraceWriter, read_trace


class SimulatedRuns:
    """Makes the simulated clusters of one test, and knows how each of them ran. A context manager: it ends them."""

    def __init__(self, title: str) -> None:
        """Draw runs under `title`, the name of the test."""
        self._title = title
        self._clusters: list[tuple[SimulatedCluster, io.StringIO]] = []
        self._open = ExitStack()

    def __enter__(self) -> SimulatedRuns:
        return self

    def __exit__(self, *details: Any) -> None:
        self._open.close()

    def __call__(self, servers: Union[int, Sequence[str]] = 3, **settings: Any) -> SimulatedCluster:
        """Start a cluster of `servers` (n1, n2, ... if it is a number); the `settings` are SimulatedCluster's."""
        names = [f"n{number + 1}" for number in range(servers)] if isinstance(servers, int) else list(servers)
        lines = io.StringIO()
        facts = {"test": self._title, "seed": settings.get("seed", 0)}
        cluster = SimulatedCluster(names, trace=TraceWriter(lines, names, facts), **settings)
        self._clusters.append((cluster, lines))
        return self._open.enter_context(cluster)

    def leave_behind(self, directory: Path) -> str:
        """Write trace and diagram of each run to `directory`; return where, and the last picture of logs."""
        report: list[str] = []
        for number, (cluster, lines) in enumerate(self._clusters, 1):
            trace, diagram = directory / f"run-{number}.jsonl", directory / f"run-{number}.svg"
            trace.write_bytes(lines.getvalue().encode("ascii"))
            report.append(f"trace: {trace}")
            with suppress(NothingToDraw):
                write_svg(Run(read_trace(trace)), diagram, self._title)
                report.append(f"diagram: {diagram}")
            report += [f"the logs at {cluster.now:.6f} s:", cluster.picture()]
        return "\n".join(report)
