"""Each question asked with a real Redis in our place: the measuring is right whatever is measured.

No figure is judged here: Redis beside Redis in a few hundred calls says nothing but that the arithmetic runs through.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest
import redis

from benchmarks import get_many, handle_get, memory_pauses, redis_benchmark
from benchmarks.harness.product import Product
from benchmarks.harness.report import Outcome
from benchmarks.harness.rounds import Plan
from benchmarks.harness.servers import HOST, info, redis_server
from benchmarks.redis_benchmark import Shape
from raycache.shard.build import store_capacity

pytestmark = pytest.mark.redis_server

PLAN = Plan(rounds=5, quick=True)
QUESTIONS = (handle_get, redis_benchmark, get_many, memory_pauses)


class FakeProduct(Product):
    """A Redis in the place of all shards."""

    def connect(self) -> FakeCache:
        return FakeCache(host=HOST, port=self.ports[0])


class FakeCache(redis.Redis):
    """The handle's names on a redis-py client."""

    def set_many(self, values: dict[str, bytes]) -> None:
        self.mset(values)

    def get_many(self, keys: list[str]) -> dict[str, bytes]:
        return dict(zip(keys, self.mget(keys), strict=True))


@contextmanager
def fake_cluster(shards: int, memory_bytes: int, policy: str = "lru") -> Iterator[Product]:
    with redis_server() as port:
        yield FakeProduct("fake", (port,) * shards)


def fake_stats(port: int) -> dict[str, float]:
    """What a shard would say, with 250 bytes a key; the pause grows from one call to the next."""
    entries = int(redis.Redis(host=HOST, port=port, single_connection_client=True).dbsize())
    calls = int(info(port)["total_connections_received"])
    return {
        "entries": entries,
        "used_bytes": 250 * entries,
        "evicted": 1,
        "loop_pause_max_ms": float(calls),
        "loop_cpu_max_ms": 0.5,
    }


@pytest.fixture(autouse=True)
def _small_and_on_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in QUESTIONS:
        monkeypatch.setattr(module, "running_cluster", fake_cluster)
        monkeypatch.setattr(module, "idle_check", lambda: 0.0)
    monkeypatch.setattr(handle_get, "KEYS", 100)
    monkeypatch.setattr(handle_get, "CALLS", 2_000)
    monkeypatch.setattr(handle_get, "CALLS_LOADED", 1_000)
    monkeypatch.setattr(
        redis_benchmark, "SHAPES", (Shape("-c 5", ("-c", "5"), 1_000, 0.95), Shape("-c 2", ("-c", "2"), 1_000, None))
    )
    monkeypatch.setattr(get_many, "KEYS", 2_000)
    monkeypatch.setattr(get_many, "BATCHES", 20)
    monkeypatch.setattr(memory_pauses, "stats", fake_stats)
    monkeypatch.setattr(memory_pauses, "CONTROL_MS", 10)
    monkeypatch.setattr(memory_pauses.machine, "steal_ticks", lambda: [0, 0])
    for name in ("ENTRIES", "PROBE_ENTRIES", "FILL", "CHURN"):
        monkeypatch.setattr(memory_pauses, name, 5_000)


def ask(module: ModuleType) -> tuple[Outcome, list[str]]:
    steps: list[str] = []
    return module.run(PLAN, steps.append), steps


FIGURES = {
    handle_get: {
        "handle get of 100 bytes, p50 over redis-py on Redis 7": "<= 0.85 x",
        "handle get of 100 bytes, p99 over redis-py on Redis 7": "<= 0.85 x",
        "handle get, p99 while redis-benchmark -c 20 loads the same shard": "< 1 ms",
    },
    redis_benchmark: {
        "redis-benchmark -t get -c 5, one shard over Redis 7": ">= 0.95 x",
        "redis-benchmark -t set -c 5, one shard over Redis 7": ">= 0.95 x",
    },
    get_many: {
        "get_many of 1,000 keys over 4 shards": ">= 400,000 keys/s",
        "get_many over RedisCluster.mget_nonatomic on 3 nodes": ">= 3 x",
    },
    memory_pauses: {
        "longest pause of the loop, one million entries, evicting": "<= 5 ms",
        "resident memory over the configured budget": "<= 1.15 x",
    },
}


@pytest.mark.parametrize("module", QUESTIONS, ids=lambda module: module.NAME)
def test_a_question_announces_its_steps_and_answers_with_its_figures(module: ModuleType) -> None:
    outcome, steps = ask(module)
    assert outcome.name == module.NAME
    assert len(steps) == module.steps(PLAN)
    assert outcome.facts["busy_cores_before"] >= 0
    assert {figure.figure: f"{figure.goal} {figure.unit}" for figure in outcome.figures} == FIGURES[module]
    for figure in outcome.figures:
        assert figure.value is not None
        assert min(figure.rounds) <= figure.value <= max(figure.rounds)
    for series in outcome.series:
        assert len(series.samples) > 0
        assert min(series.samples) >= 0


