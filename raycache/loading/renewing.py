"""Loading a value anew although the cache has one.

What lives here: the decisions, as a generator (see `steps.py`). What does not: loading and storing (`engine.py`). Pure.
"""

from __future__ import annotations

from typing import Any

from raycache.loading.basics import Key, Source, failed_elsewhere
from raycache.loading.engine import LONGEST_WAIT_S, Engine
from raycache.loading.found import Found
from raycache.loading.options import LoadOptions
from raycache.loading.steps import Answer, Fetch, Flight, Steps, TakeLeases, WaitForLease


class PlainValue(Exception):
    """The key holds a value that was not loaded: nothing tells it from a later one, so it must be deleted first."""


def renew(engine: Engine, name: Key, key: bytes, source: Source, options: LoadOptions) -> Steps[Any]:
    """Load the key's value and store it; what the cache has is served to others until then.

    A load of somebody else's that is under way began before this call, so its value may be too old: it is waited for,
    and then this caller loads.

    Raises:
        PlainValue: see there.
        LoadTimeoutError: somebody else was still loading when `wait_s` was over.
        ReentrantLoadError: the running code is a load of `key`.
        Exception: whatever the loader raises.
    """
    end_s = engine.clock() + engine.wait_s(options)
    engine.check_entry(name, key)
    while True:
        (aged,), _ = yield Fetch((key,))
        seen = Found(aged).mark if aged is not None else b""
        if aged is not None and not seen:
            raise PlainValue
        answer: Answer | None
        (answer,) = yield TakeLeases((key,), (seen,), options.lease_s)
        if answer == 0:
            left_s = end_s - engine.clock()
            if left_s <= 0:
                raise engine.too_late(name)
            answer = yield WaitForLease(key, seen, options.lease_s, min(left_s, LONGEST_WAIT_S))
        if isinstance(answer, int) and answer != 0:
            # A flight of its own, which nobody joins: who joined another one may not get what is older than its call.
            value, _ = yield from engine.load(name, key, source, options, answer, Flight(key, None))
            return value
        if isinstance(answer, bytes) and answer[:1] != b"h" and options.on_load_error == "raise":
            raise failed_elsewhere(answer[1:])
