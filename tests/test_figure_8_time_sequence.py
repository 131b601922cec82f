"""Fig. 8: why a leader cannot tell from replicas that an entry of an older term is committed (§5.4.2)."""

from __future__ import annotations

from drawing import server, terms_of

from raft_threads import election, replication
from raft_threads.state import Role, State

SERVERS = ("S1", "S2", "S3", "S4", "S5")


def elect(cluster: dict[str, State], winner: str, *voters: str) -> None:
    """Have `winner` time out and ask `voters`; without the no-op (§8), so that the logs are those of the figure."""
    election.begin_election(cluster[winner])
    request = election.vote_request(cluster[winner])
    for voter in voters:
        reply = election.handle_request_vote(cluster[voter], request)
        election.handle_request_vote_reply(cluster[winner], voter, request, reply)
    if cluster[winner].role is Role.LEADER:
        cluster[winner].log.delete_from(cluster[winner].log.last_index)


def accept_command(cluster: dict[str, State], name: str) -> None:
    """Have the leader `name` take a client's command, and write it to its own disk."""
    entry = replication.append_command(cluster[name], b"from %s" % name.encode())
    cluster[name].log.mark_saved(entry.index, entry.term)
    replication.record_own_disk(cluster[name])


def replicate(cluster: dict[str, State], leading: str, *followers: str) -> None:
    """Have the leader bring `followers` up to its own log."""
    for name in followers:
        while True:
            request = replication.append_entries_request(cluster[leading], name, max_entries=1, max_bytes=100_000)
            reply = replication.handle_append_entries(cluster[name], request)
            replication.handle_append_entries_reply(cluster[leading], name, request, reply)
            if reply.success and not replication.has_entries_for(cluster[leading], name):
                break


def crash(cluster: dict[str, State], name: str) -> None:
    """Restart `name` with what Fig. 2 calls persistent, all of which was saved."""
    old = cluster[name]
    cluster[name] = State(name, SERVERS, old.current_term, old.voted_for, old.log)


def logs(cluster: dict[str, State]) -> list[list[int]]:
    """Return the rows of the figure."""
    return [terms_of(cluster[name].log) for name in SERVERS]


def until_c() -> dict[str, State]:
    """Play (a), (b) and (c), checking each picture; in the end S1 leads term 4 and has replicated entry 2 to S3."""
    cluster = {name: server(1, id=name, servers=SERVERS, current_term=1, commit_index=1) for name in SERVERS}
    # (a) S1 is leader of term 2 and partially replicates the entry at index 2.
    elect(cluster, "S1", "S2", "S3")
    accept_command(cluster, "S1")
    replicate(cluster, "S1", "S2")
    assert logs(cluster) == [[1, 2], [1, 2], [1], [1], [1]]
    # (b) S1 crashes; S5 wins term 3 with the votes of S3, S4 and its own, and accepts another entry at index 2.
    crash(cluster, "S1")
    cluster["S5"].current_term = 2
    elect(cluster, "S5", "S3", "S4")
    assert cluster["S5"].role is Role.LEADER
    accept_command(cluster, "S5")
    assert logs(cluster) == [[1, 2], [1, 2], [1], [1], [1, 3]]
    # (c) S5 crashes; S1 restarts, wins term 4, and goes on replicating.
    crash(cluster, "S5")
    cluster["S1"].current_term = 3
    elect(cluster, "S1", "S2", "S3")
    assert cluster["S1"].role is Role.LEADER
    replicate(cluster, "S1", "S2", "S3")
    return cluster


def test_in_c_the_entry_of_term_2_is_on_a_majority_but_not_committed() -> None:
    """Fig. 8 (a)-(c), §5.4.2."""
    cluster = until_c()
    accept_command(cluster, "S1")
    assert logs(cluster) == [[1, 2, 4], [1, 2], [1, 2], [1], [1, 3]]
    assert replication.index_stored_on_majority(cluster["S1"]) == 2
    assert cluster["S1"].commit_index == 0, "since its restart it cannot know of a commit"


def test_in_d_the_entry_is_overwritten_everywhere() -> None:
    """Fig. 8 (d): S5 wins with the votes of S2, S3 and S4. Nothing committed is lost, as nothing was committed."""
    cluster = until_c()
    accept_command(cluster, "S1")
    crash(cluster, "S1")
    cluster["S5"].current_term = 4
    elect(cluster, "S5", "S2", "S3", "S4")
    assert cluster["S5"].role is Role.LEADER
    replicate(cluster, "S5", "S1", "S2", "S3", "S4")
    assert logs(cluster)[1:] == [[1, 3]] * 4
    accept_command(cluster, "S5")
    replicate(cluster, "S5", "S1", "S2", "S3", "S4")
    assert logs(cluster) == [[1, 3, 5]] * 5
    assert cluster["S5"].commit_index == 3


def test_in_e_the_entry_is_committed_with_one_of_the_leaders_own_term_and_s5_cannot_win() -> None:
    """Fig. 8 (e), §5.4.2: all preceding entries are committed as well."""
    cluster = until_c()
    accept_command(cluster, "S1")
    replicate(cluster, "S1", "S2", "S3")
    assert logs(cluster) == [[1, 2, 4], [1, 2, 4], [1, 2, 4], [1], [1, 3]]
    assert cluster["S1"].commit_index == 3
    crash(cluster, "S1")
    cluster["S5"].current_term = 4
    elect(cluster, "S5", "S1", "S2", "S3", "S4")
    assert cluster["S5"].role is not Role.LEADER
    assert cluster["S5"].votes == {"S5": True, "S1": False, "S2": False, "S3": False, "S4": True}
