"""RC.MADD, RC.PRESENT, RC.MPEEK, RC.HOTTEST, and recording: none of them may change what the cache does."""

from __future__ import annotations

from typing import Any

import hiredis
import msgpack
import pytest

from raycache.resp.parse import BROKEN, giving
from raycache.shard.commands.warming import MAX_HOTTEST
from raycache.shard.recording import EVENT_BYTES, MAX_BYTES, Recording

from .harness import START_MS, Shard, parsed
from .test_cluster import HALVES, MINE, OTHER, topology


@pytest.fixture
def shard() -> Shard:
    return Shard()


def fetch(shard: Shard, who: str = "a", sample: int = 1_000_000, lease_ms: int = 5000) -> tuple[int, list[Any]]:
    dropped, events = msgpack.unpackb(shard.run(f"RC.RECORD READ {who} {sample} {lease_ms}"))
    return dropped, [(at - START_MS, *rest) for at, *rest in events]


def turn(shard: Shard, *lines: str) -> list[Any]:
    """Run commands as a connection does: through `execute_many`."""
    out: list[bytes] = []
    shard.core.execute_many(shard.session, giving([line.encode().split() for line in lines]), out)
    reader = hiredis.Reader()
    reader.feed(b"".join(out))
    return list(iter(reader.gets, False))


# Filling


def test_madd_stores_what_is_absent_with_kind_and_lifetime(shard: Shard) -> None:
    shard.run("RC.SET there 3 mine 0")
    assert shard.run("RC.MADD there 3 0 theirs new 2 1500 17 other 4 0 xy") == [0, 1, 1]
    assert shard.run("RC.MGET there new other") == [b"\x03mine", b"\x0217", b"\x04xy"]
    assert [shard.run(f"PTTL {key}") for key in ("there", "new", "other")] == [-1, 1500, -1]


def test_madd_adds_what_has_expired(shard: Shard) -> None:
    shard.run("RC.SET k 0 old 10")
    shard.advance(10)
    assert shard.run("RC.MADD k 0 0 new") == [1]
    assert shard.run("GET k") == b"new"


def test_a_key_given_twice_is_added_once(shard: Shard) -> None:
    assert shard.run("RC.MADD k 0 0 first k 0 0 second") == [1, 0]
    assert shard.run("GET k") == b"first"


@pytest.mark.parametrize("words", ["k 256 0 v", "k 0 -1 v", "k 0 x v", "k 0 0", "k 0 0 v l"])
def test_madd_refuses_nonsense_and_writes_nothing(shard: Shard, words: str) -> None:
    assert shard.run(f"RC.MADD {words}").startswith("ERR")
    assert shard.run("DBSIZE") == 0


def test_many_keys_are_added_in_steps(shard: Shard) -> None:
    words: list[bytes | str] = ["RC.MADD"]
    for number in range(2000):
        words += [f"k{number}", "0", "0", "v"]
    reply, steps = shard.drive(words)
    assert parsed(reply) == [1] * 2000
    assert steps > 3
    assert parsed(shard.raw("RC.PRESENT", *[f"k{number}" for number in range(1999, 2600)])) == [1] + [0] * 600


def test_a_large_value_that_is_there_displaces_nothing() -> None:
    shard = Shard(capacity_bytes=1 << 20)
    large = "x" * 400_000
    shard.raw("SET", "large", large)
    for number in range(200):
        shard.raw("SET", f"small{number}", "y" * 1000)
    before = shard.run("DBSIZE")
    assert parsed(shard.raw("RC.MADD", "large", "0", "0", large)) == [0]
    assert shard.run("DBSIZE") == before


# Looking


def test_looking_is_no_use() -> None:
    shard = Shard(policy="lru")
    shard.run("MSET a 1 b 2 c 3")
    order = [entry.key for entry in shard.store.policy.entries()]
    assert shard.run("RC.PRESENT a nobody c") == [1, 0, 1]
    assert shard.run("RC.MPEEK a nobody") == [[b"\x001", 0], None]
    assert shard.run("RC.HOTTEST 10") == [1, [b"c", b"b", b"a"]]
    assert [entry.key for entry in shard.store.policy.entries()] == order
    assert (shard.store.stats.hits, shard.store.stats.misses) == (0, 0)


