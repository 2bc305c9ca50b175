"""Leases on keys: at most one caller loads a key, the others wait for what comes of it.

What lives here: the table of one shard: who holds the lease on which key until when, who waits, and what ends a lease.
What does not: commands (`raycache.shard.commands.leases`), sockets, clocks, entries. Pure: the time, monotonic seconds
(a jump of the wall clock must neither end a load nor keep a dead one's key), and the source of tokens are handed in.
Belongs to the shard's loop.

A lease is soft state. It is given up at every doubt: by a write or a delete of its key, by the end of its holder's
connection, by its deadline, by the slot's departure. Whoever still has its token then has a value that may be older
than what is true now, so `claim` refuses it. Waiters are never handed a lease: they are told that it has ended, look
at the key again, and one of them takes the next lease. So none can be given to somebody who has gone.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

MAX_LEASES: Final = 65_536
"""No budget counts leases; each takes about 400 bytes. Above this many, callers load without one."""
NO_LEASE: Final = 0
"""In place of a token: the table is full. It is valid for nothing."""


class How(Enum):
    """What has become of a lease."""

    FILLED = "filled"
    """Its holder has the value: `Ending.payload`."""
    FAILED = "failed"
    """Its holder's loader has failed: `Ending.text`."""
    FREED = "freed"
    """Its holder gave it up, died, or was too slow."""
    VOID = "void"
    """The key was written or deleted, so whatever is being loaded may be old."""
    MOVED = "moved"
    """The key is not served here any more."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a lease ended, and what its waiters are to know of it."""

    how: How
    payload: bytes = b""
    """The kind byte and the value, of FILLED."""
    px: int = 0
    """For how many milliseconds the value was stored, of FILLED; 0: for ever, or not at all."""
    text: bytes = b""


FREED: Final = Ending(How.FREED)
VOID: Final = Ending(How.VOID)
MOVED: Final = Ending(How.MOVED)

Waiter = Callable[[Ending], None]


@dataclass(slots=True)
class Lease:
    """One key's lease."""

    key: bytes
    token: int
    holder: Hashable
    deadline_s: float
    waiters: dict[Waiter, None] = field(default_factory=dict)
    """A set in the order of arrival."""

    def tell(self, ending: Ending) -> None:
        """Tell all who wait, once."""
        waiters, self.waiters = self.waiters, {}
        for waiter in waiters:
            waiter(ending)


class LeaseTable:
    """The leases of one shard.

    Args:
        new_token: gives a number above 0 that no other lease ever had, on any shard.
        on_change: is told of each key that has a lease from now on (True), or has none any more (False).
        limit: how many leases there may be.
    """

    def __init__(self, new_token: Callable[[], int], on_change: Callable[[bytes, bool], None] | None = None,
                 limit: int = MAX_LEASES) -> None:
        self._new_token = new_token
        self._on_change = on_change or (lambda key, is_leased: None)
        self._limit = limit
        self._leases: dict[bytes, Lease] = {}
        self._by_holder: dict[Hashable, set[bytes]] = {}
        self._deadlines: list[tuple[float, bytes, int]] = []
        self.reset_stats()

    def reset_stats(self) -> None:
        """Count anew."""
        self.granted = 0
        self.voided = 0
        """Ended by a write or delete."""
        self.overdue = 0
        self.waits = 0
        """How often somebody waited."""

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, key: bytes) -> bool:
        return key in self._leases

    def take(self, key: bytes, holder: Hashable, lease_s: float, now_s: float) -> int | None:
        """Return the token of a new lease; None: somebody else has one; `NO_LEASE`: there are too many."""
        lease = self._leases.get(key)
        if lease is not None:
            if now_s < lease.deadline_s:
                return None
            self._overdue(lease)
            if key in self._leases:  # one of those who waited was quicker
                return None
        if len(self._leases) >= self._limit:
            return NO_LEASE
        token = self._new_token()
        self._leases[key] = Lease(key, token, holder, now_s + lease_s)
        self._by_holder.setdefault(holder, set()).add(key)
        heapq.heappush(self._deadlines, (now_s + lease_s, key, token))
        self.granted += 1
        self._on_change(key, True)
        return token

    def wait(self, key: bytes, waiter: Waiter) -> None:
        """Have `waiter` told when the lease on `key`, which must be there, has ended."""
        self._leases[key].waiters[waiter] = None
        self.waits += 1

    def leave(self, key: bytes, waiter: Waiter) -> None:
        """Let `waiter` wait no longer. Harmless if it does not."""
        lease = self._leases.get(key)
        if lease is not None:
            lease.waiters.pop(waiter, None)

    def claim(self, key: bytes, token: int, now_s: float) -> Lease | None:
        """End the lease that `token` is of and return it, its waiters not told yet; None: it is not valid."""
        lease = self._leases.get(key)
        if lease is None or lease.token != token:
            return None
        if now_s >= lease.deadline_s:
            self._overdue(lease)
            return None
        self._remove(lease)
        return lease

    def void(self, key: bytes) -> None:
        """Take in that `key` was written or deleted."""
        lease = self._leases.get(key)
        if lease is not None:
            self.voided += 1
            self._end(lease, VOID)

    def void_prefix(self, prefix: bytes) -> int:
        """Take in that all keys with `prefix` are to go; return how many had a lease."""
        keys = [key for key in self._leases if key.startswith(prefix)]
        for key in keys:
            self.void(key)
        return len(keys)

    def drop(self, is_served: Callable[[bytes], bool]) -> None:
        """End every lease whose key is not served here any more."""
        for lease in list(self._leases.values()):
            if not is_served(lease.key):
                self._end(lease, MOVED)

    def release(self, holder: Hashable) -> None:
        """Take in that `holder` has gone."""
        for key in self._by_holder.pop(holder, ()):
            lease = self._leases.get(key)
            if lease is not None and lease.holder == holder:
                self._end(lease, FREED)

    def step(self, now_s: float) -> None:
        """Free what is overdue."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now_s:
            _, key, token = heapq.heappop(deadlines)
            lease = self._leases.get(key)
            if lease is not None and lease.token == token:
                self._overdue(lease)
        if len(deadlines) > 2 * len(self._leases) + 64:  # those of leases that ended in time
            live = [(lease.deadline_s, key, lease.token) for key, lease in self._leases.items()]
            heapq.heapify(live)
            self._deadlines = live

    def _overdue(self, lease: Lease) -> None:
        self.overdue += 1
        self._end(lease, FREED)

    def _end(self, lease: Lease, ending: Ending) -> None:
        self._remove(lease)
        lease.tell(ending)

    def _remove(self, lease: Lease) -> None:
        key = lease.key
        del self._leases[key]
        held = self._by_holder.get(lease.holder)
        if held is not None:
            held.discard(key)
            if not held:
                del self._by_holder[lease.holder]
        self._on_change(key, False)
