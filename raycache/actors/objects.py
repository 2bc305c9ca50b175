"""The shard's side of Ray's object store: copying objects into ones of its own, and fetching them for those who want
bytes.

What lives here: `RayObjects`, which `raycache.shard.objects` uses, and what a value looks like inside an object. What
does not: which objects there are. Everything that may take time runs in threads; results come back on the shard's loop.

An object is a tuple of the value's kind and its buffers. Large buffers are numpy arrays of bytes, which Ray puts side
by side in shared memory and hands back as views of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import numpy as np
import ray

from raycache.actors import calls
from raycache.actors.object_refs import reference_to, where_is
from raycache.codec.parts import Buffer, Parts
from raycache.descriptor import Descriptor
from raycache.shard.objects import Owned

log = logging.getLogger(__name__)

T = TypeVar("T")

GET_TIMEOUT_S: Final = 10.0
"""Of one attempt to get an object: Ray restores what it has written to disk at 200 MB/s, more slowly on a busy disk."""
LEND_TIMEOUT_S: Final = 2.0
"""Of one call to another shard."""
_IN_BAND_BYTES: Final = 4096
"""Below it a buffer is part of the object's own pickle: a view would gain nothing."""


def content_of(parts: Parts) -> tuple[int, tuple[Buffer, ...]]:
    """Return what is put into Ray's store for a value."""
    return parts.kind, tuple(
        np.frombuffer(each, dtype=np.uint8) if type(each) is not np.ndarray and len(each) >= _IN_BAND_BYTES else each
        for each in parts.buffers)


def put(parts: Parts) -> Any:
    """Return a reference to a new object of this process. Blocks for as long as a copy of the value takes."""
    return ray.put(content_of(parts))


def get(ref: Any, timeout_s: float) -> Parts:
    """Return the parts of a value; they share memory with its object. Blocks.

    Raises:
        Exception: it is lost, or has not come in time; of many kinds, most of them Ray's.
    """
    kind, buffers = ray.get(ref, timeout=timeout_s)
    return Parts(kind, buffers)


def own(ref: Any) -> Owned:
    """Copy an object into one of this process; errors as `get`."""
    mine = ray.put(tuple(get(ref, GET_TIMEOUT_S)))
    return mine, where_is(mine)


class RayObjects:
    """Ray's object store for one shard; belongs to its loop."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._shards: dict[str, calls.ShardHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def load(self, descriptor: Descriptor, ref: Any, holders: list[str], done: Callable[[bytes | None], None]) -> None:
        """See `raycache.shard.objects.Backend`."""

        async def work() -> bytes | None:
            return await self._first(descriptor, ref, holders, lambda one: get(one, GET_TIMEOUT_S).data)

        self._spawn(work(), done)

    def own(self, descriptor: Descriptor, holders: list[str], done: Callable[[Owned | None], None]) -> None:
        """See `raycache.shard.objects.Backend`."""

        async def work() -> Owned | None:
            # A counted reference first: it keeps the object while it is copied.
            return await self._first(descriptor, None, holders, own)

        self._spawn(work(), done)

    async def _first(self, descriptor: Descriptor, ref: Any, holders: list[str], use: Callable[[Any], T]) -> T | None:
        """Return what `use` makes, in a thread, of the first reference that is good; None if none is."""
        if ref is not None and (found := await self._used(ref, use)) is not None:
            return found
        for shard_id in holders:
            lent = await self._borrow(shard_id, descriptor.name)
            if lent is not None and (found := await self._used(lent, use)) is not None:
                return found
        uncounted = reference_to(descriptor.where) if ref is None else None
        return None if uncounted is None else await self._used(uncounted, use)

    async def _used(self, ref: Any, use: Callable[[Any], T]) -> T | None:
        try:
            return await asyncio.to_thread(use, ref)
        except Exception as error:
            log.info("an object cannot be had: %s: %s", type(error).__name__, str(error).partition("\n")[0])
            return None

    async def _borrow(self, shard_id: str, name: bytes) -> Any:
        try:
            async with asyncio.timeout(LEND_TIMEOUT_S):
                handle = self._shards.get(shard_id)
                if handle is None:
                    handle = self._shards[shard_id] = await asyncio.to_thread(calls.find_shard, self._cluster, shard_id)
                return await calls.lend_object(handle, name)
        except Exception as error:  # it is gone, or starting: others may have the object
            self._shards.pop(shard_id, None)
            log.info("shard %s lends nothing: %s", shard_id, error or type(error).__name__)
            return None

    def _spawn(self, work: Coroutine[Any, Any, T | None], done: Callable[[T | None], None]) -> None:
        async def run() -> None:
            result: T | None = None
            try:
                result = await work
            finally:
                done(result)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
