"""The suite on real servers: every side but those that need Ray, a real shard among them; and what is made of it.

No figure is judged here. tests/cluster has the actor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from benchmarks.harness.rounds import Plan
from benchmarks.report import tables
from benchmarks.report.reading import Run
from benchmarks.suite import memory, pauses, servers, sides, sweep
from benchmarks.suite.crew import Crew
from benchmarks.suite.names import ECHO, MEMCACHED, RAYCACHE, REDIS, REDIS_CLUSTER, TOOL_PREFIX
from benchmarks.suite.points import QUICK_BASE, Point, Task
from benchmarks.suite.sides import MIB, Side, Wish
from raycache.testing.local import LocalCluster
from tests.support import require_program

pytestmark = pytest.mark.redis_server

PLAN = Plan(rounds=5, quick=True)
BASE = replace(QUICK_BASE, entries=2_000, connections=3)
TASKS = (Task("base", BASE), Task("connections", replace(BASE, connections=1)),
         Task("value_bytes", replace(BASE, value_bytes=64 * 1024, entries=50)),
         Task("rate", replace(BASE, rate=300)))  # fmt: skip


@pytest.fixture(autouse=True)
def _shards_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real shard on a real socket takes the place of the one in Ray, and rounds are short."""
    require_program("memcached", "memcached")

    @contextmanager
    def local(wish: Wish) -> Iterator[Side]:
        with LocalCluster(wish.shards, gateway=False, memory_per_shard_bytes=wish.memory_bytes) as cluster:
            host, port = cluster.addresses[0]
            target = {"kind": "raycache", "cluster": cluster.config.name, "address": f"{host}:{port}"}
            yield Side(RAYCACHE, target, (port,))

    monkeypatch.setitem(sides.STARTERS, RAYCACHE, local)
    monkeypatch.setattr(sweep, "QUICK_ROUND_S", 0.05)
    monkeypatch.setattr(sweep, "QUICK_OPEN_ROUND_S", 0.1)


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with Crew(2) as started:
        yield started


def steps() -> tuple[list[str], Callable[[str], None]]:
    said: list[str] = []
    return said, said.append


def test_all_sides_are_loaded_in_turns_and_answer_right(crew: Crew) -> None:
    said, step = steps()
    names = (RAYCACHE, REDIS, REDIS_CLUSTER, MEMCACHED, ECHO)
    with sides.running(names, Wish()) as started:
        assert [side.name for side in started] == list(names)
        for side in started:
            crew.open(side.name, side.target)
        measured = sweep.Sweep(crew, started, PLAN, step)
        measured.run(TASKS)
    assert len(said) == measured.steps(TASKS)
    by_task: dict[str, dict[str, dict[str, object]]] = {}
    for kept in measured.records:
        by_task.setdefault(kept["dimension"], {})[kept["side"]] = kept
    for dimension, found in by_task.items():
        for name in names:
            kept = found[name]
            assert (kept["wrong"], kept["failed"]) == (0, 0), (dimension, name, kept)
            assert kept["rps"] > 0
            assert len(kept["rps_rounds"]) == sweep.QUICK_ROUNDS
    assert {name for name in by_task["base"] if name.startswith(TOOL_PREFIX)} == {
        TOOL_PREFIX + name for name in (RAYCACHE, REDIS)}
    assert all("left_out" not in kept for kept in measured.records)
    # 30 arrivals in each of two rounds, however late a busy machine answers them.
    assert {kept["requests"] for name, kept in by_task["rate"].items()} == {60}
    run = Run({"questions": [{"name": "side_by_side", "facts": {}, "figures": [], "records": measured.records}]})
    assert list(run.trouble()) == []
    assert tables.base(run).count("\n") == 2 + len(names)


def test_a_point_without_enough_memory_is_left_out(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "available_bytes", lambda: 1_000)
    with sides.running((ECHO,), Wish()) as started:
        measured = sweep.Sweep(crew, started, PLAN, lambda text: None)
        measured.run(TASKS[:1])
    assert [kept["left_out"] for kept in measured.records] == ["not enough free memory"]


def test_probes_of_full_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "QUICK_MEMORY_BYTES", 8 * MIB)
    monkeypatch.setattr(pauses, "QUICK_ROUND_S", 0.1)
    said, step = steps()
    outcome = pauses.run(PLAN, step)
    assert len(said) == pauses.steps(PLAN)
    assert [kept["side"] for kept in outcome.records] == list(pauses.SIDES)
    for kept in outcome.records:
        assert kept["requests"] == sum(kept["counts"]) == 2 * 100
        assert kept["writes"]["requests"] == 2 * 400
        assert kept["writes"]["failed"] == 0


def test_the_memory_of_an_entry(crew: Crew) -> None:
    with sides.running((REDIS, MEMCACHED), Wish()) as started:
        for side in started:
            kept = memory._measured(crew, side, 5_000, 0)
            assert -100 < kept["said_overhead_bytes"] < 400, side.name
            assert -117 <= kept["resident_overhead_bytes"] < 2_000, side.name


def test_a_server_that_does_not_start_is_an_error() -> None:
    with pytest.raises(servers.ServerFailedError, match="ended with"):  # noqa: SIM117
        with servers._listening(["false"], servers.free_port()):
            pass


def test_generators_say_what_went_wrong(crew: Crew) -> None:
    with pytest.raises(servers.ServerFailedError, match="failed to open nobody: KeyError"):
        crew.open("nobody", {"kind": "nobody"})
    with pytest.raises(servers.ServerFailedError, match="failed to ready unknown: KeyError"):
        crew.load("unknown", Point(), 0.1, 1)
