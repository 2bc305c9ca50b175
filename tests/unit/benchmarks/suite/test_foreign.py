"""redis-benchmark's options and record, without running it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.harness import load
from benchmarks.harness.rounds import Plan
from benchmarks.harness.servers import ServerFailedError
from benchmarks.suite import foreign
from benchmarks.suite.names import RAYCACHE, REDIS_CLUSTER
from benchmarks.suite.points import BASE, MIB, Point, Task
from benchmarks.suite.sides import Side

ONE, NODES = Side(RAYCACHE, {}, (1,)), Side(REDIS_CLUSTER, {}, (1, 2, 3))


def test_it_reads_the_keys_that_are_there() -> None:
    words = " ".join(foreign.options(BASE, Plan(), follows=False))
    assert words == "-t set,get -c 8 -d 100 -r 100000 -n 20000"


def test_large_values_are_asked_for_less_often_but_by_every_connection() -> None:
    assert foreign.options(Point(value_bytes=16 * 1024, connections=64), Plan(), False)[-1] == "4096"
    assert foreign.options(Point(value_bytes=MIB, connections=64), Plan(), False)[-1] == "640"
    assert not foreign.asks(ONE, Task("value_bytes", Point(value_bytes=64 * MIB)), Plan())


@pytest.mark.parametrize(("side", "dimension", "quick", "asked"), [
    (ONE, "connections", True, True), (ONE, "keys", False, False), (NODES, "shards", False, True),
    (NODES, "shards", True, False), (NODES, "connections", False, False), (Side("memcached", {}), "base", False, False),
])  # fmt: skip
def test_where_it_is_used(side: Side, dimension: str, quick: bool, asked: bool) -> None:
    assert foreign.asks(side, Task(dimension, BASE), Plan(quick=quick)) is asked


def test_beside_a_cluster_it_makes_enough_requests_for_its_clock() -> None:
    words = " ".join(foreign.options(BASE, Plan(), True))
    assert words == "-t set,get -c 8 -d 100 -r 1000 -n 100000 --cluster"


@pytest.mark.parametrize(("name", "ports", "is_cluster"),
                         [(RAYCACHE, (1,), False), (RAYCACHE, (1, 2), True), (REDIS_CLUSTER, (1, 2, 3), True)])
def test_it_follows_the_slots_where_there_are_several_servers(
    name: str, ports: tuple[int, ...], is_cluster: bool
) -> None:
    tool = foreign.Tool(Side(name, {}, ports), BASE, Plan())
    assert ("--cluster" in tool.options) is is_cluster
    assert tool.name == f"redis-benchmark on {name}"


def test_the_record_has_both_tests_round_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([10.0, 30.0, 20.0])

    def run(port: int, options: Sequence[str]) -> dict[str, load.Run]:
        rps = next(numbers)
        return {test: load.Run(test, rps + more, 0.1, 0.2, 0.3) for test, more in (("get", 0), ("set", 1))}

    monkeypatch.setattr(load, "run", run)
    tool = foreign.Tool(Side(RAYCACHE, {}, (1,)), BASE, Plan())
    for _ in range(3):
        tool.round()
    kept = tool.record()
    assert (kept["rps"], kept["set_rps"]) == (20.0, 21.0)
    assert kept["rps_rounds"] == [10.0, 30.0, 20.0]
    assert kept["p99_us_rounds"] == [200.0] * 3
    assert kept["command"].startswith("redis-benchmark -t set,get")


def test_where_it_fails_that_is_recorded_and_it_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def run(port: int, options: Sequence[str]) -> dict[str, load.Run]:
        calls.append(port)
        raise ServerFailedError("no cluster here")

    monkeypatch.setattr(load, "run", run)
    tool = foreign.Tool(Side(RAYCACHE, {}, (1,)), BASE, Plan())
    tool.round()
    tool.round()
    assert calls == [1]
    assert tool.record() == {"left_out": "no cluster here"}
