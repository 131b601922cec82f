"""The rules of Fig. 2's box "Rules for Servers", and of Fig. 4."""

from __future__ import annotations

from raft_threads.companion.rule import Rule, tests_in

ALL_SERVERS = (
    Rule(
        "F2.AllServers.1",
        "§5.3",
        "What is committed is applied, in the order of the log, each entry once; nothing else is.",
        "State machines that execute the same commands in the same order are in the same state.",
        "raft_threads.replication.entries_to_apply",
        tests_in(
            "test_section_5_3_commit_and_apply",
            "test_an_entry_that_is_not_committed_is_not_applied",
            "test_committed_entries_are_applied_in_log_order_and_each_once",
        ),
    ),
    Rule(
        "F2.AllServers.2",
        "§5.1",
        "Whoever hears of a newer term, in a request or a reply, adopts it and becomes a follower.",
        "A newer term means a newer election: a leader or candidate of before has had its time.",
        "raft_threads.election.adopt_newer_term",
        tests_in(
            "test_section_5_1_terms",
            "test_a_server_in_any_state_adopts_a_newer_term_and_becomes_a_follower",
            "test_a_term_that_is_not_newer_changes_nothing",
            "test_a_newer_term_is_adopted_from_a_vote_request",
            "test_a_newer_term_is_adopted_from_append_entries",
            "test_a_candidate_that_learns_of_a_newer_term_from_a_reply_gives_up",
            "test_a_leader_that_learns_of_a_newer_term_from_a_reply_steps_down",
        ),
    ),
)

FOLLOWERS = (
    Rule(
        "F2.Followers.1",
        "§5.1, §5.2",
        "Followers answer what candidates and leaders ask, and ask nothing themselves.",
        "Votes and acknowledgements are all that a majority consists of.",
        "raft_threads.request_handlers.RequestHandlers.handle",
        tests_in(
            "test_node_persists_before_it_answers",
            "test_a_heartbeat_that_changes_nothing_is_answered_without_the_disk",
        )
        + tests_in("test_node_threads", "test_a_server_sends_nothing_as_a_follower"),
    ),
    Rule(
        "F2.Followers.2",
        "§5.2",
        "A follower stands for election once it has heard of no current leader, and given no vote, for a timeout.",
        "Silence is how a crash is noticed; and while a leader is heard, or an election is on, another only disturbs.",
        "raft_threads.election.restarts_election_timer",
        tests_in(
            "test_section_5_2_leader_election",
            "test_append_entries_from_the_current_leader_restarts_the_election_timer",
            "test_append_entries_from_a_deposed_leader_does_not_restart_the_election_timer",
            "test_granting_a_vote_restarts_the_election_timer_and_denying_it_does_not",
        )
        + tests_in("test_section_5_6_timing", "test_an_election_is_due_when_its_time_has_come_and_not_before")
        + tests_in("test_section_5_2_elections_on_servers", "test_heartbeats_prevent_elections"),
    ),
)

