"""The "State" box of Fig. 2: everything a Raft server remembers, in the figure's order.

Plain data without a lock of its own. The rules in `election.py` and `replication.py` read and change it; in a running
server they are called with the node's lock held.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

from raft_threads.log import Log


class Role(Enum):
    """The three server states of Fig. 4."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"


class SafetyViolation(Exception):
    """A message that can only exist if one of the properties of Fig. 3 has been broken somewhere.

    Two clusters that share a name, a data directory restored from an old backup, or a bug lead here. The rules refuse
    to act on such a message, so the damage does not spread.
    """


@dataclass
class State:
    """What one server knows. `id` is this server; `servers` are all servers of the cluster, this one included."""

    id: str
    servers: tuple[str, ...]

    # Persistent state on all servers (updated on stable storage before responding to RPCs)
    current_term: int = 0
    voted_for: Optional[str] = None
    log: Log = field(default_factory=Log)

    # Volatile state on all servers
    commit_index: int = 0
    last_applied: int = 0

    # Volatile state on leaders (reinitialized after election). Under a leader's own id, match_index holds how far its
    # own disk has got: it counts itself only up to there (Diss. §10.2.1).
    next_index: dict[str, int] = field(default_factory=dict)
    match_index: dict[str, int] = field(default_factory=dict)

    # Beside the box: Fig. 4's state, the leader to redirect clients to (§5.1), and the votes so far (§5.2), by voter.
    role: Role = Role.FOLLOWER
    leader_id: Optional[str] = None
    votes: dict[str, bool] = field(default_factory=dict)

    # What the disk holds of current_term and voted_for. The log knows the same of itself.
    saved_term_and_vote: tuple[int, Optional[str]] = (0, None)

    @property
    def peers(self) -> list[str]:
        """The other servers of the cluster."""
        return [server for server in self.servers if server != self.id]

    @property
    def term_and_vote(self) -> tuple[int, Optional[str]]:
        """The two persistent values that are always written together."""
        return self.current_term, self.voted_for

    def is_majority(self, count: int) -> bool:
        """Return whether `count` servers are more than half of the full cluster (§5.2)."""
        return 2 * count > len(self.servers)

    def term_and_vote_are_saved(self) -> bool:
        """Return whether the disk holds the present term and vote."""
        return self.saved_term_and_vote == self.term_and_vote

    def is_saved(self) -> bool:
        """Return whether the disk holds all of the persistent state, so that an RPC may be answered (Fig. 2)."""
        return self.term_and_vote_are_saved() and self.log.saved_index == self.log.last_index
