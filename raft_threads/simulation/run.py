"""One simulated run: a seed, a profile, chaos and clients; what was found, and what was explored (Fig. 3, §8)."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import Any, Optional

from raft_threads import election
from raft_threads.invariants import InvariantViolation
from raft_threads.linearizability import check, describe
from raft_threads.simulation.chaos import Chaos, profile_named
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.run_quietly import unlogged
from raft_threads.simulation.scheduler import SECOND, Task
from raft_threads.simulation.workload import Workload
from raft_threads.state import Role
from raft_threads.trace import TraceWriter, Writable

# Once nothing goes wrong any more, all must be well again within so many virtual seconds.
RECOVERY = 20.0
# How often each client still asks for something then, in mean virtual seconds.
PAUSE_AFTERWARDS = 0.1
# For how long nobody asks for anything at the end, in virtual seconds.
QUIET = 1.5


class NoProgress(Exception):
    """Nothing goes wrong any more, a majority is up and connected, and still no command is committed (§5.4.3, §5.6)."""


class NotLinearizable(Exception):
    """What clients saw cannot be explained by any order of their operations (§8)."""


@dataclass(frozen=True)
class Plan:
    """What to run."""

    seed: int
    servers: int = 3
    seconds: float = 10.0
    profile: str = "mixed"

    def facts(self) -> dict[str, Any]:
        """Return the plan as what stands in the header of a trace."""
        return {"seed": self.seed, "profile": self.profile, "seconds": self.seconds}

    def command(self) -> str:
        """Return the command line that replays it."""
        return (
            f"python -m raft_threads simulate --seed {self.seed} --servers {self.servers} "
            f"--seconds {self.seconds:g} --profile {self.profile}"
        )


@dataclass
class Result:
    """What became of a run. Plain data, to be handed from one process to another."""

    plan: Plan
    weather: str = ""
    schedule: str = ""
    fingerprint: int = 0
    steps: int = 0
    operations: int = 0
    virtual_seconds: float = 0.0
    real_seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    # What is wrong: the property's name, and everything about it.
    failure: Optional[str] = None
    report: str = ""


def run(plan: Plan, trace: Optional[Writable] = None) -> Result:
    """Run `plan` and check everything; write down what happens to `trace`."""
    began = time.perf_counter()
    dice = random.Random(f"{plan.seed} profile")
    profile = profile_named(plan.profile, dice)
    bootstrap = [f"n{number}" for number in range(1, plan.servers + 1)]
    names = [f"n{number}" for number in range(1, plan.servers + profile.spare_servers + 1)]
    cluster = SimulatedCluster(
        names,
        bootstrap=bootstrap,
        options=profile.options,
        max_sessions=profile.max_sessions,
        seed=plan.seed,
        timing=profile.timing,
        tendencies=profile.tendencies,
        trace=TraceWriter(trace, names, plan.facts()) if trace is not None else None,
        remember=False,
        max_entries_per_message=profile.max_entries_per_message,
        max_chunk_bytes=profile.max_chunk_bytes,
    )
    result = Result(plan, profile.describe(), profile.tendencies.kind())
    chaos = Chaos(cluster, profile, dice)
    try:
        with unlogged(), cluster:
            workload = Workload(cluster, profile.clients, profile.pause, dice)
            chaos.start(workload)
            cluster.run_for(plan.seconds)
            chaos.stop()
            workload.pause = max(workload.pause, PAUSE_AFTERWARDS)
            check_progress(cluster)
            workload.stopping = True
            cluster.run_for(QUIET)
            check_nothing_is_left_undone(cluster)
        result.operations = len(workload.history.operations())
        check_history(workload)
    except Exception as failure:
        result.failure = failure.property if isinstance(failure, InvariantViolation) else type(failure).__name__
        result.report = report(plan, cluster, failure)
    result.fingerprint = cluster.scheduler.fingerprint
    result.steps = cluster.scheduler.steps
    result.counts = dict(cluster.stream.counts)
    result.virtual_seconds = cluster.now
    result.real_seconds = time.perf_counter() - began
    return result


def check_progress(cluster: SimulatedCluster) -> None:
    """Raise NoProgress unless a new command is soon applied by all servers."""
    try:
        leader = cluster.wait_for_leader()
        last_index = cluster.state(leader).log.last_index
        cluster.run_until(
            lambda: all(cluster.state(server).last_applied > last_index for server in cluster.members()),
            "every server of the cluster applies what clients ask for",
            RECOVERY,
        )
    except TimeoutError as error:
        raise NoProgress(cluster.scheduler.describe(str(error))) from error


def check_nothing_is_left_undone(cluster: SimulatedCluster) -> None:
    """Raise NoProgress if a thread waits for what does not come, now that no client has asked for anything for long.

    Threads may wait for something to do. One that waits for a lock, or for the disk, has been forgotten.
    """
    members = cluster.members()
    for server in cluster.servers:
        state = cluster.state(server)
        is_done = state.last_applied == state.commit_index == state.log.last_index
        if server in members and not (state.is_saved() and is_done):
            raise NoProgress(cluster.scheduler.describe(f"{server} has not saved and applied all of its log"))
    long_ago = cluster.scheduler.now_ns - SECOND
    for task in cluster.scheduler.tasks:
        if task.parked and task.parked_since_ns < long_ago and must_not_wait_for_ever(cluster, task):
            raise NoProgress(cluster.scheduler.describe(f"{task.name} waits for {task.why} and is not woken"))


def must_not_wait_for_ever(cluster: SimulatedCluster, task: Task) -> bool:
    """Return whether `task`, which waits, has been forgotten: by who holds what it needs, or by its own clock.

    A leader's heartbeats and the others' election timers come by themselves (§5.2); all else waits for something to do.
    """
    if task.why.endswith("'s write_ended") or task.blocked_on is not None:
        return True
    server, _, purpose = task.name.partition("/")
    if task.wakes_by_itself or server not in cluster.servers:
        return False
    state = cluster.state(server)
    if state.role is Role.LEADER:
        return purpose.startswith("peer-")
    return purpose == "election-timer" and election.may_stand(state)


def check_history(workload: Workload) -> None:
    """Raise NotLinearizable, with what no order explains, unless an order explains all that clients saw."""
    verdict = check(workload.history.operations())
    if not verdict.is_linearizable:
        raise NotLinearizable("\n".join(line for window in verdict.windows for line in describe(window)))


def report(plan: Plan, cluster: SimulatedCluster, failure: Exception) -> str:
    """Return what there is to say of a failure: when, in which thread, and how to see it again."""
    task = cluster.scheduler.failed_task
    where = f" in {task.name}" if task is not None else ""
    return f"{failure}\nseed {plan.seed}, {cluster.now:.6f} s{where}\nreplay: {plan.command()}"
