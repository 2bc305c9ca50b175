"""Values with where they come from: `Result`, and how the rows of RC.READ read.

What lives here: the value and decoding. Pure, any thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from raycache.client.info import Versioned
from raycache.codec import decode_payload
from raycache.errors import ProtocolError

Row = list[Any]
"""payload or None, version, shard, age in ms or -1."""


@dataclass(frozen=True, slots=True)
class Result:
    """A value as one copy has it."""

    value: Any
    version: int
    """Above 0. With several copies larger is newer, over the whole cluster. `compare_and_set` takes it."""
    source: str
    """The shard that answered, such as "s0"."""
    age_s: float | None
    """Seconds since the value was written, by the shards' clocks; None where there is one copy: nothing is noted."""


def rows_of(reply: Any, count: int) -> list[Row]:
    """Return the rows of a reply to RC.READ of `count` keys.

    Raises:
        ProtocolError: it is something else.
    """
    if type(reply) is not list or len(reply) != count:
        raise ProtocolError(f"a shard answered RC.READ of {count} keys with {reply!r:.100}")
    for row in reply:
        if (type(row) is not list or len(row) != 4 or type(row[1]) is not int or type(row[2]) is not bytes
                or type(row[3]) is not int or not (row[0] is None or (type(row[0]) is bytes and row[0]))):
            raise ProtocolError(f"a shard answered RC.READ with {row!r:.100}")
    return reply


def result_of(row: Row) -> Result | None:
    """Return what a row says, None for an absent key."""
    payload, version, source, age_ms = row
    if payload is None:
        return None
    return Result(decode_payload(payload), version, source.decode(), age_ms / 1000 if age_ms >= 0 else None)


def versioned_of(row: Row) -> Versioned | None:
    """Return value and version, None for an absent key."""
    return None if row[0] is None else Versioned(decode_payload(row[0]), row[1])


def presence_of(row: Row) -> bool:
    """Return whether the key is there."""
    return row[0] is not None
