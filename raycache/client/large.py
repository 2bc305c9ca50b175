"""Large values through Ray's object store: which values go there, and what comes back, for both handles; compression.

What lives here: the interface to the object store (`ObjectStore`), the decision, putting a fetched value in its place.
What does not: Ray (`raycache.actors.object_store` is the one implementation), sending commands. Pure; any thread.

A write has two steps: the object goes to the key's shard by an actor call, which answers with a name; then the usual
command stores that name, with all that usual commands obey (slots, conditions, copies, rights). If the shard does not
know the name (the slot has moved, or the shard is a new process), or takes no object, the value goes through the
socket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

from raycache.client.arguments import Encoded, encoded
from raycache.client.guarded import Guarded, opened
from raycache.client.info import Versioned
from raycache.client.requests import MISSING
from raycache.client.results import Result
from raycache.client.routes import NOBODY, Routes
from raycache.codec import OBJECT, PICKLE
from raycache.codec.parts import Parts, restore, split
from raycache.descriptor import Descriptor
from raycache.errors import CommandError, UnsupportedTypeError
from raycache.loading.steps import Filling
from raycache.packed import pack
from raycache.ring.slots import slot_of

DEFAULT_LARGE_FROM: Final = 4 * 1024 * 1024
"""Below it a socket is as quick for a write, and an array that may be written to is worth more."""


class ObjectStore(Protocol):
    """Ray's object store, as one process reaches it. Both block; neither raises."""

    large_from: int
    """Values of so many bytes go there."""

    def stage(self, shard_id: str, parts: Parts, timeout_s: float) -> bytes | None:
        """Let a shard own an object; return the name under which it waits to be stored, None if that did not work."""

    def fetch(self, descriptor: Descriptor, timeout_s: float) -> Parts | None:
        """Return the parts of a value, None if its object cannot be reached from here."""


def large_parts(objects: ObjectStore, value: Any) -> Parts | Encoded | None:
    """Return what to do with a value: stage these parts; send what is encoded already; None: encode and send it.
    """
    try:
        parts = split(value, objects.large_from)
    except UnsupportedTypeError:  # unless somebody has allowed a pickle of it
        return None
    if parts is None or parts.size_bytes >= objects.large_from:
        return parts
    return Encoded(parts.kind, parts.data if len(parts.buffers) > 1 else bytes(parts.buffers[0]))


def shard_of(routes: Routes, key: bytes) -> str | None:
    """Return the shard that writes of `key` go to; None: nobody serves it now."""
    index = routes.owners[slot_of(key)]
    return None if index == NOBODY else routes.shard_ids[index]


def staged(name: bytes | None, parts: Parts) -> Encoded:
    """Return what to send for a value: the name of its object, or if there is none all of it."""
    return Encoded(OBJECT, name) if name is not None else Encoded(parts.kind, parts.data)


def packed(value: Any, pack_from: int | None, encode: Callable[[Any], tuple[int, bytes]]) -> Any:
    """Return a value compressed, or as it is where that is not wanted or does not pay. Errors as `encode`."""
    if pack_from is None:
        return value
    kind, data = encoded(value, encode)
    # A pickle stays what its signature was made for.
    return Encoded(kind, data) if kind in (OBJECT, PICKLE) else Encoded(*pack(kind, data, pack_from))


def is_gone(error: CommandError) -> bool:
    """Return whether a shard has refused a write because it has no such object: nothing was written."""
    return str(error).startswith("NOOBJECT")


def has_objects(values: Sequence[Any]) -> bool:
    """Return whether one of the values to be sent is the name of an object."""
    return any(type(value) is Encoded and value.kind == OBJECT for value in values)


def fetched(result: Any, parts: Parts | None) -> Any:
    """Return `result` with the value of `parts` for its stand-in; MISSING if there are none.

    Raises:
        InternalError: the parts cannot be decoded.
    """
    return MISSING if parts is None else _with_value(result, restore(parts.kind, parts.buffers))


def received(result: Any, payload: bytes | None, absent: Any) -> Any:
    """Return `result` with the value of a payload that came through the socket; `absent` if the key is not there.

    Raises:
        Guarded: it needs another look.
    """
    if payload is None:
        return absent
    try:
        return _with_value(result, opened(payload))
    except Guarded as guarded:
        raise guarded.around(_with_value(result, guarded.result)) from None


def splitting(objects: ObjectStore | None) -> Callable[[Any], Parts | Encoded | None] | None:
    """Return `large_parts` for an object store; None if there is none."""
    return None if objects is None else partial(large_parts, objects)


def parts_of(filling: Filling) -> Parts:
    """Return what becomes an object of a large value that was loaded: what stands in front of it, and its own parts."""
    assert filling.parts is not None
    return Parts(filling.kind, (filling.data, *filling.parts.buffers))


def filled(filling: Filling, name: bytes | None) -> Filling:
    """Return what to send for a large value that was loaded: the name of its object, or if there is none all of it."""
    return filling.whole if name is None else filling._replace(kind=OBJECT, data=name + filling.data, parts=None)


NO_OBJECT: Final = 3
"""What RC.FILL answers where a shard has no such object, and wants the value."""


def _with_value(result: Any, value: Any) -> Any:
    return replace(result, value=value) if isinstance(result, Versioned | Result) else value
