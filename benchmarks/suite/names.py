"""What things are called in records, tables and plots. A module of its own: a report needs names and no server."""

from __future__ import annotations

from typing import Final

RAYCACHE, REDIS, REDIS_CLUSTER = "raycache", "Redis", "Redis Cluster"
MEMCACHED, ACTOR, ECHO = "memcached", "Ray actor", "raw echo"
ALL: Final = (RAYCACHE, REDIS, REDIS_CLUSTER, MEMCACHED, ACTOR, ECHO)
CLUSTERS: Final = (RAYCACHE, REDIS_CLUSTER)
"""Those that can have several shards."""
TOOL_PREFIX: Final = "redis-benchmark on "
"""Before the name of a side, for what redis-benchmark measured there."""
OPTIMUM: Final = "offline optimum"
