"""The near cache of a `Cache`: values that are here, one fetch for all threads that miss a key, own writes.

What lives here: `Near`, and `NearDispatcher`, which tells it of the handle's own writes. What does not: what may be
served and kept (`raycache.near`), how changes are heard of (`near_link.py`), the same for asyncio (`aio_near.py`). Any
thread.
"""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar

from raycache.client import near_wire
from raycache.client.batches import Batch, GetMany
from raycache.client.dispatcher import Dispatcher
from raycache.client.guarded import Guarded, header_in, opened
from raycache.client.info import ConnectionInfo
from raycache.client.latch import Latch
from raycache.client.near_link import Links
from raycache.client.near_parts import (
    Looked,
    NearSettings,
    at_once,
    found_many,
    holds,
    known,
    land_many,
    source_of_key,
    source_of_shard,
    together,
    too_late,
)
from raycache.client.near_wire import Answer, NearAgedMany, NearMany
from raycache.client.reading import ManyReads
from raycache.client.requests import MISSING, Request
from raycache.client.settings import ClientSettings
from raycache.codec.loaded import Header
from raycache.errors import RayCacheError
from raycache.loading.found import Found
from raycache.loading.options import LoadOptions
from raycache.near import ABSENT, Flight, NearStats, NearTable

T = TypeVar("T")


