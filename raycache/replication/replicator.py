"""One shard's part in replication: what goes out, what comes in, and what time brings.

What lives here: streams and heartbeats, leases, and which part answers which message. The parts stand beside this:
`copies` (journal and merging), `transfers`, `repairs`, `quorum`, `figures`. What does not: sockets
(`raycache.shard.peers`), commands that wait (`raycache.shard.careful`). Belongs to the shard's loop.

How the shell drives it: `set_topology` on every new one; `receive` with what a peer or the router sent; the result
goes back to the sender; `step` every few milliseconds while `is_busy`, else ten times a second. After each of these,
and after every turn of commands, it sends what `take_outgoing` gives; it says `peer_lost` when a connection to a peer
broke. `now_s` is monotonic, `now_ms` unix time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from raycache.config import ClusterConfig
from raycache.replication import figures
from raycache.replication.acks import Acks
from raycache.replication.arrival import Arrival
from raycache.replication.copies import Copies, Host
from raycache.replication.lease import ROUTER, lease_until
from raycache.replication.messages import Message
from raycache.replication.mutation import CLEAR, Mutation, size_of
from raycache.replication.neighbours import Boxes, Neighbours, inherited, neighbours_of
from raycache.replication.outbox import Outbox
from raycache.replication.quorum import Question
from raycache.replication.repairs import Repairs
from raycache.replication.streams import Contact, Stream
from raycache.replication.transfers import Transfers
from raycache.replication.version import version_shard
from raycache.ring.slots import SLOT_COUNT, slot_of
from raycache.ring.topology import Topology

HEARTBEAT_S: Final = 0.1
"""How often every peer is sent something; an eighth of the lease."""
IN_FLIGHT: Final = 8
"""Batches sent ahead of their acknowledgement: a peer that stalls fills its outbox and not a socket."""
COMPARE_S: Final = 0.2
"""After a change of who leads a slot, copies are compared with the new leader's: not before it has taken over."""
FORGET_QUESTIONS_S: Final = 0.25
"""How often questions that nobody waits for any more are forgotten; those that are answered go at once."""
REACHABLE_S: Final = 0.5
"""A peer that was silent for longer is not counted on."""

