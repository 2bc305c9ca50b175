"""What a handle's writes amount to, in a form that another process can wait for: `Token`.

What lives here: the value, joining and packing it. What does not: asking the shards for their clocks (`sync.py`,
`aio.py`), and waiting for them, which the copies do themselves. Immutable, any thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgpack


@dataclass(frozen=True, slots=True)
class Token:
    """How far the clocks of some shards had come: a read with it sees everything that was written before.

    `cache.token()` makes one; `a | b` is what both stand for. It pickles, and `to_bytes` is for other ways of sending
    it: about 12 bytes per shard.

    Raises:
        ValueError: `versions` are no pairs of numbers, or name a shard twice.
    """

    versions: tuple[tuple[int, int], ...] = ()
    """(number of a shard, reading of its clock), by shard; numbers that shards understand."""

    def __post_init__(self) -> None:
        shards = [shard for shard, _ in self.versions]
        if sorted(set(shards)) != shards or not all(0 <= number < 2**63 for pair in self.versions for number in pair):
            raise ValueError("a token is one reading of a clock, 0 to 2**63 - 1, for each of some shards, in order")

    @classmethod
    def of(cls, readings: Iterable[tuple[int, int]]) -> Token:
        """Return the token of some clocks' readings, the latest of each; those that stand at 0 say nothing."""
        latest: dict[int, int] = {}
        for shard, version in readings:
            if version > latest.get(shard, 0):
                latest[shard] = version
        return cls(tuple(sorted(latest.items())))

    def __or__(self, other: Token) -> Token:
        """Return the token of everything that either of the two stands for."""
        if not isinstance(other, Token):
            return NotImplemented
        return Token.of([*self.versions, *other.versions])

    def __bool__(self) -> bool:
        """Return whether there is anything to wait for."""
        return bool(self.versions)

    def to_bytes(self) -> bytes:
        """Return the token in msgpack."""
        packed: bytes = msgpack.packb(self.versions)
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Token:
        """Return the token that `to_bytes` packed.

        Raises:
            ValueError: the bytes are something else.
        """
        try:
            return cls(tuple((shard, version) for shard, version in msgpack.unpackb(data)))
        except Exception as error:  # msgpack raises half a dozen kinds; here they all mean one thing
            raise ValueError(f"these bytes are no token: {error}") from error


NOTHING: Final = Token()
