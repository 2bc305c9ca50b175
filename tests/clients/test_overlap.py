"""Pipelines at shards that wait for each other: the replies are those of one shard that waits for nobody."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator

import pytest
import redis

from raycache.testing import LocalCluster

KEYS = [f"k{number}" for number in range(6)]
TEMPLATES = ["GET {a}", "GET {b}", "SET {a} {n}", "SET {b} {n}", "INCR {a}", "MGET {a} {b} {c}", "DEL {b}",
             "APPEND {c} {n}", "SET {a} {n} NX", "SET {c} {n} GET", "STRLEN {c}", "PING {n}", "EXISTS {a} {b}",
             "MSET {a} {n} {b} {n}"]


def commands(seed: int, count: int, prefix: str) -> list[list[str]]:
    rng = random.Random(seed)
    made = []
    for number in range(count):
        a, b, c = (f"{prefix}{key}" for key in rng.sample(KEYS, 3))
        made.append(rng.choice(TEMPLATES).format(a=a, b=b, c=c, n=number).split())
    return made


def ask(port: int, wanted: list[list[str]]) -> list[object]:
    """Send all of it at once, and return the replies; errors as texts."""
    client = redis.Redis(port=port, socket_timeout=20)
    try:
        with client.pipeline(transaction=False) as pipeline:
            for words in wanted:
                pipeline.execute_command(*words)
            return [str(reply) if isinstance(reply, Exception) else reply
                    for reply in pipeline.execute(raise_on_error=False)]
    finally:
        client.close()


@pytest.fixture
def alone() -> Iterator[int]:
    with LocalCluster(1, gateway=False) as cluster:
        yield cluster.addresses[0][1]


@pytest.fixture(scope="module", params=["quorum", "multi-primary"])
def together(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    with LocalCluster(3, copies=3, replication=request.param) as cluster:
        cluster.wait_until_settled()
        yield cluster


def test_a_pipeline_is_answered_as_if_each_command_had_waited_for_the_one_before(
        alone: int, together: LocalCluster) -> None:
    port = together.addresses[0][1]
    found: dict[int, list[object]] = {}
    wanted = [commands(seed, 300, f"p{seed}") for seed in range(4)]
    threads = [threading.Thread(target=lambda seed=seed: found.update({seed: ask(port, wanted[seed])}))
               for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for seed in range(4):
        assert found[seed] == ask(alone, wanted[seed]), f"seed {seed}"


def test_it_is_through_the_gateway_too(alone: int, together: LocalCluster) -> None:
    wanted = commands(9, 300, "{g}")
    assert ask(together.gateway_address[1], wanted) == ask(alone, wanted)
