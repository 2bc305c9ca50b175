"""Loading through the cache, for asyncio: what the engine asks for, done with channels, tasks and futures.

What lives here: the async handle's driver of `raycache.loading`, the twin of `through.py`. What does not: any
decision about values, and the public names (`aio_loads.py`). Belongs to the running loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import monotonic
from typing import Any, Final, TypeVar

from raycache.client import forks, leasing
from raycache.client.aio_dispatcher import AsyncDispatcher
from raycache.client.aio_near import AsyncNear
from raycache.client.aio_waits import AsyncWaits
from raycache.client.arguments import encoded
from raycache.client.guarded import Guarded
from raycache.client.large_aio import AsyncLargeValues
from raycache.client.settings import ClientSettings
from raycache.client.unsealing import unsealed
from raycache.codec import Pickles
from raycache.codec.loaded import Header
from raycache.errors import CallerError, DeadlineExceededError, PickleRefusedError, RayCacheError
from raycache.loading import steps
from raycache.loading.basics import in_no_load, loading
from raycache.loading.engine import Engine
from raycache.loading.guarding import still_good
from raycache.loading.steps import Answer, Filling, Flight, Outcome, Steps

T = TypeVar("T")

MAX_REFRESHES: Final = 64
"""Loads in the background at a time."""


class TaskFlights:
    """The loads under way in one handle, for tasks."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight] = {}

    def join(self, key: bytes) -> tuple[Flight, bool]:
        """Return the key's flight, and whether it is new."""
        flight = self._flights.get(key)
        if flight is not None:
            return flight, False
        flight = self._flights[key] = Flight(key, asyncio.Event())
        return flight, True

    def finish(self, flight: Flight, outcome: Outcome) -> None:
        """End a flight."""
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        flight.outcome = outcome
        flight.done.set()

    def forget(self) -> None:
        """Start anew in a forked child, or in another loop."""
        self._flights = {}


