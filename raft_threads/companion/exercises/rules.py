"""Exercises of one rule each: the main rules of Fig. 2, in the order of the paper."""

from __future__ import annotations

from raft_threads.companion.exercises.exercise import Exercise, Part, Target, functions, tests

ELECTIONS = tests("section_5_2_elections_on_servers")
REPLICATION = tests("section_5_3_replication_on_servers")
CRASHES = tests("section_5_5_crashes_on_servers")


def rule(
    says: str,
    sections: str,
    targets: tuple[Target, ...],
    first: tuple[str, ...],
    rule_tests: tuple[str, ...],
    server_tests: tuple[str, ...],
) -> Exercise:
    """Return an exercise of a single part, whose `first` tests are about nothing else."""
    return Exercise(says, sections, (Part(says, targets, first),), rule_tests, server_tests)


RULES: dict[str, Exercise] = {
    "adopt-newer-term": rule(
        "a newer term is adopted, and makes a follower of anybody", "§5.1",
        functions("election.py", "adopt_newer_term"),
        tests(
            "section_5_1_terms",
            "a_server_in_any_state_adopts_a_newer_term_and_becomes_a_follower",
            "a_term_that_is_not_newer_changes_nothing",
            "a_newer_term_is_adopted_from_a_vote_request",
            "a_leader_that_learns_of_a_newer_term_from_a_reply_steps_down",
        ),
        tests("section_5_1_terms") + tests("section_5_2_leader_election"),
        ELECTIONS,
    ),
    "begin-election": rule(
        "how a candidate begins an election", "§5.2",
        functions("election.py", "begin_election"),
        tests(
            "section_5_2_leader_election",
            "to_begin_an_election_a_server_increments_its_term_and_votes_for_itself",
        ) + tests("section_5_4_1_election_restriction", "a_vote_request_carries_the_candidates_last_entry")
        + tests("figure_7_followers", "the_leader_could_be_elected_by_a_b_e_and_f"),
        tests("section_5_2_leader_election"),
        ELECTIONS,
    ),
    "grants-vote": rule(
        "who gets a vote", "Fig. 2, RequestVote RPC",
        functions("election.py", "grants_vote"),
        tests(
            "section_5_2_leader_election",
            "a_server_votes_for_the_first_candidate_that_asks",
            "a_server_votes_for_at_most_one_candidate_in_a_term",
            "a_vote_is_free_again_in_a_newer_term",
        ) + tests(
            "section_5_4_1_election_restriction", "a_voter_denies_its_vote_to_a_candidate_with_an_older_log"
        ),
        tests("section_5_2_leader_election") + tests("section_5_4_1_election_restriction"),
        ELECTIONS,
    ),
    "up-to-date": rule(
        "which of two logs is more up-to-date", "§5.4.1",
        functions("election.py", "is_at_least_as_up_to_date"),
        tests(
            "section_5_4_1_election_restriction",
            "the_later_last_term_wins_and_then_the_longer_log",
            "a_voter_denies_its_vote_to_a_candidate_with_an_older_log",
            "a_voter_grants_its_vote_to_a_candidate_whose_log_is_just_as_good",
        ),
        tests("section_5_4_1_election_restriction") + tests("figure_7_followers"),
        tests("figure_7_by_real_elections") + tests("figure_8_on_servers"),
    ),
    "become-leader": rule(
        "what a candidate does when it is elected", "Fig. 2; §8",
        functions("election.py", "become_leader"),
        tests("section_8_no_op", "a_new_leader_appends_a_no_op_of_its_term")
        + tests("section_5_1_terms", "a_leader_that_learns_of_a_newer_term_from_a_reply_steps_down")
        + tests("figure_7_followers", "a_new_leader_begins_with_index_11_for_everybody"),
        tests("section_5_2_leader_election") + tests("section_8_no_op"),
        ELECTIONS,
    ),
    "majority": rule(
        "what a majority is, in joint consensus as well", "§5.2, §6",
        functions("configuration.py", "Configuration.is_majority"),
        tests(
            "section_6_configurations",
            "joint_consensus_requires_separate_majorities_of_both_configurations",
            "servers_outside_of_a_configuration_count_for_nothing",
        ) + tests("section_5_2_leader_election", "a_candidate_wins_with_the_votes_of_a_majority_of_the_full_cluster"),
        tests("section_6_configurations") + tests("section_5_2_leader_election"),
        ELECTIONS + tests("section_6_membership_on_servers"),
    ),
    "handle-append-entries": rule(
        "a follower's answer to AppendEntries: the figure read aloud", "Fig. 2, AppendEntries RPC",
        functions("replication.py", "handle_append_entries"),
        tests(
            "section_5_3_log_replication",
            "a_follower_accepts_entries_that_follow_a_matching_one",
            "a_follower_refuses_entries_when_it_has_none_at_prev_log_index",
            "a_follower_learns_who_leads_even_when_it_refuses_the_entries",
        ) + tests("section_5_1_terms", "a_newer_term_is_adopted_from_append_entries"),
        tests("section_5_3_log_replication") + tests("section_5_3_commit_and_apply"),
        REPLICATION,
    ),
    "consistency-check": rule(
        "the consistency check", "§5.3",
        functions("replication.py", "matches_previous_entry"),
        tests(
            "section_5_3_log_replication",
            "a_follower_refuses_entries_when_its_entry_at_prev_log_index_is_of_another_term",
            "the_first_entry_of_all_follows_index_0",
        ) + tests("section_7_snapshots", "the_consistency_check_succeeds_at_the_last_included_entry"),
        tests("section_5_3_log_replication") + tests("section_7_snapshots"),
        REPLICATION,
    ),
    "conflicting-entries": rule(
        "entries that conflict are deleted, and no others", "§5.3",
        functions("replication.py", "first_conflict", "delete_conflicting_entries"),
        tests(
            "section_5_3_log_replication",
            "a_conflicting_entry_and_all_that_follow_it_are_deleted",
            "entries_before_the_conflict_are_kept",
            "append_entries_that_comes_late_or_twice_deletes_nothing",
        ),
        tests("section_5_3_log_replication") + tests("figure_7_followers"),
        REPLICATION + tests("figure_8_on_servers"),
    ),
    "append-new-entries": rule(
        "new entries are appended, and none twice", "§5.3",
        functions("replication.py", "append_new_entries"),
        tests(
            "section_5_3_log_replication",
            "a_follower_accepts_entries_that_follow_a_matching_one",
            "entries_that_are_partly_there_are_completed",
        ) + tests("section_5_5_retries_and_idempotence", "append_entries_handled_twice_is_as_handled_once"),
        tests("section_5_3_log_replication") + tests("section_5_5_retries_and_idempotence"),
        REPLICATION,
    ),
    "append-entries-request": rule(
        "what a leader sends", "§5.3",
        functions("replication.py", "append_entries_request"),
        tests(
            "section_5_3_log_replication",
            "a_leader_sends_a_follower_the_entries_from_its_next_index_on",
            "a_leader_sends_an_empty_append_entries_as_a_heartbeat_when_there_is_nothing_new",
            "a_message_carries_a_limited_number_of_entries",
        ),
        tests("section_5_3_log_replication") + tests("figure_6_logs"),
        REPLICATION,
    ),
    "back-up": rule(
        "how a leader finds where a follower agrees", "§5.3, last page",
        functions("replication.py", "back_up_next_index", "index_to_try_next"),
        tests(
            "section_5_3_backing_up_next_index",
            "the_leader_bypasses_a_term_that_it_does_not_have",
            "the_leader_tries_its_own_last_entry_of_the_term_in_conflict",
        ),
        tests("section_5_3_backing_up_next_index") + tests("figure_7_followers"),
        tests("figure_7_by_real_elections") + REPLICATION,
    ),
    "commit": rule(
        "what a leader commits", "§5.3, §5.4.2",
        functions("replication.py", "advance_commit_index"),
        tests(
            "section_5_4_2_committing_from_previous_terms",
            "an_entry_of_an_earlier_term_is_not_committed_by_counting_replicas",
            "an_entry_of_the_leaders_term_commits_all_that_come_before_it",
            "the_commit_index_of_a_leader_never_goes_back",
        ),
        tests("section_5_4_2_committing_from_previous_terms") + tests("section_5_3_commit_and_apply")
        + tests("figure_8_time_sequence"),
        tests("figure_8_on_servers") + CRASHES,
    ),
    "follow-leader-commit": rule(
        "what a follower takes for committed", "Fig. 2, AppendEntries RPC, rule 5",
        functions("replication.py", "follow_leader_commit"),
        tests(
            "section_5_3_commit_and_apply",
            "a_follower_commits_what_its_leader_has_committed",
            "a_follower_commits_no_further_than_the_last_new_entry",
            "a_late_heartbeat_never_takes_the_commit_index_back",
        ),
        tests("section_5_3_commit_and_apply") + tests("figure_6_logs"),
        REPLICATION,
    ),
    "apply": rule(
        "what is applied, and in which order", "Fig. 2, All Servers",
        functions("replication.py", "entries_to_apply", "record_applied"),
        tests(
            "section_5_3_commit_and_apply",
            "committed_entries_are_applied_in_log_order_and_each_once",
            "an_entry_that_is_not_committed_is_not_applied",
        ),
        tests("section_5_3_commit_and_apply") + tests("figure_6_logs"),
        REPLICATION + CRASHES,
    ),
}
