"""`raft-threads bench`: how fast it is, beside the floor of the machine and beside others (§9.3; Diss. §10)."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Optional

from raft_threads.bench.arguments import FLOOR, ONCE
from raft_threads.bench.choices import CHOICES
from raft_threads.bench.floor import Floor, measure_floor
from raft_threads.bench.growth import Finding, growth
from raft_threads.bench.harm import harm
from raft_threads.bench.machine import describe
from raft_threads.bench.processes import BenchFailed, Cluster, fresh
from raft_threads.bench.report import (
    Progress,
    as_json,
    finding_lines,
    floor_lines,
    ratio_lines,
    work_table,
)
from raft_threads.bench.rounds import Round, median
from raft_threads.bench.stores import LoadFailed
from raft_threads.bench.works import PEERS, SMALL, WORKS, Measured, Settings, Work, measure, spawn, work_name
from raft_threads.held_signals import interrupted_once
from raft_threads.rpc_server import CannotListen
from raft_threads.simulation.command import speeds
from raft_threads.standard_streams import complaint_about
from raft_threads.storage import StorageError

DONE, FAILED = 0, 1
CHOICE_CLIENTS = (1, 64)
MISHAPS = (BenchFailed, LoadFailed, CannotListen, StorageError, OSError)


@interrupted_once()
def bench(arguments: argparse.Namespace) -> int:
    """Measure what `arguments` ask for, and print it; return the exit code."""
    directory = arguments.data_dir or Path(tempfile.gettempdir())
    settings = Settings(arguments.servers, arguments.seconds, directory)
    run = Run(settings, arguments.rounds, Progress(sys.stderr))
    print(f"{describe(directory)}; {settings.servers} servers, {arguments.rounds} rounds of {settings.seconds:g} s")
    try:
        run.measure(arguments.parts, {peer: PEERS[peer] for peer in arguments.vs})
        if arguments.json is not None:
            content = as_json(run.rounds, run.floors, run.findings)
            arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except MISHAPS as error:
        run.progress.tell(f"raft-threads bench: {complaint_about(error) if isinstance(error, OSError) else error}")
        return FAILED
    return DONE


class Run:
    """One run of the benchmark, and what it has measured so far."""

    def __init__(self, settings: Settings, rounds: int, progress: Progress) -> None:
        self.settings = settings
        self.progress = progress
        self.rounds: dict[str, list[Round]] = {}
        self.floors: list[Floor] = []
        self.findings: list[Finding] = []
        self._count = rounds

    def measure(self, parts: list[str], peers: Mapping[str, Work]) -> None:
        """Measure `parts` and `peers`, round by round, all in turns; then what is measured once. Prints it."""
        works = [WORKS[part] for part in parts if part in WORKS] + list(peers.values())
        for number in range(1, self._count + 1):
            if FLOOR in parts:
                self._measure_floor()
            for work in works:
                for measured in work(self.settings):
                    self._note(measured, number)
        for lines in (
            floor_lines(self.floors) if self.floors else [],
            work_table(self.rounds) if self.rounds else [],
            ratio_lines(self.rounds, self.floors),
        ):
            self._print(lines)
        for part in parts:
            if part in ONCE:
                self._find(part)

    def _measure_floor(self) -> None:
        with fresh(self.settings.directory) as name:
            self.floors.append(measure_floor(Path(name)))

    def _note(self, measured: Measured, number: int) -> None:
        self.rounds.setdefault(measured.work, []).append(measured.round)
        self.progress.round(number, self._count, *measured)

    def _find(self, part: str) -> None:
        findings = {
            "choices": lambda: choices(self.settings, self._count),
            "growth": lambda: growth(self.settings),
            "harm": lambda: harm(self.settings, self._count),
            "simulator": simulator,
        }[part]
        found = []
        for finding in findings():
            found.append(finding)
            self.progress.tell(finding_lines([finding])[0].strip())
        self.findings += found
        self._print([f"{part.capitalize()}:", *finding_lines(found)])

    def _print(self, lines: list[str]) -> None:
        if lines:
            print("\n" + "\n".join(lines), flush=True)


def choices(settings: Settings, rounds: int) -> Iterator[Finding]:
    """Compare our servers with those that differ in one choice (`choices.py`), in turns."""
    for clients in CHOICE_CLIENTS:
        rates: dict[Optional[str], list[float]] = {choice: [] for choice in (None, *CHOICES)}
        for _ in range(rounds):
            for choice, measured in rates.items():
                measured.append(_rate_with(settings, choice, clients))
        for choice, measured in rates.items():
            instead = "as it is" if choice is None else CHOICES[choice].instead
            yield Finding(f"{work_name('put', f'{clients} clients', SMALL)}: {instead}", median(measured), "/s")


def _rate_with(settings: Settings, choice: Optional[str], clients: int) -> float:
    program = ["raft_threads"] if choice is None else ["raft_threads.bench.choices", choice]
    with fresh(settings.directory) as name, spawn() as pool:
        with Cluster(Path(name), settings.servers, program=program) as cluster:
            return measure(cluster, pool, "v" * SMALL, clients, settings.seconds).rate


def simulator() -> Iterator[Finding]:
    """How fast virtual time passes in a healthy cluster, with heartbeats every 50 ms and all checks on."""
    for servers in (3, 5):
        yield Finding(f"{servers} simulated servers", median(speeds(servers)), "virtual seconds a second")