class Near:
    """One handle's values, links and flights.

    Args:
        dispatcher: reads what is not here.
    """

    def __init__(self, dispatcher: NearDispatcher, settings: ClientSettings, near: NearSettings) -> None:
        self._dispatcher = dispatcher
        self._timeout_s = settings.timeout_s
        self.settings = near
        self.table = dispatcher.table_of_near = NearTable(near.capacity_bytes, opened, threading.Lock(),
                                                                (Guarded,), header_in)
        self._find = self.table.find
        self._links = Links(self.table, settings, near.max_staleness_s, lambda: dispatcher.login, whole=near.whole)

    def get(self, key: bytes) -> Any:
        """Return the value of `key`, MISSING if it is absent. HOT.

        Raises:
            Guarded: it needs another look.
            RayCacheError: see `raycache.errors`.
        """
        try:
            value = self._find(key, monotonic())
            if value is not ABSENT:
                return value
            payload = (self._answer(key)).payload
            return MISSING if payload is None else opened(payload)
        except Guarded as guarded:
            guarded.is_near = True
            raise

    def get_many(self, keys: Sequence[bytes]) -> tuple[list[Any], bool]:
        """Return what a plain read of many keys brings (see `GetMany`), and whether some of it needs another look.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        values = found_many(self.table, keys, monotonic())
        absent = list(dict.fromkeys([key for key, value in zip(keys, values, strict=True) if value is ABSENT]))
        if not absent:
            return together(keys, values, {})
        fetched = self._fetch_many(absent, NearMany)
        return together(keys, values, fetched)

    # For loading

    def at_once(self, key: bytes, options: LoadOptions, rng: random.Random) -> Any:
        """Return the value of a plain hit; else IS_DUE or NOT_PLAIN. HOT."""
        return at_once(self.table, key, monotonic(), options, rng)

    def known(self, key: bytes) -> Found | None:
        """Return what is here of a key."""
        return known(self.table, key, monotonic())

    def fetch(self, keys: Sequence[bytes], tags: Sequence[bytes]) -> tuple[list[Any], dict[bytes, int | None]]:
        """Do `raycache.loading.steps.Fetch`: what is here from here, the rest in one round trip."""
        looked = Looked(self.table, keys, tags, monotonic())
        absent = looked.absent
        if len(absent) == 1:
            answer = self._answer(absent[0])
            return looked.result({absent[0]: NearAgedMany.of(answer)})
        return looked.result(self._fetch_many(absent, NearAgedMany) if absent else {})

    def vouch(self, asked: Sequence[tuple[bytes, Header]]) -> list[bool]:
        """Return for each key and header whether it surely holds; if not, the shards have to be asked."""
        tags = list(dict.fromkeys(tag for _, header in asked for tag, _ in header.tags))
        _, generations = self.fetch((), tags)
        now_s = monotonic()
        return [holds(self.table, key, header, generations, now_s) for key, header in asked]

    def stats(self) -> NearStats:
        """Return what is counted."""
        return self.table.stats(self._links.count())

    def close(self) -> None:
        """End the links and forget everything."""
        self._links.close()
        self.table.clear()

    # Fetching

    def _answer(self, key: bytes) -> Answer:
        """Return what a shard has for `key`; all who miss it at the same time share one answer."""
        flight, is_mine = self.table.join(key, Latch)
        return self._lead(flight) if is_mine else self._follow(flight)

    def _lead(self, flight: Flight) -> Answer:
        key, answer, source, sent_s = flight.key, Answer(None), None, monotonic()
        try:
            source = source_of_key(self._dispatcher.table.routes, key, self._links)
            answer = self._dispatcher.run(key, near_wire.read(key, source))
            flight.answer = answer
        except BaseException as error:
            flight.error = error
            raise
        finally:
            self.table.land(flight, source, answer.payload, answer.left_ms, sent_s)
            flight.done.set()
        return answer

    def _follow(self, flight: Flight) -> Answer:
        if not flight.done.wait(self._timeout_s):
            raise too_late()
        if isinstance(flight.error, RayCacheError):
            raise copy.copy(flight.error) from flight.error
        if flight.error is not None:  # something of its own, such as a signal's: that concerns nobody else
            return self._answer(flight.key)
        answer: Answer = flight.answer
        return answer

    def _fetch_many(self, keys: list[bytes], kind: type[NearMany]) -> dict[bytes, Any]:
        joined = [self.table.join(key, Latch) for key in keys]
        mine = [flight for flight, is_mine in joined if is_mine]
        batch = kind([flight.key for flight in mine],
                     lambda shard: source_of_shard(self._dispatcher.table.routes, shard, self._links))
        sent_s, failure = monotonic(), None
        try:
            if mine:
                self._dispatcher.run_batch(batch)
        except BaseException as error:
            failure = error
            raise
        finally:
            land_many(self.table, batch, mine, failure, sent_s)
            for flight in mine:
                flight.done.set()
        fetched = dict(zip(batch.keys, batch.values, strict=True))
        for flight, is_mine in joined:
            if not is_mine:
                fetched[flight.key] = kind.of(self._follow(flight))
        return fetched


class NearDispatcher(Dispatcher):
    """A dispatcher that tells the near cache which keys its handle has written, whoever wrote them and how.

    When a write returns, nothing of before is served or kept: not what is here, and not what is being fetched. So it is
    when a write fails, for it may have happened.
    """

    table_of_near: NearTable

    def run(self, key: bytes, request: Request[T]) -> T:
        """Run a single-key request; see `Dispatcher`."""
        if not near_wire.may_write(request.frame):
            return super().run(key, request)
        try:
            return super().run(key, request)
        finally:
            self.table_of_near.forget((key,))

    def run_batch(self, batch: Batch) -> None:
        """Run an operation on many keys; see `Dispatcher`."""
        try:
            super().run_batch(batch)
        finally:
            if not isinstance(batch, GetMany | ManyReads):
                self.table_of_near.forget(batch.keys)

    def run_on_shard(self, shard_id: str, request: Request[T]) -> T | None:
        """Run a request on one shard; see `Dispatcher`."""
        try:
            return super().run_on_shard(shard_id, request)
        finally:
            if near_wire.may_write(request.frame):
                self.table_of_near.clear()


def dispatcher_for(near: NearSettings | None, info: ConnectionInfo, settings: ClientSettings,
                   refresh_info: Callable[[], ConnectionInfo] | None) -> tuple[Dispatcher, Near | None]:
    """Return a handle's dispatcher, and its near cache if it has one."""
    if near is None:
        return Dispatcher(info, settings, refresh_info), None
    dispatcher = NearDispatcher(info, settings, refresh_info)
    return dispatcher, Near(dispatcher, settings, near)
