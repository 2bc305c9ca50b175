"""Attaching stores to clusters: what `raycache.attach_store` and its kin do.

What lives here: the user's side; it blocks. What does not: the actor (`store`), what it does (`raycache.stores`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import ray

from raycache.actors import calls
from raycache.actors.environment import ensure_initialized
from raycache.actors.names import router_name, store_of
from raycache.errors import ClusterNotFoundError, RayCacheError, StoreNotDrainedError
from raycache.stores.config import Attachment, StoreConfig, WriteMode
from raycache.stores.writer import WriterSettings

DRAIN_TIMEOUT_S: Final = 30.0
_CALL_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.05


def attach_store(cluster: str, name: str, where: str, *, write: WriteMode | None = "through", read: bool = True,
                 table: str = "raycache", key_column: str = "key", columns: Sequence[str] = (), key_prefix: str = "",
                 options: Mapping[str, Any] | None = None, writer: WriterSettings | None = None) -> Attachment:
    """Attach a database to a cluster; handles then use it by its name: `raycache.backed(cache, name)`.

    With write-behind this starts the store's writer, an actor that Ray keeps running. Attaching the same again changes
    nothing.

    Args:
        cluster: its name.
        name: of the store in this cluster: letters, digits, "_", "-" and ".", at most 32.
        where: an SQLAlchemy URL, or "package.module:Class" of a `BackingStore` of your own. A SQLite file without a
            whole path is in this process' folder, also for those who use it in others.
        write: "through": the database first, then the cache; "behind": acknowledged once queued on all copies, and
            written later; None: writes do not go to it.
        read: whether a miss is loaded from it.
        table, key_column, columns, key_prefix, options: see `raycache.stores.StoreConfig`.
        writer: how a writer works: batches, waits, attempts.
    Raises:
        ValueError: a setting makes no sense, or the store cannot be opened.
        ClusterNotFoundError: no such cluster runs.
        RayCacheError: a store of this name is attached with other settings.
    """
    config = StoreConfig(where, table=table, key_column=key_column, columns=tuple(columns), key_prefix=key_prefix,
                         options=options or {})
    attachment = Attachment(name, config, write, read)
    attachment.open()  # refuses here, in one sentence, what nobody could use
    ensure_initialized(start=False)
    if router_name(cluster) not in calls.actor_names():
        raise ClusterNotFoundError(f"no cluster {cluster!r} runs; start it first")
    return attach(cluster, attachment, writer or WriterSettings())


def attach(cluster: str, attachment: Attachment, settings: WriterSettings) -> Attachment:
    """Create the store's actor; return the attachment as all will know it. Errors as `attach_store`."""
    if attachment.config is not None:
        attachment = replace(attachment, config=attachment.config.placed(os.getcwd()))
    found = calls.describe_store(calls.create_store(cluster, attachment, settings), _CALL_TIMEOUT_S)
    if found != (attachment, settings):
        raise RayCacheError(f"store {attachment.name!r} is attached to {cluster!r} already, with other settings; "
                            "detach it first")
    return attachment


def detach_store(cluster: str, name: str, *, drain_timeout_s: float = DRAIN_TIMEOUT_S, force: bool = False) -> None:
    """Detach a store once all that waits for it is written.

    Args:
        drain_timeout_s: how long that may take, in seconds.
        force: detach it all the same after that time. What waits stays in the shards, and is written if a store of
            this name is attached again.
    Raises:
        ClusterNotFoundError: there is no such store, or cluster.
        StoreNotDrainedError: something waits still; it is attached as before.
    """
    ensure_initialized(start=False)
    drain(cluster, [name], drain_timeout_s, force=force)
    calls.kill(_find(cluster, name))


def drain(cluster: str, names: Sequence[str], timeout_s: float, *, force: bool) -> None:
    """Have all that waits for these stores written, and let them take no more.

    Raises:
        StoreNotDrainedError: that was not done in time, and `force` is false; they take writes again.
    """
    end_s = time.monotonic() + timeout_s
    for name in names:
        store = _find(cluster, name)
        left_s = max(0.1, end_s - time.monotonic())
        try:
            is_drained = calls.drain_store(store, left_s, left_s + _CALL_TIMEOUT_S)
        except ray.exceptions.RayError:
            is_drained = False
        if is_drained or force:
            continue
        reopen(cluster, names)
        error = store_status(cluster, name).get("last_error") or "the database is slow"
        raise StoreNotDrainedError(
            f"acknowledged writes still wait for store {name!r} after {timeout_s:g} s ({error}); they would be lost: "
            "wait until its database takes them, or say force=True (--force)"
        )


def reopen(cluster: str, names: Sequence[str]) -> None:
    """Let stores take writes again after `drain`."""
    for name in names:
        calls.reopen_store(_find(cluster, name), _CALL_TIMEOUT_S)


def attached(cluster: str) -> list[str]:
    """Return the names of a cluster's stores."""
    ensure_initialized(start=False)
    return sorted(name for actor in calls.actor_names() if (name := store_of(actor, cluster)) is not None)


def attachment(cluster: str, name: str) -> Attachment:
    """Return how a store is attached.

    Raises:
        ClusterNotFoundError: there is no such store, or cluster.
    """
    ensure_initialized(start=False)
    return calls.describe_store(_find(cluster, name), _CALL_TIMEOUT_S)[0]


def store_status(cluster: str, name: str) -> dict[str, Any]:
    """Return what is known of a store: how it is attached and what its writer has done; no passwords."""
    ensure_initialized(start=False)
    return calls.store_status(_find(cluster, name), _CALL_TIMEOUT_S)


def _find(cluster: str, name: str) -> calls.StoreHandle:
    try:
        return calls.find_store(cluster, name)
    except ValueError:
        known = ", ".join(attached(cluster)) or "none"
        raise ClusterNotFoundError(f"cluster {cluster!r} has no store {name!r}; it has {known}") from None
