"""Writes of many keys that count only when so many copies have them.

What lives here: `SetMany` and `DeleteMany` inside RC.WRITE. Pure; one object per operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raycache.client import frames
from raycache.client.arguments import TimeToLive
from raycache.client.batches import DeleteMany, Part, SetMany
from raycache.client.requests import Encode
from raycache.codec import encode


class AcknowledgedSetMany(SetMany):
    """RC.MSET in RC.WRITE; `options` are its, errors are those of `SetMany`."""

    def __init__(self, keys: list[bytes], values: Sequence[object], ttl: TimeToLive, options: bytes,
                 encode: Encode = encode) -> None:
        super().__init__(keys, values, ttl, encode)
        self._options = options

    def frame(self, positions: list[int]) -> bytes:
        return frames.wrapped(super().frame(positions), b"RC.WRITE", self._options)

    def accept(self, part: Part, reply: Any) -> None:
        super().accept(part, frames.inner(reply))


class AcknowledgedDeleteMany(DeleteMany):
    """DEL in RC.WRITE; `options` are its."""

    def __init__(self, keys: list[bytes], options: bytes) -> None:
        super().__init__(keys)
        self._options = options

    def frame(self, positions: list[int]) -> bytes:
        return frames.wrapped(super().frame(positions), b"RC.WRITE", self._options)

    def accept(self, part: Part, reply: Any) -> None:
        super().accept(part, frames.inner(reply))
