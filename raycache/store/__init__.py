"""The store of one shard: entries, expiry, eviction. Pure: no Ray, no sockets, no clock.

`store.py` joins the parts: `entry.py` the record, `wheel.py` active expiry, `weight.py` what an
entry is charged, `policies/` who leaves when room is needed, `stats.py` what is counted,
`departures.py` why keys went, `pinned.py` what never leaves by itself, `whole.py` the view on both,
`typed.py` values of HTTP clients, `large.py` values that are elsewhere,
`packed.py` compressed ones.
"""

from raycache.store.entry import KIND_BITS, KIND_MASK, Entry, RemovalCause, RemovalListener
from raycache.store.errors import StoreFullError
from raycache.store.large import LARGE_KIND, Holding, LargeValue
from raycache.store.packed import PACKED_KIND, PackedValue
from raycache.store.pinned import PINNED_KIND, PinnedEntries
from raycache.store.policies import EvictionPolicy, make_policy
from raycache.store.stats import StoreStats
from raycache.store.store import Store
from raycache.store.typed import TYPED_KIND, TypedValue, held
from raycache.store.whole import WholeStore

__all__ = [
    "KIND_BITS",
    "KIND_MASK",
    "LARGE_KIND",
    "PACKED_KIND",
    "PINNED_KIND",
    "TYPED_KIND",
    "Entry",
    "EvictionPolicy",
    "Holding",
    "LargeValue",
    "PackedValue",
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
