"""What the real parts of a large cluster take on this machine: tables, topologies, pushes, heartbeats.

What lives here: one measurement a function, each of the real code with one shard on each of so many nodes. What does
not: failover (`failover`), and the machine that has 1,000 nodes: what each node does for itself is measured once.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Final

from raycache.client.routes import Routes
from raycache.config import ClusterConfig
from raycache.replication.messages import pack, unpack
from raycache.replication.replicator import HEARTBEAT_S
from raycache.ring.placement import PlacedShard, build_table
from raycache.ring.topology import GatewayInfo, ShardInfo, Topology
from raycache.shard.core import ShardCore
from raycache.store import Store, make_policy

COPIES: Final = 2
NOW_MS: Final = 1_700_000_000_000
MEMORY_BYTES: Final = 1 << 30
_ROUNDS: Final = 5
_BEATS: Final = 20


def topology_of(nodes: int, *, epoch: int = 1, copies: int = COPIES) -> Topology:
    """Return the topology of a cluster with one shard and one gateway on each of `nodes` nodes."""
    table = build_table([PlacedShard(f"s{number}", _host(number)) for number in range(nodes)], copies=copies)
    shards = tuple(ShardInfo(f"s{number}", _host(number), 6410, f"{number:056x}", _host(number), "", "up", MEMORY_BYTES,
                             NOW_MS + number) for number in range(nodes))
    gateways = tuple(GatewayInfo(_host(number), 6400, f"{number:056x}") for number in range(nodes))
    return Topology("features", epoch, shards, table, gateways)


def _host(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def table_ms(nodes: int) -> float:
    """Return how long the router takes to deal all slots to `nodes` shards anew."""
    return timed_ms(lambda: topology_of(nodes))


def encode_ms(topology: Topology) -> float:
    """Return how long the router takes to write a topology down: once for all who get it."""
    return timed_ms(topology.to_bytes)


def shard_ms(nodes: int) -> float:
    """Return how long a shard takes to read a new topology and to work out what it serves."""
    core = _core("s0", 1)
    epochs = iter(range(1, 1000))
    data = {epoch: topology_of(nodes, epoch=epoch).to_bytes() for epoch in range(1, _ROUNDS + 2)}

    def adopt() -> None:
        if not core.set_topology(Topology.from_bytes(data[next(epochs)])):
            raise AssertionError("the shard did not take it")

    adopt()  # the first one makes everybody's records
    return timed_ms(adopt)


def client_ms(topology: Topology) -> float:
    """Return how long a handle takes to read a new topology and to make its table of it."""
    data = topology.to_bytes()
    return timed_ms(lambda: Routes(Topology.from_bytes(data)))


def push_ms(data: bytes, nodes: int) -> float:
    """Return how long the router's process takes to hand `data` to the kernel on `nodes` connections.

    The other ends are drained by threads of this process, as fast as loopback goes.
    """
    ends = [socket.socketpair() for _ in range(nodes)]
    frame = pack([["topology", data]])
    drains = [threading.Thread(target=_drain, args=([theirs for _, theirs in ends[part::4]], len(frame)), daemon=True)
              for part in range(4)]
    try:
        for drain in drains:
            drain.start()
        began_s = time.perf_counter()
        for ours, _ in ends:
            ours.sendall(frame)
        for drain in drains:
            drain.join()
        return (time.perf_counter() - began_s) * 1000
    finally:
        for pair in ends:
            for end in pair:
                end.close()


def _drain(ends: list[socket.socket], size: int) -> None:
    for end in ends:
        left = size
        while left:
            left -= len(end.recv(min(left, 1 << 20)))


def heartbeat_us(nodes: int) -> tuple[float, int]:
    """Return the CPU that a shard with copies spends on one peer and heartbeat, and on how many peers, in a second.

    That is: its own heartbeat made, packed, and its answer taken in; the peer's taken in and answered. Between two real
    shards' replicators, without the sockets.
    """
    mine, theirs = _core("s0", COPIES), _core("s1", COPIES)
    topology = topology_of(nodes)
    for core in (mine, theirs):
        core.set_topology(topology)
    ours, others = mine.replicator, theirs.replicator
    assert ours is not None
    assert others is not None
    for number in range(1, nodes):
        ours.peer_found(f"s{number}")
    others.peer_found("s0")
    spent_ns, now_s = 0, 1.0
    for _ in range(_BEATS):
        now_s += HEARTBEAT_S + 0.01
        others.step(now_s)
        from_peer = pack(dict(others.take_outgoing()).get("s0", []))
        began_ns = time.thread_time_ns()
        ours.step(now_s)
        sent = {peer: pack(messages) for peer, messages in ours.take_outgoing()}
        spent_ns += time.thread_time_ns() - began_ns
        answer = pack(others.receive("s0", unpack(sent["s1"]), now_s))
        began_ns = time.thread_time_ns()
        for number in range(1, nodes):
            peer = f"s{number}"
            ours.receive(peer, unpack(answer), now_s)
            pack(ours.receive(peer, unpack(from_peer), now_s))
        spent_ns += time.thread_time_ns() - began_ns
    peers = len(sent)
    return spent_ns / 1000 / _BEATS / peers, peers


def _core(shard_id: str, copies: int) -> ShardCore:
    config = ClusterConfig(name="features", shards=max(copies, 2), copies=copies, memory_per_shard_bytes=MEMORY_BYTES)
    store = Store(capacity_bytes=1 << 20, policy=make_policy("lru"))
    core = ShardCore(store=store, shard_id=shard_id, started_ms=NOW_MS + int(shard_id[1:]))
    core.now_ms = NOW_MS
    core.replicate(config, 0.0)
    return core


def timed_ms(work: Callable[[], object]) -> float:
    """Return the median of the milliseconds that `work` takes."""
    spent = []
    for _ in range(_ROUNDS):
        began_s = time.perf_counter()
        work()
        spent.append((time.perf_counter() - began_s) * 1000)
    return median(spent)
