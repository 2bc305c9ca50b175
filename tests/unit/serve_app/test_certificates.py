"""Renewed certificates: taken up by a server that runs, and never by halves."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import uvloop
from starlette.responses import PlainTextResponse

from serve_app import certificates
from serve_app.certificates import Files, Renewing, context_behind
from tests.certificates import Authority


def replace(authority: Authority, pair: tuple[str, str]) -> None:
    """Put a new certificate and key where the old ones are, each at once, as those who renew them do."""
    for new, old in zip(authority.issue("next"), pair, strict=True):
        shutil.copy(new, f"{old}.new")
        os.replace(f"{old}.new", old)


async def shown(authority: Authority, port: int) -> bytes:
    """Return the certificate that a new connection is shown, after one request over it."""
    context = ssl.create_default_context(cafile=authority.ca)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"as it is")
        return found
    finally:
        writer.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_server_that_runs_shows_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    monkeypatch.setattr(certificates, "LOOK_S", 0.01)
    authority = Authority.make(tmp_path)
    pair = authority.issue("door")
    for name, value in certificates.variables(*pair).items():
        monkeypatch.setenv(name, value)
    (middleware,) = certificates.middlewares()
    app: Any = middleware.cls(PlainTextResponse("as it is"), **middleware.kwargs)

    async def main() -> None:
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", ssl_certfile=pair[0],
                                               ssl_keyfile=pair[1]))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        first = await shown(authority, port)
        assert await shown(authority, port) == first
        replace(authority, pair)
        while await shown(authority, port) == first:
            await asyncio.sleep(0.01)
        server.should_exit = True
        await serving

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(main(), 30))


def test_halves_and_nonsense_change_nothing(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    cert, key = authority.issue("door")

    class Context(ssl.SSLContext):
        loaded = 0

        def load_cert_chain(self, *arguments: Any) -> None:
            super().load_cert_chain(*arguments)
            self.loaded += 1

    context, files = Context(ssl.PROTOCOL_TLS_SERVER), Files(cert, key)
    assert not files.renew(context)
    other_cert, other_key = authority.issue("next")
    shutil.copy(other_cert, cert)
    assert not files.renew(context)  # a certificate without its key
    Path(key).write_text("nonsense")
    assert not files.renew(context)
    Path(key).unlink()
    assert not files.renew(context)
    assert context.loaded == 0
    shutil.copy(other_key, key)
    assert files.renew(context)
    assert not files.renew(context)
    assert context.loaded == 1


async def test_another_server_is_told_of_and_served_all_the_same(tmp_path: Path,
                                                                 caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    assert context_behind(receive) is None
    app = Renewing(PlainTextResponse("as it is"), Files(str(tmp_path / "none"), str(tmp_path / "none")))
    for scheme in ("http", "https", "https"):
        await app({"type": "http", "scheme": scheme, "method": "GET", "path": "/", "headers": []}, receive, send)
        await asyncio.sleep(0)
    assert len(sent) == 6
    assert [record.message.endswith("new start of the door") for record in caplog.records] == [True]


def test_no_files_no_middleware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYCACHE_DOOR_TLS_CERT", raising=False)
    assert certificates.middlewares() == []
