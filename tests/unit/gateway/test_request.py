"""Requests for the shards, and which may be sent twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.config import Limits
from raycache.gateway.request import encoded, encoded_transaction, may_repeat
from raycache.gateway.settings import GatewaySettings
from raycache.resp.parse import RequestParser
from raycache.shard.commands import resolve


@given(st.lists(st.lists(st.binary(max_size=5000), min_size=1, max_size=5), min_size=1, max_size=4))
def test_a_shard_reads_what_was_encoded(commands: list[list[bytes]]) -> None:
    parser = RequestParser(Limits())
    parser.feed(b"".join(map(encoded, commands)))
    parser.drain()
    assert list(parser.ready) == commands


def test_a_transaction_is_one_piece() -> None:
    parser = RequestParser(Limits())
    parser.feed(encoded_transaction([[b"SET", b"k", b"v"], [b"GET", b"k"]]))
    parser.drain()
    assert list(parser.ready) == [[b"MULTI"], [b"SET", b"k", b"v"], [b"GET", b"k"], [b"EXEC"]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("GET k", True),
        ("MGET k j", True),
        ("DBSIZE", True),
        ("SET k v", True),
        ("SET k v EX 5", True),
        ("MSET k v", True),
        ("DEL k", True),
        ("PEXPIRE k 5", True),
        ("FLUSHALL", True),
        ("SETRANGE k 0 x", True),
        ("SET k v NX", False),
        ("SET k v xx", False),
        ("SET k v GET", False),
        ("PEXPIRE k 5 GT", False),
        ("INCR k", False),
        ("APPEND k v", False),
        ("SETNX k v", False),
        ("GETDEL k", False),
        ("GETSET k v", False),
        ("RENAME k j", False),
        ("RC.CAS k 1 0 v 0", False),
    ],
)
def test_only_what_changes_nothing_twice_is_repeated(line: str, expected: bool) -> None:
    argv = line.encode().split()
    command = resolve(argv)
    assert command is not None
    assert may_repeat(command, argv) is expected


def test_settings_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="retry_for_s must be positive"):
        GatewaySettings(retry_for_s=0)
