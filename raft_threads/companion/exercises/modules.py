"""Exercises of a whole module of rules each, in parts: what can be tested first is written first."""

from __future__ import annotations

from raft_threads.companion.exercises.exercise import Exercise, Part, functions, tests

ELECTION = Exercise(
    "all of leader election", "§5.1, §5.2, §5.4.1",
    (
        Part(
            "terms (§5.1)",
            functions("election.py", "adopt_newer_term", "become_follower", "is_stale"),
            tests(
                "section_5_1_terms",
                "stepping_down_within_a_term_keeps_the_vote", "a_request_of_the_current_term_is_not_stale",
            ) + tests(
                "section_5_3_log_replication",
                "the_first_entry_of_all_follows_index_0",
                "a_follower_learns_who_leads_even_when_it_refuses_the_entries",
                "a_deposed_leaders_contradiction_is_just_stale",
            ),
        ),
        Part(
            "the voter (Fig. 2, RequestVote RPC; §5.4.1)",
            functions(
                "election.py", "is_at_least_as_up_to_date", "has_not_voted_for_another", "grants_vote",
                "handle_request_vote", "restarts_election_timer",
            ),
            tests(
                "section_5_4_1_election_restriction",
                "the_later_last_term_wins_and_then_the_longer_log",
                "a_voter_denies_its_vote_to_a_candidate_with_an_older_log",
                "a_voter_grants_its_vote_to_a_candidate_whose_log_is_just_as_good",
            ) + tests("section_5_5_retries_and_idempotence", "a_vote_request_handled_twice_is_as_handled_once")
            + tests("section_5_1_terms", "a_request_with_a_stale_term_is_rejected_with_the_current_one"),
        ),
        Part(
            "the candidate (Fig. 2, Candidates)",
            functions(
                "election.py", "begin_election", "vote_request", "awaits_vote_of", "answers_our_candidacy",
                "handle_request_vote_reply",
            ),
            tests("section_5_4_1_election_restriction", "a_vote_request_carries_the_candidates_last_entry")
            + tests("figure_7_followers", "the_leader_could_be_elected_by_a_b_e_and_f")
            + tests("section_5_1_terms", "a_candidate_that_learns_of_a_newer_term_from_a_reply_gives_up"),
        ),
        Part(
            "the new leader (§5.2; §8)",
            functions("election.py", "become_leader_if_elected", "become_leader", "append_no_op"),
            tests(
                "section_5_2_leader_election",
                "a_candidate_wins_with_the_votes_of_a_majority_of_the_full_cluster",
                "a_new_leader_expects_followers_to_match_and_knows_of_nothing_that_does",
            ) + tests("section_8_no_op", "a_new_leader_appends_a_no_op_of_its_term"),
        ),
        Part(
            "in a cluster that changes (§6, the third issue)",
            functions("election.py", "disregards", "disregarding_reply", "may_stand"),
            tests("section_6_disruptive_servers", "a_server_that_hears_from_a_leader_disregards_requests_for_votes"),
        ),
    ),
    tests("section_5_1_terms") + tests("section_5_2_leader_election") + tests("section_5_4_1_election_restriction")
    + tests("figure_7_followers") + tests("section_6_disruptive_servers"),
    tests("section_5_2_elections_on_servers") + tests("figure_8_on_servers"),
)

