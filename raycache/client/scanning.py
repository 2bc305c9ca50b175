"""What a scan is asked for, and the form of the keys that it yields.

What lives here: what both handles share of `scan`. Pure, any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from raycache.errors import UnsupportedTypeError

SCAN_BATCH: Final = 500
# A step of 10,000 keys is a shard's loop held for about a millisecond.
_LARGEST_BATCH: Final = 10_000


def check_batch(batch: int) -> None:
    """Raise ValueError unless a scan may look at `batch` keys per step."""
    if not 1 <= batch <= _LARGEST_BATCH:
        raise ValueError(f"batch must be 1 to {_LARGEST_BATCH:,} keys, not {batch!r}")


def key_form(prefix: str | bytes) -> tuple[bytes, Callable[[bytes], str] | Callable[[bytes], bytes]]:
    """Return the prefix for the wire, and what turns keys into the prefix's own type.

    Raises:
        UnsupportedTypeError: neither str nor bytes.
    """
    if isinstance(prefix, str):
        return prefix.encode("utf-8", "surrogateescape"), _as_text
    if isinstance(prefix, bytes):
        return prefix, bytes
    raise UnsupportedTypeError(f"a prefix is str or bytes, not {type(prefix).__name__}")


def _as_text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
