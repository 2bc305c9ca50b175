"""Bringing one batch of keys into a cluster: from a database, or from another cluster.

What lives here: what is asked for and what is stored, never over something that is there. What does not: the pace
(`pace`), batches and retries (`running`). Pure but for the calls that it is given.
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from raycache.client.bulk import RawEntry
from raycache.codec import encode

LoadMany = Callable[[list[str]], Mapping[str, Any]]
"""Returns the values of those keys that have one."""


@runtime_checkable
class HasLoadMany(Protocol):
    """Anything that loads, such as a backing store."""

    def load_many(self, keys: list[str]) -> Mapping[str, Any]:
        """Return the values of those `keys` that have one."""


class Target(Protocol):
    """Where entries go: see `raycache.client.bulk.Bulk`."""

    def present(self, keys: Sequence[bytes]) -> list[bool]: ...

    def add(self, entries: Sequence[RawEntry]) -> list[bool]: ...


class Source(Protocol):
    """Where entries come from: see `raycache.client.bulk.Bulk`."""

    def peek(self, keys: Sequence[bytes]) -> list[RawEntry | None]: ...


class LoadError(Exception):
    """Whoever was asked for values has failed; the cause is in `__cause__`."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What became of one batch."""

    loaded: int
    present: int
    absent: int
    load_s: float | None
    """How long the load took, in seconds; None: nothing had to be loaded."""


class Filler(Protocol):
    """Brings keys into a cluster."""

    def fill(self, keys: Sequence[bytes]) -> Filled:
        """Bring those of `keys` that are absent.

        Raises:
            LoadError: they could not be loaded.
            RayCacheError: the cluster did not take them.
        """


def loader_of(load: LoadMany | HasLoadMany) -> LoadMany:
    """Return the function that loads: `load` itself, or its `load_many`.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(load, type):
        raise TypeError(f"{load.__name__} is a class: name an object of it")
    if inspect.iscoroutinefunction(getattr(load, "load_many", load)):
        raise TypeError("it is asynchronous: a function is needed that returns when it has loaded")
    if isinstance(load, HasLoadMany):
        return load.load_many
    if callable(load):
        return load
    raise TypeError(f"{load!r} can load nothing: a function of a list of keys is needed, or something with load_many")


class LoadFiller:
    """Fills from a database.

    What is there already is not loaded, and what comes meanwhile is not overwritten. (A delete that comes between the
    load and the store is not seen: see docs/warming.md.)

    Args:
        target: the cluster.
        load: asks the database. Keys are text; bytes that are no UTF-8 come as surrogate escapes.
        ttl_s: lifetime, in seconds; None: for ever.
        jitter: by which share of it lifetimes are shortened at random.
        clock: monotonic seconds.
    """

    def __init__(self, target: Target, load: LoadMany | HasLoadMany, *, ttl_s: float | None, jitter: float,
                 clock: Callable[[], float], rng: random.Random) -> None:
        self._target = target
        self._load = loader_of(load)
        self._ttl_s = ttl_s
        self._jitter = jitter
        self._clock = clock
        self._rng = rng

    def fill(self, keys: Sequence[bytes]) -> Filled:
        there = self._target.present(keys)
        missing = [key for key, is_there in zip(keys, there, strict=True) if not is_there]
        present = len(keys) - len(missing)
        if not missing:
            return Filled(0, present, 0, None)
        names = [key.decode("utf-8", "surrogateescape") for key in missing]
        began_s = self._clock()
        try:
            values = self._load(names)
            if not isinstance(values, Mapping):
                raise TypeError(f"it returned a {type(values).__name__}, not a mapping")
        except Exception as error:
            raise LoadError(f"{type(error).__name__}: {error}") from error
        load_s = self._clock() - began_s
        entries = [RawEntry(key, *encode(values[name]), self._lifetime_ms())
                   for key, name in zip(missing, names, strict=True) if name in values]
        stored = sum(self._target.add(entries)) if entries else 0
        return Filled(stored, present + len(entries) - stored, len(missing) - len(entries), load_s)

    def _lifetime_ms(self) -> int:
        if self._ttl_s is None:
            return 0
        return math.ceil(self._ttl_s * 1000 * (1 - self._jitter * self._rng.random()))


class CopyFiller:
    """Fills from another cluster: the same bytes, the same kinds, the lifetimes that are left."""

    def __init__(self, target: Target, source: Source, *, clock: Callable[[], float]) -> None:
        self._target = target
        self._source = source
        self._clock = clock

    def fill(self, keys: Sequence[bytes]) -> Filled:
        there = self._target.present(keys)
        missing = [key for key, is_there in zip(keys, there, strict=True) if not is_there]
        present = len(keys) - len(missing)
        if not missing:
            return Filled(0, present, 0, None)
        began_s = self._clock()
        try:
            found = self._source.peek(missing)
        except Exception as error:
            raise LoadError(f"{type(error).__name__}: {error}") from error
        load_s = self._clock() - began_s
        entries = [entry for entry in found if entry is not None]
        stored = sum(self._target.add(entries)) if entries else 0
        return Filled(stored, present + len(entries) - stored, len(missing) - len(entries), load_s)
