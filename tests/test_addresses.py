"""`--cluster` as people write it."""

from __future__ import annotations

import pytest

from raft_threads.addresses import Address, format_cluster, parse_address, parse_cluster


def test_servers_are_written_as_id_host_and_port() -> None:
    """IPv4, names, and IPv6 in brackets; blanks after commas do no harm."""
    text = "n1=127.0.0.1:3300, n2=localhost:3301,n3=[::1]:3302"
    cluster = parse_cluster(text)
    assert cluster == {"n1": Address("127.0.0.1", 3300), "n2": Address("localhost", 3301), "n3": Address("::1", 3302)}
    assert format_cluster(cluster) == text.replace(" ", "")


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "host:0", "host:65536", "host:x", "::1:3300", "[::1]", "a b:1:2"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """The error says how to write one."""
    with pytest.raises(ValueError, match="write host:port"):
        parse_address(text)


@pytest.mark.parametrize("text", ["h" * 251 + ":3300", "a\nb:1", "\x1b[2J:1", "[::1\u2028]:1"])
def test_an_address_that_could_not_be_kept_in_a_configuration_is_refused(text: str) -> None:
    """§6: the configuration travels in the log, and every server must be able to read it back."""
    with pytest.raises(ValueError, match="255 printable characters|write host:port"):
        parse_address(text)
    assert parse_address("h" * 250 + ":3300").port == 3300


@pytest.mark.parametrize(
    "text, complaint",
    [("", "is not a server"), ("n1", "is not a server"), ("=h:1", "is not a server"), ("n1=h:1,", "is not a server")]
    + [("n1=h:1,n1=h:2", "named twice"), ("n1=h:1,n2=h:1", "given to two"), ("a/b=h:1", "is not a server")],
)
def test_a_cluster_that_makes_no_sense_is_refused(text: str, complaint: str) -> None:
    """Among others, because ids become names of files and threads."""
    with pytest.raises(ValueError, match=complaint):
        parse_cluster(text)
