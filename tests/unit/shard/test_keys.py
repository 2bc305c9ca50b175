"""Keys and the keyspace: what a real Redis cannot be asked in the same moment, and what is ours."""

from __future__ import annotations

import pytest

from tests.unit.shard.harness import START_MS, Shard


def test_rename_moves_value_kind_and_expiry(shard: Shard) -> None:
    shard.run("RC.SET a 3 text 5000")
    shard.run("SET b old")
    assert shard.run("RENAME a b") == b"OK"
    assert (shard.run("EXISTS a"), shard.run("RC.GET b"), shard.run("PTTL b")) == (0, b"\x03text", 5000)


def test_rename_without_room_leaves_the_key_where_it_was() -> None:
    shard = Shard(capacity_bytes=1 << 20, policy="noeviction")
    shard.run("SET a 1")
    at = 0
    while shard.run(f"SET fill{at} {'v' * 500}") == b"OK":
        at += 1
    assert shard.run(f"RENAME a {'b' * 5000}").startswith("OOM")
    assert shard.run("GET a") == b"1"


def test_copy_takes_kind_and_expiry_along(shard: Shard) -> None:
    shard.run("RC.SET a 3 text 5000")
    assert (shard.run("COPY a b"), shard.run("RC.GET b"), shard.run("PTTL b")) == (1, b"\x03text", 5000)
    assert shard.run("COPY a b") == 0
    assert shard.run("COPY a b REPLACE") == 1


@pytest.mark.parametrize(("milliseconds", "shown"), [(499, 0), (500, 1), (1499, 1), (1500, 2), (10_000, 10)])
def test_ttl_rounds_to_the_nearest_second(shard: Shard, milliseconds: int, shown: int) -> None:
    shard.run(f"SET k v PX {milliseconds}")
    assert shard.run("TTL k") == shown
    assert shard.run("PEXPIRETIME k") == START_MS + milliseconds


def test_an_expiry_that_is_over_deletes_at_once(shard: Shard) -> None:
    shard.run("MSET a 1 b 1")
    assert shard.run("EXPIRE a 0") == 1
    assert shard.run(f"PEXPIREAT b {START_MS}") == 1
    assert len(shard.store) == 0


def test_touch_makes_a_key_young() -> None:
    shard = Shard(capacity_bytes=1 << 20)
    shard.run("SET old 1")
    for at in range(1000):
        shard.run(f"SET k{at} {'v' * 900}")
        shard.run("TOUCH old")
    assert shard.store.stats.evicted > 0
    assert shard.run("EXISTS old") == 1


def test_scan_returns_every_key_however_small_the_steps(shard: Shard) -> None:
    keys = {b"k%d" % at for at in range(500)}
    for key in keys:
        shard.raw("SET", key, "v")
    cursor, found, calls = b"0", [], 0
    while calls == 0 or cursor != b"0":
        cursor, batch = shard.run(f"SCAN {cursor.decode()} COUNT 10")
        found += batch
        calls += 1
    assert set(found) == keys
    assert calls > 10


def test_scan_filters_by_pattern_and_type(shard: Shard) -> None:
    for line in ("SET user:1 a", "SET user:2 a", "SET other a"):
        shard.run(line)
    assert sorted(shard.run("SCAN 0 MATCH user:* COUNT 1000")[1]) == [b"user:1", b"user:2"]
    assert len(shard.run("SCAN 0 TYPE string COUNT 1000")[1]) == 3
    assert shard.run("SCAN 0 TYPE list COUNT 1000")[1] == []


def test_keys_walks_in_steps(shard: Shard) -> None:
    for at in range(3000):
        shard.raw("SET", f"k{at}", "v")
    reply, steps = shard.drive(["KEYS", "k1*"])
    assert reply.startswith(b"*1111\r\n")
    assert steps > 5
    assert shard.run("KEYS none*") == []


def test_a_pattern_over_the_limit_is_refused(shard: Shard) -> None:
    assert shard.run("KEYS " + "a" * 5000) == "ERR pattern is too long (5000 bytes, at most 4096)"


