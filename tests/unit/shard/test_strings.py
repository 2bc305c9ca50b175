"""Strings, where the comparison with a real Redis cannot look: time, kinds, counting."""

from __future__ import annotations

import pytest

from tests.unit.shard.harness import START_MS, Shard


@pytest.mark.parametrize("line",
                         ["SET k v EX 10", "SET k v PX 10000", f"SET k v EXAT {START_MS // 1000 + 10}", "SETEX k 10 v",
                                  f"SET k v PXAT {START_MS + 10_000}", "PSETEX k 10000 v", "RC.SET k 0 v 10000"])
def test_a_value_lives_until_its_expiry_and_not_at_it(shard: Shard, line: str) -> None:
    shard.run(line)
    shard.advance(9_999)
    assert shard.run("GET k") == b"v"
    shard.advance(1)
    assert shard.run("GET k") is None
    assert shard.store.stats.expired == 1


def test_a_plain_set_takes_the_expiry_away_and_keepttl_keeps_it(shard: Shard) -> None:
    shard.run("SET k v EX 10")
    shard.run("SET k w KEEPTTL")
    assert shard.run("PTTL k") == 10_000
    shard.run("SET k x")
    assert shard.run("PTTL k") == -1


@pytest.mark.parametrize("line", ["INCR k", "APPEND k 1", "SETRANGE k 0 7", "INCRBYFLOAT k 1.5", "RC.INCRBY k 1 99"])
def test_changing_a_value_keeps_its_expiry(shard: Shard, line: str) -> None:
    shard.run("SET k 5 PX 5000")
    shard.run(line)
    assert shard.run("PTTL k") == 5000


def test_getex_changes_only_the_expiry(shard: Shard) -> None:
    shard.run("SET k v")
    assert (shard.run("GETEX k PX 500"), shard.run("PTTL k")) == (b"v", 500)
    assert (shard.run("GETEX k"), shard.run("PTTL k")) == (b"v", 500)
    assert (shard.run("GETEX k PERSIST"), shard.run("PTTL k")) == (b"v", -1)
    assert (shard.run("GETEX k PXAT 5"), shard.run("EXISTS k")) == (b"v", 0)


def test_set_with_get_answers_with_the_old_value_whether_or_not_it_writes(shard: Shard) -> None:
    assert shard.run("SET k 1 GET") is None
    assert shard.run("SET k 2 NX GET") == b"1"
    assert shard.run("SET k 3 XX GET") == b"1"
    assert shard.run("GET k") == b"3"


def test_integer_commands_keep_a_counter_a_counter_and_others_make_it_a_string(shard: Shard) -> None:
    shard.run("RC.SET k 2 5 0")
    shard.run("INCR k")
    assert shard.run("RC.GET k") == b"\x026"
    shard.run("INCRBYFLOAT k 0.5")
    assert shard.run("RC.GET k") == b"\x006.5"
    shard.run("SET k 1")
    shard.run("INCR k")
    assert shard.run("RC.GET k") == b"\x002"


@pytest.mark.parametrize("line", ["APPEND k x", "SETRANGE k 0 x", "SET k x", "GETSET k x", "MSET k x"])
def test_plain_writes_make_the_value_raw(shard: Shard, line: str) -> None:
    shard.run("RC.SET k 3 text 0")
    shard.run(line)
    reply = shard.run("RC.GET k")
    assert reply[:1] == b"\x00"


def test_a_value_of_another_kind_is_no_number(shard: Shard) -> None:
    shard.run("RC.SET k 1 5 0")
    assert shard.run("INCR k") == "ERR value is not an integer or out of range"


def test_sums_leave_the_range_with_an_error_and_no_change(shard: Shard) -> None:
    shard.run("SET k 9223372036854775807")
    assert shard.run("INCR k") == "ERR increment or decrement would overflow"
    assert shard.run("GET k") == b"9223372036854775807"
    assert shard.run("DECRBY k -9223372036854775808") == "ERR decrement would overflow"


def test_msetnx_writes_all_or_nothing(shard: Shard) -> None:
    shard.run("SET b 1")
    assert (shard.run("MSETNX a 1 b 2"), shard.run("EXISTS a")) == (0, 0)
    assert (shard.run("MSETNX a 1 c 2"), shard.run("MGET a b c")) == (1, [b"1", b"1", b"2"])


def test_an_odd_mset_changes_nothing(shard: Shard) -> None:
    assert shard.run("MSET a 1 b") == "ERR wrong number of arguments for 'mset' command"
    assert shard.run("EXISTS a") == 0


def test_only_reads_count_as_hits_and_misses(shard: Shard) -> None:
    for line in ("SET k 1", "INCR k", "APPEND k 1", "TTL k", "TYPE k", "EXISTS none", "SETNX none 1", "DEL none"):
        shard.run(line)
    assert (shard.store.stats.hits, shard.store.stats.misses) == (0, 0)
    for line in ("GET k", "MGET k none", "STRLEN k", "GETRANGE k 0 1"):
        shard.run(line)
    assert (shard.store.stats.hits, shard.store.stats.misses) == (4, 1)
