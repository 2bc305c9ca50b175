"""Compressed values in a shard: handles get them as they are, everybody else what is in them."""

from __future__ import annotations

from typing import Any

import pytest

from raycache.packed import pack
from tests.unit.shard.harness import Shard, parsed

DATA = b"abc" * 100
KIND, PACKED = pack(0, DATA, 1)


@pytest.mark.parametrize(("line", "expected"), [
    ("GET k", DATA), ("MGET x k", [None, DATA]), ("STRLEN k", 300), ("GETRANGE k 0 2", b"abc"), ("APPEND k !", 301),
    ("GETDEL k", DATA), ("RC.GET k", b"\x09" + PACKED), ("RC.MGET k", [b"\x09" + PACKED]), ("TYPE k", b"string"),
    ("RC.GETL k", b"\xff" * 8 + b"\x09" + PACKED), ("RC.MPEEK k", [[b"\x09" + PACKED, 0]]),
    ("RC.WHOLE k", b"\x09" + PACKED),
])  # fmt: skip
def test_who_gets_what(shard: Shard, line: str, expected: Any) -> None:
    assert KIND == 9
    assert shard.raw("RC.SET", "k", "9", PACKED, "0") == b"+OK\r\n"
    assert shard.run(line) == expected


def test_the_door_for_http_gets_what_is_in_it(shard: Shard) -> None:
    shard.raw("RC.PUT", "k", "9", PACKED, "0", "ANY")
    assert parsed(shard.raw("RC.STORED", "k"))[2] == b"\0" + DATA


def test_a_transaction_reads_it_too(shard: Shard) -> None:
    shard.raw("RC.SET", "k", "9", PACKED, "0")
    shard.run("MULTI")
    shard.run("GET k")
    assert parsed(shard.raw("EXEC")) == [DATA]


def test_bytes_that_somebody_else_stored_as_such_stay_bytes(shard: Shard) -> None:
    shard.raw("RC.SET", "k", "9", b"nonsense", "0")
    assert shard.run("GET k") == b"nonsense"
    assert parsed(shard.raw("RC.STORED", "k"))[2] == b"\0nonsense"
