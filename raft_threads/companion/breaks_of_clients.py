"""Without the rules of §8: clients, sessions and reads."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Optional

from raft_threads import kv
from raft_threads.addresses import Address
from raft_threads.client import ClientError
from raft_threads.client_connections import LeaderConnections
from raft_threads.client_messages import Hello, Query
from raft_threads.client_requests import Deadline
from raft_threads.client_session import ClientSession
from raft_threads.companion.breaking import Break, Schedule, Swap
from raft_threads.companion.directing import begin, check_read, is_append, let_pass, when, win
from raft_threads.companion.figure_3 import LINEARIZABILITY, LIVENESS, Lost
from raft_threads.companion.simulated_client import client_of
from raft_threads.connection import Connection
from raft_threads.events import Applied
from raft_threads.monitor import Monitor
from raft_threads.proposals import CommandFailed, NotLeader, OutcomeUnknown
from raft_threads.runtime import Runtime
from raft_threads.server_invariants import LOG_MATCHING
from raft_threads.sessions import Session
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.simulation.network import Exchange
from raft_threads.state import Role, State
from raft_threads.wire import encode

_init = LeaderConnections.__init__

# Finding the leader


def begin_with_the_first(self: LeaderConnections, servers: Iterable[Address], hello: Hello, runtime: Runtime) -> None:
    """Ask the first server of the list first."""
    _init(self, servers, hello, runtime)
    self._position = 0


def accept_everything(self: Monitor) -> None:
    """Behave as if we led."""


def a_follower_is_asked(cluster: SimulatedCluster) -> str:
    """n1 leads; one client asks n2 for something, and another one asks n1."""
    begin(cluster, "n1")
    with suppress(NotLeader, OutcomeUnknown):
        cluster.execute(kv.put_command("x", "1"), via="n2", timeout=0.01)
    cluster.put("x", "2", via="n1")
    cluster.wait_until_applied_everywhere()
    return "n2 refused, and told the client of n1."


def stay_with_it(self: LeaderConnections, address: Address, connection: Optional[Connection]) -> None:
    """Keep to the server that led once."""


def the_leader_is_lost(cluster: SimulatedCluster) -> str:
    """A client sets x; then n1 is cut off, n2 is elected, and the client sets x again."""
    begin(cluster, "n1")
    with client_of(cluster, timeout=4.0) as client:
        client.put("x", "1")
        cluster.isolate("n1")
        win(cluster, "n2")
        try:
            client.put("x", "2")
        except ClientError as error:
            raise Lost(LIVENESS, f"n2 leads, and the client does not find it: {error}") from error
    return "The client got no answer from n1, tried the others, and found n2."


# Executed once


def give_them_all_the_same_number(self: ClientSession, deadline: Deadline) -> int:
    """Take every command for the first one."""
    with self._lock:
        self._open.add(1)
        return 1


def a_client_asks_twice(cluster: SimulatedCluster) -> str:
    """A client appends a to x, and then b; then it reads x."""
    begin(cluster, "n1")
    with client_of(cluster) as client:
        client.append("x", "a")
        client.append("x", "b")
        check_read(client.get("x"), "ab", known="a and b were appended to x")
    return "Both were appended."


def remember_nothing(session: Session, sequence: int) -> Optional[bytes]:
    """Take every command for a new one."""
    return None


def an_answer_is_lost(cluster: SimulatedCluster) -> str:
    """A client appends a to x; the answer is lost, and the client asks again. Then it reads x."""
    begin(cluster, "n1")
    with client_of(cluster) as client:
        client.put("y", "1")
        cluster.network.hold("n1", "main")
        when(
            cluster,
            lambda event: isinstance(event, Applied) and event.entry.index == 4 and event.server == "n2",
            lambda: let_pass(cluster, "n1", "main"),
        )
        client.append("x", "a")
        check_read(client.get("x"), "a", known="a was appended to x once")
    return "The client got the answer that it should have got before, and x is a."


# Reads


def read_what_is_known(state: State) -> int:
    """Return our commit index, whatever our term has committed."""
    return state.commit_index


def ask_for_x(cluster: SimulatedCluster, server: str) -> Exchange:
    """Ask a server to read x, and do not wait for the answer."""
    query = Query(kv.get_command("x"), 1.0)
    return Exchange(cluster.network, "main", server, encode(query), query)


def check_x_is_1(asked: Exchange) -> bool:
    """Return False if there is no answer within a second, or a refusal. Raise Lost if there is, and x is not 1."""
    result = getattr(asked.wait(10**9), "result", None)
    if result is not None:
        check_read(kv.decode_result(result)["value"], "1")
    return result is not None


def a_new_leader_is_asked(cluster: SimulatedCluster) -> str:
    """A client sets x, and n1 is lost before others hear that this is committed; n2 is elected, and x is read there.

    n2's first message to n3 is lost, so that the read is there before n2 has committed anything.
    """
    win(cluster, "n1")
    cluster.put("x", "1", via="n1")
    index = cluster.state("n1").commit_index
    cluster.run_for(0.01)
    assert cluster.state("n2").commit_index < index == cluster.state("n2").log.last_index
    cluster.connect_only("n2", "n3")
    cluster.network.hold("n2", "n3", is_append)
    win(cluster, "n2")
    asked = ask_for_x(cluster, "n2")
    cluster.run_for(0.01)
    let_pass(cluster, "n2", "n3")
    if not check_x_is_1(asked):
        raise Lost(LIVENESS, "a client asked n2, which leads with a majority, for x, and got no answer within 1 s")
    return "n2 waited until its own first entry was committed, and answered 1."


def append_nothing(state: State) -> None:
    """Wait for a client's command."""


