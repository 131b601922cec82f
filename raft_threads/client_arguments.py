"""The arguments of the client commands: `put`, `get`, `delete`, `append`, `cas`, `increment`, `status` (§8)."""

from __future__ import annotations

import argparse
from typing import Any, Union

from raft_threads.addresses import Address, parse_cluster
from raft_threads.client_commands import run_client_command
from raft_threads.kv import MAX_COUNTER

EXAMPLE_CLUSTER = "n1=127.0.0.1:3300,n2=127.0.0.1:3301,n3=127.0.0.1:3302"


def add_client_commands(commands: Any) -> None:
    """Add the parsers of all client commands."""
    key = {"key": "the key, any text"}
    add_client_command(commands, "put", "set KEY to VALUE", {**key, "value": "the value, any text"})
    add_client_command(commands, "get", "print the value of KEY; exit with 1 if there is none", key)
    add_client_command(commands, "delete", "remove KEY; exit with 1 if there is none", key)
    add_client_command(commands, "append", "append VALUE to the value of KEY", {**key, "value": "what to append"})
    cas = add_client_command(commands, "cas", "set KEY to NEW if it holds EXPECTED; exit with 1 if it does not", key)
    cas.usage = "%(prog)s --cluster SERVERS KEY EXPECTED NEW\n       %(prog)s --cluster SERVERS --absent KEY NEW"
    cas.add_argument("values", metavar="[EXPECTED] NEW", nargs="+", help="the value it should hold, and the new one")
    cas.add_argument("--absent", action="store_true", help="expect that there is no such key; give NEW alone")
    cas.set_defaults(complete=complete_cas_arguments)
    increment = add_client_command(
        commands, "increment", "add BY to the whole number that KEY holds, 0 if there is none; print the sum", key
    )
    increment.add_argument("by", metavar="BY", nargs="?", type=parse_amount, default=1, help="what to add (default: 1)")
    status = add_client_command(commands, "status", "show how every server is", {})
    status.add_argument("--json", action="store_true", help="print a list of JSON objects instead of a table")


def add_client_command(
    commands: Any, name: str, purpose: str, positionals: dict[str, str]
) -> argparse.ArgumentParser:
    """Add the parser of a client command with its positional arguments, and return it."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=purpose, description=purpose)
    add_cluster_arguments(parser)
    add_timeout(parser)
    for positional, explanation in positionals.items():
        parser.add_argument(positional, metavar=positional.upper(), help=explanation)
    parser.set_defaults(parser=parser, complete=lambda parser, arguments: None, run=run_client_command)
    return parser


def add_timeout(parser: argparse.ArgumentParser, default: Union[float, str, None] = 5.0, told: str = "5") -> None:
    """Add how long a client waits; the help says that the default is as `told`."""
    parser.add_argument(
        "--timeout",
        type=parse_seconds,
        default=default,
        metavar="S",
        help=f"give up after S seconds (default: {told})",
    )


def add_cluster_arguments(parser: argparse.ArgumentParser, required: bool = True, name: str = "raft") -> None:
    """Add what says which cluster is meant: the servers, `required` or not, and the cluster's `name` by default."""
    parser.add_argument(
        "--cluster",
        required=required,
        default=None if required else argparse.SUPPRESS,
        type=parse_servers,
        metavar="SERVERS",
        help=f"all servers as id=host:port, like {EXAMPLE_CLUSTER}; IPv6 as n1=[::1]:3300",
    )
    parser.add_argument(
        "--cluster-name",
        default=name,
        type=parse_name,
        metavar="NAME",
        help="only servers and clients of one name talk to each other (default: raft)",
    )


def complete_cas_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Sort out the values of `cas`. Exits with 2 if there are too many or too few."""
    if len(arguments.values) != (1 if arguments.absent else 2):
        parser.error("cas takes KEY EXPECTED NEW, or --absent KEY NEW")
    arguments.expected = None if arguments.absent else arguments.values[0]
    arguments.new = arguments.values[-1]


def parse_servers(text: str) -> dict[str, Address]:
    """`parse_cluster` for argparse, which shows the text of this kind of error only."""
    try:
        return parse_cluster(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parse_name(text: str) -> str:
    """Return `text` if it can be sent as a name (docs/wire-format.md)."""
    if not (0 < len(text) <= 255 and text.isprintable()):
        raise argparse.ArgumentTypeError("a name has 1 to 255 printable characters")
    return text


def parse_amount(text: str) -> int:
    """Return a whole number that a counter can hold."""
    try:
        amount = int(text) if len(text) <= 20 else MAX_COUNTER + 1
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from error
    if abs(amount) > MAX_COUNTER:
        raise argparse.ArgumentTypeError(f"{text[:30]} is more than a counter can hold")
    return amount


def parse_seconds(text: str) -> float:
    """Return a positive number of seconds, an hour at most."""
    try:
        seconds = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from error
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("the timeout must be positive, and an hour at most")
    return seconds
