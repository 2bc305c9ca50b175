"""Read, change, write if nobody else has written: `update`, as a generator.

What lives here: the retries. What does not: doing the reads and writes (the handles). Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from raycache.codec import LOADED
from raycache.errors import DeadlineExceededError
from raycache.loading.basics import Key
from raycache.loading.engine import Engine
from raycache.loading.found import NEVER, Found
from raycache.loading.guarding import still_good
from raycache.loading.steps import Call, CompareAndSet, Look, Pause, Steps

FIRST_PAUSE_S: Final = 0.002
LONGEST_PAUSE_S: Final = 0.1
KEEP_EXPIRY: Final = -1


def update(engine: Engine, name: Key, key: bytes, change: Callable[[Any], Any], default: Any, px: int,
           timeout_s: float) -> Steps[Any]:
    """Replace the value of `key` by `change` of it, and return that.

    After a conflict with another writer it waits for a random time up to a bound that doubles, so that of many writers
    one gets through in each round.

    Args:
        px: the new lifetime in milliseconds; 0 = for ever, `KEEP_EXPIRY` = what it has.

    Raises:
        DeadlineExceededError: others were quicker until the deadline; nothing was written.
    """
    end_s = engine.clock() + timeout_s
    bound_s = FIRST_PAUSE_S
    while True:
        found = yield Look(key)
        version, payload = (0, b"") if found is None else found
        old = default
        if payload and (yield from _counts(key, payload)):
            old = engine.opened(Found(NEVER + payload))
        new = yield Call(change, (), (old,))
        if (yield CompareAndSet(key, version, new, px)):
            return new
        delay_s = engine.rng.uniform(0.0, bound_s)
        if engine.clock() + delay_s >= end_s:
            raise DeadlineExceededError(f"others changed {name!r} at every attempt until the deadline; nothing written")
        yield Pause(delay_s)
        bound_s = min(2 * bound_s, LONGEST_PAUSE_S)


def _counts(key: bytes, payload: bytes) -> Steps[bool]:
    """Return whether a value is still good, and not only still there."""
    if payload[0] != LOADED:
        return True
    header = Found(NEVER + payload).header
    assert header is not None
    if not header.tags and not header.grace_ms:
        return True
    (is_good,) = yield from still_good([(key, header)])
    return is_good
