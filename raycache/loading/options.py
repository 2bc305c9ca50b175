"""How a value is loaded through the cache: every setting with its unit and its reason.

What lives here: the checked settings, and the lifetime that follows from them. Immutable, any thread.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple, TypedDict, Unpack

from raycache.loading.observer import LoadObserver

Seconds = float | timedelta
Lifetime = Seconds | None
LifetimeOf = Callable[[Any], Lifetime]

_MAX_MS: Final = 2**52
_MAX_LEASE_S: Final = 3600.0


class LoadSettings(TypedDict, total=False):
    """What `get_or_load` and its kin take as keywords: the fields of `LoadOptions`."""

    ttl: Lifetime | LifetimeOf
    jitter: float
    beta: float
    stale_ttl: Seconds
    stale_if_error: Seconds
    cache_if: Callable[[Any], bool] | None
    negative_ttl: Lifetime
    tags: Sequence[str]
    lease_s: float
    wait_s: float | None
    on_load_error: Literal["raise", "retry"]
    observer: LoadObserver | None


class Storing(NamedTuple):
    """For how long a value is kept."""

    px: int
    """The entry's lifetime in milliseconds, 0 = it never expires."""
    grace_ms: int
    """How much of it is beyond the value's own lifetime."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a value is loaded, kept, refreshed and waited for. Callers of one key should agree on it.

    Raises:
        ValueError: a number is out of its range, or a text is none of those that are allowed.
        TypeError: something is of another type.
    """

    ttl: Lifetime | LifetimeOf = None
    """How long a value is good: seconds, a timedelta, a function of the value that returns one; None = for ever. One
    for which the function returns 0 or less is not stored: it goes to the caller and to those who wait."""
    jitter: float = 0.1
    """The lifetime is drawn from `ttl * (1 - jitter)` to `ttl`, so that what was stored together does not expire
    together. 0 to below 1; 0 = exactly `ttl`."""
    beta: float = 1.0
    """How eagerly values are refreshed before they expire (XFetch): in the mean `beta` load times before. 0 = never
    early; above 1 = earlier than the paper's optimum."""
    stale_ttl: Seconds = 0.0
    """For so long after its lifetime a value is returned at once, while one caller's loader runs in the background."""
    stale_if_error: Seconds = 0.0
    """For so long after its lifetime a value is returned if the loader fails, instead of its error."""
    cache_if: Callable[[Any], bool] | None = None
    """Which values are stored; None = all. Others go to the caller and to those who wait, and no further."""
    negative_ttl: Lifetime = None
    """How long None is good; None = like other values, 0 = it is not stored."""
    tags: Sequence[str] = ()
    """What the value belongs to: `invalidate_tags` of one of them makes it a miss."""
    lease_s: float = 10.0
    """How long a loader may take. Then somebody else may load, and what the slow one brings is not stored. Longer than
    the slowest load, and no longer than a hung one may keep others waiting."""
    wait_s: float | None = None
    """How long somebody else's loader is waited for; None = the handle's `timeout_s`."""
    on_load_error: Literal["raise", "retry"] = "raise"
    """What those do who waited when the loader failed: "raise" LoadFailedError, all at once, which spares what has
    failed; "retry": one after the other tries its own loader."""
    observer: LoadObserver | None = None
    """Is told what became of each call."""

    def __post_init__(self) -> None:
        if not callable(self.ttl):
            _check_lifetime("ttl", self.ttl)
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must be 0 to below 1, not {self.jitter!r}")
        if not 0 <= self.beta < math.inf:
            raise ValueError(f"beta must be 0 or more, not {self.beta!r}")
        object.__setattr__(self, "stale_ttl", _grace("stale_ttl", self.stale_ttl))
        object.__setattr__(self, "stale_if_error", _grace("stale_if_error", self.stale_if_error))
        if self.negative_ttl is not None and seconds_of("negative_ttl", self.negative_ttl) != 0:
            _check_lifetime("negative_ttl", self.negative_ttl)
        if isinstance(self.tags, str) or not all(isinstance(tag, str) and tag for tag in self.tags):
            raise TypeError(f"tags is a sequence of texts, none empty, not {self.tags!r}")
        object.__setattr__(self, "tags", tuple(dict.fromkeys(self.tags)))
        if not 0 < self.lease_s <= _MAX_LEASE_S:
            raise ValueError(f"lease_s must be above 0 and at most 3,600 s, not {self.lease_s!r}")
        if self.wait_s is not None and not 0 <= self.wait_s < 1e6:
            raise ValueError(f"wait_s must be 0 or more, and below 1,000,000 s, not {self.wait_s!r}")
        if self.on_load_error not in ("raise", "retry"):
            raise ValueError(f'on_load_error is "raise" or "retry", not {self.on_load_error!r}')

    def but(self, **settings: Unpack[LoadSettings]) -> LoadOptions:
        """Return these options with some of them changed."""
        return replace(self, **settings) if settings else self

    @property
    def stale_s(self) -> float:
        """`stale_ttl` in seconds."""
        return self.stale_ttl  # type: ignore[return-value]  # made a float when it was checked

    @property
    def fallback_s(self) -> float:
        """`stale_if_error` in seconds."""
        return self.stale_if_error  # type: ignore[return-value]

    def storing(self, value: Any, rng: random.Random) -> Storing | None:
        """Return for how long `value` is kept; None: it is not stored.

        Raises:
            ValueError, TypeError: what `ttl` returned for it is no lifetime.
            Exception: whatever `cache_if` or `ttl` raises.
        """
        if self.cache_if is not None and not self.cache_if(value):
            return None
        if value is None and self.negative_ttl is not None:
            ttl: Lifetime = self.negative_ttl
            if not ttl:
                return None
        else:
            ttl = self.ttl(value) if callable(self.ttl) else self.ttl
            if callable(self.ttl) and ttl is not None and seconds_of("ttl", ttl) <= 0:
                return None  # over already: what a token that has just expired says of itself
        if ttl is None:
            return Storing(0, 0)
        own_s = _check_lifetime("ttl", ttl)
        own_ms = max(1, math.ceil(own_s * 1000 * (1.0 - self.jitter * rng.random())))
        grace_ms = math.ceil(max(self.stale_s, self.fallback_s) * 1000)
        return Storing(own_ms + grace_ms, grace_ms)


