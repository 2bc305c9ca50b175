"""Messages between shards, and between the router and shards: their names, and their bytes.

What lives here: packing and the one check. What each message means stands at its handler in `replicator`. A message is
a list whose first element is its name; several travel together.
"""

from __future__ import annotations

from typing import Any

import msgpack

Message = list[Any]


def pack(messages: list[Message]) -> bytes:
    """Return the bytes of `messages`."""
    packed: bytes = msgpack.packb(messages, use_bin_type=True)
    return packed


def unpack(data: bytes) -> list[Message]:
    """Return the messages in `data`.

    Raises:
        ValueError: it holds something else.
    """
    try:
        messages = msgpack.unpackb(data, use_list=True, strict_map_key=False)
    # msgpack raises half a dozen kinds for bytes that are none of its own; here they all mean one thing.
    except Exception as error:
        raise ValueError(f"these bytes are no messages: {error}") from error
    if type(messages) is not list or not all(type(one) is list and one and type(one[0]) is str for one in messages):
        raise ValueError("messages are lists that start with their name")
    return messages
