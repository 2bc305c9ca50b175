"""Slots that move to or from this shard, and copies that are mended: both sides of every arrival.

What lives here: the messages of transfers and the steps of arrivals. What does not: one arrival's state (`arrival`),
reading the store for a receiver (`giving`), when copies are compared (`repairs`). Belongs to the shard's loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from raycache.replication.arrival import Arrival, is_repair, repair_of
from raycache.replication.giving import LARGE, SMALL, Slice, checksum, give
from raycache.replication.keys_by_slot import KeysBySlot
from raycache.replication.messages import Message
from raycache.replication.mutation import Mutation
from raycache.replication.version import version_ms
from raycache.ring.records import RECORD_PREFIX
from raycache.ring.slots import SLOT_COUNT, slot_of, slots_of_bitmap
from raycache.ring.topology import Topology
from raycache.store import PINNED_KIND

if TYPE_CHECKING:
    from raycache.replication.replicator import Replicator

PRUNED_PER_STEP = 1000
"""Entries looked at per step while pruning: about 0.3 ms."""
REMEMBERED_S = 10.0
"""For so long after a turn a giver remembers its slots' keys: the next turn begins within a second or two."""
COPYING_S = 120.0
"""How long a transfer waits for the objects of large values: not for ever, because where such values are written all
the time there may always be some on their way."""


def _owned(topology: Topology, shard_id: str, slots: list[int]) -> list[bool]:
    """Return for each of `slots` whether a shard is an owner of it."""
    place = next((at for at, shard in enumerate(topology.shards) if shard.id == shard_id), -2)
    found: list[bool] = (topology.owners[slots] == place).any(axis=1).tolist()
    return found


@dataclass(slots=True)
class _Given:
    """What a receiver has got in this pass."""

    keys: KeysBySlot | None = None
    most: Slice = LARGE
    count: int = 0
    checksum: int = 0


