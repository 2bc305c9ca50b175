"""Who loads which key, told by the key's shard; pure.

What lives here: names only. The one table is in `table.py`.
"""

from raycache.leases.table import Ending, How, Lease, LeaseTable

__all__ = ["Ending", "How", "Lease", "LeaseTable"]
