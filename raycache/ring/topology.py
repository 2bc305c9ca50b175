"""The topology: one immutable value that says who serves what, with an epoch that only grows.

What lives here: the value, its questions and its bytes. What does not: deciding owners (`raycache.ring.placement`)
and making new epochs (the router alone, `raycache.router.core`). Immutable, so any thread may read it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, field, fields
from functools import cached_property
from typing import Any, Final, Literal, TypeVar, get_args

import msgpack
import numpy as np
import numpy.typing as npt

from raycache.ring.slots import BITMAP_BYTES, SLOT_COUNT, slots_of_bitmap

ShardState = Literal["starting", "up", "down"]
Owners = npt.NDArray[np.int16]
"""Shape (SLOT_COUNT, copies): indexes into the shards, -1 = nobody, column 0 = primary."""

_STATES: Final[frozenset[str]] = frozenset(get_args(ShardState))
_FORMAT: Final = 2
_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard as everybody is told of it."""

    id: str
    """Such as "s0"; stays with the shard through restarts and moves."""
    host: str
    port: int
    node_id: str
    """Ray's id of the node that it runs on, in hex."""
    machine: str
    """What fails together: where there are enough machines, no two copies of a slot live on the same one."""
    zone: str
    """The node's zone label; "" where it has none."""
    state: ShardState
    weight: int
    """What its share of slots is proportional to: its memory in bytes. 0 = owns nothing."""
    incarnation: int
    """How often the shard's process has started; the higher one is the living one."""


@dataclass(frozen=True, slots=True)
class GatewayInfo:
    """One gateway: where clients that know no cluster connect."""

    host: str
    port: int
    node_id: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """Slots on their way from one shard to another.

    The receiver owns them already, and asks the giver for what it misses. The giver, which may own them or not, keeps
    what it has of them until the transfer stands in no topology any more. A transfer may lose slots; it gains none.
    """

    id: str
    """Means one transfer for ever."""
    giver: str
    receiver: str
    slots: bytes = field(repr=False)
    """As `raycache.ring.slots.bitmap_of` packs them."""

    def slot_array(self) -> npt.NDArray[np.int32]:
        """Return its slots, ascending."""
        return slots_of_bitmap(self.slots)

    def has(self, slot: int) -> bool:
        """Return whether `slot` is one of them."""
        return bool(self.slots[slot >> 3] & 0x80 >> (slot & 7))


