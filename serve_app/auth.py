"""Who may do what: bearer tokens, and the dependencies that ask for them.

What lives here: `require_reader`, `require_writer`, `require_overview` and `require_admin`, for `Depends`, and the
judgement behind them. What does not: where tokens come from (`settings.py`). A comparison takes the same time, right or
wrong.

Where no token is set, reading and writing are open to whoever reaches the door; administration never is.
"""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.types import Scope

from raycache.client.aio_stored import secret_of
from raycache.errors import ClusterNotFoundError
from serve_app.admission import AS_SET, Quota
from serve_app.door import ACCOUNT, Door, door_of
from serve_app.problems import Refused, refuse
from serve_app.settings import HttpSettings, Role, Token, digest_of

_RANKS: Final[dict[Role, int]] = {"reader": 0, "writer": 1, "admin": 2}
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="raycache"'}
ANONYMOUS: Final = ""
"""Name of a caller who showed no token."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, as far as it matters."""

    name: str
    role: Role
    clusters: tuple[str, ...] = ()
    """The clusters that are open to the caller; empty: all."""
    user: str = ""
    """Whose rights the caller has at the clusters; "": those of the door."""
    password_file: str = ""
    """Where that user's password is."""
    quota: Quota = AS_SET
    """How much the caller may do in a second."""


OPEN: Final = Caller(ANONYMOUS, "writer")
"""Everybody, where no token is set."""


def bearer(header: str | None) -> str | None:
    """Return the token in an Authorization header; None if there is none.

    Raises:
        Refused: another scheme than Bearer, or nothing behind it.
    """
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise refuse(401, "unauthorized", "the Authorization header must be `Bearer` and a token", _CHALLENGE)
    return token


def caller_of(settings: HttpSettings, token: str | None) -> Caller | None:
    """Return who shows `token`; None: nobody that is known. A cluster's secret is judged elsewhere."""
    if token is None:
        return OPEN if settings.is_open else None
    digest = digest_of(token)
    found: Token | None = None
    for each in settings.tokens:  # all of them, whichever fits
        if hmac.compare_digest(each.digest, digest):
            found = each
    if found is not None:
        return Caller(found.name, found.role, found.clusters, found.user, found.password_file,
                      Quota(found.max_requests_per_s, found.max_bytes_per_s))
    # Clients that cannot do without a token send any where none is wanted.
    return OPEN if settings.is_open else None


async def authorize(request: Request, role: Role, cluster: str | None = None) -> Caller:
    """Return who sent `request`, who has `role` at least.

    Args:
        cluster: the cluster that it is about; None: its path says, if any does. "": the default one.
    Raises:
        Refused: 401 without a known token, 403 with one that does not allow it.
    """
    if cluster is None:
        cluster = request.path_params.get("cluster") or request.query_params.get("cluster")
    return await admitted(door_of(request), request.scope, request.headers.get("authorization"), role, cluster)


async def admitted(door: Door, scope: Scope, authorization: str | None, role: Role, cluster: str | None) -> Caller:
    """Return who shows `authorization`, the header, and has `role` at least; None as cluster: it is about none.

    Raises:
        Refused: as `authorize`.
    """
    if door.is_open and role != "admin":
        _spend(door, scope, OPEN)
        return OPEN
    settings = door.settings
    token = bearer(authorization)
    caller = caller_of(settings, token)
    if caller is None and token is not None and settings.accept_secrets and cluster is not None:
        caller = await _owner(door, token, cluster)
    if caller is None:
        detail = "no such token is known" if token is not None else "send a token: `Authorization: Bearer ...`"
        raise refuse(401, "unauthorized", detail, _CHALLENGE)
    if _RANKS[caller.role] < _RANKS[role]:
        if role == "admin" and not any(each.role == "admin" for each in settings.tokens):
            raise refuse(403, "forbidden", "administration is off: neither an admin_secret nor a token for it is set")
        raise refuse(403, "forbidden", f"this needs a token with the role {role}")
    name = cluster or settings.cluster
    if caller.clusters and cluster is not None and name not in caller.clusters:
        raise refuse(403, "forbidden", f"the token is not for cluster {name!r}")
    _spend(door, scope, caller)
    return caller


def _spend(door: Door, scope: Scope, caller: Caller) -> None:
    account = door.admission.spend(caller.name, time.monotonic(), caller.quota)
    if account is not None:
        scope[ACCOUNT] = account


async def _owner(door: Door, token: str, cluster: str) -> Caller | None:
    """Return the caller who shows the secret of the very cluster that is asked for."""
    try:
        handle = await door.clusters.handle(cluster)
    except ClusterNotFoundError:  # who may not use a cluster need not know whether it runs
        return None
    secret = secret_of(handle)
    if secret is None or not hmac.compare_digest(digest_of(secret), digest_of(token)):
        return None
    return Caller(f"secret of {handle.cluster}", "writer", (handle.cluster, cluster))


async def require_reader(request: Request) -> Caller:
    """Demand the right to read, of the cluster that the path or the query names."""
    return await authorize(request, "reader")


async def require_overview(request: Request) -> Caller:
    """Demand the right to see a whole cluster, keys of all users included: what the page shows.

    Raises:
        Refused: as `authorize`, and 403 for a token with a user's rights.
    """
    caller = await authorize(request, "reader")
    if caller.user:
        raise refuse(403, "forbidden", "the page shows keys of all users: it needs a token without a user")
    return caller


async def require_writer(request: Request) -> Caller:
    """Demand the right to write."""
    return await authorize(request, "writer")


async def require_admin(request: Request) -> Caller:
    """Demand the right to administrate: scale, drain and the like."""
    return await authorize(request, "admin")


__all__ = ["Caller", "Refused", "admitted", "authorize", "require_admin", "require_overview", "require_reader",
           "require_writer"]
