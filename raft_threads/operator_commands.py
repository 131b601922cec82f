"""`raft-threads members, transfer, snapshot`: what operators ask a cluster for (§6, §7; Diss. §3.10).

Exit codes as in `client_commands.py`; a refused change is one that was surely not executed.
"""

from __future__ import annotations

import argparse
from functools import partial

from raft_threads.client import Client
from raft_threads.client_commands import DONE, run_with_client
from raft_threads.client_messages import Change, MembersReply


def run_members(arguments: argparse.Namespace) -> int:
    """Show the cluster's servers, or change them (§6); return the exit code."""
    return run_with_client(members, arguments)


def run_transfer(arguments: argparse.Namespace) -> int:
    """Hand leadership over (Diss. §3.10); return the exit code."""
    return run_with_client(transfer, arguments)


def run_snapshot(arguments: argparse.Namespace) -> int:
    """Have servers compact their logs (§7); return the highest of their exit codes."""
    servers = list(arguments.cluster) if arguments.id is None else [arguments.id]
    return max(run_with_client(partial(snapshot, server), arguments) for server in servers)


def members(client: Client, arguments: argparse.Namespace) -> int:
    """Change the servers if there is a change to make, and print which there are."""
    if arguments.change in (None, "list"):
        reply = client.members()
    else:
        reply = client.change_members(Change(arguments.change), arguments.servers)
    print("\n".join(member_lines(reply)))
    return DONE


def member_lines(reply: MembersReply) -> list[str]:
    """Return a line for each server: `id=host:port`, and during a change what becomes of it (§6)."""
    if reply.new_members is None:
        return list(reply.members)
    both = dict.fromkeys([*reply.members, *reply.new_members])
    return [
        f"{member} (joining)" if member not in reply.members
        else f"{member} (leaving)" if member not in reply.new_members
        else member
        for member in both
    ]


def transfer(client: Client, arguments: argparse.Namespace) -> int:
    """Hand over, and print to whom."""
    print(client.transfer(arguments.id))
    return DONE


def snapshot(server: str, client: Client, arguments: argparse.Namespace) -> int:
    """Have one server compact its log, and print what it says."""
    print(f"{server}: {client.take_snapshot(server)}")
    return DONE
