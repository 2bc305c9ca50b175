"""Loading anew what the cache has: driven by hand."""

from __future__ import annotations

import random
from typing import Any

import pytest

from raycache.errors import LoadFailedError, LoadTimeoutError
from raycache.loading.basics import Source
from raycache.loading.engine import Engine
from raycache.loading.found import NEVER
from raycache.loading.options import LoadOptions
from raycache.loading.renewing import PlainValue, renew
from raycache.loading.steps import Call, Fetch, Fill, TakeLeases, WaitForLease

KEY = b"k"


class Hand:
    """Answers what the generator asks for, in the order of `script`: the step expected, and what it gets."""

    def __init__(self, **options: Any) -> None:
        self.now_s = 0.0
        self.engine = Engine(None, "c", lambda: self.now_s, random.Random(1), 5.0)  # type: ignore[arg-type]
        self.options = LoadOptions(**options)
        self.asked: list[Any] = []

    def run(self, *script: tuple[type, Any]) -> Any:
        work = renew(self.engine, "k", KEY, Source(lambda: "new"), self.options)
        answers = iter(script)
        try:
            step = next(work)
            while True:
                kind, answer = next(answers)
                assert type(step) is kind
                self.asked.append(step)
                step = work.send(answer)
        except StopIteration as stop:
            assert next(answers, None) is None
            return stop.value


def stored(hand: Hand) -> bytes:
    """A value that was loaded, as a read of it comes."""
    filling = hand.engine.filling(KEY, 1, "old", 0.1, (), hand.options)
    return NEVER + bytes([filling.kind]) + filling.data


def test_the_value_that_is_there_is_named_to_the_shard_and_replaced() -> None:
    hand = Hand()
    old = stored(hand)
    assert hand.run((Fetch, ([old], {})), (TakeLeases, [7]), (Call, "new"), (Fill, [1])) == "new"
    _, taken, _, filled = hand.asked
    assert old[9:].startswith(taken.seen[0])
    assert taken.seen[0]
    assert filled.fillings[0].token == 7


def test_an_absent_key_is_simply_loaded() -> None:
    assert Hand().run((Fetch, ([None], {})), (TakeLeases, [7]), (Call, "new"), (Fill, [1])) == "new"


def test_somebody_elses_load_is_waited_for_and_then_done_again() -> None:
    hand = Hand()
    theirs = b"h" + stored(hand)
    assert hand.run((Fetch, ([None], {})), (TakeLeases, [0]), (WaitForLease, theirs),
                    (Fetch, ([theirs[1:]], {})), (TakeLeases, [9]), (Call, "new"), (Fill, [1])) == "new"


def test_a_lease_that_comes_while_it_waits_is_used() -> None:
    assert Hand().run((Fetch, ([None], {})), (TakeLeases, [0]), (WaitForLease, 5), (Call, "new"), (Fill, [1])) == "new"


def test_a_value_that_was_not_loaded_must_be_deleted_first() -> None:
    with pytest.raises(PlainValue):
        Hand().run((Fetch, ([NEVER + b"\x03text"], {})))


def test_it_does_not_wait_for_ever() -> None:
    hand = Hand(wait_s=0)
    with pytest.raises(LoadTimeoutError):
        hand.run((Fetch, ([None], {})), (TakeLeases, [0]))


def test_a_failure_elsewhere_is_raised_or_tried_again() -> None:
    with pytest.raises(LoadFailedError, match="KeyError"):
        Hand().run((Fetch, ([None], {})), (TakeLeases, [0]), (WaitForLease, b"fKeyError: 'x'"))
    assert Hand(on_load_error="retry").run(
        (Fetch, ([None], {})), (TakeLeases, [0]), (WaitForLease, b"fKeyError: 'x'"), (Fetch, ([None], {})),
        (TakeLeases, [3]), (Call, "new"), (Fill, [1])) == "new"
