"""What the cache holds for a key, as loading sees it, and what may be done with it.

What lives here: reading aged payloads (see `raycache.shard.commands.leases`), and the verdict on them. Pure.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from raycache.codec import LOADED, OBJECT, decode, decode_payload
from raycache.codec.loaded import FORMAT, HEADER_BYTES, Header, Tags, header_of, unpack_header
from raycache.codec.refusal import corrupt
from raycache.descriptor import DESCRIPTOR_BYTES, Descriptor, descriptor_of
from raycache.errors import CorruptValueError
from raycache.loading import early
from raycache.loading.options import LoadOptions

AGE_BYTES: Final = 8
NEVER: Final = (-1).to_bytes(AGE_BYTES, "big", signed=True)
"""The age of what does not expire, or of which nobody knows when."""
_KIND: Final = AGE_BYTES
_FRAME: Final = AGE_BYTES + 1
_DATA: Final = _FRAME + HEADER_BYTES
"""Where the value begins if there are no tags."""
_HEAD: Final = _FRAME + DESCRIPTOR_BYTES
"""Where the head of a large value begins."""


class Verdict(Enum):
    """What may be done with a value."""

    GOOD = "good"
    EARLY = "early"
    """It is good, and this caller is the one to refresh it now."""
    STALE = "stale"
    """It is over its lifetime, may be returned, and is to be refreshed."""
    FALLBACK = "fallback"
    """It may be returned only if it cannot be loaded."""
    USELESS = "useless"
    """It was invalidated, or is too old."""


class Found:
    """One key's aged payload."""

    __slots__ = ("_aged", "_known", "descriptor", "header", "left_ms")

    def __init__(self, aged: bytes) -> None:
        """Read it.

        Raises:
            CorruptValueError: it is no aged payload, or its frame is broken.
        """
        self._aged = aged
        self._known: tuple[Any] | None = None
        self.left_ms = int.from_bytes(aged[:AGE_BYTES], "big", signed=True)
        self.header: Header | None = None
        self.descriptor: Descriptor | None = None
        """Of a large value that is somewhere else: where."""
        if len(aged) <= _KIND:
            raise CorruptValueError("a shard sent a value without its kind")
        kind = aged[_KIND]
        try:
            if kind == LOADED:
                self.header = header_of(aged, _FRAME)
            elif kind == OBJECT:
                self.descriptor = descriptor_of(memoryview(aged)[_FRAME:])
                self.header = header_of(aged, _HEAD) if len(aged) > _HEAD else None
        except (ValueError, struct.error) as error:
            raise corrupt(kind, error) from error

    @classmethod
    def known(cls, left_ms: int, header: Header | None, value: Any) -> Found:
        """Return a value that nobody can change, with what was found beside it."""
        found = cls.__new__(cls)
        found._aged, found.left_ms, found.header, found.descriptor = b"", left_ms, header, None
        found._known = (value,)
        return found

    @property
    def value(self) -> Any:
        """The value, decoded anew each time: nobody else has the same object.

        Raises:
            CorruptValueError: it cannot be decoded, or is somewhere else.
        """
        if self._known is not None:
            return self._known[0]
        header = self.header
        if header is None or self.descriptor is not None:
            return decode_payload(self._aged[_KIND:])
        return decode(header.kind, memoryview(self._aged)[header.start :])

    @property
    def mark(self) -> bytes:
        """How the value begins in the store, as RC.LEASE takes it; empty where nothing tells it from others."""
        return b"" if self.header is None else self.header.mark

    @property
    def tags(self) -> Tags:
        """Its tags with their generations when it was loaded."""
        return () if self.header is None else self.header.tags

    def verdict(self, generations: Mapping[bytes, int | None], options: LoadOptions,
                rng: random.Random | None) -> Verdict:
        """Return what may be done with it.

        Args:
            generations: of all its tags, as they are now; None = there is none.
            rng: decides about early refreshes; None: there are none.
        """
        header = self.header
        if header is None:
            return Verdict.GOOD
        for name, generation in header.tags:
            if generations[name] != generation:
                return Verdict.USELESS
        if self.left_ms < 0:
            return Verdict.GOOD
        own_ms = self.left_ms - header.grace_ms
        if own_ms > 0:
            if rng is not None and options.beta and early.is_due(own_ms / 1000, header.load_s, options.beta, rng):
                return Verdict.EARLY
            return Verdict.GOOD
        if -own_ms < options.stale_s * 1000:
            return Verdict.STALE
        return Verdict.FALLBACK if -own_ms < options.fallback_s * 1000 else Verdict.USELESS


def value_at_once(aged: bytes, options: LoadOptions, rng: random.Random) -> Any:
    """Return the value of a plain hit: good, without tags, not to be refreshed. HOT.

    `Found` and its verdict in short. Else it returns `IS_DUE` for a plain hit that this caller is to refresh (chance
    has spoken, and must not be asked again), and `NOT_PLAIN` for everything else, large and broken values included.
    """
    kind = aged[_KIND]
    if kind != LOADED:
        return decode_payload(aged[_KIND:]) if kind != OBJECT else NOT_PLAIN
    if len(aged) < _DATA:
        return NOT_PLAIN
    form, kind, tag_bytes, _, microseconds, grace_ms = unpack_header(aged, _FRAME)
    if tag_bytes or form != FORMAT or kind == LOADED:
        return NOT_PLAIN
    left_ms = int.from_bytes(aged[:AGE_BYTES], "big", signed=True)
    if left_ms >= 0:
        left_ms -= grace_ms
        beta = options.beta
        if left_ms <= 0:
            return NOT_PLAIN
        if beta and early.is_due(left_ms / 1000, microseconds / 1e6, beta, rng):
            return IS_DUE
    return decode(kind, aged[_DATA:] if len(aged) < _SHORT else memoryview(aged)[_DATA:])


NOT_PLAIN: Final = object()
IS_DUE: Final = object()
_SHORT: Final = 256
