"""Loading through the cache, for threads: what the engine asks for, done with sockets, locks and threads.

What lives here: the sync handle's driver of `raycache.loading`. What does not: any decision about values, and the
public names (`loads.py`). Any thread.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Sequence
from time import monotonic, sleep
from typing import Any, Final, TypeVar

from raycache.client import forks, leasing
from raycache.client.arguments import encoded
from raycache.client.dispatcher import Dispatcher
from raycache.client.guarded import Guarded
from raycache.client.large_sync import LargeValues
from raycache.client.latch import Latch
from raycache.client.near import Near
from raycache.client.settings import ClientSettings
from raycache.client.shared_reads import SharedReads
from raycache.client.unsealing import unsealed
from raycache.client.waits import Waits, deadline_of
from raycache.client.workers import Workers
from raycache.codec import Pickles
from raycache.codec.loaded import Header
from raycache.errors import CallerError, DeadlineExceededError, PickleRefusedError, RayCacheError
from raycache.loading import steps
from raycache.loading.basics import loading
from raycache.loading.engine import Engine
from raycache.loading.guarding import still_good
from raycache.loading.steps import Answer, Filling, Flight, Outcome, Steps

T = TypeVar("T")


class ThreadFlights:
    """The loads under way in one handle, for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[bytes, Flight] = {}

    def join(self, key: bytes) -> tuple[Flight, bool]:
        """Return the key's flight, and whether it is new."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Flight(key, Latch())
            return flight, True

    def finish(self, flight: Flight, outcome: Outcome) -> None:
        """End a flight."""
        with self._lock:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
        flight.outcome = outcome
        flight.done.set()

    def forget(self) -> None:
        """Start anew in a forked child: whoever leads them is not here."""
        self._lock, self._flights = threading.Lock(), {}


class Through:
    """Drives one handle's engine."""

    def __init__(self, dispatcher: Dispatcher, settings: ClientSettings, cluster: str,
                 large: LargeValues, pickles: Pickles | None = None) -> None:
        self._dispatcher = dispatcher
        self._large = large
        self._pickles = pickles
        self.near: Near | None = None
        """Set where reads may be answered from what is kept near."""
        self._waits = Waits(dispatcher, settings)
        self._workers = Workers()
        self.read: Final = SharedReads(lambda key: dispatcher.run(key, leasing.fetch(key)), settings.timeout_s).read
        """Reads a key as loading sees it. HOT."""
        self._flights = ThreadFlights()
        self.engine = Engine(self._flights, cluster, monotonic, settings.rng, settings.timeout_s, pickles,
                             large.split)
        self._do: Final[dict[type, Callable[[Any], Any]]] = {
            steps.Fetch: self._fetch, steps.TakeLeases: self._take, steps.WaitForLease: self._wait,
            steps.Fill: self._fill, steps.Bring: self._bring, steps.Free: self._free,
            steps.Generations: self._generations, steps.Call: self._call, steps.Join: self._join,
            steps.Spawn: self._spawn, steps.Look: self._look, steps.CompareAndSet: self._compare_and_set,
            steps.Pause: self._pause,
        }
        forks.watch(self)

    def run(self, work: Steps[T]) -> T:
        """Do all that `work` asks for; return what it returns, raise what it raises."""
        do = self._do
        try:
            wanted = next(work)
            while True:
                try:
                    result = do[type(wanted)](wanted)
                except BaseException as error:
                    wanted = work.throw(error)
                else:
                    wanted = work.send(result)
        except StopIteration as stop:
            value: T = stop.value
            return value

    def close(self) -> None:
        """End the background work, and close the connections for waiting."""
        for work in self._workers.close():
            work()  # its loader is not called any more, but somebody may wait for its flight
        self._waits.close()

    def forget_connections(self) -> None:
        """Start anew in a forked child."""
        self._flights.forget()
        self._waits.forget()
        self._workers.forget()

    # The second look

    def again(self, key: bytes, guarded: Guarded, absent: Any) -> Any:
        """Return what a read has brought if it still counts, else `absent`."""
        is_good = guarded.header is None or (self._are_good([(key, guarded.header)], is_near=guarded.is_near))[0]
        return self._taken(key, guarded, absent) if is_good else absent

    def _are_good(self, asked: list[tuple[bytes, Header]], *, is_near: bool) -> list[bool]:
        """Return which values still count; `is_near`: what the near cache says for one is enough."""
        near = self.near if is_near else None
        if near is None:
            return self.run(still_good(asked))
        are_good = near.vouch(asked)
        open_at = [at for at, is_good in enumerate(are_good) if not is_good]
        if open_at:
            for at, is_good in zip(open_at, self.run(still_good([asked[at] for at in open_at])), strict=True):
                are_good[at] = is_good
        return are_good

    def settle(self, keys: Sequence[bytes], values: list[Any], absent: Any) -> None:
        """Put into `values`, in the place of each Guarded, what it brought if that still counts, else `absent`."""
        open_at = [(at, value) for at, value in enumerate(values) if type(value) is Guarded]
        asked = [(keys[at], value.header) for at, value in open_at if value.header is not None]
        is_near = all(value.is_near for _, value in open_at)
        verdicts = iter((self._are_good(asked, is_near=is_near)) if asked else ())
        for at, value in open_at:
            is_good = value.header is None or next(verdicts)
            values[at] = self._taken(keys[at], value, absent) if is_good else absent

    def _taken(self, key: bytes, guarded: Guarded, absent: Any) -> Any:
        """Return what a read has brought that counts; `absent` if its object is lost."""
        if guarded.descriptor is None:
            return unsealed(guarded.result, self._pickles)
        try:
            return self._large.read(key, guarded, absent)
        except Guarded as whole:
            if whole.header is None or (guarded.header is not None and whole.header.mark == guarded.header.mark):
                return unsealed(whole.result, self._pickles)
            return self.again(key, whole, absent)

    # What the engine asks for

    def _fetch(self, wanted: steps.Fetch) -> tuple[list[Any], dict[bytes, int | None]]:
        if wanted.may_be_near and self.near is not None:
            wanted.was_near = True
            return self.near.fetch(wanted.keys, wanted.tags)
        if len(wanted.keys) == 1 and not wanted.tags:
            return [self.read(wanted.keys[0])], {}
        batch = leasing.FetchMany([*wanted.keys, *wanted.tags])
        self._dispatcher.run_batch(batch)
        at = len(wanted.keys)
        return batch.values[:at], dict(zip(wanted.tags, map(leasing.generation_of, batch.values[at:]), strict=True))

    def _take(self, wanted: steps.TakeLeases) -> list[Answer]:
        if len(wanted.keys) == 1:
            key = wanted.keys[0]
            return self._dispatcher.run(key, leasing.take_lease(key, wanted.seen[0], wanted.lease_s))
        batch = leasing.TakeMany(list(wanted.keys), wanted.seen, wanted.lease_s)
        self._dispatcher.run_batch(batch)
        return batch.answers

    def _wait(self, wanted: steps.WaitForLease) -> Answer | None:
        try:
            return self._waits.run(wanted.key, leasing.wait_for_lease(wanted), deadline_of(wanted.wait_s))[0]
        except DeadlineExceededError:
            return None

    def _fill(self, wanted: steps.Fill) -> list[int]:
        try:
            return self._large.fill(wanted.fillings, self._send)
        except PickleRefusedError:  # it never could be: better an error than a load each time
            raise
        except RayCacheError:  # no shard is known: the caller has its value whether or not it could be stored
            return [0] * len(wanted.fillings)

    def _send(self, fillings: list[Filling]) -> list[int]:
        batch = leasing.FillMany(fillings)
        try:
            self._dispatcher.run_batch(batch)
        except PickleRefusedError:
            raise
        except RayCacheError:  # some may have been stored
            pass
        return batch.stored

    def _bring(self, wanted: steps.Bring) -> tuple[bool, Any]:
        return self._large.bring(wanted.key, wanted.descriptor)

    def _free(self, wanted: steps.Free) -> None:
        with contextlib.suppress(RayCacheError):  # then the deadline frees it
            self._dispatcher.run_batch(leasing.FreeMany(wanted.leases, wanted.text))

    def _generations(self, wanted: steps.Generations) -> dict[bytes, int]:
        batch = leasing.MakeGenerations(list(wanted.tags))
        self._dispatcher.run_batch(batch)
        return dict(zip(wanted.tags, batch.numbers, strict=True))

    def _call(self, wanted: steps.Call[Any]) -> Any:
        with loading(self.engine.cluster, wanted.keys):
            value = wanted.function(*wanted.arguments)
        if inspect.iscoroutine(value):
            value.close()
            raise CallerError(f"{wanted.function!r} is asynchronous: use AsyncCache, or a plain function")
        return value

    def _join(self, wanted: steps.Join) -> bool:
        done: Latch = wanted.flight.done
        return done.wait(wanted.timeout_s)

    def _spawn(self, wanted: steps.Spawn) -> bool:
        is_taken = self._workers.submit(lambda: self.run(wanted.work))
        if not is_taken:
            wanted.work.close()
        return is_taken

    def _look(self, wanted: steps.Look) -> tuple[int, bytes] | None:
        return self._dispatcher.run(wanted.key, leasing.look(wanted.key))

    def _compare_and_set(self, wanted: steps.CompareAndSet) -> bool:
        def send(value: Any) -> bool:
            kind, data = encoded(value, self.engine.encode)
            request = leasing.compare_and_set(wanted.key, wanted.version, kind, data, wanted.px)
            return self._dispatcher.run(wanted.key, request)

        return self._large.write(wanted.key, wanted.value, send)

    def _pause(self, wanted: steps.Pause) -> None:
        sleep(wanted.seconds)
