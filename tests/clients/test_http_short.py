"""The short way to a key and the framework's: the same requests through both get the same answers, bit for bit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import product
from typing import Any, Final
from urllib.parse import unquote

import numpy as np
import pytest
from starlette.types import Message, Receive, Scope, Send

from raycache.client.aio import AsyncCache
from raycache.metrics.histogram import Histogram
from raycache.testing.local import LocalCluster
from serve_app import answering
from serve_app.app import build_application
from serve_app.rest import keys
from serve_app.settings import HttpSettings, Token, digest_of
from serve_app.short import Application, ShortWay
from tests.clients.http_door import clusters_of

NOW_MS: Final = 1_800_000_000_000
Headers = list[tuple[bytes, bytes]]
Answered = tuple[int, Headers, bytes]

TOKENS: Final = (Token("reads", digest_of("a-reader-of-local"), "reader", ("local",)),
                 Token("writes", digest_of("a-writer-of-all-of-them"), "writer"),
                 Token("elsewhere", digest_of("a-writer-of-another"), "writer", ("other",)))


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=1) as running:
        yield running


@pytest.fixture(autouse=True)
def _time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "now_ms", lambda: NOW_MS)


class Way:
    """One of the two ways into an application."""

    def __init__(self, call: Callable[[Scope, Receive, Send], Any]) -> None:
        self._call = call

    async def ask(self, method: str, raw: bytes, headers: Headers | None = None, body: list[bytes] | None = None,
                  *, path: str | None = None, leaves: bool = False) -> Answered:
        """Send one request, its body in pieces; the caller leaves before the end of it where `leaves` is set."""
        pieces: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in body or []]
        pieces.append({"type": "http.disconnect"} if leaves else {"type": "http.request", "body": b"",
                                                                  "more_body": False})
        scope: Scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
                        "scheme": "http", "path": unquote(raw.decode("latin-1")) if path is None else path,
                        "raw_path": raw, "query_string": b"", "root_path": "", "headers": headers or [],
                        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "state": {}}
        sent: list[Message] = []

        async def receive() -> Message:
            return pieces.pop(0) if pieces else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._call(scope, receive, send)
        assert [message["type"] for message in sent[:1]] == ["http.response.start"]
        assert {message["type"] for message in sent[1:]} == {"http.response.body"}
        assert not sent[-1].get("more_body")
        return (sent[0]["status"], [(bytes(name), bytes(value)) for name, value in sent[0]["headers"]],
                b"".join(message.get("body", b"") for message in sent[1:]))


@asynccontextmanager
async def both_ways(cluster: LocalCluster, settings: HttpSettings) -> AsyncIterator[tuple[Way, Way, Application]]:
    """Yield the way that requests go, the framework's, and the application of both."""
    application = build_application(settings, clusters_of(cluster, settings))
    assert isinstance(application, Application)
    try:
        yield Way(application), Way(application.whole), application
    finally:
        await application.state.door.clusters.close()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of those requests that have gone the short way."""
    found: list[str] = []
    answer = ShortWay.__call__

    async def noting(self: ShortWay, scope: Scope, receive: Receive, send: Send) -> None:
        found.append(scope["method"])
        await answer(self, scope, receive, send)

    monkeypatch.setattr(ShortWay, "__call__", noting)
    return found


READS: Final[list[Headers]] = [
    [], [(b"if-none-match", b"*")], [(b"if-match", b'"1"')], [(b"if-none-match", b'W/"5", "x", junk')],
    [(b"accept", b"application/msgpack")], [(b"prefer", b"wait=0.5")], [(b"prefer", b"wait=\xff")],
    [(b"if-match", b"*"), (b"if-match", b'"1"')], [(b"authorization", b"Basic x")], [(b"cookie", b"\xff\x00")],
    [(b"origin", b"http://elsewhere")], [(b"accept-encoding", b"gzip"), (b"range", b"bytes=0-1")]]
PATHS: Final = [b"text", b"number", b"json", b"array", b"gone", b"", b"a%2Fb/c", b"a%0Ab", b"end%0A", b"%FF%FE", b"%zz",
                b"a?b", b"x" * 5000, b"/keys/a", b"..%2F..", b"large"]


async def _fill(cluster: LocalCluster) -> None:
    async with AsyncCache(cluster.info) as cache:
        await cache.clear()
        values: dict[str, Any] = {"text": "Ada", "number": 5, "json": {"a": [1]}, "array": np.arange(3), "a/b/c": b"1",
                                  "a\nb": b"2", "end\n": b"3", "end": b"4", "/keys/a": b"5", "large": b"v" * 300_000}
        await cache.set_many(values, ttl=600)
        await cache.set(b"\xff\xfe", b"6")


def test_reads_get_the_same_either_way(cluster: LocalCluster, taken: list[str]) -> None:
    """With and without tokens, at paths that are keys and paths that are none, with headers that make no sense."""
    async def compare(settings: HttpSettings, cases: list[tuple[str, bytes, Headers]]) -> set[int]:
        async with both_ways(cluster, settings) as (short, whole, _):
            seen = set()
            for method, raw, headers in cases:
                first = await short.ask(method, raw, headers)
                assert first == await whole.ask(method, raw, headers), (method, raw, headers)
                seen.add(first[0])
            return seen

    asyncio.run(_fill(cluster))
    roots = [b"/v1/local/keys/" + path for path in PATHS]
    cases = [(method, raw, headers) for method, raw, headers in product(("GET", "HEAD"), roots, READS)]
    others = [b"/v1/nobody/keys/a", b"/v1/-/keys/a", b"/v1//keys/a", b"/v1/local/keys", b"/v1/local/%6Beys/text",
              b"/v1/a%2Fkeys/x/keys/text", b"/v1/loc%61l/keys/text", b"/v1/local%0A/keys/text", b"/v1/local/batch"]
    cases += [(method, raw, []) for method, raw in product(("GET", "HEAD", "POST", "OPTIONS", "get"), others)]
    statuses = asyncio.run(compare(HttpSettings(), cases))
    assert statuses == {200, 304, 307, 404, 405, 412, 414, 422}
    assert len(taken) > len(cases) * 0.8  # else the comparison compared the framework with itself

    shown: list[Headers] = [[], [(b"authorization", b"Bearer a-reader-of-local")], [(b"authorization", b"bearer no")],
                            [(b"authorization", b"Bearer a-writer-of-another")], [(b"authorization", b"Basic x")]]
    strict = [("GET", b"/v1/local/keys/text", headers) for headers in shown]
    strict += [("PUT", b"/v1/local/keys/text", headers) for headers in shown]
    assert asyncio.run(compare(HttpSettings(tokens=TOKENS), strict)) == {200, 401, 403}


def test_conditions_hold_either_way(cluster: LocalCluster) -> None:
    async def compare() -> None:
        async with both_ways(cluster, HttpSettings()) as (short, whole, _):
            _, headers, _ = await short.ask("HEAD", b"/v1/local/keys/text")
            tag = dict(headers)[b"etag"]
            for name, status in ((b"if-none-match", 304), (b"if-match", 200)):
                first = await short.ask("GET", b"/v1/local/keys/text", [(name, tag)])
                assert first == await whole.ask("GET", b"/v1/local/keys/text", [(name, tag)])
                assert first[0] == status

    asyncio.run(_fill(cluster))
    asyncio.run(compare())


def test_writes_do_the_same_either_way(cluster: LocalCluster, taken: list[str]) -> None:
    """Each on a key of its own for each way, so that both find what the other found; versions aside."""
    plain: Headers = [(b"content-type", b"text/plain")]
    steps: list[tuple[str, Headers, list[bytes]]] = [
        ("DELETE", [], []), ("PUT", plain, [b"a", b"b"]), ("GET", [], []), ("PUT", [(b"if-none-match", b"*")], [b"c"]),
        ("PUT", [*plain, (b"content-encoding", b"gzip"), (b"cache-control", b"max-age=60")], [b"z"]), ("GET", [], []),
        ("PUT", [(b"cache-control", b"max-age=0")], [b"1"]), ("PUT", [(b"content-type", b"x" * 300)], [b"1"]),
        ("PUT", [(b"content-length", b"99999999")], [b"1"]), ("PUT", [], [b"x" * 900, b"x" * 900]), ("GET", [], []),
        ("DELETE", [(b"if-match", b'"1"')], []), ("DELETE", [(b"if-match", b"*")], []), ("GET", [], [])]

    def without_version(answer: Answered) -> Answered:
        status, headers, body = answer
        return status, [(name, b"" if name == b"etag" else value) for name, value in headers], body

    async def compare() -> list[int]:
        async with both_ways(cluster, HttpSettings(max_body_bytes=1000)) as (short, whole, application):
            statuses = []
            for method, headers, body in steps:
                first = await short.ask(method, b"/v1/local/keys/one", headers, list(body))
                second = await whole.ask(method, b"/v1/local/keys/two", headers, list(body))
                assert without_version(first) == without_version(second), (method, headers)
                statuses.append(first[0])
            first = await short.ask("PUT", b"/v1/local/keys/one", [], [b"half"], leaves=True)
            assert first == await whole.ask("PUT", b"/v1/local/keys/two", [], [b"half"], leaves=True)
            assert (first[0], await short.ask("HEAD", b"/v1/local/keys/one")) == (
                400, await whole.ask("HEAD", b"/v1/local/keys/two"))
            assert application.state.door.admission.held_bytes == 0
            return statuses

    asyncio.run(_fill(cluster))
    assert asyncio.run(compare()) == [404, 201, 200, 412, 204, 200, 422, 422, 413, 413, 200, 412, 204, 404]
    assert {"GET", "PUT", "DELETE"} <= set(taken)


def test_limits_deadlines_and_bugs_are_the_same_either_way(cluster: LocalCluster,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    async def compare() -> list[int]:
        settings = HttpSettings(max_concurrent_requests=2, max_held_bytes=200_000, max_body_bytes=200_000, deadline_s=5)
        async with both_ways(cluster, settings) as (short, whole, application):
            statuses, door = [], application.state.door
            path = b"/v1/local/keys/text"

            async def same(*asked: Any) -> None:
                first = await short.ask("GET", *asked)
                assert first == await whole.ask("GET", *asked)
                statuses.append(first[0])

            await same(b"/v1/local/keys/large")  # more than may be held: refused when it is to be sent
            with monkeypatch.context() as patched:
                patched.setattr("raycache.client.aio_stored.read", lambda *_: asyncio.Event().wait())
                await same(path, [(b"prefer", b"wait=0.01")])
            with monkeypatch.context() as patched:
                patched.setattr(keys, "etag", lambda _: 1 / 0)
                patched.setattr(answering.log, "error", lambda *_, **__: None)
                await same(path)
            door.admission.requests = 2
            await same(path)
            door.admission.requests = 0
            door.change(HttpSettings(max_requests_per_s=0.001))
            assert (await short.ask("GET", path))[0] == 200  # the only one of the next quarter of an hour
            await same(path)
            assert (len(door.deadlines), door.admission.requests, door.admission.held_bytes) == (0, 0, 0)
            return statuses

    asyncio.run(_fill(cluster))
    assert asyncio.run(compare()) == [429, 504, 500, 429, 429]


def test_what_the_figures_say_is_the_same_either_way(cluster: LocalCluster) -> None:
    async def count(is_short: bool) -> list[tuple[str, tuple[str, ...], Any]]:
        async with both_ways(cluster, HttpSettings()) as (short, whole, application):
            way = short if is_short else whole
            for method, raw in (("GET", b"/v1/local/keys/text"), ("HEAD", b"/v1/local/keys/none"),
                                ("PUT", b"/v1/local/keys/text"), ("GET", b"/v1/nobody/keys/a")):
                await way.ask(method, raw)
            return [(one.family.name, one.labels, one.value.count if isinstance(one.value, Histogram) else one.value)
                    for samples in application.state.door.figures.samples().values() for one in samples.all]

    asyncio.run(_fill(cluster))
    first = asyncio.run(count(is_short=True))
    assert first
    assert first == asyncio.run(count(is_short=False))


def test_pages_of_other_origins_go_the_frameworks_way(cluster: LocalCluster, taken: list[str]) -> None:
    async def ask() -> list[dict[bytes, bytes]]:
        async with both_ways(cluster, HttpSettings(cors_origins=("http://a",))) as (short, _, _):
            return [dict((await short.ask("GET", b"/v1/local/keys/text", headers))[1])
                    for headers in ([(b"origin", b"http://a")], [])]

    asyncio.run(_fill(cluster))
    for_page, plain = asyncio.run(ask())
    assert for_page[b"access-control-allow-origin"] == b"http://a"
    assert (b"access-control-allow-origin" in plain, taken) == (False, ["GET"])
