"""The asyncio handle: a thousand coroutines read at once, and it makes a few round trips of them.

Run it:  python examples/async_handle.py
"""

from __future__ import annotations

import asyncio

import raycache


async def work() -> None:
    async with await raycache.connect_async("example-async") as cache:
        await cache.set_many({f"price:{item}": {"cents": item * 100} for item in range(1000)}, ttl=60)
        # Each coroutine asks for its own key, as request handlers do; the handle sends them together, per shard.
        prices = await asyncio.gather(*(cache.get(f"price:{item}") for item in range(1000)))
        print(f"{len(prices)} prices read, {sum(price['cents'] for price in prices)} cents in all")

        print(f"unknown item: {await cache.get('price:none', default='not for sale')}")
        print(f"first seconds to live: {await cache.ttl('price:0'):.0f}")


def main() -> None:
    raycache.start("example-async", shards=2, memory="16MiB")
    try:
        asyncio.run(work())
    finally:
        raycache.stop("example-async")


if __name__ == "__main__":
    main()
