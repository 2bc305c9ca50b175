"""The values of one near cache: what may be served, what may be kept, who leaves.

What lives here: `NearTable`. What does not: asking shards, hearing of changes, threads. Pure: the time (monotonic
seconds), the lock and the opening of payloads are handed in. `find` takes no lock: it reads one dict, once.

When a value may be served. Each belongs to a *source*: what one shard says over one connection. A source is good until
a time that moves on with each sign of life of its shard (`Source.fresh_until_s`), and for ever lost when something may
have been missed. So the moment a source is lost, none of its values is served any more, however many there are.

When a value may be kept. Whoever fetches a key has a *flight* for it, from before the question is sent. A change of the
key ends the flight, here, in the table, whoever still waits for the answer; and an answer is kept only if its flight is
in the table still and its source is not lost. The interleaving that this is for: a shard reads the key, somebody writes
it, the announcement arrives here, and only then the answer with what was there before.

Values that callers could change are kept encoded and decoded anew for each, so no caller sees what another has done. So
are *guarded* ones, which may not simply be returned: opening them raises, and whoever reads takes the second look.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Protocol
from uuid import UUID

from raycache.near.stats import NearStats

ABSENT: Final = object()
"""What `find` returns where there is nothing that may be served."""
UNTRACKED: Final = -2
"""In place of a lifetime: the shard will not say when this changes."""
NEVER: Final = float("inf")

ENTRY_BYTES: Final = 420
"""What an entry takes beside key and value: the object, two bytes objects, a place in an ordered dict."""
HEADER_BYTES: Final = 300
TAG_BYTES: Final = 160
"""What loading keeps beside a value, and each of its tags beside the name."""
LARGEST_SHARE: Final = 8
"""A value may take this part of the cache at most."""
_CHANCES: Final = 64
"""How many entries in use are passed over to find one that is not, for each that is kept."""
_IMMUTABLE: Final = frozenset({type(None), bool, int, float, complex, str, bytes, Decimal, UUID, date, datetime, time,
                               timedelta})


class Source:
    """What one shard says over one connection, from one moment on. Any thread may read; one thread writes."""

    __slots__ = ("fresh_until_s", "is_lost", "token")

    def __init__(self, token: bytes, fresh_until_s: float) -> None:
        self.token = token
        """By which other connections read for this one."""
        self.fresh_until_s = fresh_until_s
        """Until when its values may be served."""
        self.is_lost = False


class Flight:
    """A fetch of one key. Its first caller leads it, the others wait for `done`."""

    __slots__ = ("answer", "done", "error", "key")

    def __init__(self, key: bytes, done: Any) -> None:
        self.key = key
        self.done = done
        """What to wait for, of the kind that the handle waits with."""
        self.answer: Any = None
        """What it has brought, as the handle says it."""
        self.error: BaseException | None = None


class Header(Protocol):
    """What loading keeps beside a value."""

    @property
    def tags(self) -> Sequence[tuple[bytes, int]]:
        """Names and generations."""


class Entry:
    """One value that is kept."""

    __slots__ = ("charge", "expires_s", "header", "is_guarded", "is_used", "payload", "source", "value")

    def __init__(self, payload: bytes, header: Any, source: Source, expires_s: float, charge: int) -> None:
        self.value: Any = None
        self.payload: bytes | None = payload
        """None: `value` is it, and nobody can change that."""
        self.header = header
        """Of a value that was loaded; None: it was not."""
        self.is_guarded = False
        self.source = source
        self.expires_s = expires_s
        self.charge = charge
        self.is_used = False


class NearTable:
    """The near cache of one handle.

    Args:
        capacity_bytes: what its entries may be charged.
        open_payload: decodes; raises for what a plain read may not simply return.
        lock: held while anything changes.
        guarded: what `open_payload` raises for values that are kept all the same.
        header_of: returns what loading keeps beside the value of a payload, None if there is nothing of the kind.
    """

    def __init__(self, capacity_bytes: int, open_payload: Callable[[bytes], Any], lock: AbstractContextManager[Any],
                 guarded: tuple[type[Exception], ...] = (),
                 header_of: Callable[[bytes], Header | None] = lambda payload: None) -> None:
        self.capacity_bytes = capacity_bytes
        self._open = open_payload
        self._lock = lock
        self._guarded = guarded
        self._header_of = header_of
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._flights: dict[bytes, Flight] = {}
        self._used_bytes = 0
        self.hits = self.misses = self.too_old = self.fetches = self.invalidated = self.emptied = self.evicted = 0

    def __len__(self) -> int:
        return len(self._entries)

    # Reading

    def find(self, key: bytes, now_s: float) -> Any:
        """Return the value of `key`, or ABSENT; raises if it is guarded. HOT."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return ABSENT
        if now_s >= entry.source.fresh_until_s or now_s >= entry.expires_s:
            self.misses += 1
            self.too_old += 1
            return ABSENT
        self.hits += 1
        entry.is_used = True
        payload = entry.payload
        return entry.value if payload is None else self._open(payload)

    def served(self, key: bytes, now_s: float) -> Entry | None:
        """Return the entry of `key` if it may be served; counts nothing. HOT."""
        entry = self._entries.get(key)
        if entry is None or now_s >= entry.source.fresh_until_s or now_s >= entry.expires_s:
            return None
        return entry

    def take(self, entry: Entry) -> Any:
        """Return the value of what `served` has returned, as a hit; raises if it is guarded. HOT."""
        self.hits += 1
        entry.is_used = True
        payload = entry.payload
        return entry.value if payload is None else self._open(payload)

    def use(self, entry: Entry) -> None:
        """Count a hit on what `served` has returned."""
        self.hits += 1
        entry.is_used = True

    def look(self, key: bytes, now_s: float) -> Entry | None:
        """Return what `served` does, and count it as a hit or a miss."""
        entry = self.served(key, now_s)
        if entry is None:
            self.misses += 1
            self.too_old += key in self._entries
            return None
        self.use(entry)
        return entry

    def generation(self, tag: bytes, now_s: float) -> Any:
        """Return what is kept as the generation of a tag, or ABSENT; a use, and no hit or miss."""
        entry = self.served(tag, now_s)
        if entry is None or entry.payload is not None:
            return ABSENT
        entry.is_used = True
        return entry.value

    # Fetching

    def join(self, key: bytes, new_done: Callable[[], Any]) -> tuple[Flight, bool]:
        """Return the key's flight, and whether it is the caller's to lead."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Flight(key, new_done())
            self.fetches += 1
            return flight, True

    def land(self, flight: Flight, source: Source | None, payload: bytes | None, left_ms: int, sent_s: float) -> None:
        """End a flight, and keep what it has brought if that still counts.

        Args:
            source: for which it was read; None: for none.
            payload: None: the key is absent, or the fetch has failed.
            left_ms: what is left of its lifetime, -1 = it never expires, UNTRACKED = it may not be kept.
            sent_s: when the question was sent, or earlier.
        """
        key = flight.key
        entry = None
        if source is not None and payload is not None and left_ms != UNTRACKED:
            entry = self._entry(key, source, payload, NEVER if left_ms < 0 else sent_s + left_ms / 1000)
        with self._lock:
            if self._flights.get(key) is not flight:  # the key has changed, or was written by this very handle
                return
            del self._flights[key]
            if entry is None or entry.source.is_lost:
                if payload is None:
                    self._drop(key)
                return
            self._drop(key)
            self._make_room(entry.charge)
            self._entries[key] = entry
            self._used_bytes += entry.charge

    def _entry(self, key: bytes, source: Source, payload: bytes, expires_s: float) -> Entry | None:
        """Return what would be kept; None for what is too large, or broken."""
        header = self._header_of(payload)
        charge = ENTRY_BYTES + len(key) + len(payload)
        if header is not None:
            charge += HEADER_BYTES + sum([TAG_BYTES + len(name) for name, _ in header.tags])
        if charge > self.capacity_bytes // LARGEST_SHARE:
            return None
        entry = Entry(payload, header, source, expires_s, charge)
        try:
            value = self._open(payload)
        except self._guarded:
            entry.is_guarded = True
            return entry
        except Exception:  # whoever reads it is told; here it only means that it is not kept
            return None
        if type(value) in _IMMUTABLE:
            entry.value, entry.payload = value, None
        return entry

    # Changes

    def invalidate(self, keys: Iterable[bytes]) -> None:
        """Take in that `keys` have changed."""
        with self._lock:
            for key in keys:
                flight = self._flights.pop(key, None)
                if self._drop(key) or flight is not None:
                    self.invalidated += 1

    def forget(self, keys: Iterable[bytes]) -> None:
        """Take in that this handle has perhaps written `keys`."""
        with self._lock:
            for key in keys:
                self._flights.pop(key, None)
                self._drop(key)

    def lose(self, source: Source) -> None:
        """Take in that something that `source` should have said may have been missed. Cost: O(entries)."""
        source.fresh_until_s = -NEVER  # from here on nobody is served any of it
        with self._lock:
            if source.is_lost:
                return
            source.is_lost = True
            self.emptied += 1
            for key in [key for key, entry in self._entries.items() if entry.source is source]:
                self._drop(key)

    def clear(self) -> None:
        """Forget everything, and let nothing be kept that is under way."""
        with self._lock:
            self._flights.clear()
            self._entries.clear()
            self._used_bytes = 0

    def restart(self, lock: AbstractContextManager[Any]) -> None:
        """Be empty in a forked child, in which nobody holds the old lock that may have held it."""
        self._lock = lock
        self.clear()

    def stats(self, links: int) -> NearStats:
        """Return what is counted; `links` = how many shards say now what changes."""
        return NearStats(len(self._entries), self._used_bytes, self.capacity_bytes, links, self.hits, self.misses,
                         self.too_old, self.fetches, self.invalidated, self.emptied, self.evicted)

    # Inside; the lock is held

    def _drop(self, key: bytes) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._used_bytes -= entry.charge
        return True

    def _make_room(self, charge: int) -> None:
        """Let the oldest go until `charge` bytes fit; those used since get another round (CLOCK, Corbato 1968)."""
        chances = _CHANCES
        while self._used_bytes + charge > self.capacity_bytes and self._entries:
            key, entry = self._entries.popitem(last=False)
            if entry.is_used and not entry.source.is_lost and chances:
                chances -= 1
                entry.is_used = False
                self._entries[key] = entry
                continue
            self._used_bytes -= entry.charge
            self.evicted += 1
