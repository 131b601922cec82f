"""`raft-threads put, get, delete, append, cas, increment, status`: the client (§8) for a terminal and for scripts.

Exit codes: 0 done, 1 the answer is no (no such key, another value, no server answers), 3 surely not executed,
4 may have been executed. argparse itself exits with 2.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Callable

from raft_threads.client import Client, MayHaveHappened, SurelyFailed
from raft_threads.server_reports import ServerReport

DONE, NO, SURELY_FAILED, MAY_HAVE_HAPPENED = 0, 1, 3, 4


Run = Callable[[Client, argparse.Namespace], int]


def run_client_command(arguments: argparse.Namespace) -> int:
    """Run the client command that `arguments` name; return the exit code."""
    return run_with_client(_COMMANDS[arguments.command], arguments)


def run_with_client(run: Run, arguments: argparse.Namespace) -> int:
    """Give `run` a client of the cluster in `arguments`; return the exit code, which also says how it failed."""
    with Client(arguments.cluster, cluster_name=arguments.cluster_name, timeout=arguments.timeout) as client:
        try:
            return run(client, arguments)
        except SurelyFailed as error:
            complain(arguments, f"surely not executed: {error}")
            return SURELY_FAILED
        except MayHaveHappened as error:
            complain(arguments, f"may or may not have been executed: {error}")
            return MAY_HAVE_HAPPENED
        except ValueError as error:
            complain(arguments, str(error))
            return SURELY_FAILED


def complain(arguments: argparse.Namespace, text: str) -> None:
    """Write one line to standard error."""
    print(f"raft-threads {arguments.command}: {text}", file=sys.stderr)


def put(client: Client, arguments: argparse.Namespace) -> int:
    """Set a key."""
    client.put(arguments.key, arguments.value)
    print("ok")
    return DONE


def get(client: Client, arguments: argparse.Namespace) -> int:
    """Print a key's value, and nothing else."""
    value = client.get(arguments.key)
    if value is None:
        complain(arguments, f"no such key: {arguments.key}")
        return NO
    print(value)
    return DONE


def delete(client: Client, arguments: argparse.Namespace) -> int:
    """Remove a key."""
    if not client.delete(arguments.key):
        complain(arguments, f"no such key: {arguments.key}")
        return NO
    print("ok")
    return DONE


def append(client: Client, arguments: argparse.Namespace) -> int:
    """Append to a key's value."""
    client.append(arguments.key, arguments.value)
    print("ok")
    return DONE


def cas(client: Client, arguments: argparse.Namespace) -> int:
    """Replace a key's value if it is the expected one."""
    if not client.cas(arguments.key, arguments.expected, arguments.new):
        finding = "exists" if arguments.expected is None else f"does not hold {arguments.expected!r}"
        complain(arguments, f"nothing changed: {arguments.key} {finding}")
        return NO
    print("ok")
    return DONE


def increment(client: Client, arguments: argparse.Namespace) -> int:
    """Add to a key's value, and print the sum."""
    print(client.increment(arguments.key, arguments.by))
    return DONE


def status(client: Client, arguments: argparse.Namespace) -> int:
    """Print how the servers are, as a table or as JSON."""
    reports = client.status()
    if arguments.json:
        print(json.dumps([asdict(report) for report in reports], indent=2))
    else:
        print("\n".join(table(reports)))
    return DONE if any(report.reachable for report in reports) else NO


def table(reports: list[ServerReport]) -> list[str]:
    """Return the lines of the status table."""
    header = ["id", "address", "role", "term", "leader", "commit_index", "last_applied", "last_log_index"]
    header += ["snapshot_index", "snapshot_bytes", "log_bytes"]
    rows = [header]
    for report in reports:
        values = asdict(report)
        values["role"] = report.role or "unreachable"
        rows.append(["-" if values[name] is None else str(values[name]) for name in header])
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


_COMMANDS: dict[str, Run] = {
    "put": put,
    "get": get,
    "delete": delete,
    "append": append,
    "cas": cas,
    "increment": increment,
    "status": status,
}
