"""What every scenario is given: the stage, the wishes of the command line, and clusters to play with (§5)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Callable, Optional

from raft_threads.demo.narration import Narration, counted
from raft_threads.demo.stage import Stage
from raft_threads.demo.tracing import SharedTrace
from raft_threads.events import Event, Observer
from raft_threads.invariants import InvariantViolation
from raft_threads.local_cluster import LocalCluster
from raft_threads.log_drawing import draw_logs
from raft_threads.options import Options
from raft_threads.state import Role
from raft_threads.surroundings import Surrounding
from raft_threads.timing import Timing

FIRST_PORT = 3300
# Slow enough to follow: a candidate can be seen to wait. At pace `fast`, the paper's own 150-300 ms.
HUMAN_TIMING = Timing(1.0, 2.0, 0.25)
FAST_TIMING = Timing(0.15, 0.3, 0.05)
# At pace `fast` too, a leader should stay one where that is the point, even if the machine is busy.
STEADY_TIMING = Timing(0.3, 0.6, 0.05)
# For scenarios that choose themselves who times out: nobody else does meanwhile.
PATIENT_TIMING = Timing(10.0, 20.0, 0.25)


@dataclass
class Show:
    """One performance."""

    stage: Stage
    servers: int
    seed: int
    # What is to be done at the end, however the performance ends.
    cleanup: ExitStack
    # The ports of the servers: this one and those after it, or others if they are in use.
    first_port: int = FIRST_PORT
    # What is written down of the run, if the command line asks for it.
    trace: Optional[SharedTrace] = None

    @cached_property
    def narration(self) -> Narration:
        """Who tells what happens."""
        return Narration(self.stage, closely=False)

    @contextmanager
    def leaving_out(self, what: Callable[[Event], bool]) -> Iterator[None]:
        """Do not tell of the events that are `what` there is too much of."""
        self.narration.leave_out = what
        try:
            yield
        finally:
            self.narration.leave_out = lambda event: False

    @property
    def names(self) -> list[str]:
        """The servers' ids: n1, n2, ..."""
        return [f"n{number}" for number in range(1, self.servers + 1)]

    @property
    def timing(self) -> Timing:
        """The times for this pace."""
        return HUMAN_TIMING if self.stage.pace == "human" else FAST_TIMING

    @property
    def steady_timing(self) -> Timing:
        """The times for this pace, where a leader is to stay one."""
        return HUMAN_TIMING if self.stage.pace == "human" else STEADY_TIMING

    def start_cluster(
        self,
        timing: Timing,
        closely: bool = False,
        options: Options = Options(),
        observers: Sequence[Observer] = (),
    ) -> LocalCluster:
        """Return a running cluster whose events are narrated, `closely` or not (see Narration), and told `observers`.
        """
        cluster = LocalCluster(
            self.names,
            timing=timing,
            options=options,
            seed=self.seed,
            first_port=self.first_port,
            observers=self.observers(Narration(self.stage, closely) if closely else self.narration, *observers),
            say=self.stage.aside,
            note=self.note,
        )
        self.start(cluster)
        return cluster

    def start(self, cluster: LocalCluster) -> None:
        """Start a cluster; it is stopped and removed when the performance ends."""
        self.cleanup.callback(cluster.stop)
        if self.trace is not None:
            self.trace.begin(cluster.servers)
        cluster.start()

    def observers(self, *ours: Observer) -> list[Observer]:
        """Return a scenario's own observers, and the trace if there is one."""
        return [*ours] if self.trace is None else [*ours, self.trace]

    def note(self, record: Surrounding) -> None:
        """Write down what is done to the servers, if there is a trace."""
        if self.trace is not None:
            self.trace.observe(record)

    def draw(self, cluster: LocalCluster) -> None:
        """Show all logs."""
        self.stage.flush()
        self.stage.line()
        for line in draw_logs(cluster):
            self.stage.line("   " + line)
        self.stage.aside("[ ] known to be committed  ( ) not known to be")
        self.stage.pause(2.0)

    def say_if_it_leads_as_before(self, cluster: LocalCluster, leader: str, term: int) -> None:
        """Say that `leader` still leads its `term`; on a busy machine it may have lost it for other reasons."""
        status = cluster.node(leader).status()
        if (status.role, status.term) == (Role.LEADER.value, term):
            self.stage.note(leader, f"leads term {term} as before")

    def check(self, what: str, check: Callable[[], object]) -> None:
        """Run one of the cluster's checks, and say whether it holds."""
        try:
            check()
        except (AssertionError, InvariantViolation) as error:
            self.stage.check(f"{what} ({error})", False)
        else:
            self.stage.check(what, True)

    def check_everything(self, cluster: LocalCluster) -> None:
        """Check what must hold after every scenario, once all servers have caught up."""
        cluster.wait_until_applied_everywhere()
        self.check("no term had two leaders (Election Safety, Fig. 3)", cluster.check_single_leader)
        self.check("the logs agree wherever they share an entry (Log Matching, Fig. 3)", cluster.check_logs_match)
        count = min(len(cluster.applied_by(server)) for server in cluster.running)
        compacted = any(status.snapshot_index for status in cluster.statuses())  # then some came in a snapshot
        self.check(
            f"all {len(cluster.running)} servers applied the same {'entries' if compacted else counted(count)} in the "
            "same order (State Machine Safety, Fig. 3)",
            cluster.check_same_commands_applied,
        )
        self.check(f"all {len(cluster.running)} servers hold the same state (§2)", cluster.check_same_state)
        self.check("no event broke a property of Fig. 3", cluster.check_figure_3)
