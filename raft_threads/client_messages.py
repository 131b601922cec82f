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
    """A client's command for the state machine: bytes that Raft does not look into. `timeout` is in seconds.

    In a session (§8) it has a number of its own, and says which is the first that the client has no answer to yet.
    Without a session it may be executed twice if it is sent twice.
    """

    command: bytes
    timeout: float
    client_id: Optional[int] = None
    sequence: Optional[int] = None
    first_unanswered: Optional[int] = None


@dataclass(frozen=True)
class Register:
    """A client wants a session (§8; Diss. §6.3, RegisterClient). `timeout` is in seconds."""

    timeout: float


@dataclass(frozen=True)
class Registered:
    """The client has a session: the id is the index of the log entry that opened it."""

    client_id: int


@dataclass(frozen=True)
class Query:
    """A read that writes nothing to the log (§8). The answer is a CommandResult. `timeout` is in seconds."""

    query: bytes
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
    SESSION_EXPIRED = "session_expired"  # not executed by this request; by an earlier one, nobody can tell any more


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
    # What compaction is about (§7): up to where the snapshot reaches, and how large it and the log after it are.
    snapshot_index: int = 0
    snapshot_bytes: int = 0
    log_bytes: int = 0
    # How much work there was since the server started: writes to the disk, and requests that peers have answered.
    disk_writes: int = 0
    requests_answered: int = 0


# What an operator asks for


@dataclass(frozen=True)
class MembersRequest:
    """Asks the leader which servers the cluster has (§6)."""


@dataclass(frozen=True)
class MembersReply:
    """The servers, each `id=host:port`; during a change, those of C_old, and those that there will be."""

    members: tuple[str, ...]
    new_members: Optional[tuple[str, ...]] = None


class Change(Enum):
    """How an operator says what the cluster is to become."""

    ADD = "add"
    REMOVE = "remove"
    SET = "set"


@dataclass(frozen=True)
class ChangeMembers:
    """Change the cluster (§6): add or set `id=host:port`, remove `id`. Answered by MembersReply when it is done."""

    change: Change
    members: tuple[str, ...]
    timeout: float


@dataclass(frozen=True)
class TransferLeadership:
    """Hand leadership over to `target`; None leaves the choice to the leader (Diss. §3.10). Answered by Done."""

    target: Optional[str]
    timeout: float


@dataclass(frozen=True)
class TakeSnapshot:
    """Have this server compact its log now (§7). Answered by Done when the snapshot is durable."""

    timeout: float


@dataclass(frozen=True)
class Done:
    """What an operator asked for was done; `message` says what came of it, in one line."""

    message: str


@dataclass(frozen=True)
class ErrorReply:
    """The server did not understand, or will not talk to this sender; it closes the connection."""

    message: str
