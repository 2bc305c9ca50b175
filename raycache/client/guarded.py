"""Values that a plain read may return only after another look: those with tags, those that outlive their lifetime, and
pickles, and large ones, which are somewhere else.

What lives here: telling them apart while replies are decoded. What does not: the second look (`through.py`,
`raycache.loading.guarding`, `unsealing.py`, `large.py`). Plain values, which nearly all are, pay one comparison. Pure,
any thread.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from raycache.codec import LOADED, OBJECT, Sealed, decode, decode_payload
from raycache.codec.loaded import Header, header_of
from raycache.codec.refusal import corrupt
from raycache.descriptor import DESCRIPTOR_BYTES, Descriptor, descriptor_of

_HEAD: Final = 1 + DESCRIPTOR_BYTES


class Guarded(Exception):
    """No error: a read has brought `result`, which counts only if `header` still holds. Never reaches a caller.

    Without a header it counts anyway, and only the pickle in it is to be loaded (`Sealed`). With a descriptor the value
    in `result` is only a stand-in for what that describes.
    """

    def __init__(self, result: Any, header: Header | None, descriptor: Descriptor | None = None) -> None:
        super().__init__("a value that needs another look")
        self.result = result
        self.header = header
        self.descriptor = descriptor
        self.is_near = False
        """Whether a near cache may say that the header holds."""

    def around(self, result: Any) -> Guarded:
        """Return the same about `result`, in which this one's stands."""
        return Guarded(result, self.header, self.descriptor)


def opened(payload: bytes) -> Any:
    """Return the value of a payload, which is not empty.

    Raises:
        Guarded: it needs another look, or has to be fetched.
        CorruptValueError: it cannot be decoded.
    """
    if payload[0] != LOADED:
        if payload[0] == OBJECT:
            raise Guarded(None, *_described(payload))
        try:
            return decode_payload(payload)
        except Sealed as sealed:
            raise Guarded(sealed, None) from None
    try:
        header = header_of(payload, 1)
    except (ValueError, struct.error) as error:
        raise corrupt(LOADED, error) from error
    must_hold = _must_hold(header)
    try:
        value = decode(header.kind, memoryview(payload)[header.start :])
    except Sealed as sealed:
        raise Guarded(sealed, must_hold) from None
    if must_hold is not None:
        raise Guarded(value, must_hold)
    return value


def _must_hold(header: Header) -> Header | None:
    return header if header.tags or header.grace_ms else None


def _described(payload: bytes) -> tuple[Header | None, Descriptor]:
    """Return what must hold of a large value, and where it is."""
    try:
        descriptor = descriptor_of(memoryview(payload)[1:])
        header = header_of(payload, _HEAD) if len(payload) > _HEAD else None
    except (ValueError, struct.error) as error:
        raise corrupt(OBJECT, error) from error
    return None if header is None else _must_hold(header), descriptor


def header_in(payload: bytes) -> Header | None:
    """Return what loading keeps beside the value of a payload; None if there is nothing, or it cannot be read."""
    try:
        if payload[0] == LOADED:
            return header_of(payload, 1)
        if payload[0] == OBJECT and len(payload) > _HEAD:
            return header_of(payload, _HEAD)
    except (ValueError, struct.error):
        pass
    return None


def or_guarded(payload: bytes) -> Any:
    """Return the value of a payload, or the Guarded that `opened` raises."""
    try:
        return opened(payload)
    except Guarded as guarded:
        return guarded
