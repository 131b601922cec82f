"""Timing and availability (§5.6): broadcast time << election timeout << time between failures.

Safety never depends on these numbers; only how soon a leader is replaced does. All times are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_TIMEOUT = 3600.0


@dataclass(frozen=True)
class Timing:
    """How long a server waits.

    A follower starts an election after a random time between `election_timeout_min` and `election_timeout_max`
    without hearing from a leader (§5.2); the paper's example is 150-300 ms. A leader sends a heartbeat every
    `heartbeat_interval`. A request without an answer is given up, and sent again, after `rpc_timeout` (§5.1).
    Raises ValueError when the numbers could never work together.
    """

    election_timeout_min: float = 0.150
    election_timeout_max: float = 0.300
    heartbeat_interval: float = 0.050

    def __post_init__(self) -> None:
        if not 0 < self.election_timeout_min <= self.election_timeout_max <= LONGEST_TIMEOUT:
            raise ValueError(
                "the election timeout must be a range of positive times up to an hour, the smaller first, "
                f"not {self.election_timeout_min * 1000:g}-{self.election_timeout_max * 1000:g} ms"
            )
        if not 0 < self.heartbeat_interval < self.election_timeout_min:
            raise ValueError(
                f"the heartbeat interval ({self.heartbeat_interval * 1000:g} ms) must be shorter than the "
                f"shortest election timeout ({self.election_timeout_min * 1000:g} ms)"
            )

    @property
    def rpc_timeout(self) -> float:
        """How long to wait for the answer to one request. Half a second at most, so that a server stops promptly."""
        return min(self.election_timeout_min, 0.5)


def randomized_election_timeout(timing: Timing, fraction: float) -> float:
    """Return the election timeout that a random `fraction` (0 to 1) picks from the fixed interval (§5.2)."""
    return timing.election_timeout_min + fraction * (timing.election_timeout_max - timing.election_timeout_min)


def election_timeout_elapsed(now: float, deadline: float) -> bool:
    """Return whether the election timeout has passed without a sign of life from a leader (§5.2)."""
    return now >= deadline
