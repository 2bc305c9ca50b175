"""What both near caches share: their settings, whom to read for, and what a batch of reads amounts to.

What lives here: decisions without waiting, those about loading included. What does not: threads (`near.py`), tasks
(`aio_near.py`), what may be served and kept (`raycache.near`). Any thread.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from raycache.client.guarded import Guarded
from raycache.client.leasing import generation_of
from raycache.client.near_wire import NearMany
from raycache.client.requests import MISSING
from raycache.client.routes import NOBODY, Routes
from raycache.client.wishes import ReadFrom
from raycache.codec import LOADED, PICKLE, decode
from raycache.codec.loaded import Header
from raycache.config import parse_bytes
from raycache.errors import DeadlineExceededError
from raycache.loading.early import is_due
from raycache.loading.found import AGE_BYTES, IS_DUE, NOT_PLAIN, Found
from raycache.loading.options import LoadOptions
from raycache.near import ABSENT, NEVER, Entry, Flight, NearTable, Source
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
    whole: bool = True
    """Whether large values themselves are kept, and not where they are: this process reaches no object store."""

    def __post_init__(self) -> None:
        if not SHORTEST_STALENESS_S <= self.max_staleness_s < 1e6:
            raise ValueError(f"max_staleness_s must be from {SHORTEST_STALENESS_S} to 1,000,000 s, not "
                             f"{self.max_staleness_s!r}")

    @classmethod
    def of(cls, near: int | str | None, max_staleness_s: float, read_from: ReadFrom, *,
           whole: bool) -> NearSettings | None:
        """Return what the arguments of a handle mean; None: nothing is kept near.

        Raises:
            ValueError: they make no sense.
        """
        if near is None:
            return None
        if read_from != "primary":
            raise ValueError('near needs read_from="primary": what is kept comes from the primary, which says when it '
                             "changes")
        return cls(parse_bytes(near), max_staleness_s, whole)


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
        flight.answer, flight.error = answer, failure
        if failure is None and answer.payload is None and value is not MISSING:
            flight.error = Unshared()  # another copy has answered, in other words
        table.land(flight, source, answer.payload, answer.left_ms, sent_s)


def found_many(table: NearTable, keys: Sequence[bytes], now_s: float) -> list[Any]:
    """Return the value of each key, ABSENT where there is none, a Guarded where it needs another look."""
    find, values = table.find, []
    for key in keys:
        try:
            values.append(find(key, now_s))
        except Guarded as guarded:
            values.append(guarded)
    return values


def together(keys: Sequence[bytes], found: list[Any], fetched: dict[bytes, Any]) -> tuple[list[Any], bool]:
    """Return the value of each key, from here or fetched, and whether some of them need another look."""
    values = [fetched[key] if value is ABSENT else value for key, value in zip(keys, found, strict=True)]
    is_guarded = False
    for value in values:
        if type(value) is Guarded:
            value.is_near = is_guarded = True
    return values, is_guarded


# For loading


def at_once(table: NearTable, key: bytes, now_s: float, options: LoadOptions, rng: random.Random) -> Any:
    """Return the value of a good hit, as `value_at_once` does of what was read. HOT.

    Else it returns IS_DUE for one that is good and that this caller is to refresh, and NOT_PLAIN for everything else:
    what is not here (generations of tags included), stale or old, large, or a pickle.
    """
    entry = table.served(key, now_s)
    if entry is None:
        return NOT_PLAIN
    header: Header | None = entry.header
    if header is None:
        return NOT_PLAIN if entry.is_guarded else table.take(entry)
    if entry.is_guarded:
        if entry.payload is None or entry.payload[0] != LOADED or header.kind == PICKLE:
            return NOT_PLAIN
        for tag, generation in header.tags:
            if table.generation(tag, now_s) != generation:
                return NOT_PLAIN
    left_s = entry.expires_s - now_s - header.grace_ms / 1000
    if left_s <= 0:
        return NOT_PLAIN
    if options.beta and is_due(left_s, header.load_s, options.beta, rng):
        return IS_DUE
    if not entry.is_guarded or entry.payload is None:
        return table.take(entry)
    table.use(entry)
    return decode(header.kind, memoryview(entry.payload)[header.start :])


def found_of(entry: Entry, now_s: float) -> Found:
    """Return what is near as loading reads it."""
    left_ms = -1 if entry.expires_s == NEVER else max(0, int((entry.expires_s - now_s) * 1000))
    if entry.payload is None:
        return Found.known(left_ms, entry.header, entry.value)
    return Found(left_ms.to_bytes(AGE_BYTES, "big", signed=True) + entry.payload)


def known(table: NearTable, key: bytes, now_s: float) -> Found | None:
    """Return what is near of a key, as a hit or a miss."""
    entry = table.look(key, now_s)
    return None if entry is None else found_of(entry, now_s)


class Looked:
    """What is near of keys and of the generations of tags, and what is not and has to be fetched."""

    def __init__(self, table: NearTable, keys: Sequence[bytes], tags: Sequence[bytes], now_s: float) -> None:
        self._keys, self._tags = keys, tags
        self._found: dict[bytes, Any] = {key: known(table, key, now_s) for key in keys}
        self._generations = {tag: table.generation(tag, now_s) for tag in tags}
        self.absent = [key for key, found in self._found.items() if found is None]
        self.absent += [tag for tag, number in self._generations.items()
                        if number is ABSENT and tag not in self._found]

    def result(self, fetched: dict[bytes, Any]) -> tuple[list[Any], dict[bytes, int | None]]:
        """Return what a Fetch brings, with the aged payloads that were fetched, MISSING for what is absent."""
        aged = {key: None if payload is MISSING else payload for key, payload in fetched.items()}
        read = [aged[key] if (found := self._found[key]) is None else found for key in self._keys]
        return read, {tag: generation_of(aged.get(tag)) if number is ABSENT else number
                      for tag, number in self._generations.items()}


def holds(table: NearTable, key: bytes, header: Header, generations: dict[bytes, Any], now_s: float) -> bool:
    """Return whether a value surely counts, as far as is known here; if not, the shards have to be asked."""
    if any(generations.get(tag) != generation for tag, generation in header.tags):
        return False
    if not header.grace_ms:
        return True
    entry = table.served(key, now_s)
    return (entry is not None and entry.header is not None and entry.header.mark == header.mark
            and (entry.expires_s - now_s) * 1000 > header.grace_ms)


def too_late() -> DeadlineExceededError:
    """Return the error for a follower whose leader is too slow."""
    return DeadlineExceededError("somebody else was reading the same key until the deadline; nothing has happened")
