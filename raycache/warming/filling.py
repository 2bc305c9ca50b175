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
from typing import Any, Final, Protocol, runtime_checkable

from raycache.client.bulk import RawEntry
from raycache.codec import encode
from raycache.codec.pickles import is_pickle

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

    def take_leases(self, keys: Sequence[bytes], lease_s: float) -> list[int]: ...

    def fill(self, entries: Sequence[RawEntry], tokens: Sequence[int]) -> list[bool]: ...

    def free(self, leases: Sequence[tuple[bytes, int]]) -> None: ...


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
    refused: tuple[bytes, ...] = ()
    """Keys that could not be tried: too many others were being loaded."""
    overtaken: tuple[bytes, ...] = ()
    """Keys that were loaded and not stored: somebody wrote or deleted them meanwhile, or their shard was lost."""


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


LEASE_S: Final = 30.0
"""How long a load may take before its keys are free for others, and what it brings is not stored any more."""


def fill_from(target: Target, keys: Sequence[bytes], load: Callable[[list[bytes]], list[RawEntry]],
              clock: Callable[[], float]) -> Filled:  # fmt: skip
    """Bring those of `keys` that are absent: what `load` returns for them, under leases.

    A lease ends with any write or delete of its key. So nothing is stored over what came meanwhile, and nothing that
    was read before a delete is stored after it. Programs that miss such a key with `get_or_load` wait for this load.

    Raises:
        LoadError: `load` has failed.
        RayCacheError: the cluster did not answer.
    """
    there = target.present(keys)
    missing = [key for key, is_there in zip(keys, there, strict=True) if not is_there]
    answers = target.take_leases(missing, LEASE_S) if missing else []
    tokens = {key: answer for key, answer in zip(missing, answers, strict=True) if answer > 0}
    refused = tuple([key for key, answer in zip(missing, answers, strict=True) if answer < 0])
    wanted, there_now = list(tokens), len(keys) - len(tokens) - len(refused)
    if not wanted:
        return Filled(0, there_now, 0, None, refused)
    try:
        began_s = clock()
        try:
            entries = load(wanted)
        except Exception as error:
            raise LoadError(f"{type(error).__name__}: {error}") from error
        load_s = clock() - began_s
        stored = target.fill(entries, [tokens.pop(entry.key) for entry in entries]) if entries else []
    finally:
        if tokens:
            target.free(list(tokens.items()))
    overtaken = tuple([entry.key for entry, is_stored in zip(entries, stored, strict=True) if not is_stored])
    return Filled(sum(stored), there_now, len(wanted) - len(entries), load_s, refused, overtaken)


class LoadFiller:
    """Fills from a database.

    What is there already is not loaded, and what is written or deleted meanwhile is not touched: see `fill_from`.

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
        return fill_from(self._target, keys, self._entries, self._clock)

    def _entries(self, keys: list[bytes]) -> list[RawEntry]:
        names = [key.decode("utf-8", "surrogateescape") for key in keys]
        values = self._load(names)
        if not isinstance(values, Mapping):
            raise TypeError(f"it returned a {type(values).__name__}, not a mapping")
        return [RawEntry(key, *encode(values[name]), self._lifetime_ms())
                for key, name in zip(keys, names, strict=True) if name in values]

    def _lifetime_ms(self) -> int:
        if self._ttl_s is None:
            return 0
        return math.ceil(self._ttl_s * 1000 * (1 - self._jitter * self._rng.random()))


class CopyFiller:
    """Fills from another cluster: the same bytes, the same kinds, the lifetimes that are left.

    But for pickles: they are signed with the other cluster's secret, so nobody here would load them.
    """

    def __init__(self, target: Target, source: Source, *, clock: Callable[[], float]) -> None:
        self._target = target
        self._source = source
        self._clock = clock

    def fill(self, keys: Sequence[bytes]) -> Filled:
        return fill_from(self._target, keys, self._entries, self._clock)

    def _entries(self, keys: list[bytes]) -> list[RawEntry]:
        return [entry for entry in self._source.peek(keys)
                if entry is not None and not is_pickle(entry.kind, entry.data)]
