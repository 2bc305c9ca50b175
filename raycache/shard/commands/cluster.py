"""CLUSTER: the topology in the words of Redis Cluster, for clients that route by themselves.

What lives here: CLUSTER and its subcommands that ask. Those that change a Redis Cluster by hand
(MEET, ADDSLOTS, FAILOVER, ...) do not exist: the router alone makes topologies.

Slots of a hash ring lie scattered, so these replies are long. They are built in steps, once per
topology and protocol, and kept by the core until the next topology.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from raycache.resp import encode
from raycache.resp.encode import EMPTY_ARRAY
from raycache.ring.slots import SLOT_COUNT, slot_of
from raycache.ring.topology import ShardInfo, Topology
from raycache.shard.commands.arguments import integer
from raycache.shard.commands.command import Command, Refusal, Reply, Steps, container, help_lines
from raycache.shard.commands.keyspace import encoded_in_steps

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

_RANGES_PER_STEP: Final = 512
_SCANNED_PER_STEP: Final = 500


def node_id(cluster: str, shard_id: str) -> bytes:
    """Return the 40 hex digits by which Redis Cluster clients know a shard; the same after every restart."""
    return hashlib.blake2b(f"{cluster}/{shard_id}".encode(), digest_size=20).hexdigest().encode()


def _topology(core: ShardCore) -> Topology:
    if core.topology is None:
        raise Refusal("ERR This instance has cluster support disabled")
    return core.topology


def _kept(build: Callable[[Topology, int, ShardCore], Steps]) -> Callable[[ShardCore, Session, list[bytes]], Reply]:
    """Return a handler that answers from the core's memory, and builds the reply in steps when it is not there."""

    def handler(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
        topology, protocol = _topology(core), session.protocol
        kept = core.replies_by_topology.get((build, protocol))
        return kept if kept is not None else core.in_steps(session, steps(core, topology, protocol))

    def steps(core: ShardCore, topology: Topology, protocol: int) -> Steps:
        reply = yield from build(topology, protocol, core)
        if core.topology is topology:
            core.replies_by_topology[build, protocol] = reply
        return reply

    return handler


def _serving(topology: Topology) -> list[ShardInfo]:
    """Return the shards that clients can connect to."""
    return [shard for shard in topology.shards if shard.port]


def _slots(topology: Topology, protocol: int, core: ShardCore) -> Steps:
    """CLUSTER SLOTS: each range of slots with who serves it, and who has a copy."""
    owners = topology.owners
    nodes = [_endpoint(topology, shard) for shard in topology.shards]
    copies = [node if shard.state == "up" else b"" for shard, node in zip(topology.shards, nodes, strict=True)]
    firsts = [0, *(np.flatnonzero((owners[1:] != owners[:-1]).any(axis=1)) + 1).tolist()]
    rows: list[bytes] = []
    for at, (first, after) in enumerate(pairwise([*firsts, SLOT_COUNT])):
        primary, *others = owners[first].tolist()
        if primary >= 0 and nodes[primary]:
            found = [nodes[primary], *(copies[other] for other in others if other >= 0 and copies[other])]
            rows.append(b"*%d\r\n:%d\r\n:%d\r\n%b" % (2 + len(found), first, after - 1, b"".join(found)))
        if at % _RANGES_PER_STEP == _RANGES_PER_STEP - 1:
            yield None
    return encode.array(rows)


def _endpoint(topology: Topology, shard: ShardInfo) -> bytes:
    """Return a shard as CLUSTER SLOTS names it, empty while nobody can connect to it."""
    if not shard.port:
        return b""
    return encode.array([encode.bulk(shard.host.encode()), encode.integer(shard.port),
                         encode.bulk(node_id(topology.cluster, shard.id)), EMPTY_ARRAY])


def _shards(topology: Topology, protocol: int, core: ShardCore) -> Steps:
    """CLUSTER SHARDS: each shard with its slots and its nodes."""
    rows: list[bytes] = []
    for shard in _serving(topology):
        yield None
        numbers = [number for pair in topology.ranges(shard.id) for number in pair]
        parts = []
        for start in range(0, len(numbers), _RANGES_PER_STEP):
            parts.append(b"".join([b":%d\r\n" % number for number in numbers[start : start + _RANGES_PER_STEP]]))
            yield None
        slots = b"*%d\r\n%b" % (len(numbers), b"".join(parts))
        rows.append(encode.map_([(encode.bulk(b"slots"), slots),
                                 (encode.bulk(b"nodes"), encode.array([_node(topology, shard, protocol)]))], protocol))
    return encode.array(rows)


def _node(topology: Topology, shard: ShardInfo, protocol: int) -> bytes:
    health = {"up": b"online", "starting": b"loading", "down": b"fail"}[shard.state]
    host = shard.host.encode()
    return encode.map_([
        (encode.bulk(name), value if isinstance(value, bytes) else encode.integer(value)) for name, value in (
            (b"id", encode.bulk(node_id(topology.cluster, shard.id))), (b"port", shard.port),
            (b"ip", encode.bulk(host)),
            (b"endpoint", encode.bulk(host)), (b"role", encode.bulk(b"master")), (b"replication-offset", 0),
            (b"health", encode.bulk(health)),
        )
    ], protocol)


def _nodes(topology: Topology, protocol: int, core: ShardCore) -> Steps:
    """CLUSTER NODES: one line per shard. There is no cluster bus, so its port is 0."""
    lines: list[bytes] = []
    for shard in _serving(topology):
        yield None
        flags = b"myself,master" if shard.id == core.shard_id else b"master"
        link = b"connected" if shard.state == "up" else b"disconnected"
        ranges = topology.ranges(shard.id)
        texts = []
        for start in range(0, len(ranges), _RANGES_PER_STEP):
            texts += [b" %d" % first if first == last else b" %d-%d" % (first, last)
                      for first, last in ranges[start : start + _RANGES_PER_STEP]]
            yield None
        lines.append(b"%b %b:%d@0 %b%b - 0 0 %d %b%b\n" % (
            node_id(topology.cluster, shard.id), shard.host.encode(), shard.port, flags,
            b",fail" if shard.state == "down" else b"", topology.epoch, link, b"".join(texts)))
    return encode.verbatim(b"".join(lines), protocol)


def info(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLUSTER INFO."""
    topology = _topology(core)
    shares = topology.shares()
    served = sum(shares.values())
    failed = sum(shares[shard.id] for shard in topology.shards if shard.state == "down")
    fields = {
        "cluster_enabled": 1, "cluster_state": "ok" if served == SLOT_COUNT and not failed else "fail",
        "cluster_slots_assigned": served, "cluster_slots_ok": served - failed, "cluster_slots_pfail": 0,
        "cluster_slots_fail": failed, "cluster_known_nodes": len(topology.shards),
        "cluster_size": sum(1 for share in shares.values() if share),
        "cluster_current_epoch": topology.epoch, "cluster_my_epoch": topology.epoch,
    }
    text = "".join(f"{name}:{value}\r\n" for name, value in fields.items())
    return encode.verbatim(text.encode(), session.protocol)


def myid(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLUSTER MYID."""
    return encode.bulk(node_id(_topology(core).cluster, core.shard_id))


def keyslot(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLUSTER KEYSLOT key."""
    _topology(core)
    return encode.integer(slot_of(argv[2]))


def countkeysinslot(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """CLUSTER COUNTKEYSINSLOT slot: entries are not kept by slot, so this walks over all keys, in steps."""
    _topology(core)
    slot = _slot(argv[2])
    return core.in_steps(session, _count_steps(core, slot))


def _count_steps(core: ShardCore, slot: int) -> Steps:
    found = yield from _keys_in(core, slot, None)
    return encode.integer(len(found))


def getkeysinslot(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """CLUSTER GETKEYSINSLOT slot count."""
    _topology(core)
    slot, most = integer(argv[2]), integer(argv[3])
    if not 0 <= slot < SLOT_COUNT or most < 0:
        raise Refusal("ERR Invalid slot or number of keys")
    return core.in_steps(session, _list_steps(core, slot, most))


def _list_steps(core: ShardCore, slot: int, most: int) -> Steps:
    found = yield from _keys_in(core, slot, most)
    return (yield from encoded_in_steps(found))


def _keys_in(core: ShardCore, slot: int, most: int | None) -> Generator[None, None, list[bytes]]:
    found: list[bytes] = []
    cursor = 0
    while most is None or len(found) < most:
        cursor, keys = core.store.scan(cursor, _SCANNED_PER_STEP, core.now_ms)
        found += [key for key in keys if slot_of(key) == slot]
        if cursor == 0:
            break
        yield None
    return found[:most]


def _slot(text: bytes) -> int:
    slot = integer(text)
    if not 0 <= slot < SLOT_COUNT:
        raise Refusal("ERR Invalid slot")
    return slot


_HELP = help_lines("CLUSTER", [
    "COUNTKEYSINSLOT <slot>", "    Return the number of keys in <slot>.",
    "GETKEYSINSLOT <slot> <count>", "    Return key names stored by current node in a slot.",
    "INFO", "    Return information about the cluster.",
    "KEYSLOT <key>", "    Return the hash slot for <key>.",
    "MYID", "    Return the node id.",
    "NODES", "    Return cluster configuration seen by node.",
    "SHARDS", "    Return information about slot range mappings and the nodes associated with them.",
    "SLOTS", "    Return information about slots range mappings.",
])

_sub = partial(Command, group="cluster", parent="cluster", flags="stale", since="3.0.0")
_CHANGING = ("nondeterministic_output",)

COMMANDS = [
    container("cluster", "cluster", "Describes the cluster.", [
        _sub(name="slots", arity=2, handler=_kept(_slots), tips=_CHANGING, complexity="O(N)",
             summary="Returns who serves which slots."),
        _sub(name="shards", arity=2, handler=_kept(_shards), tips=_CHANGING, complexity="O(N)", since="7.0.0",
             summary="Returns the shards and their slots."),
        _sub(name="nodes", arity=2, handler=_kept(_nodes), tips=_CHANGING, complexity="O(N)",
             summary="Returns the shards, one a line."),
        _sub(name="info", arity=2, handler=info, tips=_CHANGING, summary="Returns the state of the cluster."),
        _sub(name="myid", arity=2, handler=myid, summary="Returns this shard's id."),
        _sub(name="keyslot", arity=3, handler=keyslot, complexity="O(N)", summary="Returns the slot of a key."),
        _sub(name="countkeysinslot", arity=3, handler=countkeysinslot, complexity="O(N)",
             summary="Returns how many keys a slot holds here."),
        _sub(name="getkeysinslot", arity=4, handler=getkeysinslot, tips=_CHANGING, complexity="O(N)",
             summary="Returns keys that a slot holds here."),
        _sub(name="help", arity=2, flags="loading stale", handler=_HELP, since="5.0.0",
             summary="Returns help on the subcommands."),
    ], since="3.0.0"),
]
