"""Who hears what became of a call: the interface between loading and what counts it.

What does not live here: any implementation.
"""

from __future__ import annotations

from typing import Protocol


class LoadObserver(Protocol):
    """Is told of every outcome, from any thread, synchronously: be quick, and raise nothing.

    `key` is the key as the caller gave it. A call is a `hit`, or `stale`, or has `waited`, or has `loaded` or `failed`;
    loads in the background call `loaded` and `failed`, too.
    """

    def hit(self, key: str | bytes) -> None:
        """The value was there, and good."""

    def loaded(self, key: str | bytes, seconds: float) -> None:
        """The caller's own loader was called, and took so long."""

    def stale(self, key: str | bytes) -> None:
        """The value was over its lifetime, and returned all the same."""

    def waited(self, key: str | bytes, seconds: float) -> None:
        """Somebody else's load was waited for, for so long, and brought the value."""

    def failed(self, key: str | bytes, error: BaseException) -> None:
        """The caller's own loader raised `error`."""
