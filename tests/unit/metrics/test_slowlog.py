"""What the slow log keeps of a command, and for how long; what latency events keep."""

from __future__ import annotations

import pytest

from raycache.metrics.events import HISTORY, LatencyEvents
from raycache.metrics.slowlog import SlowLog, shown


def test_only_what_took_long_is_kept_and_the_newest_come_first() -> None:
    log = SlowLog()
    assert not log.add([b"GET", b"a"], 0.009, 1000, "c", b"")
    for number in range(200):
        assert log.add([b"GET", b"%d" % number], 0.010, 5000, "c", b"name")
    assert (len(log), log.total) == (128, 200)
    first = log.newest(1)[0]
    assert (first.id, first.unix_s, first.duration_us, first.argv) == (199, 5, 10_000, (b"GET", b"199"))
    log.clear()
    assert (len(log), log.total, log.newest(-1)) == (0, 200, [])


def test_a_negative_threshold_keeps_nothing_and_zero_everything() -> None:
    log = SlowLog()
    log.slower_than_us = -1
    assert not log.add([b"GET"], 10.0, 0, "c", b"")
    log.slower_than_us = 0
    assert log.add([b"GET"], 0.0, 0, "c", b"")


@pytest.mark.parametrize("argv", [[b"AUTH", b"s3cret"], [b"auth", b"me", b"s3cret"],
                                  [b"HELLO", b"3", b"AUTH", b"me", b"s3cret"], [b"ACL", b"SETUSER", b"x", b">s3cret"],
                                  [b"CONFIG", b"SET", b"requirepass", b"s3cret"]])
def test_secrets_are_never_kept(argv: list[bytes]) -> None:
    kept = shown(argv)
    assert kept[0] == argv[0]
    assert len(kept) == len(argv)
    assert not any(b"s3cret" in word for word in kept)


def test_long_commands_are_cut_as_redis_cuts_them() -> None:
    kept = shown([b"MSET", *[b"%d" % number for number in range(99)]])
    assert len(kept) == 32
    assert kept[-1] == b"... (69 more arguments)"
    assert shown([b"SET", b"k", b"x" * 1000])[2] == b"x" * 128 + b"... (872 more bytes)"


def test_of_each_second_the_longest_event_stays() -> None:
    events = LatencyEvents()
    for duration_s in (0.002, 0.020, 0.050, 0.030):
        events.add("command", duration_s, 7_000)
    events.add("command", 0.011, 9_999)
    assert list(events.by_name["command"].points) == [[7, 50], [9, 11]]
    assert events.by_name["command"].max_ms == 50
    assert "at most 50 ms, the last 1 s ago" in events.report(10_000)
    for second in range(500):
        events.add("command", 0.011, second * 1000)
    assert len(events.by_name["command"].points) == HISTORY


def test_reset_forgets_what_is_named_or_all() -> None:
    events = LatencyEvents()
    for name in ("command", "event-loop", "other"):
        events.add(name, 1.0, 0)
    assert events.reset(["command", "absent"]) == 1
    assert events.reset() == 2
    assert "Nothing has taken 10 ms" in events.report(0)
    events.threshold_ms = 0
    events.add("command", 1.0, 0)
    assert events.by_name == {}
    assert "Nothing is watched" in events.report(0)
