"""Which slots this shard serves, and what it says about those it does not.

What lives here: the newest topology, one byte per slot for the hot path, the emptying of slots that
went to another shard. What does not: deciding owners (`raycache.ring.placement`). Belongs to the
shard's loop.

Why slots are emptied: an entry left behind would come back, stale, when its slot returns. A slot
that returns before the sweep has passed answers TRYAGAIN until it has.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Final

import numpy as np

from raycache.resp import encode
from raycache.ring.slots import SLOT_COUNT, slot_of
from raycache.ring.topology import Topology
from raycache.store import Store

_SLOT_MASK: Final = SLOT_COUNT - 1

CLUSTER_DOWN: Final = encode.error("CLUSTERDOWN Hash slot not served")
CROSS_SLOT: Final = encode.error("CROSSSLOT Keys in request don't hash to the same slot")
TRY_AGAIN: Final = encode.error("TRYAGAIN This slot has just come back and is being emptied")


class OwnedSlots:
    """The slots of shard `shard_id` under the newest topology. Without one it owns them all."""

    def __init__(self, shard_id: str) -> None:
        self.shard_id = shard_id
        self.topology: Topology | None = None
        self.owned = bytearray(b"\x01" * SLOT_COUNT)
        """1 = serve it. Changed in place: the core keeps a reference."""
        self.owns_all = True
        self.count = SLOT_COUNT
        self._stale = bytearray(SLOT_COUNT)
        self._cursor = 0
        self.has_stale = False
        self.losses = 0
        """How often slots that were served stopped being so: a command under way looks whether that happened."""

    def port(self) -> int:
        """Return the port that the topology names for this shard, 0 where it names none."""
        shards = self.topology.shards if self.topology is not None else ()
        return next((shard.port for shard in shards if shard.id == self.shard_id), 0)

    def set(self, topology: Topology) -> bool:
        """Take over `topology` if its epoch is newer; return whether it was."""
        if self.topology is not None and topology.epoch <= self.topology.epoch:
            return False
        before = np.frombuffer(bytes(self.owned), dtype=np.uint8) | np.frombuffer(bytes(self._stale), dtype=np.uint8)
        mine = np.zeros(SLOT_COUNT, dtype=np.uint8)
        mine[topology.slots_of(self.shard_id)] = 1
        # Of a slot that was ours (or is not empty yet) and is not ours now, entries may be left.
        stale = (before & ~mine & 1) | np.frombuffer(bytes(self._stale), dtype=np.uint8)
        self.topology = topology
        self.count = int(mine.sum())
        self._stale[:] = stale.astype(np.uint8).tobytes()
        self.has_stale, self._cursor = bool(stale.any()), 0
        self._settle()
        return True

    def _settle(self) -> None:
        """Work out `owned`: ours, and free of what an earlier ownership left."""
        assert self.topology is not None
        mine = np.zeros(SLOT_COUNT, dtype=np.uint8)
        mine[self.topology.slots_of(self.shard_id)] = 1
        owned = mine & (1 - np.frombuffer(bytes(self._stale), dtype=np.uint8))
        self.losses += bool((np.frombuffer(bytes(self.owned), dtype=np.uint8) & (1 - owned)).any())
        self.owned[:] = owned.tobytes()
        self.owns_all = bool(owned.all())

    def sweep(self, store: Store, now_ms: int, budget: int) -> bool:
        """Delete some of the entries whose slot is not served here; return whether more may be left."""
        self._cursor, keys = store.scan(self._cursor, budget, now_ms)
        owned = self.owned
        for key in keys:
            if not owned[slot_of(key)]:
                store.delete(key, now_ms)
        if self._cursor == 0:
            self._stale[:] = bytes(SLOT_COUNT)
            self.has_stale = False
            self._settle()
        return self.has_stale

    def check(self, keys: list[bytes]) -> bytes | None:
        """Return None if every key is served here, else the error reply."""
        owned = self.owned
        for key in keys:  # slot_of written out: this runs for every key of every MGET
            if not owned[slot_of(key) if 0x7B in key else crc_hqx(key, 0) & _SLOT_MASK]:
                return self.refusal(keys)
        return None

    def refusal(self, keys: list[bytes]) -> bytes:
        """Return the error reply for `keys`, of which at least one is not served here.

        One other shard holds them all: MOVED. Several shards do: CROSSSLOT. Nobody serves one: CLUSTERDOWN.
        """
        assert self.topology is not None
        owners = {self.topology.primary_of(slot_of(key)) for key in keys}
        owner = owners.pop()
        if owner is None or None in owners:
            return CLUSTER_DOWN
        if owners:
            return CROSS_SLOT
        if owner.id == self.shard_id:
            return TRY_AGAIN
        return encode.error(f"MOVED {slot_of(keys[0])} {owner.host}:{owner.port}")
