"""The one error of the store. The tree that it belongs to is `raycache.errors`."""

from __future__ import annotations

from raycache.errors import OutOfMemoryError


class StoreFullError(OutOfMemoryError):
    """A write found no room and changed nothing.

    `never_fits` says whose problem it is: True when the entry is larger than the whole store, so
    that the caller must change it; False when the policy may not evict, so that a later try may
    succeed.
    """

    def __init__(self, message: str, never_fits: bool = False) -> None:
        super().__init__(message, never_fits)  # both, so that a pickled copy is made with both
        self.never_fits = never_fits

    def __str__(self) -> str:
        return str(self.args[0])