def options_of(options: LoadOptions | None, settings: LoadSettings) -> LoadOptions:
    """Return what a call with these arguments asks for. HOT: the same settings are checked once.

    Raises:
        TypeError: a keyword that is no setting; and see `LoadOptions`.
        ValueError: see `LoadOptions`.
    """
    if not settings:
        return DEFAULTS if options is None else options
    if options is not None:
        return _checked(options, settings)
    if not _PLAIN.issuperset(map(type, settings.values())):  # equal functions or observers need not be the same
        return _checked(DEFAULTS, settings)
    given = tuple(settings.items())
    known = _KNOWN.get(given)
    if known is None:
        known = _checked(DEFAULTS, settings)
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[given] = known
    return known


def _checked(options: LoadOptions, settings: LoadSettings) -> LoadOptions:
    if not settings.keys() <= NAMES:
        raise TypeError(f"unknown settings: {', '.join(sorted(settings.keys() - NAMES))}")
    return replace(options, **settings)


_KNOWN: Final[dict[tuple[tuple[str, object], ...], LoadOptions]] = {}
"""Checked options by the settings as they were given, where they are plain values."""
_PLAIN: Final = frozenset({int, float, str, timedelta, type(None)})
_MOST_KNOWN: Final = 256


def seconds_of(name: str, lifetime: Seconds) -> float:
    """Return a time in seconds.

    Raises:
        TypeError: neither a number nor a timedelta.
    """
    if isinstance(lifetime, timedelta):
        return lifetime.total_seconds()
    if isinstance(lifetime, int | float) and not isinstance(lifetime, bool):
        return float(lifetime)
    raise TypeError(f"{name} is a number of seconds, a timedelta or None, not {type(lifetime).__name__}")


def _check_lifetime(name: str, lifetime: Lifetime) -> float:
    if lifetime is None:
        return math.inf
    seconds = seconds_of(name, lifetime)
    if not 0 < seconds * 1000 <= _MAX_MS:
        raise ValueError(f"{name} must be positive, and below 142,000 years, not {lifetime!r}")
    return seconds


def _grace(name: str, given: Seconds) -> float:
    seconds = seconds_of(name, given)
    if not 0 <= seconds * 1000 <= _MAX_MS:
        raise ValueError(f"{name} must be 0 or more, and below 142,000 years, not {given!r}")
    return seconds


DEFAULTS: Final = LoadOptions()
NAMES: Final = frozenset(each.name for each in fields(LoadOptions))
