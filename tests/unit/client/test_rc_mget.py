"""The shard's side of `get_many`: RC.MGET has a loop of its own, which must do what RC.GET does, key by key."""

from __future__ import annotations

import random
from dataclasses import asdict

import hiredis
import pytest

from raycache.shard.core import ShardCore
from raycache.store import Store, make_policy

START_MS = 1_000_000
SIZES = (0, 1, 100, 4_094, 4_095, 4_096, 100_000)


class Shard:
    """A core with entries of all sizes and kinds, some of them about to expire."""

    def __init__(self, policy: str, protocol: int) -> None:
        self.store = Store(capacity_bytes=1 << 20, policy=make_policy(policy, seed=1))
        self.core = ShardCore(store=self.store, started_ms=START_MS)
        self.session = self.core.open_session("127.0.0.1:1")
        self.session.protocol = protocol
        for number, size in enumerate(SIZES * 3):
            expires_ms = START_MS + 100 * (number % 3) if number % 3 else None
            self.store.put(b"k%d" % number, b"v" * size, number % 256, expires_ms, START_MS)
        self.core.now_ms = START_MS + 100  # one third is dead now

    def run(self, *argv: bytes) -> bytes:
        reply = self.core.execute(self.session, list(argv))
        assert type(reply) is bytes
        return reply

    def leaving(self) -> list[bytes]:
        """The order in which the policy would evict."""
        policy, keys = self.store.policy, []
        while len(self.store):
            victim = policy.victim(None)
            keys.append(victim.key)
            self.store.delete(victim.key, START_MS)
        return keys


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("policy", ["lru", "lfu", "plain-lfu", "fifo", "sieve", "s3-fifo", "arc", "w-tinylfu", "ttl"])
def test_mget_answers_counts_and_ranks_as_get_does(policy: str, protocol: int) -> None:
    many, single = Shard(policy, protocol), Shard(policy, protocol)
    rng = random.Random(7)
    keys = [b"k%d" % rng.randrange(30) for _ in range(200)]
    replies = b"".join(single.run(b"RC.GET", key) for key in keys)
    assert many.run(b"RC.MGET", *keys) == b"*200\r\n" + replies
    assert asdict(many.store.stats) == asdict(single.store.stats)
    assert many.leaving() == single.leaving()


def test_what_is_no_string_is_null_and_yet_a_hit() -> None:
    store = Store(capacity_bytes=1 << 20, policy=make_policy("lru", seed=1), weigh=lambda key, value: 100)
    core = ShardCore(store=store, started_ms=START_MS)
    store.put(b"list", ["no", "string"], 0, None, START_MS)
    store.put(b"string", b"x", 3, None, START_MS)
    reader = hiredis.Reader()
    reader.feed(core.execute(core.open_session("127.0.0.1:1"), [b"RC.MGET", b"list", b"string"]))
    assert reader.gets() == [None, b"\x03x"]
    assert (store.stats.hits, store.stats.misses) == (2, 0)
