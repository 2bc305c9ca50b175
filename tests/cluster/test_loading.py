"""Loading on real Ray: callers in several actors, and one load."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

import raycache
from tests.support import wait_until

pytestmark = pytest.mark.ray

Start = Callable[..., raycache.ClusterStatus]


def callers(cluster: str, count: int) -> list[Any]:
    """Actors that ask for a key from many threads at once, and count their own loads."""
    import ray

    @ray.remote(num_cpus=0)
    class Caller:
        def __init__(self) -> None:
            self.cache = raycache.connect(cluster)
            self.loads = 0

        def ready(self) -> int:
            return os.getpid()

        def ask(self, key: str, threads: int, seconds: float) -> tuple[list[Any], int]:
            import time
            from concurrent.futures import ThreadPoolExecutor

            def load() -> dict[str, int]:
                self.loads += 1
                self.cache.incr("loads begun")
                time.sleep(seconds)
                return {"answer": 42}

            with ThreadPoolExecutor(threads) as pool:
                asked = [pool.submit(self.cache.get_or_load, key, load, wait_s=30, lease_s=60) for _ in range(threads)]
                return [each.result() for each in asked], self.loads

    actors = [Caller.remote() for _ in range(count)]
    ray.get([actor.ready.remote() for actor in actors])
    return actors


def test_of_a_herd_in_several_actors_one_loads(cluster_name: str, start: Start) -> None:
    import ray

    start()
    actors = callers(cluster_name, 3)
    answers = ray.get([actor.ask.remote("k", 25, 0.3) for actor in actors])
    assert [values for values, _ in answers] == [[{"answer": 42}] * 25] * 3
    assert sum(loads for _, loads in answers) == 1
    for actor in actors:
        ray.kill(actor)


def test_an_actor_that_is_killed_while_it_loads_is_replaced_by_one_that_waits(cluster_name: str, start: Start) -> None:
    import ray

    start()
    first, second = callers(cluster_name, 2)
    pid = ray.get(first.ready.remote())
    lost = first.ask.remote("k", 1, 600)
    with raycache.connect(cluster_name) as cache:
        wait_until(lambda: cache.get("loads begun") == 1)
        waiting = second.ask.remote("k", 4, 0.01)
        os.kill(pid, signal.SIGKILL)
        assert ray.get(waiting, timeout=30) == ([{"answer": 42}] * 4, 1)
        assert cache.get("k") == {"answer": 42}
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(lost, timeout=30)
    ray.kill(second)
