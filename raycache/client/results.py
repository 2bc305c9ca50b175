"""Values with where they come from: `Result`, and how the rows of RC.READ read.

What lives here: the value and decoding. Pure, any thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from raycache.client.guarded import Guarded, opened
from raycache.client.info import Versioned
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
    """Return what a row says, None for an absent key.

    Raises:
        Guarded: the value needs another look.
    """
    payload, version, source, age_ms = row
    if payload is None:
        return None
    age_s = age_ms / 1000 if age_ms >= 0 else None
    try:
        return Result(opened(payload), version, source.decode(), age_s)
    except Guarded as guarded:
        raise guarded.around(Result(guarded.result, version, source.decode(), age_s)) from None


def result_or_guarded(row: Row) -> Any:
    """Return what `result_of` does, or the Guarded that it raises."""
    try:
        return result_of(row)
    except Guarded as guarded:
        return guarded


def versioned_of(row: Row) -> Versioned | None:
    """Return value and version, None for an absent key; raises as `result_of`."""
    if row[0] is None:
        return None
    try:
        return Versioned(opened(row[0]), row[1])
    except Guarded as guarded:
        raise guarded.around(Versioned(guarded.result, row[1])) from None


def presence_of(row: Row) -> bool:
    """Return whether the key is there."""
    return row[0] is not None
