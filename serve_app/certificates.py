"""Renewed certificates of the HTTP door, taken up by Serve's own proxies without a restart.

What lives here: a middleware that Serve puts before its proxy's application (its documented
`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`), which answers nothing and changes nothing, but learns from the first
request which TLS context the proxy listens with, and reads the files into it whenever they change. What does not: the
first reading, which is Serve's (`ssl_certfile` and `ssl_keyfile`). Belongs to the proxy's loop.

Where the server under the proxy is another one than it was written for, there is no context to be found: then a warning
says that renewed certificates need a restart.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from typing import Any, Final

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

log = logging.getLogger(__name__)

CALLBACK: Final = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
_CERT, _KEY = "RAYCACHE_DOOR_TLS_CERT", "RAYCACHE_DOOR_TLS_KEY"
LOOK_S: Final = 1.0
"""How often it is looked whether the files have changed."""


def variables(cert: str, key: str) -> dict[str, str]:
    """Return the environment of Serve's processes that lets its proxies take up renewed files at these paths."""
    return {CALLBACK: "serve_app.certificates.middlewares", _CERT: cert, _KEY: key}


def middlewares() -> list[Middleware]:
    """Return what Serve asks for when one of its proxies starts."""
    cert, key = os.environ.get(_CERT, ""), os.environ.get(_KEY, "")
    return [Middleware(Renewing, files=Files(cert, key))] if cert and key else []


class Files:
    """A certificate with its chain, and its key: two PEM files."""

    def __init__(self, cert: str, key: str) -> None:
        self._paths = cert, key
        self._seen = self._stamp()

    def renew(self, context: ssl.SSLContext) -> bool:
        """Read the files into `context` if they have changed; return whether that was done.

        What cannot be read, or does not belong together yet, leaves the context as it is.
        """
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return False
        try:
            # Tried elsewhere first: a context that has got a certificate and not its key is of no use.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*self._paths)
            context.load_cert_chain(*self._paths)
        except OSError as error:  # ssl.SSLError is one, too
            log.warning("the door's certificate stays as it was, the new one cannot be read: %s", error)
            return False
        finally:
            self._seen = stamp
        log.warning("the door's certificate was read again")
        return True

    def _stamp(self) -> object:
        try:
            return [(one.st_mtime_ns, one.st_size, one.st_ino) for one in map(os.stat, self._paths)]
        except OSError:
            return None


class Renewing:
    """The proxy's application, as it is."""

    def __init__(self, app: ASGIApp, files: Files) -> None:
        self._app = app
        self._files = files
        self._looking: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; the first one over TLS begins the looking for new files."""
        if self._looking is None and scope["type"] == "http" and scope.get("scheme") == "https":
            self._looking = asyncio.create_task(self._look(context_behind(receive)), name="certificates")
        await self._app(scope, receive, send)

    async def _look(self, context: ssl.SSLContext | None) -> None:
        if context is None:
            log.warning("this server does not show its TLS context: renewed certificates need a new start of the door")
            return
        while True:
            self._files.renew(context)
            await asyncio.sleep(LOOK_S)


def context_behind(receive: Any) -> ssl.SSLContext | None:
    """Return the context of the connection that a request's `receive` belongs to; None: it cannot be found."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    ask = getattr(transport, "get_extra_info", None)
    found = ask("sslcontext") if callable(ask) else None
    return found if isinstance(found, ssl.SSLContext) else None
