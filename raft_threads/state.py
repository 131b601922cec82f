"""The "State" box of Fig. 2: everything a Raft server remembers, in the figure's order.

Plain data without a lock of its own. The rules in `election.py` and `replication.py` read and change it; in a running
server they are called with the node's lock held.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import InitVar, dataclass, field
from enum import Enum
from typing import Optional

from raft_threads.configuration import Configuration, Members
from raft_threads.log import Log, SnapshotMetadata


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
class CatchUp:
    """A change of the cluster whose new servers do not vote yet (§6); on leaders, and only there.

    The leader replicates to `learners` in rounds: each ends when a learner has what the log held when it began (Diss.
    §4.2.1). By learner: the number of the round, its `goal` (a log index), when it `began` (monotonic seconds).
    """

    new_members: Members
    learners: Members
    round_of: dict[str, int] = field(default_factory=dict)
    goal_of: dict[str, int] = field(default_factory=dict)
    began_at: dict[str, float] = field(default_factory=dict)
    caught_up: set[str] = field(default_factory=set)

    def rounds_ended(self, learner: str) -> int:
        """Return how many rounds `learner` has ended."""
        return self.round_of[learner] - (learner not in self.caught_up)


@dataclass
class IncomingSnapshot:
    """A snapshot that a leader is sending (§7, Fig. 13): from whom, in which term, and how much of it has come.

    `installing` while the last chunk is here, and all of it is being checked and put in its place.
    """

    term: int
    leader_id: str
    last_included_index: int
    last_included_term: int
    bytes_stored: int = 0
    installing: bool = False


@dataclass
class State:
    """What one server knows. `id` is this server.

    `servers` are those of the configuration that a new cluster begins with, unless `log` already has one.
    """

    id: str
    servers: InitVar[Iterable[str]]

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

    # Beside the box, for what other chapters add. On leaders: new servers that do not vote yet (§6); by server, the
    # newest round of heartbeats that it has answered, and the number of the round that the newest read needs (§8).
    catch_up: Optional[CatchUp] = None
    read_round: int = 0
    acknowledged_round: dict[str, int] = field(default_factory=dict)
    # On followers: the snapshot that is being received (§7).
    incoming: Optional[IncomingSnapshot] = None
    # What extensions need: who would vote for us, on servers that ask before they stand (Diss. §9.6); to whom this
    # leader hands over, and whether that one was told (Diss. §3.10); whether this candidate was told to stand so.
    pre_votes: Optional[dict[str, bool]] = None
    transfer_target: Optional[str] = None
    target_told: bool = False
    told_to_stand: bool = False

    # What the disk holds of current_term and voted_for. The log knows the same of itself.
    saved_term_and_vote: tuple[int, Optional[str]] = (0, None)

    def __post_init__(self, servers: Iterable[str]) -> None:
        if self.log.start == SnapshotMetadata():
            self.log.begin_with(Configuration.of(servers))

    @property
    def configuration(self) -> Configuration:
        """The configuration in force: the latest in the log, whether it is committed or not (§6)."""
        return self.log.configuration

    @property
    def peers(self) -> list[str]:
        """The other servers: those of the configuration in force, and on leaders those that it is to include (§6)."""
        learners = [] if self.catch_up is None else [member.id for member in self.catch_up.learners]
        return [server for server in dict.fromkeys([*self.configuration.servers, *learners]) if server != self.id]

    @property
    def term_and_vote(self) -> tuple[int, Optional[str]]:
        """The two persistent values that are always written together."""
        return self.current_term, self.voted_for

    def term_and_vote_are_saved(self) -> bool:
        """Return whether the disk holds the present term and vote."""
        return self.saved_term_and_vote == self.term_and_vote

    def is_saved(self) -> bool:
        """Return whether the disk holds all of the persistent state, so that an RPC may be answered (Fig. 2)."""
        return self.term_and_vote_are_saved() and self.log.is_saved()
