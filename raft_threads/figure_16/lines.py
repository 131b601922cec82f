"""The lines of Fig. 16: a range of election timeouts each, and what the paper says of it (§9.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raft_threads.timing import Timing


@dataclass(frozen=True)
class Paper:
    """What the paper's own line looks like, in milliseconds: read off its drawing, which keeps every sample.

    Where §9.3 states a number in words, the drawing gives the same one.
    """

    least: float
    median: float
    mean: float
    p99: float
    worst: float
    # Stated in words in §9.3, for the table to point out.
    stated: str = ""


@dataclass(frozen=True)
class Line:
    """One line: election timeouts are drawn between `shortest` and `longest`, in milliseconds."""

    shortest: int
    longest: int
    paper: Paper

    @property
    def name(self) -> str:
        """The line's name in the figure's key."""
        return f"{self.shortest}-{self.longest}"

    def timing(self) -> Timing:
        """Return how the servers wait: heartbeats come twice in the shortest election timeout (§9.3)."""
        return PatientTiming(self.shortest / 1000, self.longest / 1000, self.heartbeat_interval)

    @property
    def heartbeat_interval(self) -> float:
        """Seconds between heartbeats: "half of the minimum election timeout for all tests" (§9.3)."""
        return self.shortest / 2000

    def trials(self, of: int) -> int:
        """Return how many trials this line gets when the others get `of`: the paper, too, gave 150-150 a tenth."""
        return of if self.shortest < self.longest else max(1, of // 10)


class PatientTiming(Timing):
    """Times for servers whose answers may take longer than the shortest election timeout of all, 12 ms.

    Ours otherwise give a request up after that time, so no vote would ever be counted. §5.6 forbids such times anyway;
    the paper tries them.
    """

    @property
    def rpc_timeout(self) -> float:
        """Wait half a second for an answer, whatever the election timeout."""
        return 0.5


_150_300 = Line(150, 300, Paper(92.6, 171, 181, 415, 603))
# The upper graph varies the randomness.
UPPER = (
    Line(150, 150, Paper(9862, 41122, 56900, 526900, 526900, "no randomness: consistently longer than 10 seconds")),
    Line(150, 151, Paper(86.1, 1199, 1541, 6013, 8220)),
    Line(150, 155, Paper(85.2, 287, 346, 1241, 2143, "5 ms of randomness: a median downtime of 287 ms")),
    Line(150, 175, Paper(84.4, 141, 164, 467, 609)),
    Line(150, 200, Paper(87.1, 147, 156, 352, 513, "50 ms of randomness: 513 ms at worst in 1000 trials")),
    _150_300,
)
# The lower graph scales the shortest election timeout.
LOWER = (
    Line(12, 24, Paper(15.3, 30.1, 34.8, 86.9, 152, "12-24 ms: 35 ms on average, 152 ms at worst")),
    Line(25, 50, Paper(24.0, 43.1, 48.1, 119, 276)),
    Line(50, 100, Paper(37.2, 66.7, 71.6, 169, 253)),
    Line(100, 200, Paper(65.7, 120, 126, 277, 335)),
    _150_300,
)
LINES: Sequence[Line] = (*UPPER, *LOWER[:-1])
