"""What a caller may ask of a read or a write beside the value: where from, how new, how many copies.

What lives here: the two sets of wishes, checked, and their form on the wire. What does not: whom to ask in which order
(`routes.py`, `reading.py`). Immutable, any thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import msgpack

from raycache.client.token import NOTHING, Token
from raycache.config import MAX_COPIES

ReadFrom = Literal["primary", "replica", "nearest"]
"""Which copy answers: the one that orders the writes; another one; or the nearest: one on this process's own Ray node,
else on its machine, else the primary. Whichever cannot answer, the others are asked."""

READ_FROM: Final[tuple[str, ...]] = get_args(ReadFrom)

# A copy is behind by milliseconds, or by far: then another one is asked.
TOKEN_WAIT_S: Final = 0.25
# A replica that lives acknowledges within milliseconds. The shard's answer has to come before our own deadline.
ACKS_WAIT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class ReadWishes:
    """Of a read; the default is a plain one.

    Raises:
        ValueError: `read_from` is none of `READ_FROM`, or `r` is out of range.
        TypeError: `token` is none.
    """

    read_from: ReadFrom = "primary"
    token: Token = NOTHING
    r: int = 0
    """In quorum mode: how many copies are asked; 0 = as the cluster was started."""

    def __post_init__(self) -> None:
        if self.read_from not in READ_FROM:
            raise ValueError(f"read_from must be one of {', '.join(READ_FROM)}, not {self.read_from!r}")
        if not isinstance(self.token, Token):
            raise TypeError(f"token must be what cache.token() returned, not {type(self.token).__name__}")
        _check_count("r", self.r)

    def but(self, read_from: ReadFrom | None, token: Token | None, r: int) -> ReadWishes:
        """Return what one call wants of a handle that wants this: the call's own where it says so, both tokens."""
        if read_from is None and token is None and not r:
            return self
        both = self.token if token is None else (token | self.token if self.token else token)
        return ReadWishes(self.read_from if read_from is None else read_from, both, r or self.r)

    @property
    def is_plain(self) -> bool:
        """Whether a plain read at the primary does."""
        return self == PLAIN

    def packed(self, *, is_primary: bool, token: Token, timeout_s: float) -> bytes:
        """Return RC.READ's options.

        Args:
            is_primary: whether only a primary may answer.
            token: what is left of the token for the copy to wait for.
            timeout_s: the longest that one operation may take, in seconds.
        """
        options: dict[str, Any] = {"from": "primary" if is_primary else "replica"}
        if token:
            options["token"] = dict(token.versions)
            options["timeout_ms"] = int(self.wait_s(timeout_s) * 1000)
        if self.r:
            options["r"] = self.r
        packed: bytes = msgpack.packb(options)
        return packed

    def wait_s(self, timeout_s: float) -> float:
        """Return how long a copy may take to catch up with the token, in seconds."""
        return min(TOKEN_WAIT_S, timeout_s / 4) if self.token else 0.0


def write_options(acks: int, w: int, timeout_s: float) -> bytes:
    """Return RC.WRITE's options.

    Args:
        acks: how many replicas must have the write before it counts.
        w: in quorum mode: how many copies must have it; 0 = as the cluster was started.
        timeout_s: the longest that one operation may take, in seconds.
    Raises:
        ValueError: a number is out of range.
    """
    _check_count("acks", acks)
    _check_count("w", w)
    packed: bytes = msgpack.packb({"acks": acks, "w": w, "timeout_ms": int(min(ACKS_WAIT_S, timeout_s * 0.8) * 1000)})
    return packed


def _check_count(name: str, count: int) -> None:
    if type(count) is not int or not 0 <= count <= MAX_COPIES:
        raise ValueError(f"{name} must be an int from 0 to {MAX_COPIES}, not {count!r}")


PLAIN: Final = ReadWishes()
