"""The rules of Fig. 13 (InstallSnapshot), and those of §7 that stand in the text only."""

from __future__ import annotations

from raft_threads.companion.rule import Rule, tests_in

FIGURE_13 = (
    Rule(
        "F13.1",
        "§5.1, §7",
        "A chunk from a leader of an older term is refused.",
        "It has been replaced, and learns so from the answer.",
        "raft_threads.compaction.handle_install_snapshot",
        tests_in(
            "test_figure_13_install_snapshot",
            "test_a_chunk_of_a_deposed_leader_is_refused",
            "test_a_late_chunk_of_a_deposed_leader_is_not_wanted_although_it_is_the_next_one",
        ),
    ),
    Rule(
        "F13.2",
        "§7",
        "The chunk at offset 0 begins a new snapshot file.",
        "From there on chunks have a place to go.",
        "raft_threads.compaction.begin_receiving",
        tests_in(
            "test_figure_13_install_snapshot",
            "test_the_first_chunk_creates_a_new_snapshot",
            "test_a_new_leaders_snapshot_begins_anew_whatever_its_index",
        ),
    ),
    Rule(
        "F13.3",
        "§7",
        "Each chunk goes into the file at its offset; ours also refuses one that would leave a gap.",
        "Chunks come again when an answer was lost, and the file must be the leader's, byte for byte.",
        "raft_threads.compaction.wants_chunk",
        tests_in(
            "test_figure_13_install_snapshot",
            "test_chunks_are_stored_one_after_the_other",
            "test_a_chunk_after_a_gap_is_not_stored_and_the_leader_is_told_where_to_go_on",
            "test_a_chunk_that_comes_again_changes_nothing",
        ),
    ),
    Rule(
        "F13.4",
        "§7",
        "Until the last chunk is here, the follower only answers, and waits for more.",
        "Half of a snapshot is no state to be in.",
        "raft_threads.request_handlers.RequestHandlers._store_chunk",
        tests_in(
            "test_section_7_snapshots_on_servers",
            "test_a_follower_that_is_far_behind_gets_the_snapshot_in_chunks",
        )
        + tests_in(
            "test_figure_13_install_snapshot",
            "test_chunks_are_stored_one_after_the_other",
            "test_a_snapshot_of_a_single_chunk_is_installed_at_once",
        ),
    ),
    Rule(
        "F13.5",
        "§7",
        "The whole snapshot is saved; an older one goes, be it complete or half received.",
        "The newest one holds all that the others hold.",
        "raft_threads.compaction.begins_a_new_snapshot",
        tests_in(
            "test_figure_13_install_snapshot",
            "test_a_newer_snapshot_of_the_same_leader_takes_the_place_of_one_that_is_half_here",
            "test_a_late_first_chunk_of_an_earlier_snapshot_does_not_take_the_place_of_a_newer_one",
            "test_a_new_leaders_snapshot_begins_anew_whatever_its_index",
            "test_a_chunk_that_comes_again_changes_nothing",
        )
        + tests_in(
            "test_section_7_snapshots_on_disk",
            "test_a_received_snapshot_that_reaches_no_farther_than_ours_is_thrown_away",
        ),
    ),
    Rule(
        "F13.6",
        "§7",
        "If the log has the snapshot's last entry, the entries behind it stay.",
        "They may have been acknowledged, and others may count on that.",
        "raft_threads.compaction.has_its_last_entry",
        tests_in(
            "test_figure_13_install_snapshot",
            "test_entries_after_the_snapshot_are_kept_when_its_last_entry_is_in_the_log",
        )
        + tests_in("test_section_7_snapshots_on_servers", "test_entries_after_a_snapshot_that_agrees_are_kept"),
    ),
    Rule(
        "F13.7",
        "§7",
        "Otherwise the entire log goes.",
        "The snapshot holds all of it that counts; the rest is what some leader did not get committed.",
        "raft_threads.compaction.install_snapshot",
        tests_in(
            "test_figure_13_install_snapshot",
            "test_the_entire_log_is_discarded_when_it_lacks_the_snapshots_last_entry",
            "test_configurations_of_entries_that_are_discarded_are_not_in_force_any_more",
        ),
    ),
    Rule(
        "F13.8",
        "§7",
        "The state machine becomes what the snapshot says, and so does the configuration; if it is behind, even when "
        "the log stays.",
        "The entries that led there will never be applied here.",
        "raft_threads.sessions.Sessions.restore",
        tests_in(
            "test_section_8_sessions",
            "test_a_command_that_is_sent_again_after_a_restart_from_a_snapshot_is_not_executed_again",
        )
        + tests_in(
            "test_figure_13_install_snapshot",
            "test_the_state_machine_is_reset_when_it_has_not_seen_all_of_the_snapshot",
            "test_the_state_machine_is_not_reset_when_it_has_seen_all_of_the_snapshot",
            "test_the_snapshots_configuration_is_loaded",
        )
        + tests_in(
            "test_section_7_snapshots_on_servers",
            "test_a_server_starts_from_its_snapshot_and_the_entries_after_it",
        ),
    ),
    Rule(
        "F13.Leaders.1",
        "§7",
        "A leader sends the chunks of a snapshot in order, and goes on from what the follower has.",
        "The follower needs to remember no more than how much has come.",
        "raft_threads.snapshot_transfer.SnapshotTransfer.next_chunk",
        tests_in(
            "test_section_7_snapshots_on_servers",
            "test_a_follower_that_is_far_behind_gets_the_snapshot_in_chunks",
            "test_a_transfer_goes_on_after_a_lost_chunk_where_it_was",
        )
        + tests_in("test_figure_13_install_snapshot", "test_a_snapshot_arrives_although_one_message_is_lost"),
    ),
    Rule(
        "F13.Followers.1",
        "§5.2, §7",
        "Each chunk counts as hearing from the leader.",
        "A transfer may take longer than an election timeout, and no heartbeat is sent meanwhile.",
        "raft_threads.election.restarts_election_timer",
        tests_in("test_figure_13_install_snapshot", "test_each_chunk_restarts_the_election_timer")
        + tests_in(
            "test_section_7_snapshots_on_servers",
            "test_a_follower_hears_from_its_leader_throughout_a_transfer",
        ),
    ),
)

