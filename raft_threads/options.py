"""What a server does beyond the paper, and when it compacts its log: what an operator may choose (§7; Diss. §9.6).

The servers of a cluster may differ in these. Everything that changes what the paper describes is off by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Options:
    """`snapshot_threshold` is the size in bytes at which the log is compacted (§7); None: only when asked to.

    `pre_vote`: ask whether we would be elected before standing (Diss. §9.6). `check_quorum`: as leader, step down after
    an election timeout without hearing from a majority (Diss. §6.2). Raises ValueError for a threshold below 1.
    """

    snapshot_threshold: Optional[int] = 64 * MEBIBYTE
    pre_vote: bool = False
    check_quorum: bool = False

    def __post_init__(self) -> None:
        if self.snapshot_threshold is not None and self.snapshot_threshold < 1:
            raise ValueError(f"the log cannot be compacted at {self.snapshot_threshold} bytes; the least is 1")
