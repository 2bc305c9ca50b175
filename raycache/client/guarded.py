"""Values that a plain read may return only after another look: those with tags, those that outlive their lifetime, and
pickles.

What lives here: telling them apart while replies are decoded. What does not: the second look (`through.py`,
`raycache.loading.guarding`, `unsealing.py`). Plain values, which nearly all are, pay one comparison. Pure, any thread.
"""

from __future__ import annotations

import struct
from typing import Any

from raycache.codec import LOADED, Sealed, decode, decode_payload
from raycache.codec.loaded import Header, header_of
from raycache.codec.refusal import corrupt


class Guarded(Exception):
    """No error: a read has brought `result`, which counts only if `header` still holds. Never reaches a caller.

    Without a header it counts anyway, and only the pickle in it is to be loaded (`Sealed`).
    """

    def __init__(self, result: Any, header: Header | None) -> None:
        super().__init__("a value that needs another look")
        self.result = result
        self.header = header


def opened(payload: bytes) -> Any:
    """Return the value of a payload, which is not empty.

    Raises:
        Guarded: it needs another look.
        CorruptValueError: it cannot be decoded.
    """
    if payload[0] != LOADED:
        try:
            return decode_payload(payload)
        except Sealed as sealed:
            raise Guarded(sealed, None) from None
    try:
        header = header_of(payload, 1)
    except (ValueError, struct.error) as error:
        raise corrupt(LOADED, error) from error
    must_hold = header if header.tags or header.grace_ms else None
    try:
        value = decode(header.kind, memoryview(payload)[header.start :])
    except Sealed as sealed:
        raise Guarded(sealed, must_hold) from None
    if must_hold is not None:
        raise Guarded(value, must_hold)
    return value


def or_guarded(payload: bytes) -> Any:
    """Return the value of a payload, or the Guarded that `opened` raises."""
    try:
        return opened(payload)
    except Guarded as guarded:
        return guarded