REPLICATION = Exercise(
    "all of log replication and commitment", "§5.3, §5.4.2",
    (
        Part(
            "the follower (Fig. 2, AppendEntries RPC)",
            functions(
                "replication.py", "matches_previous_entry", "refusal_with_conflict", "first_conflict",
                "delete_conflicting_entries", "append_new_entries", "last_new_index", "follow_leader_commit",
                "recognize_leader", "refuse_the_impossible", "handle_append_entries",
            ),
            tests(
                "section_5_3_log_replication",
                "a_follower_accepts_entries_that_follow_a_matching_one",
                "a_follower_refuses_entries_when_it_has_none_at_prev_log_index",
                "a_conflicting_entry_and_all_that_follow_it_are_deleted",
                "append_entries_that_comes_late_or_twice_deletes_nothing",
                "a_second_leader_in_a_term_is_refused_and_changes_nothing",
            ) + tests(
                "section_5_3_backing_up_next_index", "a_follower_tells_the_term_in_conflict_and_its_first_index"
            ) + tests("section_5_3_commit_and_apply", "a_follower_commits_no_further_than_the_last_new_entry"),
        ),
        Part(
            "applying (Fig. 2, All Servers)",
            functions("replication.py", "entries_to_apply", "record_applied"),
            tests(
                "section_5_3_commit_and_apply",
                "committed_entries_are_applied_in_log_order_and_each_once",
                "an_entry_that_is_not_committed_is_not_applied",
            ),
        ),
        Part(
            "the leader sends (Fig. 2, Leaders)",
            functions(
                "replication.py", "append_command", "has_entries_for", "entries_to_send", "append_entries_request"
            ),
            tests(
                "section_5_3_log_replication",
                "a_leader_appends_a_command_with_its_term_at_the_next_index",
                "a_leader_sends_a_follower_the_entries_from_its_next_index_on",
                "a_message_carries_a_limited_number_of_bytes_but_always_one_entry",
            ),
        ),
        Part(
            "the leader commits (§5.4.2)",
            functions(
                "replication.py", "index_stored_on_majority", "advance_commit_index", "record_own_match",
                "record_own_disk",
            ),
            tests("section_5_4_2_committing_from_previous_terms")
            + tests(
                "section_5_3_commit_and_apply", "a_cluster_of_one_elects_itself_and_commits_when_its_disk_is_done"
            ),
        ),
        Part(
            "the leader hears answers (§5.3)",
            functions(
                "replication.py", "answers_our_leadership", "record_match", "index_to_try_next", "back_up_next_index",
                "handle_append_entries_reply",
            ),
            tests(
                "section_5_3_log_replication",
                "after_a_success_the_leader_knows_how_far_the_follower_matches",
                "a_late_success_takes_neither_next_index_nor_match_index_back",
            ) + tests(
                "section_5_3_backing_up_next_index",
                "the_leader_retries_with_earlier_entries_until_the_follower_agrees",
            ) + tests("figure_7_followers", "each_followers_log_becomes_the_leaders"),
        ),
    ),
    tests("section_5_3_log_replication") + tests("section_5_3_commit_and_apply")
    + tests("section_5_3_backing_up_next_index") + tests("section_5_5_retries_and_idempotence")
    + tests("figure_6_logs") + tests("figure_7_followers") + tests("figure_8_time_sequence"),
    tests("section_5_3_replication_on_servers") + tests("section_5_5_crashes_on_servers")
    + tests("figure_8_on_servers") + tests("figure_7_by_real_elections"),
)

MEMBERSHIP = Exercise(
    "changes of the cluster by joint consensus", "§6",
    (
        Part(
            "a change begins, or is refused (§6)",
            functions(
                "membership.py", "change_is_under_way", "refuse_impossible_change", "new_servers", "begin_round",
                "follow_configuration", "begin_change",
            ),
            tests(
                "section_6_joint_consensus",
                "a_change_that_makes_no_cluster_or_no_change_is_refused",
                "a_change_is_refused_while_servers_are_catching_up",
            ) + tests("section_6_catching_up", "new_servers_are_not_considered_for_majorities"),
        ),
        Part(
            "new servers catch up (§6, the first issue)",
            functions("membership.py", "record_catch_up", "give_up_change"),
            tests(
                "section_6_catching_up",
                "a_round_ends_when_the_new_server_has_what_the_log_held_at_its_beginning",
                "a_server_that_is_too_slow_after_ten_rounds_ends_the_change",
                "a_change_can_be_given_up_while_servers_catch_up",
            ),
        ),
        Part(
            "C_old,new (§6, Fig. 11)",
            functions("membership.py", "append_configuration", "begin_joint_consensus_if_caught_up"),
            tests(
                "figure_11_timeline",
                "the_leader_first_creates_c_old_new",
                "c_old_new_is_not_committed_by_c_old_alone",
                "c_old_new_is_not_committed_by_c_new_alone",
            ) + tests("section_6_catching_up", "joint_consensus_begins_when_all_new_servers_have_caught_up"),
        ),
        Part(
            "C_new, and out of the way (§6, the second issue)",
            functions(
                "membership.py", "latest_configuration_is_committed", "leave_joint_consensus_if_committed",
                "step_down_if_removed", "advance_change",
            ),
            tests(
                "figure_11_timeline",
                "the_leader_creates_c_new_once_c_old_new_is_committed_and_once_only",
                "c_new_is_committed_by_a_majority_of_c_new",
                "a_leader_outside_of_c_new_steps_down_once_c_new_is_committed_and_not_before",
            ),
        ),
    ),
    tests("section_6_joint_consensus") + tests("section_6_catching_up") + tests("figure_11_timeline")
    + tests("figure_10_direct_switching"),
    tests("section_6_membership_on_servers"),
)