class Transfers:
    """The arrivals of one shard, and what it gives to others."""

    def __init__(self, owner: Replicator) -> None:
        self._owner = owner
        self.arrivals: dict[str, Arrival] = {}
        self.misses = 0
        """Keys that nobody could bring in time, so that a command went on without them."""
        self.repaired = 0
        """Entries that repairs have brought."""
        self._given: dict[str, _Given] = {}
        self._gives = False
        self._gave_s = 0.0

    def set_topology(self, topology: Topology, now_s: float, whole: bytes) -> None:
        """Begin what is new, end what is no longer wanted.

        Args:
            whole: by slot, 1 = until now this shard was an owner and had everything.
        """
        arrivals, me = self.arrivals, self._owner.me
        for name in [name for name, one in arrivals.items() if one.is_repair]:
            # Who leads may have changed, and with it whose word counts.
            self._owner.repairs.soon(arrivals.pop(name).giver, now_s)
        wanted = {one.id: one for one in topology.transfers if one.receiver == me}
        for arrival in [arrivals.pop(name) for name in list(arrivals) if name not in wanted]:
            if not arrival.is_done:  # given up: what has not come others may have
                for peer in self._owner.neighbours.compared:
                    self._owner.repairs.soon(peer, now_s, is_thorough=True)
            arrival.finish(now_s)
        for name, one in wanted.items():
            if name not in arrivals:
                slots = slots_of_bitmap(one.slots).tolist()
                was_whole = self._owner.is_versioned and all(whole[slot] for slot in slots)
                # Where the giver goes on owning them there are too few copies until they have come.
                arrivals[name] = Arrival(name, one.giver, slots, now_s, was_whole=was_whole,
                                         is_refill=any(_owned(topology, one.giver, slots)))
                for slot in slots:
                    self._owner.copies.rewritten[slot] = 0
                if self._owner.mode == "quorum" and not was_whole:
                    self._owner.doubt(one.giver, slots)
        given = {one.id for one in topology.transfers if one.giver == me}
        self._given = {name: one for name, one in self._given.items() if name in given}
        self._gives = bool(given)
        self._mark()

    def _mark(self) -> None:
        """Work out which slots are on their way."""
        owner = self._owner
        arriving = np.zeros(SLOT_COUNT, dtype=np.uint8)
        for arrival in self.arrivals.values():
            # In a quorum a copy that had everything goes on being one: what it has missed, the others know.
            if not (arrival.is_done or arrival.is_repair or (arrival.was_whole and owner.mode == "quorum")):
                arriving[arrival.slots] = 1
        owner.copies.arriving[:] = arriving.tobytes()
        if not owner.is_versioned:
            hears = arriving.any() or owner.copies.noted is not None
            owner.host.whole.set_journal(owner.copies if hears else None)
            if not arriving.any():
                owner.copies.tombstones.clear()

    def arrival_of(self, slot: int) -> Arrival | None:
        """Return the transfer that brings `slot` here, if one is under way."""
        if not self._owner.copies.arriving[slot]:
            return None
        return next((one for one in self.arrivals.values()
                     if one.member[slot] and not one.is_done and not one.is_repair), None)

    def abandon(self) -> None:
        """Take nothing more from givers but records: all else that they have was cleared."""
        for arrival in self.arrivals.values():
            arrival.only_records = True

    def mend(self, peer: str, slots: list[int]) -> None:
        """Begin a repair: bring what `peer` has in `slots`."""
        owner, name = self._owner, repair_of(peer)
        if name not in self.arrivals:
            self.arrivals[name] = Arrival(name, peer, slots, owner.now_s, is_repair=True,
                                          is_authority=owner.mode == "primary-replica")

    def is_mending(self, peer: str) -> bool:
        """Return whether a repair from `peer` is under way."""
        return repair_of(peer) in self.arrivals

    def step(self, now_s: float) -> None:
        """Ask givers for more."""
        if self._gives:
            self._gave_s = now_s
        elif self._owner.copies.noted is not None and now_s - self._gave_s > REMEMBERED_S:
            self._owner.copies.noted = None
            self._mark()
        for arrival in list(self.arrivals.values()):
            if arrival.is_holding and self._is_emptying(arrival):
                # What an earlier ownership left would be taken for what has arrived, and emptied with it.
                arrival.began_s = now_s
                continue
            if arrival.is_copying:
                self._arrived(arrival)
                continue
            self._ask(arrival, now_s)
            if arrival.state == "pruning":
                self._prune(arrival)

    def _is_emptying(self, arrival: Arrival) -> bool:
        emptying = self._owner.copies.emptying
        return 1 in emptying and any(emptying[slot] for slot in arrival.slots)

    def peer_found(self, peer: str, now_s: float) -> None:
        """Ask a giver at once that could not be reached until now: commands wait for its answer."""
        for arrival in self.arrivals.values():
            if arrival.giver == peer and not (arrival.is_holding and self._is_emptying(arrival)):
                arrival.ask_again()
                self._ask(arrival, now_s)

    def _ask(self, arrival: Arrival, now_s: float) -> None:
        question = arrival.step(now_s, self._owner.epoch)
        if question is not None:
            if question[0] == "start":
                question = self._start_of(arrival)
            self._owner.post(arrival.giver, question)

    def _start_of(self, arrival: Arrival) -> Message:
        topology = self._owner.topology
        assert topology is not None
        return ["start", arrival.id, topology.epoch, topology.to_bytes()]

    # What is said

    def on_start(self, sender: str, message: Message) -> Message | None:
        """A receiver begins: stop serving what it takes over, before it is told that we have."""
        _, name, epoch, data = message
        owner = self._owner
        if owner.topology is None or owner.topology.epoch < epoch:
            owner.on_topology(data)
        if owner.topology is None or owner.topology.epoch < epoch:
            return None  # refused: made by a router that is no more
        if owner.copies.is_stranger:
            return None  # the giver that is meant is gone, with all it had; the router will find another
        self._given[name] = _Given()
        owner.beat(sender)  # at once, and not with the next step: it says how far the stream has come
        return ["started", name, owner.copies.clock.latest]

    def on_started(self, sender: str, message: Message) -> None:
        """The giver serves no more."""
        _, name, clock = message
        owner, arrival = self._owner, self.arrivals.get(name)
        if arrival is not None:
            owner.copies.clock.observe(clock)
            arrival.started(clock if owner.is_versioned and sender in owner.neighbours.shared else 0)
            owner.on_change()

    def on_more(self, sender: str, message: Message) -> Message | None:
        """A receiver asks for a chunk."""
        _, name, cursor, bitmap, epoch = message
        host, copies = self._owner.host, self._owner.copies
        slots = slots_of_bitmap(bitmap).tolist()
        if copies.is_stranger or (is_repair(name) and not self._owner.repairs.vouches(slots, epoch)):
            return None
        if cursor == 0:
            self._given[name] = _Given() if is_repair(name) else _Given(self._keys(), self._slice(slots))
        given = self._given.setdefault(name, _Given())
        after, found = give(host.whole, copies, slots, cursor, host.now_ms, given.keys, given.most)
        count, total = checksum(found)
        given.count += count
        given.checksum ^= total
        floor = max((copies.floors[slot] for slot in slots), default=0)
        return ["some", name, cursor, after, found, [given.count, given.checksum], copies.clock.latest, floor]

    def _slice(self, slots: list[int]) -> Slice:
        """Return how much to give at a time of `slots`: as `Arrival.is_refill`, the giver's side of it."""
        topology = self._owner.topology
        return LARGE if topology is not None and any(_owned(topology, self._owner.me, slots)) else SMALL

    def _keys(self) -> KeysBySlot:
        """Return what is remembered of the slots' keys; anew, where most of it has gone since."""
        copies = self._owner.copies
        if copies.noted is None or copies.noted.count > 2 * len(self._owner.host.whole) + SLOT_COUNT:
            copies.note_keys()
            self._mark()
        assert copies.noted is not None
        return copies.noted

    def on_some(self, sender: str, message: Message) -> None:
        """A chunk has come."""
        _, name, cursor, after, found, check, clock, floor = message
        arrival, copies = self.arrivals.get(name), self._owner.copies
        if arrival is None or not arrival.expects(cursor):
            return
        mutations = [tuple(one) for one in found]
        if arrival.notes_keys:
            if cursor == 0:
                # What the giver writes from here on is newer, and what it has evicted so far is not.
                arrival.prune_version, arrival.prune_floor = clock, floor
            arrival.seen.update([one[0] for one in mutations])
            self._give_back(arrival, mutations)
        wanted = mutations
        if arrival.only_records:
            wanted = [mutation for mutation in mutations if mutation[0].startswith(RECORD_PREFIX)]
        merged = sum([copies.merge(mutation) for mutation in wanted])
        if arrival.is_repair:
            self.repaired += merged
        size = sum(len(one[0]) + len(one[4] or b"") for one in mutations)
        arrival.took(after, len(mutations), size, check, checksum(mutations), self._owner.now_s)
        if arrival.state == "checking" and not self._owner.is_versioned:
            self._arrived(arrival)
        elif arrival.state == "streaming":
            self._ask(arrival, self._owner.now_s)  # at its pace: the next step may come later

    def checked(self, arrival: Arrival, differing: list[int], unexplained: list[int]) -> None:
        """Take in which of an arrival's slots differ from the giver's, and which of them by more than evictions."""
        differing = differing if arrival.is_first_pass else unexplained
        arrival.checked(self._unexpected(arrival, differing), self._owner.now_s)
        if arrival.is_done:
            self._arrived(arrival)

    def _unexpected(self, arrival: Arrival, differing: list[int]) -> list[int]:
        """Return the slots without those that must differ: written since, and the giver is no owner that would know.
        Where a chunk did not come as it was sent, that excuses nothing."""
        topology, rewritten = self._owner.topology, self._owner.copies.rewritten
        if arrival.is_repair or arrival.mismatches or topology is None or not differing:
            return differing
        knows = _owned(topology, arrival.giver, differing)
        return [slot for slot, is_told in zip(differing, knows, strict=True) if is_told or not rewritten[slot]]

    def _arrived(self, arrival: Arrival) -> None:
        owner = self._owner
        if not arrival.is_copying:
            arrival.finish(owner.now_s)
        # The giver keeps what it has until this has ended, and its objects with it.
        arrival.is_copying = (not arrival.is_repair and owner.host.whole.is_copying()
                              and owner.now_s - arrival.ended_s < COPYING_S)
        if arrival.is_copying:
            return
        if arrival.is_repair:
            del self.arrivals[arrival.id]
            owner.repairs.mended(arrival.giver)
            if (stream := owner.streams.get(arrival.giver)) is not None:
                stream.has_gap = False
        else:  # the giver may have left the slots before all of the primary's writes had reached it
            for peer in owner.neighbours.compared:
                owner.repairs.soon(peer, owner.now_s, is_thorough=True)
        self._mark()
        owner.on_change()

    def _give_back(self, arrival: Arrival, mutations: list[Mutation]) -> None:
        """Send the primary what is newer here: one that led before wrote it, and its last words reached only us."""
        copies = self._owner.copies
        for key, version, *_ in mutations:
            mine = copies.mutation_of(key)
            if mine is not None and version < mine[1] and not arrival.may_be_coming(mine[1]):
                self._owner.send_again(arrival.giver, mine)

    def _prune(self, arrival: Arrival) -> None:
        """Remove some of what the primary does not have, if it was evicted there, or deleted long ago; what it cannot
        have had it is sent."""
        host, copies, wanted = self._owner.host, self._owner.copies, set(arrival.rest)
        # A delete so young would still be remembered; half the time, because clocks differ by minutes.
        now_ms = max(version_ms(copies.clock.latest), host.now_ms)
        young_ms = now_ms - int(self._owner.config.tombstone_ttl_s * 500)
        arrival.prune_cursor, keys = host.whole.scan(arrival.prune_cursor, PRUNED_PER_STEP, host.now_ms)
        for key in keys:
            if slot_of(key) in wanted and key not in arrival.seen:
                entry = host.whole.peek(key, host.now_ms)
                if entry is None or arrival.may_be_coming(entry.version):
                    continue
                mine = copies.mutation_of(key)
                # A record is never taken for evicted: were it written once more, that would change nothing.
                is_later = entry.version > arrival.prune_floor and version_ms(entry.version) > young_ms
                if mine is not None and (is_later or entry.kind == PINNED_KIND):
                    self._owner.send_again(arrival.giver, mine)
                else:
                    copies.drop(key)
        if arrival.prune_cursor == 0:
            self._arrived(arrival)
