"""Several pure shard cores in one test, their messages carried by hand. No clock but the test's.

What does not live here: loss, delay and faults (`raycache.testing.simulation`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgpack
import numpy as np

from raycache.config import ClusterConfig
from raycache.replication.messages import pack, unpack
from raycache.resp.parse import giving
from raycache.ring.slots import SLOT_COUNT, bitmap_of
from raycache.ring.topology import ShardInfo, Topology, Transfer
from raycache.shard.commands.command import Steps
from raycache.shard.core import ShardCore
from raycache.shard.session import Session
from raycache.shard.wait import Wait
from raycache.store import Store, make_policy

STEP_S = 0.01


class PureCluster:
    """Shards s0, s1, ... with a slot table that the test chooses."""

    def __init__(self, shards: int, *, capacity_bytes: int = 8_000_000, **settings: Any) -> None:
        self.config = ClusterConfig(name="c", shards=shards, **settings)
        self.now_s = 100.0
        self.epoch = 0
        self.cut: set[frozenset[str]] = set()
        self.deaf: set[str] = set()
        """Shards that get nothing, though the connections stay."""
        self.pulls: dict[str, int] = {}
        """How many questions for keys have reached each shard."""
        self.capacity_bytes = capacity_bytes
        self.cores: dict[str, ShardCore] = {}
        self.sessions: dict[str, Session] = {}
        self.incarnations: dict[str, int] = {}
        for index in range(shards):
            self.start(f"s{index}")

    @property
    def now_ms(self) -> int:
        return 1_700_000_000_000 + int(self.now_s * 1000)

    def start(self, shard_id: str) -> None:
        """Start a shard, empty."""
        incarnation = self.incarnations[shard_id] = max(self.now_ms, self.incarnations.get(shard_id, 0) + 1)
        store = Store(capacity_bytes=self.capacity_bytes, policy=make_policy("lru", seed=1), segments=4)
        core = ShardCore(store=store, shard_id=shard_id, secret="s", started_ms=incarnation)
        core.replicate(self.config, self.now_s)
        self.cores[shard_id] = core
        self.sessions[shard_id] = core.open_session("test:1")
        if self.epoch:
            core.set_topology(self.topology)

    def publish(self, owners: Any, transfers: Iterable[tuple[str, str, Iterable[int]]] = ()) -> None:
        """Give every shard the next topology: `owners` as rows of shard indexes, for all slots or one row for each."""
        self.epoch += 1
        table = np.broadcast_to(np.array(owners, dtype=np.int16), (SLOT_COUNT, np.array(owners).shape[-1]))
        shards = tuple(ShardInfo(id=name, host="h", port=1 + int(name[1:]), node_id="n", machine=name, zone="",
                                 state="up", weight=1, incarnation=number)
                       for name, number in self.incarnations.items())
        moves = tuple(Transfer(f"t{self.epoch}-{number}", giver, receiver, bitmap_of(list(slots)))
                      for number, (giver, receiver, slots) in enumerate(transfers))
        self.topology = Topology("c", self.epoch, shards, table, transfers=moves,
                                 replication=self.config.replication)
        for core in self.cores.values():
            core.set_topology(self.topology)

    def deliver(self) -> int:
        """Carry every message that waits; return how many."""
        count = 0
        for sender, core in list(self.cores.items()):
            for peer, messages in core.replicator.take_outgoing():
                count += self._carry(sender, peer, messages)
        return count

    def _carry(self, sender: str, peer: str, messages: list[Any]) -> int:
        if frozenset((sender, peer)) in self.cut or peer not in self.cores:
            self.cores[sender].replicator.peer_lost(peer)
            return 0
        if peer in self.deaf:
            return 0
        self.pulls[peer] = self.pulls.get(peer, 0) + sum(message[0] == "pull" for message in messages)
        there = self.cores[peer]
        there.now_ms = self.now_ms
        replies = there.replicator.receive(sender, unpack(pack(messages)), self.now_s)
        if replies:
            self.cores[sender].now_ms = self.now_ms
            answers = self.cores[sender].replicator.receive(peer, unpack(pack(replies)), self.now_s)
            if answers:
                self._carry(sender, peer, answers)
        return len(messages)

    def step(self, seconds: float = STEP_S) -> None:
        """Let time pass, in small steps, carrying messages."""
        for _ in range(max(1, round(seconds / STEP_S))):
            self.now_s += STEP_S
            for core in self.cores.values():
                core.step(self.now_ms)
                core.replicator.step(self.now_s)
            while self.deliver():
                pass

    def begin(self, shard_id: str, *words: bytes | str | int) -> bytes | Steps:
        """Begin a command on a shard; return its reply, or the steps that are left."""
        core = self.cores[shard_id]
        core.now_ms, core.replicator.now_s = self.now_ms, self.now_s
        if core.at_turn is not None:
            core.at_turn(self.now_s)
        argv = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        out: list[bytes] = []
        reply = core.execute_many(self.sessions[shard_id], giving([argv]), out)
        return b"".join(out) if isinstance(reply, bool) else reply

    def run(self, shard_id: str, *words: bytes | str | int, seconds: float = 5.0) -> bytes:
        """Run a command on a shard and return its reply; time passes while it waits."""
        reply = self.begin(shard_id, *words)
        return reply if isinstance(reply, bytes) else self.end(shard_id, reply, seconds)

    def end(self, shard_id: str, steps: Steps, seconds: float = 5.0) -> bytes:
        """Go on with a command that was begun and return its reply; time passes while it waits."""
        core = self.cores[shard_id]
        until_s = self.now_s + seconds
        while True:
            try:
                wait = next(steps)
            except StopIteration as stop:
                return bytes(stop.value)
            while isinstance(wait, Wait) and not wait.is_done and self.now_s < wait.deadline_s:
                assert self.now_s < until_s, "it waits for ever"
                self.step()
            core.now_ms = self.now_ms


def get(cluster: PureCluster, shard_id: str, key: str) -> bytes | None:
    """Return what a shard has under a key, whether or not it would serve it."""
    entry = cluster.cores[shard_id].store.peek(key.encode(), cluster.now_ms)
    return entry.value if entry is not None else None


def wishes(**options: object) -> bytes:
    """Return the options of RC.READ and RC.WRITE."""
    return msgpack.packb(options)
