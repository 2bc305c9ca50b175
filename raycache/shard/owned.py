"""Which slots this shard serves and holds, and what it says about those it does not.

What lives here: the newest topology, one byte per slot for the hot path, the emptying of slots that
went to another shard. What does not: deciding owners (`raycache.ring.placement`), transfers
(`raycache.replication`). Belongs to the shard's loop.

A slot is *served* where commands on it run: at its primary, and in the modes where any owner takes writes, at every
owner. It is *held* where its entries are kept: at every owner, and at a shard from which it is still being taken.

Why other slots are emptied: an entry left behind would come back, stale, when its slot returns. A slot
that returns before the sweep has passed answers TRYAGAIN until it has.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from raycache.resp import encode
from raycache.ring.slots import SLOT_COUNT, slot_of, slots_of_bitmap
from raycache.ring.topology import Topology
from raycache.store import LargeValue, WholeStore
from raycache.store.departures import MOVED

if TYPE_CHECKING:
    from raycache.replication.replicator import Replicator
    from raycache.shard.objects import Objects

_SLOT_MASK: Final = SLOT_COUNT - 1
Marks = npt.NDArray[np.uint8]

ELSEWHERE: Final = 0
"""Not served here."""
PLAIN: Final = 1
"""Served from the store, without a question to anybody."""
CAREFUL: Final = 2
"""Served, but other shards have to be asked first (`raycache.shard.careful`)."""

CLUSTER_DOWN: Final = encode.error("CLUSTERDOWN Hash slot not served")
CROSS_SLOT: Final = encode.error("CROSSSLOT Keys in request don't hash to the same slot")
TRY_AGAIN: Final = encode.error("TRYAGAIN This slot has just come back and is being emptied")


class OwnedSlots:
    """The slots of shard `shard_id` under the newest topology. Without one it owns them all."""

    def __init__(self, shard_id: str) -> None:
        self.shard_id = shard_id
        self.topology: Topology | None = None
        self.replicator: Replicator | None = None
        self.objects: Objects | None = None
        self.owned = bytearray([PLAIN]) * SLOT_COUNT
        """How each slot is served. Changed in place: the core keeps a reference."""
        self.owns_all = True
        self.count = SLOT_COUNT
        self._served: Marks = np.ones(SLOT_COUNT, dtype=np.uint8)
        self._owned: Marks = np.ones(SLOT_COUNT, dtype=np.uint8)
        self._held: Marks = np.ones(SLOT_COUNT, dtype=np.uint8)
        self._stale: Marks = np.zeros(SLOT_COUNT, dtype=np.uint8)
        self._led = b""
        self._cursor = 0
        self._left: list[int] = []
        self.has_stale = False
        self.losses = 0
        """How often slots that were served stopped being so: a command under way looks whether that happened."""

    def port(self) -> int:
        """Return the port that the topology names for this shard, 0 where it names none."""
        shards = self.topology.shards if self.topology is not None else ()
        return next((shard.port for shard in shards if shard.id == self.shard_id), 0)

    def set(self, topology: Topology, *, is_empty: bool = False) -> bool:
        """Take over `topology` if its epoch is newer; return whether it was. Then `settle`.

        Args:
            is_empty: whether there is no entry at all, so that none can be left of an earlier ownership.
        """
        if self.topology is not None and topology.epoch <= self.topology.epoch:
            return False
        self.topology = topology
        index = next((at for at, shard in enumerate(topology.shards) if shard.id == self.shard_id), -2)
        was_owned = self._owned
        self._led = (topology.owners[:, 0] == index).tobytes()
        self._owned = topology.held_by(index).astype(np.uint8)
        self._served = np.frombuffer(self._led, np.uint8) if topology.replication == "primary-replica" else self._owned
        held = self._owned.copy()
        for transfer in topology.transfers:
            if transfer.giver == self.shard_id:
                held[slots_of_bitmap(transfer.slots)] = 1
        # Of a slot that was held (or is not empty yet) and is not now, entries may be left.
        left = self._held & (1 - held)
        # What was kept only for a receiver is older than what that one wrote, should the slot come back.
        left |= self._held & (1 - was_owned) & self._owned
        self._stale = np.zeros(SLOT_COUNT, dtype=np.uint8) if is_empty else self._stale | left
        self._held = held
        self._left = np.flatnonzero(self._stale).tolist()
        self.has_stale, self._cursor = bool(self._left), 0
        if self.replicator is not None:
            self.replicator.copies.emptying = self._stale.tobytes()
        self.count = int(self._served.sum())
        return True

    def settle(self) -> None:
        """Work out `owned`: served, free of what an earlier ownership left, plainly or not."""
        served = self._served & (1 - self._stale)
        if (replicator := self.replicator) is not None and self.topology is not None:
            if not replicator.is_plain:
                served = served * CAREFUL
            else:
                served = np.where(served & np.frombuffer(bytes(replicator.copies.arriving), dtype=np.uint8),
                                  np.uint8(CAREFUL), served)
        before = np.frombuffer(bytes(self.owned), dtype=np.uint8)
        self.losses += bool(((before > 0) & (served == 0)).any())
        self.owned[:] = served.astype(np.uint8).tobytes()
        self.owns_all = bool((served == PLAIN).all())

    def led(self, keys: list[bytes]) -> list[bytes]:
        """Return those of `keys` whose slot this shard is primary of, so that all shards list each key once."""
        if self.topology is None or self.topology.copies == 1:
            return keys
        led = self._led
        return [key for key in keys if led[slot_of(key)]]

    def each_led(self, keys: Iterable[bytes]) -> Iterator[bytes]:
        """Yield those of `keys` whose slot this shard is primary of now, one by one."""
        led = self.led_marks
        return iter(keys) if led is None else (key for key in keys if led[slot_of(key)])

    @property
    def led_marks(self) -> bytes | None:
        """By slot, 1 = this shard is its primary; None: it stands alone and is that of all."""
        return self._led if self.topology is not None else None

    def sweep(self, store: WholeStore, now_ms: int, budget: int) -> bool:
        """Remove some of the entries whose slot is not held here; return whether more may be left."""
        noted = self.replicator.copies.noted if self.replicator is not None else None
        if noted is not None and noted.is_whole:
            looks = 4 * budget  # an empty slot costs a fourth of a key
            while budget > 0 and looks > 0 and self._left:
                keys = noted.take(self._left[-1], budget)
                self._remove(keys, store, now_ms)
                if not keys:
                    self._left.pop()
                budget, looks = budget - len(keys), looks - 1
            is_done = not self._left
        else:
            stale = self._stale
            self._cursor, keys = store.scan(self._cursor, budget, now_ms)
            self._remove([key for key in keys if stale[slot_of(key)]], store, now_ms)
            is_done = self._cursor == 0
        if is_done:
            self._stale = np.zeros(SLOT_COUNT, dtype=np.uint8)
            self.has_stale = False
            if self.replicator is not None:
                self.replicator.copies.emptying = bytes(SLOT_COUNT)
            self.settle()
        return self.has_stale

    def _remove(self, keys: list[bytes], store: WholeStore, now_ms: int) -> None:
        for key in keys:
            entry = store.peek(key, now_ms)
            if entry is None:
                continue
            if self.objects is not None and type(entry.value) is LargeValue:
                self.objects.linger(entry.value)
            if self.replicator is not None:
                self.replicator.copies.drop(key)
            else:
                store.delete(key, now_ms)
            store.entries.departures.restate(key, MOVED)

    def are_plain(self, keys: list[bytes]) -> bool:
        """Return whether every key can be served from the store at once."""
        owned = self.owned
        # slot_of written out: this runs for every key of every MGET
        return all(owned[slot_of(key) if 0x7B in key else crc_hqx(key, 0) & _SLOT_MASK] == PLAIN for key in keys)

    def check(self, keys: list[bytes]) -> bytes | None:
        """Return None if every key is served here, else the error reply."""
        owned = self.owned
        for key in keys:
            if not owned[slot_of(key) if 0x7B in key else crc_hqx(key, 0) & _SLOT_MASK]:
                return self.refusal(keys)
        return None

    def check_readable(self, keys: list[bytes]) -> bytes | None:
        """Return None if this shard holds a whole copy of every key's slot, else the error reply."""
        held, replicator = self._held, self.replicator
        if replicator is not None and all(
            held[slot] and replicator.copies.is_whole(slot) for slot in map(slot_of, keys)
        ):
            return None
        return self.check(keys)

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
