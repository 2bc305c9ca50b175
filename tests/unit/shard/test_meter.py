"""What a core counts and measures of its commands, through the hot loop and beside it."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.metrics.families import Samples
from raycache.resp.parse import NO_MORE
from raycache.resp.runs import run_of, shape_of
from raycache.shard.classes import CLASS_OF, CLASSES, class_of
from raycache.shard.commands import ALL, TABLE
from raycache.shard.commands.command import Command
from raycache.shard.commands.timed import QUICK
from raycache.shard.meter import Meter
from tests.unit.shard.harness import Shard, parsed


def turn(shard: Shard, commands: list[list[bytes]]) -> None:
    """Run commands as one turn of the hot loop."""
    waiting = iter(commands)
    rest = shard.core.execute_many(shard.session, lambda: next(waiting, NO_MORE), [])
    assert rest is False


def calls(shard: Shard) -> dict[str, int]:
    counts = shard.core.calls_of()
    return {command.full_name if command is not None else "": count
            for command, count in zip(ALL, counts, strict=True) if count}


WORDS = [[b"GET", b"a"], [b"get", b"b"], [b"RC.GET", b"a"], [b"RC.GET", b"zz"], [b"SET", b"a", b"1"],
         [b"SET", b"a", b"22"], [b"set", b"n", b"5"], [b"INCR", b"n"], [b"MGET", b"a", b"b"], [b"NOSUCH"], [b"GET"],
         [b"DEL", b"a"], [b"CONFIG", b"GET", b"port"], [b"EXPIRE", b"a", b"9"], [b"GET", b"{t}a"]]
NAMES = ["get", "get", "rc.get", "rc.get", "set", "set", "set", "incr", "mget", "", "get", "del", "config|get",
         "expire", "get"]


@given(st.lists(st.lists(st.integers(0, len(WORDS) - 1), min_size=1, max_size=30), max_size=6),
       st.sampled_from(["lru", "lfu", "fifo"]))
def test_every_command_is_counted_once_whichever_way_it_goes(turns: list[list[int]], policy: str) -> None:
    shard = Shard(policy=policy)
    wanted: dict[str, int] = {}
    for one in turns:
        turn(shard, [list(WORDS[place]) for place in one])
        for place in one:
            wanted[NAMES[place]] = wanted.get(NAMES[place], 0) + 1
    assert calls(shard) == wanted
    assert shard.core.commands == sum(wanted.values())


def test_errors_are_counted_by_command_and_by_word() -> None:
    shard = Shard()
    turn(shard, [[b"SET", b"a", b"x"], [b"INCR", b"a"], [b"INCR"], [b"NOSUCH"], [b"EXEC"]])
    info = str(shard.run("INFO commandstats errorstats"))
    assert "cmdstat_incr:calls=1,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=1" in info
    assert "errorstat_ERR:count=4" in info
    rows = {(row.family.name, row.labels): row.value for row in shard.core.samples().all}
    assert rows["raycache_command_errors_total", ("shard", "s0", "write")] == 2
    assert rows["raycache_command_errors_total", ("shard", "s0", "unknown")] == 1
    assert rows["raycache_commands_total", ("shard", "s0", "write")] == 3


def test_resetstat_in_the_middle_of_a_turn_forgets_what_was_before() -> None:
    shard = Shard()
    turn(shard, [[b"RC.GET", b"a"], [b"SET", b"a", b"1"], [b"CONFIG", b"RESETSTAT"], [b"RC.GET", b"a"]])
    assert calls(shard)["rc.get"] == 1
    assert "set" not in calls(shard)
    assert calls(shard).get("get", 0) == 0


class Ticking:
    """A clock that goes on by a step at every look."""

    def __init__(self, step_s: float) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def slow_turn(shard: Shard, commands: list[list[bytes]]) -> None:
    """Run commands as one turn in which each that is looked at takes 20 ms."""
    shard.core.clock_s = Ticking(0.02)
    turn(shard, commands)
    shard.core.clock_s = float


def test_slow_commands_are_kept_with_who_sent_them_and_without_secrets() -> None:
    shard = Shard(secret="s3cret")
    shard.run("CLIENT SETNAME me")
    slow_turn(shard, [[b"AUTH", b"s3cret"], [b"MGET", b"a", b"b"], [b"EXEC"]])
    entries = shard.run("SLOWLOG GET")
    assert [entry[3] for entry in entries] == [[b"MGET", b"a", b"b"], [b"AUTH", b"(redacted)"]]
    assert entries[0][2] == pytest.approx(20_000, abs=1)
    assert entries[0][4:] == [b"127.0.0.1:1000", b"me"]
    assert shard.run("SLOWLOG LEN") == 2
    assert shard.run("SLOWLOG GET 1") == entries[:1]
    assert shard.run("LATENCY LATEST") == [[b"command", 1_700_000_000, 20, 20]]
    assert shard.run("LATENCY HISTORY command") == [[1_700_000_000, 20]]
    assert b"1. command: 1 seconds with it" in shard.run("LATENCY DOCTOR")
    assert (shard.run("SLOWLOG RESET"), shard.run("SLOWLOG LEN")) == (b"OK", 0)
    assert (shard.run("LATENCY RESET"), shard.run("LATENCY LATEST")) == (1, [])


def test_what_is_slow_can_be_set() -> None:
    shard = Shard()
    assert shard.run("CONFIG GET slowlog-log-slower-than") == [b"slowlog-log-slower-than", b"10000"]
    assert shard.run("CONFIG SET slowlog-log-slower-than 30000 latency-monitor-threshold 0 slowlog-max-len 5") == b"OK"
    slow_turn(shard, [[b"MGET", b"a"]])
    assert (shard.run("SLOWLOG LEN"), shard.run("LATENCY LATEST")) == (0, [])
    shard.run("CONFIG SET slowlog-log-slower-than 0")
    slow_turn(shard, [[b"MGET", b"a"]] * 9)
    assert shard.run("SLOWLOG LEN") == 5
    assert "between -1 and" in str(shard.run("CONFIG SET slowlog-log-slower-than -2"))
    assert "between 0 and" in str(shard.run("CONFIG SET slowlog-max-len many"))


def test_weights_add_up_to_the_turns_that_were() -> None:
    meter, turns, weights = Meter(random.Random(5), every=10), 0, 0
    while turns < 20_000:
        turns += 1
        meter.countdown -= 1
        if meter.countdown <= 0:
            weights += meter.weight()
    assert turns - 20 < weights <= turns


def measured(shard: Shard, commands: list[list[bytes]]) -> None:
    waiting = iter(commands)
    one = shard.core.meter.measure(shard.core.clock_s())
    shard.core.execute_many(shard.session, one.watched(lambda: next(waiting, NO_MORE)), [])
    one.over()
    one.replied()


def test_a_measured_turn_times_each_command_and_all_replies_together() -> None:
    shard = Shard()
    shard.core.measure(Ticking(0.001), 1)
    measured(shard, [[b"SET", b"a", b"1"], [b"GET", b"a"], [b"GET", b"b"], [b"NOSUCH"], [b"MGET", b"a"]])
    spent = {getattr(ALL[number], "name", ""): histogram.count for number, histogram in shard.core.meter.spent.items()}
    assert spent == {"set": 1, "get": 2, "": 1, "mget": 1}
    latency = shard.core.meter.latency
    assert {name: histogram.count for name, histogram in latency.items()} == {"write": 1, "read": 2, "unknown": 1,
                                                                             "read_many": 1}
    assert len({histogram.max_s for histogram in latency.values()}) == 1
    stats: dict[str, Any] = shard.core.stats()["latency"]
    assert stats["read"]["count"] == 2
    assert 0 < stats["read"]["p50_us"] <= stats["read"]["p99_us"]


def test_redis_tools_find_percentiles_and_histograms() -> None:
    shard = Shard()
    shard.core.measure(Ticking(0.001), 1)
    measured(shard, [[b"GET", b"a"]] * 3)
    assert "latency_percentiles_usec_get:p50=" in str(shard.run("INFO latencystats"))
    shown = shard.run("LATENCY HISTOGRAM get set")
    assert shown[0] == b"get"
    assert shown[1][:2] == [b"calls", 3]
    assert shown[1][3][-1] == 3
    assert shard.run("LATENCY HISTOGRAM absent") == []
    assert "Commandstats" not in str(shard.run("INFO"))
    assert "Commandstats" in str(shard.run("INFO all"))


def test_rc_metrics_are_samples() -> None:
    shard = Shard()
    shard.run("SET a 1")
    rows = msgpack.unpackb(parsed(shard.raw("RC.METRICS")))
    found = {(one.family.name, one.labels): one.value for one in Samples.of_rows(rows).all}
    assert found["raycache_entries", ("s0",)] == 1
    assert found["raycache_entries_written_total", ("s0", "insert")] == 1


def test_every_command_has_a_class_and_every_class_a_command() -> None:
    assert set(CLASS_OF) == set(CLASSES)
    assert [command.number for command in ALL if command is not None] == list(range(1, len(ALL)))


@pytest.mark.parametrize(("name", "class_"), [
    ("GET", "read"), ("RC.GET", "read"), ("MGET", "read_many"), ("RC.MGET", "read_many"), ("SET", "write"),
    ("INCR", "write"), ("DEL", "write_many"), ("RC.MSET", "write_many"), ("RC.LEASE", "load"), ("RC.QUEUE", "queue"),
    ("SCAN", "keyspace"), ("FLUSHALL", "keyspace"), ("EXEC", "transaction"), ("PING", "connection"),
    ("WAIT", "connection"), ("INFO", "admin"), ("RC.PEER", "admin")])
def test_classes(name: str, class_: str) -> None:
    command: Command = TABLE[name.encode()]
    assert class_of(command) == class_


def test_what_exec_runs_is_kept_and_not_exec_itself() -> None:
    shard = Shard()
    turn(shard, [[b"MULTI"], [b"MGET", b"a", b"b"], [b"KEYS", b"*"], [b"INCR", b"n"]])
    slow_turn(shard, [[b"EXEC"]])
    kept = [entry.argv for entry in shard.core.meter.slowlog.newest(-1)]
    assert {argv[0] for argv in kept} == {b"KEYS", b"MGET"}


@pytest.mark.parametrize("name", sorted(QUICK))
def test_quick_commands_are_in_the_table_and_take_no_list_of_keys(name: str) -> None:
    command = TABLE[name.upper().encode()]
    assert command.first_key == command.last_key


def test_what_shards_say_to_each_other_is_no_command_of_a_client() -> None:
    shard = Shard()
    shard.core.measure(Ticking(0.001), 1)
    measured(shard, [[b"RC.TRACE", b"00-x"], [b"GET", b"a"], [b"RC.PEER", b"s1", b""]])
    assert {name: histogram.count for name, histogram in shard.core.meter.latency.items()} == {"read": 1}
    assert calls(shard) == {"get": 1}


def test_a_run_that_is_measured_is_taken_as_a_whole() -> None:
    shard = Shard()
    shard.core.measure(Ticking(0.001), 1)
    core, data = shard.core, b"".join(b"*2\r\n$3\r\nGET\r\n$4\r\nk%03d\r\n" % number for number in range(20))
    run = run_of(shape_of(data), data)
    assert run is not None
    one, out = core.meter.measure(core.clock_s()), list[bytes]()
    take = one.watched(run, core.commands)
    assert take is run
    assert core.execute_many(shard.session, take, out) is False
    one.over(commands=core.commands)
    one.replied()
    assert b"".join(out) == b"$-1\r\n" * 20
    assert core.meter.latency["read"].count == 20
    (spent,) = core.meter.spent.values()
    assert (spent.count, spent.sum_s) == (20, pytest.approx(0.001))
    assert calls(shard) == {"get": 20}
