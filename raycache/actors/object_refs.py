"""References to Ray objects as bytes that may cross a socket, and back.

What lives here: the only use of what Ray does not promise about references, and how to do without. What does not: who
owns an object, and how long it lives (`raycache.shard.objects`). Any thread of a process that Ray knows.

Ray counts who may still use an object: references that travel inside calls are counted, and each costs a call. A handle
that reads the same key a thousand times a second does not want a thousand calls, so the shard's reply to its ordinary
read says where the object is: its id, its owner's address, its state. A reference made of that is not counted: it keeps
nothing alive, and once the owner has let go, using it fails at once. That is what a cache wants: the entry decides.

Both directions use private interfaces of Ray 2.60 (`tests/cluster/test_private_interfaces.py` watches them). Where they
have changed, `where_is` says nothing and `reference_to` gives None: then the owner is asked for a counted reference.
"""

from __future__ import annotations

import logging
from typing import Any

import msgpack
import ray

log = logging.getLogger(__name__)


def where_is(ref: Any) -> bytes:
    """Return what others need to use the object of `ref`; empty where Ray does not tell."""
    try:
        worker: Any = ray._private.worker.global_worker
        _, owner, state = worker.core_worker.serialize_object_ref(ref)
        packed: bytes = msgpack.packb([ref.binary(), owner, state])
        return packed
    except Exception as error:
        log.info("Ray does not say where an object is: %r", error)
        return b""


def reference_to(where: bytes) -> Any:
    """Return an uncounted reference made of what `where_is` returned; None where that is not possible."""
    if not where:
        return None
    try:
        from ray._private.serialization import _object_ref_deserializer

        binary, owner, state = msgpack.unpackb(where)
        return _object_ref_deserializer(binary, "", owner, state, None)  # type: ignore[no-untyped-call]
    except Exception as error:
        log.info("no reference to an object of another process: %r", error)
        return None
