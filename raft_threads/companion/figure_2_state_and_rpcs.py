"""The rules of Fig. 2's left half and RPC boxes: State, RequestVote, AppendEntries."""

from __future__ import annotations

from raft_threads.companion.rule import Rule, tests_in

STATE = (
    Rule(
        "F2.State.1",
        "§5.1, §5.5",
        "The current term only grows, and it is on disk before an answer speaks of it.",
        "A server that came back in an older term could vote, or lead, a second time in a term that it has been in.",
        "raft_threads.state.State.term_and_vote_are_saved",
        tests_in(
            "test_figure_2_state",
            "test_a_changed_term_vote_or_log_is_unsaved_until_the_disk_has_it",
            "test_a_new_server_is_a_follower_in_term_0_without_a_vote_or_a_log",
        )
        + tests_in("test_section_5_5_crashes_on_servers", "test_term_and_vote_outlive_a_crash"),
    ),
    Rule(
        "F2.State.2",
        "§5.2, §5.5",
        "The vote of the current term is on disk before the candidate hears of it.",
        "A voter that crashes must not vote for another candidate of the same term when it is back.",
        "raft_threads.disk.Disk._write_unsaved",
        tests_in("test_section_5_5_crashes_on_servers", "test_term_and_vote_outlive_a_crash")
        + tests_in(
            "test_section_5_2_elections_on_servers",
            "test_nobody_votes_for_two_candidates_of_a_term",
        )
        + tests_in("test_node_persists_before_it_answers", "test_a_voter_saves_its_vote_before_it_answers"),
    ),
    Rule(
        "F2.State.3",
        "§5.3, §5.5",
        "Entries, each with the term in which a leader got it, are on disk before they are acknowledged. "
        "The first one has index 1.",
        "A leader commits what a majority has acknowledged; a crash must not take that back.",
        "raft_threads.state.State.is_saved",
        tests_in(
            "test_figure_2_state",
            "test_a_changed_term_vote_or_log_is_unsaved_until_the_disk_has_it",
            "test_the_first_index_is_1_and_index_0_means_before_the_first_entry",
        )
        + tests_in(
            "test_section_5_3_replication_on_servers",
            "test_a_follower_acknowledges_an_entry_only_when_its_disk_holds_it",
        )
        + tests_in(
            "test_node_persists_before_it_answers",
            "test_a_follower_saves_entries_before_it_answers_and_the_term_before_the_entries",
        ),
    ),
    Rule(
        "F2.State.4",
        "§5.3, §5.4",
        "After a start nothing is known to be committed; from then on the commit index never falls.",
        "What a log holds may have been on a minority only, and be replaced yet.",
        "raft_threads.state.State",
        tests_in(
            "test_figure_2_state",
            "test_entries_that_were_saved_are_neither_committed_nor_applied_after_a_restart",
        )
        + tests_in(
            "test_section_5_3_commit_and_apply",
            "test_a_late_heartbeat_never_takes_the_commit_index_back",
        )
        + tests_in(
            "test_section_5_4_2_committing_from_previous_terms",
            "test_the_commit_index_of_a_leader_never_goes_back",
        ),
    ),
    Rule(
        "F2.State.5",
        "§5.3, §5.5",
        "After a start nothing has been applied; from then on last_applied never falls.",
        "The state machine is in memory: after a restart it begins empty, or with the snapshot, and needs all again.",
        "raft_threads.replication.record_applied",
        tests_in(
            "test_section_5_3_commit_and_apply",
            "test_committed_entries_are_applied_in_log_order_and_each_once",
        )
        + tests_in(
            "test_figure_2_state",
            "test_entries_that_were_saved_are_neither_committed_nor_applied_after_a_restart",
        )
        + tests_in(
            "test_section_5_5_crashes_on_servers",
            "test_a_cluster_of_one_goes_on_alone_after_each_crash",
        ),
    ),
    Rule(
        "F2.State.6",
        "§5.3",
        "A new leader sets next_index of each server to the entry after its own last one.",
        "It hopes that all logs are like its own, and backs up where one is not: mostly that is the least to send.",
        "raft_threads.election.become_leader",
        tests_in(
            "test_section_5_2_leader_election",
            "test_a_new_leader_expects_followers_to_match_and_knows_of_nothing_that_does",
        )
        + tests_in("test_figure_7_followers", "test_a_new_leader_begins_with_index_11_for_everybody"),
    ),
    Rule(
        "F2.State.7",
        "§5.3",
        "A new leader sets match_index of each other server to 0; within its term it only grows.",
        "next_index is a hope, match_index knowledge: it counts towards committing, so only answers may raise it.",
        "raft_threads.election.become_leader",
        tests_in(
            "test_section_5_2_leader_election",
            "test_a_new_leader_expects_followers_to_match_and_knows_of_nothing_that_does",
        )
        + tests_in(
            "test_section_5_5_retries_and_idempotence",
            "test_a_late_or_repeated_success_never_moves_match_index_backwards",
        ),
    ),
)

