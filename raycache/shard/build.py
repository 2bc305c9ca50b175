"""Putting a shard together from a cluster's settings, for whoever runs one: an actor, a test, a benchmark.

What does not live here: listening (`server`) and Ray (`raycache.actors`).
"""

from __future__ import annotations

import random
from typing import Final

from raycache.access.user import user_of
from raycache.clock import Clock, SystemClock
from raycache.config import MIB, ClusterConfig
from raycache.curves.shards import MOST_KEYS
from raycache.replication.version import VERSION_BYTES
from raycache.shard.core import ShardCore
from raycache.shard.server import ShardServer
from raycache.store import Store, make_policy

PROCESS_BYTES: Final = 80 * MIB
"""What a shard's process keeps for itself beyond pages of files: 73 MiB were measured, of it 57 of any Ray worker."""
MOST_RESERVED: Final = 8
"""At most one part in so many is set aside for the process, so that small budgets still hold something."""
CURVE_BYTES: Final = 128 * MIB
"""From this capacity on, the sample of the miss-ratio curve has its full size: about 2 % of it, out of the reserve."""
FEWEST_KEYS: Final = 512


def store_capacity(budget_bytes: int) -> int:
    """Return what the entries of a shard may be charged, out of its whole budget; the rest is its process'."""
    return budget_bytes - min(PROCESS_BYTES, budget_bytes // MOST_RESERVED)


def build_server(config: ClusterConfig, shard_id: str, *, secret: str | None, require_auth: bool,
                 clock: Clock | None = None) -> ShardServer:
    """Return a shard that is ready to `start`. Must be called on the loop that will own it.

    Args:
        config: the cluster's settings.
        shard_id: such as "s0".
        secret: what AUTH must show; None: there is none.
        require_auth: whether to refuse commands before it was shown.
        clock: the system's unless given.
    """
    clock = clock or SystemClock()
    now_ms = clock.unix_ms()
    store = Store(
        capacity_bytes=store_capacity(config.memory_per_shard_bytes),
        policy=make_policy(config.policy, seed=random.SystemRandom().getrandbits(64)),
        max_entries=config.max_entries_per_shard,
        # Versions must never repeat after a restart, or an old compare-and-set could match: they start
        # from the time, with room for a million writes a millisecond.
        seed_version=now_ms << 20,
        version_bytes=VERSION_BYTES if config.copies > 1 else 0,
    )
    policy = config.policy if isinstance(config.policy, str) else config.policy.__name__
    core = ShardCore(store=store, shard_id=shard_id, secret=secret, require_auth=require_auth, limits=config.limits,
                     policy=policy, started_ms=now_ms, users=[user_of(line) for line in config.users],
                     allow_pickle=config.allow_pickle)
    store.watch(max(MOST_KEYS * min(store.capacity_bytes, CURVE_BYTES) // CURVE_BYTES, FEWEST_KEYS))
    core.replicate(config, clock.monotonic_s())
    server = ShardServer(core, config.limits, clock=clock, tls=config.tls, measure_every=config.measure_every)
    core.info = server.info
    core.reset_info = server.stats.reset
    return server

