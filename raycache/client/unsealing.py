"""Pickles in what a read has brought: loaded where the handle allows it, else an error.

What lives here: finding them in values, versions and results; and who may. What does not: signatures
(`raycache.codec.pickles`), the shards' part (they take no pickles unless their cluster was started with
`allow_pickle=True`). Pure but for what a pickle runs; any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from raycache.client.info import ConnectionInfo, Versioned
from raycache.client.results import Result
from raycache.codec import Pickles, Sealed
from raycache.codec.pickles import loaded


def pickles_of(info: ConnectionInfo, secret: Callable[[], str | None], allowed: bool) -> Pickles | None:
    """Return what a handle signs and loads pickles with; None: it does neither.

    Args:
        info: how the handle reaches its cluster.
        secret: returns the cluster's secret as the handle knows it now.
    Raises:
        ValueError: it may not know the secret.
    """
    if not allowed:
        return None
    if info.user is not None:
        raise ValueError("allow_pickle needs the cluster's secret, with which pickles are signed: a user has none")
    if info.secret is None:
        raise ValueError("allow_pickle needs the cluster's secret, with which pickles are signed: give secret=")
    return Pickles(secret)


def unsealed(result: Any, pickles: Pickles | None) -> Any:
    """Return what a read has brought with the pickle in it loaded, if there is one. Errors as `loaded`."""
    if isinstance(result, Sealed):
        return loaded(result, pickles)
    if isinstance(result, Versioned | Result) and isinstance(result.value, Sealed):
        return replace(result, value=loaded(result.value, pickles))
    return result
