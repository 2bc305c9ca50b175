"""Ray's object store as a handle uses it: giving objects to shards, and views of them to readers.

What lives here: `RayObjectStore`, one for each cluster and process. What does not: which values come here
(`raycache.client.large`), the shard's side (`objects`). Any thread.

A reader keeps the references that it has made of shards' replies (`object_refs`): the next read of the same value needs
no more than a look into shared memory. They are not counted, so they keep nothing alive. Views do: Ray does not reuse
the memory of an object while somebody has one.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict
from typing import Any, Final

from raycache.actors import calls, objects
from raycache.actors.object_refs import reference_to
from raycache.codec.parts import Parts
from raycache.descriptor import NAME_BYTES, Descriptor

log = logging.getLogger(__name__)

MAX_REFERENCES: Final = 1024
"""Kept by a process; each is some hundred bytes."""


class RayObjectStore:
    """One cluster's objects, as this process reaches them."""

    def __init__(self, cluster: str, large_from: int, most_bytes: int) -> None:
        """Connect to nothing yet.

        Args:
            large_from: values of so many bytes become objects.
            most_bytes: what a shard may own; larger ones are not offered.
        """
        self.large_from = large_from
        self._cluster = cluster
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._shards: dict[str, calls.ShardHandle] = {}
        self._references: OrderedDict[bytes, Any] = OrderedDict()

    def stage(self, shard_id: str, parts: Parts, timeout_s: float) -> bytes | None:
        """Let a shard own an object; return its name there, None if that did not work."""
        size = parts.size_bytes
        if size > self._most_bytes:
            return None
        name = secrets.token_bytes(NAME_BYTES)
        try:
            ref = objects.put(parts)
            is_taken = calls.stage_object(self._shard(shard_id), name, parts.kind, size, ref, timeout_s)
        except Exception as error:  # Ray has a dozen kinds, and there is another way for the value
            self._forget(shard_id)
            log.info("shard %s takes no object: %s: %s", shard_id, type(error).__name__, str(error).partition("\n")[0])
            return None
        return name if is_taken else None

    def fetch(self, descriptor: Descriptor, timeout_s: float) -> Parts | None:
        """Return the parts of a value, None if its object cannot be reached from here."""
        with self._lock:
            ref = self._references.get(descriptor.where)
        if ref is None:
            ref = self._reference(descriptor, timeout_s)
            if ref is None:
                return None
        try:
            return objects.get(ref, timeout_s)
        except Exception as error:
            with self._lock:
                self._references.pop(descriptor.where, None)
            log.info("an object cannot be had: %s: %s", type(error).__name__, str(error).partition("\n")[0])
            return None

    def _reference(self, descriptor: Descriptor, timeout_s: float) -> Any:
        ref = reference_to(descriptor.where)
        if ref is not None:
            with self._lock:
                self._references[descriptor.where] = ref
                if len(self._references) > MAX_REFERENCES:
                    self._references.popitem(last=False)
            return ref
        try:  # a counted one, for this read: kept, it would keep the object
            return calls.borrow_object(self._shard(descriptor.holder), descriptor.name, timeout_s)
        except Exception as error:
            self._forget(descriptor.holder)
            log.info("shard %s lends nothing: %s", descriptor.holder, error or type(error).__name__)
            return None

    def _shard(self, shard_id: str) -> calls.ShardHandle:
        with self._lock:
            handle = self._shards.get(shard_id)
        if handle is None:
            handle = calls.find_shard(self._cluster, shard_id)
            with self._lock:
                self._shards[shard_id] = handle
        return handle

    def _forget(self, shard_id: str) -> None:
        with self._lock:
            self._shards.pop(shard_id, None)


_stores: dict[tuple[str, int, int], RayObjectStore] = {}


def store_of(cluster: str, large_from: int, most_bytes: int) -> RayObjectStore | None:
    """Return this process' way to the objects of a cluster; None where it has none of its own (`ray://`)."""
    if calls.is_remote_client():
        return None
    return _stores.setdefault((cluster, large_from, most_bytes), RayObjectStore(cluster, large_from, most_bytes))
