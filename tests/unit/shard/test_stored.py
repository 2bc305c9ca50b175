"""RC.STORED, RC.PUT and RC.CAD, and how everybody else sees a body with its description."""

from __future__ import annotations

import pytest

from raycache.codec.described import describe
from tests.unit.shard.harness import Shard, parsed

DATA = describe(b"<p>", "text/html", "", 1_000)


def put(shard: Shard, condition: str = "ANY", data: bytes = DATA, px: int = 0) -> object:
    return parsed(shard.raw(b"RC.PUT", b"k", b"7", data, b"%d" % px, condition.encode()))


def test_a_write_tells_whether_it_created_and_its_version(shard: Shard) -> None:
    created, first = put(shard)  # type: ignore[misc]
    again, second = put(shard)  # type: ignore[misc]
    assert (created, again) == (1, 0)
    assert second > first > 0
    assert shard.run("RC.STORED k") == [second, -1, b"\x07" + DATA]


def test_a_known_version_is_not_sent_again(shard: Shard) -> None:
    _, version = put(shard, px=5_000)  # type: ignore[misc]
    assert shard.run(f"RC.STORED k {version}") == [version, 5_000, None]
    assert shard.run(f"RC.STORED k {version + 1}")[2] == b"\x07" + DATA  # type: ignore[index]
    assert shard.run("RC.STORED none") is None


@pytest.mark.parametrize(("condition", "absent", "present"), [("NX", True, False), ("xx", False, True),
                                                              ("ANY", True, True), ("12345", False, False)])
def test_conditions(shard: Shard, condition: str, absent: bool, present: bool) -> None:
    assert (put(shard, condition) is not None) == absent
    shard.run("SET k v")
    assert (put(shard, condition) is not None) == present


def test_only_the_newest_version_may_write_or_delete(shard: Shard) -> None:
    _, old = put(shard)  # type: ignore[misc]
    _, new = put(shard)  # type: ignore[misc]
    assert (put(shard, str(old)), shard.run(f"RC.CAD k {old}")) == (None, 0)
    _, newest = put(shard, str(new))  # type: ignore[misc]
    assert (shard.run(f"RC.CAD k {newest}"), shard.run("EXISTS k"), shard.run(f"RC.CAD k {newest}")) == (1, 0, 0)


def test_redis_clients_see_the_body(shard: Shard) -> None:
    put(shard)
    assert (shard.run("GET k"), shard.run("MGET k none"), shard.run("STRLEN k")) == (b"<p>", [b"<p>", None], 3)
    assert (shard.run("GETRANGE k 1 1"), shard.run("TYPE k")) == (b"p", b"string")
    assert shard.run("RC.GET k") == b"\x07" + DATA
    assert shard.run("RC.MGET k") == [b"\x07" + DATA]
    shard.run("COPY k other")
    shard.run("RENAME other third")
    assert (shard.run("GET third"), shard.run("RC.GET third")) == (b"<p>", b"\x07" + DATA)
    assert shard.run("APPEND k !") == 4
    assert shard.run("RC.GET k") == b"\x00<p>!"
    assert shard.run("SET third plain GET") == b"<p>"


def test_the_other_writes_of_the_handle_keep_the_description_apart_too(shard: Shard) -> None:
    shard.raw(b"RC.SET", b"a", b"7", DATA, b"0")
    shard.raw(b"RC.MSET", b"0", b"7", b"b", DATA)
    shard.raw(b"RC.CAS", b"c", b"0", b"7", DATA, b"0")
    assert shard.run("MGET a b c") == [b"<p>"] * 3
