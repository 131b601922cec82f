"""Turn a node's steps into events: compares the state before a step with the state after it (Fig. 2, Fig. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, Optional

from raft_threads.events import (
    Audience,
    BecameCandidate,
    BecameLeader,
    CatchUpBegan,
    CatchUpRoundEnded,
    CommitAdvanced,
    ConfigurationChanged,
    EntriesAppended,
    EntriesDeleted,
    Event,
    Glimpse,
    LeaderRecognized,
    MembershipChangeGivenUp,
    MessageReceived,
    Observer,
    RequestVoteDisregarded,
    SteppedDown,
    VoteDenied,
    VoteGranted,
    glimpse,
)
from raft_threads.messages import Reply, Request, RequestVote, RequestVoteReply
from raft_threads.state import Role, State


class Narrator:
    """Tells a node's observers what happened. Every method is called with the node's lock held."""

    def __init__(self, state: State, observers: Sequence[Observer], monotonic: Callable[[], float]) -> None:
        self._state = state
        self._audience = Audience(observers)
        # The configuration that was told of last. Compared by identity: each entry's is parsed once.
        self._configuration = state.configuration
        self._monotonic = monotonic

    def wants(self, kind: type[Event]) -> bool:
        """Return whether anybody listens for `kind`."""
        return self._audience.wants(kind)

    def tell(self, kind: type[Event], **fields: Any) -> None:
        """Tell of one event, if anybody wants it."""
        if self._audience.wants(kind):
            self._audience.tell(kind(self._state.id, self._monotonic(), glimpse(self._state), **fields))

    def tell_of_request(self, peer: str, request: Request, reply: Reply) -> None:
        """Tell that a peer's request was handled, and how the vote went if it asked for one."""
        self.tell(MessageReceived, peer=peer, message=request)
        if isinstance(request, RequestVote) and isinstance(reply, RequestVoteReply):
            if reply.term < request.term:
                self.tell(RequestVoteDisregarded, candidate=request.candidate_id, term=request.term)
            else:
                self.tell(VoteGranted if reply.vote_granted else VoteDenied, candidate=request.candidate_id)

    def tell_changes(self, before: Glimpse, first_conflict: Optional[int] = None) -> None:
        """Tell what a step changed. `first_conflict` is where it may have replaced entries of the log."""
        self._tell_of_role(before)
        self._tell_of_log(before, first_conflict)
        if self._state.commit_index > before.commit_index:
            self.tell(CommitAdvanced, previous=before.commit_index)

    def tell_of_configuration(self) -> bool:
        """Tell if another configuration is in force, and return whether it is (§6)."""
        log = self._state.log
        if log.configuration is self._configuration:
            return False
        if log.configuration != self._configuration:
            self.tell(ConfigurationChanged, index=log.configuration_index, configuration=log.configuration)
        self._configuration = log.configuration
        return True

    def tell_of_catch_up_begun(self) -> None:
        """Tell if there are new servers that have to catch up (§6)."""
        catch_up = self._state.catch_up
        if catch_up is not None and catch_up.learners:
            self.tell(CatchUpBegan, learners=tuple(member.id for member in catch_up.learners))

    def tell_of_catch_up(self, learner: str, seconds: float) -> None:
        """Tell that a round of catching up has ended, if it took any `seconds` (Diss. §4.2.1)."""
        catch_up = self._state.catch_up
        if seconds >= 0 and catch_up is not None:
            self.tell(CatchUpRoundEnded, learner=learner, round=catch_up.rounds_ended(learner), seconds=seconds)

    def tell_of_change_given_up(self, reason: str) -> None:
        """Tell that the cluster stays as it is (§6)."""
        self.tell(MembershipChangeGivenUp, reason=reason)

    def _tell_of_role(self, before: Glimpse) -> None:
        state = self._state
        began_anew = state.current_term > before.term
        if state.role is Role.CANDIDATE and (began_anew or before.role is not Role.CANDIDATE):
            self.tell(BecameCandidate)
        if state.role is Role.LEADER and before.role is not Role.LEADER:
            self.tell(BecameLeader)
        if state.role is Role.FOLLOWER and before.role is not Role.FOLLOWER:
            self.tell(SteppedDown, was=before.role)
        new_leader = state.leader_id is not None and (began_anew or state.leader_id != before.leader_id)
        if new_leader and state.role is Role.FOLLOWER:
            self.tell(LeaderRecognized, leader=state.leader_id)

    def _tell_of_log(self, before: Glimpse, first_conflict: Optional[int]) -> None:
        log = self._state.log
        first_new = before.last_log_index + 1
        if log.term_at(before.last_log_index) != before.last_log_term and first_conflict:
            self.tell(EntriesDeleted, first_index=first_conflict, last_index=before.last_log_index)
            first_new = first_conflict
        if log.last_index >= first_new and self.wants(EntriesAppended):
            self.tell(EntriesAppended, entries=tuple(log.entries_between(first_new, log.last_index)))