SECTION_7 = (
    Rule(
        "S7.1",
        "Fig. 12",
        "Each server takes snapshots by itself, of what it has applied and no more.",
        "What is not committed may be replaced yet, and what is not applied is not in the state machine.",
        "raft_threads.compaction.snapshot_metadata",
        tests_in("test_section_7_snapshots", "test_a_snapshot_covers_just_what_was_applied")
        + tests_in(
            "test_figure_12_snapshot",
            "test_the_snapshot_says_which_entry_was_the_last_and_which_configuration_was_in_force",
            "test_the_snapshot_takes_the_place_of_the_committed_entries",
        ),
    ),
    Rule(
        "S7.2",
        "Fig. 12, §5.3",
        "A snapshot keeps index and term of the last entry that it replaces.",
        "The next entry has to follow on something, and a log without entries still has to be compared in elections.",
        "raft_threads.log.Log.position_of",
        tests_in(
            "test_section_7_snapshots",
            "test_a_snapshot_keeps_the_term_of_its_last_entry_whatever_the_servers_term_is",
        )
        + tests_in(
            "test_figure_12_snapshot",
            "test_the_snapshot_says_which_entry_was_the_last_and_which_configuration_was_in_force",
            "test_a_server_without_and_one_with_a_snapshot_vote_alike",
        )
        + tests_in(
            "test_section_7_snapshots",
            "test_the_consistency_check_succeeds_at_the_last_included_entry",
            "test_a_server_whose_log_is_all_in_its_snapshot_votes_and_stands_by_the_last_included_entry",
        ),
    ),
    Rule(
        "S7.3",
        "Fig. 12, §6",
        "A snapshot keeps the latest configuration up to its last entry.",
        "The entry that held it is gone, and a server has to know what a majority is.",
        "raft_threads.log.Log.configuration_at",
        tests_in(
            "test_figure_12_snapshot",
            "test_a_configuration_that_is_included_is_found_in_the_snapshot",
            "test_a_configuration_after_the_last_included_entry_is_not_in_the_snapshot_and_stays_in_force",
        )
        + tests_in(
            "test_section_7_snapshots",
            "test_a_position_in_the_log_has_the_configuration_that_was_the_latest_there",
        ),
    ),
    Rule(
        "S7.4",
        "Fig. 12",
        "Only when a snapshot is complete, and durable, do the entries and the snapshot that it replaces go.",
        "A crash in between must find one or the other.",
        "raft_threads.snapshot_thread.SnapshotThread._write",
        tests_in(
            "test_section_7_snapshots_on_servers",
            "test_commands_are_served_while_a_snapshot_is_written",
        )
        + tests_in(
            "test_section_7_crashes_at_the_disk",
            "test_a_power_failure_between_any_two_steps_loses_nothing_that_was_promised",
        ),
    ),
    Rule(
        "S7.5",
        "Fig. 13",
        "A leader that has discarded the next entry a follower needs sends it the snapshot.",
        "It has nothing else to send.",
        "raft_threads.compaction.needs_snapshot",
        tests_in(
            "test_section_7_snapshots",
            "test_a_follower_needs_the_snapshot_when_its_next_entry_is_discarded",
            "test_a_leader_backs_up_to_its_snapshot_before_it_sends_that",
        ),
    ),
    Rule(
        "S7.6",
        "§7",
        "A snapshot is taken when the log reaches a fixed size in bytes.",
        "Too often wastes the disk's time, too seldom fills it.",
        "raft_threads.compaction.snapshot_is_due",
        tests_in(
            "test_section_7_snapshots",
            "test_a_snapshot_is_due_when_the_log_reaches_a_fixed_size_in_bytes",
            "test_a_snapshot_is_not_due_while_it_would_leave_most_of_the_log",
        )
        + tests_in("test_section_7_snapshots_on_servers", "test_log_and_memory_stay_bounded_under_steady_load"),
    ),
    Rule(
        "S7.7",
        "§7",
        "Commands are applied while a snapshot is written, and what is written tells of the moment when it began.",
        "Writing takes long, and nobody should have to wait for it: hence a copy, or copy-on-write.",
        "raft_threads.kv.KeyValueStore.capture",
        tests_in("test_kv", "test_a_snapshot_tells_the_state_at_the_moment_when_it_was_taken")
        + tests_in(
            "test_section_7_snapshots_on_servers",
            "test_commands_are_served_while_a_snapshot_is_written",
        ),
    ),
)
