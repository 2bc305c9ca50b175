"""Loading through the cache: who loads, who waits, what is stored, what is returned.

What lives here: the decisions about one key, as generators (see `steps.py`). What does not: doing any of it, many keys
at once (`many.py`), refreshes in the background (`refreshing.py`), shards' leases (`raycache.leases`). One engine per
handle; its generators run wherever their driver does, and share only the flights, whose locking is the driver's.

A call that finds no usable value joins the key's *flight* in its process, or leads it. Who leads asks the shard for the
lease. Who gets that loads; the others wait at the shard. Whatever was waited for is judged like anything else that was
read, tags and all: the call may have begun after the write that made it old.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from raycache.codec import LOADED, Pickles, Sealed, encode
from raycache.codec.loaded import frame
from raycache.codec.parts import Parts
from raycache.codec.pickles import loaded
from raycache.errors import LoadFailedError, LoadTimeoutError, ReentrantLoadError
from raycache.loading.basics import (
    PASS_ON,
    Flights,
    Key,
    NoValue,
    Source,
    failed_elsewhere,
    is_loading,
    outcome_of,
    tag_keys,
    text_of,
)
from raycache.loading.found import Found, Verdict
from raycache.loading.options import LoadOptions
from raycache.loading.refreshing import Pauses, refresh_soon
from raycache.loading.steps import (
    LOOK_AGAIN,
    Answer,
    Bring,
    Call,
    Fetch,
    Fill,
    Filling,
    Flight,
    Free,
    Generations,
    Join,
    Outcome,
    Steps,
    TakeLeases,
    WaitForLease,
)

LONGEST_WAIT_S: Final = 2.0
"""How long a shard is asked to wait in one go: one that was lost without a word is noticed after that."""


class Engine:
    """One handle's loads.

    Args:
        flights: the handle's.
        cluster: the cluster's name, to tell its keys from another's.
        clock: monotonic seconds.
        timeout_s: how long others are waited for unless an option says so.
        pickles: what signs and loads pickles; None: there are none.
        split: returns the parts of a large value; of another one what it has encoded of it, or None. None: there are no
            large ones.
    """

    def __init__(self, flights: Flights, cluster: str, clock: Callable[[], float], rng: random.Random,
                 timeout_s: float, pickles: Pickles | None = None,
                 split: Callable[[Any], Parts | tuple[int, bytes] | None] | None = None) -> None:
        self.flights = flights
        self.cluster = cluster
        self.clock = clock
        self.rng = rng
        self.timeout_s = timeout_s
        self.pickles = pickles
        self.encode = encode if pickles is None else pickles.encode
        self.split = split
        self.pauses = Pauses(clock)

    # One key

    def obtain(self, name: Key, key: bytes, source: Source, options: LoadOptions,
               aged: bytes | Found | None = None, *, is_read: bool = False, is_due: bool = False) -> Steps[Any]:
        """Return the key's value from the cache, or from `source`, or from somebody else's load.

        What is near may be behind what is true. So it is only ever served: whether an old value counts in place of a
        failed load, and whether one is to be loaded at all, is decided on what the shard says.

        Args:
            name: the key as the caller gave it, for the observer.
            aged: what the cache holds, if it has been read (`is_read`) already; what is near as a `Found`.
            is_due: whether it has been found good, and to be refreshed by this caller.
        """
        began_s = self.clock()
        end_s = began_s + self.wait_s(options)
        tags = tag_keys(options)
        generations: dict[bytes, int | None] = {}
        fallback: Found | None = None
        has_waited = False
        is_near = isinstance(aged, Found)
        if not is_read:
            first = Fetch((key,), tags, may_be_near=True)
            (aged,), generations = yield first
            is_near = first.was_near
        while True:
            seen = b""
            if aged is not None:
                found = aged if isinstance(aged, Found) else Found(aged)
                if is_due:
                    verdict, is_due = Verdict.EARLY, False
                else:
                    verdict = yield from self.judge(found, generations, options, is_fresh=has_waited, is_near=is_near)
                if verdict in (Verdict.GOOD, Verdict.EARLY, Verdict.STALE):
                    is_here, value = yield from self.value_of(key, found)
                    if is_here:
                        if verdict is not Verdict.GOOD:
                            yield from refresh_soon(self, name, key, source, options, found.mark)
                        self._tell(name, options, verdict, began_s if has_waited else None)
                        return value
                    aged, generations = value, {}
                    if aged is not None:  # written anew meanwhile
                        continue
                elif is_near:
                    is_near = False
                    (aged,), generations = yield Fetch((key,), tags)
                    continue
                else:
                    seen = found.mark
                    fallback = found if verdict is Verdict.FALLBACK else None
            is_near = False
            self.check_entry(name, key)
            flight, leads = self.join(key)
            joined_at = flight.stage
            try:
                if leads:
                    value, aged = yield from self._lead(name, key, source, options, seen, flight, end_s)
                    if aged is None:
                        return value
                else:
                    aged = yield from self._follow(name, flight, joined_at, options, end_s)
                    has_waited = aged is not None
            except Exception as error:
                if fallback is None or isinstance(error, ReentrantLoadError | NoValue):
                    raise
                is_here, value = yield from self.value_of(key, fallback)
                if not is_here:
                    raise
                if options.observer is not None:
                    options.observer.stale(name)
                return value
            generations = {}
            if aged is None:
                has_waited = True
                (aged,), generations = yield Fetch((key,), tags)
            elif leads:
                has_waited = True

    def judge(self, found: Found, generations: dict[bytes, int | None], options: LoadOptions, *,
              is_fresh: bool, is_near: bool = False) -> Steps[Verdict]:
        """Return the verdict on a value, once the generations of all its tags are known."""
        unknown = [tag for tag, _ in found.tags if tag not in generations]
        if unknown:
            _, more = yield Fetch((), unknown, may_be_near=is_near)
            generations.update(more)
        return found.verdict(generations, options, None if is_fresh else self.rng)

    def value_of(self, key: bytes, found: Found) -> Steps[tuple[bool, Any]]:
        """Return (True, the value of `found`); or, where its object is lost or was replaced, (False, the aged payload
        that the key has now). Errors as `opened`."""
        if found.descriptor is None:
            return True, self.opened(found)
        is_here, brought = yield Bring(key, found.descriptor)
        if is_here or brought is None:
            return is_here, brought
        whole = Found(brought)
        return (True, self.opened(whole)) if whole.mark == found.mark else (False, brought)

    def opened(self, found: Found) -> Any:
        """Return the value in `found`; raises as `Found.value`, and PickleRefusedError."""
        try:
            return found.value
        except Sealed as sealed:
            return loaded(sealed, self.pickles)

    def wait_s(self, options: LoadOptions) -> float:
        """Return for how long a call waits for somebody else's load."""
        return self.timeout_s if options.wait_s is None else options.wait_s

    def check_entry(self, name: Key, key: bytes) -> None:
        """Refuse to wait for a load that waits for this.

        Raises:
            ReentrantLoadError: the running code is a load of `key`.
        """
        if is_loading(self.cluster, key):
            raise ReentrantLoadError(f"the load of {name!r} asks for {name!r} itself")

    def join(self, key: bytes) -> tuple[Flight, bool]:
        """Return the key's flight for somebody who needs its value, and whether it is new. A refresh that has not begun
        is not waited for: loaders that hang may be in front of it."""
        flight, leads = self.flights.join(key)
        while not leads and flight.is_queued:
            flight.is_dropped = True
            self.flights.finish(flight, LOOK_AGAIN)
            flight, leads = self.flights.join(key)
        return flight, leads

    def _tell(self, name: Key, options: LoadOptions, verdict: Verdict, waited_since_s: float | None) -> None:
        observer = options.observer
        if observer is None:
            return
        if waited_since_s is not None:
            observer.waited(name, self.clock() - waited_since_s)
        elif verdict is Verdict.STALE:
            observer.stale(name)
        else:
            observer.hit(name)

    def _follow(self, name: Key, flight: Flight, joined_at: int, options: LoadOptions,
                end_s: float) -> Steps[bytes | None]:
        """Wait for a flight of this process; return what it brought, None: look again."""
        while True:
            now_s = self.clock()
            # Not in one go: until when the flight may take is not known before its leader has the lease.
            if (yield Join(flight, max(0.0, min(end_s, flight.until_s, now_s + options.lease_s) - now_s))):
                break
            now_s = self.clock()
            if now_s >= flight.until_s:  # its loader hangs
                self.flights.finish(flight, LOOK_AGAIN)
                return None
            if now_s >= end_s:
                raise self.too_late(name)
        aged, error, stage = flight.outcome
        if error is not None and options.on_load_error == "raise":
            raise failed_elsewhere(text_of(error)) from error
        return aged if joined_at < stage else None

    def too_late(self, name: Key) -> LoadTimeoutError:
        """Return the error for a load of somebody else's that took too long."""
        return LoadTimeoutError(f"somebody else was still loading {name!r} when wait_s was over")

    def _lead(self, name: Key, key: bytes, source: Source, options: LoadOptions, seen: bytes, flight: Flight,
              end_s: float) -> Steps[tuple[Any, bytes | None]]:
        """Get the lease and load, or wait for who has it; return (what was loaded, None) or (None, what came)."""
        outcome = LOOK_AGAIN
        try:
            answer = yield from self._lease(name, key, seen, options, end_s, flight)
            if isinstance(answer, bytes):
                outcome = Outcome(answer, stage=flight.stage)
                return None, answer
            value, outcome = yield from self.load(name, key, source, options, answer, flight)
            return value, None
        except LoadFailedError as error:
            outcome = Outcome(error=error.__cause__ if isinstance(error.__cause__, Exception) else error)
            raise
        finally:
            self.flights.finish(flight, outcome if flight.error is None else Outcome(error=flight.error))

    def _lease(self, name: Key, key: bytes, seen: bytes, options: LoadOptions, end_s: float,
               flight: Flight) -> Steps[Answer]:
        """Return a token, or the aged payload that somebody else has brought."""
        answer: Answer | None = None
        while True:
            left_s = end_s - self.clock()
            flight.stage += 1
            if answer == 0 and left_s > 0:
                answer = yield WaitForLease(key, seen, options.lease_s, min(left_s, LONGEST_WAIT_S))
            elif answer == 0:
                raise self.too_late(name)
            else:
                (answer,) = yield TakeLeases((key,), (seen,), options.lease_s)
            if isinstance(answer, int) and answer != 0:
                return answer
            if isinstance(answer, bytes):
                if answer[:1] == b"h":
                    return answer[1:]
                if options.on_load_error == "raise":
                    raise failed_elsewhere(answer[1:])
                answer = None

    def load(self, name: Key, key: bytes, source: Source, options: LoadOptions, token: int,
             flight: Flight) -> Steps[tuple[Any, Outcome]]:
        """Call the loader and store what it returns under the lease `token`; below 0: there is none."""
        text = b""
        flight.until_s = self.clock() + options.lease_s
        try:
            tags = yield from self.generations(options)
            began_s = self.clock()
            try:
                value = yield Call(source.function, (key,), source.arguments)
                if source.pick is not None:
                    value = source.pick(value)
            except NoValue:
                raise
            except Exception as error:
                flight.error, text = error, text_of(error)
                if options.observer is not None:
                    options.observer.failed(name, error)
                raise
            seconds = self.clock() - began_s
            if options.observer is not None:
                options.observer.loaded(name, seconds)
            try:
                filling = self.filling(key, token, value, seconds, tags, options)
            except Exception as error:
                flight.error = error
                raise
            if token < 0:
                return value, LOOK_AGAIN
            flight.stage += 1
            (stored,) = yield Fill((filling,))
            token = 0
            return value, outcome_of(filling, stored, flight)
        except NoValue:
            raise
        except GeneratorExit:  # its driver has dropped it, and with its connection goes the lease
            token = 0
            raise
        except Exception as error:
            text = text or text_of(error)
            raise
        finally:
            if token > 0:
                yield Free(((key, token),), text)

    def generations(self, options: LoadOptions) -> Steps[tuple[tuple[bytes, int], ...]]:
        """Return the tags with their generations, as they are before the load."""
        if not options.tags:
            return ()
        keys = tag_keys(options)
        found = yield Generations(keys)
        return tuple((tag, found[tag]) for tag in keys)

    def filling(self, key: bytes, token: int, value: Any, seconds: float, tags: tuple[tuple[bytes, int], ...],
                options: LoadOptions) -> Filling:
        """Return what is to be stored for a value that was loaded.

        Raises:
            UnsupportedTypeError: a value of its type cannot be.
        """
        split = None if self.split is None else self.split(value)
        parts = split if isinstance(split, Parts) else None
        kind, data = (split.kind, b"") if isinstance(split, Parts) else (split or self.encode(value))
        storing = options.storing(value, self.rng)
        px, grace_ms = (PASS_ON, 0) if storing is None else storing
        framed = frame(kind, data, number=self.rng.getrandbits(32), load_s=seconds, grace_ms=grace_ms, tags=tags)
        filling = Filling(key, token, LOADED, framed, px, parts)
        return filling.whole if storing is None else filling  # what is not stored is no object either
