"""Large values for asyncio: staging before a write, fetching after a read, the twin of `large_sync.py`.

What lives here: the order of the steps; the object store blocks, so it is used in threads. What does not: any decision
(`large.py`). Belongs to the running loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from raycache.client import requests
from raycache.client.aio_dispatcher import AsyncDispatcher
from raycache.client.arguments import Encoded
from raycache.client.guarded import Guarded
from raycache.client.large import (
    ObjectStore,
    fetched,
    has_objects,
    is_gone,
    large_parts,
    packed,
    received,
    shard_of,
    staged,
)
from raycache.client.requests import MISSING
from raycache.codec import encode
from raycache.descriptor import Descriptor
from raycache.errors import CommandError

T = TypeVar("T")


class AsyncLargeValues:
    """The large values of one handle; arguments as for `LargeValues`."""

    def __init__(self, dispatcher: AsyncDispatcher, objects: ObjectStore | None, timeout_s: float,
                 pack_from: int | None = None,
                 encode: Callable[[Any], tuple[int, bytes]] = encode) -> None:
        self._encode = encode
        self._dispatcher = dispatcher
        self._pack_from = pack_from
        self._objects = objects
        self._timeout_s = timeout_s

    async def write(self, key: bytes, value: Any, send: Callable[[Any], Awaitable[T]]) -> T:
        """Return what `send` returns, which stores what it is given: `value`, or what stands for it."""
        return await self.write_all([key], [value], lambda values: send(values[0]))

    async def write_all(self, keys: Sequence[bytes], values: Sequence[Any],
                        send: Callable[[list[Any]], Awaitable[T]]) -> T:
        """Return what `send` returns, which stores what it is given: `values`, or what stands for them."""
        ready = [await self._ready(key, value) for key, value in zip(keys, values, strict=True)]
        try:
            return await send(ready)
        except CommandError as error:
            if not has_objects(ready) or not is_gone(error):
                raise
            return await send(list(values))

    async def _ready(self, key: bytes, value: Any) -> Any:
        objects = self._objects
        if objects is None or (parts := large_parts(objects, value)) is None:
            return packed(value, self._pack_from, self._encode)
        if isinstance(parts, Encoded):
            return packed(parts, self._pack_from, self._encode)
        shard_id = shard_of(await self._dispatcher.routes(), key)
        if shard_id is None:
            return packed(staged(None, parts), self._pack_from, self._encode)
        name = await asyncio.to_thread(objects.stage, shard_id, parts, self._timeout_s)
        return packed(staged(name, parts), self._pack_from, self._encode)

    async def read(self, key: bytes, guarded: Guarded, absent: Any) -> Any:
        """Return what a read has brought, with the value that its descriptor stands for; `absent` if that is lost."""
        assert type(guarded.header) is Descriptor
        if self._objects is not None:
            parts = await asyncio.to_thread(self._objects.fetch, guarded.header, self._timeout_s / 2)
            found = fetched(guarded.result, parts)
            if found is not MISSING:
                return found
        return received(guarded.result, await self._dispatcher.run(key, requests.whole(key)), absent)
