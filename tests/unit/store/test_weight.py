"""The charge of an entry against the memory that a fresh process really takes for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from raycache.store import Store, make_policy

STATM = Path("/proc/self/statm")

MEASURE = """
import gc, sys
from raycache.store import Store, make_policy
policy, value_bytes, ttl, capacity = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
gc.disable()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before = resident()
store = Store(capacity_bytes=capacity, policy=make_policy(policy))
number, body = 0, b"x" * value_bytes
while store.stats.evicted * 2 <= store.stats.inserts:
    for number in range(number, number + 1000):
        store.put(b"key:%09d" % number, body[:-1] + b"y", 0, (number + 10**12) if ttl else None, 0)
    number += 1
print(resident() - before, store.used_bytes)
"""


@pytest.mark.skipif(not STATM.exists(), reason="resident memory is read from /proc")
@pytest.mark.parametrize(("policy", "value_bytes", "ttl"), [
    ("lru", 100, False), ("lru", 10, True), ("lru", 5000, False), ("lfu", 100, False), ("plain-lfu", 100, False),
    ("sieve", 100, False), ("s3-fifo", 100, False), ("arc", 100, False), ("w-tinylfu", 100, False),
    ("random", 100, False), ("ttl", 100, True),
])  # fmt: skip
def test_a_full_evicting_store_takes_no_more_than_it_charges(policy: str, value_bytes: int, ttl: bool) -> None:
    arguments = [policy, str(value_bytes), str(int(ttl)), str(12_000_000)]
    output = subprocess.run([sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True, check=True)
    resident, charged = map(int, output.stdout.split())
    assert charged > 11_900_000
    assert 0.6 * charged < resident <= charged


def test_every_byte_of_key_and_value_is_charged() -> None:
    store = Store(capacity_bytes=1 << 20, policy=make_policy("lru"))
    small = store.charge_of(store.put(b"k", b"v", 0, None, 0))
    assert store.used_bytes == small > 200
    assert store.charge_of(store.put(b"k" * 11, b"v", 0, None, 0)) == small + 10
    large = store.charge_of(store.put(b"l", b"v" * 10_001, 0, None, 0))
    assert small + 10_000 <= large <= small + 10_400


def test_policies_that_keep_more_charge_more() -> None:
    def charge(policy: str) -> int:
        store = Store(capacity_bytes=1 << 20, policy=make_policy(policy))
        return store.charge_of(store.put(b"k", b"v", 0, None, 0))

    assert charge("noeviction") < charge("lru") == charge("lfu") < charge("random") < charge("ttl")
