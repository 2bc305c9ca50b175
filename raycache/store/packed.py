"""Values that are compressed: as handles see them, and not as Redis clients do.

What lives here: `PackedValue`. What does not: compression (`raycache.packed`). Pure. As with `typed.TypedValue` the
class is another one than `bytes`: fast ways do not know it and take the careful way.
"""

from __future__ import annotations

from typing import Final

PACKED_KIND: Final = 9
"""The kind of every such entry."""


class PackedValue(bytes):
    """A compressed value."""

    whole: bytes | None = None
    """What is in it, while a command runs that needs it."""
