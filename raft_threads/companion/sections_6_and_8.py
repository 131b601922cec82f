"""The rules that §6 (membership) and §8 (clients) give in their text, in its order."""

from __future__ import annotations

from raft_threads.companion.rule import Rule, tests_in

SECTION_6 = (
    Rule(
        "S6.1",
        "Fig. 10, Fig. 11",
        "A change of the cluster goes from C_old to C_new by way of C_old,new.",
        "Servers switch one after the other; meanwhile a majority of C_old and one of C_new could both decide.",
        "raft_threads.membership.begin_joint_consensus_if_caught_up",
        tests_in("test_figure_11_timeline", "test_the_leader_first_creates_c_old_new")
        + tests_in("test_section_6_membership_on_servers", "test_the_configuration_passes_through_joint_consensus")
        + tests_in("test_figure_10_direct_switching", "test_in_joint_consensus_the_same_messages_elect_one_leader"),
    ),
    Rule(
        "S6.2",
        "§6",
        "In joint consensus entries, those of clients too, go to the servers of both configurations.",
        "Both have to store them before they are committed; and so clients are served throughout the change.",
        "raft_threads.configuration.Configuration.servers",
        tests_in(
            "test_section_6_configurations",
            "test_entries_go_to_all_servers_of_both_configurations_each_once",
        )
        + tests_in(
            "test_section_6_joint_consensus",
            "test_a_leader_sends_entries_to_servers_of_both_configurations",
            "test_a_leader_replicates_to_all_servers_of_both_configurations",
        )
        + tests_in("test_figure_11_timeline", "test_the_cluster_serves_clients_throughout_the_change"),
    ),
    Rule(
        "S6.3",
        "§6",
        "In joint consensus a server of either configuration may lead.",
        "The one whose log is good enough may be of either.",
        "raft_threads.election.may_stand",
        tests_in(
            "test_section_6_disruptive_servers",
            "test_a_server_of_either_configuration_stands_in_joint_consensus",
        )
        + tests_in("test_figure_11_timeline", "test_any_server_from_either_configuration_may_serve_as_leader"),
    ),
    Rule(
        "S6.4",
        "§6",
        "In joint consensus elections and commitment need a majority of C_old, and one of C_new.",
        "So nothing is decided that either could contradict by itself.",
        "raft_threads.configuration.Configuration.is_majority",
        tests_in(
            "test_section_6_configurations",
            "test_joint_consensus_requires_separate_majorities_of_both_configurations",
            "test_any_set_that_decides_in_joint_consensus_meets_any_that_decides_in_either_configuration",
            "test_what_is_reached_by_a_majority_is_what_the_servers_at_it_decide",
        )
        + tests_in(
            "test_figure_11_timeline",
            "test_c_old_new_is_not_committed_by_c_old_alone",
            "test_c_old_new_is_not_committed_by_c_new_alone",
        ),
    ),
    Rule(
        "S6.5",
        "§6",
        "A configuration is an entry of the log, and travels as one.",
        "So each server has it sooner or later, in one order with all commands, and after a crash too.",
        "raft_threads.membership.append_configuration",
        tests_in(
            "test_section_6_joint_consensus",
            "test_a_configuration_is_an_entry_of_the_leaders_term",
            "test_a_change_that_only_removes_servers_begins_joint_consensus_at_once",
        )
        + tests_in(
            "test_section_6_configurations",
            "test_the_configuration_is_found_again_in_the_log_after_a_restart",
        ),
    ),
    Rule(
        "S6.6",
        "§6",
        "A server uses the latest configuration in its log, whether it is committed or not.",
        "Nobody can know for sure what is committed; but who has stored C_new must not decide by C_old any more.",
        "raft_threads.state.State.configuration",
        tests_in(
            "test_figure_11_timeline",
            "test_c_old_new_is_in_force_on_each_server_before_it_is_committed",
            "test_a_server_falls_back_to_the_previous_configuration_in_its_log",
        )
        + tests_in(
            "test_section_6_configurations",
            "test_the_latest_configuration_in_the_log_is_in_force_committed_or_not",
        ),
    ),
    Rule(
        "S6.7",
        "Fig. 11",
        "The leader creates C_new when C_old,new is committed, and not before.",
        "From then on only servers with C_old,new can be elected, and none of them decides by C_old alone.",
        "raft_threads.membership.leave_joint_consensus_if_committed",
        tests_in(
            "test_figure_11_timeline",
            "test_the_leader_creates_c_new_once_c_old_new_is_committed_and_once_only",
            "test_a_follower_that_learns_that_c_old_new_is_committed_creates_nothing",
            "test_a_new_leader_that_has_c_old_new_finishes_the_change",
        ),
    ),
    Rule(
        "S6.8",
        "§6, the first issue",
        "New servers get the log before the change begins, and count for no majority meanwhile.",
        "They have no say: the servers of the present configuration may decide without them.",
        "raft_threads.replication.index_stored_on_majority",
        tests_in(
            "test_section_6_catching_up",
            "test_new_servers_are_not_considered_for_majorities",
            "test_the_leader_replicates_to_new_servers_before_the_configuration_changes",
            "test_new_servers_do_not_confirm_leadership_and_nobody_hands_over_to_them",
        ),
    ),
    Rule(
        "S6.9",
        "§6, the first issue",
        "The change begins when the new servers have caught up.",
        "Otherwise nothing could be committed until they have.",
        "raft_threads.membership.record_catch_up",
        tests_in(
            "test_section_6_catching_up",
            "test_joint_consensus_begins_when_all_new_servers_have_caught_up",
            "test_a_new_server_has_caught_up_when_a_round_was_shorter_than_an_election_timeout",
        )
        + tests_in("test_section_6_membership_on_servers", "test_new_servers_catch_up_before_they_vote"),
    ),
    Rule(
        "S6.10",
        "§6, the second issue",
        "A leader that is not in C_new steps down when C_new is committed, and not before.",
        "That is the first moment at which C_new can surely go on alone.",
        "raft_threads.membership.step_down_if_removed",
        tests_in(
            "test_figure_11_timeline",
            "test_a_leader_outside_of_c_new_steps_down_once_c_new_is_committed_and_not_before",
            "test_a_leader_that_stays_in_the_cluster_goes_on_leading",
        ),
    ),
    Rule(
        "S6.11",
        "§6, the second issue",
        "A leader that is not in C_new does not count itself while it commits C_new.",
        "A majority is one of the configuration in force, whoever leads.",
        "raft_threads.configuration.Configuration.reached_by_majority",
        tests_in(
            "test_figure_11_timeline",
            "test_a_leader_outside_of_c_new_replicates_but_does_not_count_itself",
        )
        + tests_in(
            "test_section_6_configurations",
            "test_servers_outside_of_a_configuration_count_for_nothing",
        )
        + tests_in("test_section_8_reads", "test_a_leader_that_is_being_removed_does_not_count_itself"),
    ),
    Rule(
        "S6.12",
        "§6, the third issue",
        "Who has heard from a leader within the shortest election timeout disregards candidates.",
        "Servers that were removed hear no heartbeats; each of their elections would depose a leader.",
        "raft_threads.election.disregards",
        tests_in(
            "test_section_6_disruptive_servers",
            "test_a_server_that_hears_from_a_leader_disregards_requests_for_votes",
            "test_to_disregard_a_request_is_to_change_nothing",
            "test_a_disregarded_request_does_not_restart_the_election_timer",
        )
        + tests_in(
            "test_section_6_membership_on_servers",
            "test_a_removed_server_does_not_disrupt_the_cluster",
        ),
    ),
)

