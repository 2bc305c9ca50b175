"""What the page needs of a cluster's router: its account, and changes that an operator wants.

What lives here: the interface and its real implementation, through Ray. What does not: asking shards
(`raycache.client.looking`), who may want changes (`routes`). All calls block; the page makes them in threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from raycache.cli.backend import RayBackend
from raycache.cli.moving import resolve


class Office(Protocol):
    """The router of any cluster, as the page uses it. Methods raise RayCacheError, and ValueError for bad wishes."""

    def describe(self, name: str) -> Mapping[str, Any]:
        """Return the router's account, without the shards' statistics."""

    def scale(self, name: str, shards: int) -> None:
        """Want so many shards."""

    def drain(self, name: str, target: str, *, undo: bool) -> None:
        """Want a shard, or all of a node, to be empty; or not any more."""

    def cancel(self, name: str) -> None:
        """Want back what was before the change under way."""


class RayOffice:
    """The routers in this Ray, as the command line reaches them."""

    def __init__(self) -> None:
        self._backend = RayBackend()

    def describe(self, name: str) -> Mapping[str, Any]:
        return self._backend.describe(name)

    def scale(self, name: str, shards: int) -> None:
        self._backend.begin_scale(name, shards)

    def drain(self, name: str, target: str, *, undo: bool) -> None:
        self._backend.begin_drain(name, resolve(self._backend.topology(name), target), undo=undo)

    def cancel(self, name: str) -> None:
        self._backend.cancel(name)
