"""Clients' commands that wait to be applied (§5.3, §8): by index, and each with a wake-up of its own."""

from __future__ import annotations

import pytest
from drawing import entries_of

from raft_threads.proposals import CommandFailed, OutcomeUnknown, Proposal, Proposals, settle
from raft_threads.runtime import Runtime


def command_at(index: int, term: int) -> Proposal:
    """Return a command that waits for its entry to be applied."""
    return Proposal(entries_of(term, first_index=index)[0], Runtime())


def test_commands_of_different_terms_may_wait_for_one_index() -> None:
    """§5.3, Fig. 8: a leader that was deposed and leads again; the first command may be in another's log still."""
    proposals = Proposals()
    first, second, elsewhere = command_at(3, 1), command_at(3, 4), command_at(5, 4)
    for proposal in (first, second, elsewhere):
        proposals.add(proposal)
    assert proposals.take(3) == [first, second]
    assert proposals.take(3) == []
    assert proposals.take(5) == [elsewhere]


def test_a_command_that_nobody_waits_for_any_more_is_forgotten_and_no_other() -> None:
    """§8: its time is up; another one at its index waits on."""
    proposals = Proposals()
    first, second = command_at(3, 1), command_at(3, 4)
    for proposal in (first, second):
        proposals.add(proposal)
    proposals.discard(first)
    assert proposals.take(3) == [second]


def test_a_command_may_be_forgotten_after_it_was_taken() -> None:
    """§8: it was applied just when its time was up."""
    proposals = Proposals()
    first, second = command_at(3, 1), command_at(3, 4)
    proposals.add(first)
    proposals.take(3)
    proposals.discard(first)
    proposals.add(second)
    proposals.discard(first)
    assert proposals.take_all() == [second]


def test_all_commands_can_be_taken_at_once_and_are_gone_then() -> None:
    """As when the server stops: each caller is told once."""
    proposals = Proposals()
    commands = [command_at(index, 1) for index in (2, 3)]
    for proposal in commands:
        proposals.add(proposal)
    assert proposals.take_all() == commands
    assert proposals.take_all() == []
    assert proposals.take(2) == []


def test_the_term_of_the_entry_that_was_applied_decides_what_became_of_the_command() -> None:
    """§5.3: index and term together identify an entry (Fig. 3, Log Matching)."""
    executed, replaced = command_at(2, 1), command_at(2, 3)
    for proposal in (executed, replaced):
        settle(proposal, entries_of(1, first_index=2)[0], b"done")
    for _ in range(2):  # whoever asks again hears the same
        assert executed.wait(0) == b"done"
        with pytest.raises(CommandFailed):
            replaced.wait(0)


@pytest.mark.parametrize("timeout", [0.0, 0.001, -1.0])
def test_without_an_outcome_the_wait_ends_when_the_time_is_up(timeout: float) -> None:
    """Also when there was none left."""
    proposal = command_at(2, 1)
    assert proposal.wait(timeout) is None
    proposal.fail(OutcomeUnknown("the server stopped"))
    with pytest.raises(OutcomeUnknown):
        proposal.wait(timeout)
