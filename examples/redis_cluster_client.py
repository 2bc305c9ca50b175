"""A client that knows Redis Cluster talks to the shards themselves: no gateway, no second hop.

Run it:  python examples/redis_cluster_client.py     (needs: pip install redis)
"""

from __future__ import annotations

from collections import Counter

from redis.cluster import RedisCluster

import raycache


def main() -> None:
    status = raycache.start("example-cluster", shards=3, memory="24MiB")
    try:
        host, _, port = status.shards[0].address.rpartition(":")
        password = status.secret if status.requires_auth else None
        # Any one shard will do: the client asks it for the others and learns which slots are whose.
        with RedisCluster(host=host, port=int(port), password=password, decode_responses=True) as client:
            for number in range(300):
                client.set(f"item:{number}", f"value {number}")
            owners = Counter(client.get_node_from_key(f"item:{number}").port for number in range(300))
            print(f"300 items on {len(owners)} shards")
            print(f"item:42 is {client.get('item:42')!r}")

            # A hash tag keeps keys together; what one shard holds can be read in one command.
            client.mset({"{cart:7}:apples": "3", "{cart:7}:pears": "5"})
            print(f"cart: {client.mget('{cart:7}:apples', '{cart:7}:pears')}")
    finally:
        raycache.stop("example-cluster")


if __name__ == "__main__":
    main()
