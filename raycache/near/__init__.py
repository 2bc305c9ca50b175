"""Values kept in the process that reads them, and what keeps them right.

What lives here: names only. `table.py` holds the values and decides what may be served, `stats.py` what is counted.
What does not: connections and threads (`raycache.client.near`, `near_link`), who is told of changes
(`raycache.shard.tracking`). Pure: time and locks are handed in.
"""

from raycache.near.stats import NearStats
from raycache.near.table import ABSENT, NEVER, UNTRACKED, Entry, Flight, NearTable, Source

__all__ = ["ABSENT", "NEVER", "UNTRACKED", "Entry", "Flight", "NearStats", "NearTable", "Source"]
