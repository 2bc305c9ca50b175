"""The Python handles, sync and async: sockets, and no Ray.

What lives here: names only. `sync.py` and `aio.py` hold the public classes, over one set of pure parts: `arguments.py`,
`requests.py`, `batches.py`, `routes.py`, `wishes.py`, `reading.py`, `retry.py`, `discovery.py`, `stats.py`.
"""

from raycache.client.aio import AsyncCache
from raycache.client.info import ConnectionInfo, Place, Versioned
from raycache.client.results import Result
from raycache.client.stats import ClusterStats, ShardStats
from raycache.client.sync import Cache
from raycache.client.token import Token

__all__ = ["AsyncCache", "Cache", "ClusterStats", "ConnectionInfo", "Place", "Result", "ShardStats", "Token",
           "Versioned"]
