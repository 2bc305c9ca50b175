"""Large bodies at the HTTP door: in memory once, refused before they come, and gone when their sender is."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import pytest
import uvloop
from starlette.types import Message, Scope

from raycache.client import aio_stored
from raycache.client.stored import BULKY_BYTES, Written
from raycache.testing.local import LocalCluster
from serve_app.app import build_application
from serve_app.door import Door
from serve_app.settings import HttpSettings
from serve_app.short import Application
from tests.clients.http_door import clusters_of, http_door

PIECE: Final = bytes(range(256)) * 256
Receive = Callable[[], Awaitable[Message]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=1) as running:
        yield running


@asynccontextmanager
async def application_of(cluster: LocalCluster, **settings: Any) -> AsyncIterator[tuple[Application, Door]]:
    chosen = HttpSettings(**settings)
    application = build_application(chosen, clusters_of(cluster, chosen))
    assert isinstance(application, Application)
    try:
        yield application, application.state.door
    finally:
        await application.state.door.clusters.close()


def scope_of(method: str, name: str, *headers: tuple[bytes, bytes]) -> Scope:
    path = f"/v1/local/keys/{name}"
    return {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "headers": list(headers), "state": {}}


async def ask(application: Application, scope: Scope, receive: Receive) -> tuple[int, dict[bytes, bytes]]:
    """Send one request; return status and headers."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])


def pieces_of(count: int) -> Receive:
    """Return a `receive` that gives so many pieces, each of them made when it is asked for."""
    left = count

    async def receive() -> Message:
        nonlocal left
        left -= 1
        return {"type": "http.request", "body": bytearray(PIECE) if left >= 0 else b"", "more_body": left >= 0}

    return receive


async def never() -> Message:
    """Stand for a caller who sends nothing more, or of whom nothing more may be asked."""
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("pieces", [1, 2, 40])
def test_large_values_come_back_whatever_pieces_they_came_in(cluster: LocalCluster, pieces: int) -> None:
    """Over the limit from which on a value is sent from where it stands, and below it; written over under a version."""
    async def main() -> None:
        async with application_of(cluster) as (application, door):
            status, headers = await ask(application, scope_of("PUT", "a"), pieces_of(pieces))
            assert status in (201, 204)
            status, _ = await ask(application, scope_of("PUT", "a", (b"if-match", headers[b"etag"])), pieces_of(pieces))
            assert status == 204
            handle = await door.clusters.handle("local")
            assert await handle.get("a") == PIECE * pieces
            assert door.admission.held_bytes == 0

    assert len(PIECE) == BULKY_BYTES
    uvloop.run(main())
    with http_door(cluster) as running:
        assert httpx.get(f"{running.url}/v1/local/keys/a").content == PIECE * pieces


