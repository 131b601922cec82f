"""Words that several figures are played with, beside those of the cluster: commands, votes, leaders without a no-op."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from raft_threads import election, kv
from raft_threads.events import BecameCandidate
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import Role

FIVE = ("S1", "S2", "S3", "S4", "S5")
NO_OP_LEFT_OUT = (
    "The figure is older than §8's no-op, with which our leaders open their terms: it is left out here, so that the "
    "boxes are the figure's."
)


@contextmanager
def without_the_no_op() -> Iterator[None]:
    """Have leaders append nothing of their own when they come to power, as in §5 (§8)."""
    with mock.patch.object(election, "append_no_op", lambda state: None):
        yield


def items_text(cluster: SimulatedCluster, server: str) -> str:
    """Return what the state machine of `server` holds: `x=3 y=1`."""
    return assignments(cluster.running[server].store.items)


def assignments(items: dict[str, str]) -> str:
    """Return `x=3 y=1`, by key."""
    return " ".join(f"{key}={items[key]}" for key in sorted(items))


def give(cluster: SimulatedCluster, leader: str, *assignments: str) -> None:
    """Have `leader` append commands, each written as `x=3`, and wait for nothing more."""
    for assignment in assignments:
        key, _, value = assignment.partition("=")
        cluster.propose(kv.put_command(key, value), leader)


def bring_up(cluster: SimulatedCluster, leader: str, *followers: str) -> None:
    """Wait until those have all of the leader's log on disk, and the leader knows it; they must be reached by it."""
    terms = cluster.terms_of(leader)
    for server in (leader, *followers):
        cluster.run_until_log(server, terms)
    cluster.run_until(
        lambda: all(cluster.state(leader).match_index[server] == len(terms) for server in (leader, *followers)),
        f"{leader} knows that {', '.join(followers)} have its log",
    )


def stand(cluster: SimulatedCluster, candidate: str, *voters: str) -> None:
    """Have the election timeout of `candidate` elapse, and wait until it is elected or has heard from all `voters`."""
    mark = cluster.stream.mark()
    cluster.time_out(candidate)
    cluster.run_until_event(BecameCandidate, lambda event: event.server == candidate, mark)

    def is_over() -> bool:
        state = cluster.state(candidate)
        return state.role is Role.LEADER or state.votes.keys() >= set(voters)

    cluster.run_until(is_over, f"{candidate} is elected, or hears from {', '.join(voters)}")


def votes_text(cluster: SimulatedCluster, candidate: str) -> str:
    """Return who has voted for `candidate`, and who has not, in the election that it holds."""
    votes = cluster.state(candidate).votes
    answers = ", ".join(f"{voter} {'yes' if votes[voter] else 'no'}" for voter in sorted(votes))
    return f"votes for {candidate} in term {cluster.state(candidate).current_term}: {answers}"


def know_of_commit(cluster: SimulatedCluster, index: int, *servers: str) -> None:
    """Wait until those know the log to be committed, and have applied it, up to `index`."""
    cluster.run_until(
        lambda: all(cluster.state(server).last_applied == index for server in servers),
        f"{', '.join(servers)} apply the log up to {index}",
    )
