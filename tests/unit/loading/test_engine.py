"""Flights within one process: who is told what, and which are gone past. Driven by hand."""

from __future__ import annotations

import contextvars
import random
from typing import Any

import pytest

from raycache.errors import CallerError, LoadFailedError, UnsupportedTypeError
from raycache.loading.basics import Source, in_no_load, is_loading, loading
from raycache.loading.engine import Engine
from raycache.loading.many import Many
from raycache.loading.options import LoadOptions
from raycache.loading.refreshing import refresh_soon
from raycache.loading.steps import Call, Fetch, Fill, Flight, Free, Join, Outcome, Spawn, TakeLeases

KEY = b"k"
OPTIONS = LoadOptions()


class Flights:
    """As a handle has them; nobody waits with anything."""

    def __init__(self) -> None:
        self.flights: dict[bytes, Flight] = {}

    def join(self, key: bytes) -> tuple[Flight, bool]:
        is_new = key not in self.flights
        return self.flights.setdefault(key, Flight(key, None)), is_new

    def finish(self, flight: Flight, outcome: Outcome) -> None:
        if self.flights.get(flight.key) is flight:
            del self.flights[flight.key]
        flight.outcome = outcome


@pytest.fixture
def engine() -> Engine:
    return Engine(Flights(), "c", lambda: 0.0, random.Random(1), 5.0)


def single(engine: Engine) -> Any:
    return engine.obtain("k", KEY, Source(lambda: None), OPTIONS)


def many(engine: Engine) -> Any:
    return Many(engine, {KEY: "k"}, lambda keys: {}, OPTIONS).obtain()


def missed(work: Any, then: type) -> None:
    """Let a call begin and find nothing; it asks for a `then` next."""
    assert type(next(work)) is Fetch
    assert type(work.send(([None], {}))) is then


@pytest.mark.parametrize("leader", [single, many])
@pytest.mark.parametrize("error", [KeyError("no row"), CallerError("another cache's")])
def test_whatever_a_loader_raises_those_who_joined_hear_of_it(engine: Engine, leader: Any, error: Exception) -> None:
    first, second = leader(engine), single(engine)
    missed(first, TakeLeases)
    missed(second, Join)
    assert type(first.send([7])) is Call
    assert type(first.throw(error)) is Free
    with pytest.raises(type(error)):
        first.send(None)
    with pytest.raises(LoadFailedError) as caught:
        second.send(True)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("leader", [single, many])
def test_so_they_do_of_a_value_that_cannot_be_stored(engine: Engine, leader: Any) -> None:
    first, second = leader(engine), single(engine)
    missed(first, TakeLeases)
    missed(second, Join)
    assert type(first.send([7])) is Call
    assert type(first.send({"k": object()} if leader is many else object())) is Free
    with pytest.raises(UnsupportedTypeError):
        first.send(None)
    with pytest.raises(LoadFailedError):
        second.send(True)


def test_an_error_of_the_cache_is_the_leaders_alone(engine: Engine) -> None:
    first, second = single(engine), single(engine)
    missed(first, TakeLeases)
    missed(second, Join)
    with pytest.raises(CallerError):
        first.throw(CallerError("the handle is closed"))
    assert type(second.send(True)) is Fetch


def refreshing(engine: Engine, leader: Any) -> Any:
    """Let a refresh wait for its turn; return its work."""
    if leader is many:
        work: Any = Many(engine, {KEY: "k"}, lambda keys: {}, OPTIONS)._refresh_soon({KEY: b"mark"})
    else:
        work = refresh_soon(engine, "k", KEY, Source(lambda: None), OPTIONS, b"mark")
    spawn = next(work)
    assert type(spawn) is Spawn
    with pytest.raises(StopIteration):
        work.send(True)
    return spawn.work


@pytest.mark.parametrize("queued", [single, many])
@pytest.mark.parametrize("caller", [single, many])
def test_a_refresh_that_waits_for_its_turn_holds_nobody_up(engine: Engine, queued: Any, caller: Any) -> None:
    work, call = refreshing(engine, queued), caller(engine)
    missed(call, TakeLeases)
    with pytest.raises(StopIteration):  # its turn comes, and it asks for nothing
        next(work)
    assert KEY in engine.flights.flights  # type: ignore[attr-defined]
    assert type(call.send([7])) is Call
    assert type(call.send({"k": 1} if caller is many else 1)) is Fill


@pytest.mark.parametrize("queued", [single, many])
def test_one_that_has_begun_is_waited_for(engine: Engine, queued: Any) -> None:
    work, call = refreshing(engine, queued), single(engine)
    assert type(next(work)) is TakeLeases
    missed(call, Join)


def test_a_context_is_a_load_for_as_long_as_that_runs() -> None:
    with loading("c", [KEY]):
        with loading("c", [b"inner"]):
            assert [is_loading(*each) for each in (("c", KEY), ("c", b"inner"), ("other", KEY))] == [True, True, False]
        outlives, apart = contextvars.copy_context(), contextvars.copy_context()
        apart.run(in_no_load)
        assert [context.run(is_loading, "c", KEY) for context in (outlives, apart)] == [True, False]
        assert [is_loading("c", key) for key in (KEY, b"inner")] == [True, False]
    assert [is_loading("c", KEY), outlives.run(is_loading, "c", KEY)] == [False, False]