REQUEST_VOTE = (
    Rule(
        "F2.RequestVote.1",
        "§5.1",
        "A candidate of an older term than ours gets no vote.",
        "Our vote of the present term is for the present term's candidates; an old one must not use it up.",
        "raft_threads.election.grants_vote",
        tests_in(
            "test_section_5_1_terms",
            "test_a_request_with_a_stale_term_is_rejected_with_the_current_one",
            "test_a_request_of_the_current_term_is_not_stale",
        ),
    ),
    Rule(
        "F2.RequestVote.2",
        "§5.2, §5.4.1",
        "A candidate gets our vote if that is free or its own already, and its log is as up-to-date as ours.",
        "The first half makes at most one winner of a term; the second makes the winner have all that is committed.",
        "raft_threads.election.grants_vote",
        tests_in(
            "test_section_5_2_leader_election",
            "test_a_server_votes_for_the_first_candidate_that_asks",
            "test_a_server_votes_for_at_most_one_candidate_in_a_term",
        )
        + tests_in(
            "test_section_5_4_1_election_restriction",
            "test_a_voter_denies_its_vote_to_a_candidate_with_an_older_log",
        ),
    ),
    Rule(
        "F2.RequestVote.2.1",
        "§5.2",
        "A vote is given once in a term: to the first who asks, and to the same one when it asks again.",
        "Two majorities of a term share a voter; if nobody votes twice, only one of them can have elected somebody.",
        "raft_threads.election.has_not_voted_for_another",
        tests_in(
            "test_section_5_2_leader_election",
            "test_a_server_votes_for_at_most_one_candidate_in_a_term",
            "test_a_repeated_request_gets_the_same_vote_again",
            "test_a_vote_is_free_again_in_a_newer_term",
            "test_a_candidate_or_leader_denies_its_vote_to_a_rival_of_its_term",
        )
        + tests_in("test_section_5_2_elections_on_servers", "test_nobody_votes_for_two_candidates_of_a_term"),
    ),
    Rule(
        "F2.RequestVote.2.2",
        "§5.4.1",
        "A candidate's last entry must have a later term than ours, or the same term and no smaller index.",
        "A committed entry is on a majority, and some voter is in it: that one refuses whoever lacks the entry.",
        "raft_threads.election.is_at_least_as_up_to_date",
        tests_in(
            "test_section_5_4_1_election_restriction",
            "test_a_voter_denies_its_vote_to_a_candidate_with_an_older_log",
            "test_the_later_last_term_wins_and_then_the_longer_log",
            "test_a_voter_grants_its_vote_to_a_candidate_whose_log_is_just_as_good",
            "test_a_vote_request_carries_the_candidates_last_entry",
        )
        + tests_in("test_figure_7_followers", "test_the_leader_could_be_elected_by_a_b_e_and_f"),
    ),
)

APPEND_ENTRIES = (
    Rule(
        "F2.AppendEntries.1",
        "§5.1",
        "What a leader of an older term sends is refused.",
        "It has been replaced, and may not know it; its entries may contradict what was committed since.",
        "raft_threads.replication.handle_append_entries",
        tests_in(
            "test_section_5_1_terms",
            "test_a_request_with_a_stale_term_is_rejected_with_the_current_one",
            "test_a_request_of_the_current_term_is_not_stale",
        )
        + tests_in(
            "test_section_5_3_replication_on_servers",
            "test_an_append_entries_of_a_deposed_leader_changes_nothing",
        ),
    ),
    Rule(
        "F2.AppendEntries.2",
        "§5.3",
        "Entries are taken only behind an entry that is the leader's: with the index and the term that it names.",
        "So that logs which share an entry share all before it: each addition checks the one before, by induction.",
        "raft_threads.replication.matches_previous_entry",
        tests_in(
            "test_section_5_3_log_replication",
            "test_a_follower_refuses_entries_when_its_entry_at_prev_log_index_is_of_another_term",
            "test_a_follower_refuses_entries_when_it_has_none_at_prev_log_index",
            "test_a_follower_accepts_entries_that_follow_a_matching_one",
            "test_the_first_entry_of_all_follows_index_0",
            "test_a_heartbeat_is_checked_like_any_append_entries_and_leaves_the_log_alone",
        ),
    ),
    Rule(
        "F2.AppendEntries.3",
        "§5.3",
        "Where our entry has another term than the leader's at that index, it goes, and all after it.",
        "It is what an earlier leader did not get committed, and the leader's log is the one that counts.",
        "raft_threads.replication.delete_conflicting_entries",
        tests_in(
            "test_section_5_3_log_replication",
            "test_a_conflicting_entry_and_all_that_follow_it_are_deleted",
            "test_entries_before_the_conflict_are_kept",
        )
        + tests_in("test_figure_7_followers", "test_each_followers_log_becomes_the_leaders"),
    ),
    Rule(
        "F2.AppendEntries.4",
        "§5.3",
        "Only entries that the log does not have yet are appended; what is there and agrees stays.",
        "Messages come late and twice. One that is older than the log must not cut off what was acknowledged since.",
        "raft_threads.replication.append_new_entries",
        tests_in(
            "test_section_5_3_log_replication",
            "test_append_entries_that_comes_late_or_twice_deletes_nothing",
            "test_entries_that_are_partly_there_are_completed",
        )
        + tests_in(
            "test_section_5_3_replication_on_servers",
            "test_an_append_entries_that_comes_after_a_longer_one_removes_nothing",
        ),
    ),
    Rule(
        "F2.AppendEntries.5",
        "§5.3",
        "A follower commits what its leader has committed, but not past the last entry that this message covers.",
        "Up to there its log is known to be the leader's. Behind it there may be leftovers of somebody else.",
        "raft_threads.replication.follow_leader_commit",
        tests_in(
            "test_section_5_3_commit_and_apply",
            "test_a_follower_commits_no_further_than_the_last_new_entry",
            "test_a_follower_commits_what_its_leader_has_committed",
            "test_a_follower_that_refuses_the_entries_commits_nothing",
        )
        + tests_in("test_figure_6_logs", "test_a_follower_learns_how_far_the_log_is_committed_and_applies_so_far"),
    ),
)
