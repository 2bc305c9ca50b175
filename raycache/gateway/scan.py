"""SCAN over several shards: one cursor made of the shard and of that shard's own cursor.

What lives here: packing and unpacking the cursor, and the step from one shard to the next. What does
not: SCAN itself (`raycache.shard`). Pure.

Shards are walked by ascending number, which is part of their id and stays with them. So a cursor
stays good when the topology changes between two calls: a shard that has gone is stepped over, a new
one has a higher number and is still ahead. (Redis' promise, that a key present all the time is
returned, holds as long as the key's slot does not move from a shard ahead to one already walked.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from raycache.gateway.merge import Merge
from raycache.resp import encode
from raycache.resp.reply import Frame, bulk_of, elements, is_error
from raycache.ring.slots import slot_of
from raycache.ring.topology import ShardInfo, Topology

SHARD_BITS: Final = 14
"""As many shards as there are slots: more could own nothing. It leaves the shard's own cursor 39 bits before the
whole exceeds 2**53, above which JavaScript clients cannot hold it as a number."""

_SHARD_MASK: Final = (1 << SHARD_BITS) - 1
_NUMBER: Final = re.compile(r"\d+\Z")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a scan stands: which shard is next, and its own cursor there."""

    shard: ShardInfo
    cursor: int


def number_of(shard: ShardInfo, index: int) -> int:
    """Return the number that stands for `shard` in cursors: the digits at the end of its id, else its index."""
    match = _NUMBER.search(shard.id)
    return int(match[0]) & _SHARD_MASK if match else index


def numbered(shards: Sequence[ShardInfo]) -> list[tuple[int, ShardInfo]]:
    """Return the shards with their numbers, in the order in which a scan walks them."""
    return sorted(((number_of(shard, index), shard) for index, shard in enumerate(shards)), key=lambda pair: pair[0])


def position_of(cursor: int, shards: Sequence[ShardInfo]) -> Position | None:
    """Return where `cursor` points, or None if no shard is left at or after it."""
    wanted, inner = cursor & _SHARD_MASK, cursor >> SHARD_BITS
    for number, shard in numbered(shards):
        if number >= wanted:
            return Position(shard, inner if number == wanted else 0)
    return None


def cursor_after(shard: ShardInfo, inner: int, shards: Sequence[ShardInfo]) -> int:
    """Return the cursor to give the client after `shard` answered with its own cursor `inner`; 0 = the end."""
    walk = numbered(shards)
    here = next(number for number, other in walk if other.id == shard.id)
    if inner:
        return inner << SHARD_BITS | here
    return next((number for number, _ in walk if number > here), 0)


def with_whole_cursor(shard: ShardInfo, shards: Sequence[ShardInfo], topology: Topology | None = None) -> Merge:
    """Return the rule that replaces the shard's cursor in a SCAN reply by the whole one.

    With `topology`, keys of which the shard is only a replica are left out: their primary returns them.
    """

    def merge(replies: Sequence[Frame]) -> Frame:
        if is_error(replies[0]):
            return replies[0]
        inner, keys = elements(replies[0])
        if topology is not None:
            keys = encode.array([key for key in elements(keys) if _is_primary(shard, bulk_of(key), topology)])
        return encode.array([encode.bulk(b"%d" % cursor_after(shard, int(bulk_of(inner)), shards)), keys])

    return merge


def _is_primary(shard: ShardInfo, key: bytes, topology: Topology) -> bool:
    primary = topology.primary_of(slot_of(key))
    return primary is not None and primary.id == shard.id
