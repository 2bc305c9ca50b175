"""Anti-entropy: are copies the same, and who has to mend what.

What lives here: comparing digests with other owners, when it is due or asked for. What does not: mending (`transfers`).
Belongs to the shard's loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from raycache.replication.arrival import is_repair
from raycache.replication.messages import Message
from raycache.ring.slots import bitmap_of, slots_of_bitmap

if TYPE_CHECKING:
    from raycache.replication.replicator import Replicator

INTERVAL_S: Final = 30.0
"""How often copies are compared when nothing calls for it: comparing costs one message of 128 KiB a pair."""
RETRY_S: Final = 1.0
"""A comparison without an answer is asked for again after this: whoever cannot vouch for a slot keeps silent."""
_COMPARE: Final = ""
_VERIFY: Final = "?"


@dataclass(slots=True)
class Comparison:
    """What a comparison of digests has shown so far."""

    open: set[str]
    """Peers that have not answered."""
    compared: int = 0
    """Slots compared, counted once for each peer."""
    differences: list[list[Any]] = field(default_factory=list)
    """[slot, peer] where digests differ."""
    evicted: int = 0
    """Slots that differ where one of both has evicted something, which may be why."""


class Repairs:
    """One shard's comparisons."""

    def __init__(self, owner: Replicator) -> None:
        self._owner = owner
        self._due_s: dict[str, float] = {}
        self._asked: dict[str, tuple[bytes, float]] = {}
        """The slots of the last question, and when to ask again if there is no answer."""
        self._thorough: set[str] = set()
        """Peers with whom evictions explain no difference at the next comparison."""
        self._comparison = Comparison(set())

    def soon(self, peer: str, at_s: float, *, is_thorough: bool = False) -> None:
        """Compare with `peer` at `at_s` at the latest.

        Args:
            is_thorough: bring what differs also where one of both has evicted something, since one of both may have
                heard of writes that the other has not.
        """
        self._due_s[peer] = min(at_s, self._due_s.get(peer, at_s))
        if is_thorough:
            self._thorough.add(peer)

    def mended(self, peer: str) -> None:
        """Take note that a repair has brought what differed from `peer`'s."""
        if self._due_s.get(peer, 0.0) > self._owner.now_s:  # else something has called for a comparison since
            self._thorough.discard(peer)

    def at_once(self) -> None:
        """Compare with everybody at the next step."""
        for peer in self._owner.neighbours.compared:
            self._due_s[peer] = self._owner.now_s

    def step(self, now_s: float) -> None:
        """Compare slots with the peers that hold them too, where it is due; what differs is then brought."""
        owner = self._owner
        for peer in owner.neighbours.compared:
            due_s = self._due_s.setdefault(peer, now_s + INTERVAL_S)
            if now_s >= due_s and owner.is_reachable(peer) and not owner.transfers.is_mending(peer):
                self._due_s[peer] = now_s + RETRY_S
                if settled := self._settled(peer):
                    bitmap = bitmap_of(settled)
                    self._asked[peer] = (bitmap, self._due_s[peer])
                    owner.post(peer, ["digests", bitmap, _COMPARE, owner.epoch])

    def compare(self) -> Comparison:
        """Ask every peer for its digests of the slots held in common; the answers come into the result."""
        comparison = self._comparison = Comparison(set())
        for peer in self._owner.neighbours.compared:
            settled = self._settled(peer)
            comparison.open.add(peer)
            comparison.compared += len(settled)
            self._owner.post(peer, ["digests", bitmap_of(settled), _VERIFY, self._owner.epoch])
        return comparison

    def _settled(self, peer: str) -> list[int]:
        arriving = self._owner.copies.arriving
        return [slot for slot in self._owner.neighbours.compared[peer] if not arriving[slot]]

    def vouches(self, slots: list[int], epoch: int) -> bool:
        """Return whether others may take what is here, and what is not, for the truth: this shard has all of `slots`,
        and where one leads, it does, by no older topology than that of who asks.

        A primary that has just restarted, is being filled or has been replaced would have its replicas drop what only
        they have.
        """
        owner = self._owner
        topology = owner.topology
        if topology is None or topology.epoch < epoch or not all(map(owner.copies.is_whole, slots)):
            return False
        if owner.mode != "primary-replica":
            return True
        leads = owner.neighbours.leads
        return owner.has_lease(owner.now_s) and all(leads[slot] for slot in slots)

    def on_digests(self, sender: str, message: Message) -> Message | None:
        """Somebody compares."""
        _, bitmap, tag, epoch = message
        slots, copies = slots_of_bitmap(bitmap).tolist(), self._owner.copies
        if copies.is_stranger or ((tag == _COMPARE or is_repair(tag)) and not self.vouches(slots, epoch)):
            return None
        return ["digested", tag, bitmap, copies.digests.pack(slots),
                max((copies.floors[slot] for slot in slots), default=0),
                bitmap_of([slot for slot in slots if copies.evicted[slot]])]

    def on_digested(self, sender: str, message: Message) -> None:
        """The digests that this shard asked for."""
        _, tag, bitmap, packed, floor, evicted = message
        owner = self._owner
        slots = slots_of_bitmap(bitmap).tolist()
        differing = owner.copies.digests.differing(slots, packed)
        # Where one of both has evicted something, a difference need not mean anything.
        theirs = set(slots_of_bitmap(evicted).tolist())
        unexplained = [slot for slot in differing if slot not in theirs and not owner.copies.evicted[slot]]
        doubts = owner.copies.doubts
        if (arrival := owner.transfers.arrivals.get(tag)) is not None:
            owner.copies.knows(set(slots).difference(differing), sender, floor, owner.enough)
            owner.transfers.checked(arrival, differing, unexplained)
            if arrival.is_done:  # what still differs has come, too, but for what was evicted or written meanwhile
                owner.copies.knows([slot for slot in arrival.slots if slot in doubts], sender, floor, owner.enough)
        elif tag == _VERIFY:
            self._comparison.open.discard(sender)
            self._comparison.differences += [[slot, sender] for slot in unexplained]
            self._comparison.evicted += len(differing) - len(unexplained)
            owner.tell_listeners()
        elif tag == _COMPARE:
            is_latest = self._asked.get(sender) == (bitmap, self._due_s.get(sender))
            if is_latest:  # else something has called for it since
                # While something is in doubt here, only more comparisons can settle it.
                self._due_s[sender] = owner.now_s + (RETRY_S if doubts else INTERVAL_S)
            stream = owner.streams.get(sender)
            owner.copies.knows(doubts.keys() & set(slots).difference(differing), sender, floor, owner.enough)
            has_gap = (stream is not None and stream.has_gap) or sender in self._thorough
            # The answer may be older than the topology: of slots that are held in common no more, nothing would come.
            shared = set(owner.neighbours.compared.get(sender, ()))
            wanted = [slot for slot in differing
                      if slot in shared and (has_gap or slot in doubts or slot in unexplained)]
            if wanted:
                owner.transfers.mend(sender, wanted)
            elif stream is not None:
                stream.has_gap = False
            if is_latest and not wanted:
                self._thorough.discard(sender)
