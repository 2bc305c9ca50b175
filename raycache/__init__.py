"""raycache: a distributed in-memory cache that lives inside a Ray cluster and speaks Redis.

The public names, and nothing else; see README.md for the way in. Ray itself is imported when it is
first needed, so that importing this package, or connecting without Ray, stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raycache.cluster_status import ClusterStatus, ShardStatus
from raycache.errors import (
    AuthenticationError,
    CacheNotWrittenError,
    CallerError,
    ChangeUnderWayError,
    ClusterLoadingError,
    ClusterNotFoundError,
    CommandError,
    CorruptValueError,
    CrossSlotError,
    DeadlineExceededError,
    InternalError,
    KeyTooLargeError,
    LoadFailedError,
    LoadTimeoutError,
    NotANumberError,
    NotEnoughReplicasError,
    NotPermittedError,
    OutOfMemoryError,
    PickleRefusedError,
    ProtocolError,
    QueueClosedError,
    QueueFullError,
    RayCacheError,
    ReentrantLoadError,
    RetryableError,
    ShardUnavailableError,
    StoreNotDrainedError,
    StoreRefusedError,
    StoreUnavailableError,
    UncacheableArgumentError,
    UnsupportedTypeError,
    ValueTooLargeError,
    WriterReplacedError,
    WrongTypeError,
)

if TYPE_CHECKING:
    from raycache.actors.launch import clusters, scale, start, status, stop, topology
    from raycache.actors.stores import attach_store, detach_store
    from raycache.anywhere import cached
    from raycache.backing import backed
    from raycache.client.aio import AsyncCache
    from raycache.client.curve import ClusterCurve
    from raycache.client.explain import Explanation, KeyAtShard, KeyEntry
    from raycache.client.info import ConnectionInfo, Versioned
    from raycache.client.results import Result
    from raycache.client.stats import ClusterStats, ShardStats
    from raycache.client.sync import Cache
    from raycache.client.token import Token
    from raycache.client.top import ClusterUse, HotKey
    from raycache.config import ClusterConfig, Limits
    from raycache.connecting import connect, connect_async
    from raycache.functions.aio import AsyncCachedFunction
    from raycache.functions.sync import CachedFunction
    from raycache.near import NearStats
    from raycache.ring.topology import Topology
    from raycache.stores.backed import BackedCache
    from raycache.stores.backed_aio import AsyncBackedCache
    from raycache.stores.config import Attachment, StoreConfig
    from raycache.stores.protocol import BackingStore
    from raycache.stores.writer import WriterSettings
    from raycache.tls import TlsSettings
    from raycache.usage.rows import FunctionUse
    from raycache.warming.api import HotKeys, hot_keys, warm, warm_from
    from raycache.warming.pace import WarmSettings
    from raycache.warming.report import WarmReport

__version__ = "0.1.0"

_LAZY = {
    **dict.fromkeys(("attach_store", "detach_store"), "raycache.actors.stores"),
    **dict.fromkeys(("Attachment", "StoreConfig"), "raycache.stores.config"),
    "AsyncBackedCache": "raycache.stores.backed_aio",
    "BackedCache": "raycache.stores.backed",
    "BackingStore": "raycache.stores.protocol",
    "WriterSettings": "raycache.stores.writer",
    "backed": "raycache.backing",
    **dict.fromkeys(("clusters", "scale", "start", "status", "stop", "topology"), "raycache.actors.launch"),
    **dict.fromkeys(("connect", "connect_async"), "raycache.connecting"),
    "AsyncCache": "raycache.client.aio",
    "AsyncCachedFunction": "raycache.functions.aio",
    "Cache": "raycache.client.sync",
    "CachedFunction": "raycache.functions.sync",
    **dict.fromkeys(("Explanation", "KeyAtShard", "KeyEntry"), "raycache.client.explain"),
    **dict.fromkeys(("ConnectionInfo", "Versioned"), "raycache.client.info"),
    **dict.fromkeys(("ClusterStats", "ShardStats"), "raycache.client.stats"),
    "ClusterConfig": "raycache.config",
    **dict.fromkeys(("ClusterUse", "HotKey"), "raycache.client.top"),
    "ClusterCurve": "raycache.client.curve",
    "FunctionUse": "raycache.usage.rows",
    "NearStats": "raycache.near",
    "cached": "raycache.anywhere",
    "Limits": "raycache.config",
    "Result": "raycache.client.results",
    "TlsSettings": "raycache.tls",
    "Token": "raycache.client.token",
    "Topology": "raycache.ring.topology",
    **dict.fromkeys(("HotKeys", "hot_keys", "warm", "warm_from"), "raycache.warming.api"),
    "WarmReport": "raycache.warming.report",
    "WarmSettings": "raycache.warming.pace",
}

__all__ = [
    "AsyncBackedCache",
    "AsyncCache",
    "AsyncCachedFunction",
    "Attachment",
    "AuthenticationError",
    "BackedCache",
    "BackingStore",
    "Cache",
    "CacheNotWrittenError",
    "CachedFunction",
    "CallerError",
    "ChangeUnderWayError",
    "ClusterConfig",
    "ClusterCurve",
    "ClusterLoadingError",
    "ClusterNotFoundError",
    "ClusterStats",
    "ClusterStatus",
    "ClusterUse",
    "CommandError",
    "ConnectionInfo",
    "CorruptValueError",
    "CrossSlotError",
    "DeadlineExceededError",
    "Explanation",
    "FunctionUse",
    "HotKey",
    "HotKeys",
    "InternalError",
    "KeyAtShard",
    "KeyEntry",
    "KeyTooLargeError",
    "Limits",
    "LoadFailedError",
    "LoadTimeoutError",
    "NearStats",
    "NotANumberError",
    "NotEnoughReplicasError",
    "NotPermittedError",
    "OutOfMemoryError",
    "PickleRefusedError",
    "ProtocolError",
    "QueueClosedError",
    "QueueFullError",
    "RayCacheError",
    "ReentrantLoadError",
    "Result",
    "RetryableError",
    "ShardStats",
    "ShardStatus",
    "ShardUnavailableError",
    "StoreConfig",
    "StoreNotDrainedError",
    "StoreRefusedError",
    "StoreUnavailableError",
    "TlsSettings",
    "Token",
    "Topology",
    "UncacheableArgumentError",
    "UnsupportedTypeError",
    "ValueTooLargeError",
    "Versioned",
    "WarmReport",
    "WarmSettings",
    "WriterReplacedError",
    "WriterSettings",
    "WrongTypeError",
    "__version__",
    "attach_store",
    "backed",
    "cached",
    "clusters",
    "connect",
    "connect_async",
    "detach_store",
    "hot_keys",
    "scale",
    "start",
    "status",
    "stop",
    "topology",
    "warm",
    "warm_from",
]


def __getattr__(name: str) -> Any:
    """Import what needs Ray or sockets when it is first asked for."""
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'raycache' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value
