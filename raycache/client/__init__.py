"""The Python handles, sync and async: sockets, and no Ray.

What lives here: names only. `sync.py` and `aio.py` hold the public classes, over one set of pure parts: `arguments.py`,
`requests.py`, `batches.py`, `routes.py`, `retry.py`, `discovery.py`, `stats.py`.
"""

from raycache.client.aio import AsyncCache
from raycache.client.info import ConnectionInfo, Versioned
from raycache.client.stats import ClusterStats, ShardStats
from raycache.client.sync import Cache

__all__ = ["AsyncCache", "Cache", "ClusterStats", "ConnectionInfo", "ShardStats", "Versioned"]
