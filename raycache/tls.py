"""TLS: which files, and the contexts made of them.

What lives here: the settings, reading the files, and who counts as a member of the cluster by a certificate. What does
not: sockets and handshakes (`raycache.handshake` for doors; each client connects by itself). Any thread.

Keys stay in files: settings hold paths, which are the same on every machine, so no key travels through Ray or pickles.
Files that have changed are read again for the next connection; while they cannot be read the old ones stay in use, so
that a certificate that is being renewed stops nobody.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

log = logging.getLogger(__name__)

OLDEST: Final = ssl.TLSVersion.TLSv1_2


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Where certificates are. The same paths count on every machine.

    Raises:
        ValueError: they make no sense together, or are no absolute paths.
    """

    ca: str
    """PEM file of the authorities whose certificates are accepted, here and there."""
    cert: str | None = None
    """PEM file of this side's own certificate, and those that lead to the authority. Doors need one."""
    key: str | None = None
    """PEM file of its private key, without a passphrase; readable by those who run the shards and nobody else."""
    server_name: str | None = None
    """The DNS name in every shard's certificate, for which clients look instead of the address; also what tells a
    shard's certificate from a client's. None: a door's certificate names its address."""
    require_client_cert: bool = False
    """Whether doors turn away clients without a certificate. Shards always need one to talk to each other."""

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError("a certificate needs its key, and the key its certificate: give both or neither")
        for name in ("ca", "cert", "key"):
            path = getattr(self, name)
            if path is not None and not Path(path).expanduser().is_absolute():
                raise ValueError(f"tls: {name} must be an absolute path, because shards run in folders of their own, "
                                 f"not {path!r}")

    def check_door(self) -> None:
        """Refuse what no door can be opened with. Raises ValueError."""
        if self.cert is None:
            raise ValueError("tls: doors need a certificate and its key, not only the authority's")

    def for_clients(self) -> TlsSettings:
        """Return what a client of these doors needs: their own certificate only where they demand one."""
        return self if self.require_client_cert else replace(self, cert=None, key=None)

    def name_for(self, host: str) -> str:
        """Return the name that the certificate of `host` must have."""
        return self.server_name or host


_lock = threading.Lock()
_contexts: dict[tuple[TlsSettings, bool], tuple[object, ssl.SSLContext]] = {}


def server_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return the context for a door's next connection. Costs a look at three files; raises OSError as `open` does."""
    return _context(settings, is_server=True)


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """Return the context for the next connection to a door. Costs a look at three files; raises OSError."""
    return _context(settings, is_server=False)


def connect_options(settings: TlsSettings | None, host: str) -> dict[str, Any]:
    """Return what asyncio's `create_connection` needs for `settings` to reach `host`; nothing without TLS."""
    if settings is None:
        return {}
    return {"ssl": client_context(settings), "server_hostname": settings.name_for(host)}


def is_member(settings: TlsSettings, certificate: Mapping[str, Any] | None) -> bool:
    """Return whether who has shown `certificate` (`SSLSocket.getpeercert()`, verified) may be a shard or the router.

    With `server_name` it must be for that name: an authority may give certificates to clients, too.
    """
    if not certificate:
        return False
    if settings.server_name is None:
        return True
    return ("DNS", settings.server_name) in certificate.get("subjectAltName", ())


def _context(settings: TlsSettings, *, is_server: bool) -> ssl.SSLContext:
    with _lock:
        known = _contexts.get((settings, is_server))
        try:
            stamp = _stamp(settings)
            if known is not None and known[0] == stamp:
                return known[1]
            context = _load(settings, is_server=is_server)
        except OSError as error:  # ssl.SSLError is one, too
            if known is None:
                raise
            log.warning("certificates stay as they were, the new ones cannot be read: %s", error)
            return known[1]
        if known is not None:
            log.info("certificates were read again")
        _contexts[settings, is_server] = (stamp, context)
        return context


def _stamp(settings: TlsSettings) -> object:
    paths = [path for path in (settings.ca, settings.cert, settings.key) if path is not None]
    return [(one.st_mtime_ns, one.st_size, one.st_ino) for one in map(os.stat, map(os.path.expanduser, paths))]


def _load(settings: TlsSettings, *, is_server: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = OLDEST
    context.load_verify_locations(os.path.expanduser(settings.ca))
    if settings.cert is not None and settings.key is not None:
        context.load_cert_chain(os.path.expanduser(settings.cert), os.path.expanduser(settings.key))
    if is_server:
        context.verify_mode = ssl.CERT_REQUIRED if settings.require_client_cert else ssl.CERT_OPTIONAL
        # A resumed session skips the certificate, and nobody here connects often enough to gain by it.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    return context
