"""What a backing store is to the cache: the one interface, and what it is handed.

What lives here: `BackingStore`, `Write`, `Deletion`, `ABSENT`. What does not: the implementation for SQL databases
(`sql`), and who calls it when (`backed`, `writer`). Plain values, any thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable


class _Absent:
    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final = _Absent()
"""What `load` returns for a key that the store does not have: a stored None is a value."""


@dataclass(frozen=True, slots=True)
class Write:
    """A value that a key is to have."""

    key: str
    value: Any
    version: int | None = None
    """Of two writes or deletions of a key the larger version is the later. None: this one, whatever was before."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A key that is to be gone."""

    key: str
    version: int | None = None
    """As that of a `Write`."""


@runtime_checkable
class BackingStore(Protocol):
    """A database, or whatever else holds the truth behind the cache. All methods block; several threads may call.

    The same write may come twice, and an older one after a newer: whoever dies in the middle is repeated. So a write or
    deletion whose version is not larger than that of the last one of its key must change nothing, deletions remembered.
    One call is one transaction: either all of it counts or nothing.

    What may be raised: `StoreRefusedError`, ValueError, TypeError or OverflowError say that the database will never
    take this; everything else says that it cannot be reached now, and the same is tried again.
    """

    def load(self, key: str) -> Any:
        """Return the value of `key`, `ABSENT` if there is none."""

    def load_many(self, keys: Sequence[str]) -> Mapping[str, Any]:
        """Return the values of those `keys` that are there."""

    def store_many(self, writes: Sequence[Write]) -> None:
        """Store values; no key comes twice."""

    def delete_many(self, deletions: Sequence[Deletion]) -> None:
        """Delete keys; no key comes twice."""
