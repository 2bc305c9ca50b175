"""Counting and changing a value from many tasks at once, without a lock and without losing an update.

Run it:  python examples/counters.py
"""

from __future__ import annotations

import ray

import raycache

NAME = "example-counters"


@ray.remote(num_cpus=0)
def visit(page: str, times: int) -> None:
    with raycache.connect(NAME) as cache:
        for _ in range(times):
            cache.incr(f"visits:{page}")


@ray.remote(num_cpus=0)
def bid(bidder: str, amount: int) -> bool:
    """Become the highest bidder, if nobody bids more at the same moment."""
    with raycache.connect(NAME) as cache:
        while True:
            current = cache.get_with_version("auction")
            highest = current.value["amount"] if current else 0
            if amount <= highest:
                return False
            # Version 0 stands for "no such key". False: somebody else was faster, so look again.
            version = current.version if current else 0
            if cache.compare_and_set("auction", {"bidder": bidder, "amount": amount}, version):
                return True


def allowed(cache: raycache.Cache, user: str, per_minute: int) -> bool:
    """Limit a user's requests: the counter is born with the first one and dies a minute later."""
    return cache.incr(f"requests:{user}", ttl=60) <= per_minute


def main() -> None:
    raycache.start(NAME, shards=2, memory="16MiB")
    try:
        ray.get([visit.remote("home", 100) for _ in range(3)])
        ray.get([bid.remote(f"bidder {number}", 10 * number) for number in (1, 4, 2, 3)])
        with raycache.connect(NAME) as cache:
            print(f"visits: {cache.get('visits:home')}")
            print(f"winner: {cache.get('auction')['bidder']}")
            print(f"requests: {[allowed(cache, 'ada', per_minute=3) for _ in range(5)]}")
            # Only the first of many gets to do something once.
            print(f"first: {[cache.add('daily-report', task, ttl=3600) for task in ('a', 'b')]}")
    finally:
        raycache.stop(NAME)


if __name__ == "__main__":
    main()
