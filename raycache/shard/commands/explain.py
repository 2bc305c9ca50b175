"""RC.EXPLAIN: what this shard knows of one key: its entry, and why it left last.

What lives here: the command and its form on the wire. What does not: the table of what left
(`raycache.store.departures`), putting together what several shards say (`raycache.client.explain`).

It names no key positions: every shard answers, also one that does not own the key's slot, because a former owner may
know best. Asking is no use of the key: nothing is counted or promoted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack

from raycache.descriptor import descriptor_of
from raycache.resp import encode
from raycache.shard.commands.access import peek
from raycache.shard.commands.command import Command
from raycache.store import LargeValue

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session


def explain(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.EXPLAIN key -> msgpack: what is stored under it here, and when and why it left last."""
    key = argv[1]
    entry, store = peek(core, key), core.store
    departure = store.departures.of(key)  # after looking: an entry that was found dead has just left
    found: dict[str, Any] | None = None
    if entry is not None:
        expires_ms = entry.expires_ms
        found = {
            "version": store.version_of(entry), "kind": entry.kind, "size": _size(entry.value),
            "charge": store.charge_of(entry), "ttl_ms": None if expires_ms is None else expires_ms - core.now_ms,
        }  # fmt: skip
    return encode.bulk(msgpack.packb({
        "shard_id": core.shard_id, "now_ms": core.now_ms, "started_ms": core.started_ms, "entry": found,
        "cause": departure.cause, "at_ms": departure.at_ms,
    }))


def _size(value: Any) -> int:
    return descriptor_of(value).size_bytes if isinstance(value, LargeValue) else len(value)


COMMANDS = [
    Command(name="rc.explain", arity=2, flags="readonly loading stale", handler=explain, group="raycache",
            since="0.1.0", summary="Returns what the shard knows of a key, and why it left last."),
]