def test_a_body_is_in_memory_once(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    count, found = 256, []

    async def write(_: Any, __: bytes, ___: int, data: bytes | bytearray, *____: Any) -> Written:
        found.append((type(data), len(data) // len(PIECE), tracemalloc.get_traced_memory()[1]))
        return Written(True, 1)

    monkeypatch.setattr(aio_stored, "write", write)

    async def main() -> None:
        async with application_of(cluster) as (application, _):
            await ask(application, scope_of("PUT", "a"), pieces_of(1))
            tracemalloc.start()
            try:
                await ask(application, scope_of("PUT", "a"), pieces_of(count))
            finally:
                tracemalloc.stop()

    asyncio.run(main())
    kind, length, peak = found[-1]
    assert (kind, length) == (bytearray, count)
    # A buffer that grows is an eighth larger than what is in it.
    assert peak < 1.4 * count * len(PIECE)


def test_what_is_too_long_is_refused_before_it_has_come(cluster: LocalCluster) -> None:
    async def main() -> None:
        async with application_of(cluster, max_body_bytes=200_000) as (application, door):
            status, _ = await asyncio.wait_for(
                ask(application, scope_of("PUT", "a", (b"content-length", b"200001")), never), 10)
            assert status == 413
            asked = 0

            async def endless() -> Message:
                nonlocal asked
                asked += 1
                return {"type": "http.request", "body": PIECE, "more_body": True}

            status, _ = await ask(application, scope_of("PUT", "a"), endless)
            assert (status, asked) == (413, 4)  # three fit
            assert (door.admission.held_bytes, door.admission.requests) == (0, 0)

    asyncio.run(main())


def test_all_bodies_together_have_a_limit(cluster: LocalCluster) -> None:
    """One that is on its way leaves no room for another, until it has ended."""
    async def main() -> None:
        async with application_of(cluster, max_body_bytes=300_000, max_held_bytes=300_000) as (application, door):
            length = (b"content-length", b"200000")
            first = asyncio.create_task(ask(application, scope_of("PUT", "a", length), never))
            while not door.admission.held_bytes:
                await asyncio.sleep(0)
            status, headers = await ask(application, scope_of("PUT", "b", length), never)
            assert (status, int(headers[b"retry-after"]) >= 1) == (429, True)
            status, _ = await ask(application, scope_of("PUT", "b"), pieces_of(3))  # says nothing of its length
            assert status == 429
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            assert (await ask(application, scope_of("PUT", "b"), pieces_of(1)))[0] in (201, 204)
            assert door.admission.held_bytes == 0

    asyncio.run(main())


def test_a_body_that_stops_half_way_leaves_nothing(cluster: LocalCluster) -> None:
    """Its sender is gone, or only silent until the deadline."""
    async def main() -> None:
        async with application_of(cluster) as (application, door):
            for ends, status in ((True, 400), (False, 504)):
                messages: list[Message] = [{"type": "http.request", "body": PIECE, "more_body": True}]
                if ends:
                    messages.append({"type": "http.disconnect"})

                async def receive(messages: list[Message] = messages) -> Message:
                    return messages.pop(0) if messages else await never()

                asked = scope_of("PUT", "half", (b"prefer", b"wait=0.05"))
                assert (await ask(application, asked, receive))[0] == status
                assert (door.admission.held_bytes, len(door.deadlines)) == (0, 0)
            assert (await ask(application, scope_of("HEAD", "half"), never))[0] == 404

    asyncio.run(main())


def test_a_large_answer_leaves_in_pieces_as_they_are_taken(cluster: LocalCluster) -> None:
    """Who takes them slowly holds memory meanwhile, which others who want as much are told of."""
    async def main() -> None:
        async with application_of(cluster, max_body_bytes=2_000_000, max_held_bytes=2_000_000) as (application, door):
            await ask(application, scope_of("PUT", "a"), pieces_of(20))
            is_asked, may_go, sizes = asyncio.Event(), asyncio.Event(), list[int]()

            async def slowly(message: Message) -> None:
                if message["type"] == "http.response.body":
                    sizes.append(len(message["body"]))
                    is_asked.set()
                    await may_go.wait()

            reading = asyncio.create_task(application(scope_of("GET", "a"), never, slowly))
            await is_asked.wait()
            assert (len(sizes), door.admission.held_bytes) == (1, 20 * len(PIECE))
            assert (await ask(application, scope_of("GET", "a"), never))[0] == 429
            assert (await ask(application, scope_of("HEAD", "a"), never))[0] == 200
            may_go.set()
            await reading
            assert (max(sizes), sum(sizes), door.admission.held_bytes) == (256 * 1024, 20 * len(PIECE), 0)

    asyncio.run(main())


def test_bytes_of_both_directions_count_against_a_tokens_quota(cluster: LocalCluster) -> None:
    """By either way to a key, in batches and in commands; other tokens and new settings know nothing of it."""
    tokens = [{"name": name, "token": f"the-token-of-{name}-0123", "role": "writer", **more} for name, more in (
        ("slow", {"max_bytes_per_s": 100}), ("free", {}))]
    settings = HttpSettings.from_mapping({"tokens": tokens})
    with http_door(cluster, settings) as running, httpx.Client(base_url=running.url, timeout=20) as client:
        def ask(method: str, path: str, name: str = "slow", **options: Any) -> int:
            headers = {"Authorization": f"Bearer the-token-of-{name}-0123"}
            return client.request(method, path, headers=headers, **options).status_code

        def forget() -> None:
            done = asyncio.run_coroutine_threadsafe(_change(running.door, settings), running.loop)
            done.result(20)

        key = "/v1/local/keys/paid"
        for method, path, options in (("PUT", key, {"content": bytes(90_000)}), ("GET", key, {}),
                                      ("POST", "/v1/local/batch", {"json": {"get": ["paid"]}}),
                                      ("POST", "/", {"json": ["GET", "paid"]})):
            assert ask(method, path, **options) < 300
            assert ask("HEAD", key) == 429
            assert ask("HEAD", key, "free") == 200
            forget()
            assert ask("HEAD", key) == 200


async def _change(door: Door, settings: HttpSettings) -> None:
    door.change(settings)