def trust_that_we_lead(state: State, read_round: int) -> bool:
    """Ask nobody."""
    return state.role is Role.LEADER


def a_deposed_leader_is_asked(cluster: SimulatedCluster) -> str:
    """n1 is cut off, n2 is elected, and a client sets x; n1 does not know of that, and is asked for x."""
    begin(cluster, "n1")
    cluster.isolate("n1")
    win(cluster, "n2")
    cluster.put("x", "1", via="n2")
    with suppress(CommandFailed):
        assert not check_x_is_1(ask_for_x(cluster, "n1")), "n1 cannot have heard a majority"
    return "n1 did not answer, as nobody confirmed that it leads."


BREAKS = (
    Break(
        "S8.1",
        "All clients begin with the first server.",
        (Swap("raft_threads.client_connections.LeaderConnections.__init__", begin_with_the_first),),
        untold="The first server tells them who leads, as any other would. It only has more to do.",
    ),
    Break(
        "S8.2",
        "A follower takes commands, and appends them to its own log.",
        (Swap("raft_threads.monitor.Monitor.refuse_unless_leader", accept_everything),),
        LOG_MATCHING,
        Schedule(a_follower_is_asked),
    ),
    Break(
        "S8.3",
        "A client keeps to the server that answered last.",
        (Swap("raft_threads.client_connections.LeaderConnections.did_not_lead", stay_with_it),),
        LIVENESS,
        Schedule(the_leader_is_lost),
    ),
    Break(
        "S8.4",
        "All commands of a client have the same number.",
        (Swap("raft_threads.client_session.ClientSession._begin", give_them_all_the_same_number),),
        LINEARIZABILITY,
        Schedule(a_client_asks_twice),
    ),
    Break(
        "S8.5",
        "A command is executed as often as it comes.",
        (Swap("raft_threads.sessions.remembered_reply", remember_nothing),),
        LINEARIZABILITY,
        Schedule(an_answer_is_lost),
    ),
    Break(
        "S8.6",
        "A new leader reads up to what it knows to be committed when it is asked.",
        (Swap("raft_threads.reads.read_index", read_what_is_known),),
        LINEARIZABILITY,
        Schedule(a_new_leader_is_asked),
    ),
    Break(
        "S8.7",
        "A leader begins its term without an entry.",
        (Swap("raft_threads.election.append_no_op", append_nothing),),
        LIVENESS,
        Schedule(a_new_leader_is_asked),
    ),
    Break(
        "S8.8",
        "A leader answers reads without asking anybody.",
        (Swap("raft_threads.reads.leadership_is_confirmed", trust_that_we_lead),),
        LINEARIZABILITY,
        Schedule(a_deposed_leader_is_asked),
    ),
)
