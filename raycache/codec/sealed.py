"""What stands for a pickle that was read: `Sealed`. Loading it is another matter (`pickles.py`). Any thread."""

from __future__ import annotations

from typing import Any, Final

from raycache.errors import PickleRefusedError

_TEXT: Final = ("the value under this key is a pickle, and this handle loads none: pickles run code, so the handle has "
                "to allow them itself (connect with allow_pickle=True)")


class Sealed(PickleRefusedError):
    """A pickle that nobody has loaded, as an error: who does not load pickles raises it, who does catches it."""

    def __init__(self, frame: bytes) -> None:
        super().__init__(_TEXT)
        self.frame = frame
        """The pickle with its signature."""

    def __reduce__(self) -> tuple[Any, ...]:
        return PickleRefusedError, (_TEXT,)
