"""The store of one shard: keys to entries, within a budget, under an eviction policy.

What lives here: look-up, writing, expiry, making room, counting. What does not: who leaves when
room is needed (`policies/`), when timers are due (`wheel.py`), commands (`raycache.shard`). Pure:
`now_ms` (Unix milliseconds) is handed in. One loop owns a store; nothing here may be called from
another thread, and no method awaits, so each is atomic.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from raycache.store import segments as segmented
from raycache.store.departures import CAUSE_BITS, DELETED, EVICTED, EXPIRED, Departures
from raycache.store.entry import KIND_BITS, Entry, RemovalCause, RemovalListener
from raycache.store.errors import StoreFullError
from raycache.store.graveyard import Generation, Graveyard
from raycache.store.invariants import check_invariants
from raycache.store.journal import Journal
from raycache.store.policies.base import EvictionPolicy
from raycache.store.stats import StoreStats
from raycache.store.switching import Switch, begin_switch, choose, step_switch, watch
from raycache.store.watching import Watcher
from raycache.store.weight import TIMER_BYTES, Weigher, weigher
from raycache.store.wheel import TimerWheel

# A full store that may not evict looks for this many expired entries before it refuses a write.
_EXPIRE_BATCH: Final = 100
# What expired is removed on the way, so a store of dead entries only is emptied in bounded steps here too.
_DRAWS: Final = 100
# Looked up once: an enum's member costs three times a global.
_EXPIRED: Final = RemovalCause.EXPIRED
_EVICTED: Final = RemovalCause.EVICTED
_DELETED: Final = RemovalCause.DELETED
_REPLACED: Final = RemovalCause.REPLACED


class Store:
    """A cache of entries.

    Entries that callers get stay the store's own: read them before the next call, change them
    only through the store.
    """

    def __init__(
        self,
        *,
        capacity_bytes: int,
        policy: EvictionPolicy[Any],
        max_entries: int | None = None,
        segments: int | None = None,
        listener: RemovalListener | None = None,
        weigh: Weigher | None = None,
        seed_version: int = 1,
        version_bytes: int = 0,
    ) -> None:
        """Make an empty store.

        Args:
            capacity_bytes: what all entries together may be charged.
            max_entries: how many there may be, or None for as many as fit.
            segments: a power of two; None chooses by capacity, 1 is a plain dict.
            listener: is told of every value that leaves, and why.
            weigh: charge of (key, value) in place of the honest one; timers are then free.
            seed_version: the first version given out. Larger than any given out before a restart.
            version_bytes: charged for each entry, where a journal gives every one a version of its own.
        Raises:
            ValueError: a number is not positive, or `segments` is no power of two.
        """
        if segments is None:
            segments = segmented.segment_count(capacity_bytes)
        for name, number in (
            ("capacity_bytes", capacity_bytes), ("max_entries", max_entries), ("seed_version", seed_version)
        ):
            if number is not None and number < 1:
                raise ValueError(f"{name} must be positive, not {number}")
        if segments < 1 or segments & (segments - 1):
            raise ValueError(f"segments must be a power of two, not {segments}")
        self.capacity_bytes = capacity_bytes
        self.stats = StoreStats()
        self._max_entries = sys.maxsize if max_entries is None else max_entries
        self._mask = segments - 1
        self._segments = segmented.new_segments(segments)
        self._policy = policy
        self._new_entry: type[Entry] = policy.entry_type
        self._wheel = TimerWheel()
        self._listener = listener
        self._journal: Journal | None = None
        self._fixed_weigh = weigh
        self._entry_bytes, self._version_bytes = policy.entry_bytes, version_bytes
        self._weigh = weigher(policy.entry_bytes + version_bytes) if weigh is None else weigh
        self._is_quiet = weigh is None and listener is None
        """Whether overwriting a value with one of the same length changes no charge and concerns no listener."""
        self._timer_bytes = TIMER_BYTES if weigh is None else 0
        self._aside_bytes = 0  # used, and not by entries
        self._switch: Switch | None = None
        self._bind(policy)
        self.on_leave: Callable[[bytes], None] | None = None
        """Told of each key that is removed, whatever the cause; not of those that `clear` drops. None: nobody asks."""
        self._graveyard = Graveyard(self._bury)
        self.departures = Departures(capacity_bytes)
        """What has left lately, and why."""
        self._left_mask, self._left_hashes = self.departures.mask, self.departures.hashes
        self._left_facts = self.departures.facts
        self._stepped_bits = 0
        self._count = 0
        self._free_bytes = capacity_bytes
        self._buried_bytes = 0  # neither free nor used: cleared, and waiting in the graveyard
        self._next_version = seed_version
        self._stepped_ms = 0
        self._watcher: Watcher | None = None
        self._lookups: list[Any] = self._segments
        if policy.chooses:
            choose(self, policy)
        self._show_hot()

    def __len__(self) -> int:
        """Number of entries, those that expired unnoticed included."""
        return self._count

    @property
    def used_bytes(self) -> int:
        """What the entries are charged, and what was set aside; above `capacity_bytes` only where that is."""
        return self.capacity_bytes - self._free_bytes - self._buried_bytes

    @property
    def max_entries(self) -> int | None:
        """The bound that was asked for, or None."""
        return None if self._max_entries == sys.maxsize else self._max_entries

    @property
    def entries_with_ttl(self) -> int:
        """Number of entries that will expire."""
        return len(self._wheel)

    @property
    def policy(self) -> EvictionPolicy[Any]:
        """The policy in use; read only. While it is changed, what stands between the old one and the new."""
        return self._policy

    @property
    def stepped_ms(self) -> int:
        """The time of the last step."""
        return self._stepped_ms

    @property
    def is_clearing(self) -> bool:
        """Whether something that was cleared has not been freed yet."""
        return bool(self._graveyard)

    @property
    def is_switching(self) -> bool:
        """Whether the policy is being changed."""
        return self._switch is not None

    @property
    def watcher(self) -> Watcher | None:
        """What is known of look-ups, where they are watched."""
        return self._watcher

    @property
    def chosen(self) -> str:
        """The name of the policy that was asked for; "auto" stays that, whichever it has chosen."""
        chooses = self._watcher is not None and self._watcher.chooser is not None
        return "auto" if chooses else self._policy.name

    # Reading

    def get(self, key: bytes, now_ms: int) -> Entry | None:
        """Return the live entry of `key` or None, and count and rank that as a use."""
        entry: Entry | None = self._lookups[hash(key) & self._mask].get(key)
        if entry is None:
            self.stats.misses += 1
            return None
        timer = entry.timer
        if timer is not None and timer <= now_ms:
            self._remove(entry, _EXPIRED)
            self.stats.misses += 1
            return None
        self.stats.hits += 1
        self._on_hit(entry)
        return entry

    def peek(self, key: bytes, now_ms: int) -> Entry | None:
        """Return the live entry of `key` or None. Nobody will know."""
        entry = self._segments[hash(key) & self._mask].get(key)
        if entry is not None and (timer := entry.timer) is not None and timer <= now_ms:
            self._remove(entry, _EXPIRED)
            return None
        return entry

    def scan(self, cursor: int, count: int, now_ms: int) -> tuple[int, list[bytes]]:
        """Return the next cursor and some live keys; start with cursor 0, done when 0 comes back.

        A key that is there from the first call to the last is returned exactly once. Cost: about
        `count` entries and one segment, at most 4,096. A cursor means nothing to another store.
        """
        return segmented.scan(self._segments, cursor, count, now_ms)

    def random_entry(self, rng: random.Random, now_ms: int) -> Entry | None:
        """Return a live entry, each about equally likely, or None if a hundred draws found only dead ones."""
        for _ in range(_DRAWS):
            entry = segmented.draw(self._segments, rng)
            if entry is None:
                return None
            timer = entry.timer
            if timer is None or timer > now_ms:
                return entry
            self._remove(entry, _EXPIRED)
        return None

    def charge_of(self, entry: Entry) -> int:
        """Return the bytes that `entry` is charged."""
        charge = self._weigh(entry.key, entry.value)
        return charge if entry.timer is None else charge + self._timer_bytes

    def weight_of(self, entry: Entry) -> int:
        """Return what `entry` takes of what the store can hold: bytes, or 1 where its entries are counted."""
        return self.charge_of(entry) if self._max_entries == sys.maxsize else 1

    def charge_for(self, key: bytes, value: Any) -> int:
        """Return the bytes that an entry without expiry would be charged."""
        return self._weigh(key, value)

    def version_of(self, entry: Entry) -> int:
        """Return the number of the last write of `entry`, above 0. It costs memory only where it was asked for.

        Two equal versions mean that the entry was not written in between, whatever happened to it.
        """
        version = entry.stamp >> KIND_BITS
        if not version:
            version = self._next_version
            self._next_version += 1
            entry.stamp |= version << KIND_BITS
        return version

    # Writing

    def put(self, key: bytes, value: Any, kind: int, expires_ms: int | None, now_ms: int) -> Entry:
        """Store `value` under `key`, replacing all there was, and return its entry.

        Args:
            value: `bytes`, or what `weigh` can weigh.
            expires_ms: Unix milliseconds from which the entry is dead, or None for never.
        Raises:
            StoreFullError: it can never fit, or nothing may be evicted for it. Nothing changed.
        Cost: O(1), and O(evicted) where a large value displaces many small ones: see `reserve`.
        """
        segment = self._segments[hash(key) & self._mask]
        entry = segment.get(key)
        if entry is not None:
            timer = entry.timer
            if timer is None and expires_ms is None and self._is_quiet and len(value) == len(entry.value):
                # The same charge and no timer: `_overwrite` in short, for counters and the like.
                entry.value = value
                self._policy.on_update(entry)
                self.stats.updates += 1
                if self._journal is None:
                    entry.stamp = kind
                else:
                    entry.stamp = entry.stamp >> KIND_BITS << KIND_BITS | kind
                    self._journal.wrote(entry)
                return entry
            if timer is None or timer > now_ms:
                self._overwrite(entry, value, kind, expires_ms, now_ms)
                return entry
            self._remove(entry, _EXPIRED)
        if self._on_arrival is not None:
            self._on_arrival(key)
        charge = self._weigh(key, value)
        if expires_ms is not None:
            charge += self._timer_bytes
        # Room is made before the entry is there, so that it cannot be its own victim.
        if charge > self._free_bytes or self._count >= self._max_entries:
            self._make_room(charge, charge, 1, None, now_ms)
        entry = self._new_entry()
        entry.key = key
        entry.value = value
        entry.stamp = kind
        entry.timer = None
        if expires_ms is not None:
            self._wheel.schedule(entry, expires_ms)
        segment[key] = entry
        self._free_bytes -= charge
        self._count += 1
        self._policy.on_insert(entry)
        self.stats.inserts += 1
        if self._journal is not None:
            self._journal.wrote(entry)
        return entry

    def rewrite(self, entry: Entry, value: Any, kind: int, now_ms: int) -> None:
        """Give a live entry another value; its expiry stays. Errors and cost are those of `put`."""
        timer = entry.timer
        self._overwrite(entry, value, kind, None if timer is None else timer.expires_ms, now_ms)

    def set_expiry(self, entry: Entry, expires_ms: int | None) -> None:
        """Give a live entry another expiry, None for never. That is no write: its version stays.

        Raises:
            StoreFullError: a first expiry needs room, and nothing may be evicted for it.
        """
        if expires_ms is None:
            if entry.timer is not None:
                self._wheel.cancel(entry)
                self._free_bytes += self._timer_bytes
                self._policy.on_resize(entry, -self._timer_bytes)
        else:
            if entry.timer is None:
                charge = self._timer_bytes
                self._make_room(charge, self.charge_of(entry) + charge, 0, entry, self._stepped_ms)
                self._free_bytes -= charge
                self._policy.on_resize(entry, charge)
            self._wheel.schedule(entry, expires_ms)
        self._policy.on_expiry_change(entry)
        if self._journal is not None:
            self._journal.wrote(entry)

    def delete(self, key: bytes, now_ms: int) -> bool:
        """Remove `key`; return whether it was there, alive."""
        entry = self.peek(key, now_ms)
        if entry is None:
            return False
        self._remove(entry, _DELETED)
        return True

    def evict(self, entry: Entry) -> None:
        """Remove a live entry as if room had been needed."""
        self._remove(entry, _EVICTED)

    def set_aside(self, growth: int, now_ms: int) -> None:
        """Take `growth` bytes of the capacity for something else than entries, or give them back if it is negative.

        Entries make room. Where they cannot, the bytes are taken all the same, and no entry can grow until some are
        back. Cost: O(evicted).
        """
        self._aside_bytes += growth
        self._free_bytes -= growth
        if self.max_entries is None:
            self._policy.set_capacity(max(self.capacity_bytes - self._aside_bytes, 1))
        while self._free_bytes < 0:
            if self._buried_bytes:
                self._graveyard.release(1)
            elif self._count and self._policy.can_evict:
                victim = self._policy.victim()
                timer = victim.timer
                self._remove(victim, _EVICTED if timer is None or timer > now_ms else _EXPIRED)
            elif not self._expire_due(now_ms, _EXPIRE_BATCH):
                return

    def set_journal(self, journal: Journal | None) -> None:
        """Tell `journal` of every write and removal from now on; it then gives entries their versions."""
        self._journal = journal
        self._show_hot()

    def clear(self) -> int:
        """Forget every entry at once and return how many. Later steps free them, and tell the listener then.

        Cost: O(segments).
        """
        count = self._count
        if count:
            self.departures.cleared_ms = self._stepped_ms
            self._graveyard.add(Generation(self._segments, self._policy, self._wheel))
            self._buried_bytes += self.used_bytes - self._aside_bytes
            self._segments = segmented.new_segments(len(self._segments))
            self._policy = self._policy.fresh()
            self._bind(self._policy)
            self._wheel = TimerWheel(self._wheel.tick)
            self._lookups = self._segments if self._watcher is None else self._watcher.cleared(self._segments)
            self._show_hot()
            self._count = 0
            self.stats.deleted += count
        return count

    # Time

    def step(self, now_ms: int, budget: int = 1000) -> bool:
        """Remove what has expired and free what was cleared, at most `budget` entries; return whether more waits.

        1,000 entries take about a millisecond. Call it every 10 ms or so, or at once if more waits.
        """
        self._stepped_ms = now_ms
        self._stepped_bits = now_ms << CAUSE_BITS
        self._policy.tick(now_ms)
        spent = self._expire_due(now_ms, budget)
        if self._graveyard:
            self._graveyard.release(budget - spent)
        more = self._wheel.has_due or bool(self._graveyard)
        if self._switch is not None:
            step_switch(self, self._switch)
            more = True
        if self._watcher is not None:
            more = self._watcher.step(self, now_ms) or more
        return more

    # Policies and what they are chosen by

    def watch(self, most_keys: int) -> None:
        """Watch a sample of the look-ups from now on, for the miss-ratio curve; see `watching`. It begins anew.

        Args:
            most_keys: how many keys the sample of the curve may have; 0: no curve, only what a policy is chosen by.
        """
        watch(self, most_keys)

    def switch_policy(self, policy: EvictionPolicy[Any], *, by_chooser: bool = False) -> None:
        """Serve under another policy from now on. Entries pass over to it in steps, with what is known of their order.

        Args:
            policy: a new one.
            by_chooser: whether "auto" has chosen it; then that goes on, and the charge of entries stays.
        Raises:
            ValueError: it, or the one in use, can only be chosen at the start; or a change is under way.
        """
        begin_switch(self, policy, by_chooser=by_chooser)

    def reserve(self, key: bytes, value: Any, now_ms: int, budget: int = 1000) -> bool:
        """Make room for a `put` that would displace many entries; return whether more must go.

        Evicts at most `budget` entries a call. A shard calls it between turns of its loop before it
        puts a large value: displacing 100,000 entries within one `put` stops the loop for 100 ms.
        Where `put` would raise, nothing is evicted and the answer is False.
        """
        entry = self.peek(key, now_ms)
        charge = self._weigh(key, value) + self._timer_bytes
        if charge > self.capacity_bytes - self._aside_bytes:
            return False
        growth = charge if entry is None else charge - self.charge_of(entry)
        while growth > self._free_bytes:
            if budget <= 0:
                return True
            if self._buried_bytes:
                budget -= self._graveyard.release(budget)
            elif not self._policy.can_evict:
                return False
            else:
                self._make_room(self._free_bytes + 1, charge, 0, entry, now_ms)  # one byte more: one entry goes
                budget -= 1
        return False

    def check_invariants(self) -> None:
        """Raise AssertionError if the tables disagree with each other. Cost: O(n log n); for tests."""
        check_invariants(self)

    # Inside

    def _bind(self, policy: EvictionPolicy[Any]) -> None:
        """Make `policy`, which is empty, the one of this store."""
        weigh = self._weigh if self._switch is None else self._switch.weigh
        timer_bytes = self._timer_bytes

        def charge(entry: Entry) -> int:  # not `charge_of`: a policy may not keep its store alive
            weight = weigh(entry.key, entry.value)
            return weight if entry.timer is None else weight + timer_bytes

        if self.max_entries is None:
            policy.bind(max(self.capacity_bytes - self._aside_bytes, 1), charge)
        else:
            policy.bind(self._max_entries, None)
        self._on_hit = policy.on_hit
        self._on_arrival = policy.on_arrival if policy.hears_arrivals else None
        self._new_entry = policy.entry_type

    def _show_hot(self) -> None:
        journal, policy = self._journal, self._policy
        is_use = type(policy).on_update is type(policy).on_hit
        self.hot: tuple[
            list[dict[bytes, Entry]], int, Callable[[Iterable[Any]], None], Callable[[Any], None] | None, bool,
            Callable[[Entry], None] | None, list[Any],
        ] = (self._segments, self._mask, policy.on_hits, policy.on_update if self._is_quiet else None, is_use,
             None if journal is None else journal.wrote, self._lookups)
        """What `get` and `put` work on, for a loop that cannot afford the calls: segments, the mask that chooses one
        by hash, what to tell of hits before the next write, and, when a value without a timer was overwritten in
        place by one of the same length, what to call (None where that needs `put`), whether that is the same as a hit,
        which journal to tell (None: its version becomes 0), and the segments once more, for look-ups in the name of a
        client. Whoever uses it counts in `stats`. Good until `clear`, `step` or `set_journal`."""

    def _overwrite(self, entry: Entry, value: Any, kind: int, expires_ms: int | None, now_ms: int) -> None:
        """Replace value, kind and expiry of a live entry, or raise and change nothing."""
        key = entry.key
        charge = self._weigh(key, value)
        growth = charge - self._weigh(key, entry.value)
        timer = entry.timer
        if expires_ms is not None:
            charge += self._timer_bytes
            if timer is None:
                growth += self._timer_bytes
        elif timer is not None:
            growth -= self._timer_bytes
        if growth > self._free_bytes:
            self._make_room(growth, charge, 0, entry, now_ms)
        if self._listener is not None:
            self._listener(entry, _REPLACED)
        entry.value = value
        if expires_ms is None:
            if timer is not None:
                self._wheel.cancel(entry)
        elif timer is None or int(timer) != expires_ms:
            self._wheel.schedule(entry, expires_ms)
        if growth:
            self._free_bytes -= growth
            self._policy.on_resize(entry, growth)
        self._policy.on_update(entry)
        self.stats.updates += 1
        if self._journal is None:
            entry.stamp = kind
        else:
            entry.stamp = entry.stamp >> KIND_BITS << KIND_BITS | kind
            self._journal.wrote(entry)

    def _make_room(self, growth: int, charge: int, count: int, spare: Entry | None, now_ms: int) -> None:
        """Evict until `growth` bytes and `count` entries fit beside the rest, never `spare`.

        Raises:
            StoreFullError: an entry of `charge` bytes can never fit, or nothing may be evicted.
        """
        if charge > self.capacity_bytes - self._aside_bytes:
            self.stats.rejected += 1
            raise StoreFullError(
                f"the entry needs {charge} bytes and the whole store has {self.capacity_bytes - self._aside_bytes}",
                never_fits=charge > self.capacity_bytes,
            )
        most = self._max_entries - count
        policy = self._policy
        while growth > self._free_bytes or self._count > most:
            if self._buried_bytes:
                self._graveyard.release(1)
            elif policy.can_evict:
                victim = policy.victim(spare)
                timer = victim.timer
                self._remove(victim, _EVICTED if timer is None or timer > now_ms else _EXPIRED)
            elif not self._expire_due(now_ms, _EXPIRE_BATCH):
                self.stats.rejected += 1
                raise StoreFullError("the store is full and its policy does not evict")

    def _expire_due(self, now_ms: int, budget: int) -> int:
        """Remove expired entries that the wheel knows of, at most `budget`, and return how many."""
        expired = self._wheel.take_due(now_ms, budget)
        for entry in expired:
            self._remove(entry, _EXPIRED)
        return len(expired)

    def _remove(self, entry: Entry, cause: RemovalCause) -> None:
        """Take `entry` out of every table, count it, and tell the listener."""
        key = entry.key
        hashed = hash(key)
        del self._segments[hashed & self._mask][key]
        self._policy.on_remove(entry)
        self._free_bytes += self._weigh(key, entry.value)
        self._count -= 1
        if entry.timer is not None:
            self._free_bytes += self._timer_bytes
            self._wheel.cancel(entry)
        if cause is _EVICTED:
            self.stats.evicted += 1
            code = EVICTED
        elif cause is _EXPIRED:
            self.stats.expired += 1
            code = EXPIRED
            if self._watcher is not None:
                self._watcher.gone(key)
        else:
            self.stats.deleted += 1
            code = DELETED
            if self._watcher is not None:
                self._watcher.gone(key)
        # `Departures.note` without the call: a full store comes by here with every new entry.
        row = hashed & self._left_mask
        self._left_hashes[row] = hashed
        self._left_facts[row] = self._stepped_bits + code
        if self.on_leave is not None:
            self.on_leave(key)
        if self._listener is not None:
            self._listener(entry, cause)
        if self._journal is not None:
            self._journal.removed(entry, cause)

    def _bury(self, entry: Entry) -> None:
        """Give back the memory of an entry that `clear` dropped earlier."""
        charge = self.charge_of(entry)
        self._buried_bytes -= charge
        self._free_bytes += charge
        self.departures.note_buried(entry.key)
        if self._listener is not None:
            self._listener(entry, _DELETED)
