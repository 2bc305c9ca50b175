"""What the parts of loading share: sources of values, flights, the names of tags, errors as text.

What lives here: small values and their forms on the wire. What does not: any decision (`engine.py`, `many.py`). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol

from raycache.errors import LoadFailedError
from raycache.loading.found import AGE_BYTES, NEVER
from raycache.loading.options import LoadOptions
from raycache.loading.steps import LOOK_AGAIN, Filling, Flight, Outcome

Key = str | bytes

PASS_ON: Final = -1
"""In place of a lifetime: for those who wait, not for the store."""
_TEXT_BYTES: Final = 4096


class _Running:
    """A loader that is running. A context outlives it where it starts a task that goes on."""

    __slots__ = ("cluster", "is_over", "keys")

    def __init__(self, cluster: str, keys: Sequence[bytes]) -> None:
        self.cluster, self.keys, self.is_over = cluster, frozenset(keys), False


_running: ContextVar[tuple[_Running, ...]] = ContextVar("raycache_loads", default=())


@contextmanager
def loading(cluster: str, keys: Sequence[bytes]) -> Iterator[None]:
    """Let what runs in this context, and the tasks that it starts, count as a load of `keys` until it ends."""
    mine = _Running(cluster, keys)
    before = _running.set((*_running.get(), mine))
    try:
        yield
    finally:
        mine.is_over = True
        _running.reset(before)


def is_loading(cluster: str, key: bytes) -> bool:
    """Return whether the running code is part of a load of `key` that is not over."""
    return any(each.cluster == cluster and key in each.keys and not each.is_over for each in _running.get())


def in_no_load() -> None:
    """Let this context be no part of the loads that it was started in: nobody in them waits for it."""
    _running.set(())


class Flights(Protocol):
    """The loads under way in one handle; as safe to use as the handle is."""

    def join(self, key: bytes) -> tuple[Flight, bool]:
        """Return the key's flight, and whether it is new: then the caller leads it and must `finish` it."""

    def finish(self, flight: Flight, outcome: Outcome) -> None:
        """End a flight, and let go whoever waits for it."""


class NoValue(Exception):
    """The loader has no value for this key, and that is no failure."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where one key's value comes from."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    pick: Callable[[Any], Any] | None = None
    """Takes the value out of what the function returned, or raises NoValue."""


TAG_PREFIX: Final = b"__raycache_tag__:"


def tag_key(tag: str) -> bytes:
    """Return the key that holds a tag's generation."""
    return TAG_PREFIX + tag.encode("utf-8", "surrogateescape")


def tag_keys(options: LoadOptions) -> list[bytes]:
    """Return the keys of the options' tags."""
    return [tag_key(tag) for tag in options.tags]


def text_of(error: Exception) -> bytes:
    """Return an error as those who wait get it."""
    text = str(error) if isinstance(error, LoadFailedError) else f"{type(error).__name__}: {error}"
    return text.encode("utf-8", "replace")[:_TEXT_BYTES]


def failed_elsewhere(text: bytes) -> LoadFailedError:
    """Return the error that `text_of` wrote down."""
    return LoadFailedError(text.decode("utf-8", "replace"))


STORED: Final = 1
"""What RC.FILL answers for a value that is in the cache now."""


def outcome_of(filling: Filling, answer: int, flight: Flight) -> Outcome:
    """Return what those who joined a flight get, whose value was sent to be stored with this answer."""
    if not answer or (answer == STORED and filling.parts is not None):
        return LOOK_AGAIN  # a large value that is an object now: they read that, as everybody does
    return Outcome(aged_of(filling), stage=flight.stage)


def aged_of(filling: Filling) -> bytes:
    """Return what a read of a value that has just been stored would give."""
    filling = filling.whole
    age = filling.px.to_bytes(AGE_BYTES, "big") if filling.px > 0 else NEVER
    return b"".join((age, bytes((filling.kind,)), filling.data))