SECTION_8 = (
    Rule(
        "S8.1",
        "§8, §5.1",
        "Clients send everything to the leader, and begin with a server chosen at random.",
        "A client does not know who leads; at random, not all of them trouble the same server.",
        "raft_threads.client_connections.LeaderConnections",
        tests_in("test_client", "test_clients_begin_with_different_servers"),
    ),
    Rule(
        "S8.2",
        "§8, §5.1",
        "A server that does not lead refuses what clients ask, and says who led when it last heard.",
        "Only a leader may add to the log, and only a leader can know what is committed.",
        "raft_threads.monitor.Monitor.refuse_unless_leader",
        tests_in(
            "test_section_5_3_replication_on_servers",
            "test_a_follower_refuses_commands_and_names_the_leader",
        )
        + tests_in("test_section_8_clients_on_servers", "test_a_follower_reads_nothing_and_names_the_leader")
        + tests_in("test_client", "test_a_hint_leads_to_the_leader"),
    ),
    Rule(
        "S8.3",
        "§8",
        "A client whose request times out tries other servers: in the paper at random, ours one after the other.",
        "The leader may have crashed, and another one been elected.",
        "raft_threads.client_connections.LeaderConnections.did_not_lead",
        tests_in(
            "test_section_8_clients_on_servers",
            "test_a_client_leaves_a_leader_that_does_not_answer_for_another_one",
        )
        + tests_in(
            "test_client",
            "test_a_leader_that_is_elected_meanwhile_is_found",
            "test_without_a_hint_the_client_asks_round_also_past_servers_that_are_down",
        )
        + tests_in(
            "test_section_8_client_sessions",
            "test_another_server_answers_for_a_leader_that_died",
            "test_a_leader_without_a_majority_is_left_for_one_that_has_it",
        ),
    ),
    Rule(
        "S8.4",
        "§8, Diss. §6.3",
        "Each command of a client has a number of its own.",
        "That is how a command which is sent again is told from a new one.",
        "raft_threads.client_session.ClientSession.command",
        tests_in(
            "test_section_8_client_sessions",
            "test_commands_are_numbered_and_tell_which_answers_the_client_has",
            "test_a_command_that_waits_holds_up_no_other_and_keeps_its_place",
        ),
    ),
    Rule(
        "S8.5",
        "§8, Diss. §6.3",
        "A command that was executed before is answered as it was then, and not executed again.",
        "An answer may be lost, by a crash too, and then the client cannot know whether to ask again.",
        "raft_threads.sessions.remembered_reply",
        tests_in(
            "test_section_8_sessions",
            "test_a_command_that_is_sent_again_gets_the_first_answer_and_is_not_executed_again",
            "test_the_first_answer_is_remembered_even_if_it_is_blank",
            "test_commands_of_one_client_may_be_applied_in_any_order_each_once",
        )
        + tests_in(
            "test_section_8_clients_on_servers",
            "test_a_command_that_is_sent_again_after_a_leader_change_is_executed_once",
        ),
    ),
    Rule(
        "S8.6",
        "§8, Diss. §6.4",
        "Before it answers reads, a leader has to know all that is committed: an entry of its own term must be.",
        "It has every committed entry, but not the knowledge of which they are; its own first one comes after all.",
        "raft_threads.reads.read_index",
        tests_in(
            "test_section_8_reads",
            "test_before_its_no_op_is_committed_a_leader_cannot_know_what_is_committed_and_waits_for_that",
            "test_a_read_needs_all_that_is_committed_when_it_arrives",
        ),
    ),
    Rule(
        "S8.7",
        "§8, §5.4.2",
        "A leader opens its term with a blank entry.",
        "Committing it commits what earlier leaders left behind, and lets reads be answered: without waiting for a "
        "client to write something.",
        "raft_threads.election.append_no_op",
        tests_in(
            "test_section_8_no_op",
            "test_a_new_leader_appends_a_no_op_of_its_term",
            "test_the_no_op_commits_what_earlier_leaders_left_behind",
        ),
    ),
    Rule(
        "S8.8",
        "§8, Diss. §6.4",
        "Before it answers a read, a leader hears from a majority that it still is one.",
        "It may have been replaced without knowing it, and what it has may be outdated.",
        "raft_threads.reads.leadership_is_confirmed",
        tests_in(
            "test_section_8_reads",
            "test_a_deposed_leader_that_does_not_know_it_answers_nothing",
            "test_a_read_is_answered_after_a_majority_has_answered_heartbeats_sent_after_it_arrived",
            "test_a_majority_is_counted_by_servers_and_not_by_answers",
        )
        + tests_in("test_section_8_clients_on_servers", "test_a_deposed_leader_answers_no_read"),
    ),
)