COMPACTION = Exercise(
    "snapshots", "§7",
    (
        Part(
            "a server's own snapshots (Fig. 12)",
            functions(
                "compaction.py", "snapshot_is_due", "has_something_to_compact", "snapshot_metadata",
                "discard_what_it_replaces",
            ),
            tests(
                "section_7_snapshots",
                "a_snapshot_is_due_when_the_log_reaches_a_fixed_size_in_bytes",
                "a_snapshot_covers_just_what_was_applied",
            ) + tests("figure_12_snapshot", "the_snapshot_takes_the_place_of_the_committed_entries"),
        ),
        Part(
            "a follower receives chunks (Fig. 13, rules 1 to 5)",
            functions(
                "compaction.py", "refuse_the_impossible", "is_known_already", "begins_a_new_snapshot",
                "begin_receiving", "is_of", "bytes_stored", "handle_install_snapshot", "wants_chunk", "record_chunk",
                "stop_receiving",
            ),
            tests(
                "figure_13_install_snapshot",
                "a_chunk_of_a_deposed_leader_is_refused",
                "the_first_chunk_creates_a_new_snapshot",
                "a_chunk_after_a_gap_is_not_stored_and_the_leader_is_told_where_to_go_on",
                "a_snapshot_that_is_damaged_has_to_come_again",
            ),
        ),
        Part(
            "and installs the snapshot (Fig. 13, rules 6 and 7)",
            functions("compaction.py", "has_its_last_entry", "install_snapshot"),
            tests(
                "figure_13_install_snapshot",
                "entries_after_the_snapshot_are_kept_when_its_last_entry_is_in_the_log",
                "the_entire_log_is_discarded_when_it_lacks_the_snapshots_last_entry",
                "a_commit_index_beyond_the_snapshot_stays",
            ),
        ),
        Part(
            "the state machine follows (Fig. 13, rule 8)",
            functions("compaction.py", "must_reset_state_machine", "record_reset"),
            tests(
                "figure_13_install_snapshot",
                "the_state_machine_is_reset_when_it_has_not_seen_all_of_the_snapshot",
                "the_state_machine_is_not_reset_when_it_has_seen_all_of_the_snapshot",
            ),
        ),
        Part(
            "the leader sends (Fig. 13)",
            functions("compaction.py", "needs_snapshot", "install_snapshot_request", "handle_install_snapshot_reply"),
            tests(
                "figure_13_install_snapshot",
                "the_request_has_what_the_figure_says",
                "the_leader_goes_on_behind_the_snapshot_once_the_follower_has_it",
            ) + tests("section_7_snapshots", "a_follower_needs_the_snapshot_when_its_next_entry_is_discarded"),
        ),
    ),
    tests("figure_12_snapshot") + tests("figure_13_install_snapshot") + tests("section_7_snapshots"),
    tests("section_7_snapshots_on_servers"),
)

SESSIONS = Exercise(
    "clients' sessions: a command is executed once", "§8; Diss. §6.3",
    (
        Part(
            "sessions are opened, used, and forgotten",
            functions("sessions.py", "expire_least_recently_used", "open_session", "use_session", "Sessions.apply"),
            tests("section_8_sessions", "a_command_without_a_session_is_executed_as_often_as_it_is_in_the_log"),
        ),
        Part(
            "a command is executed once",
            functions(
                "sessions.py", "forget_answered", "remembered_reply", "can_be_executed", "remember_reply",
                "Sessions._execute_once",
            ),
            tests(
                "section_8_sessions",
                "a_command_that_is_sent_again_gets_the_first_answer_and_is_not_executed_again",
                "commands_of_one_client_may_be_applied_in_any_order_each_once",
                "a_command_whose_answer_the_client_has_is_not_executed_again",
                "an_older_request_does_not_take_back_what_the_client_said",
            ),
        ),
        Part(
            "sessions in snapshots",
            functions("sessions.py", "Sessions.capture", "Sessions.restore"),
            tests(
                "section_8_sessions",
                "a_command_that_is_sent_again_after_a_restart_from_a_snapshot_is_not_executed_again",
                "which_session_expires_next_survives_a_snapshot",
            ),
        ),
    ),
    tests("section_8_sessions"),
    tests("section_8_clients_on_servers"),
)

MODULES: dict[str, Exercise] = {
    "election": ELECTION,
    "replication": REPLICATION,
    "membership": MEMBERSHIP,
    "compaction": COMPACTION,
    "sessions": SESSIONS,
}