_Handler = Callable[[str, Message], Message | None]


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
        self.neighbours = Neighbours()
        self.inherited: set[str] = set()
        """Shards whose slots this one leads without having got them from them: their last writes may not be here."""
        self.transfers = Transfers(self)
        self.repairs = Repairs(self)
        self.granted_term = 0
        self._incarnations: dict[str, int] = {}
        """Which process of each shard the topology means."""
        self.lease_until_s = float("-inf") if self.has_leases else float("inf")
        self.on_change: Callable[[], None] = lambda: None
        """Called when it may have changed which slots are served, and how."""
        self.on_topology: Callable[[bytes], None] = lambda data: None
        """Called with a newer topology that somebody sent."""
        self.on_access: Callable[[bytes], bytes | None] = lambda packed: None
        """Takes a list of users; returns this shard's own if that says more."""
        self.complaints: dict[str, int] = {}
        """Shard -> when clients have last said, in Unix ms, that it does not answer them."""
        self.access_digest: Callable[[], bytes] = bytes
        """By which the router sees whether this shard's list of users is another one."""
        self.listeners: dict[Callable[[], None], None] = {}
        """Called when streams have come further, here or at a peer, once for all messages that came together; a set in
        the order of arrival, so that a simulation can be repeated."""
        self.acks = Acks(self._is_whole)
        """Writes that wait for other copies."""
        self._has_news = False
        self._mail: dict[str, list[Message]] = {}
        self._asides: list[Message] = []
        """What goes back with the answers to the messages that are taken in: there may be no other way there."""
        self._questions: dict[int, Question] = {}
        self._question_id = 0
        self._questions_due_s = now_s
        self._last_offsets: dict[str, int] = {}
        self._router_heard_s = float("-inf")
        self.router_pinged_s = float("-inf")
        """When a router that may act has asked last; one whose term is lower than the granted one may not."""
        self._sweep_cursor = -1
        transfers, repairs = self.transfers, self.repairs
        self._handlers: dict[str, _Handler] = {
            "batch": self._on_batch, "ack": self._on_ack, "ping": self._on_ping,
            "topology": self._on_topology, "topology?": self._on_topology_question,
            "access": self._on_access,
            "pull": self._on_pull, "pulled": self._on_pulled,
            "start": transfers.on_start, "started": transfers.on_started,
            "more": transfers.on_more, "some": transfers.on_some,
            "digests": repairs.on_digests, "digested": repairs.on_digested,
        }
        self.copies.follows_primary = self.mode == "primary-replica"
        if not self.copies.follows_primary:
            self.copies.may_bring_older = self._may_bring_older
        if self.is_versioned:
            host.whole.set_journal(self.copies)

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
    def epoch(self) -> int:
        """The epoch of the topology that it holds."""
        return self.topology.epoch if self.topology is not None else 0

    @property
    def is_busy(self) -> bool:
        """Whether `step` should come soon again."""
        return bool(self.transfers.arrivals or self._sweep_cursor >= 0)

    def has_lease(self, now_s: float) -> bool:
        """Return whether this shard may serve the slots that it is primary of."""
        return now_s <= self.lease_until_s and not self.copies.is_stranger

    # Topology

    def set_topology(self, topology: Topology, now_s: float) -> None:
        """Take over a newer topology: who gets what, which slots arrive."""
        self.now_s = self.copies.now_s = now_s
        self.copies.clock.step(self.host.now_ms)
        if self.has_leases and self.topology is not None:
            self.inherited |= inherited(self.me, self.topology, topology)
        self.topology = topology
        copies = self.copies
        held, arriving = (np.frombuffer(bytes(marks), np.uint8) for marks in (copies.holds, copies.arriving))
        whole = bytes(SLOT_COUNT) if copies.is_stranger else (held & ~arriving).tobytes()
        ids = [shard.id for shard in topology.shards]
        self._incarnations = {shard.id: shard.incarnation for shard in topology.shards}
        self.copies.is_stranger = self.is_versioned and self._incarnations.get(
            self.me, self.incarnation) != self.incarnation
        before, led_before = self.neighbours.compared, self.neighbours.leads
        self.neighbours = neighbours_of(self.me, topology, self.mode, self._outbox)
        for peer, slots in self.neighbours.compared.items():
            if slots != before.get(peer):  # who led these before may have told that peer more than us
                self.repairs.soon(peer, now_s + COMPARE_S, is_thorough=True)
        if self.has_leases:
            led, leads = np.frombuffer(led_before, np.uint8), np.frombuffer(self.neighbours.leads, np.uint8)
            copies.lead_no_more(np.flatnonzero(led > leads).tolist())
            copies.lead(np.flatnonzero(leads > led).tolist())
        copies.holds[:] = self.neighbours.holds
        if self.is_versioned and self.mode != "primary-replica":
            self._tell_newcomers(copies.boxes, self.neighbours.boxes)
        copies.boxes[:] = self.neighbours.boxes
        if self.is_versioned:
            self._pass_on(topology, np.flatnonzero(held & ~np.frombuffer(self.neighbours.holds, np.uint8) & 1))
        for peer in (self.contacts.keys() | self.outboxes.keys()) - set(ids) - {ROUTER}:
            self.contacts.pop(peer, None)
            if (box := self.outboxes.pop(peer, None)) is not None:
                self._last_offsets[peer] = box.offset
            self.streams.pop(peer, None)
            self._mail.pop(peer, None)
        for peer in ids:
            if peer != self.me:
                self.contacts.setdefault(peer, Contact(now_s))
        self.transfers.set_topology(topology, now_s, whole)
        copies.settle_doubts(self.enough)
        self._renew_lease()
        self.on_change()

    def _tell_newcomers(self, before: list[Boxes], after: list[Boxes]) -> None:
        """Send new owners of slots what this shard, which stays one, wrote there last: whoever fills them may not have
        it, since this one may have been cut off."""
        waiting = {one[:2]: one for box in self.outboxes.values() for one in box.waiting() if one[2] != CLEAR}
        for mutation in waiting.values():
            slot = slot_of(mutation[0])
            for box in after[slot]:
                if box not in before[slot]:
                    box.add(mutation)

    def _pass_on(self, topology: Topology, lost: npt.NDArray[np.int64]) -> None:
        """Send the owners of slots that this shard has lost what it wrote there last, and somebody does not have:
        it may have been cut off when they became owners."""
        slots = set(lost.tolist())
        waiting = [(box.peer, one) for box in self.outboxes.values() for one in box.waiting()] if slots else []
        for told, mutation in waiting:
            if mutation[2] == CLEAR or (slot := slot_of(mutation[0])) not in slots:
                continue
            for owner in topology.owners_of(slot):
                if owner.id not in (told, self.me):
                    self._outbox(owner.id).add(mutation)

    def _outbox(self, peer: str) -> Outbox:
        box = self.outboxes.get(peer)
        if box is None:
            # Numbers go on where they ended, should the peer have been here before: it remembers them.
            box = self.outboxes[peer] = Outbox(peer, self.config.backlog_bytes, self._last_offsets.get(peer, 0))
        return box

    # Time

    def step(self, now_s: float) -> None:
        """Send heartbeats, go on with arrivals and repairs, forget what is old."""
        self.now_s = self.copies.now_s = now_s
        self.copies.clock.step(self.host.now_ms)
        self.copies.tombstones.step(now_s)
        if self.is_versioned:
            self._beat(now_s)
            self.repairs.step(now_s)
        self.transfers.step(now_s)
        if now_s >= self._questions_due_s:
            self._questions_due_s = now_s + FORGET_QUESTIONS_S
            self._questions = {number: one for number, one in self._questions.items() if now_s <= one.deadline_s}
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

    def beat(self, peer: str) -> None:
        """Send a heartbeat to `peer` at once, if it has not more than enough to answer."""
        contact = self.contacts.get(peer)
        if contact is not None:
            contact.sent_s = float("-inf")
            if self.is_versioned and contact.in_flight < IN_FLIGHT:
                self._send_batch(peer, contact)

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
        message: Message = ["batch", self.topology.epoch, self.incarnation, clock, first, batch, self.now_s]
        if batch and self.copies.led_until and max(knew := self._knew(batch)) >= 0:
            message.append(knew)
        self.post(peer, message)

    def _knew(self, batch: list[Mutation]) -> list[int]:
        """Return, for each write of this shard's to a slot that it leads no more, what it had of others'; else -1."""
        led_until, mine = self.copies.led_until, int(self.me[1:])
        return [led_until.get(slot_of(one[0]), -1) if one[2] >= 0 and version_shard(one[1]) == mine else -1
                for one in batch]

    def send_again(self, peer: str, mutation: Mutation) -> None:
        """Put into the stream to `peer` what others wrote, and it seems to lack."""
        box = self.outboxes.get(peer)
        if box is not None:
            box.add(mutation, size_of(mutation))

    def post(self, peer: str, message: Message) -> None:
        """Send `message` with the next of what goes out."""
        self._mail.setdefault(peer, []).append(message)

    def take_outgoing(self) -> list[tuple[str, list[Message]]]:
        """Return what is to be sent now, per peer."""
        if self.is_versioned and self.topology is not None:
            for peer, box in self.outboxes.items():
                contact = self.contacts.get(peer)
                while (contact is not None and box.has_fresh and contact.in_flight < IN_FLIGHT
                       and contact.is_connected and self.now_s - contact.refused_s >= HEARTBEAT_S):
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
        self.transfers.peer_found(peer, self.now_s)

    def is_reachable(self, peer: str) -> bool:
        """Return whether a peer can be counted on to answer."""
        contact = self.contacts.get(peer)
        return contact is not None and contact.is_connected and self.now_s - contact.heard_s <= REACHABLE_S

    def unheard_s(self) -> float:
        """Return how long ago the other owner was heard of last that has been silent for longest; 0.0 if there is none
        but those known to be down."""
        shards = self.topology.shards if self.topology is not None else ()
        down = {shard.id for shard in shards if shard.state == "down"}
        return max((self.now_s - contact.heard_s for peer, contact in self.contacts.items()
                    if peer in self.neighbours.shared and peer not in down), default=0.0)

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
        self._asides.clear()
        replies = []
        for message in messages:
            reply = self._handlers[message[0]](sender, message)
            if reply is not None:
                replies.append(reply)
        if self._has_news:
            self.tell_listeners()
        return replies + self._asides

    def _on_batch(self, sender: str, message: Message) -> Message | None:
        _, epoch, incarnation, clock, first, batch, sent_s, *more = message
        stream = self.streams.get(sender)
        is_named = incarnation == self._incarnations.get(sender)  # lower, where its clock was set back
        if stream is None or incarnation > stream.incarnation or (is_named and incarnation < stream.incarnation):
            stream = self.streams[sender] = Stream(incarnation, first - 1, has_gap=first > 1)
            self.repairs.soon(sender, self.now_s + 1.0)
        elif incarnation < stream.incarnation:
            return None  # an older process, still talking
        if epoch > self.epoch:
            self._asides.append(["topology?", self.epoch])
        if epoch != self.epoch and (first > stream.applied + 1 or not all(map(self._is_held, batch))):
            # Acknowledged, they would be nowhere: this shard does not know yet that it owns these slots, or owns them
            # no more, and the sender is to take up the newer topology first, and tell who does. Nor what was sent
            # behind such a batch: that would acknowledge it, too.
            return self._ack(stream, sent_s)
        last = first + len(batch) - 1
        if not stream.has_gap and (known := min(stream.applied - first + 1, len(batch))) > 0:
            # They were merged when they came first. What they wrote may have expired here since, by a clock that is
            # ahead, and what is older would then pass for news.
            first, batch, more = first + known, batch[known:], [knew[known:] for knew in more]
        is_behind = self.has_leases and epoch <= self.epoch
        merge: Callable[[Mutation], bool] = self.copies.merge_behind if is_behind else self.copies.merge
        if more and self.has_leases:
            for mutation, knew in zip(batch, more[0], strict=True):
                self.copies.merge_deposed(mutation, knew) if knew >= 0 else merge(mutation)
        else:
            self.copies.merge_each(batch, merge)
        if self.transfers.arrivals:
            rewritten = self.copies.rewritten
            for mutation in batch:
                rewritten[slot_of(mutation[0])] = 1
        self.copies.clock.observe(clock)
        stream.take(first, last, clock)
        stream.epoch = max(stream.epoch, epoch)
        self._has_news = True
        if stream.has_gap:
            self.repairs.soon(sender, self.now_s)
        return self._ack(stream, sent_s)

    def _is_held(self, mutation: Mutation) -> bool:
        return mutation[2] == CLEAR or bool(self.copies.holds[slot_of(mutation[0])])

    def _ack(self, stream: Stream, sent_s: float) -> Message:
        return ["ack", self.epoch, self.incarnation, self.copies.clock.latest, stream.applied, sent_s,
                stream.incarnation, stream.has_gap]

    def _on_ack(self, sender: str, message: Message) -> None:
        _, epoch, _, clock, applied, sent_s, incarnation, has_gap = message
        contact, box = self.contacts.get(sender), self.outboxes.get(sender)
        if contact is None or incarnation != self.incarnation:
            return
        contact.in_flight = max(0, contact.in_flight - 1)
        contact.answered_s = max(contact.answered_s, sent_s)
        self.copies.clock.observe(clock)
        if box is not None:
            box.acknowledge(applied)
            if not has_gap:
                box.is_whole()
            if contact.in_flight == 0 and box.rewind():  # refused: it has to learn something first
                contact.refused_s = self.now_s
        self._has_news = True
        if epoch > self.epoch:
            self._asides.append(["topology?", self.epoch])
        self._renew_lease()

    def _may_bring_older(self, slot: int, version: int) -> bool:
        for box in self.copies.boxes[slot]:
            stream = self.streams.get(box.peer)
            if stream is None or stream.has_gap or stream.clock < version:
                return True
        return False

    def tell_listeners(self) -> None:
        """Say that a stream has come further, or an answer has come."""
        self._has_news = False
        self.acks.step(self.now_s)
        for listener in list(self.listeners):
            listener()

    def _is_whole(self, peer: str) -> bool:
        return not self.is_filling(peer) and self.is_connected(peer)

    def _on_topology_question(self, sender: str, message: Message) -> Message | None:
        if self.topology is None or self.topology.epoch <= message[1]:
            return None
        return ["topology", self.topology.to_bytes()]

    def _on_topology(self, sender: str, message: Message) -> Message | None:
        self.on_topology(message[1])
        return ["topology!", self.topology.epoch if self.topology is not None else 0] if sender == ROUTER else None

    def _on_access(self, sender: str, message: Message) -> Message | None:
        known = self.on_access(message[1])
        return ["access", known] if known is not None and sender == ROUTER else None

    def _on_ping(self, sender: str, message: Message) -> Message:
        _, term, _, heard_s = message
        if term >= self.granted_term:
            self.granted_term, self.router_pinged_s = term, self.now_s
            self._router_heard_s = max(self._router_heard_s, min(heard_s, self.now_s))
            self._renew_lease()
        return ["pong", self.granted_term, self.report()]

    def _on_pull(self, sender: str, message: Message) -> Message:
        _, number, keys = message
        floor_of, mutation_of = self.copies.floor_of, self.copies.mutation_of
        return ["pulled", number, [[mutation_of(key), floor_of(slot_of(key))] for key in keys]]

    def _on_pulled(self, sender: str, message: Message) -> None:
        question = self._questions.get(message[1])
        if question is not None:
            question.answered(sender, [(tuple(one[0]) if one[0] is not None else None, one[1]) for one in message[2]])
            if question.is_complete:
                self._questions.pop(message[1], None)

    def ask(self, question: Question) -> None:
        """Send a question for keys to those whom it asks."""
        self._question_id += 1
        self._questions[self._question_id] = question
        for peer, keys in question.asked.items():
            self.post(peer, ["pull", self._question_id, keys])

    # Questions

    def is_filling(self, peer: str) -> bool:
        """Return whether slots are on their way to a peer, so that it does not have all that others have."""
        topology = self.topology
        return topology is not None and any(one.receiver == peer for one in topology.transfers)

    def others(self, slot: int) -> list[str]:
        """Return the other owners of `slot`."""
        return [box.peer for box in self.copies.boxes[slot]]

    def doubt(self, giver: str, slots: list[int]) -> None:
        """Take note that `giver` fills `slots` and stays an owner: what a copy that is gone had with another one, that
        one alone may have. Whoever is filled by the copy that leaves has what that one had."""
        stays: dict[Boxes, bool] = {}  # most slots share their owners with others
        for slot in slots:
            boxes = self.copies.boxes[slot]
            if boxes not in stays:
                stays[boxes] = any(box.peer == giver for box in boxes)
            if stays[boxes]:
                self.copies.doubts.setdefault(slot, {})
        for peer in self.neighbours.compared:  # the transfer may be given up, and then nothing else would settle it
            self.repairs.soon(peer, self.now_s + COMPARE_S)

    def enough(self, slot: int) -> int:
        """Return all of how many other owners hold, together, every write that a quorum has acknowledged, though this
        shard's part in it is lost."""
        others = len(self.copies.boxes[slot])
        return min(others, others - self.config.quorums[1] + 2)

    def token(self) -> tuple[int, int]:
        """Return this shard's index and the version that it gave out last: whatever it wrote so far is at most that."""
        return int(self.me[1:]), self.copies.clock.given

    def names_strangers(self, token: dict[int, int]) -> bool:
        """Return whether `token` speaks of a shard that this one does not know: it may lead slots of which this one
        thinks to be a replica still. Only a primary can answer then; where there is none, nobody could."""
        return self.mode == "primary-replica" and any(
            (peer := f"s{index}") not in self.contacts and peer != self.me for index in token)

    def is_behind(self, token: dict[int, int]) -> bool:
        """Return whether something that `token` speaks of may not have reached this shard."""
        # Where any owner takes writes, one that is an owner no more may not know it, and writes for others to take.
        takes_any = self.mode == "multi-primary"
        peers = self.contacts if takes_any else self.neighbours.shared
        for index, version in token.items():
            peer = f"s{index}"
            if peer in peers:
                stream = self.streams.get(peer)
                if stream is None or stream.clock < version or stream.has_gap:
                    return True
                if takes_any and stream.epoch < self.epoch:
                    return True
        return False

    def arrival_of(self, slot: int) -> Arrival | None:
        """Return the transfer that brings `slot` here, if one is under way."""
        return self.transfers.arrival_of(slot)

    def report(self) -> dict[str, Any]:
        """Return what the router needs to know: see `figures.report`."""
        return figures.report(self)

    def loss_window(self) -> dict[str, Any]:
        """Return what this shard's death could lose: see `figures.loss_window`."""
        return figures.loss_window(self)

    def stats(self) -> dict[str, Any]:
        """Return the figures of replication, of types that msgpack knows."""
        return figures.statistics(self)

    def _sweep(self) -> None:
        """Go on removing what was cleared."""
        if self.copies.must_sweep:
            self.copies.must_sweep, self._sweep_cursor = False, 0
        if self._sweep_cursor >= 0:
            cursor, keys = self.host.whole.scan(self._sweep_cursor, 1000, self.host.now_ms)
            self.copies.sweep(keys)
            self._sweep_cursor = cursor or -1
