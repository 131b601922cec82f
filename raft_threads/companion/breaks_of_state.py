"""Without the rules of Fig. 2's State box: what is on disk, and what a server may believe when it starts."""

from __future__ import annotations

from collections.abc import Iterable
from unittest import mock

from raft_threads import election
from raft_threads.companion.breaking import Break, Schedule, Swap
from raft_threads.companion.directing import begin, check_read, hold, is_append, restart, stand, win
from raft_threads.companion.figure_3 import LINEARIZABILITY
from raft_threads.disk import Disk
from raft_threads.server_invariants import ELECTION_SAFETY, LEADER_COMPLETENESS, STATE_MACHINE_SAFETY
from raft_threads.simulation.cluster import SimulatedCluster
from raft_threads.state import State

_write_unsaved = Disk._write_unsaved
_post_init = State.__post_init__
_become_leader = election.become_leader

# currentTerm, votedFor


def save_all_but_the_term(self: Disk) -> None:
    """Write the vote, and the term that the disk holds already."""
    save, saved_term = self._storage.save_term_and_vote, self._state.saved_term_and_vote[0]
    with mock.patch.object(self._storage, "save_term_and_vote", lambda term, vote: save(saved_term, vote)):
        _write_unsaved(self)


def save_all_but_the_vote(self: Disk) -> None:
    """Write the term without a vote."""
    save = self._storage.save_term_and_vote
    with mock.patch.object(self._storage, "save_term_and_vote", lambda term, vote: save(term, None)):
        _write_unsaved(self)


def a_voter_restarts(cluster: SimulatedCluster) -> str:
    """n2 elects n1 in term 1, crashes, and is asked by n3 for its vote of term 1 when it is back."""
    cluster.connect_only("n1", "n2")
    hold(cluster, "n1", ["n2"], is_append)
    stand(cluster, "n1")
    cluster.crash("n2")
    restart(cluster, "n2")
    cluster.connect_only("n2", "n3")
    stand(cluster, "n3")
    return "n2 still knew that it had voted for n1, and n3 was not elected."


# log[]


def is_saved_without_its_log(self: State) -> bool:
    """Take the log for something that a crash may lose."""
    return self.term_and_vote_are_saved()


def the_followers_crash(cluster: SimulatedCluster) -> str:
    """n1 commits an entry that n2 and n3 have acknowledged; both crash, and go on without n1."""
    begin(cluster, "n1")
    cluster.isolate("n1")
    for follower in ("n2", "n3"):
        cluster.crash(follower, bytes_written=0)
    restart(cluster, "n2", "n3")
    stand(cluster, "n2")
    return "n2 was elected, and has the entry: its disk held it before n1 heard of it."


# commitIndex, lastApplied


def take_what_is_saved_for_committed(self: State, servers: Iterable[str]) -> None:
    """Begin with all that the disk holds as known to be committed."""
    _post_init(self, servers)
    self.commit_index = self.log.last_index


def an_old_leader_restarts(cluster: SimulatedCluster) -> str:
    """n1 appends an entry that nobody else has, and crashes; n2 commits another one at its index; n1 starts again."""
    begin(cluster, "n1")
    cluster.isolate("n1")
    cluster.propose(b"lost", via="n1")
    cluster.run_for(0.01)
    cluster.crash("n1")
    win(cluster, "n2")
    cluster.run_until(lambda: cluster.state("n2").last_applied == 2, "n2 commits an entry 2 of its own, and applies it")
    restart(cluster, "n1")
    cluster.run_for(0.01)
    cluster.heal()
    cluster.run_until(lambda: cluster.state("n1").last_applied == 2, "n1 follows n2")
    return "n1 applied nothing until n2 told it what is committed, and by then its own entry 2 was replaced."


def take_what_is_saved_for_applied(self: State, servers: Iterable[str]) -> None:
    """Begin with all that the disk holds as applied already, although the state machine begins empty."""
    _post_init(self, servers)
    self.last_applied = self.log.last_index


def a_server_restarts_and_leads(cluster: SimulatedCluster) -> str:
    """A client sets x; n1, which has applied that, crashes, starts again, is elected, and answers a read."""
    win(cluster, "n1")
    cluster.put("x", "1")
    cluster.crash("n1")
    restart(cluster, "n1")
    win(cluster, "n1")
    check_read(cluster.read("x", "n1"), "1")
    return "n1 applied its log again from the first entry on, and the client read 1."


# nextIndex[], matchIndex[]


def lead_and_send_everything(state: State) -> None:
    """Become leader, with the first index that the log has as next_index for everybody."""
    _become_leader(state)
    state.next_index = {peer: state.log.first_index for peer in state.peers}


def lead_and_take_hope_for_knowledge(state: State) -> None:
    """Become leader, and believe at once that everybody has all of our log."""
    _become_leader(state)
    state.match_index.update({peer: state.log.last_index for peer in state.peers})


def a_new_leader_is_cut_off_at_once(cluster: SimulatedCluster) -> str:
    """n1 is elected, and cut off before its first entry has reached anybody; n2 is elected."""
    for follower in ("n2", "n3"):
        cluster.network.hold("n1", follower, is_append)
    win(cluster, "n1")
    cluster.run_for(0.01)
    cluster.isolate("n1")
    win(cluster, "n2")
    return "n2 was elected without n1's entry, which n1 did not take for committed."


BREAKS = (
    Break(
        "F2.State.1",
        "The disk keeps the term that it had.",
        (Swap("raft_threads.disk.Disk._write_unsaved", save_all_but_the_term),),
        ELECTION_SAFETY,
        Schedule(a_voter_restarts),
    ),
    Break(
        "F2.State.2",
        "The term is written without the vote.",
        (Swap("raft_threads.disk.Disk._write_unsaved", save_all_but_the_vote),),
        ELECTION_SAFETY,
        Schedule(a_voter_restarts),
    ),
    Break(
        "F2.State.3",
        "A server answers as soon as its term and vote are saved, and never waits for its log.",
        (Swap("raft_threads.state.State.is_saved", is_saved_without_its_log),),
        LEADER_COMPLETENESS,
        Schedule(the_followers_crash),
    ),
    Break(
        "F2.State.4",
        "A server that starts takes all entries on its disk for committed.",
        (Swap("raft_threads.state.State.__post_init__", take_what_is_saved_for_committed),),
        STATE_MACHINE_SAFETY,
        Schedule(an_old_leader_restarts),
    ),
    Break(
        "F2.State.5",
        "A server that starts takes all entries on its disk for applied.",
        (Swap("raft_threads.state.State.__post_init__", take_what_is_saved_for_applied),),
        LINEARIZABILITY,
        Schedule(a_server_restarts_and_leads),
    ),
    Break(
        "F2.State.6",
        "A new leader begins with next_index at the beginning of its log, and sends everybody all of it.",
        (Swap("raft_threads.election.become_leader", lead_and_send_everything),),
        untold="Any index up to the end of the log will do: a follower skips what it has, and the leader backs up "
        "where it does not fit. Only how much is sent depends on it.",
    ),
    Break(
        "F2.State.7",
        "A new leader begins with match_index at the end of its own log for everybody.",
        (Swap("raft_threads.election.become_leader", lead_and_take_hope_for_knowledge),),
        LEADER_COMPLETENESS,
        Schedule(a_new_leader_is_cut_off_at_once),
    ),
)
