"""One shard's copies: what a write means for the others, and what theirs mean here.

What lives here: the store's journal (versions, digests, tombstones, floors, filling outboxes) and its counterpart
`merge`. What does not: sending, transfers, leases (`replicator` and its other parts). Belongs to the shard's loop.

A *floor* is a version per slot: of what was written up to there, this shard may have evicted some. A copy that holds
nothing for a key can therefore say "absent" only about later writes, and about earlier ones "unknown".
"""

from __future__ import annotations

from array import array
from binascii import crc_hqx
from collections.abc import Callable, Iterable
from typing import Final, Protocol
from zlib import crc32

from raycache.replication.digests import SlotDigests
from raycache.replication.keys_by_slot import KeysBySlot
from raycache.replication.mutation import CLEAR, EVICTED, OVERHEAD_BYTES, Mutation
from raycache.replication.neighbours import Boxes
from raycache.replication.tombstones import Tombstones
from raycache.replication.version import HybridClock, first_version, version_shard
from raycache.ring.records import RECORD_PREFIX
from raycache.ring.slots import SLOT_COUNT, hash_tag, slot_of, slots_of_bitmap
from raycache.store import (
    KIND_BITS,
    KIND_MASK,
    PINNED_KIND,
    Entry,
    RemovalCause,
    StoreFullError,
    WholeStore,
    departures,
)

_MASK: Final = SLOT_COUNT - 1
_BRACE: Final = 0x7B
_DELETED: Final = RemovalCause.DELETED
_EVICTED: Final = RemovalCause.EVICTED
_EXPIRED: Final = RemovalCause.EXPIRED

NOT_WHOLE: Final = (1 << 63) - 1
"""In place of a floor: entries of this slot are still on their way here."""

class Host(Protocol):
    """What the copies belong to: the shard's core."""

    whole: WholeStore
    now_ms: int

    def key_changed(self, key: bytes) -> None:
        """A key was changed by another shard: tell who watches it."""

    def all_changed(self) -> None:
        """Whole slots were cleared by another shard: tell who loads anything."""