@dataclass(frozen=True, eq=False)
class Topology:
    """Who serves what at one epoch. Equal when the content is equal.

    Raises:
        ValueError: the parts do not fit each other.
    """

    cluster: str
    epoch: int
    shards: tuple[ShardInfo, ...]
    owners: Owners
    gateways: tuple[GatewayInfo, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    """Slots on their way from one shard to another."""
    term: int = 0
    """Which router made it: a shard takes none of a lower term than it has granted."""
    replication: str = "primary-replica"
    """How copies follow each other, one of `raycache.config.REPLICATION_MODES`."""
    draining: tuple[str, ...] = ()
    """Shards and nodes that somebody wants to be empty: their weight is 0, and they stay."""
    upgrading: tuple[str, ...] = ()
    """Shards whose process is to be replaced, in their order, and the spare one that goes at the end."""

    def __post_init__(self) -> None:
        owners = np.array(self.owners, dtype=np.int16)
        owners.setflags(write=False)
        object.__setattr__(self, "owners", owners)
        _check(self)

    @classmethod
    def empty(cls, cluster: str) -> Topology:
        """Return the topology before the first: epoch 0, nobody owns anything."""
        return cls(cluster, 0, (), np.full((SLOT_COUNT, 1), -1, dtype=np.int16))

    @property
    def copies(self) -> int:
        """Owners a slot can have."""
        return int(self.owners.shape[1])

    def primary_of(self, slot: int) -> ShardInfo | None:
        """Return the shard that serves `slot`, or None where nobody does. Cost: one index."""
        return self._primaries[slot]

    def owners_of(self, slot: int) -> tuple[ShardInfo, ...]:
        """Return the owners of `slot`, primary first; nobody where nobody owns it."""
        return tuple(self.shards[index] for index in self.owners[slot].tolist() if index >= 0)

    def replicas_of(self, slot: int) -> tuple[ShardInfo, ...]:
        """Return the owners of `slot` but its primary."""
        return tuple(self.shards[index] for index in self.owners[slot, 1:].tolist() if index >= 0)

    def shard(self, shard_id: str) -> ShardInfo:
        """Return the shard called `shard_id`.

        Raises:
            KeyError: there is none.
        """
        return self.shards[self._index[shard_id]]

    def slots_of(self, shard_id: str) -> npt.NDArray[np.int32]:
        """Return the slots that `shard_id` is primary of, ascending. A shard that is not there has none."""
        index = self._index.get(shard_id)
        if index is None:
            return np.empty(0, dtype=np.int32)
        return np.flatnonzero(self.owners[:, 0] == index).astype(np.int32)

    def slots_owned(self, shard_id: str) -> npt.NDArray[np.int32]:
        """Return the slots that `shard_id` owns as primary or replica, ascending."""
        index = self._index.get(shard_id)
        if index is None:
            return np.empty(0, dtype=np.int32)
        return np.flatnonzero(self.held_by(index)).astype(np.int32)

    def held_by(self, index: int) -> npt.NDArray[np.bool_]:
        """Return for each slot whether the shard at `index` in `shards` owns it as primary or replica."""
        held: npt.NDArray[np.bool_] = self.owners[:, 0] == index
        for column in range(1, self.copies):  # a tenth of what `any(axis=1)` takes
            held |= self.owners[:, column] == index
        return held

    def transfers_to(self, shard_id: str) -> tuple[Transfer, ...]:
        """Return the transfers that `shard_id` receives."""
        return tuple(transfer for transfer in self.transfers if transfer.receiver == shard_id)

    def transfers_from(self, shard_id: str) -> tuple[Transfer, ...]:
        """Return the transfers that `shard_id` gives."""
        return tuple(transfer for transfer in self.transfers if transfer.giver == shard_id)

    def ranges(self, shard_id: str) -> list[tuple[int, int]]:
        """Return the slots of `shard_id` as (first, last) pairs, both included, ascending."""
        slots = self.slots_of(shard_id)
        if not len(slots):
            return []
        breaks = np.flatnonzero(np.diff(slots) != 1)
        firsts = slots[np.concatenate(([0], breaks + 1))]
        lasts = slots[np.concatenate((breaks, [len(slots) - 1]))]
        return list(zip(firsts.tolist(), lasts.tolist(), strict=True))

    def shares(self) -> dict[str, int]:
        """Return how many slots each shard is primary of."""
        primaries = self.owners[:, 0]
        counts = np.bincount(primaries[primaries >= 0], minlength=len(self.shards)).tolist()
        return {shard.id: count for shard, count in zip(self.shards, counts, strict=True)}

    def replica_shares(self) -> dict[str, int]:
        """Return how many slots each shard is a replica of."""
        rest = self.owners[:, 1:]
        counts = np.bincount(rest[rest >= 0], minlength=len(self.shards)).tolist()
        return {shard.id: count for shard, count in zip(self.shards, counts, strict=True)}

    def to_bytes(self) -> bytes:
        """Return the topology for the wire: msgpack, about 32 KiB per copy and 2 KiB per transfer."""
        packed: bytes = msgpack.packb({
            "format": _FORMAT, "cluster": self.cluster, "epoch": self.epoch, "copies": self.copies,
            "shards": [astuple(shard) for shard in self.shards], "owners": self.owners.astype("<i2").tobytes(),
            "gateways": [astuple(gateway) for gateway in self.gateways],
            "transfers": [astuple(transfer) for transfer in self.transfers], "term": self.term,
            "replication": self.replication, "draining": self.draining, "upgrading": self.upgrading,
        })
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Topology:
        """Return the topology that `to_bytes` wrote.

        Raises:
            ValueError: the bytes are something else, or of another format.
        """
        return _decode(data)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Topology):
            return NotImplemented
        return self._rest() == other._rest() and np.array_equal(self.owners, other.owners)

    def __hash__(self) -> int:
        return hash((self.cluster, self.epoch))

    def _rest(self) -> tuple[object, ...]:
        return (self.cluster, self.epoch, self.shards, self.gateways, self.transfers, self.term, self.replication,
                self.draining, self.upgrading)

    def __reduce__(self) -> tuple[Callable[[bytes], Topology], tuple[bytes]]:
        # Pickling the array itself would bring it back writable.
        return Topology.from_bytes, (self.to_bytes(),)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {shard.id: index for index, shard in enumerate(self.shards)}

    @cached_property
    def _primaries(self) -> list[ShardInfo | None]:
        # A list answers in a tenth of the time of an array, and -1 picks the None at its end.
        choices: list[ShardInfo | None] = [*self.shards, None]
        return [choices[index] for index in self.owners[:, 0].tolist()]


