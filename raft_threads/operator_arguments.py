"""The arguments of the operators' commands: `members`, `transfer`, `snapshot` (§6, §7; Diss. §3.10)."""

from __future__ import annotations

import argparse
from typing import Any

from raft_threads.client_arguments import (
    add_client_command,
    add_cluster_arguments,
    add_timeout,
    parse_name,
    parse_servers,
)
from raft_threads.operator_commands import run_members, run_snapshot, run_transfer

SHORT = 5.0
# What a new server may need to catch up (§6), and a large state to be written (§7), in seconds.
LONG = 60.0
CHANGES: tuple[tuple[str, str, str], ...] = (
    ("add", "ID=HOST:PORT", "add servers, which were started with --join"),
    ("remove", "ID", "remove servers; they may be down"),
    ("set", "ID=HOST:PORT", "make these the cluster's servers, and no others"),
)


def add_operator_commands(commands: Any) -> None:
    """Add the parsers of all operators' commands."""
    add_members(commands)
    transfer = add_client_command(commands, "transfer", "hand leadership over to the server ID, or to any other", {})
    transfer.add_argument(
        "id", metavar="ID", nargs="?", type=parse_name, help="who is to lead (default: who has most of the log)"
    )
    transfer.set_defaults(run=run_transfer)
    purpose = "have the server ID compact its log, or every server"
    snapshot = commands.add_parser("snapshot", help=purpose, description=purpose)
    snapshot.add_argument("id", metavar="ID", nargs="?", help="which server (default: all in --cluster)")
    add_cluster_arguments(snapshot)
    add_timeout(snapshot, LONG, "60")
    snapshot.set_defaults(parser=snapshot, complete=complete_snapshot_arguments, run=run_snapshot)


def add_members(commands: Any) -> None:
    """Add the parser of `members`, and those of what can be done with them. Options may stand before or after that."""
    purpose = "show which servers the cluster has, or change them"
    parser = commands.add_parser("members", help=purpose, description=f"{purpose}; without more words: list")
    add_cluster_arguments(parser, required=False)
    add_timeout(parser, None, "5; 60 for changes")
    parser.set_defaults(parser=parser, complete=complete_members_arguments, run=run_members)
    actions = parser.add_subparsers(dest="change", metavar="[CHANGE]")
    add_action(actions, "list", "print every server as id=host:port")
    for name, metavar, help_text in CHANGES:
        servers = add_action(actions, name, help_text)
        kind = parse_ids if name == "remove" else parse_members
        servers.add_argument("servers", metavar=metavar, nargs="+", type=kind, help="also several, with commas between")


def add_action(actions: Any, name: str, purpose: str) -> argparse.ArgumentParser:
    """Add the parser of something to do with members. It leaves alone what was given before it."""
    parser: argparse.ArgumentParser = actions.add_parser(name, help=purpose, description=purpose)
    add_cluster_arguments(parser, required=False, name=argparse.SUPPRESS)
    add_timeout(parser, argparse.SUPPRESS, "5; 60 for changes")
    return parser


def complete_members_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """See to what argparse cannot: the cluster may be named in two places. Exits with 2 if it is in none."""
    if "cluster" not in arguments:
        parser.error("the following arguments are required: --cluster")
    changes = arguments.change not in (None, "list")
    if arguments.timeout is None:
        arguments.timeout = LONG if changes else SHORT
    arguments.servers = [server for servers in arguments.servers for server in servers] if changes else []


def complete_snapshot_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Exits with 2 if it is unknown where the server is."""
    if arguments.id is not None and arguments.id not in arguments.cluster:
        parser.error(f"{arguments.id} is not among the servers in --cluster: {', '.join(arguments.cluster)}")


def parse_members(text: str) -> list[str]:
    """Return the servers in `text`, each as `id=host:port`."""
    return [f"{server}={address}" for server, address in parse_servers(text).items()]


def parse_ids(text: str) -> list[str]:
    """Return the ids in `text`."""
    return [parse_name(part.strip()) for part in text.split(",")]