class AsyncThrough:
    """Drives one handle's engine."""

    def __init__(self, dispatcher: AsyncDispatcher, settings: ClientSettings, cluster: str,
                 large: AsyncLargeValues, pickles: Pickles | None = None) -> None:
        self._dispatcher = dispatcher
        self._large = large
        self._pickles = pickles
        self.near: AsyncNear | None = None
        """Set where reads may be answered from what is kept near."""
        self._waits = AsyncWaits(dispatcher, settings)
        self._flights = TaskFlights()
        self._refreshes = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.engine = Engine(self._flights, cluster, monotonic, settings.rng, settings.timeout_s, pickles,
                             large.split)
        self._do: Final[dict[type, Callable[[Any], Awaitable[Any]]]] = {
            steps.Fetch: self._fetch, steps.TakeLeases: self._take, steps.WaitForLease: self._wait,
            steps.Fill: self._fill, steps.Bring: self._bring, steps.Free: self._free,
            steps.Generations: self._generations, steps.Call: self._call, steps.Join: self._join,
            steps.Spawn: self._spawn, steps.Look: self._look, steps.CompareAndSet: self._compare_and_set,
            steps.Pause: self._pause,
        }
        forks.watch(self)

    async def run(self, work: Steps[T]) -> T:
        """Do all that `work` asks for; return what it returns, raise what it raises."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None:
                self.forget_connections()
            self._loop = loop
        do = self._do
        try:
            wanted = next(work)
            while True:
                try:
                    result = await do[type(wanted)](wanted)
                except BaseException as error:
                    wanted = work.throw(error)
                else:
                    wanted = work.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value

    async def close(self) -> None:
        """End the background work, and close the connections for waiting."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._waits.close(CallerError("this handle was closed"))

    def forget_connections(self) -> None:
        """Start anew in a forked child, or in another loop."""
        self._flights.forget()
        self._waits.forget()
        self._tasks, self._refreshes, self._loop = set(), 0, None

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # The second look

    async def again(self, key: bytes, guarded: Guarded, absent: Any) -> Any:
        """Return what a read has brought if it still counts, else `absent`."""
        is_good = guarded.header is None or (await self._are_good([(key, guarded.header)], is_near=guarded.is_near))[0]
        return await self._taken(key, guarded, absent) if is_good else absent

    async def _are_good(self, asked: list[tuple[bytes, Header]], *, is_near: bool) -> list[bool]:
        """Return which values still count; `is_near`: what the near cache says for one is enough."""
        near = self.near if is_near else None
        if near is None:
            return await self.run(still_good(asked))
        are_good = await near.vouch(asked)
        open_at = [at for at, is_good in enumerate(are_good) if not is_good]
        if open_at:
            for at, is_good in zip(open_at, await self.run(still_good([asked[at] for at in open_at])), strict=True):
                are_good[at] = is_good
        return are_good

    async def settle(self, keys: Sequence[bytes], values: list[Any], absent: Any) -> None:
        """Put into `values`, in the place of each Guarded, what it brought if that still counts, else `absent`."""
        open_at = [(at, value) for at, value in enumerate(values) if type(value) is Guarded]
        asked = [(keys[at], value.header) for at, value in open_at if value.header is not None]
        is_near = all(value.is_near for _, value in open_at)
        verdicts = iter((await self._are_good(asked, is_near=is_near)) if asked else ())
        for at, value in open_at:
            is_good = value.header is None or next(verdicts)
            values[at] = await self._taken(keys[at], value, absent) if is_good else absent

    async def _taken(self, key: bytes, guarded: Guarded, absent: Any) -> Any:
        """Return what a read has brought that counts; `absent` if its object is lost."""
        if guarded.descriptor is None:
            return unsealed(guarded.result, self._pickles)
        try:
            return await self._large.read(key, guarded, absent)
        except Guarded as whole:
            if whole.header is None or (guarded.header is not None and whole.header.mark == guarded.header.mark):
                return unsealed(whole.result, self._pickles)
            return await self.again(key, whole, absent)

    # What the engine asks for

    async def _fetch(self, wanted: steps.Fetch) -> tuple[list[Any], dict[bytes, int | None]]:
        if wanted.may_be_near and self.near is not None:
            wanted.was_near = True
            return await self.near.fetch(wanted.keys, wanted.tags)
        if len(wanted.keys) == 1 and not wanted.tags:
            return [await self._dispatcher.run(wanted.keys[0], leasing.fetch(wanted.keys[0]))], {}
        batch = leasing.FetchMany([*wanted.keys, *wanted.tags])
        await self._dispatcher.run_batch(batch)
        at = len(wanted.keys)
        return batch.values[:at], dict(zip(wanted.tags, map(leasing.generation_of, batch.values[at:]), strict=True))

    async def _take(self, wanted: steps.TakeLeases) -> list[Answer]:
        """Ask in a task of its own: if the caller is cancelled, what it would have got is given up."""
        asking = self._start(self._ask_for(wanted))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(lambda done: self._give_up(wanted, done))
            raise

    async def _ask_for(self, wanted: steps.TakeLeases) -> list[Answer]:
        if len(wanted.keys) == 1:
            key = wanted.keys[0]
            return await self._dispatcher.run(key, leasing.take_lease(key, wanted.seen[0], wanted.lease_s))
        batch = leasing.TakeMany(list(wanted.keys), wanted.seen, wanted.lease_s)
        await self._dispatcher.run_batch(batch)
        return batch.answers

    def _give_up(self, wanted: steps.TakeLeases, done: asyncio.Task[list[Answer]]) -> None:
        if not done.cancelled() and done.exception() is None:
            held = [(key, answer) for key, answer in zip(wanted.keys, done.result(), strict=True)
                    if isinstance(answer, int) and answer > 0]
            if held:
                self._start(self._send_free(steps.Free(held)))

    async def _wait(self, wanted: steps.WaitForLease) -> Answer | None:
        try:
            return (await self._waits.run(wanted.key, leasing.wait_for_lease(wanted), wanted.wait_s))[0]
        except DeadlineExceededError:
            return None

    async def _fill(self, wanted: steps.Fill) -> list[int]:
        try:
            return await self._large.fill(wanted.fillings, self._send)
        except PickleRefusedError:  # it never could be: better an error than a load each time
            raise
        except RayCacheError:  # no shard is known: the caller has its value whether or not it could be stored
            return [0] * len(wanted.fillings)

    async def _send(self, fillings: list[Filling]) -> list[int]:
        batch = leasing.FillMany(fillings)
        try:
            await self._dispatcher.run_batch(batch)
        except PickleRefusedError:
            raise
        except RayCacheError:  # some may have been stored
            pass
        return batch.stored

    async def _bring(self, wanted: steps.Bring) -> tuple[bool, Any]:
        return await self._large.bring(wanted.key, wanted.descriptor)

    async def _free(self, wanted: steps.Free) -> None:
        """Send it in the background: its caller may have been cancelled, and need not wait for this."""
        self._start(self._send_free(wanted))

    async def _send_free(self, wanted: steps.Free) -> None:
        with contextlib.suppress(RayCacheError):  # then the deadline frees it
            await self._dispatcher.run_batch(leasing.FreeMany(wanted.leases, wanted.text))

    async def _generations(self, wanted: steps.Generations) -> dict[bytes, int]:
        batch = leasing.MakeGenerations(list(wanted.tags))
        await self._dispatcher.run_batch(batch)
        return dict(zip(wanted.tags, batch.numbers, strict=True))

    async def _call(self, wanted: steps.Call[Any]) -> Any:
        with loading(self.engine.cluster, wanted.keys):
            value = wanted.function(*wanted.arguments)
            return await value if inspect.isawaitable(value) else value

    async def _join(self, wanted: steps.Join) -> bool:
        try:
            async with asyncio.timeout(wanted.timeout_s):
                await wanted.flight.done.wait()
        except TimeoutError:
            return False
        return True

    async def _spawn(self, wanted: steps.Spawn) -> bool:
        if self._refreshes >= MAX_REFRESHES:
            wanted.work.close()
            return False
        self._refreshes += 1
        self._start(self._refresh(wanted.work))
        return True

    async def _refresh(self, work: Steps[None]) -> None:
        in_no_load()
        try:
            await self.run(work)
        finally:
            self._refreshes -= 1

    async def _look(self, wanted: steps.Look) -> tuple[int, bytes] | None:
        return await self._dispatcher.run(wanted.key, leasing.look(wanted.key))

    async def _compare_and_set(self, wanted: steps.CompareAndSet) -> bool:
        async def send(value: Any) -> bool:
            kind, data = encoded(value, self.engine.encode)
            request = leasing.compare_and_set(wanted.key, wanted.version, kind, data, wanted.px)
            return await self._dispatcher.run(wanted.key, request)

        return await self._large.write(wanted.key, wanted.value, send)

    async def _pause(self, wanted: steps.Pause) -> None:
        await asyncio.sleep(wanted.seconds)
