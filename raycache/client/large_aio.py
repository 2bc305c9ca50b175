"""Large values for asyncio: staging before a write, fetching after a read, the twin of `large_sync.py`.

What lives here: the order of the steps; the object store blocks, so it is used in threads. What does not: any decision
(`large.py`). Belongs to the running loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from raycache.client import requests
from raycache.client.aio_dispatcher import AsyncDispatcher
from raycache.client.arguments import Encoded
from raycache.client.guarded import Guarded
from raycache.client.large import (
    NO_OBJECT,
    ObjectStore,
    fetched,
    filled,
    has_objects,
    is_gone,
    large_parts,
    packed,
    parts_of,
    received,
    shard_of,
    splitting,
    staged,
)
from raycache.client.leasing import whole_aged
from raycache.client.requests import MISSING
from raycache.codec import encode
from raycache.codec.parts import Parts
from raycache.descriptor import Descriptor
from raycache.errors import CommandError
from raycache.loading.steps import Filling

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
        self.split: Final = splitting(objects)
        """How values are split that become objects; None: none do."""

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
        name = await self._stage(objects, key, parts)
        return packed(staged(name, parts), self._pack_from, self._encode)

    async def _stage(self, objects: ObjectStore, key: bytes, parts: Parts) -> bytes | None:
        shard_id = shard_of(await self._dispatcher.routes(), key)
        if shard_id is None:
            return None
        return await asyncio.to_thread(objects.stage, shard_id, parts, self._timeout_s)

    async def fill(self, fillings: Sequence[Filling],
                   send: Callable[[list[Filling]], Awaitable[list[int]]]) -> list[int]:
        """Return what `send` returns, which stores under leases what it gets: `fillings`, or what stands for them."""
        stored = await send([await self._staged(each) for each in fillings])
        gone = [at for at, answer in enumerate(stored) if answer == NO_OBJECT]
        if gone:
            for at, answer in zip(gone, await send([fillings[at].whole for at in gone]), strict=True):
                stored[at] = answer
        return stored

    async def _staged(self, filling: Filling) -> Filling:
        if filling.parts is None or self._objects is None:
            return filling.whole
        return filled(filling, await self._stage(self._objects, filling.key, parts_of(filling)))

    async def bring(self, key: bytes, descriptor: Descriptor) -> tuple[bool, Any]:
        """See `raycache.loading.steps.Bring`."""
        if self._objects is not None:
            found = fetched(None, await asyncio.to_thread(self._objects.fetch, descriptor, self._timeout_s / 2))
            if found is not MISSING:
                return True, found
        return False, await self._dispatcher.run(key, whole_aged(key))

    async def read(self, key: bytes, guarded: Guarded, absent: Any) -> Any:
        """Return what a read has brought, with the value that its descriptor stands for; `absent` if that is lost.

        Raises:
            Guarded: there is another value now, which needs another look.
        """
        assert guarded.descriptor is not None
        if self._objects is not None:
            parts = await asyncio.to_thread(self._objects.fetch, guarded.descriptor, self._timeout_s / 2)
            found = fetched(guarded.result, parts)
            if found is not MISSING:
                return found
        return received(guarded.result, await self._dispatcher.run(key, requests.whole(key)), absent)
