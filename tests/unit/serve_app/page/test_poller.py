"""One look a second for all who watch, and none for nobody; no clock is waited for but the loop's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from raycache.client.looking import ShardsSeen
from raycache.client.top import ClusterUse
from raycache.ring.topology import Topology
from serve_app.page import poller as module
from serve_app.page.poller import Poller, Seen, event


class Office:
    """A router that answers, fails, or does not answer."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.table = Topology.empty("features")
        self.calls = 0

    def describe(self, name: str) -> dict[str, Any]:
        self.calls += 1
        if self.failure is not None:
            raise self.failure
        return {"topology": self.table.to_bytes(), "restarts": {}, "policy": "lru", "memory_per_shard_bytes": 1,
                "warnings": [], "requires_auth": False, "secret": "", "events": [], "progress": {"change": None}}


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_at_shards(cache: Any, hot_keys: int, limit_s: float) -> ShardsSeen:
        return ShardsSeen(Topology.empty("features"), {}, ClusterUse("features", (), {}, 0.0, 0.0))

    monkeypatch.setattr(module, "EVERY_S", 0.02)
    monkeypatch.setattr(module, "look_at_shards", look_at_shards)


async def find() -> Any:
    return object()


def tick_in(seen: Seen) -> dict[str, Any]:
    name, data = parts(seen.tick)
    assert name == "tick"
    return data


def parts(raw: bytes) -> tuple[str, dict[str, Any]]:
    lines: Iterator[str] = iter(raw.decode().split("\n"))
    return next(lines).removeprefix("event: "), json.loads(next(lines).removeprefix("data: "))


async def test_all_watchers_see_the_same_looks(office: Office) -> None:
    poller = Poller("features", find, office)  # type: ignore[arg-type]
    async with aclosing(poller.watch()) as one, aclosing(poller.watch()) as other:  # type: ignore[type-var]
        first, second = await asyncio.gather(anext(one), anext(other))
        assert first is second
        assert poller.watchers == 2
        assert (await anext(one)).number > first.number
    assert poller.looks <= 3
    assert poller.watchers == 0


async def test_nobody_watches_nothing_is_asked(office: Office) -> None:
    poller = Poller("features", find, office)  # type: ignore[arg-type]
    assert office.calls == 0
    async with aclosing(poller.watch()) as watched:  # type: ignore[type-var]
        await anext(watched)
    calls = office.calls
    await asyncio.sleep(0.1)  # five looks long
    assert office.calls == calls
    async with aclosing(poller.watch()) as watched:  # type: ignore[type-var]
        await anext(watched)
    assert office.calls > calls


async def test_a_router_that_fails_is_a_warning_and_the_shards_are_still_shown(office: Office) -> None:
    poller = Poller("features", find, office)  # type: ignore[arg-type]
    async with aclosing(poller.watch()) as watched:  # type: ignore[type-var]
        assert tick_in(await anext(watched))["warnings"] == []
        office.failure = ValueError("the GCS is gone")
        while not (warnings := tick_in(await anext(watched))["warnings"]):
            pass
        assert "the GCS is gone" in warnings[0]
        office.failure = None
        while tick_in(await anext(watched))["warnings"]:
            pass


async def test_trouble_from_the_start_is_told_and_got_over(office: Office) -> None:
    office.failure = ValueError("no cluster 'features'\n<b>")
    poller = Poller("features", find, office)  # type: ignore[arg-type]
    async with aclosing(poller.watch()) as watched:  # type: ignore[type-var]
        seen = await anext(watched)
        assert parts(seen.tick) == ("trouble", {"cluster": "features", "text": "no cluster 'features'\n<b>"})
        assert seen.ring == b""
        office.failure = None
        while parts((seen := await anext(watched)).tick)[0] == "trouble":
            pass
        assert parts(seen.ring)[0] == "ring"


def test_an_event_is_one_line_whatever_is_in_it() -> None:
    raw = event("tick", {"key": "a\n\nevent: x\ndata: y\r\u2028"})
    assert raw.count(b"\n") == 3
    assert parts(raw) == ("tick", {"key": "a\n\nevent: x\ndata: y\r\u2028"})
