"""One shard of several that may: reads that go from copy to copy, and writes where any owner takes them.

What lives here: the async handle's ways around a shard that is lost, silent or behind; the twin of `owners.py`, with
the same pure parts underneath. Belongs to the dispatcher's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from raycache.client import requests
from raycache.client.batches import Batch, GetMany, Part
from raycache.client.pending import outcome
from raycache.client.reading import ManyReads, OneRead, silent
from raycache.client.requests import Request
from raycache.client.results import Row
from raycache.client.retry import RETRIED, Alone, Failure, Lost, Moved, NoOwner, Refusals, TooFew, elsewhere
from raycache.client.routes import NOBODY, Choice, Routes
from raycache.client.settings import ClientSettings
from raycache.client.wishes import PLAIN, ReadWishes
from raycache.errors import AuthenticationError, NotEnoughReplicasError
from raycache.ring.slots import slot_of

if TYPE_CHECKING:
    from raycache.client.aio_dispatcher import AsyncDispatcher
    from raycache.client.channel import Channel

T = TypeVar("T")


class AsyncOwners:
    """All owners of each slot, as the tasks of one loop reach them."""

    def __init__(self, dispatcher: AsyncDispatcher, settings: ClientSettings) -> None:
        self._dispatcher = dispatcher
        self._settings = settings

    async def run(self, key: bytes, slot: int, request: Request[T], deadline_s: float) -> T:
        """Run a single-key request on the key's shard; a read elsewhere, if that does not answer. HOT.

        Raises:
            RayCacheError: see `raycache.errors`.
        """

        async def attempt() -> T:
            return await self._attempt(slot, request, deadline_s)

        from_row = request.from_row
        if from_row is None:
            return await self._dispatcher.persist(attempt, deadline_s, repeatable=request.repeatable)
        try:
            return await attempt()
        except (*RETRIED, NotEnoughReplicasError) as error:
            failure: Exception = error
        return await self.run_again(key, slot, request, failure, deadline_s)

    async def run_again(self, key: bytes, slot: int, request: Request[T], failure: Exception, deadline_s: float) -> T:
        """Run a read elsewhere whose first attempt has ended with `failure`.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        assert request.from_row is not None
        read = OneRead(key, request.from_row, PLAIN, self._settings.hedge_s, self._settings.timeout_s)
        return await self._dispatcher.persist(self._after(slot, read, failure, deadline_s), deadline_s)

    async def read(self, key: bytes, request: Request[T], wishes: ReadWishes) -> T:
        """Run a read with wishes.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        assert request.from_row is not None
        slot, deadline_s = slot_of(key), self._now_s() + self._settings.timeout_s
        read = OneRead(key, request.from_row, wishes, self._settings.hedge_s, self._settings.timeout_s)
        return await self._dispatcher.persist(lambda: self._read(slot, read, deadline_s), deadline_s)

    async def read_many(self, keys: list[bytes], wishes: ReadWishes, deadline_s: float | None = None) -> list[Row]:
        """Return a row of RC.READ for each of `keys`.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        settings = self._settings
        reads = ManyReads(keys, wishes, settings.hedge_s, settings.timeout_s)
        if self._routes().copies == 1:
            await self._dispatcher.run_batch(reads)
            return reads.rows
        limit_s = self._now_s() + reads.time_limit_s(settings.timeout_s) if deadline_s is None else deadline_s
        await self._dispatcher.persist(lambda: self._attempt_many_soon(reads, limit_s), limit_s)
        return reads.rows

    async def finish(self, batch: GetMany, wishes: ReadWishes, deadline_s: float | None = None) -> None:
        """Read what has not been answered of a batch."""
        left, batch.pending = batch.pending, []
        rows = await self.read_many([batch.keys[position] for position in left], wishes, deadline_s)
        for position, value in zip(left, batch.read([row[0] for row in rows]), strict=True):
            batch.values[position] = value

    async def clocks(self) -> list[tuple[int, int]]:
        """Return the number and the clock's reading of each living shard that has been written to, or of all.

        Raises:
            RayCacheError: one of them has not answered.
        """
        read: dict[str, tuple[int, int]] = {}

        async def attempt() -> None:
            living, written = self._routes().living(), self._dispatcher.written
            wanted = [shard_id for shard_id in living if shard_id not in read and (shard_id in written or not written)]
            answered, silent_ones = await self._dispatcher.ask_each(wanted, requests.clock())
            read.update({f"s{index}": (index, version) for index, version in answered})
            if silent_ones:
                raise Lost(f"no answer from {', '.join(silent_ones)}")

        await self._dispatcher.persist(attempt, self._now_s() + self._settings.timeout_s)
        return [*read.values(), *self._routes().readings_of_the_lost(self._dispatcher.written)]

    def choice(self, routes: Routes, batch: Batch) -> Choice:
        """Return whom a plain batch is sent to: the primaries; where any owner takes writes, none that is silent."""
        if not routes.takes_writes_anywhere or isinstance(batch, GetMany):
            return routes
        suspects = self._suspects(routes)
        return routes.around("primary", frozenset(suspects)) if suspects else routes

    async def _attempt(self, slot: int, request: Request[T], deadline_s: float) -> T:
        """Run a request at the primary; a write, where any owner takes those, at one that is not silent."""
        routes = self._routes()
        index = routes.owners[slot]
        if routes.takes_writes_anywhere and request.from_row is None:
            owners = routes.in_order(slot, "primary")
            index = next((owner for owner in owners if not self._channel(routes, owner).is_suspect), index)
        if index == NOBODY:
            raise NoOwner(f"nobody serves slot {slot}")
        channel = self._channel(routes, index)
        obstacle = channel.obstacle()
        if obstacle is not None:
            raise obstacle
        if request.from_row is not None:
            if channel.is_suspect and self._is_anybody_else_trusted(routes, slot):
                raise channel.silence()
            return request.decode(outcome(await channel.submit(request, deadline_s)))
        try:
            return await self._write(routes, index, request, deadline_s)
        except NotEnoughReplicasError as error:
            if not isinstance(elsewhere(error, is_read=False), TooFew) or not routes.takes_writes_anywhere:
                raise
            refusal = error
        return await self._soon(lambda: self._ask_each(slot, request, refusal, deadline_s), deadline_s, is_read=False)

    async def _soon(self, attempt: Callable[[], Awaitable[T]], deadline_s: float, *, is_read: bool = True) -> T:
        """Do `attempt`, for a moment again and again if too few copies are alive for it."""
        alone: Alone | None = None
        while True:
            try:
                return await attempt()
            except NotEnoughReplicasError as refusal:
                if not self._routes().takes_writes_anywhere:
                    raise
                alone = alone or Alone(self._now_s(), deadline_s, is_read=is_read, rng=self._settings.rng)
                await asyncio.sleep(alone.after(refusal, self._now_s()))

    async def _read(self, slot: int, read: OneRead[T], deadline_s: float) -> T:
        return await self._soon(lambda: self._ask_around(slot, read, deadline_s), deadline_s)

    async def _attempt_many_soon(self, reads: ManyReads, deadline_s: float) -> None:
        await self._soon(lambda: self._attempt_many(reads, deadline_s), deadline_s)

    async def _ask_each(
        self, slot: int, request: Request[T], refusal: NotEnoughReplicasError, deadline_s: float
    ) -> T:
        """Run a write that one owner could not do alone at one that can."""
        routes = self._routes()
        first, *others = routes.in_order(slot, "primary")
        for index in (*others, first):
            try:
                return await self._write(routes, index, request, deadline_s)
            except (Failure, NotEnoughReplicasError) as error:
                if isinstance(error, Failure) and error.sent and not request.repeatable:
                    raise
                if not isinstance(elsewhere(error, is_read=False), Failure):
                    raise
        raise refusal

    async def _write(self, routes: Routes, index: int, request: Request[T], deadline_s: float) -> T:
        if not request.is_question:
            self._dispatcher.written.add(routes.shard_ids[index])
        return request.decode(outcome(await self._channel(routes, index).submit(request, deadline_s)))

    def _after(
        self, slot: int, read: OneRead[T], failure: Exception, deadline_s: float
    ) -> Callable[[], Awaitable[T]]:
        """Return the attempts of a read whose first has ended with `failure`."""
        # A topology that is old names the wrong owners; else somebody else may know, at once.
        is_wrong = isinstance(failure, Moved | NoOwner | AuthenticationError)

        async def attempt() -> T:
            nonlocal is_wrong
            if is_wrong:
                is_wrong = False
                raise failure
            return await self._read(slot, read, deadline_s)

        return attempt

    async def _ask_around(self, slot: int, read: OneRead[T], deadline_s: float) -> T:
        """Ask one owner after the other, until one answers."""
        routes, refusals, patience_s = self._routes(), Refusals(), read.patience_s
        suspects = self._suspects(routes)
        for index, request in read.round(routes, slot, suspects.__contains__):
            try:
                channel = self._channel(routes, index)
                reply = await self._ask(channel, request, deadline_s, patience_s, can_wait=read.can_wait)
            except (*RETRIED, NotEnoughReplicasError) as error:
                refusals.add(error)
            else:
                if suspects or refusals:
                    self._dispatcher.look_around(refusals.verdict())
                return request.decode(reply)
        raise refusals.verdict()

    async def _ask(
        self, channel: Channel, request: Request[Any], deadline_s: float, patience_s: float, *, can_wait: bool
    ) -> Any:
        """Return the reply to a read, but wait for it no longer than `patience_s`.

        Raises:
            Failure, RayCacheError: what it stands for, if it is none.
        """
        obstacle = channel.obstacle()
        if obstacle is not None:
            raise obstacle
        future = channel.submit(request, deadline_s)
        patience_s = max(patience_s, channel.patience_s)
        while True:
            heard = channel.heard
            await asyncio.wait((future,), timeout=min(patience_s, max(0.0, deadline_s - self._now_s())))
            # A shard that answers others is there and has much to do; to be asked elsewhere, too, makes that more.
            if future.done() or channel.heard == heard or self._now_s() >= deadline_s:
                break
        if not future.done():
            future.cancel()
            if not can_wait:
                channel.suspect()
            raise silent(*channel.address, patience_s)
        return outcome(future.result())

    async def _attempt_many(self, reads: ManyReads, deadline_s: float) -> None:
        routes = self._routes()
        suspects = self._suspects(routes)
        reads.start(suspects)
        while reads.pending:
            has_sent = False
            for parts in reads.next_parts(routes):
                has_sent = True
                await asyncio.gather(*[self._read_part(reads, part, routes, deadline_s) for part in parts])
            if not has_sent:
                reads.end()
                raise reads.refusals.verdict()
        if suspects or reads.refusals:
            self._dispatcher.look_around(reads.refusals.verdict())

    async def _read_part(self, reads: ManyReads, part: Part, routes: Routes, deadline_s: float) -> None:
        channel, request = self._channel(routes, part.shard), Request(part.frame, lambda reply: reply)
        try:
            reads.accept(part, await self._ask(channel, request, deadline_s, reads.patience_s,
                                               can_wait=reads.can_wait))
        except (*RETRIED, NotEnoughReplicasError) as error:
            reads.refused(part, error)

    def _suspects(self, routes: Routes) -> set[int]:
        return {index for index in range(len(routes.addresses)) if self._channel(routes, index).is_suspect}

    def _is_anybody_else_trusted(self, routes: Routes, slot: int) -> bool:
        """Return whether some owner of a slot has answered lately: where none has, the first may as well be asked."""
        return not all(self._channel(routes, owner).is_suspect for owner in routes.in_order(slot, "primary"))

    def _channel(self, routes: Routes, index: int) -> Channel:
        return self._dispatcher.channel(routes.addresses[index])

    def _routes(self) -> Routes:
        routes = self._dispatcher.known_routes
        if routes is None:
            raise NoOwner("the cluster's topology is not known yet")
        return routes

    def _now_s(self) -> float:
        return self._dispatcher.running().time()
