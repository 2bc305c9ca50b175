"""The kind byte: how the Python handle wrote a value down.

What lives here: the numbers, which are part of the stored format and never change meaning. How each
is written is in `values.py`, `frames.py` and `arrays.py`. Shared by no loop or thread: constants only.
"""

from __future__ import annotations

from typing import Final

RAW: Final = 0
"""The bytes themselves: Python `bytes`, and whatever a Redis or HTTP client wrote."""
MSGPACK: Final = 1
"""A msgpack frame with the extension types of `frames.py`."""
INTEGER: Final = 2
"""An int of 64 bits as decimal text, so that INCR works on it from every door."""
TEXT: Final = 3
"""A str as UTF-8, so that every door reads it as text."""
ARRAY: Final = 4
"""A numpy array: see `arrays.py`."""
PICKLE: Final = 5
"""A pickle behind an HMAC: see `pickles.py`. Only for clusters and handles that allow it. The shards know the number,
too (`raycache.shard.commands.kinds`)."""
LOADED: Final = 6
"""A value of another kind, with what loading needs to know of it in front: see `loaded.py`."""
DESCRIBED: Final = 7
"""Bytes that an HTTP client wrote, with their media type behind them: see `described.py`. `raycache.store.typed` and
every door for Redis clients know the number, too."""
OBJECT: Final = 8
"""A value in Ray's object store: the bytes say which one and where, see `raycache.descriptor`. Only shards write it.
`raycache.store.large` knows the number, too."""
PACKED: Final = 9
"""A compressed value: see `raycache.packed`. `raycache.store.packed` knows the number, too."""
