"""The store of one shard: entries, expiry, eviction. Pure: no Ray, no sockets, no clock.

`store.py` joins the parts: `entry.py` the record, `wheel.py` active expiry, `weight.py` what an
entry is charged, `policies/` who leaves when room is needed, `stats.py` what is counted,
`departures.py` why keys went, `pinned.py` what never leaves by itself, `whole.py` the view on both,
`typed.py` values of HTTP clients.
"""

from raycache.store.entry import KIND_BITS, KIND_MASK, Entry, RemovalCause, RemovalListener
from raycache.store.errors import StoreFullError
from raycache.store.pinned import PINNED_KIND, PinnedEntries
from raycache.store.policies import EvictionPolicy, make_policy
from raycache.store.stats import StoreStats
from raycache.store.store import Store
from raycache.store.typed import TYPED_KIND, TypedValue, held
from raycache.store.whole import WholeStore

__all__ = [
    "KIND_BITS",
    "KIND_MASK",
    "PINNED_KIND",
    "TYPED_KIND",
    "Entry",
    "EvictionPolicy",
    "PinnedEntries",
    "RemovalCause",
    "RemovalListener",
    "Store",
    "StoreFullError",
    "StoreStats",
    "TypedValue",
    "WholeStore",
    "held",
    "make_policy",
]