def _check(topology: Topology) -> None:
    """Raise ValueError where the parts contradict each other."""
    owners, shards = topology.owners, topology.shards
    if owners.ndim != 2 or owners.shape[0] != SLOT_COUNT or owners.shape[1] < 1:
        raise ValueError(f"owners must have the shape ({SLOT_COUNT}, copies), not {owners.shape}")
    if int(owners.min()) < -1 or int(owners.max()) >= len(shards):
        raise ValueError(f"owners name a shard that is not among the {len(shards)}")
    if len({shard.id for shard in shards}) != len(shards):
        raise ValueError("two shards have the same id")
    if topology.epoch < 0 or topology.term < 0:
        raise ValueError(f"epochs and terms are never negative, as {topology.epoch} or {topology.term} is")
    ids = {shard.id for shard in shards}
    for transfer in topology.transfers:
        if not {transfer.giver, transfer.receiver} <= ids or transfer.giver == transfer.receiver:
            raise ValueError(f"a transfer is between two of the shards, not {transfer.giver} and {transfer.receiver}")
        if len(transfer.slots) != BITMAP_BYTES:
            raise ValueError(f"a transfer's slots are {BITMAP_BYTES} bytes, not {len(transfer.slots)}")
    if len({transfer.id for transfer in topology.transfers}) != len(topology.transfers):
        raise ValueError("two transfers have the same id")


def _decode(data: bytes) -> Topology:
    try:
        parts = msgpack.unpackb(data)
        if parts["format"] != _FORMAT:
            raise ValueError(f"format {parts['format']!r}, not {_FORMAT}")
        owners = np.frombuffer(parts["owners"], dtype="<i2").reshape(SLOT_COUNT, parts["copies"])
        shards = tuple(_record(ShardInfo, record) for record in parts["shards"])
        if not all(shard.state in _STATES for shard in shards):
            raise ValueError("a shard's state is unknown")
        gateways = tuple(_record(GatewayInfo, record) for record in parts["gateways"])
        transfers = tuple(_record(Transfer, record) for record in parts["transfers"])
        draining, upgrading = tuple(parts["draining"]), tuple(parts.get("upgrading", ()))
        for name, kind in (("cluster", str), ("epoch", int), ("term", int), ("replication", str)):
            if type(parts[name]) is not kind:
                raise ValueError(f"{name} is a {type(parts[name]).__name__}, not a {kind.__name__}")
        if not all(type(target) is str for target in (*draining, *upgrading)):
            raise ValueError("what is draining is named by text")
        return Topology(parts["cluster"], parts["epoch"], shards, owners, gateways, transfers, parts["term"],
                        parts["replication"], draining, upgrading)
    # msgpack raises half a dozen kinds for bytes that are none of its own; here they all mean one thing.
    except Exception as error:
        raise ValueError(f"these bytes are no topology: {error or type(error).__name__}") from error


def _record(kind: type[_Record], values: list[Any]) -> _Record:
    """Return `values` as a `kind`, refusing wrong counts and types."""
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    if len(values) != len(names):
        raise ValueError(f"a {kind.__name__} has {len(names)} fields, not {len(values)}")
    for name, value in zip(names, values, strict=True):
        expected: type = int if name in ("port", "weight", "incarnation") else bytes if name == "slots" else str
        if type(value) is not expected:
            raise ValueError(f"{kind.__name__}.{name} is a {type(value).__name__}, not a {expected.__name__}")
    return kind(*values)
