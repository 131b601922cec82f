"""What clients and servers say to each other (§8), and how a connection is opened (§5.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional


@dataclass(frozen=True)
class Hello:
    """The first message on a connection. A server gives its id and whom it means to reach; a client gives neither."""

    cluster: str
    sender: Optional[str] = None
    receiver: Optional[str] = None


@dataclass(frozen=True)
class Welcome:
    """The answer to Hello: the cluster and id of the server that was reached."""

    cluster: str
    id: str


@dataclass(frozen=True)
class Command:
    """A client's command for the state machine: bytes that Raft does not look into. `timeout` is in seconds."""

    command: bytes
    timeout: float


@dataclass(frozen=True)
class CommandResult:
    """What the state machine answered when it applied the command."""

    result: bytes


class Outcome(Enum):
    """What is known of a command that got no result."""

    NOT_LEADER = "not_leader"  # surely not executed: ask the leader
    FAILED = "failed"  # surely not executed
    UNKNOWN = "unknown"  # may have been executed, or may be yet


@dataclass(frozen=True)
class Refusal:
    """Why a command has no result, and where the leader is, if the server knows (§5.1, §8)."""

    outcome: Outcome
    message: str
    leader_id: Optional[str] = None
    leader_address: Optional[str] = None


@dataclass(frozen=True)
class StatusRequest:
    """Asks a server how it is."""


@dataclass(frozen=True)
class ServerStatus:
    """How a server is: the values of Fig. 2 that an operator looks at."""

    id: str
    role: str
    term: int
    leader: Optional[str]
    commit_index: int
    last_applied: int
    last_log_index: int


@dataclass(frozen=True)
class ErrorReply:
    """The server did not understand, or will not talk to this sender; it closes the connection."""

    message: str
