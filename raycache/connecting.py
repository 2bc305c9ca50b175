"""Handles on clusters: `raycache.connect` and `raycache.connect_async`.

What lives here: where a handle's first knowledge of its cluster comes from: an address, or Ray, which
is asked once per process and imported only then. What does not: the handles (`raycache.client`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from raycache.client.aio import AsyncCache
from raycache.client.info import ConnectionInfo, Place
from raycache.client.settings import DEFAULT_HEDGE_S
from raycache.client.sync import Cache
from raycache.client.wishes import ReadFrom

_found: dict[str, ConnectionInfo] = {}
_found_lock = threading.Lock()

Refresh = Callable[[], ConnectionInfo]


def connect(name: str, *, address: str | None = None, secret: str | None = None, timeout_s: float = 5.0,
            read_from: ReadFrom = "primary", hedge_s: float = DEFAULT_HEDGE_S) -> Cache:
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
    Raises:
        ClusterNotFoundError: no such cluster runs; the text lists those that do. (With `address`, at the first
            operation: another cluster's shard listens there.)
        ValueError: `address` is none, or a setting makes no sense.
    """
    info, refresh = _connection(name, address, secret)
    return Cache(info, timeout_s=timeout_s, read_from=read_from, hedge_s=hedge_s, place=_place(address),
                 refresh_info=refresh,
                 reduce=lambda: (_reconnect, (name, address, secret, timeout_s, read_from, hedge_s)))


async def connect_async(name: str, *, address: str | None = None, secret: str | None = None, timeout_s: float = 5.0,
                        read_from: ReadFrom = "primary", hedge_s: float = DEFAULT_HEDGE_S) -> AsyncCache:
    """Return an asyncio handle on a cluster; otherwise as `connect`. It belongs to the running loop."""
    return await asyncio.to_thread(_connect_async, name, address, secret, timeout_s, read_from, hedge_s)


def _reconnect(name: str, address: str | None, secret: str | None, timeout_s: float, read_from: ReadFrom,
               hedge_s: float) -> Cache:
    """Unpickle a handle: connect anew, in whatever process this is."""
    return connect(name, address=address, secret=secret, timeout_s=timeout_s, read_from=read_from, hedge_s=hedge_s)


def _connect_async(name: str, address: str | None, secret: str | None, timeout_s: float, read_from: ReadFrom,
                   hedge_s: float) -> AsyncCache:
    """Connect, or unpickle a handle. Blocks for the look-up in Ray where this process has not made it yet."""
    info, refresh = _connection(name, address, secret)
    return AsyncCache(info, timeout_s=timeout_s, read_from=read_from, hedge_s=hedge_s, place=_place(address),
                      refresh_info=refresh,
                      reduce=lambda: (_connect_async, (name, address, secret, timeout_s, read_from, hedge_s)))


def _place(address: str | None) -> Place | None:
    """Return where this process runs; None where Ray is not asked for anything, or cannot tell."""
    if address is not None:
        return None
    from raycache.actors.place import own_place

    return own_place()


def _connection(name: str, address: str | None, secret: str | None) -> tuple[ConnectionInfo, Refresh | None]:
    if address is not None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f'{address!r} is no address; write it as "host:port"')
        return ConnectionInfo(cluster=name, seeds=((host, int(port)),), secret=secret, topology=None), None
    with _found_lock:
        info = _found.get(name)
    return info or _ask_ray(name), lambda: _ask_ray(name)


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
