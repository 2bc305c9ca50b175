"""The clusters behind the door, found by name when they are first asked for.

What lives here: one handle per cluster, user and Serve replica. What does not: finding a cluster in Ray
(`raycache.connecting`), anything about values. Belongs to the Serve replica's loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final

from raycache.client import aio_stored
from raycache.client.aio import AsyncCache
from raycache.connecting import connect_async
from raycache.errors import ClusterNotFoundError
from raycache.gateway.inside import InsideGateway

Connect = Callable[..., Awaitable[AsyncCache]]
"""As `raycache.connect_async`: takes a name and `timeout_s`."""
Names = Callable[[], list[str]]
"""Names of the clusters that run; may block."""

FORGET_MISSING_S: Final = 1.0
"""How long it is remembered that a cluster does not run: a look-up asks Ray's GCS, and anybody may ask for any name."""
MAX_MISSING: Final = 1_000
"""How many such names are remembered; names come from outside."""


def running_clusters() -> list[str]:
    """Return the names of the clusters that run in this Ray. Blocks."""
    from raycache.actors.launch import clusters  # Ray takes a third of a second to import

    return clusters()


def connecting_as(user: str, password_file: str, connect: Connect = connect_async) -> Connect:
    """Return `connect` with the rights of `user`, whose password is read for each new handle; "": as it is."""
    if not user:
        return connect

    async def connect_as(name: str, **options: Any) -> AsyncCache:
        if "user" in options:  # somebody else's rights
            return await connect(name, **options)
        password = (await asyncio.to_thread(Path(password_file).read_text)).strip()
        return await connect(name, user=user, password=password, **options)

    return connect_as


class Clusters:
    """The handles of one Serve replica.

    Args:
        connect: makes a handle; raises ClusterNotFoundError where there is no such cluster.
        names: names those that run.
        default: the cluster of requests that name none; "": the only one that runs.
        timeout_s: limit of each operation of the handles, in seconds.
        now_s: a clock that only grows.
    """

    def __init__(self, connect: Connect = connect_async, names: Names = running_clusters, *, default: str = "",
                 timeout_s: float = 10.0, now_s: Callable[[], float] = monotonic) -> None:
        self.default = default
        self._connect = connect
        self._names = names
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._handles: dict[str, AsyncCache] = {}
        self._opening: dict[str, asyncio.Task[AsyncCache]] = {}
        self._gateways: dict[str, InsideGateway] = {}
        self._missing: dict[str, tuple[float, str]] = {}
        self._only = ""
        """The only cluster that ran when there was one to be taken last."""
        self._of_users: dict[tuple[str, str], Clusters] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def of_user(self, user: str, password_file: str) -> Clusters:
        """Return the same clusters with the rights of a user, whose password is read for each new handle."""
        found = self._of_users.get((user, password_file))
        if found is None:
            found = self._of_users[user, password_file] = Clusters(
                connecting_as(user, password_file, self._connect), self._names, default=self.default,
                timeout_s=self._timeout_s, now_s=self._now_s)
        return found

    def change(self, default: str) -> None:
        """Take another default cluster; connect anew as each user, with the password that the file holds then.

        What is under way ends on the old connections, which are closed when all of it has had its time.
        """
        self.default = default
        old, self._of_users = list(self._of_users.values()), {}
        if old:
            task = asyncio.create_task(self._retire(old), name="retire-users")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _retire(self, old: list[Clusters]) -> None:
        try:
            await asyncio.sleep(self._timeout_s)
        finally:
            for each in old:
                await each.close()

    def known(self, name: str) -> AsyncCache | None:
        """Return the handle on `name` if there is one yet: what nearly every request finds, without waiting."""
        return self._handles.get(name)

    def named(self, name: str) -> str:
        """Return the cluster that requests for `name` go to; "" if there is no handle on one: anybody may name any."""
        name = name or self.default or self._only
        if name in self._handles:
            return name
        return next((found for each in self._of_users.values() if (found := each.named(name))), "")

    async def handle(self, name: str = "") -> AsyncCache:
        """Return the handle on cluster `name`; "": on the default one. It is shared: nobody closes it.

        Raises:
            ClusterNotFoundError: no such cluster runs, or none is named and not exactly one runs.
            RayCacheError: it cannot be found out.
        """
        found = self._handles.get(name)
        if found is not None:
            return found
        if not name:
            return await self.handle(await self._only_one())
        missing = self._missing.get(name)
        if missing is not None and self._now_s() < missing[0]:
            raise ClusterNotFoundError(missing[1])
        task = self._opening.get(name)
        if task is None:
            task = self._opening[name] = asyncio.create_task(self._open(name), name=f"connect-{name}")
        # Shielded: one caller who gives up must not take the handle away from the others.
        return await asyncio.shield(task)

    async def gateway(self, name: str = "") -> InsideGateway:
        """Return what runs Redis commands on cluster `name`; shared, and closed with the handle.

        Raises:
            ClusterNotFoundError, RayCacheError: as `handle`.
        """
        handle = await self.handle(name)
        found = self._gateways.get(handle.cluster)
        if found is None:
            if aio_stored.topology_of(handle) is None:
                await aio_stored.look_for_topology(handle)
            found = self._gateways.get(handle.cluster)
        if found is None:
            login = aio_stored.login_of(handle)
            found = self._gateways[handle.cluster] = InsideGateway(
                partial(aio_stored.topology_of, handle), partial(aio_stored.look_for_topology, handle), login.secret,
                user=login.user, tls=login.tls)
            await found.start()
        return found

    def known_names(self) -> list[str]:
        """Return the names of the clusters that there are handles on."""
        return list(self._handles)

    async def names(self) -> list[str]:
        """Return the names of the clusters that run."""
        return await asyncio.to_thread(self._names)

    async def close(self) -> None:
        """Close all handles."""
        for task in list(self._retiring):
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        of_users, self._of_users = self._of_users, {}
        for each in of_users.values():
            await each.close()
        for gateway in self._gateways.values():
            await gateway.close()
        self._gateways.clear()
        handles = list(self._handles.values())
        self._handles.clear()
        for handle in handles:
            await handle.close()

    async def _only_one(self) -> str:
        if self.default:
            return self.default
        names = await self.names()
        if len(names) != 1:
            found = f"these run: {', '.join(names)}" if names else "none runs"
            raise ClusterNotFoundError(f"no cluster is named, and there is not exactly one to take ({found})")
        self._only = names[0]
        return self._only

    async def _open(self, name: str) -> AsyncCache:
        try:
            handle = await self._connect(name, timeout_s=self._timeout_s)
        except ClusterNotFoundError as error:
            if len(self._missing) >= MAX_MISSING:
                self._missing.clear()
            self._missing[name] = self._now_s() + FORGET_MISSING_S, str(error)
            raise
        finally:
            self._opening.pop(name, None)
        self._missing.pop(name, None)
        self._handles[name] = handle
        return handle
