"""One Ray for all tests that need one: it takes seconds to start, and clusters in it are independent."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterator

import pytest

import raycache

_numbers = itertools.count()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """A Ray of our own, whatever else runs on this machine; its address."""
    import ray

    from raycache.actors import environment

    os.environ.pop("RAY_ADDRESS", None)
    environment.prepare()
    context = ray.init(address="local", num_cpus=4, include_dashboard=False, log_to_driver=False,
                       logging_level=logging.ERROR)
    # What the tests start in other processes (the command line, examples) must find this Ray and no other.
    os.environ["RAY_ADDRESS"] = context.address_info["address"]
    yield os.environ["RAY_ADDRESS"]
    os.environ.pop("RAY_ADDRESS", None)
    ray.shutdown()


@pytest.fixture
def cluster_name(ray_cluster: str) -> Iterator[str]:
    """A name that no other test uses; whatever runs under it is stopped afterwards."""
    name = f"test{next(_numbers)}"
    yield name
    if name in raycache.clusters():
        raycache.stop(name)


@pytest.fixture
def start(cluster_name: str) -> Callable[..., raycache.ClusterStatus]:
    """Start a small cluster under the test's own name."""

    def start_cluster(**settings: object) -> raycache.ClusterStatus:
        return raycache.start(cluster_name, **{"shards": 3, "memory": "96MiB", **settings})  # type: ignore[arg-type]

    return start_cluster
