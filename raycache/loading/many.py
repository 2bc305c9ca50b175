"""Loading many keys at once: one call of the loader for all that are missing and nobody else loads.

What lives here: the generators for many keys (see `engine.py` for one). First all leases are asked for, without waiting
for any; what was got is loaded and stored; only then are the others' loads waited for. So two callers whose keys
overlap never wait for each other in a circle.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from raycache.loading.basics import Key, NoValue, Source, outcome_of, tag_keys, text_of
from raycache.loading.engine import Engine
from raycache.loading.found import Found, Verdict
from raycache.loading.options import LoadOptions
from raycache.loading.refreshing import BUSY_PAUSE_S, REFRESH_PAUSE_S
from raycache.loading.steps import (
    LOOK_AGAIN,
    Call,
    Fetch,
    Fill,
    Filling,
    Flight,
    Free,
    Outcome,
    Spawn,
    Steps,
    TakeLeases,
)

LoadMany = Callable[[list[Any]], Any]

log = logging.getLogger(__name__)


class Many:
    """One call for many keys.

    Args:
        names: each key once, as the caller gave it, by its form on the wire.
        load_many: from a list of keys as the caller gave them to a mapping; one that is not in there has no value.
    """

    def __init__(self, engine: Engine, names: Mapping[bytes, Key], load_many: LoadMany, options: LoadOptions) -> None:
        self._engine = engine
        self._names = names
        self._load_many = load_many
        self._options = options
        self.values: dict[bytes, Any] = {}
        self._fallbacks: dict[bytes, Found] = {}

    def obtain(self) -> Steps[dict[bytes, Any]]:
        """Return the values of all keys that have one."""
        left = yield from self._read(list(self._names), is_first=True)
        if left:
            mine: dict[bytes, Flight] = {}
            for key in left:
                self._engine.check_entry(self._names[key], key)
            for key in left:
                flight, leads = self._engine.join(key)
                if leads:
                    mine[key] = flight
            done = yield from self._load(mine, {key: left[key] for key in mine}) if mine else _nothing()
            yield from self._wait([key for key in left if key not in done])
        return self.values

    def _read(self, keys: Sequence[bytes], *, is_first: bool = False) -> Steps[dict[bytes, bytes]]:
        """Take what the cache has; return the keys that are to be loaded, with what was seen of each."""
        engine, options = self._engine, self._options
        fetch = Fetch(keys, tag_keys(options), may_be_near=is_first)
        payloads, generations = yield fetch
        found = {key: aged if isinstance(aged, Found) else Found(aged)
                 for key, aged in zip(keys, payloads, strict=True) if aged is not None}
        unknown = {tag for one in found.values() for tag, _ in one.tags} - generations.keys()
        if unknown:
            _, more = yield Fetch((), list(unknown), may_be_near=is_first)
            generations.update(more)
        left: dict[bytes, bytes] = {}
        to_refresh: dict[bytes, bytes] = {}
        doubtful: list[bytes] = []
        """What is near and may not be served: the shards know better (see `Engine.obtain`)."""
        for key in keys:
            one = found.get(key)
            if one is None:
                left[key] = b""
                continue
            verdict = one.verdict(generations, options, engine.rng if is_first else None)
            if verdict in (Verdict.USELESS, Verdict.FALLBACK) and fetch.was_near:
                doubtful.append(key)
                continue
            if verdict in (Verdict.USELESS, Verdict.FALLBACK):
                left[key] = one.mark
                if verdict is Verdict.FALLBACK:
                    self._fallbacks[key] = one
                continue
            is_here, value = yield from engine.value_of(key, one)
            if not is_here:  # its object is lost, or it was written anew: whoever has the lease table knows
                left[key] = b""
                continue
            self.values[key] = value
            if verdict is not Verdict.GOOD:
                to_refresh[key] = one.mark
            self._tell(key, verdict)
        if to_refresh:
            yield from self._refresh_soon(to_refresh)
        return left | (yield from self._read(doubtful)) if doubtful else left

    def _tell(self, key: bytes, verdict: Verdict) -> None:
        observer = self._options.observer
        if observer is not None:
            (observer.stale if verdict is Verdict.STALE else observer.hit)(self._names[key])

    def _load(self, flights: dict[bytes, Flight], seen: dict[bytes, bytes], *,
              keeps_values: bool = True) -> Steps[set[bytes]]:
        """Load those keys that the shards give the lease of; return which were loaded, or turned out to have no value.

        All of `flights` are finished.
        """
        keys = list(flights)
        outcomes: dict[bytes, Outcome] = {}
        tokens: dict[bytes, int] = {}
        text = b""
        try:
            answers = yield TakeLeases(keys, [seen[key] for key in keys], self._options.lease_s)
            tokens = {key: answer for key, answer in zip(keys, answers, strict=True)
                      if isinstance(answer, int) and answer != 0}
            if not keeps_values:
                self._pause_the_busy(keys, answers)
            if not tokens:
                return set()
            for key in tokens:
                flights[key].until_s = self._engine.clock() + self._options.lease_s
            fillings, loaded = yield from self._call(tokens, flights)
            if keeps_values:
                self.values.update(loaded)
            with_token = [filling for filling in fillings if filling.token > 0]
            for filling in with_token:
                flights[filling.key].stage += 1
            stored = (yield Fill(with_token)) if with_token else []
            for filling, answer in zip(with_token, stored, strict=True):
                outcomes[filling.key] = outcome_of(filling, answer, flights[filling.key])
            done = set(tokens)
            for filling in with_token:
                del tokens[filling.key]
            return done
        except GeneratorExit:  # see `Engine.load`
            tokens = {}
            raise
        except Exception as error:
            text = text_of(error)
            outcomes = {key: Outcome(error=flights[key].error) for key in tokens if flights[key].error is not None}
            if not keeps_values or not tokens or not (yield from self._fall_back(tokens)):
                raise
            return set(tokens)
        finally:
            for key, flight in flights.items():
                self._engine.flights.finish(flight, outcomes.get(key, LOOK_AGAIN))
            held = [(key, token) for key, token in tokens.items() if token > 0]
            if held:
                yield Free(held, text)

    def _fall_back(self, keys: Iterable[bytes]) -> Steps[bool]:
        """Take old values in place of those that could not be loaded; return whether all of them are there."""
        if not self._fallbacks.keys() >= set(keys):
            return False
        values = {}
        for key in keys:
            is_here, values[key] = yield from self._engine.value_of(key, self._fallbacks[key])
            if not is_here:
                return False
        self.values.update(values)
        for key in values:
            self._tell(key, Verdict.STALE)
        return True

    def _call(self, tokens: dict[bytes, int],
              flights: dict[bytes, Flight]) -> Steps[tuple[list[Filling], dict[bytes, Any]]]:
        """Call the loader once for the keys of `tokens`; return what is to be stored, and the values."""
        engine, options, names = self._engine, self._options, self._names
        observer = options.observer
        tags = yield from engine.generations(options)
        wanted = [names[key] for key in tokens]
        began_s = engine.clock()
        try:
            found = checked((yield Call(self._load_many, list(tokens), (wanted,))))
        except Exception as error:
            for key in tokens:
                flights[key].error = error
                if observer is not None:
                    observer.failed(names[key], error)
            raise
        seconds = engine.clock() - began_s
        loaded = {key: found[names[key]] for key in tokens if names[key] in found}
        if observer is not None:
            for key in loaded:
                observer.loaded(names[key], seconds)
        try:
            fillings = [engine.filling(key, tokens[key], value, seconds, tags, options)
                        for key, value in loaded.items()]
        except Exception as error:
            for key in tokens:
                flights[key].error = error
            raise
        return fillings, loaded

    def _wait(self, keys: list[bytes]) -> Steps[None]:
        """Wait for what others load. After each look at all: who loads many stores them at once."""
        while keys:
            left = yield from self._read(keys)
            if not left:
                return
            keys = list(left)
            key = keys.pop(0)
            name = self._names[key]
            with contextlib.suppress(NoValue):
                self.values[key] = yield from self._engine.obtain(name, key, self._alone(key), self._options)

    def _alone(self, key: bytes) -> Source:
        """Return the loader for this key alone, should nobody else's bring it."""
        name = self._names[key]

        def pick(found: Any) -> Any:
            if name not in checked(found):
                raise NoValue
            return found[name]

        return Source(self._load_many, ([name],), pick)

    # In the background

    def _refresh_soon(self, seen: dict[bytes, bytes]) -> Steps[None]:
        engine = self._engine
        flights: dict[bytes, Flight] = {}
        for key in seen:
            if engine.pauses.is_over(key):
                flight, leads = engine.flights.join(key)
                if leads:
                    flight.is_queued = True
                    flights[key] = flight
        if flights and not (yield Spawn(self._refresh(flights, seen))):
            for flight in flights.values():
                engine.flights.finish(flight, LOOK_AGAIN)

    def _refresh(self, flights: dict[bytes, Flight], seen: dict[bytes, bytes]) -> Steps[None]:
        for flight in flights.values():
            flight.is_queued = False
        flights = {key: flight for key, flight in flights.items() if not flight.is_dropped}
        if not flights:
            return
        try:
            yield from self._load(flights, seen, keeps_values=False)
        except Exception as error:  # nobody waits for it; whoever reads next tries again
            log.warning("could not refresh %d keys: %s: %s", len(flights), type(error).__name__, error)
            for key in flights:
                self._engine.pauses.begin(key, REFRESH_PAUSE_S)

    def _pause_the_busy(self, keys: list[bytes], answers: Sequence[Any]) -> None:
        for key, answer in zip(keys, answers, strict=True):
            if answer == 0:
                self._engine.pauses.begin(key, BUSY_PAUSE_S)


def checked(found: Any) -> Mapping[Any, Any]:
    """Return what a loader of many keys returned.

    Raises:
        TypeError: it is no mapping.
    """
    if not isinstance(found, Mapping):
        raise TypeError(f"load_many returns a mapping, not {type(found).__name__}")
    return found


def _nothing() -> Steps[set[bytes]]:
    return set()
    yield
