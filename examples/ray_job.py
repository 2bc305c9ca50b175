"""A Ray job whose tasks share a cache: the expensive part is done once for each key, not once for each task.

Run it:  python examples/ray_job.py
"""

from __future__ import annotations

import math
from typing import Any

import ray

import raycache


def embedding(user: int) -> list[float]:
    """Stand for something expensive: a query, a model."""
    return [math.sin(user * step) for step in range(8)]


@ray.remote(num_cpus=0)
def score(users: list[int]) -> dict[str, Any]:
    # In a task, an actor or a Serve replica, the name is all that is needed.
    with raycache.connect("example-job") as cache:
        found = cache.get_many([f"embedding:{user}" for user in users])
        missing = {f"embedding:{user}": embedding(user) for user in users if f"embedding:{user}" not in found}
        cache.set_many(missing, ttl=300)
        vectors = found | missing
    return {"computed": len(missing), "score": sum(map(sum, vectors.values()))}


def main() -> None:
    # Attaches to the Ray that runs, else starts one on this machine. Attaches to the cluster too if it runs already.
    raycache.start("example-job", shards=2, memory="16MiB")
    try:
        # Every task asks for 60 users, 40 of them the same as its neighbour's.
        batches = [list(range(start, start + 60)) for start in range(0, 100, 20)]
        results = [ray.get(score.remote(batch)) for batch in batches]
        computed = sum(result["computed"] for result in results)
        print(f"{sum(map(len, batches))} embeddings used, {computed} computed")
        with raycache.connect("example-job") as cache:
            print(f"hit ratio {cache.stats().hit_ratio:.0%}")
    finally:
        raycache.stop("example-job")


if __name__ == "__main__":
    main()
