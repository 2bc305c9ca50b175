"""Where a handle's first knowledge comes from: an address, or one question to Ray per process."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from raycache import connecting
from raycache.actors import launch, place
from raycache.client.info import ConnectionInfo, Place
from raycache.errors import ClusterNotFoundError

NAME = "unit-connecting"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names that Ray was asked for; it knows one cluster, of shards that nobody listens for."""
    names: list[str] = []

    def look_up(name: str) -> ConnectionInfo:
        names.append(name)
        if name != NAME:
            raise ClusterNotFoundError(f"no cluster {name!r} in this Ray (these run: {NAME})")
        return ConnectionInfo(cluster=name, seeds=(("127.0.0.1", 1),), secret="s", topology=None)

    monkeypatch.setattr(launch, "look_up", look_up)
    connecting.forget(NAME)
    yield names
    connecting.forget(NAME)


def test_ray_is_asked_once_per_process(asked: list[str]) -> None:
    for _ in range(3):
        with connecting.connect(NAME):
            pass
    assert asked == [NAME]


async def test_the_async_handle_shares_the_answer(asked: list[str]) -> None:
    with connecting.connect(NAME):
        pass
    async with await connecting.connect_async(NAME):
        pass
    assert asked == [NAME]


def test_a_pickled_handle_carries_no_secret_and_connects_by_name(asked: list[str]) -> None:
    with connecting.connect(NAME, timeout_s=2) as cache:
        data = pickle.dumps(cache)
    assert NAME.encode() in data
    connecting.forget(NAME)
    with pickle.loads(data):
        pass
    assert asked == [NAME, NAME]


def test_an_address_needs_no_ray(asked: list[str]) -> None:
    with connecting.connect("any", address="127.0.0.1:1"):
        pass
    assert asked == []


@pytest.mark.parametrize("address", ["localhost", ":6379", "host:port", ""])
def test_what_is_no_address_says_so(address: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        connecting.connect("any", address=address)


def test_an_unknown_name_is_not_remembered(asked: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(ClusterNotFoundError, match=NAME):
            connecting.connect("other")
    assert asked == ["other", "other"]


def test_a_pickled_handle_keeps_its_choice_of_copies_and_takes_its_place_from_where_it_is(
        asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "own_place", lambda: Place("here", "m"))
    with connecting.connect(NAME, read_from="nearest", hedge_s=0.2) as cache:
        data = pickle.dumps(cache)
    monkeypatch.setattr(place, "own_place", lambda: Place("there", "m"))
    with pickle.loads(data) as again:
        assert again._wishes == cache._wishes
        assert (again._settings.hedge_s, again._settings.place) == (0.2, Place("there", "m"))


async def test_both_handles_know_where_they_are(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "own_place", lambda: Place("here", "m"))
    async with await connecting.connect_async(NAME, read_from="nearest") as cache:
        assert cache._settings.place == Place("here", "m")
    async with await connecting.connect_async("any", address="127.0.0.1:1", read_from="nearest") as cache:
        assert cache._settings.place is None, "without Ray nobody can tell"


def test_what_is_not_in_ray_has_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.ray, "is_initialized", lambda: False)  # other tests' Ray may run in this process
    assert place.own_place() is None