def test_mpeek_tells_what_is_left_to_live(shard: Shard) -> None:
    shard.run("RC.SET k 3 v 1000")
    shard.advance(400)
    assert shard.run("RC.MPEEK k") == [[b"\x03v", 600]]
    shard.advance(600)
    assert shard.run("RC.MPEEK k") == [None]


@pytest.mark.parametrize("policy", ["lru", "lfu", "plain-lfu", "sieve", "s3-fifo", "arc", "w-tinylfu"])
def test_the_hottest_are_the_last_to_be_evicted(policy: str) -> None:
    shard = Shard(policy=policy)
    for number in range(2000):
        shard.run(f"SET k{number} v")
    for number in (7, 900, 7, 1500, 7, 900):
        shard.run(f"GET k{number}")
    expected = [entry.key for entry in shard.store.policy.entries()][::-1]
    ranked, keys = shard.run("RC.HOTTEST 5000")
    assert ranked == 1
    assert keys == expected
    assert shard.run("RC.HOTTEST 2")[1] == expected[:2]
    assert shard.run(f"RC.HOTTEST {MAX_HOTTEST * 2}")[1] == expected


@pytest.mark.parametrize("policy", ["fifo", "ttl", "random", "noeviction"])
def test_a_policy_that_knows_nothing_of_use_says_so(policy: str) -> None:
    shard = Shard(policy=policy)
    shard.run("MSET a 1 b 2")
    assert shard.run("RC.HOTTEST 5") == [0, []]


@pytest.mark.parametrize("policy", ["lru", "lfu", "plain-lfu", "sieve", "s3-fifo", "arc", "w-tinylfu"])
@pytest.mark.parametrize("meanwhile", ["GET k100", "DEL k487 k488 k489", "FLUSHALL", "MGET k1 k2 k487 k488"])
def test_a_walk_ends_whatever_happens_meanwhile(policy: str, meanwhile: str) -> None:
    shard = Shard(policy=policy)
    for number in range(1000):
        shard.run(f"SET k{number} v")
    steps = shard.core.execute(shard.session, [b"RC.HOTTEST", b"1000"])
    assert not isinstance(steps, bytes)
    try:
        while True:
            next(steps)
            shard.run(meanwhile)
    except StopIteration as stop:
        ranked, keys = parsed(stop.value)
    assert ranked == 1
    assert len(keys) == len(set(keys))
    if meanwhile != "FLUSHALL":
        assert len(keys) > 990


def test_a_walk_passes_over_what_has_expired(shard: Shard) -> None:
    shard.run("RC.SET dead 0 v 5")
    shard.run("SET alive v")
    shard.advance(5)
    assert shard.run("RC.HOTTEST 5") == [1, [b"alive"]]


# Recording


def test_a_recording_notes_reads_as_they_found_it_and_writes_as_they_left_it(shard: Shard) -> None:
    fetch(shard)
    shard.advance(3)
    turn(shard, "GET k", "SET k value", "GET k", "PSETEX k 500 v2", "RC.MGET k gone", "DEL k", "TTL k", "PING",
         "EXISTS k")  # fmt: skip
    assert fetch(shard) == (0, [
        (3, "m", 0, 0, b"k"), (3, "w", 5, 0, b"k"), (3, "r", 5, 0, b"k"), (3, "w", 2, 500, b"k"),
        (3, "r", 2, 500, b"k"), (3, "m", 0, 0, b"gone"), (3, "d", 0, 0, b"k"),
    ])  # fmt: skip
    assert fetch(shard) == (0, [])


def test_recorded_commands_answer_and_count_as_ever() -> None:
    lines = ["SET a 1", "GET a", "GET b", "INCR a", "MGET a b", "GETDEL a", "NOSUCH", "GET", "get a", "RC.GET a"] * 30
    plain, watched = Shard(), Shard()
    fetch(watched)
    expected, replies = turn(plain, *lines), turn(watched, *lines)
    assert list(map(repr, replies)) == list(map(repr, expected))
    assert watched.store.stats == plain.store.stats
    assert watched.core.commands == plain.core.commands + 1  # the one that began it


