"""Connections on which a shard lets a handle wait: apart from the others, which nobody may hold up.

What lives here: the sync handle's. (Those of the async handle are in `aio_through.py`.) Any thread.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

from raycache.client.info import Address, Login
from raycache.client.pool import Pool
from raycache.client.requests import Request
from raycache.client.retry import RETRIED, NoOwner
from raycache.client.routes import NOBODY
from raycache.client.settings import ClientSettings
from raycache.ring.slots import slot_of

if TYPE_CHECKING:
    from raycache.client.dispatcher import Dispatcher

T = TypeVar("T")

MAX_WAITS: Final = 128
"""Connections for waiting to one shard. More threads than that wait for one of these first."""


class Waits:
    """Waits at the shards of one cluster."""

    def __init__(self, dispatcher: Dispatcher, settings: ClientSettings) -> None:
        self._dispatcher = dispatcher
        self._settings = settings
        self._pools: dict[tuple[Address, Login], Pool] = {}

    def run(self, key: bytes, request: Request[T], deadline_s: float) -> T:
        """Run a request on the key's shard that may take until `deadline_s`.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        slot, refreshes = slot_of(key), self._dispatcher.refreshes

        def attempt() -> T:
            routes = self._dispatcher.table.routes
            index = NOBODY if routes is None else routes.owners[slot]
            if routes is None or index == NOBODY:
                raise NoOwner(f"nobody serves slot {slot}")
            return self._pool(routes.addresses[index]).run(request, deadline_s)

        try:
            return attempt()
        except RETRIED as failure:
            return self._dispatcher.persist(attempt, failure, deadline_s, refreshes=refreshes)

    def close(self) -> None:
        """Close what no thread waits on."""
        for pool in list(self._pools.values()):
            pool.close_idle()

    def forget(self) -> None:
        """Start anew in a forked child."""
        for pool in list(self._pools.values()):
            pool.forget()

    def _pool(self, address: Address) -> Pool:
        login = self._dispatcher.login
        pool = self._pools.get((address, login))
        if pool is None:
            fresh = Pool(address, login, self._settings, most=MAX_WAITS, one_for_all=False)
            pool = self._pools.setdefault((address, login), fresh)
        return pool


def deadline_of(wait_s: float) -> float:
    """Return until when the answer to a wait of `wait_s` has come, unless the shard is lost."""
    return monotonic() + wait_s + PATIENCE_S


PATIENCE_S: Final = 0.5