CANDIDATES = (
    Rule(
        "F2.Candidates.1",
        "§5.2",
        "Who becomes a candidate starts an election at once: the four points below.",
        "Nobody else will: all wait for somebody to stand.",
        "raft_threads.election_thread.ElectionThread._start_election",
        tests_in(
            "test_section_5_2_elections_on_servers",
            "test_a_cluster_of_any_size_elects_one_leader_and_the_others_follow_it",
            "test_when_the_leader_is_lost_the_others_elect_another",
        ),
    ),
    Rule(
        "F2.Candidates.1.1",
        "§5.2",
        "An election is of a new term.",
        "In a term that is under way there may be a leader already, and votes that were given.",
        "raft_threads.election.begin_election",
        tests_in(
            "test_section_5_2_leader_election",
            "test_to_begin_an_election_a_server_increments_its_term_and_votes_for_itself",
            "test_votes_that_are_split_elect_nobody_and_the_next_election_is_of_a_new_term",
        ),
    ),
    Rule(
        "F2.Candidates.1.2",
        "§5.2",
        "A candidate votes for itself, and so for nobody else in that term.",
        "It counts itself as one of its majority; that vote is as binding as any other.",
        "raft_threads.election.begin_election",
        tests_in(
            "test_section_5_2_leader_election",
            "test_to_begin_an_election_a_server_increments_its_term_and_votes_for_itself",
            "test_a_candidate_or_leader_denies_its_vote_to_a_rival_of_its_term",
        )
        + tests_in(
            "test_node_persists_before_it_answers",
            "test_a_candidate_saves_its_term_and_vote_before_it_asks_for_votes",
        ),
    ),
    Rule(
        "F2.Candidates.1.3",
        "§5.2",
        "A candidate draws a new random election timeout, which begins when the election does.",
        "The votes need time to come; and candidates that collided must not collide again.",
        "raft_threads.monitor.Monitor.restart_election_timer",
        tests_in(
            "test_section_5_2_election_timer_threads",
            "test_a_timeout_is_drawn_anew_from_a_fixed_interval_each_time",
        )
        + tests_in(
            "test_section_5_2_elections_on_servers",
            "test_when_all_time_out_together_random_timeouts_spread_them_the_next_time",
        )
        + tests_in("test_section_5_6_timing", "test_election_timeouts_seldom_collide"),
    ),
    Rule(
        "F2.Candidates.1.4",
        "§5.2, §5.5",
        "A candidate asks all other servers for their votes, again and again until each has answered.",
        "Who is not asked does not vote.",
        "raft_threads.election.awaits_vote_of",
        tests_in(
            "test_section_5_2_leader_election",
            "test_a_candidate_asks_every_other_server_for_its_vote_until_it_has_an_answer",
            "test_only_a_candidate_asks_for_votes",
        )
        + tests_in("test_node_threads", "test_a_candidate_asks_until_it_is_answered"),
    ),
    Rule(
        "F2.Candidates.2",
        "§5.2",
        "A candidate leads once a majority of the whole cluster has voted for it in its term, and not before.",
        "Any two majorities have a server in common, and that one votes once.",
        "raft_threads.election.become_leader_if_elected",
        tests_in(
            "test_section_5_2_leader_election",
            "test_a_candidate_wins_with_the_votes_of_a_majority_of_the_full_cluster",
            "test_a_vote_counts_once_however_often_its_reply_arrives",
            "test_a_vote_of_an_earlier_election_does_not_count",
        )
        + tests_in("test_section_5_2_elections_on_servers", "test_a_majority_of_the_full_cluster_is_needed"),
    ),
    Rule(
        "F2.Candidates.3",
        "§5.2",
        "A candidate that hears from a leader of its own term gives up, and follows.",
        "That one has a majority, so this election is lost.",
        "raft_threads.replication.recognize_leader",
        tests_in(
            "test_section_5_2_leader_election",
            "test_a_candidate_that_hears_of_the_terms_leader_becomes_its_follower",
            "test_a_candidate_rejects_a_leader_of_an_older_term_and_goes_on",
        )
        + tests_in(
            "test_section_5_2_elections_on_servers",
            "test_a_candidate_yields_to_the_leader_of_its_term_and_its_vote_stays",
        ),
    ),
    Rule(
        "F2.Candidates.4",
        "§5.2",
        "A candidate that is not elected within its timeout starts another election.",
        "Votes may be split, or lost, so that nobody wins a term; then there has to be a next one.",
        "raft_threads.election_thread.ElectionThread._due_at",
        tests_in(
            "test_section_5_2_elections_on_servers",
            "test_votes_that_are_split_elect_nobody_and_the_next_timeout_decides",
            "test_when_all_time_out_together_random_timeouts_spread_them_the_next_time",
        )
        + tests_in("test_node_threads", "test_a_server_that_hears_of_no_leader_times_out_again_and_again"),
    ),
)