@pytest.mark.parametrize("broken", [17, [[b"GET"], b"k"], [b"GET", [b"k"]], [b"GET", 5], b"GET"])
def test_what_is_no_command_breaks_off_as_ever(broken: Any) -> None:
    failures = []
    for shard in (Shard(), Shard()):
        if failures:
            fetch(shard)
        with pytest.raises(BROKEN) as failure:
            shard.core.execute_many(shard.session, giving([broken]), [])
        failures.append(failure.type)
    assert failures[0] is failures[1]


def test_a_key_is_in_the_sample_wholly_or_not_at_all(shard: Shard) -> None:
    fetch(shard, sample=100_000)
    for _ in range(2):
        turn(shard, *[f"GET k{number}" for number in range(250)])
    _, events = fetch(shard, sample=100_000)
    times: dict[bytes, int] = {}
    for *_, key in events:
        times[key] = times.get(key, 0) + 1
    assert set(times.values()) == {2}
    assert 5 < len(times) < 60  # a tenth of 250, give or take


def test_while_nobody_records_nothing_is_in_the_way(shard: Shard) -> None:
    assert "execute_many" not in vars(shard.core)
    fetch(shard)
    assert "execute_many" in vars(shard.core)
    assert shard.run("RC.RECORD STOP a") == b"OK"
    assert "execute_many" not in vars(shard.core)
    assert shard.run("RC.RECORD STOP a") == b"OK"


def test_a_recording_that_nobody_fetches_ends_by_itself(shard: Shard) -> None:
    fetch(shard, lease_ms=1000)
    shard.advance(1001)
    turn(shard, "GET k")
    assert shard.core.recording is None
    assert "execute_many" not in vars(shard.core)


def test_two_do_not_record_at_once_and_the_second_gets_its_turn(shard: Shard) -> None:
    fetch(shard, "a", lease_ms=1000)
    assert "somebody else" in shard.run("RC.RECORD READ b 1000000 1000")
    assert "somebody else" in shard.run("RC.RECORD STOP b")
    shard.advance(1001)
    assert fetch(shard, "b") == (0, [])


@pytest.mark.parametrize("words", ["READ a 0 1000", "READ a 1000001 1000", "READ a 1000 1", "READ a 1000 60001",
                                   "READ a 1000", "WRITE a 1 1000", "STOP a b"])  # fmt: skip
def test_a_recording_that_makes_no_sense_is_refused(shard: Shard, words: str) -> None:
    assert shard.run(f"RC.RECORD {words}").startswith("ERR")
    assert shard.core.recording is None


def test_what_is_not_fetched_is_bounded_and_counted(shard: Shard) -> None:
    fetch(shard, lease_ms=60_000)
    many = MAX_BYTES // (EVENT_BYTES + 1) + 10
    for start in range(0, many, 200):
        turn(shard, *["GET k"] * min(200, many - start))
    kept = dropped = 0
    while True:
        lost, events = fetch(shard, lease_ms=60_000)
        dropped += lost
        kept += len(events)
        if not events:
            break
    assert kept == MAX_BYTES // (EVENT_BYTES + 1)
    assert dropped == 10
    turn(shard, "GET k")
    assert len(fetch(shard)[1]) == 1


def test_what_is_sent_elsewhere_is_noted_there(shard: Shard) -> None:
    assert shard.core.set_topology(topology(1, HALVES))
    shard.core.step(shard.core.now_ms)
    fetch(shard)
    key, moved = MINE.decode(), OTHER.decode()
    turn(shard, f"SET {key} v", f"GET {moved}", f"SET {moved} v", f"MGET {moved} {key}", f"GET {key}")
    _, events = fetch(shard)
    assert [(op, key) for _, op, _, _, key in events] == [("w", MINE), ("r", MINE), ("r", MINE)]


def test_a_command_that_wraps_another_is_noted_as_that(shard: Shard) -> None:
    recording = Recording(shard.core, b"a", 1.0)
    recording.start()
    recording.until_ms = START_MS + 1000
    replies = turn(shard, "RC.WRITE x RC.SET k 0 v 0", "RC.WRITE", "RC.WRITE x")
    assert all(isinstance(reply, hiredis.ReplyError) for reply in replies)  # nobody replicates here
    assert recording.take(10) == (0, [(START_MS, "d", 0, 0, b"k")])
