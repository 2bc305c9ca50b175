"""What both near caches share: their settings, whom to read for, and what a batch of reads amounts to.

What lives here: decisions without waiting. What does not: threads (`near.py`), tasks (`aio_near.py`), what may be
served and kept (`raycache.near`). Any thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from raycache.client.guarded import Guarded, or_guarded
from raycache.client.near_wire import NearMany
from raycache.client.requests import MISSING
from raycache.client.routes import NOBODY, Routes
from raycache.client.wishes import ReadFrom
from raycache.config import parse_bytes
from raycache.errors import DeadlineExceededError
from raycache.near import ABSENT, Flight, NearTable, Source
from raycache.ring.slots import slot_of

if TYPE_CHECKING:
    from raycache.client.near_link import Links

DEFAULT_MAX_STALENESS_S: Final = 1.0
"""What it takes until another copy takes over for a shard that stands still; ten thousand round trips."""
SHORTEST_STALENESS_S: Final = 0.02
"""Four questions within it are 200 a second for each shard."""


@dataclass(frozen=True, slots=True)
class NearSettings:
    """What a handle keeps near.

    Raises:
        ValueError: `max_staleness_s` is out of range.
    """

    capacity_bytes: int
    max_staleness_s: float = DEFAULT_MAX_STALENESS_S
    """How old what is served may be, beyond what it was when it was read, where a shard gives no sign of life."""

    def __post_init__(self) -> None:
        if not SHORTEST_STALENESS_S <= self.max_staleness_s < 1e6:
            raise ValueError(f"max_staleness_s must be from {SHORTEST_STALENESS_S} to 1,000,000 s, not "
                             f"{self.max_staleness_s!r}")

    @classmethod
    def of(cls, near: int | str | None, max_staleness_s: float, read_from: ReadFrom) -> NearSettings | None:
        """Return what the arguments of a handle mean; None: nothing is kept near.

        Raises:
            ValueError: they make no sense.
        """
        if near is None:
            return None
        if read_from != "primary":
            raise ValueError('near needs read_from="primary": what is kept comes from the primary, which says when it '
                             "changes")
        return cls(parse_bytes(near), max_staleness_s)


class Unshared(Exception):
    """No error: who follows a flight must ask for themselves. Never reaches a caller."""


def source_of_key(routes: Routes | None, key: bytes, links: Links) -> Source | None:
    """Return the present source of the shard that serves `key`; None: there is none yet."""
    return None if routes is None else source_of_shard(routes, routes.owners[slot_of(key)], links)


def source_of_shard(routes: Routes | None, shard: int, links: Links) -> Source | None:
    """Return the present source of a shard, by its number in the routes.

    Should that number mean another shard by now, that one does not know the source's token, and nothing is kept.
    """
    if routes is None or not 0 <= shard < len(routes.addresses) or shard == NOBODY:
        return None
    return links.source(routes.addresses[shard])


def land_many(table: NearTable, batch: NearMany, flights: Sequence[Flight], failure: BaseException | None,
              sent_s: float) -> None:
    """End the flights of a batch; they are in the order of its keys."""
    for flight, answer, source, value in zip(flights, batch.answers, batch.sources, batch.values, strict=True):
        flight.payload, flight.error = answer.payload, failure
        if failure is None and answer.payload is None and value is not MISSING:
            flight.error = Unshared()  # another copy has answered, in other words
        table.land(flight, source, answer.payload, answer.left_ms, sent_s)


def value_of(payload: bytes | None) -> Any:
    """Return what a batch has in place of a payload: the value, MISSING, or a Guarded."""
    return MISSING if payload is None else or_guarded(payload)


def together(keys: Sequence[bytes], found: list[Any], fetched: dict[bytes, Any]) -> tuple[list[Any], bool]:
    """Return the value of each key, from here or fetched, and whether some of them need another look."""
    values = [fetched[key] if value is ABSENT else value for key, value in zip(keys, found, strict=True)]
    return values, any(type(value) is Guarded for value in fetched.values())


def too_late() -> DeadlineExceededError:
    """Return the error for a follower whose leader is too slow."""
    return DeadlineExceededError("somebody else was reading the same key until the deadline; nothing has happened")
