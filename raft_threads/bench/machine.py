"""What the machine did meanwhile: each process's CPU time and memory, and what others used. Only Linux tells."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

PROC = Path("/proc")


class CpuTimes(NamedTuple):
    """Seconds of CPU since the start: the whole machine's, None if it does not tell, and those of some processes."""

    busy: Optional[float]
    processes: Mapping[str, float]


def cpu_times(processes: Mapping[str, int]) -> CpuTimes:
    """Return the CPU times now; `processes` are process ids by name."""
    return CpuTimes(_busy_seconds(), {name: cpu_seconds(pid) for name, pid in processes.items()})


def cpu_seconds(pid: int) -> float:
    """Return the seconds of CPU that a process has used, 0 where that is not told."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int) -> int:
    """Return how much memory a process holds, 0 where that is not told."""
    try:
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def used_by_others(before: CpuTimes, after: CpuTimes, ours: float, seconds: float) -> Optional[float]:
    """Return which part of the machine's cores all but our processes used in `seconds`, None if it does not tell.

    `ours` is what the process that asks has used itself, in seconds of CPU.
    """
    if before.busy is None or after.busy is None:
        return None
    known = ours + sum(after.processes[name] - before.processes[name] for name in after.processes)
    return max(0.0, (after.busy - before.busy - known) / (seconds * (os.cpu_count() or 1)))


def describe(directory: Path) -> str:
    """Return one line on this machine, and on the file system that holds `directory`."""
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
        f"{', ' + _file_system(directory) if sys.platform == 'linux' else ''}"
    )


def _busy_seconds() -> Optional[float]:
    """Return how long all cores together have been busy, or taken away by the host of this virtual machine."""
    try:
        fields = (PROC / "stat").read_text().partition("\n")[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _wait, interrupts, softly, stolen = map(int, fields[1:9])
    return (user + nice + system + interrupts + softly + stolen) / os.sysconf("SC_CLK_TCK")


def _file_system(directory: Path) -> str:
    """Return the type of file system that holds `directory`."""
    mounts: Sequence[list[str]] = [line.split() for line in (PROC / "mounts").read_text().splitlines()]
    holding = [each for each in mounts if directory.resolve().is_relative_to(each[1])]
    return max(holding, key=lambda each: len(each[1]))[2] if holding else "unknown file system"