def test_handle_get_keeps_every_sample_and_shows_that_the_load_was_there() -> None:
    outcome, _ = ask(handle_get)
    counts = {series.name: len(series.samples) for series in outcome.series if series.unit == "us"}
    assert counts == {
        "get, handle on one shard": 1_000,  # 5 rounds of a tenth of 2,000
        "get, redis-py on Redis": 1_000,
        "get, handle on one shard, loaded": 500,
        "get, redis-py on Redis, loaded": 500,
    }
    loads = [series.samples for series in outcome.series if series.name.startswith("load on it")]
    assert [len(samples) for samples in loads] == [5, 5]
    assert min(map(min, loads)) > 100  # more than the few commands of the client itself


def test_a_handle_that_reads_wrong_values_is_not_timed() -> None:
    with pytest.raises(AssertionError, match="k1 does not read back"):
        handle_get.warm_up({"k1": b"other"}.get, {"k1": b"value"})


def test_redis_benchmark_shows_the_shapes_without_a_goal_too() -> None:
    outcome, _ = ask(redis_benchmark)
    assert {"get -c 2, ratio", "set -c 2, ratio"} <= {series.name for series in outcome.series}
    assert outcome.facts["-c 5"] == "redis-benchmark -t get,set -c 5 -n 100"


def test_redis_benchmark_goals_of_the_real_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    goals = {shape.options: shape.at_least for shape in redis_benchmark.SHAPES if shape.at_least is not None}
    assert goals == {("-c", "50"): 0.95, ("-c", "50", "-P", "16"): 0.6}


def test_throughput_counts_the_slow_batches() -> None:
    assert get_many.keys_per_second([1.0, 3.0], batch=1_000) == 500_000


def test_a_batch_that_is_not_whole_is_not_timed() -> None:
    check: Callable[..., None] = get_many._check
    check({"a": b"1"}, [b"1"], ["a"], {"a": b"1"})
    with pytest.raises(AssertionError, match="does not read back"):
        check({}, [b"1"], ["a"], {"a": b"1"})
    with pytest.raises(AssertionError, match="does not read back"):
        check({"a": b"1"}, [None], ["a"], {"a": b"1"})


def test_memory_figures_are_the_worst_seen() -> None:
    outcome, _ = ask(memory_pauses)
    pause, _ = outcome.figures
    assert len(pause.rounds) == 2 * PLAN.rounds
    assert pause.value == max(pause.rounds)
    assert outcome.facts["budget_bytes"] == memory_pauses.budget_for(250 * memory_pauses.ENTRIES)


def test_a_round_that_the_hypervisor_disturbed_is_shown_and_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def steal_ticks() -> list[int]:
        nonlocal calls
        calls += 1
        return [2, 2] if calls > 3 else [0, 0]  # before and after filling, before the first round: none yet

    monkeypatch.setattr(memory_pauses.machine, "steal_ticks", steal_ticks)
    outcome, steps = ask(memory_pauses)
    samples = {series.name: series.samples for series in outcome.series}
    assert len(steps) == memory_pauses.steps(PLAN)
    assert outcome.facts["disturbed_rounds"] == {"evicting": 1, "evicting, -P 16": 0}
    (stolen_ms,) = samples["stolen a round, evicting, time was stolen"]
    assert stolen_ms > 0
    assert len(samples["longest pause a round, evicting, time was stolen"]) == 1
    assert len(outcome.figures[0].rounds) == 2 * PLAN.rounds
    assert len(samples["largest gap of a busy loop beside an idle shard"]) == 2 * PLAN.rounds


def test_a_machine_that_is_always_disturbed_gives_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(memory_pauses.machine, "steal_ticks", lambda: [next(ticks)] * 2)
    monkeypatch.setattr(memory_pauses, "CHURN", 50)
    pause, resident = ask(memory_pauses)[0].figures
    assert (pause.value, pause.rounds, pause.met) == (None, (), False)
    assert resident.value is not None


def test_the_budget_is_the_smallest_that_holds_the_entries() -> None:
    budget = memory_pauses.budget_for(400_000_000)
    assert store_capacity(budget) >= 400_000_000 > store_capacity(budget - 1)


@pytest.mark.parametrize("stats", [{"entries": 9_699, "evicted": 1}, {"entries": 10_000, "evicted": 0}])
def test_a_shard_that_is_not_full_is_no_answer(monkeypatch: pytest.MonkeyPatch, stats: dict[str, float]) -> None:
    monkeypatch.setattr(memory_pauses, "ENTRIES", 10_000)
    memory_pauses._check_full({"entries": 9_700, "evicted": 1})
    with pytest.raises(AssertionError, match="not full"):
        memory_pauses._check_full(stats)
