"""Handles on clusters: `raycache.connect` and `raycache.connect_async`.

What lives here: where a handle's first knowledge of its cluster comes from: an address, or Ray, which
is asked once per process and imported only then. What does not: the handles (`raycache.client`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from raycache.client.aio import AsyncCache
from raycache.client.info import ConnectionInfo, Login, Place
from raycache.client.large import DEFAULT_LARGE_FROM, ObjectStore
from raycache.client.near_parts import DEFAULT_MAX_STALENESS_S
from raycache.client.settings import DEFAULT_HEDGE_S
from raycache.client.sync import Cache
from raycache.client.wishes import ReadFrom
from raycache.config import parse_bytes
from raycache.tls import TlsSettings

_found: dict[str, ConnectionInfo] = {}
_found_lock = threading.Lock()

Refresh = Callable[[], ConnectionInfo]
Sizes = tuple[int | str | None, int | str | None]
"""From where on values are large, and from where on they are compressed."""


def connect(name: str, *, address: str | None = None, secret: str | None = None, timeout_s: float = 5.0,
            read_from: ReadFrom = "primary", hedge_s: float = DEFAULT_HEDGE_S, user: str | None = None,
            password: str | None = None, tls: TlsSettings | None = None, near: int | str | None = None,
            max_staleness_s: float = DEFAULT_MAX_STALENESS_S, allow_pickle: bool = False,
            large_from: int | str | None = DEFAULT_LARGE_FROM, compress_from: int | str | None = None) -> Cache:
    """Return a handle on a cluster, for drivers, tasks, actors and Serve replicas. It pickles into tasks.

    The cluster is looked up in Ray once per process. With `address`, and `secret` where the doors demand
    it, no Ray is needed at all.

    Args:
        name: of the cluster.
        address: "host:port" of any shard (not of a gateway), or None to ask Ray.
        secret: what `raycache status NAME --secret` shows; Ray knows it.
        timeout_s: how long any operation may take, in seconds.
        read_from: which copy reads ask first, where slots have several: "primary"; "replica"; or "nearest": one on
            this process's own Ray node, else on its machine, else the primary (which it is, too, without Ray).
        hedge_s: how long a read may stay unanswered before another copy is asked, in seconds.
        user, password: whose rights this handle has; None: the cluster's secret is shown, which has all.
        tls: certificates, where the doors speak TLS; None: what Ray knows, with `address` no TLS.
        near: how much memory values may take that are kept in this process, in bytes or as text ("64MiB"); None: none
            are. See docs/near.md.
        max_staleness_s: how old such a value may be where its shard gives no sign of life, in seconds.
        allow_pickle: store values that cannot be stored otherwise as pickle, and load such values. Only in a cluster
            that allows it, too; signed with its secret, and checked before anything is loaded. Loading runs code of
            whoever knows that secret. docs/security.md says more.
        large_from: values of so many bytes, or text such as "1MiB", go through Ray's object store, and arrays of that
            size come back as read-only views of it (docs/large.md); None: all go through the socket, as they do where
            this process is none of Ray's, and with `address`.
        compress_from: values of so many bytes, or text such as "16KiB", that do not go there are compressed where that
            pays; None: none are.
    Raises:
        ClusterNotFoundError: no such cluster runs; the text lists those that do. (With `address`, at the first
            operation: another cluster's shard listens there.)
        ValueError: `address` is none, or a setting makes no sense; `allow_pickle` without the secret.
    """
    login = _login(secret, user, password, tls)
    info, refresh = _connection(name, address, login)
    sizes = large_from, compress_from
    return Cache(info, timeout_s=timeout_s, read_from=read_from, hedge_s=hedge_s, place=_place(address), near=near,
                 max_staleness_s=max_staleness_s, refresh_info=refresh, allow_pickle=allow_pickle,
                 objects=_objects(info, address, sizes[0]),
                 compress_from=None if sizes[1] is None else parse_bytes(sizes[1]),
                 reduce=lambda: (_reconnect, (name, address, login, timeout_s, read_from, hedge_s, near,
                                              max_staleness_s, allow_pickle, sizes)))


async def connect_async(name: str, *, address: str | None = None, secret: str | None = None, timeout_s: float = 5.0,
                        read_from: ReadFrom = "primary", hedge_s: float = DEFAULT_HEDGE_S, user: str | None = None,
                        password: str | None = None, tls: TlsSettings | None = None, near: int | str | None = None,
                        max_staleness_s: float = DEFAULT_MAX_STALENESS_S, allow_pickle: bool = False,
                        large_from: int | str | None = DEFAULT_LARGE_FROM,
                        compress_from: int | str | None = None) -> AsyncCache:
    """Return an asyncio handle on a cluster; otherwise as `connect`. It belongs to the running loop."""
    login = _login(secret, user, password, tls)
    return await asyncio.to_thread(_connect_async, name, address, login, timeout_s, read_from, hedge_s, near,
                                   max_staleness_s, allow_pickle, (large_from, compress_from))


def _login(secret: str | None, user: str | None, password: str | None, tls: TlsSettings | None) -> Login:
    if (user is None) != (password is None):
        raise ValueError("a user needs a password, and a password its user")
    if user is not None and secret is not None:
        raise ValueError("give either the cluster's secret or a user and password")
    return Login(password if user is not None else secret, user, tls)


def _reconnect(name: str, address: str | None, login: Login, timeout_s: float, read_from: ReadFrom,
               hedge_s: float, near: int | str | None, max_staleness_s: float, allow_pickle: bool = False,
               sizes: Sizes = (None, None)) -> Cache:
    """Unpickle a handle: connect anew, in whatever process this is."""
    return connect(name, address=address, timeout_s=timeout_s, read_from=read_from, hedge_s=hedge_s, tls=login.tls,
                   near=near, max_staleness_s=max_staleness_s, allow_pickle=allow_pickle, large_from=sizes[0],
                   compress_from=sizes[1], **_shown(login))


def _shown(login: Login) -> dict[str, Any]:
    """Return what `connect` takes to show the same."""
    return {"secret": login.secret} if login.user is None else {"user": login.user, "password": login.secret}


def _connect_async(name: str, address: str | None, login: Login, timeout_s: float, read_from: ReadFrom,
                   hedge_s: float, near: int | str | None, max_staleness_s: float,
                   allow_pickle: bool = False, sizes: Sizes = (None, None)) -> AsyncCache:
    """Connect, or unpickle a handle. Blocks for the look-up in Ray where this process has not made it yet."""
    info, refresh = _connection(name, address, login)
    return AsyncCache(info, timeout_s=timeout_s, read_from=read_from, hedge_s=hedge_s, place=_place(address), near=near,
                      max_staleness_s=max_staleness_s, refresh_info=refresh, allow_pickle=allow_pickle,
                      objects=_objects(info, address, sizes[0]),
                      compress_from=None if sizes[1] is None else parse_bytes(sizes[1]),
                      reduce=lambda: (_connect_async, (name, address, login, timeout_s, read_from, hedge_s, near,
                                                       max_staleness_s, allow_pickle, sizes)))


def _place(address: str | None) -> Place | None:
    """Return where this process runs; None where Ray is not asked for anything, or cannot tell."""
    if address is not None:
        return None
    from raycache.actors.place import own_place

    return own_place()


def _objects(info: ConnectionInfo, address: str | None, large_from: int | str | None) -> ObjectStore | None:
    """Return the way to the cluster's objects; None where there is none, or it is not wanted.

    Raises:
        ValueError: `large_from` is no size.
    """
    least = None if large_from is None else parse_bytes(large_from)
    if least is None or address is not None or not info.object_bytes:
        return None
    from raycache.actors.object_store import store_of

    return store_of(info.cluster, least, info.object_bytes)


def _connection(name: str, address: str | None, login: Login) -> tuple[ConnectionInfo, Refresh | None]:
    if address is not None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f'{address!r} is no address; write it as "host:port"')
        return ConnectionInfo(cluster=name, seeds=((host, int(port)),), secret=login.secret, topology=None,
                              user=login.user, tls=login.tls), None

    def ask() -> ConnectionInfo:
        return _as(login, _ask_ray(name))

    with _found_lock:
        info = _found.get(name)
    return (_as(login, info) if info is not None else ask()), ask


def _as(login: Login, info: ConnectionInfo) -> ConnectionInfo:
    """Return what Ray knows, with what the caller shows instead."""
    if login.user is not None:
        info = replace(info, secret=login.secret, user=login.user)
    return info if login.tls is None else replace(info, tls=login.tls)


def _ask_ray(name: str) -> ConnectionInfo:
    from raycache.actors.launch import look_up  # Ray takes a third of a second to import

    try:
        info = look_up(name)
    except LookupError:
        forget(name)
        raise
    with _found_lock:
        _found[name] = info
    return info


def forget(name: str) -> None:
    """Forget what this process knows of a cluster: it has been stopped."""
    with _found_lock:
        _found.pop(name, None)
