"""RC.CURVE: what other amounts of memory would have given, and changing the policy of a shard.

What lives here: the form on the wire. What does not: the curve (`raycache.curves`), how look-ups are sampled
(`raycache.store.watching`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgpack

from raycache.curves.points import FACTORS
from raycache.resp import encode
from raycache.resp.encode import OK
from raycache.shard.commands.command import Command, Refusal
from raycache.store import make_policy

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

_UNWATCHED: Final = "ERR this shard keeps no miss-ratio curve"


def curve(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.CURVE -> msgpack: the capacity, and the hit ratios that an LRU cache of so many times of it would have had."""
    store = core.store
    if store.watcher is None or (known := store.watcher.curve) is None:
        raise Refusal(_UNWATCHED)
    copies = 1 if core.topology is None else core.topology.copies
    capacity = (store.max_entries or store.capacity_bytes) / copies  # the rest is for other shards' keys
    figures: dict[str, Any] = {
        "shard_id": core.shard_id, "policy": store.chosen, "serving": store.policy.name,
        "capacity_bytes": store.capacity_bytes, "used_bytes": store.used_bytes, "entries": len(store),
        "hits": store.stats.hits, "misses": store.stats.misses,
        "lookups": known.lookups, "sampled_keys": len(known), "rate": known.rate,
        "hit_ratios": [1.0 - ratio for ratio in known.miss_ratios([capacity * factor for factor in FACTORS])],
    }
    return encode.bulk(msgpack.packb(figures))


def policy(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.POLICY name: serve under another policy from now on; entries pass over to it in steps."""
    change_policy(core, argv[1].decode("latin-1").lower())
    return OK


def change_policy(core: ShardCore, name: str) -> None:
    """Serve under the policy `name`.

    Raises:
        Refusal: there is none, or it cannot be changed to or from.
    """
    if name == core.policy:
        return
    try:
        core.store.switch_policy(make_policy(name))
    except ValueError as error:
        raise Refusal(f"ERR {error}") from None
    core.policy = name


_rc = partial(Command, group="raycache", since="0.2.0")

COMMANDS = [
    _rc(name="rc.curve", arity=1, flags="readonly loading stale", handler=curve,
        summary="Returns the hit ratios that other amounts of memory would have given."),
    _rc(name="rc.policy", arity=2, flags="admin noscript loading stale", handler=policy,
        summary="Changes the eviction policy while the shard serves."),
]
