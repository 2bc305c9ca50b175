"""Large values in the engine: what is sent to be stored, what is judged before it is fetched, what a loss means."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from raycache.codec import ARRAY, LOADED, OBJECT
from raycache.codec.loaded import frame
from raycache.codec.parts import restore, split
from raycache.descriptor import Descriptor
from raycache.errors import CorruptValueError
from raycache.loading.basics import STORED, Source, aged_of, outcome_of
from raycache.loading.engine import Engine
from raycache.loading.found import NEVER, NOT_PLAIN, Found, value_at_once
from raycache.loading.many import Many
from raycache.loading.options import LoadOptions
from raycache.loading.steps import LOOK_AGAIN, Bring, Call, Fetch, Fill, Flight, Spawn, TakeLeases
from tests.unit.loading.test_engine import Flights

KEY = b"k"
LARGE = np.arange(100.0)
DESCRIPTOR = Descriptor(b"n" * 16, LOADED, 1000, "s1", b"there")
HEAD = frame(ARRAY, b"", number=3, load_s=0.5, grace_ms=1000, tags=((b"t", 5),))


def aged(left_ms: int = -1, head: bytes = HEAD) -> bytes:
    return left_ms.to_bytes(8, "big", signed=True) + bytes([OBJECT]) + DESCRIPTOR.pack() + head


@pytest.fixture
def engine() -> Engine:
    return Engine(Flights(), "c", lambda: 0.0, random.Random(1), 5.0, split=lambda value: split(value, 100))


def call(engine: Engine, leader: str, **options: Any) -> Any:
    if leader == "many":
        return Many(engine, {KEY: "k"}, lambda keys: {"k": LARGE}, LoadOptions(**options)).obtain()
    return engine.obtain("k", KEY, Source(lambda: LARGE), LoadOptions(**options))


def result_of(work: Any, sent: Any, leader: str) -> Any:
    """Let a call go on to its end; return the value."""
    with pytest.raises(StopIteration) as stop:
        work.send(sent)
    return stop.value.value[KEY] if leader == "many" else stop.value.value


def test_the_head_is_read_without_the_value() -> None:
    found = Found(aged(700))
    assert found.descriptor == DESCRIPTOR
    assert found.header is not None
    assert (found.left_ms, found.tags, found.header.load_s, found.header.grace_ms) == (700, ((b"t", 5),), 0.5, 1000)
    assert found.mark == HEAD[: len(found.mark)]
    plain = Found(aged(head=b""))  # of `set`
    assert (plain.header, plain.mark, plain.tags) == (None, b"", ())
    assert value_at_once(aged(), LoadOptions(), random.Random(1)) is NOT_PLAIN
    for broken in (aged()[:300], aged(head=HEAD[:20])):
        with pytest.raises(CorruptValueError):
            Found(broken)


def test_a_large_value_is_sent_in_parts_and_its_head_apart(engine: Engine) -> None:
    filling = engine.filling(KEY, 7, LARGE, 0.5, ((b"t", 5),), LoadOptions(ttl=10, jitter=0, stale_ttl=1))
    assert (filling.token, filling.kind, filling.px) == (7, LOADED, 11_000)
    assert filling.parts is not None
    assert np.shares_memory(np.asarray(filling.parts.buffers[1]), LARGE)
    found = Found(aged(head=filling.data))
    assert (found.tags, found.header and found.header.grace_ms) == (((b"t", 5),), 1000)
    assert Found(aged_of(filling)).value.tolist() == LARGE.tolist()
    again = restore(LOADED, (filling.data, *filling.parts.buffers))
    assert np.shares_memory(again, LARGE)
    assert restore(LOADED, (HEAD + filling.parts.data,)).tolist() == LARGE.tolist()


@pytest.mark.parametrize(("value", "options"), [
    (b"small", {}), ([1], {}), (LARGE, {"cache_if": lambda value: False}),
])  # fmt: skip
def test_others_are_sent_whole(engine: Engine, value: Any, options: Any) -> None:
    engine.split = lambda given: (9, b"encoded") if type(given) is list else split(given, 100)
    filling = engine.filling(KEY, 7, value, 0.5, (), LoadOptions(**options))
    assert filling.parts is None
    assert filling.data.endswith({bytes: b"small", list: b"encoded"}.get(type(value), LARGE.tobytes()))


def test_those_who_joined_read_what_is_an_object_now(engine: Engine) -> None:
    filling, flight = engine.filling(KEY, 7, LARGE, 0.5, (), LoadOptions()), Flight(KEY, None)
    assert outcome_of(filling, STORED, flight) is LOOK_AGAIN
    assert outcome_of(filling, 0, flight) is LOOK_AGAIN
    for kept in (outcome_of(filling, 2, flight), outcome_of(filling.whole, STORED, flight)):
        assert kept.aged == aged_of(filling)


@pytest.mark.parametrize("leader", ["single", "many"])
def test_a_hit_is_judged_and_then_brought(engine: Engine, leader: str) -> None:
    work = call(engine, leader, tags=("t",))
    assert type(next(work)) is Fetch
    bring = work.send(([aged()], {b"t": 5}))
    assert bring == Bring(KEY, DESCRIPTOR)
    assert result_of(work, (True, LARGE), leader) is LARGE


@pytest.mark.parametrize("leader", ["single", "many"])
def test_what_was_invalidated_is_not_even_fetched(engine: Engine, leader: str) -> None:
    work = call(engine, leader, tags=("t",))
    next(work)
    lease = work.send(([aged()], {b"t": 6}))
    assert (type(lease), tuple(lease.seen)) == (TakeLeases, (Found(aged()).mark,))


@pytest.mark.parametrize("leader", ["single", "many"])
def test_a_lost_object_is_a_miss_that_loads(engine: Engine, leader: str) -> None:
    work = call(engine, leader)
    next(work)
    assert type(work.send(([aged(head=b"")], {}))) is Bring
    lease = work.send((False, None))
    assert (type(lease), tuple(lease.seen)) == (TakeLeases, (b"",))
    assert type(work.send([7])) is Call
    assert type(work.send({"k": LARGE} if leader == "many" else LARGE)) is Fill
    assert result_of(work, [STORED], leader) is LARGE


def whole(head: bytes) -> bytes:
    return NEVER + bytes([LOADED]) + head + split(LARGE, 0).data  # type: ignore[union-attr]


def test_where_the_object_is_out_of_reach_its_bytes_do(engine: Engine) -> None:
    work = call(engine, "single")
    next(work)
    work.send(([aged()], {b"t": 5}))
    assert result_of(work, (False, whole(HEAD)), "single").tolist() == LARGE.tolist()


def test_another_value_that_has_come_meanwhile_is_judged_anew(engine: Engine) -> None:
    work = call(engine, "single")
    next(work)
    work.send(([aged()], {b"t": 5}))
    newer = frame(ARRAY, b"", number=4, load_s=0.5, grace_ms=0, tags=((b"t", 6),))
    fetch = work.send((False, whole(newer)))
    assert (type(fetch), fetch.keys, fetch.tags) == (Fetch, (), [b"t"])
    assert type(work.send(([], {b"t": 7}))) is TakeLeases


def test_the_present_value_is_brought_before_a_refresh_begins(engine: Engine) -> None:
    work = call(engine, "single", stale_ttl=1)
    next(work)
    assert type(work.send(([aged(500)], {b"t": 5}))) is Bring
    assert type(work.send((True, LARGE))) is Spawn
    assert result_of(work, True, "single") is LARGE


@pytest.mark.parametrize("leader", ["single", "many"])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_fallback_whose_object_is_lost_is_none(engine: Engine, leader: str, is_there: bool) -> None:
    work = call(engine, leader, stale_if_error=1)
    next(work)
    assert type(work.send(([aged(500)], {b"t": 5}))) is TakeLeases
    assert type(work.send([-1])) is Call
    assert type(work.throw(OSError("no database"))) is Bring
    if is_there:
        assert result_of(work, (True, LARGE), leader) is LARGE
    else:
        with pytest.raises(OSError, match="no database"):
            work.send((False, None))
