"""What decorated functions use a `Cache` for: loading, renewing, deleting, and telling the cluster what they count.

What lives here: `Host`, one for each handle, and the timer of its news. What does not: the functions
(`raycache.functions`), their keys and counters, and the same for asyncio (`aio_hosting`). Any thread.

News go out a second after they began to gather, in a thread that lives for that long: no caller waits for it, and a
handle that is idle costs nothing. They go to one shard, once: should it not answer, they are lost.
"""

from __future__ import annotations

import atexit
import contextlib
import random
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from raycache.client import forks, requests
from raycache.client.arguments import encode_key
from raycache.client.dispatcher import Dispatcher
from raycache.client.through import Through
from raycache.errors import RayCacheError
from raycache.functions.tally import Ledger
from raycache.loading.basics import Source
from raycache.loading.options import LoadOptions
from raycache.loading.renewing import PlainValue, renew

if TYPE_CHECKING:
    from raycache.client.sync import Cache

V = TypeVar("V")

NEWS_EVERY_S: Final = 1.0
"""How long news gather. One small command a second and process, however many calls there are."""

_hosts: weakref.WeakSet[Host] = weakref.WeakSet()


class Host:
    """One handle, as decorated functions use it."""

    def __init__(self, cache: Cache, dispatcher: Dispatcher, through: Through) -> None:
        self._dispatcher = dispatcher
        self._through = through
        self.get_or_load = cache.get_or_load
        self.delete = cache.delete
        self.delete_prefix = cache.delete_prefix
        self.ledger = Ledger(self._wake)
        self._timer: threading.Timer | None = None
        self._is_closed = False
        self._place = random.randrange(1 << 16)
        forks.watch(self)
        _hosts.add(self)

    def renew(self, key: str, load: Callable[[], V], *, options: LoadOptions) -> V:
        """Load and store the value of `key`, whatever the cache holds; return it. Errors as `Cache.get_or_load`."""
        wire_key = encode_key(key)
        while True:
            try:
                value: V = self._through.run(renew(self._through.engine, key, wire_key, Source(load), options))
                return value
            except PlainValue:
                self.delete(key)

    def tell(self) -> None:
        """Send what is new. Raises nothing that the cluster may be blamed for."""
        with contextlib.suppress(RayCacheError):
            news = self.ledger.news()
            if news:
                shard_ids = self._dispatcher.routes().shard_ids
                _, silent = self._dispatcher.ask_each([shard_ids[self._place % len(shard_ids)]], requests.used(news))
                self._place += len(silent)

    def close(self) -> None:
        """Send what is new, for the last time."""
        if not self._is_closed:
            self._is_closed = True
            timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()
                self.tell()

    def forget_connections(self) -> None:
        """Start anew in a forked child: its parent tells what was counted before."""
        self._timer = None
        self.ledger.forget()

    def _wake(self) -> None:
        if self._is_closed:
            self.ledger.news()
            return
        timer = self._timer = threading.Timer(NEWS_EVERY_S, _tell, (weakref.ref(self),))
        timer.daemon = True
        timer.start()


def _tell(reference: weakref.ref[Host]) -> None:
    host = reference()
    if host is not None and not host._is_closed:
        host.tell()


def _at_exit() -> None:
    for host in list(_hosts):
        host.close()


atexit.register(_at_exit)


class Bound:
    """Where the host of a handle that is there is: `@cache.cached(...)`. Pickles with the handle."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def get(self) -> Host:
        """Return it."""
        host: Host = self._cache._host
        return host

    known = get
