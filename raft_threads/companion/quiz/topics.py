"""What the quiz asks about, in the order of the paper."""

from __future__ import annotations

from raft_threads.companion.quiz.about_breaks import what_goes_wrong
from raft_threads.companion.quiz.about_commitment import how_far_a_leader_commits
from raft_threads.companion.quiz.about_configurations import what_decides_in_joint_consensus
from raft_threads.companion.quiz.about_elections import who_can_win, who_votes
from raft_threads.companion.quiz.about_followers import what_a_follower_does
from raft_threads.companion.quiz.about_logs import which_logs_occur
from raft_threads.companion.quiz.about_safety import which_entries_are_safe
from raft_threads.companion.quiz.about_sessions import what_is_the_counter
from raft_threads.companion.quiz.about_snapshots import what_a_snapshot_does
from raft_threads.companion.quiz.question import Topic

TOPICS: dict[str, Topic] = {
    "votes": Topic("who votes for a candidate", "§5.2, §5.4.1", who_votes),
    "election": Topic("who can win the coming election", "§5.4.1", who_can_win),
    "follower": Topic("what a follower answers, and how its log is then", "§5.3", what_a_follower_does),
    "logs": Topic("which logs can occur", "§5.3, §5.4.1", which_logs_occur),
    "commit": Topic("how far a leader commits", "§5.3, §5.4.2", how_far_a_leader_commits),
    "safe": Topic("which entries can never be lost", "§5.4", which_entries_are_safe),
    "without": Topic("what goes wrong without a rule", "Fig. 3", what_goes_wrong),
    "joint": Topic("what a majority is while the cluster changes", "§6", what_decides_in_joint_consensus),
    "snapshot": Topic("what a snapshot does to a follower's log", "§7", what_a_snapshot_does),
    "session": Topic("what becomes of a command that is sent again", "§8", what_is_the_counter),
}
