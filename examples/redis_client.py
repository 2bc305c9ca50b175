"""A program that knows Redis and nothing of raycache: only the port changes.

It talks to a gateway, which finds the right shard for every key. redis-cli, ioredis, Celery and the like do the same.

Run it:  python examples/redis_client.py     (needs: pip install redis)
"""

from __future__ import annotations

import redis

import raycache


def use(client: redis.Redis) -> None:
    """What any Redis program does. Nothing here is ours."""
    client.set("session:ada", "logged in", ex=1800)
    print(f"session: {client.get('session:ada')!s}, {client.ttl('session:ada')} s left")

    # Keys of one command may live on different shards: the gateway asks each and puts the answers together.
    client.mset({f"colour:{number}": name for number, name in enumerate(("red", "green", "blue"))})
    print(f"colours: {', '.join(map(str, client.mget('colour:0', 'colour:1', 'colour:2')))}")

    with client.pipeline() as pipeline:
        for page in ("home", "home", "about"):
            pipeline.incr(f"views:{page}")
        print(f"views: {pipeline.execute()}")


def main() -> None:
    status = raycache.start("example-redis", shards=2, memory="16MiB")
    try:
        host, _, port = status.gateways[0].rpartition(":")
        # The password is asked for only where the cluster listens beyond this machine.
        password = status.secret if status.requires_auth else None
        with redis.Redis(host=host, port=int(port), password=password, decode_responses=True) as client:
            use(client)

        # What a Redis client wrote reads as bytes in Python.
        with raycache.connect("example-redis") as cache:
            print(f"the same entry in Python: {cache.get('session:ada')}")
    finally:
        raycache.stop("example-redis")


if __name__ == "__main__":
    main()
