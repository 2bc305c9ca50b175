"""Decorated functions in Ray tasks: of all workers that miss together, one loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import ray

import raycache
from raycache.cli.main import main
from tests.support import wait_until

pytestmark = pytest.mark.ray
TASKS = 8


@ray.remote(num_cpus=0)
class Ground:
    """Where those meet who must begin together, and what the loads are written down in."""

    def __init__(self) -> None:
        self.here = 0
        self.loads: list[int] = []

    def come(self) -> None:
        self.here += 1

    def are_all_here(self) -> bool:
        return self.here == TASKS

    def note(self, number: int) -> None:
        self.loads.append(number)

    def noted(self) -> list[int]:
        return self.loads


def test_one_of_all_workers_loads(start: Callable[..., Any], cluster_name: str,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    start()
    ground = Ground.remote()  # type: ignore[attr-defined]

    @raycache.cached(cluster_name, ttl=60, name="tests.square")
    def square(number: int) -> int:
        import time

        ray.get(ground.note.remote(number))
        time.sleep(0.3)  # long enough for every worker to find it under way
        return number * number

    @ray.remote(num_cpus=0)
    def work(number: int) -> tuple[int, int]:
        square.key(number)
        ray.get(ground.come.remote())
        wait_until(lambda: ray.get(ground.are_all_here.remote()), 60)
        value = square(number)
        return value, square.cache_info().calls

    results = ray.get([work.remote(7) for _ in range(TASKS)])
    assert results == [(49, 1)] * TASKS
    assert ray.get(ground.noted.remote()) == [7]
    with raycache.connect(cluster_name) as cache:
        wait_until(lambda: cache.top().functions.get("tests.square", raycache.FunctionUse()).calls == TASKS, 20)
        use = cache.top().functions["tests.square"]
        assert (use.loads, use.failures, use.hits + use.waits) == (1, 0, TASKS - 1)
        assert cache.get(square.key(7)) == 49
    assert main(["top", cluster_name, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["functions"]["tests.square"]["loads"] == 1