LEADERS = (
    Rule(
        "F2.Leaders.1",
        "§5.2",
        "A leader sends to every server at once when it is elected, and then at intervals while there is nothing new.",
        "Who hears nothing for an election timeout stands for election.",
        "raft_threads.peer_thread.PeerThread._due_at",
        tests_in("test_section_5_2_elections_on_servers", "test_heartbeats_prevent_elections")
        + tests_in("test_node_threads", "test_a_leader_sends_heartbeats_to_every_server_while_it_is_idle"),
    ),
    Rule(
        "F2.Leaders.2",
        "§5.3",
        "A leader appends a client's command to its log, and answers when it has applied it.",
        "Before that the entry may be replaced, and there is no result yet.",
        "raft_threads.node.Node._propose",
        tests_in(
            "test_section_5_3_replication_on_servers",
            "test_without_a_quorum_nothing_is_committed_and_with_it_the_entry_is",
            "test_a_command_is_answered_once_it_is_committed_and_applied_and_the_others_follow",
        )
        + tests_in(
            "test_section_5_3_log_replication",
            "test_a_leader_appends_a_command_with_its_term_at_the_next_index",
        )
        + tests_in("test_node_threads", "test_a_command_is_answered_after_it_has_been_applied"),
    ),
    Rule(
        "F2.Leaders.3",
        "§5.3",
        "A leader sends each follower the entries from its next_index on, as long as there are any.",
        "Entries travel in one direction only, and nobody but the leader sends them.",
        "raft_threads.replication.append_entries_request",
        tests_in(
            "test_section_5_3_log_replication",
            "test_a_leader_sends_a_follower_the_entries_from_its_next_index_on",
            "test_a_leader_has_entries_for_a_follower_from_the_first_that_it_has_not_sent",
            "test_a_leader_sends_an_empty_append_entries_as_a_heartbeat_when_there_is_nothing_new",
        ),
    ),
    Rule(
        "F2.Leaders.3.1",
        "§5.3",
        "When a follower has taken entries, its match_index and next_index move behind them.",
        "That is how a leader comes to know what a majority stores.",
        "raft_threads.replication.record_match",
        tests_in(
            "test_section_5_3_log_replication",
            "test_after_a_success_the_leader_knows_how_far_the_follower_matches",
            "test_a_late_success_takes_neither_next_index_nor_match_index_back",
        ),
    ),
    Rule(
        "F2.Leaders.3.2",
        "§5.3",
        "When a follower's log does not fit, its next_index moves back, and the leader tries again from there.",
        "Somewhere both logs agree, at the latest before the first entry; from there on it takes the leader's.",
        "raft_threads.replication.back_up_next_index",
        tests_in(
            "test_section_5_3_backing_up_next_index",
            "test_the_leader_retries_with_earlier_entries_until_the_follower_agrees",
            "test_next_index_never_falls_below_the_first_entry",
            "test_a_refusal_of_an_earlier_probe_is_ignored",
        )
        + tests_in("test_figure_7_followers", "test_each_followers_log_becomes_the_leaders"),
    ),
    Rule(
        "F2.Leaders.4",
        "§5.3, §5.4.2, Fig. 8",
        "A leader commits up to an entry that a majority stores, if that entry is of its own term.",
        "An older entry on a majority can still be replaced by a leader of a term in between; "
        "once one of the present term is on a majority, no such leader can be elected any more.",
        "raft_threads.replication.advance_commit_index",
        tests_in(
            "test_section_5_4_2_committing_from_previous_terms",
            "test_an_entry_of_an_earlier_term_is_not_committed_by_counting_replicas",
            "test_an_entry_of_the_leaders_term_commits_all_that_come_before_it",
        )
        + tests_in("test_section_5_3_commit_and_apply", "test_an_entry_is_committed_once_a_majority_stores_it")
        + tests_in(
            "test_figure_8_on_servers",
            "test_in_d_s5_overwrites_the_entry_of_term_2_which_was_on_a_majority",
            "test_a_leader_that_counts_an_older_terms_entry_on_a_majority_does_not_commit_it",
        ),
    ),
)
