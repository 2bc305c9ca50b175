"""The store against a dict with a clock: Hypothesis does anything it likes, both must agree.

With room for everything the store must hold exactly what the dict holds. When it is full it may
hold less, but never anything else, and what left must have been announced with a cause.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import cachetools
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from raycache.store import Entry, RemovalCause, Store, StoreFullError, make_policy

KEYS = st.sampled_from([b"%d" % number for number in range(12)])
VALUES = st.binary(max_size=30)
KINDS = st.integers(0, 5)
TTLS = st.one_of(st.none(), st.integers(-5, 300), st.sampled_from([1000, 10_000, 10**6, 10**9, 10**12]))
POLICIES: list[Any] = [
    "lru", "lfu", "plain-lfu", "fifo", "sieve", "s3-fifo", "arc", "w-tinylfu", "auto", "ttl", "random", "noeviction",
    cachetools.LRUCache, cachetools.LFUCache,
]  # fmt: skip


@dataclass
class Known:
    """What the model knows of a key."""

    value: bytes
    kind: int
    expires_ms: int | None
    version: int | None = None


class StoreMachine(RuleBasedStateMachine):
    """A roomy store: it must agree with the model in everything."""

    capacity_bytes = 1 << 20
    max_entries: int | None = None
    policies = POLICIES

    @initialize(data=st.data(), segments=st.sampled_from([1, 4, 64]), now=st.sampled_from([0, 1_700_000_000_000]))
    def start(self, data: st.DataObject, segments: int, now: int) -> None:
        policy = data.draw(st.sampled_from(self.policies))
        self.model: dict[bytes, Known] = {}
        self.now = now
        self.last_version = 0
        self.announced: list[tuple[bytes, RemovalCause]] = []
        self.store = Store(
            capacity_bytes=self.capacity_bytes, max_entries=self.max_entries, segments=segments,
            policy=make_policy(policy, seed=1), listener=self.on_removal,
        )  # fmt: skip

    def on_removal(self, entry: Entry, cause: RemovalCause) -> None:
        self.announced.append((entry.key, cause))
        known = self.model.get(entry.key)
        if cause is RemovalCause.EVICTED:
            assert self.is_live(known), "a dead entry counts as expired"
            del self.model[entry.key]
        elif cause is RemovalCause.EXPIRED:
            assert known is not None
            assert not self.is_live(known)
            del self.model[entry.key]

    def is_live(self, known: Known | None) -> bool:
        return known is not None and (known.expires_ms is None or known.expires_ms > self.now)

    def live(self, key: bytes) -> Known | None:
        known = self.model.get(key)
        return known if self.is_live(known) else None

    def agree(self, key: bytes, entry: Entry | None) -> None:
        known = self.live(key)
        if entry is None or known is None:
            assert entry is known is None
            return
        assert (entry.value, entry.kind, entry.expires_ms) == (known.value, known.kind, known.expires_ms)

    def deadline(self, ttl_ms: int | None) -> int | None:
        return None if ttl_ms is None else self.now + ttl_ms

    @rule(ms=st.one_of(st.integers(0, 300), st.sampled_from([5000, 10**5, 10**7, 10**10])))
    def time_passes(self, ms: int) -> None:
        self.now += ms

    @rule(key=KEYS, value=VALUES, kind=KINDS, ttl_ms=TTLS)
    def put(self, key: bytes, value: bytes, kind: int, ttl_ms: int | None) -> None:
        expires_ms = self.deadline(ttl_ms)
        try:
            entry = self.store.put(key, value, kind, expires_ms, self.now)
        except StoreFullError:
            self.refused()
            return
        self.model[key] = Known(value, kind, expires_ms)
        assert (entry.key, entry.value, entry.kind, entry.expires_ms) == (key, value, kind, expires_ms)

    @rule(key=KEYS, value=VALUES, kind=KINDS)
    def rewrite(self, key: bytes, value: bytes, kind: int) -> None:
        entry = self.store.peek(key, self.now)
        self.agree(key, entry)
        if entry is None:
            return
        try:
            self.store.rewrite(entry, value, kind, self.now)
        except StoreFullError:
            self.refused()
            return
        self.model[key] = Known(value, kind, self.model[key].expires_ms)

    @rule(key=KEYS, ttl_ms=TTLS)
    def set_expiry(self, key: bytes, ttl_ms: int | None) -> None:
        entry = self.store.peek(key, self.now)
        if entry is None:
            return
        self.store.step(self.now, budget=0)  # so that it knows what is dead by now
        try:
            self.store.set_expiry(entry, self.deadline(ttl_ms))
        except StoreFullError:
            self.refused()
            return
        self.model[key].expires_ms = self.deadline(ttl_ms)

    def refused(self) -> None:
        assert not self.store.policy.can_evict, "only noeviction refuses values as small as these"

    @rule(key=KEYS)
    def get(self, key: bytes) -> None:
        stats = self.store.stats
        hits, misses = stats.hits, stats.misses
        entry = self.store.get(key, self.now)
        self.agree(key, entry)
        assert (stats.hits - hits, stats.misses - misses) == ((0, 1) if entry is None else (1, 0))

    @rule(key=KEYS)
    def peek(self, key: bytes) -> None:
        before = self.store.stats.hits, self.store.stats.misses
        self.agree(key, self.store.peek(key, self.now))
        assert (self.store.stats.hits, self.store.stats.misses) == before

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        assert self.store.delete(key, self.now) is (self.live(key) is not None)
        self.model.pop(key, None)

    @rule(key=KEYS)
    def ask_version(self, key: bytes) -> None:
        entry, known = self.store.peek(key, self.now), self.live(key)
        if entry is None or known is None:
            return
        version = self.store.version_of(entry)
        if known.version is None:
            assert version > self.last_version, "a version never comes back"
            known.version = self.last_version = version
        assert version == known.version

    @rule(budget=st.integers(0, 20))
    def step(self, budget: int) -> None:
        self.store.step(self.now, budget)

    @rule()
    def step_until_done(self) -> None:
        while self.store.step(self.now, 5):
            pass
        expiries = [known.expires_ms for known in self.model.values() if known.expires_ms is not None]
        assert min(expiries, default=self.now) >= self.now - 256, "the wheel keeps the dead for two ticks at most"

    @rule()
    def clear(self) -> None:
        held = len(self.store)
        assert self.store.clear() == held
        self.model.clear()

    @rule(count=st.integers(1, 20))
    def scan(self, count: int) -> None:
        found: list[bytes] = []
        cursor, keys = self.store.scan(0, count, self.now)
        found += keys
        while cursor:
            cursor, keys = self.store.scan(cursor, count, self.now)
            found += keys
        assert sorted(found) == sorted(key for key in self.model if self.live(key))

    @rule(seed=st.integers(0, 100))
    def random_entry(self, seed: int) -> None:
        entry = self.store.random_entry(random.Random(seed), self.now)
        if entry is None:
            assert not any(map(self.is_live, self.model.values()))
        else:
            self.agree(entry.key, entry)

    @invariant()
    def tables_agree(self) -> None:
        if hasattr(self, "store"):
            self.store.check_invariants()
            assert len(self.store) == len(self.model)
            removed = [cause for _, cause in self.announced if cause in (RemovalCause.EXPIRED, RemovalCause.EVICTED)]
            assert self.store.stats.expired + self.store.stats.evicted == len(removed)


class SmallStoreMachine(StoreMachine):
    """A store with room for some six entries: it may hold less than it was given, and says what it dropped."""

    capacity_bytes = 2000


class FewEntriesMachine(StoreMachine):
    """A store that may hold three entries."""

    max_entries = 3


TestStore = StoreMachine.TestCase
TestSmallStore = SmallStoreMachine.TestCase
TestFewEntries = FewEntriesMachine.TestCase
TestStore.settings = TestSmallStore.settings = TestFewEntries.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None
)