class Copies:
    """The journal of one shard's store, and the way in for others' writes."""

    def __init__(self, host: Host, shard_index: int, *, is_versioned: bool, tombstone_ttl_s: float) -> None:
        """Make the copies of an empty store.

        Args:
            is_versioned: whether entries have versions. With one copy they have none, and the journal is only used
                while slots arrive: then whatever is here, or was and has gone, is newer than what arrives.
        """
        self._host = host
        self.is_versioned = is_versioned
        self._shard_index = shard_index
        self.clock = HybridClock(shard_index)
        self._next_version = self.clock.next
        self.digests = SlotDigests()
        self.digest_of = self.digests.of
        self.tombstones = Tombstones(tombstone_ttl_s)
        self._first_floor = first_version(host.now_ms) if is_versioned else 0
        self.floors = array("q", [self._first_floor]) * SLOT_COUNT
        """By slot. At first of all that was ever written before this process began."""
        self.evicted = bytearray(SLOT_COUNT)
        """1 = something of the slot was evicted here, so that its digest may differ from others' for good."""
        self._evicted_to: dict[int, int] = {}
        """Slot -> the newest version that was evicted here, where each copy evicts for itself. Of a key that is not
        here, what others bring later may be older than what was: only newer versions are taken."""
        self.follows_primary = False
        """Whether replicas drop what their primary evicts; else each copy evicts for itself."""
        self.cleared: dict[int, int] = {}
        """Slot -> version up to which everything was cleared."""
        self.boxes: list[Boxes] = [()] * SLOT_COUNT
        """By slot: where its writes go."""
        self.holds = bytearray(SLOT_COUNT)
        """1 = this shard is an owner of the slot."""
        self.emptying = bytes(SLOT_COUNT)
        """1 = the slot left, and entries of it may still be here: it cannot begin to arrive before they are gone."""
        self.rewritten = bytearray(SLOT_COUNT)
        """1 = something of the slot was written, here or by its primary, since it began to arrive."""
        self.doubts: dict[int, dict[str, int]] = {}
        """In a quorum: slot that was filled by one other owner -> the owners of which all has come, with their floors.
        A write that an earlier process here acknowledged may be with one of the others alone."""
        self.arriving = bytearray(SLOT_COUNT)
        """1 = older entries of the slot are still on their way here."""
        self.led_since: dict[int, int] = {}
        """Slot -> where the clock stood when this shard began to lead it; only of slots that it leads now."""
        self.seen: dict[int, int] = {}
        """Slot that is led here -> the newest version of others' that has come meanwhile."""
        self.led_until: dict[int, int] = {}
        """Slot that was led here once -> the newest version of others' that was known here when somebody else took it:
        what others wrote there under a later one, they wrote afterwards."""
        self.is_stranger = False
        """Whether the topology still means an earlier process of this shard, whose entries are gone: it owns slots, and
        has nothing of them. Once the router knows this one, transfers say what is on its way."""
        self.may_bring_older: Callable[[int, int], bool] = lambda slot, version: False
        """Whether another owner of the slot may still send what is older than the version: where that has expired, it
        must not be taken for news."""
        self.must_sweep = False
        """Whether slots were cleared of which entries may be left."""
        self.noted: KeysBySlot | None = None
        """Which keys each slot has, while slots leave in several turns."""
        self._inserts = 0
        self.touched: dict[Boxes, None] = {}
        """Where writes went since somebody last looked: the shell of a session empties it."""
        self.now_s = 0.0
        self.merged = self.ignored = 0
        self._merging = 0
        self._is_silent = False

    # The store's journal

    def wrote(self, entry: Entry) -> None:
        """HOT: each write of a client comes here."""
        stamp = entry.stamp
        kind = stamp & KIND_MASK
        if not self.is_versioned:
            entry.stamp = self._merging << KIND_BITS | kind
            if self.noted is not None:
                self._note(entry, kind)
            return
        key, old, merging = entry.key, stamp >> KIND_BITS, self._merging
        version = merging or self._next_version(self._host.now_ms)
        entry.stamp = version << KIND_BITS | kind
        crc = crc32(key)
        slot = crc_hqx(hash_tag(key) if _BRACE in key else key, 0) & _MASK
        if old:
            self.digest_of[slot] ^= hash((crc, version)) ^ hash((crc, old))
        else:
            self.digest_of[slot] ^= hash((crc, version))
            if self.noted is not None:
                self.noted.came(slot, key)
            if not merging:
                self.tombstones.discard(key)
        if not merging and (boxes := self.boxes[slot]):
            timer, value = entry.timer, entry.value
            mutation = (key, version, kind, 0 if timer is None else int(timer), value)
            size = OVERHEAD_BYTES + len(key) + len(value)
            for box in boxes:
                box.add(mutation, size)
            self.touched[boxes] = None
            self.rewritten[slot] = 1

    def note_keys(self) -> None:
        """Begin to remember which keys each slot has."""
        self.noted = KeysBySlot()
        self._inserts = self._host.whole.entries.stats.inserts

    def _note(self, entry: Entry, kind: int) -> None:
        """Remember a key if it is new: without versions only the store's own count tells."""
        inserts = self._host.whole.entries.stats.inserts
        if self.noted is not None and (inserts != self._inserts or kind == PINNED_KIND):
            self._inserts = inserts
            self.noted.came(slot_of(entry.key), entry.key)

    def removed(self, entry: Entry, cause: RemovalCause) -> None:
        key, version = entry.key, entry.stamp >> KIND_BITS
        slot = crc_hqx(hash_tag(key) if _BRACE in key else key, 0) & _MASK
        if self.is_versioned:
            self.digests.of[slot] ^= hash((crc32(key), version))
            if self._is_silent:
                return
            if cause is _DELETED:
                if self.holds[slot]:
                    self._deleted(key, slot)
                return
            if cause is _EVICTED:
                self._evicted(key, version, slot)
        if not self._is_silent and (self.arriving[slot] or (
                cause is _EXPIRED and self.is_versioned and self.holds[slot] and self.may_bring_older(slot, version))):
            self.tombstones.add(key, version, self.now_s)

    def _evicted(self, key: bytes, version: int, slot: int) -> None:
        self.floors[slot] = max(version, self.floors[slot])
        if self.follows_primary and self.boxes[slot]:
            for box in self.boxes[slot]:
                box.add((key, version, EVICTED, 0, None))
        else:
            self.evicted[slot] = 1
            self._evicted_to[slot] = max(version, self._evicted_to.get(slot, 0))

    def _deleted(self, key: bytes, slot: int) -> None:
        if key.startswith(RECORD_PREFIX):
            return  # not a record: those go by `unpin`. What others keep under this key is one
        version = self.clock.next(self._host.now_ms)
        self.tombstones.add(key, version, self.now_s)
        self._emit(slot, (key, version, 0, 0, None))

    def _emit(self, slot: int, mutation: Mutation) -> None:
        boxes = self.boxes[slot]
        self.rewritten[slot] = 1
        for box in boxes:
            box.add(mutation)
        if boxes:
            self.touched[boxes] = None

    # Others' writes

    def lead(self, slots: Iterable[int]) -> None:
        """Take note that this shard leads `slots` from now on."""
        since = self.clock.latest
        for slot in slots:
            self.led_since[slot] = since
            self.seen.pop(slot, None)
            self.led_until.pop(slot, None)

    def lead_no_more(self, slots: Iterable[int]) -> None:
        """Take note that others lead `slots` from now on."""
        for slot in slots:
            since = self.led_since.pop(slot)
            self.led_until[slot] = max(since, self.seen.pop(slot, since))

    def merge_deposed(self, mutation: Mutation, knew: int) -> bool:
        """Take over what a shard wrote while it led the slot, and delivers now that it leads it no more: another
        shard's write of which it did not know is later, whatever the versions say, and is written again by who leads.

        Args:
            knew: the newest of others' versions that the writer had then (`led_until`).
        """
        key, version = mutation[0], mutation[1]
        host = self._host
        entry = host.whole.peek(key, host.now_ms)
        local = entry.version if entry is not None else self.tombstones.get(key, -1)
        if not knew < local < version or version_shard(local) == version_shard(version):
            return self.merge_behind(mutation)
        self._refuse(version, entry, key, slot_of(key))
        return False

    def _refuse(self, version: int, entry: Entry | None, key: bytes, slot: int) -> None:
        """Stay with what is here, under a newer version where it is this shard's to say."""
        self.clock.observe(version)
        self.ignored += 1
        if slot not in self.led_since:
            return
        if entry is None:
            self._deleted(key, slot)
        else:
            self._host.whole.rewrite(entry, entry.value, entry.kind, self._host.now_ms)

    def merge_behind(self, mutation: Mutation) -> bool:
        """Take over what somebody wrote who leads no more, and whose clock may have been ahead: what was written here
        since is later, whatever the versions say, and is written again."""
        key, version = mutation[0], mutation[1]
        slot = crc_hqx(hash_tag(key) if _BRACE in key else key, 0) & _MASK
        since = self.led_since.get(slot)
        if since is None or mutation[2] < 0:
            return self.merge(mutation)
        host = self._host
        entry = host.whole.peek(key, host.now_ms)
        local = entry.version if entry is not None else self.tombstones.get(key, -1)
        if not since < local < version or version_shard(local) != self._shard_index:
            return self.merge(mutation)
        self._refuse(version, entry, key, slot)
        return False

    def merge(self, mutation: Mutation, *, is_vouched: bool = False) -> bool:
        """Take over what another shard wrote if it is newer than what is here; return whether it was.

        Args:
            is_vouched: whether enough copies say that nothing newer was evicted.
        """
        key, version, kind, expires_ms, value = mutation
        if kind < 0:
            return self._merge_clear(version, value or b"") if kind == CLEAR else self._merge_evicted(key, version)
        slot = crc_hqx(hash_tag(key) if _BRACE in key else key, 0) & _MASK
        host = self._host
        self.clock.observe(version)
        entry = host.whole.peek(key, host.now_ms)
        if self.is_versioned:
            local = entry.version if entry is not None else self.tombstones.get(key, -1)
            least = self.cleared.get(slot, -1)
            if local < 0 and not (is_vouched or self.arriving[slot]):
                least = max(least, self._evicted_to.get(slot, -1))
            is_newer = version > local and (version > least or key.startswith(RECORD_PREFIX))
        else:
            is_newer = entry is None and key not in self.tombstones
        if not is_newer or not self.holds[slot]:
            self.ignored += 1
            return False
        self._merging = version
        try:
            if value is None:
                self.drop(key)
                self.tombstones.add(key, version, self.now_s)
            else:
                host.whole.put(key, value, kind, expires_ms or None, host.now_ms)
                self.tombstones.discard(key)
        except StoreFullError:  # it does not fit here: this copy does not know
            self.floors[slot] = max(self.floors[slot], version)
            return False
        finally:
            self._merging = 0
        if slot in self.led_since:
            self.seen[slot] = max(version, self.seen.get(slot, 0))
        host.key_changed(key)
        self.merged += 1
        return True

    def merge_each(self, mutations: list[Mutation], merge: Callable[[Mutation], bool]) -> None:
        """Take over a batch in its order, with `merge`, one of the above. HOT.

        Where a value takes the place of an older one of the same kind and length, and nothing else is to be thought of,
        it is written in place: three times as fast, and what a replica of a busy primary does most.
        """
        segments, mask, _, on_update, *_ = self._host.whole.entries.hot
        holds, led_since, digest_of, changed = self.holds, self.led_since, self.digest_of, self._host.key_changed
        newest = count = 0
        for mutation in mutations:
            key, version, kind, expires_ms, value = mutation
            if kind >= 0 and not expires_ms and value is not None and on_update is not None and not self.cleared:
                entry = segments[hash(key) & mask].get(key)
                if (entry is not None and entry.timer is None and entry.stamp & KIND_MASK == kind
                        and type(entry.value) is bytes and len(entry.value) == len(value)
                        and (old := entry.stamp >> KIND_BITS) < version):
                    slot = crc_hqx(hash_tag(key) if _BRACE in key else key, 0) & _MASK
                    if holds[slot] and slot not in led_since:
                        crc = crc32(key)
                        digest_of[slot] ^= hash((crc, version)) ^ hash((crc, old))
                        entry.value = value
                        entry.stamp = version << KIND_BITS | kind
                        on_update(entry)
                        changed(key)
                        count += 1
                        if version > newest:
                            newest = version
                        continue
            merge(mutation)
        self.clock.observe(newest)
        self.merged += count
        self._host.whole.entries.stats.updates += count

    def _merge_evicted(self, key: bytes, version: int) -> bool:
        entry = self._host.whole.peek(key, self._host.now_ms)
        slot = crc_hqx(hash_tag(key) if _BRACE in key else key, 0) & _MASK
        if self.arriving[slot] and (entry is None or entry.version <= version) and (
                self.tombstones.get(key, -1) < version):
            self.tombstones.add(key, version, self.now_s)  # what is on its way may be older than what was evicted
        if entry is None or entry.version > version or entry.kind == PINNED_KIND:
            return False
        self.floors[slot] = max(version, self.floors[slot])
        self.drop(key)
        self._host.whole.entries.departures.restate(key, departures.EVICTED)
        return True

    def mutation_of(self, key: bytes) -> Mutation | None:
        """Return what this shard knows of `key`: its entry, its tombstone, or None."""
        host = self._host
        entry = host.whole.peek(key, host.now_ms)
        if entry is not None:
            return (key, entry.version, entry.kind, entry.expires_ms or 0, entry.value)
        version = self.tombstones.get(key, -1)
        return (key, version, 0, 0, None) if version >= 0 else None

    def floor_of(self, slot: int) -> int:
        """Return up to which version something of `slot` may have been evicted here; `NOT_WHOLE` where it has not all
        come yet."""
        return self.floors[slot] if self.is_whole(slot) and slot not in self.doubts else NOT_WHOLE

    def is_whole(self, slot: int) -> bool:
        """Return whether this shard owns `slot` and has all of it, but for what it evicted."""
        return bool(self.holds[slot]) and not self.arriving[slot] and not self.is_stranger

    def knows(self, slots: Iterable[int], peer: str, floor: int, enough: Callable[[int], int]) -> None:
        """Take note that of `slots` this shard has all that `peer` has, who may have evicted up to `floor`.

        Args:
            enough: of how many others a slot that is in doubt must have all.
        """
        for slot in slots:
            if (known := self.doubts.get(slot)) is not None:
                known[peer] = floor
                if len(known) >= enough(slot):
                    self._learn(slot, max(self.doubts.pop(slot).values()))
            else:
                self._learn(slot, floor)

    def settle_doubts(self, enough: Callable[[int], int]) -> None:
        """Take note that slots have other owners, or are held here no more."""
        for slot in list(self.doubts):
            if not self.holds[slot]:
                del self.doubts[slot]
            elif len(known := self.doubts[slot]) >= enough(slot):
                del self.doubts[slot]
                self._learn(slot, max(known.values(), default=self._first_floor))

    def _learn(self, slot: int, floor: int) -> None:
        if self.floors[slot] == self._first_floor:  # nothing has been evicted here since
            self.floors[slot] = min(floor, self._first_floor)

    def forget(self, entry: Entry) -> None:
        """Remove an entry that this shard should not have, or cannot vouch for, without telling anybody."""
        self._host.whole.evict(entry)

    # Clearing whole slots

    def clear(self, slots: list[int], bitmap: bytes) -> int:
        """Say, here and to the other owners, that everything in `slots` so far is gone; `sweep` removes it.

        Returns: the version up to which it is gone.
        """
        version = self.clock.next(self._host.now_ms)
        self.cleared.update(dict.fromkeys(slots, version))
        for boxes in dict.fromkeys(self.boxes[slot] for slot in slots):
            for box in boxes:
                box.add((b"", version, CLEAR, 0, bitmap))
            if boxes:
                self.touched[boxes] = None
        return version

    def _merge_clear(self, version: int, bitmap: bytes) -> bool:
        self.clock.observe(version)
        for slot in slots_of_bitmap(bitmap).tolist():
            if self.holds[slot]:
                self.cleared[slot] = max(version, self.cleared.get(slot, -1))
        self.must_sweep = True
        self._host.all_changed()
        return True

    def sweep(self, keys: list[bytes]) -> int:
        """Remove those of `keys` that were cleared; return how many."""
        host, cleared, count = self._host, self.cleared, 0
        for key in keys:
            slot = crc_hqx(hash_tag(key) if _BRACE in key else key, 0) & _MASK
            entry = host.whole.peek(key, host.now_ms)
            if entry is not None and entry.version <= cleared.get(slot, -1) and entry.kind != PINNED_KIND:
                self.drop(key)
                count += 1
        return count

    def unpin(self, entry: Entry) -> None:
        """Remove a record, here and at the other owners, and nothing that was written later: the version is the next
        one after its own and not a new one. Another owner may have written a later record that is on its way."""
        key, version = entry.key, entry.version + 1
        slot = slot_of(key)
        self.drop(key)
        if self.is_versioned or self.arriving[slot]:
            self.tombstones.add(key, version, self.now_s)
        if self.is_versioned:
            self._emit(slot, (key, version, 0, 0, None))

    def drop(self, key: bytes) -> None:
        """Remove `key` here, without telling anybody or remembering it."""
        self._is_silent = True
        try:
            self._host.whole.delete(key, self._host.now_ms)
        finally:
            self._is_silent = False