def test_flush_drops_everything_at_once(shard: Shard) -> None:
    for at in range(100):
        shard.raw("SET", f"k{at}", "v")
    assert shard.run("FLUSHALL ASYNC") == b"OK"
    assert (shard.run("DBSIZE"), shard.run("RANDOMKEY")) == (0, None)


def test_object_says_what_it_can(shard: Shard) -> None:
    shard.run("SET k v")
    assert shard.run("OBJECT REFCOUNT k") == 1
    assert shard.run("OBJECT IDLETIME none") is None
    assert shard.run("OBJECT FREQ k").startswith("ERR An LFU maxmemory policy is not selected")
    assert b"ENCODING <key>" in shard.run("OBJECT HELP")


def test_object_idletime_is_since_the_last_use(shard: Shard) -> None:
    def pass_ms(duration_ms: int) -> None:
        for _ in range(duration_ms // 100):
            shard.advance(100)
            shard.core.step(shard.core.now_ms)

    shard.run("SET old v")
    shard.run("SET used v")
    pass_ms(2500)
    assert (shard.run("OBJECT IDLETIME old"), shard.run("OBJECT IDLETIME used")) == (2, 2)
    shard.run("GET used")
    shard.run("EXISTS old")
    pass_ms(1000)
    assert (shard.run("OBJECT IDLETIME old"), shard.run("OBJECT IDLETIME used")) == (3, 0)
    shard.run("GET used")
    assert shard.run("OBJECT IDLETIME used") == 0


def test_object_idletime_of_one_among_many_comes_in_steps(shard: Shard) -> None:
    shard.run("SET k0 v")
    for at in range(1, 50_000):
        shard.raw("SET", f"k{at}", "v")
    shard.core.step(shard.core.now_ms)
    shard.advance(5000)
    reply, steps = shard.drive(["OBJECT", "IDLETIME", "k0"])
    assert (reply, steps) == (b":5\r\n", 4)
    shard.store.check_invariants()


@pytest.mark.parametrize(("policy", "refusal"), [
    ("lfu", "ERR An LFU maxmemory policy is selected, idle time not tracked."),
    ("plain-lfu", "ERR An LFU maxmemory policy is selected, idle time not tracked."),
    ("fifo", "ERR idle times are tracked under the policy lru only"),
])
def test_object_idletime_is_refused_where_nobody_knows(policy: str, refusal: str) -> None:
    shard = Shard(policy=policy)
    shard.run("SET k v")
    assert shard.run("OBJECT IDLETIME k").startswith(refusal)


@pytest.mark.parametrize("policy", ["lfu", "plain-lfu"])
def test_object_freq_counts_uses_where_the_policy_does(policy: str) -> None:
    shard = Shard(policy=policy)
    shard.run("SET k v")
    before = shard.run("OBJECT FREQ k")
    shard.run("GET k")
    assert shard.run("OBJECT FREQ k") == before + 1


def test_memory_usage_is_what_the_store_charges(shard: Shard) -> None:
    shard.run("SET k v")
    plain = shard.run("MEMORY USAGE k")
    assert plain == shard.store.used_bytes
    shard.run("EXPIRE k 100")
    assert shard.run("MEMORY USAGE k SAMPLES 0") == shard.store.used_bytes > plain


def test_copying_a_large_value_makes_room_in_steps() -> None:
    shard = Shard(capacity_bytes=4 << 20)
    shard.raw("SET", "large", b"x" * (1 << 20))
    for at in range(9600):
        shard.raw("SET", f"k{at}", "v")
    shard.run("GET large")
    reply, steps = shard.drive(["COPY", "large", "copy"])
    assert (reply, steps > 2) == (b":1\r\n", True)
    assert shard.raw("GET", "copy") == shard.raw("GET", "large")
    assert shard.drive(["COPY", "large", "copy"])[0] == b":0\r\n"
