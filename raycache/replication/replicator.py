"""One shard's part in replication: what goes out, what comes in, and what time brings.

What lives here: the messages and their order. The parts stand beside this: `copies` (journal and merging), `outbox`,
`streams`, `arrival` and `giving` (transfers), `lease`, `quorum`. What does not: sockets (`raycache.shard.peers`),
commands that wait (`raycache.shard.careful`). Belongs to the shard's loop.

How the shell drives it: `set_topology` on every new one; `receive` with what a peer or the router sent; the result
goes back to the sender; `step` every few milliseconds while `is_busy`, else ten times a second. After each of these,
and after every turn of commands, it sends what `take_outgoing` gives; it says `peer_lost` when a connection to a peer
broke. `now_s` is monotonic, `now_ms` unix time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from raycache.config import ClusterConfig
from raycache.replication.arrival import Arrival
from raycache.replication.copies import Copies, Host
from raycache.replication.giving import checksum, give
from raycache.replication.lease import ROUTER, lease_until
from raycache.replication.messages import Message
from raycache.replication.outbox import Outbox
from raycache.replication.quorum import Question
from raycache.replication.streams import Contact, Stream
from raycache.ring.slots import SLOT_COUNT, bitmap_of, slot_of, slots_of_bitmap
from raycache.ring.topology import Topology

HEARTBEAT_S: Final = 0.1
"""How often every peer is sent something; an eighth of the lease."""
IN_FLIGHT: Final = 8
"""Batches sent ahead of their acknowledgement: a peer that stalls fills its outbox and not a socket."""
REPAIR_INTERVAL_S: Final = 30.0
"""How often copies are compared when nothing calls for it: comparing costs one message of 128 KiB a pair."""
REACHABLE_S: Final = 0.5
"""A peer that was silent for longer is not counted on."""

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


_Handler = Callable[["Replicator", str, Message], Message | None]


class Replicator:
    """See the module's text for how to drive it."""

    def __init__(self, host: Host, shard_id: str, config: ClusterConfig, incarnation: int, now_s: float) -> None:
        self.host = host
        self.me = shard_id
        self.mode = config.replication
        self.config = config
        self.incarnation = incarnation
        self.is_versioned = config.copies > 1
        self.copies = Copies(host, int(shard_id[1:]), is_versioned=self.is_versioned,
                             tombstone_ttl_s=config.tombstone_ttl_s)
        self.topology: Topology | None = None
        self.now_s = now_s
        self.outboxes: dict[str, Outbox] = {}
        self.streams: dict[str, Stream] = {}
        self.contacts: dict[str, Contact] = {}
        self.arrivals: dict[str, Arrival] = {}
        self.granted_term = 0
        self.lease_until_s = float("-inf") if self.has_leases else float("inf")
        self.transfer_misses = self.repaired = 0
        self.on_change: Callable[[], None] = lambda: None
        """Called when it may have changed which slots are served, and how."""
        self.on_topology: Callable[[bytes], None] = lambda data: None
        """Called with a newer topology that somebody sent."""
        self.listeners: set[Callable[[], None]] = set()
        """Called whenever a stream has come further, here or at a peer."""
        self._mail: dict[str, list[Message]] = {}
        self._questions: dict[int, Question] = {}
        self._question_id = 0
        self._given: dict[str, list[int]] = {}
        self._router_heard_s = 0.0
        self._repair_due_s: dict[str, float] = {}
        self._sweep_cursor = -1
        self._comparison = Comparison(set())
        self._peers: dict[str, list[int]] = {}
        self._pulls_from: dict[str, list[int]] = {}
        self.copies.follows_primary = self.mode == "primary-replica"
        if self.is_versioned:
            host.store.set_journal(self.copies)

    @property
    def has_leases(self) -> bool:
        """Whether a primary must prove that it is not cut off. With one copy nobody could take over."""
        return self.is_versioned and self.mode == "primary-replica"

    @property
    def is_plain(self) -> bool:
        """Whether slots that are wholly here may be served without a question to anybody."""
        return not self.is_versioned or (self.mode != "quorum" and self.has_lease(self.now_s))

    def is_connected(self, peer: str) -> bool:
        """Return whether there is, as far as is known, a connection to a peer."""
        contact = self.contacts.get(peer)
        return contact is not None and contact.is_connected

    @property
    def is_busy(self) -> bool:
        """Whether `step` should come soon again."""
        return bool(self.arrivals or self._questions or self._sweep_cursor >= 0)

    def has_lease(self, now_s: float) -> bool:
        """Return whether this shard may serve the slots that it is primary of."""
        return now_s <= self.lease_until_s

    # Topology

    def set_topology(self, topology: Topology, now_s: float) -> None:
        """Take over a newer topology: who gets what, which slots arrive."""
        self.now_s = self.copies.now_s = now_s
        self.topology = topology
        ids = [shard.id for shard in topology.shards]
        self._set_boxes(topology, ids)
        for peer in (self.contacts.keys() | self.outboxes.keys()) - set(ids) - {ROUTER}:
            self.contacts.pop(peer, None)
            self.outboxes.pop(peer, None)
            self.streams.pop(peer, None)
            self._mail.pop(peer, None)
        for peer in ids:
            if peer != self.me:
                self.contacts.setdefault(peer, Contact(now_s))
        self._set_arrivals(topology, now_s)
        self._renew_lease()
        self.on_change()

    def _set_boxes(self, topology: Topology, ids: list[str]) -> None:
        mine = ids.index(self.me) if self.me in ids else -2
        owners = topology.owners
        is_owner = (owners == mine).any(axis=1)
        self.copies.holds[:] = is_owner.astype(np.uint8).tobytes()
        self._peers, self._pulls_from = {}, {}
        if not self.is_versioned:
            return
        is_writer = owners[:, 0] == mine if self.mode == "primary-replica" else is_owner
        # Slots with the same owners share a number: sorting those is six times as fast as sorting rows.
        numbers = np.zeros(SLOT_COUNT, dtype=np.int64)
        for column in owners.T.astype(np.int64):
            numbers = numbers * (len(ids) + 1) + column + 1
        _, firsts, inverse = np.unique(np.where(is_owner, numbers, 0), return_index=True, return_inverse=True)
        choices = np.empty(len(firsts) + 1, dtype=object)
        choices[-1] = ()
        for number, first in enumerate(firsts.tolist()):
            row = owners[first].tolist() if is_owner[first] else []
            peers = [ids[index] for index in row if index not in (-1, mine)]
            choices[number] = tuple(self._outbox(peer) for peer in peers)
            slots = np.flatnonzero(inverse == number).tolist() if peers else []
            for peer in peers:
                self._peers.setdefault(peer, []).extend(slots)
            if row and row[0] not in (-1, mine):
                self._pulls_from.setdefault(ids[row[0]], []).extend(slots)
        self.copies.boxes[:] = choices[np.where(is_writer, inverse, -1)].tolist()
        for slots in [*self._peers.values(), *self._pulls_from.values()]:
            slots.sort()
        if self.mode != "primary-replica":
            self._pulls_from = self._peers

    def _outbox(self, peer: str) -> Outbox:
        box = self.outboxes.get(peer)
        if box is None:
            box = self.outboxes[peer] = Outbox(peer, self.config.backlog_bytes)
        return box

    def _set_arrivals(self, topology: Topology, now_s: float) -> None:
        wanted = {one.id: one for one in topology.transfers if one.receiver == self.me}
        for arrival_id in [known for known, one in self.arrivals.items() if not one.is_repair and known not in wanted]:
            self.arrivals.pop(arrival_id).finish(now_s)
        for arrival_id, one in wanted.items():
            if arrival_id not in self.arrivals:
                self.arrivals[arrival_id] = Arrival(arrival_id, one.giver, slots_of_bitmap(one.slots).tolist(), now_s)
        given = {one.id for one in topology.transfers if one.giver == self.me}
        self._given = {name: check for name, check in self._given.items() if name in given}
        self._mark_arriving()

    def _mark_arriving(self) -> None:
        arriving = np.zeros(SLOT_COUNT, dtype=np.uint8)
        for arrival in self.arrivals.values():
            if not arrival.is_done and not arrival.is_repair:
                arriving[arrival.slots] = 1
        self.copies.arriving[:] = arriving.tobytes()
        if not self.is_versioned:
            self.host.store.set_journal(self.copies if arriving.any() else None)
            if not arriving.any():
                self.copies.tombstones.clear()

    def arrival_of(self, slot: int) -> Arrival | None:
        """Return the transfer that brings `slot` here, if one is under way."""
        if not self.copies.arriving[slot]:
            return None
        return next((one for one in self.arrivals.values()
                     if one.member[slot] and not one.is_done and not one.is_repair), None)

    # Time

    def step(self, now_s: float) -> None:
        """Send heartbeats, go on with arrivals and repairs, forget what is old."""
        self.now_s = self.copies.now_s = now_s
        self.copies.tombstones.step(now_s)
        if self.is_versioned:
            self._beat(now_s)
            self._repair(now_s)
        for arrival in list(self.arrivals.values()):
            question = arrival.step(now_s, lambda arrival=arrival: self._start_of(arrival))  # type: ignore[misc]
            if question is not None:
                self._post(arrival.giver, question)
            if arrival.state == "pruning":
                self._prune(arrival)
        for number in [number for number, one in self._questions.items() if now_s > one.deadline_s]:
            del self._questions[number]
        self._sweep()
        self._renew_lease()

    def _beat(self, now_s: float) -> None:
        for peer, contact in self.contacts.items():
            if peer != ROUTER and now_s - contact.sent_s >= HEARTBEAT_S and contact.in_flight < IN_FLIGHT:
                self._send_batch(peer, contact)
            if now_s - contact.sent_s >= 1.0:
                contact.in_flight = 0  # the answer is not coming any more
                if (box := self.outboxes.get(peer)) is not None:
                    box.rewind()

    def _send_batch(self, peer: str, contact: Contact) -> None:
        box = self.outboxes.get(peer)
        first, batch = (1, []) if box is None else box.take()
        clock = self.copies.clock.latest
        if box is not None:
            box.mark(self.now_s)
            if box.has_fresh and batch:  # it does not have all yet
                clock = batch[-1][1]
        assert self.topology is not None
        contact.sent_s = self.now_s
        contact.in_flight += 1
        self._post(peer, ["batch", self.topology.epoch, self.incarnation, clock, first, batch, self.now_s])

    def _post(self, peer: str, message: Message) -> None:
        self._mail.setdefault(peer, []).append(message)

    def _start_of(self, arrival: Arrival) -> Message:
        assert self.topology is not None
        return ["start", arrival.id, self.topology.epoch, self.topology.to_bytes(), bitmap_of(arrival.slots)]

    def take_outgoing(self) -> list[tuple[str, list[Message]]]:
        """Return what is to be sent now, per peer."""
        if self.is_versioned and self.topology is not None:
            for peer, box in self.outboxes.items():
                contact = self.contacts.get(peer)
                while contact is not None and box.has_fresh and contact.in_flight < IN_FLIGHT and contact.is_connected:
                    self._send_batch(peer, contact)
        if not self._mail:
            return []
        mail, self._mail = self._mail, {}
        return list(mail.items())

    def peer_lost(self, peer: str) -> None:
        """Take in that the connection to a peer broke: what it has not acknowledged goes again."""
        contact = self.contacts.get(peer)
        if contact is not None:
            contact.in_flight, contact.is_connected = 0, False
        box = self.outboxes.get(peer)
        if box is not None:
            box.rewind()
        self._mail.pop(peer, None)
        for question in self._questions.values():
            question.gone(peer)

    def peer_found(self, peer: str) -> None:
        """Take in that there is a connection to a peer (again)."""
        contact = self.contacts.get(peer)
        if contact is not None:
            contact.is_connected, contact.in_flight = True, 0

    def is_reachable(self, peer: str) -> bool:
        """Return whether a peer can be counted on to answer."""
        contact = self.contacts.get(peer)
        return contact is not None and contact.is_connected and self.now_s - contact.heard_s <= REACHABLE_S

    def _renew_lease(self) -> None:
        if not self.has_leases or self.topology is None:
            return
        before = self.has_lease(self.now_s)
        voters = [shard.id for shard in self.topology.shards if shard.state != "down" or shard.id == self.me]
        answered = {name: contact.answered_s for name, contact in self.contacts.items()}
        answered[ROUTER] = self._router_heard_s
        self.lease_until_s = lease_until(self.me, voters, answered)
        if self.has_lease(self.now_s) is not before:
            self.on_change()

    # Messages

    def receive(self, sender: str, messages: list[Message], now_s: float) -> list[Message]:
        """Take in what `sender` says; return what goes back to it.

        Raises:
            ValueError, TypeError, KeyError, IndexError: a message is none that shards send.
        """
        self.now_s = self.copies.now_s = now_s
        contact = self.contacts.get(sender)
        if contact is not None:
            contact.heard_s = now_s
            contact.is_connected = True
        replies = []
        for message in messages:
            reply = _HANDLERS[message[0]](self, sender, message)
            if reply is not None:
                replies.append(reply)
        return replies

    def _on_batch(self, sender: str, message: Message) -> Message | None:
        _, epoch, incarnation, clock, first, batch, sent_s = message
        stream = self.streams.get(sender)
        if stream is None or incarnation > stream.incarnation:
            stream = self.streams[sender] = Stream(incarnation, first - 1)
            self._repair_due_s[sender] = self.now_s + 1.0
        elif incarnation < stream.incarnation:
            return None  # an older process, still talking
        merge = self.copies.merge
        for mutation in batch:
            merge(mutation)
        self.copies.clock.observe(clock)
        stream.take(first, len(batch), clock)
        self._tell_listeners()
        if stream.has_gap:
            self._repair_due_s[sender] = min(self._repair_due_s.get(sender, self.now_s), self.now_s)
        if self.topology is not None and epoch > self.topology.epoch:
            self._post(sender, ["topology?", self.topology.epoch])
        mine = self.topology.epoch if self.topology is not None else 0
        return ["ack", mine, self.incarnation, self.copies.clock.latest, stream.applied, sent_s, incarnation]

    def _on_ack(self, sender: str, message: Message) -> None:
        _, epoch, _, clock, applied, sent_s, incarnation = message
        contact, box = self.contacts.get(sender), self.outboxes.get(sender)
        if contact is None or incarnation != self.incarnation:
            return
        contact.in_flight = max(0, contact.in_flight - 1)
        contact.answered_s = max(contact.answered_s, sent_s)
        self.copies.clock.observe(clock)
        if box is not None:
            box.acknowledge(applied)
        self._tell_listeners()
        if self.topology is not None and epoch > self.topology.epoch:
            self._post(sender, ["topology?", self.topology.epoch])
        self._renew_lease()

    def _tell_listeners(self) -> None:
        for listener in list(self.listeners):
            listener()

    def _on_topology_question(self, sender: str, message: Message) -> Message | None:
        if self.topology is None or self.topology.epoch <= message[1]:
            return None
        return ["topology", self.topology.to_bytes()]

    def _on_topology(self, sender: str, message: Message) -> Message | None:
        self.on_topology(message[1])
        return ["topology!", self.topology.epoch if self.topology is not None else 0] if sender == ROUTER else None

    def _on_ping(self, sender: str, message: Message) -> Message:
        _, term, _, heard_s = message
        if term >= self.granted_term:
            self.granted_term = term
            self._router_heard_s = max(self._router_heard_s, min(heard_s, self.now_s))
            self._renew_lease()
        return ["pong", self.granted_term, self.report()]

    def _on_start(self, sender: str, message: Message) -> Message | None:
        _, arrival_id, epoch, data, _ = message
        if self.topology is None or self.topology.epoch < epoch:
            self.on_topology(data)
        if self.topology is None or self.topology.epoch < epoch:
            return None  # refused: made by a router that is no more
        self._given[arrival_id] = [0, 0]
        contact = self.contacts.get(sender)
        if contact is not None:
            contact.sent_s = float("-inf")  # a heartbeat at once: it says how far the stream has come
        return ["started", arrival_id, self.copies.clock.latest]

    def _on_started(self, sender: str, message: Message) -> None:
        arrival = self.arrivals.get(message[1])
        if arrival is not None:
            self.copies.clock.observe(message[2])
            arrival.started(message[2] if self.is_versioned and sender in self._peers else 0)
            self.on_change()

    def _on_more(self, sender: str, message: Message) -> Message:
        _, arrival_id, cursor, slots = message
        member = bytearray(SLOT_COUNT)
        for slot in slots_of_bitmap(slots).tolist():
            member[slot] = 1
        after, found = give(self.host.store, self.copies, member, cursor, self.host.now_ms)
        check = self._given.setdefault(arrival_id, [0, 0])
        if cursor == 0:
            check[:] = 0, 0
        count, total = checksum(found)
        check[:] = check[0] + count, check[1] ^ total
        return ["some", arrival_id, cursor, after, found, list(check)]

    def _on_some(self, sender: str, message: Message) -> None:
        _, arrival_id, cursor, after, found, check = message
        arrival = self.arrivals.get(arrival_id)
        if arrival is None or not arrival.expects(cursor):
            return
        mutations = [tuple(one) for one in found]
        if arrival.notes_keys:
            if cursor == 0:
                arrival.prune_version = self.copies.clock.latest
            arrival.seen.update([one[0] for one in mutations])
        merged = sum([self.copies.merge(mutation) for mutation in mutations])
        if arrival.is_repair:
            self.repaired += merged
        size = sum(len(one[0]) + len(one[4] or b"") for one in mutations)
        arrival.took(after, len(mutations), size, check, checksum(mutations))
        if arrival.state == "checking" and not self.is_versioned:
            self._arrived(arrival)

    def _on_digests(self, sender: str, message: Message) -> Message:
        slots = slots_of_bitmap(message[1]).tolist()
        copies = self.copies
        return ["digested", message[2], message[1], copies.digests.pack(slots),
                max((copies.floors[slot] for slot in slots), default=0),
                bitmap_of([slot for slot in slots if copies.evicted[slot]])]

    def _on_digested(self, sender: str, message: Message) -> None:
        _, arrival_id, bitmap, packed, floor, evicted = message
        slots = slots_of_bitmap(bitmap).tolist()
        differing = self.copies.digests.differing(slots, packed)
        # Where one of both has evicted something, a difference need not mean anything.
        unexplained = set(slots_of_bitmap(evicted).tolist())
        unexplained = {slot for slot in differing if slot not in unexplained and not self.copies.evicted[slot]}
        arrival = self.arrivals.get(arrival_id)
        if arrival is not None:
            self.copies.knows(set(slots).difference(differing), floor)
            arrival.checked(differing if arrival.is_first_pass else sorted(unexplained), self.now_s)
            if arrival.is_done:
                self._arrived(arrival)
        elif arrival_id == _VERIFY:
            self._comparison.open.discard(sender)
            self._comparison.differences += [[slot, sender] for slot in sorted(unexplained)]
            self._comparison.evicted += len(differing) - len(unexplained)
            self._tell_listeners()
        elif arrival_id == _COMPARE:
            stream, name = self.streams.get(sender), f"repair {sender}"
            wanted = differing if stream is not None and stream.has_gap else sorted(unexplained)
            if wanted and name not in self.arrivals:
                self.arrivals[name] = Arrival(name, sender, wanted, self.now_s, is_repair=True,
                                              is_authority=self.mode == "primary-replica")
            elif stream is not None and not wanted:
                stream.has_gap = False

    def _arrived(self, arrival: Arrival) -> None:
        arrival.finish(self.now_s)
        if arrival.is_repair:
            del self.arrivals[arrival.id]
            if (stream := self.streams.get(arrival.giver)) is not None:
                stream.has_gap = False
        self._mark_arriving()
        self.on_change()

    def _on_pull(self, sender: str, message: Message) -> Message:
        _, number, keys = message
        floors, mutation_of = self.copies.floors, self.copies.mutation_of
        return ["pulled", number, [[mutation_of(key), floors[slot_of(key)]] for key in keys]]

    def _on_pulled(self, sender: str, message: Message) -> None:
        question = self._questions.get(message[1])
        if question is not None:
            question.answered(sender, [(tuple(one[0]) if one[0] is not None else None, one[1]) for one in message[2]])

    def ask(self, question: Question) -> None:
        """Send a question for keys to those whom it asks."""
        self._question_id += 1
        self._questions[self._question_id] = question
        for peer, keys in question.asked.items():
            self._post(peer, ["pull", self._question_id, keys])

    # Repair and sweeping

    def _repair(self, now_s: float) -> None:
        """Compare slots with the peers that hold them too, when it is due; arrivals then bring what differs."""
        for peer, slots in self._pulls_from.items():
            due_s = self._repair_due_s.setdefault(peer, now_s + REPAIR_INTERVAL_S)
            if now_s >= due_s and self.is_reachable(peer) and f"repair {peer}" not in self.arrivals:
                self._repair_due_s[peer] = now_s + REPAIR_INTERVAL_S
                settled = [slot for slot in slots if not self.copies.arriving[slot]]
                if settled:
                    self._post(peer, ["digests", bitmap_of(settled), _COMPARE])

    def compare(self) -> Comparison:
        """Ask every peer for its digests of the slots held in common; the answers come into the result."""
        self._comparison = Comparison(set())
        for peer, slots in self._pulls_from.items():
            settled = [slot for slot in slots if not self.copies.arriving[slot]]
            self._comparison.open.add(peer)
            self._comparison.compared += len(settled)
            self._post(peer, ["digests", bitmap_of(settled), _VERIFY])
        return self._comparison

    def repair_now(self) -> None:
        """Compare with every peer at the next step."""
        for peer in self._pulls_from:
            self._repair_due_s[peer] = self.now_s

    def _prune(self, arrival: Arrival) -> None:
        """Remove some of what the primary does not have; it was evicted there, or deleted long ago."""
        store, copies, wanted = self.host.store, self.copies, set(arrival.rest)
        arrival.prune_cursor, keys = store.scan(arrival.prune_cursor, 1000, self.host.now_ms)
        for key in keys:
            if slot_of(key) in wanted and key not in arrival.seen:
                entry = store.peek(key, self.host.now_ms)
                if entry is not None and entry.version <= arrival.prune_version:
                    copies.drop(key)
        if arrival.prune_cursor == 0:
            self._arrived(arrival)

    def _sweep(self) -> None:
        if self.copies.must_sweep:
            self.copies.must_sweep, self._sweep_cursor = False, 0
        if self._sweep_cursor >= 0:
            cursor, keys = self.host.store.scan(self._sweep_cursor, 1000, self.host.now_ms)
            self.copies.sweep(keys)
            self._sweep_cursor = cursor or -1

    # Questions

    def others(self, slot: int) -> list[str]:
        """Return the other owners of `slot`."""
        return [box.peer for box in self.copies.boxes[slot]]

    def token(self) -> tuple[int, int]:
        """Return this shard's index and how far its clock has come: whatever it wrote so far is at most that."""
        return int(self.me[1:]), self.copies.clock.latest

    def is_behind(self, token: dict[int, int]) -> bool:
        """Return whether something that `token` speaks of may not have reached this shard."""
        for index, version in token.items():
            peer = f"s{index}"
            if peer in self._peers and peer != self.me:
                stream = self.streams.get(peer)
                if stream is None or stream.clock < version or stream.has_gap:
                    return True
        return False

    def report(self) -> dict[str, Any]:
        """Return what the router needs to know, and its own time, for the next ping to echo."""
        return {
            "now_s": self.now_s, "epoch": self.topology.epoch if self.topology is not None else 0,
            "incarnation": self.incarnation,
            "silent": {peer: self.now_s - contact.heard_s for peer, contact in self.contacts.items() if peer != ROUTER},
            "applied": {peer: stream.clock for peer, stream in self.streams.items()},
            "arrivals": {one.id: one.describe(self.now_s) for one in self.arrivals.values() if not one.is_repair},
            "lease_left_s": min(self.lease_until_s - self.now_s, 1e9), "loss": self.loss_window(),
        }

    def loss_window(self) -> dict[str, Any]:
        """Return what this shard acknowledged and some replica does not have yet: what its death could lose."""
        boxes = list(self.outboxes.values())
        return {"mutations": max((len(box) for box in boxes), default=0),
                "bytes": max((box.bytes for box in boxes), default=0),
                "age_s": max((box.age_s(self.now_s) for box in boxes), default=0.0)}

    def stats(self) -> dict[str, Any]:
        """Return the figures of replication, of types that msgpack knows."""
        copies = self.copies
        return {
            "mode": self.mode, "copies": self.config.copies, "has_lease": self.has_lease(self.now_s),
            "peers": dict(self._peer_stats()), "loss_window": self.loss_window(),
            "arrivals": {one.id: one.describe(self.now_s) for one in self.arrivals.values()},
            "tombstones": len(copies.tombstones), "merged": copies.merged, "ignored": copies.ignored,
            "repaired": self.repaired, "transfer_misses": self.transfer_misses,
        }

    def _peer_stats(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for peer, contact in self.contacts.items():
            box = self.outboxes.get(peer)
            if box is not None:
                yield peer, {
                    "offset": box.offset, "acked": box.acked, "lag_mutations": len(box), "lag_bytes": box.bytes,
                    "lag_s": box.age_s(self.now_s), "connected": contact.is_connected, "hints_dropped": box.dropped,
                }


_COMPARE: Final = ""
_VERIFY: Final = "?"
_HANDLERS: Final[dict[str, _Handler]] = {
    "batch": Replicator._on_batch, "ack": Replicator._on_ack, "ping": Replicator._on_ping,
    "topology": Replicator._on_topology, "topology?": Replicator._on_topology_question,
    "start": Replicator._on_start, "started": Replicator._on_started,
    "more": Replicator._on_more, "some": Replicator._on_some,
    "digests": Replicator._on_digests, "digested": Replicator._on_digested,
    "pull": Replicator._on_pull, "pulled": Replicator._on_pulled,
}
