"""Functions whose results are kept: Ray tasks on any machine run each of them once for each argument.

Run it:  python examples/cached_functions.py
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import ray

import raycache

NAME = "example-cached"
PRICES = {"apple": 30, "pear": 45}


# Nothing is connected here: this line runs wherever the function travels, before any cluster is there.
@raycache.cached(NAME, name="shop.price", ttl=300, tags=lambda item: [f"item:{item}"], negative_ttl=5)
def price(item: str) -> int | None:
    """Return what an item costs, in cents; None: nobody sells it."""
    time.sleep(0.2)  # a slow database
    return PRICES.get(item)


@ray.remote(num_cpus=0)
def total(items: Sequence[str]) -> int:
    return sum(price(item) or 0 for item in items)


def main() -> None:
    raycache.start(NAME, shards=2, memory="128MiB")
    try:
        totals = ray.get([total.remote(["apple", "pear", "plum"]) for _ in range(8)])
        print(f"totals: {sorted(set(totals))}")
        with raycache.connect(NAME) as cache:
            print(f"the key: {price.key(item='apple')}, its value: {cache.get(price.key('apple'))}")
            while sum(use.calls for use in cache.top().functions.values()) < 24:
                time.sleep(0.1)  # every process tells the cluster what it has counted, once a second
            use = cache.top().functions["shop.price"]
            print(f"calls: {use.calls}, loads: {use.loads}")
            cache.invalidate_tags("item:apple")
        price("apple")
        price("pear")
        here = price.cache_info()
        print(f"after the invalidation, here: {here.loads} load, {here.hits} hit")
    finally:
        raycache.stop(NAME)


if __name__ == "__main__":
    main()
