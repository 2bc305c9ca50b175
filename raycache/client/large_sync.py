"""Large values for threads: staging before a write, fetching after a read.

What lives here: the order of the steps. What does not: any decision (`large.py`), and the same for asyncio
(`large_aio.py`). Any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from raycache.client import requests
from raycache.client.arguments import Encoded
from raycache.client.dispatcher import Dispatcher
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


class LargeValues:
    """The large values of one handle.

    Args:
        objects: None where this process has no object store; then large values are only read.
        timeout_s: limit of one step, in seconds; of the look into the object store, half of it.
        pack_from: values of so many bytes that become no objects are compressed where that pays; None: none are.
        encode: how values are written.
    """

    def __init__(self, dispatcher: Dispatcher, objects: ObjectStore | None, timeout_s: float,
                 pack_from: int | None = None,
                 encode: Callable[[Any], tuple[int, bytes]] = encode) -> None:
        self._encode = encode
        self._dispatcher = dispatcher
        self._pack_from = pack_from
        self._objects = objects
        self._timeout_s = timeout_s

    def write(self, key: bytes, value: Any, send: Callable[[Any], T]) -> T:
        """Return what `send` returns, which stores what it is given: `value`, or what stands for it."""
        return self.write_all([key], [value], lambda values: send(values[0]))

    def write_all(self, keys: Sequence[bytes], values: Sequence[Any], send: Callable[[list[Any]], T]) -> T:
        """Return what `send` returns, which stores what it is given: `values`, or what stands for them."""
        ready = [self._ready(key, value) for key, value in zip(keys, values, strict=True)]
        try:
            return send(ready)
        except CommandError as error:
            if not has_objects(ready) or not is_gone(error):
                raise
            return send(list(values))

    def _ready(self, key: bytes, value: Any) -> Any:
        objects = self._objects
        if objects is None or (parts := large_parts(objects, value)) is None:
            return packed(value, self._pack_from, self._encode)
        if isinstance(parts, Encoded):
            return packed(parts, self._pack_from, self._encode)
        shard_id = shard_of(self._dispatcher.routes(), key)
        name = objects.stage(shard_id, parts, self._timeout_s) if shard_id is not None else None
        return packed(staged(name, parts), self._pack_from, self._encode)

    def read(self, key: bytes, guarded: Guarded, absent: Any) -> Any:
        """Return what a read has brought, with the value that its descriptor stands for; `absent` if that is lost."""
        assert type(guarded.header) is Descriptor
        if self._objects is not None:
            found = fetched(guarded.result, self._objects.fetch(guarded.header, self._timeout_s / 2))
            if found is not MISSING:
                return found
        return received(guarded.result, self._dispatcher.run(key, requests.whole(key)), absent)
