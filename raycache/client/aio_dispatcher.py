"""From a request to its answer, for asyncio: routing, retries, and a new topology when the old one fails.

What lives here: what the async handle does with channels and time; the twin of `dispatcher.py`, with the same pure
parts underneath. Belongs to the running loop; in another loop it starts with new connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from raycache.client import background, discovery, forks, requests
from raycache.client.aio_owners import AsyncOwners
from raycache.client.aio_plain import PlainReads
from raycache.client.batches import Batch, GetMany, Part
from raycache.client.channel import Channel
from raycache.client.info import Address, ConnectionInfo, Login
from raycache.client.pending import outcome
from raycache.client.reading import silent, take
from raycache.client.requests import Request
from raycache.client.results import Row
from raycache.client.retry import LOOK_INTERVAL_S, RETRIED, Attempts, Lost, NoOwner, Silent
from raycache.client.routes import NOBODY, Routes, newer
from raycache.client.settings import ClientSettings
from raycache.client.wishes import PLAIN, ReadWishes
from raycache.errors import CallerError, ClusterNotFoundError, RayCacheError
from raycache.ring.slots import slot_of

T = TypeVar("T")

# The channels watch their own deadlines and know what has been sent, so they get the first word.
_GRACE_S: Final = 0.05


def _itself(reply: Any) -> Any:
    return reply


class AsyncDispatcher:
    """One cluster, as the tasks of one loop reach it."""

    def __init__(
        self, info: ConnectionInfo, settings: ClientSettings, refresh_info: Callable[[], ConnectionInfo] | None
    ) -> None:
        self._info = info
        self._settings = settings
        self._refresh_info = refresh_info
        self._routes = newer(None, info.topology, settings.place)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channels: dict[Address, Channel] = {}
        self._searching: asyncio.Task[Exception | None] | None = None
        self.refreshes = 0
        """How often a newer topology has been looked for."""
        self._look_not_before_s = 0.0
        self.written: set[str] = set()
        """Ids of the shards that something has been written to, as far as slots have several copies."""
        self._obstacle: Exception | None = None
        self._closed = False
        self._owners = AsyncOwners(self, settings)
        self.plain = PlainReads(self, settings.timeout_s)
        self.plain.follow(self._routes, self._channels)
        forks.watch(self)

    @property
    def info(self) -> ConnectionInfo:
        """What another process needs to reach the same cluster, with the newest topology known here."""
        topology = self._info.topology if self._routes is None else self._routes.topology.to_bytes()
        return replace(self._info, topology=topology)

    @property
    def login(self) -> Login:
        """How connections begin."""
        return self._info.login

    @property
    def known_routes(self) -> Routes | None:
        """The routes in use now."""
        return self._routes

    async def routes(self) -> Routes:
        """Return the present routes; asks for them if none are known.

        Raises:
            RayCacheError: nobody could be asked before the deadline.
        """

        async def attempt() -> Routes:
            if self._routes is None:
                raise self._no_owner()
            return self._routes

        return await self.persist(attempt, self._deadline_s())

    async def routes_after(self, shard_id: str) -> Routes:
        """Return the present routes; where slots have several copies, none older than what `shard_id` knows.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        routes = await self.routes()
        if routes.copies > 1:
            data = await self.run_on_shard(shard_id, requests.topology(routes.epoch))
            found = newer(self._routes, data, self._settings.place)
            if found is not None:
                self._adopt(found)
        return await self.routes()

    def look_around(self, failure: Exception) -> None:
        """Look for a newer topology after a read that had to go elsewhere: otherwise every read would have to."""
        now_s = self.running().time()
        if now_s >= self._look_not_before_s:
            self._look_not_before_s = now_s + LOOK_INTERVAL_S
            self._search_if_idle(failure)

    async def run(self, key: bytes, request: Request[T]) -> T:
        """Run a single-key request on the key's shard. HOT.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        deadline_s = self._deadline_s()
        slot = slot_of(key)
        routes = self._routes
        if routes is not None and routes.copies > 1:
            return await self._owners.run(key, slot, request, deadline_s)
        refreshes = self.refreshes
        try:  # written out here, too: nearly every operation is this and no more
            if routes is None or (index := routes.owners[slot]) == NOBODY:
                raise self._no_owner(slot)
            return request.decode(outcome(await self.channel(routes.addresses[index]).submit(request, deadline_s)))
        except RETRIED as error:
            failure = error
        return await self._again(self._attempt(slot, request, deadline_s), failure, refreshes, deadline_s,
                                 repeatable=request.repeatable)

    async def run_again(self, key: bytes, request: Request[T], failure: Exception, deadline_s: float, seen: int) -> T:
        """Run a read whose first attempt has ended with `failure`; `seen` is what `refreshes` was before that.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        slot = slot_of(key)
        if self._routes is not None and self._routes.copies > 1:
            return await self._owners.run_again(key, slot, request, failure, deadline_s)
        if not isinstance(failure, RETRIED):
            raise failure
        return await self._again(self._attempt(slot, request, deadline_s), failure, seen, deadline_s, repeatable=True)

    def _attempt(self, slot: int, request: Request[T], deadline_s: float) -> Callable[[], Awaitable[T]]:
        async def attempt() -> T:
            routes = self._routes
            index = NOBODY if routes is None else routes.owners[slot]
            if routes is None or index == NOBODY:
                raise self._no_owner(slot)
            channel = self.channel(routes.addresses[index])
            return request.decode(outcome(await channel.submit(request, deadline_s)))

        return attempt

    async def read(self, key: bytes, request: Request[T], wishes: ReadWishes) -> T:
        """Run a read of one key that any of its owners may answer.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        if wishes.is_plain or (await self.routes()).copies == 1:
            return await self.run(key, request)
        return await self._owners.read(key, request, wishes)

    async def read_many(self, keys: list[bytes], wishes: ReadWishes) -> list[Row]:
        """Return a row of RC.READ for each of `keys`, from whichever owners answer.

        Raises:
            RayCacheError: one of the keys' slots could not be read; see `raycache.errors`.
        """
        await self.routes()
        return await self._owners.read_many(keys, wishes)

    async def read_values(self, batch: GetMany, wishes: ReadWishes) -> None:
        """Run `batch` over whichever owners answer; errors as `read_many`."""
        if wishes.is_plain or (await self.routes()).copies == 1:
            await self.run_batch(batch)
        else:
            await self._owners.finish(batch, wishes)

    async def clocks(self) -> list[tuple[int, int]]:
        """Return the number and the clock's reading of each shard written to, or of all; nothing with one copy.

        Raises:
            RayCacheError: one of them has not answered.
        """
        return [] if (await self.routes()).copies == 1 else await self._owners.clocks()

    async def run_on_shard(self, shard_id: str, request: Request[T]) -> T | None:
        """Run a request on one shard wherever it lives; None if the shard has left the cluster, or is lost.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        deadline_s = self._deadline_s()

        async def attempt() -> T | None:
            return await self._ask_shard(shard_id, request, deadline_s)

        return await self.persist(attempt, deadline_s, repeatable=request.repeatable)

    async def ask_each(self, shard_ids: list[str], request: Request[T]) -> tuple[list[T], list[str]]:
        """Ask shards once each, all at once; return what those that answered said, and who did not."""
        deadline_s = self._deadline_s()
        # Said in two steps, because mypy would take the list's `T | None` for the request's `T`.
        ask: Callable[[str], Awaitable[T | None]] = partial(self._ask_shard, request=request, deadline_s=deadline_s)
        asked = [ask(shard_id) for shard_id in shard_ids]
        answered: list[T] = []
        silent: list[str] = []
        for shard_id, answer in zip(shard_ids, await asyncio.gather(*asked, return_exceptions=True), strict=True):
            if isinstance(answer, BaseException):
                if not discovery.is_silence(answer):
                    raise answer
                silent.append(shard_id)
            elif answer is not None:
                answered.append(answer)
        return answered, silent

    async def run_batch(self, batch: Batch) -> None:
        """Run an operation on many keys until every shard concerned has answered.

        Raises:
            RayCacheError: one of them did not; the others may have done their part.
        """
        deadline_s = self.running().time() + batch.time_limit_s(self._settings.timeout_s)
        if isinstance(batch, GetMany) and self._routes is not None and self._routes.copies > 1:
            try:
                await self._attempt_batch(batch, deadline_s)
            except RETRIED:
                await self._owners.finish(batch, PLAIN, deadline_s)
            return
        await self.persist(lambda: self._attempt_batch(batch, deadline_s), deadline_s)

    async def close(self) -> None:
        """Close all connections; operations from now on raise."""
        self._closed = True
        await self.disconnect()

    async def disconnect(self) -> None:
        """Close all connections; the next operation opens new ones."""
        if self._searching is not None:
            self._searching.cancel()
        self._drop(set(), CallerError("this handle was closed"))
        # Transports close their sockets in the loop's next turn.
        await asyncio.sleep(0)

    def forget_connections(self) -> None:
        """Start anew in a forked child, or in another loop."""
        self._loop, self._channels, self._searching = None, {}, None
        self.plain.follow(self._routes, self._channels)

    # -- attempts

    async def persist(self, attempt: Callable[[], Awaitable[T]], deadline_s: float, *, repeatable: bool = True) -> T:
        """Try, and after a failure try again with a new topology, until it works or may not be tried any more."""
        seen = self.refreshes
        try:
            return await attempt()
        except RETRIED as error:
            failure = error
        return await self._again(attempt, failure, seen, deadline_s, repeatable=repeatable)

    async def _again(self, attempt: Callable[[], Awaitable[T]], failure: Exception, seen: int, deadline_s: float,
                     *, repeatable: bool) -> T:
        """Go on after a first attempt that has failed; `seen` refreshes had been made when it began."""
        brisk = self._routes is not None and self._routes.copies > 1
        attempts = Attempts(deadline_s, repeatable=repeatable, rng=self._settings.rng, brisk=brisk)
        try:
            async with asyncio.timeout_at(deadline_s + _GRACE_S):
                while True:
                    self._check_open(failure)
                    wait = attempts.after(failure, self.running().time())
                    await asyncio.sleep(wait.delay_s)
                    try:
                        try:
                            await self._refresh(seen, failure)
                        finally:
                            seen = self.refreshes
                        return await attempt()
                    except RETRIED as error:
                        failure = error
        except TimeoutError as error:
            if isinstance(error, RayCacheError):
                raise
            # A waiter without routes waits for the search, so what stops the search is what stops the waiter.
            cause = self._obstacle if isinstance(failure, NoOwner) and self._obstacle is not None else failure
            raise attempts.final(cause) from cause

    async def _ask_shard(self, shard_id: str, request: Request[T], deadline_s: float) -> T | None:
        routes = self._routes
        index = NOBODY if routes is None else routes.index_of_living(shard_id)
        if routes is None or index == NOBODY:
            return None
        channel = self.channel(routes.addresses[index])
        return request.decode(outcome(await channel.submit(request, deadline_s)))

    async def _attempt_batch(self, batch: Batch, deadline_s: float) -> None:
        routes = self._routes
        if routes is None:
            raise self._no_owner()
        orphans, rounds = batch.rounds(self._owners.choice(routes, batch) if routes.copies > 1 else routes)
        batch.failed(orphans)
        failure: Exception | None = self._no_owner() if orphans else None
        for parts in rounds:
            failure = await self._run_round(batch, parts, routes, deadline_s) or failure
        if failure is not None:
            raise failure

    async def _run_round(self, batch: Batch, parts: list[Part], routes: Routes, deadline_s: float) -> Exception | None:
        """Submit every part, then wait for all; return the last failure that may be tried again."""
        failure: Exception | None = None
        futures = []
        # A channel that listens for silence ends what could be read elsewhere.
        from_row = _itself if isinstance(batch, GetMany) and routes.copies > 1 else None
        for part in parts:
            channel = self.channel(routes.addresses[part.shard])
            request = Request(part.frame, _itself, from_row=from_row)
            obstacle = channel.obstacle() if routes.copies > 1 else None
            if obstacle is None and from_row is not None and channel.is_suspect:
                obstacle = channel.silence()
            if obstacle is None:
                if not isinstance(batch, GetMany):
                    self.written.add(routes.shard_ids[part.shard])
                futures.append((part, channel.submit(request, deadline_s)))
            else:
                failure = obstacle
                batch.failed(part.positions)
        for part, future in futures:
            reply = await future
            if isinstance(reply, RETRIED):
                failure = copy(reply)
                batch.failed(part.positions)
            elif isinstance(reply, RayCacheError):
                raise copy(reply)
            else:
                failure = (take(batch, part, reply) if routes.copies > 1 else batch.take(part, reply)) or failure
        return failure

    # -- the topology

    async def refresh(self) -> None:
        """Look for a newer topology now, with all others who do.

        Raises:
            RayCacheError: nobody could be asked.
        """
        await self._refresh(self.refreshes, self._no_owner())

    async def _refresh(self, seen: int, failure: Exception) -> None:
        """Look for a newer topology, unless that has been done since refresh `seen`: one search at a time, for all."""
        if self.refreshes != seen:
            return
        self._search_if_idle(failure)
        assert self._searching is not None
        # Shielded: a waiter that is cancelled must not take the search away from the others.
        error = await asyncio.shield(self._searching)
        if error is not None:
            raise copy(error)

    async def _find_routes(self, failure: Exception) -> Exception | None:
        """Search and adopt; return what went wrong instead of raising it, since perhaps nobody waits any more."""
        deadline_s = self._deadline_s()
        live = {address for address, channel in self._channels.items() if channel.is_live}
        suspects = {address for address, channel in self._channels.items() if channel.is_suspect}
        addresses = discovery.candidates(self._routes, self._info, failure, live, self._settings.rng, suspects)
        try:
            try:
                found = await self._search(addresses, suspects, deadline_s)
            except (*RETRIED, ClusterNotFoundError) as error:
                self._obstacle = error
                if self._refresh_info is None:
                    raise
                found = await self._ask_ray(self._refresh_info, error, deadline_s)
            if found is not None:
                self._obstacle = None
                self._adopt(found)
        except Exception as error:
            return error
        finally:
            self.refreshes += 1
        return None

    async def _search(self, addresses: list[Address], silent: set[Address], deadline_s: float) -> Routes | None:
        search = discovery.search(self._routes, addresses, self._settings.place, self._info.cluster)
        question = requests.topology(0 if self._routes is None else self._routes.epoch, silent)
        answer: discovery.Answer = None
        try:
            address = next(search)
            while True:
                try:
                    answer = await self._question(self.channel(address), question, deadline_s)
                except (*RETRIED, RayCacheError) as error:
                    answer = error
                address = search.send(answer)
        except StopIteration as stop:
            found: Routes | None = stop.value
            return found

    async def _question(
        self, channel: Channel, question: Request[bytes | None], deadline_s: float
    ) -> bytes | None:
        """Ask one shard for a newer topology."""
        now_s = self.running().time()
        if self._routes is None or self._routes.copies == 1:
            limit_s = min(deadline_s, now_s + discovery.ASK_TIMEOUT_S)
            return question.decode(outcome(await channel.submit(question, limit_s)))
        # Only the question is given up early: the connection may have writes under way that are patient.
        future = channel.submit(question, deadline_s)
        await asyncio.wait((future,), timeout=min(discovery.BRISK_ASK_TIMEOUT_S, max(0.0, deadline_s - now_s)))
        if not future.done():
            future.cancel()
            raise silent(*channel.address, discovery.BRISK_ASK_TIMEOUT_S)
        return question.decode(outcome(future.result()))

    async def _ask_ray(
        self, refresh: Callable[[], ConnectionInfo], failure: Exception, deadline_s: float
    ) -> Routes | None:
        try:
            async with asyncio.timeout_at(deadline_s):
                info = await asyncio.wrap_future(background.call(refresh))
        except TimeoutError:
            raise failure from None
        except Exception as error:
            if discovery.worth_raising(error):
                raise
            raise discovery.as_failure(error) from error
        if info.login != self._info.login:
            self._drop(set(), Lost("the cluster has a new secret", sent=True))
        found = discovery.adopt(self._routes, self._info, info, self._settings.place)
        self._info = info
        return found

    def _adopt(self, routes: Routes) -> None:
        """Use `routes` from now on. What is in flight to shards that have left is tried again with the new ones."""
        self._routes = routes
        self._drop(set(routes.addresses), Lost("the shard has left the cluster", sent=True))
        if routes.copies > 1:
            for channel in self._channels.values():
                channel.listen(self._on_silence)
                self._give_up_if_replaced(channel)

    def _on_silence(self, channel: Channel) -> None:
        """Look for a newer topology while a shard is silent: others may have taken over what waits for it."""
        if not self._give_up_if_replaced(channel):
            self._search_if_idle(Silent(f"{channel.name} does not answer"))

    def _search_if_idle(self, failure: Exception) -> None:
        if self._searching is None or self._searching.done():
            self._searching = self.running().create_task(self._find_routes(failure))

    def _give_up_if_replaced(self, channel: Channel) -> bool:
        if not channel.is_silent or self._routes is None or not self._routes.is_retired(channel.address):
            return False
        channel.fail(Lost(f"{channel.name} does not answer, and others have taken over", sent=True))
        return True

    def _drop(self, kept: set[Address], failure: Exception) -> None:
        for address in self._channels.keys() - kept:
            self._channels.pop(address).close(failure)
        self.plain.follow(self._routes, self._channels)

    def channel(self, address: Address) -> Channel:
        self._check_open(None)
        loop = self.running()
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = Channel(address, self._info.login, self._settings, loop)
            if self._routes is not None and self._routes.copies > 1:
                channel.listen(self._on_silence)
            self.plain.follow(self._routes, self._channels)
        return channel

    def running(self) -> asyncio.AbstractEventLoop:
        """Return the running loop, and start anew if it is not the one that the connections belong to."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self.forget_connections()
            self._loop = loop
        return loop

    def _deadline_s(self) -> float:
        return self.running().time() + self._settings.timeout_s

    def _no_owner(self, slot: int | None = None) -> NoOwner:
        if self._routes is None:
            return NoOwner("the cluster's topology is not known yet")
        return NoOwner("nobody serves some of the keys" if slot is None else f"nobody serves slot {slot}")

    def _check_open(self, failure: Exception | None) -> None:
        if self._closed:
            raise CallerError("this handle is closed") from failure
